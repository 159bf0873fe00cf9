"""The metrics of Open vSwitch's own interfaces, as data. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_LABELS = ("device", "database", "kind", "direction")
_OTEL = ("network.interface.name", "skytrail.openvswitch.database", "skytrail.interface.kind", "network.io.direction")
_BOUND = "interfaces of Open vSwitch that the kernel does not have, interfaces.max at the most, x 2"

BYTES = Metric(
    "skytrail_openvswitch_interface_bytes_total", "skytrail.openvswitch.interface.io", Kind.COUNTER, "By",
    "Bytes at an interface that only Open vSwitch has, as it counts them (every 5 s).", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
PACKETS = Metric(
    "skytrail_openvswitch_interface_packets_total", "skytrail.openvswitch.interface.packets", Kind.COUNTER, "{packet}",
    "Packets at such an interface.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
ERRORS = Metric(
    "skytrail_openvswitch_interface_errors_total", "skytrail.openvswitch.interface.errors", Kind.COUNTER, "{packet}",
    "Bad packets at such an interface, where it counts them.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
DROPS = Metric(
    "skytrail_openvswitch_interface_drops_total", "skytrail.openvswitch.interface.drops", Kind.COUNTER, "{packet}",
    "Good packets that such an interface dropped, where it counts them.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
LEFT_OUT = Metric(
    "skytrail_openvswitch_interfaces_left_out", "skytrail.openvswitch.interface.left_out", Kind.GAUGE, "{interface}",
    "Such interfaces beyond interfaces.max, of which nothing is told.",
)  # fmt: skip
UNREAD = Metric(
    "skytrail_openvswitch_unread_total", "skytrail.openvswitch.unread", Kind.COUNTER, "{time}",
    "Times that a database did not tell its statistics.", ("database",), "databases", ("skytrail.openvswitch.database",),
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
