"""The containers probe's metrics about itself: declared as data. How runtimes are themselves: ``skytrail_runtime_…``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from skytrail.metrics import Family, Kind, Metric
from topology.probes.containers.probe import ContainersProbe

CONTAINERS = Metric(
    "skytrail_container_probe_containers", "skytrail.container.probe.containers", Kind.GAUGE, "{container}",
    "Containers that are in the graph.",
)  # fmt: skip
UNPLACED = Metric(
    "skytrail_container_probe_unplaced", "skytrail.container.probe.unplaced", Kind.GAUGE, "{container}",
    "Of these, those whose network namespace is not known (yet).",
)  # fmt: skip
EVENTS = Metric(
    "skytrail_container_probe_events_total", "skytrail.container.probe.events", Kind.COUNTER, "{event}",
    "What runtimes told: lists, and changes of containers and networks.",
)  # fmt: skip
DROPPED = Metric(
    "skytrail_container_probe_dropped_events_total", "skytrail.container.probe.events.dropped", Kind.COUNTER, "{event}",
    "Of these, those that came faster than they could be reported: everything was read anew then.",
)  # fmt: skip

DECLARED = (CONTAINERS, UNPLACED, EVENTS, DROPPED)


def containers_source(probe: ContainersProbe) -> Callable[[], Iterable[Family]]:
    """What gives the families of a probe, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        counted = ((CONTAINERS, probe.containers), (UNPLACED, probe.unplaced), (EVENTS, probe.events), (DROPPED, probe.dropped))
        for metric, value in counted:
            yield Family(metric, [((), float(value))], began)

    return families
