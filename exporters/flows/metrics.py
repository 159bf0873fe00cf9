"""The metrics of the flows collector, as data. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_WHERE = ("device", "netns")
_WHERE_OTEL = ("network.interface.name", "skytrail.netns")
_WHAT = (*_WHERE, "direction", "network", "transport", "application", "source_subnet", "destination_subnet")
_WHAT_OTEL = (
    *_WHERE_OTEL,
    "network.io.direction",
    "network.type",
    "network.transport",
    "network.protocol.name",
    "skytrail.source.subnet",
    "skytrail.destination.subnet",
)
_WHAT_BOUND = (
    "capture points x 2 x network types x transports x named applications x pairs of named subnets; "
    "20,000 label sets, then 'overflow'"
)

FLOW_BYTES = Metric(
    "skytrail_flow_bytes_total", "skytrail.flow.io", Kind.COUNTER, "By",
    "Bytes on the wire, from the Ethernet header on, of all outermost flows.", _WHAT, _WHAT_BOUND, _WHAT_OTEL,
)  # fmt: skip
FLOW_PACKETS = Metric(
    "skytrail_flow_packets_total", "skytrail.flow.packets", Kind.COUNTER, "{packet}",
    "Packets on the wire of all outermost flows; a GSO super-packet counts its segments.", _WHAT, _WHAT_BOUND, _WHAT_OTEL,
)  # fmt: skip
INNER_BYTES = Metric(
    "skytrail_flow_inner_bytes_total", "skytrail.flow.inner.io", Kind.COUNTER, "By",
    "Bytes of flows inside tunnels (also part of their outer flow's bytes).", _WHAT, _WHAT_BOUND, _WHAT_OTEL,
)  # fmt: skip
INNER_PACKETS = Metric(
    "skytrail_flow_inner_packets_total", "skytrail.flow.inner.packets", Kind.COUNTER, "{packet}",
    "Packets of flows inside tunnels.", _WHAT, _WHAT_BOUND, _WHAT_OTEL,
)  # fmt: skip
FLOWS_ACTIVE = Metric(
    "skytrail_flows_active", "skytrail.flow.active", Kind.GAUGE, "{flow}",
    "Flows in the table now.", (*_WHERE, "transport"), "capture points x transports",
    (*_WHERE_OTEL, "network.transport"),
)  # fmt: skip
FLOWS_NEW = Metric(
    "skytrail_flows_new_total", "skytrail.flow.new", Kind.COUNTER, "{flow}",
    "Flows that began.", (*_WHERE, "transport"), "capture points x transports", (*_WHERE_OTEL, "network.transport"),
)  # fmt: skip
FLOWS_ENDED = Metric(
    "skytrail_flows_ended_total", "skytrail.flow.ended", Kind.COUNTER, "{flow}",
    "Flows that ended, by how.", (*_WHERE, "transport", "finish"), "capture points x transports x 3",
    (*_WHERE_OTEL, "network.transport", "skytrail.flow.finish_type"),
)  # fmt: skip
TCP_RTT = Metric(
    "skytrail_flow_tcp_rtt_seconds", "skytrail.flow.tcp.rtt", Kind.HISTOGRAM, "s",
    "Time from a SYN to its SYN-ACK, seen at the capture point.", _WHERE, "capture points", _WHERE_OTEL,
    (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)  # fmt: skip
TCP_RESETS = Metric(
    "skytrail_flow_tcp_resets_total", "skytrail.flow.tcp.resets", Kind.COUNTER, "{flow}",
    "TCP flows in which a reset was seen.", _WHERE, "capture points", _WHERE_OTEL,
)  # fmt: skip
TCP_ANOMALIES = Metric(
    "skytrail_flow_tcp_anomalies_total", "skytrail.flow.tcp.anomalies", Kind.COUNTER, "{packet}",
    "TCP packets, a super-packet as one, before which something was missing here (skipped), that brought it later "
    "(out_of_order), that had passed here already (repeated), or that let the other side send nothing (zero_window).",
    (*_WHERE, "anomaly"), "capture points x 4", (*_WHERE_OTEL, "skytrail.tcp.anomaly"),
)  # fmt: skip
CAPTURE_SKBS = Metric(
    "skytrail_capture_skbs_total", "skytrail.capture.skbs", Kind.COUNTER, "{packet}",
    "Packets as the kernel hands them to the hook: a GSO super-packet is one.", (*_WHERE, "direction"),
    "capture points x 2", (*_WHERE_OTEL, "network.io.direction"),
)  # fmt: skip
CAPTURE_PACKETS = Metric(
    "skytrail_capture_packets_total", "skytrail.capture.packets", Kind.COUNTER, "{packet}",
    "Packets that the hook saw, segments of super-packets counted: equals those of flows and of losses.",
    (*_WHERE, "direction"), "capture points x 2", (*_WHERE_OTEL, "network.io.direction"),
)  # fmt: skip
CAPTURE_BYTES = Metric(
    "skytrail_capture_bytes_total", "skytrail.capture.io", Kind.COUNTER, "By",
    "Bytes that the hook saw, headers of a super-packet once.", (*_WHERE, "direction"), "capture points x 2",
    (*_WHERE_OTEL, "network.io.direction"),
)  # fmt: skip
CAPTURE_HEADER_BYTES = Metric(
    "skytrail_capture_segment_header_bytes_total", "skytrail.capture.segment_headers", Kind.COUNTER, "By",
    "Bytes of headers that segmentation adds to super-packets: flows count them, the hook does not see them.",
    _WHERE, "capture points", _WHERE_OTEL,
)  # fmt: skip
LOST_PACKETS = Metric(
    "skytrail_flow_lost_packets_total", "skytrail.flow.lost.packets", Kind.COUNTER, "{packet}",
    "Packets that are on no flow, by reason.", (*_WHERE, "reason"), "capture points x 6", (*_WHERE_OTEL, "reason"),
)  # fmt: skip
LOST_BYTES = Metric(
    "skytrail_flow_lost_bytes_total", "skytrail.flow.lost.io", Kind.COUNTER, "By",
    "Bytes that are on no flow, by reason.", (*_WHERE, "reason"), "capture points x 6", (*_WHERE_OTEL, "reason"),
)  # fmt: skip
INNER_LOST_PACKETS = Metric(
    "skytrail_flow_inner_lost_packets_total", "skytrail.flow.inner.lost.packets", Kind.COUNTER, "{packet}",
    "Packets in tunnels that are on their outer flow but on no inner one, by reason.", (*_WHERE, "reason"),
    "capture points x 6", (*_WHERE_OTEL, "reason"),
)  # fmt: skip
_WHOSE, _WHOSE_OTEL = ("owner_kind", "owner"), ("skytrail.owner.kind", "skytrail.owner.name")
_OWNED = (*_WHERE, "direction", "transport", *_WHOSE)
_OWNED_OTEL = (*_WHERE_OTEL, "network.io.direction", "network.transport", *_WHOSE_OTEL)
_OWNERS_BOUND = (
    "capture points x transports x owners (prometheus.owners, then 'overflow'), each for an hour after its last flow; "
    "20,000 label sets"
)
_OWNED_BOUND = f"2 x {_OWNERS_BOUND}"
OWNER_BYTES = Metric(
    "skytrail_owner_flow_bytes_total", "skytrail.owner.flow.io", Kind.COUNTER, "By",
    "Bytes on the wire by whose socket on this host sent (direction transmit) or got (receive) them: of a pod, container, unit "
    "or process. A packet with both ends here is in both.", _OWNED, _OWNED_BOUND, _OWNED_OTEL,
)  # fmt: skip
OWNER_PACKETS = Metric(
    "skytrail_owner_flow_packets_total", "skytrail.owner.flow.packets", Kind.COUNTER, "{packet}",
    "Packets on the wire by whose socket on this host sent (direction transmit) or got (receive) them.",
    _OWNED, _OWNED_BOUND, _OWNED_OTEL,
)  # fmt: skip
OWNER_FLOWS = Metric(
    "skytrail_owner_flows_total", "skytrail.owner.flows", Kind.COUNTER, "{flow}",
    "Flows that began, by whose their ends on this host are.", (*_WHERE, "transport", *_WHOSE), _OWNERS_BOUND,
    (*_WHERE_OTEL, "network.transport", *_WHOSE_OTEL),
)  # fmt: skip
_PAIR = tuple(f"{end}{what}" for end in ("source", "destination") for what in ("_kind", "_namespace", ""))
_PAIR_OTEL = tuple(
    f"skytrail.{end}.owner.{what}" for end in ("source", "destination") for what in ("kind", "namespace", "name")
)
_PAIR_BOUND = "prometheus.peers pairs at capture points, then 'overflow'; each for an hour after its last packet; opt-in"
PEER_BYTES = Metric(
    "skytrail_peer_bytes_total", "skytrail.peer.io", Kind.COUNTER, "By",
    "Bytes on the wire from a pod, container, service, host or namespace to another, by the hub's address book. Empty: nobody "
    "that is known.", (*_WHERE, *_PAIR), _PAIR_BOUND, (*_WHERE_OTEL, *_PAIR_OTEL),
)  # fmt: skip
PEER_PACKETS = Metric(
    "skytrail_peer_packets_total", "skytrail.peer.packets", Kind.COUNTER, "{packet}",
    "Packets on the wire from one of these to another.", (*_WHERE, *_PAIR), _PAIR_BOUND, (*_WHERE_OTEL, *_PAIR_OTEL),
)  # fmt: skip
MAP_ENTRIES = Metric(
    "skytrail_bpf_map_entries", "skytrail.bpf.map.entries", Kind.GAUGE, "{entry}", "Entries in a BPF map.", ("map",), "2",
)  # fmt: skip
MAP_CAPACITY = Metric(
    "skytrail_bpf_map_capacity", "skytrail.bpf.map.capacity", Kind.GAUGE, "{entry}", "Entries a BPF map can hold.",
    ("map",), "2",
)  # fmt: skip
MAP_MEMORY = Metric(
    "skytrail_bpf_map_memory_bytes", "skytrail.bpf.map.memory", Kind.GAUGE, "By", "Kernel memory of a BPF map.",
    ("map",), "10",
)  # fmt: skip
DRAIN_SECONDS = Metric(
    "skytrail_flow_drain_seconds_total", "skytrail.flow.drain.time", Kind.COUNTER, "s",
    "Time spent reading the kernel's counters.",
)  # fmt: skip
DRAINS = Metric(
    "skytrail_flow_drains_total", "skytrail.flow.drains", Kind.COUNTER, "{drain}", "Readings of the kernel's counters."
)
EARLY_ENDS = Metric(
    "skytrail_flow_evicted_total", "skytrail.flow.evicted", Kind.COUNTER, "{flow}",
    "Flows ended before their timeout because the map filled up; their counts are kept.",
)  # fmt: skip
CAPPED = Metric(
    "skytrail_series_capped_total", "skytrail.series.capped", Kind.COUNTER, "{series}",
    "Label sets that were folded into 'overflow'.", ("metric",), "metrics with a cap",
)  # fmt: skip
PER_FLOW_BYTES = Metric(
    "skytrail_flow_record_bytes_total", "skytrail.flow.record.io", Kind.COUNTER, "By",
    "Bytes of one conversation at one capture point (opt-in, prometheus.per_flow).",
    (*_WHERE, "tracking_id", "direction", "source", "destination", "source_port", "destination_port", "transport"),
    "prometheus.per_flow.max top talkers, each for per_flow.ttl after its last packet; the rest in tracking_id='overflow'",
)  # fmt: skip
PER_FLOW_PACKETS = Metric(
    "skytrail_flow_record_packets_total", "skytrail.flow.record.packets", Kind.COUNTER, "{packet}",
    "Packets of one conversation at one capture point (opt-in, prometheus.per_flow).",
    PER_FLOW_BYTES.labels, PER_FLOW_BYTES.bound,
)  # fmt: skip
PER_FLOW_CAPPED = Metric(
    "skytrail_flow_record_capped_total", "skytrail.flow.record.capped", Kind.COUNTER, "{flow}",
    "Times a conversation found no room among the top talkers, or was put out by a larger one.",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
