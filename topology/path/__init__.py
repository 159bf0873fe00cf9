"""The way that packets take by the graph, as it is or was at a moment: routes, neighbours, bridges, tunnels → hops.

Here belongs what computes a path from elements, without I/O, and the route that answers with one. Never what looks at
packets or asks a kernel: the graph is all that is known.
"""
