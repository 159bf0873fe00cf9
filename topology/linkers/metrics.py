"""The metrics of linkers, as data, and where they are read. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from skytrail.metrics import Family, Kind, Metric
from topology.linkers.run import Linkers
from topology.linkers.services import NAME, ServiceMap

UP = Metric(
    "skytrail_linkers_up", "skytrail.linkers.up", Kind.GAUGE, "1", "Whether linkers see the graph: 1 or 0.",
)  # fmt: skip
EDGES = Metric(
    "skytrail_linker_edges", "skytrail.linker.edges", Kind.GAUGE, "{edge}", "Edges that a linker says are there.",
    ("linker",), "linkers",
)  # fmt: skip
LEFT_OUT = Metric(
    "skytrail_linker_left_out_edges", "skytrail.linker.left_out", Kind.GAUGE, "{edge}",
    "Edges that a linker does not say, because they are too many: the service map's.", ("linker",), "linkers",
)  # fmt: skip
CHANGES = Metric(
    "skytrail_linkers_changes_total", "skytrail.linkers.changes", Kind.COUNTER, "{change}",
    "Changes of elements that linkers have looked at.",
)  # fmt: skip
RESTARTS = Metric(
    "skytrail_linkers_restarts_total", "skytrail.linkers.restarts", Kind.COUNTER, "{restart}",
    "How often linkers read the whole graph: at the start, and after the store failed.",
)  # fmt: skip
SECONDS = Metric(
    "skytrail_linkers_seconds_total", "skytrail.linkers.time", Kind.COUNTER, "s", "Time that linkers took.",
)  # fmt: skip

DECLARED = (UP, EDGES, LEFT_OUT, CHANGES, RESTARTS, SECONDS)


def linkers_source(linkers: Linkers, services: ServiceMap | None) -> Callable[[], Iterable[Family]]:
    """What gives the families, read at each call. ``services``: the service map, where it runs."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        counters = linkers.counters
        yield Family(UP, [((), float(linkers.failure is None))])
        edges = linkers.edges() | ({NAME: services.edges} if services else {})
        yield Family(EDGES, [((name,), float(many)) for name, many in sorted(edges.items())])
        yield Family(LEFT_OUT, [((NAME,), float(services.left_out))] if services else [])
        yield Family(CHANGES, [((), float(counters.changes))], began)
        yield Family(RESTARTS, [((), float(counters.restarts))], began)
        yield Family(SECONDS, [((), counters.seconds)], began)

    return families
