"""What the database of Open vSwitch (OVSDB) says of its bridges, ports and interfaces.

Here belong the replica of the database, its rows as facts (pure), and the probe that joins them. Never here: OpenFlow, sFlow,
what the kernel says of the interfaces, the graph.
"""
