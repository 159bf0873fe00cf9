"""The metrics of the drops collector, as data. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_NETNS = "skytrail.netns"
_BOUND = "20,000 label sets of this collector, then device and netns 'overflow'"

PACKETS_DROPPED = Metric(
    "skytrail_packets_dropped_total", "skytrail.packet.dropped", Kind.COUNTER, "{packet}",
    "Packets that the kernel dropped, by its own reason (SKB_DROP_REASON_...); a super-packet is one.",
    ("device", "netns", "reason"), f"interfaces x reasons seen there; {_BOUND}",
    ("network.interface.name", _NETNS, "skytrail.drop.reason"),
)  # fmt: skip
TCP_RETRANSMITS = Metric(
    "skytrail_tcp_retransmits_total", "skytrail.tcp.retransmits", Kind.COUNTER, "{segment}",
    "TCP segments sent again, SYNs and SYN-ACKs among them.", ("netns",), f"namespaces; {_BOUND}", (_NETNS,),
)  # fmt: skip
TCP_SYN_TIMEOUTS = Metric(
    "skytrail_tcp_syn_timeouts_total", "skytrail.tcp.syn.timeouts", Kind.COUNTER, "{segment}",
    "SYNs (side client) and SYN-ACKs (side server) sent again because nobody answered in time.",
    ("netns", "side"), f"namespaces x 2; {_BOUND}", (_NETNS, "skytrail.tcp.side"),
)  # fmt: skip
TCP_RESETS = Metric(
    "skytrail_tcp_resets_total", "skytrail.tcp.resets", Kind.COUNTER, "{segment}",
    "TCP resets that this host's sockets sent and received; the kernel's reason of those sent, where it tells.",
    ("netns", "direction", "reason"), f"namespaces x reasons seen there; {_BOUND}",
    (_NETNS, "network.io.direction", "skytrail.reset.reason"),
)  # fmt: skip
EVENTS_LOST = Metric(
    "skytrail_drop_events_lost_total", "skytrail.drop.events.lost", Kind.COUNTER, "{event}",
    "Drops, retransmits and resets that are in no other metric here, by why: no room in the map, or the program ran already.",
    ("reason",), "2",
)  # fmt: skip
EVENTS_WITHOUT_FLOW = Metric(
    "skytrail_drop_events_without_flow_total", "skytrail.drop.events.without_flow", Kind.COUNTER, "{event}",
    "Drops, retransmits and resets that are on no flow, by why: what died is no IP packet, or there was no room.",
    ("reason",), "3",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
