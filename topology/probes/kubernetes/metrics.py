"""The metrics of the Kubernetes probes, as data, and where they are read. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

import time
from collections.abc import Iterable

from skytrail.metrics import Family, Kind, Metric
from topology.probes.kubernetes.probe import ClusterProbe

_BY_KIND = "clusters x kinds"

UP = Metric(
    "skytrail_kubernetes_up", "skytrail.kubernetes.up", Kind.GAUGE, "1",
    "Whether the graph is as the API server has the cluster: 1 or 0. Of clusters that this hub asks.", ("cluster",), "clusters",
)  # fmt: skip
OBJECTS = Metric(
    "skytrail_kubernetes_objects", "skytrail.kubernetes.objects", Kind.GAUGE, "{object}", "Objects that are there now.",
    ("cluster", "kind"), _BY_KIND,
)  # fmt: skip
EVENTS = Metric(
    "skytrail_kubernetes_events_total", "skytrail.kubernetes.events", Kind.COUNTER, "{event}", "Events of watches.",
    ("cluster", "kind"), _BY_KIND,
)  # fmt: skip
WATCHES = Metric(
    "skytrail_kubernetes_watches_total", "skytrail.kubernetes.watches", Kind.COUNTER, "{watch}",
    "Watches that began: at the start, every some minutes, and after one was cut.", ("cluster", "kind"), _BY_KIND,
)  # fmt: skip
LISTS = Metric(
    "skytrail_kubernetes_lists_total", "skytrail.kubernetes.lists", Kind.COUNTER, "{list}",
    "Lists of all objects: at the start, and after the server had forgotten what came next (410).",
    ("cluster", "kind"), _BY_KIND,
)  # fmt: skip
MALFORMED = Metric(
    "skytrail_kubernetes_malformed_total", "skytrail.kubernetes.malformed", Kind.COUNTER, "{object}",
    "Objects and events that could not be read.", ("cluster", "kind"), _BY_KIND,
)  # fmt: skip
UNREAD = Metric(
    "skytrail_kubernetes_unread_kinds", "skytrail.kubernetes.kinds.unread", Kind.GAUGE, "{kind}",
    "Kinds that may not be read, or that the server does not have.", ("cluster",), "clusters",
)  # fmt: skip

DECLARED = (UP, OBJECTS, EVENTS, WATCHES, LISTS, MALFORMED, UNREAD)

_BEGAN = time.time_ns()


def families(probes: Iterable[ClusterProbe]) -> Iterable[Family]:
    """The families, as they are now."""
    followed = [(one, list(one.sources.items())) for one in probes if one.sources]
    counters = {(one.name, kind): source.counters for one, sources in followed for kind, source in sources}
    yield Family(UP, [((one.name,), float(one.failure is None)) for one, _ in followed])
    yield Family(UNREAD, [((one.name,), float(len(one.unread()))) for one, _ in followed])
    yield Family(
        OBJECTS, [((one.name, kind), float(many)) for one, _ in followed for kind, many in sorted(one.counts().items())]
    )
    for metric, name in ((EVENTS, "events"), (WATCHES, "watches"), (LISTS, "lists"), (MALFORMED, "malformed")):
        yield Family(metric, [(labels, float(getattr(of, name))) for labels, of in counters.items()], _BEGAN)
