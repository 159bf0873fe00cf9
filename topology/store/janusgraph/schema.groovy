// Makes what is missing of the schema; again is the same as once. Bindings: propertyKeys … (topology/store/janusgraph/schema.py).
// 'def' everywhere: bare names such as key, label and id are the server's static imports.
// One at a time: of two transactions that make the same at once on BerkeleyJE, both would succeed, each with a head of its own.
synchronized (graph) {
graph.tx().rollback()
def mgmt = graph.openManagement()
try {
  def types = [text: String.class, integer: Long.class]
  def made = [:]
  def fresh = [] as Set
  propertyKeys.each { k ->
    made[k.name] = mgmt.getPropertyKey(k.name)
    if (made[k.name] == null) {
      def cardinality = org.janusgraph.core.Cardinality.valueOf(k.cardinality)
      made[k.name] = mgmt.makePropertyKey(k.name).dataType(types[k.type]).cardinality(cardinality).make()
      fresh << k.name
      if (k.lock) mgmt.setConsistency(made[k.name], org.janusgraph.core.schema.ConsistencyModifier.LOCK)
    }
  }
  def descending = org.apache.tinkerpop.gremlin.process.traversal.Order.desc
  propertyKeys.each { k ->
    if (k.index != 'none' && fresh.contains(k.name)) {
      def builder = mgmt.buildIndex('by_' + k.name, Vertex.class).addKey(made[k.name])
      if (k.index == 'unique') builder = builder.unique()
      def index = builder.buildCompositeIndex()
      if (k.index == 'unique') mgmt.setConsistency(index, org.janusgraph.core.schema.ConsistencyModifier.LOCK)
    }
    if (k.history && fresh.contains(k.name)) mgmt.buildPropertyIndex(made[k.name], k.name + '_from', descending, made['valid_from'])
  }
  vertexLabels.each { if (!mgmt.containsVertexLabel(it)) mgmt.makeVertexLabel(it).make() }
  edgeLabels.each { name ->
    if (!mgmt.containsEdgeLabel(name)) {
      def relation = mgmt.makeEdgeLabel(name).multiplicity(org.janusgraph.core.Multiplicity.MULTI).make()
      mgmt.buildEdgeIndex(relation, name + '_from', org.apache.tinkerpop.gremlin.structure.Direction.BOTH, descending, made['valid_from'])
    }
  }
  if (!mgmt.containsGraphIndex('edge_uid_to')) mgmt.buildIndex('edge_uid_to', Edge.class).addKey(made['edge_uid']).addKey(made['valid_to']).buildCompositeIndex()
  if (!mgmt.containsGraphIndex('edge_uid')) mgmt.buildIndex('edge_uid', Edge.class).addKey(made['edge_uid']).buildCompositeIndex()
  mgmt.commit()
} catch (Throwable failure) {
  try { mgmt.rollback() } catch (Throwable ignored) {}
  throw failure
}
if (!g.V().has('system', 'head').hasNext()) g.addV('internal').property('system', 'head').property('odd', '').iterate()
def head = g.V().has('system', 'head').next()
headKeys.each { if (!g.V(head).has(it).hasNext()) g.V(head).property(it, 0L).iterate() }
def found = g.V(head).values('schema').tryNext().orElse(0L)
if (found < schemaVersion) g.V(head).property('schema', schemaVersion).iterate()
graph.tx().commit()
return Math.max(found, schemaVersion)
}
