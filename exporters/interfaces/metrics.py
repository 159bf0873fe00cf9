"""The metrics of the interfaces collector, as data. ``docs/metrics.md`` is generated from this.

``device`` and ``netns`` are as in the metrics of flows, so that both can be joined. A series ends with its interface.
"""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_WHERE = ("device", "netns", "kind")
_WHERE_OTEL = ("network.interface.name", "skytrail.netns", "skytrail.interface.kind")
_DIRECTED = (*_WHERE, "direction")
_DIRECTED_OTEL = (*_WHERE_OTEL, "network.io.direction")
_MORE = ("ifindex", "address", "broadcast", "operstate", "duplex", "type", "link", "master", "group", "link_mode", "alias")
_QDISC = (*_WHERE, "qdisc")
_QDISC_OTEL = (*_WHERE_OTEL, "skytrail.qdisc")
_NETNS = ("netns",)
_NETNS_OTEL = ("skytrail.netns",)
_PROTOCOL = (*_NETNS, "protocol")
_PROTOCOL_OTEL = (*_NETNS_OTEL, "skytrail.protocol")
_FIELD = (*_PROTOCOL, "field")
_FIELD_OTEL = (*_PROTOCOL_OTEL, "skytrail.field")

_DEVICES = "interfaces, interfaces.max at the most"
_BOTH_WAYS = f"{_DEVICES}, x 2"
_QUEUES = f"{_DEVICES}, x 2 (the root's and the ingress qdisc; none where nothing is queued)"
_SPACES = "namespaces"
_FIELDS = "namespaces x fields that interfaces.netstat chooses"

