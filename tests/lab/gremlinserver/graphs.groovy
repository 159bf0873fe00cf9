// Runs once at start: what the returned map holds is known to every request.
import org.apache.tinkerpop.gremlin.tinkergraph.structure.TinkerFactory

def graphs = [
  modern: TinkerFactory.createModern(),
  crew: TinkerFactory.createTheCrew(),
  sink: TinkerFactory.createKitchenSink(),
  grateful: TinkerFactory.createGratefulDead(),
]
def globals = [:]
graphs.each { name, graph ->
  globals[name] = graph
  globals["g" + name] = traversal().withEmbedded(graph)
}
globals
