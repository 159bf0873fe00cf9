"""Metrics of queries: declared as data, read from the executor at each scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from gremlin_api.execution import OUTCOMES, Executor
from skytrail.metrics import Family, Kind, Metric

QUERIES = Metric(
    "skytrail_gremlin_queries_total", "skytrail.gremlin.queries", Kind.COUNTER, "{query}",
    "Queries of the graph, by what became of them.", ("outcome",), "4",
)  # fmt: skip
RUNNING = Metric(
    "skytrail_gremlin_queries_running", "skytrail.gremlin.queries.running", Kind.GAUGE, "{query}", "Queries that run now.",
)  # fmt: skip
WAITING = Metric(
    "skytrail_gremlin_queries_waiting", "skytrail.gremlin.queries.waiting", Kind.GAUGE, "{query}",
    "Queries that wait for one of these to end.",
)  # fmt: skip
SCANS_REFUSED = Metric(
    "skytrail_gremlin_refused_scans_total", "skytrail.gremlin.scans.refused", Kind.COUNTER, "{query}",
    "Queries refused because others looked at the whole graph already.",
)  # fmt: skip

DECLARED = (QUERIES, RUNNING, WAITING, SCANS_REFUSED)


def gremlin_source(executor: Executor) -> Callable[[], Iterable[Family]]:
    """What gives the families, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        counters, (running, waiting) = executor.counters, executor.busy
        yield Family(QUERIES, [((one,), float(counters[one])) for one in OUTCOMES], began)
        yield Family(RUNNING, [((), float(running))], began)
        yield Family(WAITING, [((), float(waiting))], began)
        yield Family(SCANS_REFUSED, [((), float(executor.scans.refused))], began)

    return families
