"""The composition of the clusters' probes: each asks one API server, in the hub whose duty that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skytrail.metrics import Family
    from skytrail.settings.tree import Kubernetes
    from topology.facts import Report


class Clusters:
    """The probes of all clusters.

    Args:
        settings: which clusters, and what of them.
        report: takes reports.
        clock: µs since the epoch.
        on_duty: whether they are ours to ask; else another hub does.
    """

    def __init__(
        self,
        settings: Kubernetes,
        report: Callable[[Report], object],
        clock: Callable[[], int],
        on_duty: Callable[[], bool],
    ) -> None:
        from topology.probes.kubernetes.probe import ClusterProbe  # noqa: PLC0415 - only where a hub runs

        self._probes = [
            ClusterProbe(report, name, place, settings.kinds, settings.annotations, clock, on_duty)
            for name, place in settings.clusters.items()
        ]

    def start(self) -> None:
        """Begin."""
        for probe in self._probes:
            probe.start()

    def stop(self) -> None:
        """Ask no more; what was seen stays."""
        for probe in self._probes:
            probe.stop()

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
