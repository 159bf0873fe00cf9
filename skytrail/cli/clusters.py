"""The composition of the clusters' probes: each asks one API server, in the hub whose duty that is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

from topology.facts import Report, Source
from topology.store.interface import StoreError

if TYPE_CHECKING:
    from skytrail.metrics import Family
    from skytrail.settings.tree import Kubernetes
    from topology.elements import Revision

_PROBE = "kubernetes"
_LOOK = 1.0  # seconds

_log = structlog.get_logger(__name__)


class Clusters:
    """The probes of all clusters.

    Args:
        settings: which clusters, and what of them.
        report: takes reports.
        current: gives what is there.
        clock: µs since the epoch.
        on_duty: whether they are ours to ask; else another hub does.
    """

    def __init__(
        self,
        settings: Kubernetes,
        report: Callable[[Report], object],
        current: Callable[[], Iterable[Revision]],
        clock: Callable[[], int],
        on_duty: Callable[[], bool],
    ) -> None:
        from topology.probes.kubernetes.inventory import CLUSTER  # noqa: PLC0415 - only where a hub runs
        from topology.probes.kubernetes.probe import ClusterProbe  # noqa: PLC0415

        self._report, self._current, self._clock, self._on_duty = report, current, clock, on_duty
        self._wanted = {f"{_PROBE}/{name}/{type_}" for name in settings.clusters for type_ in (CLUSTER, *settings.kinds)}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._take_back, name="clusters", daemon=True)
        wanted = settings.clusters != type(settings)().clusters  # somebody named them
        self._probes = [
            ClusterProbe(report, name, place, settings.kinds, settings.annotations, clock, on_duty, wanted=wanted)
            for name, place in settings.clusters.items()
        ]

    def start(self) -> None:
        """Begin. What was told of clusters and kinds that are not asked any more is taken back."""
        self._thread.start()
        for probe in self._probes:
            probe.start()

    def stop(self) -> None:
        """Ask no more; what was seen stays."""
        self._stopping.set()
        self._thread.join()
        for probe in self._probes:
            probe.stop()

    def _take_back(self) -> None:
        while not self._stopping.wait(_LOOK):
            try:
                if self._on_duty():
                    for probe in sorted(_probes_of(self._current()) - self._wanted):
                        self._report(Report(Source(probe, "", service="hub"), self._clock(), whole=True))
                        _log.info("cluster_taken_back", probe=probe)
                    return
            except StoreError as error:
                _log.debug("clusters_of_before_not_known", error=str(error))

    def waiting(self) -> dict[str, str | None]:
        """Why the graph may not be as a cluster; None: it is. Of those that are there."""
        return {f"kubernetes/{one.name}": one.failure for one in self._probes if one.failure or not one.absent}

    def words(self) -> dict[str, str]:
        """What of a cluster cannot be read, and what to do: that holds up nothing else."""
        return {f"kubernetes/{one.name}": "; ".join(words) for one in self._probes if (words := one.words())}

    def status(self) -> dict[str, object]:
        """How each is, of those that are there."""
        return {f"kubernetes/{one.name}": one.status() for one in self._probes if not one.absent}

    def shown(self) -> dict[str, object]:
        """The same as Skydive's clients read it."""
        return {f"kubernetes/{one.name}": {"Status": one.failure or "active"} for one in self._probes if one.active}

    def families(self) -> Iterable[Family]:
        """The metrics."""
        from topology.probes.kubernetes.metrics import families  # noqa: PLC0415 - only where a hub runs

        return families(self._probes)


def _probes_of(revisions: Iterable[Revision]) -> set[str]:
    """Names of the probes of clusters that said something of what is there."""
    return {probe for one in revisions if one.state for probe in one.state.parts if probe.startswith(f"{_PROBE}/")}
