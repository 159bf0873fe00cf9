"""Graphs that files hold: GraphSON, GraphML, snapshots, Skydive's JSON. What belongs here: bytes → graph. Never: a query."""
