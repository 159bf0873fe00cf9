"""The store in JanusGraph: several hubs on one graph.

The change log with its checkpoints is the history: it answers the graph at a time, differences, ranges and the feed. The
elements' vertices and edges are made from it, for traversals. Here alone stands gremlin_python. Never here: what a Gremlin
query of a user means.
"""
