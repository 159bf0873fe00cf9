"""The topology's metrics about itself: declared as data, read from the parts at each scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from skytrail.metrics import Family, Kind, Metric
from topology.probes.netlink.probe import NetlinkProbe
from topology.reconcile import Reconciler
from topology.store.interface import Store

ELEMENTS = Metric(
    "skytrail_topology_elements", "skytrail.topology.elements", Kind.GAUGE, "{element}", "Nodes and edges that are there now.",
)  # fmt: skip
REVISIONS_KEPT = Metric(
    "skytrail_topology_revisions", "skytrail.topology.revisions.kept", Kind.GAUGE, "{revision}", "Revisions that are kept.",
)  # fmt: skip
STORE_BYTES = Metric(
    "skytrail_topology_store_bytes", "skytrail.topology.store.size", Kind.GAUGE, "By", "Size of the store on disk.",
)  # fmt: skip
STORE_WAITING = Metric(
    "skytrail_topology_spool_batches", "skytrail.topology.spool.batches", Kind.GAUGE, "{batch}",
    "Batches of changes that wait for a store that is away.",
)  # fmt: skip
STORE_UP = Metric(
    "skytrail_topology_store_up", "skytrail.topology.store.up", Kind.GAUGE, "1", "Whether the store takes changes: 1 or 0.",
)  # fmt: skip
REPORTS = Metric(
    "skytrail_topology_reports_total", "skytrail.topology.reports", Kind.COUNTER, "{report}", "Reports that probes gave.",
)  # fmt: skip
FACTS = Metric(
    "skytrail_topology_facts_total", "skytrail.topology.facts", Kind.COUNTER, "{fact}", "Facts in these reports.",
)  # fmt: skip
FACTS_REFUSED = Metric(
    "skytrail_topology_refused_facts_total", "skytrail.topology.facts.refused", Kind.COUNTER, "{fact}",
    "Facts that could not be taken, for what they say cannot be encoded.",
)  # fmt: skip
CHANGES = Metric(
    "skytrail_topology_changes_total", "skytrail.topology.changes", Kind.COUNTER, "{change}",
    "Changes of elements that were written: revisions and deletions.",
)  # fmt: skip
APPLY_SECONDS = Metric(
    "skytrail_topology_apply_seconds_total", "skytrail.topology.apply.time", Kind.COUNTER, "s",
    "Time that reports took from probe to store.",
)  # fmt: skip
PROBE_UP = Metric(
    "skytrail_probe_up", "skytrail.probe.up", Kind.GAUGE, "1", "Whether a probe sees its source: 1 or 0.", ("probe",), "probes",
)  # fmt: skip
RESYNCS = Metric(
    "skytrail_probe_resyncs_total", "skytrail.probe.resyncs", Kind.COUNTER, "{resync}",
    "Full looks at a source after events were lost.", ("probe",), "probes",
)  # fmt: skip
MALFORMED = Metric(
    "skytrail_probe_malformed_total", "skytrail.probe.malformed", Kind.COUNTER, "{message}",
    "Messages of a source that could not be read.", ("probe",), "probes",
)  # fmt: skip
EVENTS = Metric(
    "skytrail_probe_events_total", "skytrail.probe.events", Kind.COUNTER, "{event}", "Events of a source.",
    ("probe",), "probes",
)  # fmt: skip

DECLARED = (
    ELEMENTS,
    REVISIONS_KEPT,
    STORE_BYTES,
    STORE_WAITING,
    STORE_UP,
    REPORTS,
    FACTS,
    FACTS_REFUSED,
    CHANGES,
    APPLY_SECONDS,
    PROBE_UP,
    RESYNCS,
    MALFORMED,
    EVENTS,
)


def topology_source(store: Store, reconciler: Reconciler) -> Callable[[], Iterable[Family]]:
    """What gives the families of the graph, read at each call."""
    began = time.time_ns()

    def one(metric: Metric, value: float) -> Family:
        return Family(metric, [((), float(value))], began)

    def families() -> Iterable[Family]:
        health, counters = store.health(), reconciler.counters
        yield one(ELEMENTS, health.elements)
        yield one(REVISIONS_KEPT, health.revisions)
        yield one(STORE_BYTES, health.size)
        yield one(STORE_WAITING, health.waiting)
        yield one(STORE_UP, health.failure is None)
        yield one(REPORTS, counters.reports)
        yield one(FACTS, counters.facts)
        yield one(FACTS_REFUSED, counters.refused)
        yield one(CHANGES, counters.changes)
        yield one(APPLY_SECONDS, counters.seconds)

    return families


def probe_source(probe: NetlinkProbe) -> Callable[[], Iterable[Family]]:
    """What gives the families of a probe, read at each call."""
    began = time.time_ns()

    def of_probe(metric: Metric, value: float) -> Family:
        return Family(metric, [(("netlink",), float(value))], began)

    def families() -> Iterable[Family]:
        watched = probe.watcher.counters
        yield of_probe(PROBE_UP, probe.failure is None and probe.watcher.alive)
        yield of_probe(RESYNCS, watched.resyncs)
        yield of_probe(MALFORMED, watched.malformed + probe.malformed)
        yield of_probe(EVENTS, watched.events)

    return families
