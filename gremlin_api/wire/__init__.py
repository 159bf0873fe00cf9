"""Answers and requests as bytes: GraphSON, GraphBinary, and how Gremlin Server frames them. Nothing here runs a query."""
