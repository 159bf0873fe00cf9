"""The flows collector: from the kernel's counters to flow records.

Here belong the choice of capture points, the flow table, the flow's JSON, filters on flows and the reading of capture files.
Never here: BPF system calls (``exporters.bpf``), the protocol of an output (``exporters.outputs``), sockets or interfaces.
"""
