"""The metrics of the probes of Open vSwitch, as data. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_LABELS, _BOUND, _OTEL = ("probe",), "databases", ("skytrail.probe",)

UP = Metric(
    "skytrail_ovsdb_up", "skytrail.ovsdb.up", Kind.GAUGE, "1",
    "Whether a database of Open vSwitch is followed: 1 or 0.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
RESYNCS = Metric(
    "skytrail_ovsdb_resyncs_total", "skytrail.ovsdb.resyncs", Kind.COUNTER, "{time}",
    "Times that all of a database was read: at first, and after each gap.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
LEFT_OUT = Metric(
    "skytrail_openflow_left_out", "skytrail.openflow.left_out", Kind.GAUGE, "{element}",
    "Rules and groups of OpenFlow beyond topology.ovsdb.openflow, which are not in the graph.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip
MALFORMED = Metric(
    "skytrail_openflow_malformed_total", "skytrail.openflow.malformed", Kind.COUNTER, "{line}",
    "Lines of ovs-ofctl that could not be read.", _LABELS, _BOUND, _OTEL,
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