BYTES = Metric(
    "skytrail_interface_bytes_total", "skytrail.interface.io", Kind.COUNTER, "By",
    "Bytes as the interface counts them.", _DIRECTED, _BOTH_WAYS, _DIRECTED_OTEL,
)  # fmt: skip
PACKETS = Metric(
    "skytrail_interface_packets_total", "skytrail.interface.packets", Kind.COUNTER, "{packet}",
    "Packets as the interface counts them: a GSO super-packet is one.", _DIRECTED, _BOTH_WAYS, _DIRECTED_OTEL,
)  # fmt: skip
ERRORS = Metric(
    "skytrail_interface_errors_total", "skytrail.interface.errors", Kind.COUNTER, "{packet}",
    "Bad packets; those of skytrail_interface_error_reasons_total are among them.", _DIRECTED, _BOTH_WAYS, _DIRECTED_OTEL,
)  # fmt: skip
DROPS = Metric(
    "skytrail_interface_drops_total", "skytrail.interface.drops", Kind.COUNTER, "{packet}",
    "Good packets that the interface or its driver dropped.", _DIRECTED, _BOTH_WAYS, _DIRECTED_OTEL,
)  # fmt: skip
MULTICAST = Metric(
    "skytrail_interface_multicast_packets_total", "skytrail.interface.multicast", Kind.COUNTER, "{packet}",
    "Multicast packets received.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
REASONS = Metric(
    "skytrail_interface_error_reasons_total", "skytrail.interface.error_reasons", Kind.COUNTER, "{packet}",
    "Errors and drops by what the interface says of them; of virtual interfaces only what has happened.",
    (*_DIRECTED, "reason"), f"{_DEVICES}, x 14", (*_DIRECTED_OTEL, "reason"),
)  # fmt: skip
COMPRESSED = Metric(
    "skytrail_interface_compressed_packets_total", "skytrail.interface.compressed", Kind.COUNTER, "{packet}",
    "Compressed packets, of interfaces that had any (PPP, SLIP).", _DIRECTED, _BOTH_WAYS, _DIRECTED_OTEL,
)  # fmt: skip
UP = Metric(
    "skytrail_interface_up", "skytrail.interface.up", Kind.GAUGE, "1",
    "1 if its operational state is up.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
ADMIN_UP = Metric(
    "skytrail_interface_admin_up", "skytrail.interface.admin_up", Kind.GAUGE, "1",
    "1 if it is set up (IFF_UP).", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
CARRIER = Metric(
    "skytrail_interface_carrier", "skytrail.interface.carrier", Kind.GAUGE, "1",
    "1 if it has a carrier.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
CARRIER_CHANGES = Metric(
    "skytrail_interface_carrier_changes_total", "skytrail.interface.carrier_changes", Kind.COUNTER, "{change}",
    "Times that the carrier came (to=up) and went (to=down): flaps.", (*_WHERE, "to"), _BOTH_WAYS,
    (*_WHERE_OTEL, "skytrail.interface.to"),
)  # fmt: skip
FLAGS = Metric(
    "skytrail_interface_flags", "skytrail.interface.flags", Kind.GAUGE, "1",
    "IFF_* of linux/if.h.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
MTU = Metric(
    "skytrail_interface_mtu_bytes", "skytrail.interface.mtu", Kind.GAUGE, "By",
    "Maximum transmission unit.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
SPEED = Metric(
    "skytrail_interface_speed_bytes_per_second", "skytrail.interface.speed", Kind.GAUGE, "By/s",
    "Speed that the driver tells; none where it does not know.", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
QUEUE_LENGTH = Metric(
    "skytrail_interface_transmit_queue_length", "skytrail.interface.transmit_queue_length", Kind.GAUGE, "{packet}",
    "Packets that its queue may hold (txqueuelen).", _WHERE, _DEVICES, _WHERE_OTEL,
)  # fmt: skip
INFO = Metric(
    "skytrail_interface", "skytrail.interface", Kind.INFO, "1", "What else an interface is.", (*_WHERE, *_MORE), _DEVICES,
    (*_WHERE_OTEL, *(f"skytrail.interface.{name}" for name in _MORE)),
)  # fmt: skip
DRIVER = Metric(
    "skytrail_interface_driver_statistic", "skytrail.interface.driver_statistic", Kind.GAUGE, "1",
    "What the driver counts or measures, by its own name for it; it does not say which of both it is.",
    (*_WHERE, "statistic"), f"{_DEVICES}, x names that interfaces.driver_statistics chooses (by default none); 256 a device",
    (*_WHERE_OTEL, "skytrail.interface.statistic"),
)  # fmt: skip
LEFT_OUT = Metric(
    "skytrail_interfaces_left_out", "skytrail.interface.left_out", Kind.GAUGE, "{interface}",
    "Interfaces beyond interfaces.max, of which nothing is told.",
)  # fmt: skip

QDISC_BYTES = Metric(
    "skytrail_qdisc_bytes_total", "skytrail.qdisc.io", Kind.COUNTER, "By",
    "Bytes that left the qdisc.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_PACKETS = Metric(
    "skytrail_qdisc_packets_total", "skytrail.qdisc.packets", Kind.COUNTER, "{packet}",
    "Packets that left the qdisc.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_DROPS = Metric(
    "skytrail_qdisc_drops_total", "skytrail.qdisc.drops", Kind.COUNTER, "{packet}",
    "Packets that the qdisc dropped.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_REQUEUES = Metric(
    "skytrail_qdisc_requeues_total", "skytrail.qdisc.requeues", Kind.COUNTER, "{packet}",
    "Packets that the driver gave back.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_OVERLIMITS = Metric(
    "skytrail_qdisc_overlimits_total", "skytrail.qdisc.overlimits", Kind.COUNTER, "{packet}",
    "Times that packets had to wait because of a limit.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_LENGTH = Metric(
    "skytrail_qdisc_queued_packets", "skytrail.qdisc.queued.packets", Kind.GAUGE, "{packet}",
    "Packets in the qdisc now.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip
QDISC_BACKLOG = Metric(
    "skytrail_qdisc_backlog_bytes", "skytrail.qdisc.backlog", Kind.GAUGE, "By",
    "Bytes in the qdisc now.", _QDISC, _QUEUES, _QDISC_OTEL,
)  # fmt: skip

NEIGHBOURS = Metric(
    "skytrail_neighbours", "skytrail.neighbours", Kind.GAUGE, "{neighbour}",
    "Entries in the ARP and neighbour discovery tables, without permanent ones that need no resolution (NUD_NOARP).",
    (*_WHERE, "network", "state"), f"{_DEVICES}, x 2 x 7 states, those that there are",
    (*_WHERE_OTEL, "network.type", "skytrail.neighbour.state"),
)  # fmt: skip

NETSTAT = Metric(
    "skytrail_netstat_events_total", "skytrail.netstat.events", Kind.COUNTER, "1",
    "What a protocol counts (RFC 1213, 2863, 4293 and Linux's own), by the names of nstat.", _FIELD, _FIELDS, _FIELD_OTEL,
)  # fmt: skip
NETSTAT_BYTES = Metric(
    "skytrail_netstat_bytes_total", "skytrail.netstat.io", Kind.COUNTER, "By",
    "Bytes that a protocol counts.", _FIELD, _FIELDS, _FIELD_OTEL,
)  # fmt: skip
NETSTAT_VALUES = Metric(
    "skytrail_netstat_value", "skytrail.netstat.value", Kind.GAUGE, "1",
    "What a protocol is set to or has now (Tcp CurrEstab).", _FIELD, _FIELDS, _FIELD_OTEL,
)  # fmt: skip

SOCKETS = Metric(
    "skytrail_sockstat_sockets", "skytrail.sockstat.sockets", Kind.GAUGE, "{socket}",
    "Sockets in use, of all protocols (protocol=sockets) and by protocol.", _PROTOCOL, f"{_SPACES} x 9", _PROTOCOL_OTEL,
)  # fmt: skip
TIME_WAIT = Metric(
    "skytrail_sockstat_time_wait", "skytrail.sockstat.time_wait", Kind.GAUGE, "{socket}",
    "TCP sockets in the state TIME-WAIT.", _NETNS, _SPACES, _NETNS_OTEL,
)  # fmt: skip
FRAGMENT_QUEUES = Metric(
    "skytrail_sockstat_fragment_queues", "skytrail.sockstat.fragment_queues", Kind.GAUGE, "{packet}",
    "Packets that wait for the rest of their fragments.", _PROTOCOL, f"{_SPACES} x 2", _PROTOCOL_OTEL,
)  # fmt: skip
FRAGMENT_MEMORY = Metric(
    "skytrail_sockstat_fragment_memory_bytes", "skytrail.sockstat.fragment_memory", Kind.GAUGE, "By",
    "Memory of fragments that wait.", _PROTOCOL, f"{_SPACES} x 2", _PROTOCOL_OTEL,
)  # fmt: skip
ORPHANS = Metric(
    "skytrail_sockstat_orphans", "skytrail.sockstat.orphans", Kind.GAUGE, "{socket}",
    "TCP sockets that no process has any more, of the whole host.",
)  # fmt: skip
ALLOCATED = Metric(
    "skytrail_sockstat_allocated", "skytrail.sockstat.allocated", Kind.GAUGE, "{socket}",
    "TCP sockets in any state, of the whole host.",
)  # fmt: skip
SOCKET_MEMORY = Metric(
    "skytrail_sockstat_memory_bytes", "skytrail.sockstat.memory", Kind.GAUGE, "By",
    "Memory of socket buffers, in whole pages, of the whole host.", ("protocol",), "2", ("skytrail.protocol",),
)  # fmt: skip

_CPU = ("cpu",)
_CPU_OTEL = ("cpu.logical_number",)
SOFTNET_PROCESSED = Metric(
    "skytrail_softnet_processed_total", "skytrail.softnet.processed", Kind.COUNTER, "{packet}",
    "Packets that a CPU took from its queues.", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_DROPPED = Metric(
    "skytrail_softnet_dropped_total", "skytrail.softnet.dropped", Kind.COUNTER, "{packet}",
    "Packets dropped because a CPU's backlog was full.", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_SQUEEZED = Metric(
    "skytrail_softnet_times_squeezed_total", "skytrail.softnet.times_squeezed", Kind.COUNTER, "{time}",
    "Times that a CPU stopped with work left, its budget or time used up.", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_COLLISIONS = Metric(
    "skytrail_softnet_collisions_total", "skytrail.softnet.collisions", Kind.COUNTER, "{time}",
    "Times that a device's lock was held by another CPU (0 on kernels since 4.7).", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_RPS = Metric(
    "skytrail_softnet_received_rps_total", "skytrail.softnet.received_rps", Kind.COUNTER, "{time}",
    "Times that a CPU was woken by another for packets (RPS).", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_FLOW_LIMIT = Metric(
    "skytrail_softnet_flow_limit_total", "skytrail.softnet.flow_limit", Kind.COUNTER, "{packet}",
    "Packets dropped by the limit of a flow's share of the backlog.", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip
SOFTNET_BACKLOG = Metric(
    "skytrail_softnet_backlog_packets", "skytrail.softnet.backlog", Kind.GAUGE, "{packet}",
    "Packets in a CPU's backlog now.", _CPU, "CPUs", _CPU_OTEL,
)  # fmt: skip

UNREAD = Metric(
    "skytrail_interface_namespaces_unread_total", "skytrail.interface.namespaces_unread", Kind.COUNTER, "{namespace}",
    "Times that a namespace could not be read, and was left out, by why: gone meanwhile, refused, malformed, late.",
    ("reason",), "4",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
