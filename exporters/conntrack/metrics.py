"""The metrics of the conntrack collector, as data. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_NETNS = "skytrail.netns"

TRANSLATED = Metric(
    "skytrail_conntrack_translated_total", "skytrail.conntrack.translated", Kind.COUNTER, "{connection}",
    "Connections that began with addresses or ports translated: the source's (snat), the destination's (dnat), or both.",
    ("netns", "kind"), "namespaces x 3", (_NETNS, "skytrail.nat.kind"),
)  # fmt: skip
TRANSLATIONS = Metric(
    "skytrail_conntrack_translations", "skytrail.conntrack.translations", Kind.GAUGE, "{connection}",
    "Translated connections that conntrack has now.", ("netns",), "namespaces", (_NETNS,),
)  # fmt: skip
ENTRIES = Metric(
    "skytrail_conntrack_entries", "skytrail.conntrack.entries", Kind.GAUGE, "{connection}",
    "Connections that conntrack has now, translated or not.", ("netns",), "namespaces", (_NETNS,),
)  # fmt: skip
LIMIT = Metric(
    "skytrail_conntrack_entries_limit", "skytrail.conntrack.entries.limit", Kind.GAUGE, "{connection}",
    "How many connections conntrack may have: what comes then is dropped.", ("netns",), "namespaces", (_NETNS,),
)  # fmt: skip
FAILURES = Metric(
    "skytrail_conntrack_failures_total", "skytrail.conntrack.failures", Kind.COUNTER, "{packet}",
    "Packets and connections that conntrack could not take as they came, by what it counts them as.",
    ("netns", "reason"), "namespaces x 6", (_NETNS, "reason"),
)  # fmt: skip
RESYNCS = Metric(
    "skytrail_conntrack_resyncs_total", "skytrail.conntrack.resyncs", Kind.COUNTER, "{resync}",
    "Times that events were lost (the socket's queue was full) and all connections were read anew.",
)  # fmt: skip
EVICTED = Metric(
    "skytrail_conntrack_evicted_total", "skytrail.conntrack.evicted", Kind.COUNTER, "{connection}",
    "Translations that flows cannot be told of any more, for want of room.",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
