"""Where a conversation went, and where its packets vanished: what capture points saw, put in order.

Here belong flow records as sightings, their order, what is missing between them and why, and the answer's JSON. Never here:
how records are counted (``exporters``), the way that packets should take by the graph (``topology.path``).
"""
