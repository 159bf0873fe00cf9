"""What the kernel says by rtnetlink of links, addresses, routes, rules and neighbours.

Here belong the decoders of its messages (bytes to values with Skydive's keys, pure) with the bodies of the requests that
ask for them, and the probe around them. Never here: ethtool, sysfs, discovery of namespaces (``skytrail.kernel``), the graph.
"""
