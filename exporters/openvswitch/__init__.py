"""What Open vSwitch counts at interfaces that the kernel does not have: tunnels, patch ports, DPDK's.

Here belong the reading of its database's statistics, the collector and its metrics. Never here: what is in the switch
(``topology.probes.ovsdb``), interfaces of the kernel's (``exporters.interfaces``).
"""
