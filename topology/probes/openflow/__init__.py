"""Rules and groups of OpenFlow in the bridges of an Open vSwitch on this host; only where they are asked for.

Here belong the asking of a bridge (by ``ovs-ofctl``, whose text is stable), the reading of its answers (pure), and the probe
that joins them. Never here: what the switch's database says (``topology.probes.ovsdb``).
"""
