"""What container runtimes say of their containers and networks, joined to the kernel's namespaces and devices.

Here belong the runtimes' values as facts (pure), and the probe that joins them. Never here: the runtimes' APIs
(``skytrail.runtimes`` has them, for the exporters too), what the kernel says of namespaces and interfaces, the graph.
"""
