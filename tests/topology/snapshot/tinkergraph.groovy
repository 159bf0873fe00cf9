// Reads a file of GraphSON 3 into a TinkerGraph, prints what is in it, one JSON object a line, and writes it to another file.
import groovy.json.JsonGenerator
import org.apache.tinkerpop.gremlin.structure.io.graphson.GraphSONIo
import org.apache.tinkerpop.gremlin.structure.io.graphson.GraphSONVersion
import org.apache.tinkerpop.gremlin.tinkergraph.structure.TinkerGraph

def json = new JsonGenerator.Options().disableUnicodeEscaping().build()
def graph = TinkerGraph.open()
def io = graph.io(GraphSONIo.build(GraphSONVersion.V3_0))
io.readGraph(args[0])
def properties = { element -> element.properties().collectEntries { [it.key(), it.value()] } }
graph.vertices().each { println json.toJson([id: it.id(), label: it.label(), properties: properties(it)]) }
graph.edges().each {
    println json.toJson([id: it.id(), label: it.label(), out: it.outVertex().id(), in: it.inVertex().id(), properties: properties(it)])
}
io.writeGraph(args[1])
