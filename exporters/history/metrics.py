"""The metrics of what an agent remembers."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_KINDS = "flows, sockets, interfaces"

BYTES = Metric(
    "skytrail_history_bytes", "skytrail.history.size", Kind.GAUGE, "By",
    "What the history takes of its file; history.size bounds it.",
)  # fmt: skip
RECORDS = Metric(
    "skytrail_history_records", "skytrail.history.records", Kind.GAUGE, "{record}",
    "Records that the history has.", ("kind",), _KINDS,
)  # fmt: skip
SINCE = Metric(
    "skytrail_history_since_timestamp_seconds", "skytrail.history.since", Kind.GAUGE, "s",
    "From when on the history remembers, since the epoch.", ("kind",), _KINDS,
)  # fmt: skip
WRITTEN = Metric(
    "skytrail_history_written_records_total", "skytrail.history.written", Kind.COUNTER, "{record}",
    "Records that were written.", ("kind",), _KINDS,
)  # fmt: skip
DROPPED = Metric(
    "skytrail_history_dropped_records_total", "skytrail.history.dropped", Kind.COUNTER, "{record}",
    "Records that were lost because the file could not be written for long.", ("kind",), _KINDS,
)  # fmt: skip
GAPS = Metric(
    "skytrail_history_gaps", "skytrail.history.gaps", Kind.GAUGE, "{gap}",
    "Times within what is remembered in which no agent ran.", ("reason",), "killed, stopped",
)  # fmt: skip
GAP_SECONDS = Metric(
    "skytrail_history_gap_seconds", "skytrail.history.gap.duration", Kind.GAUGE, "s",
    "How long these are together.", ("reason",), "killed, stopped",
)  # fmt: skip
DECLARED = (BYTES, RECORDS, SINCE, WRITTEN, DROPPED, GAPS, GAP_SECONDS)
