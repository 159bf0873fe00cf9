"""What Skytrail asks of the running Linux kernel by netlink, procfs and namespaces.

Here belong the worker that enters network namespaces, the discovery of namespaces, the events of links in all of them and
the facts about this host (boot id, clocks). Never here: BPF programs (``exporters.bpf``), graph or metric names, decisions
of what to capture.
"""
