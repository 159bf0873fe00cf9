"""Who runs containers on this host, and which container a control group belongs to.

Here belong the reading of control groups' paths, and the clients of the runtimes' own APIs, all of which only read. What a
container means to flows, sockets or the graph belongs to those who ask; nothing here starts, stops or changes a container.
"""
