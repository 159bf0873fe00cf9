"""The host probe: what the machine and its operating system are, as keys of the host's node.

Name, distribution, kernel and its command line, virtualization, processors, memory, NUMA nodes, the cloud's instance ID.
``source`` reads files, ``translate`` is pure: their texts to keys. Never here: what changes by itself (frequencies, free
memory, load, uptime): that makes no revision.
"""
