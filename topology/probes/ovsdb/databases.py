"""Several databases of Open vSwitch at once: a probe for each, which knows nothing of the others; one more for its OpenFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from skytrail.metrics import Family
from topology.facts import Report, Source
from topology.probes.devices import Devices
from topology.probes.formerly import keep_names, read_names
from topology.probes.openflow.probe import OpenFlowProbe
from topology.probes.ovsdb import metrics
from topology.probes.ovsdb.counting import Counting, Read
from topology.probes.ovsdb.probe import OvsdbProbe

NAME = "ovsdb"
"""The probe's name; of databases at unusual places these follow it, so that their facts are kept apart."""

_OPENFLOW = "openflow"
_REMEMBERED = "ovsdb.json"


def probes_before(folder: Path) -> set[str]:
    """Names of the probes of databases and bridges that there were at the last start, as it is kept in a folder."""
    return read_names(folder / _REMEMBERED)


class OvsdbProbes:
    """All of them as one.

    Args:
        remotes: where the databases are, by the probe's name: each is a source of its own, so that one that is away takes
            nothing with it.
        sink, host_tid, devices, clock, tls: as :class:`OvsdbProbe` takes them.
        host: its Name.
        openflow: rules, and groups, of each bridge that are told; 0: none is read.
        folder: where it is kept which probes there were; None: nowhere.
        counters: what reads the counters of a database's interfaces, by the probe's name.
    """

    def __init__(
        self,
        remotes: Mapping[str, str],
        sink: Callable[[Report], object],
        host: str,
        host_tid: str,
        devices: Callable[[], Devices | None],
        clock: Callable[[], int],
        tls: tuple[str, str, str] | None = None,
        openflow: int = 0,
        folder: Path | None = None,
        counters: Mapping[str, Read] | None = None,
    ) -> None:
        self._sink, self._host, self._host_tid, self._clock = sink, host, host_tid, clock
        self._folder = folder
        self._probes: dict[str, OvsdbProbe | OpenFlowProbe] = {}
        counted: list[tuple[OvsdbProbe, Read]] = []
        for name, remote in remotes.items():
            follow: Callable[[Mapping[str, tuple[str, str]]], object] = _nobody
            if openflow:
                of_rules = f"{_OPENFLOW}{name.removeprefix(NAME)}"
                rules = OpenFlowProbe(sink, Source(of_rules, host, tid=host_tid), host_tid, openflow, clock, tls)
                self._probes[of_rules], follow = rules, rules.follow
            source = Source(name, host, tid=host_tid)
            probe = self._probes[name] = OvsdbProbe(sink, source, host_tid, devices, remote, clock, tls, follow)
            if counters:
                counted.append((probe, counters[name]))
        self._counting = Counting(counted, clock)

    def start(self) -> None:
        """Begin; what was told of databases that are not asked any more is taken back."""
        for name in (probes_before(self._folder) if self._folder else set()) - self._probes.keys():
            self._sink(Report(Source(name, self._host, tid=self._host_tid), self._clock(), whole=True))
        if self._folder is not None:
            keep_names(self._folder / _REMEMBERED, self._probes)
        for probe in self._probes.values():
            probe.start()
        self._counting.start()

    def stop(self) -> None:
        """End the watching; of a database before that of its bridges' rules."""
        self._counting.stop()
        for probe in reversed(self._probes.values()):
            probe.stop()

    def devices_changed(self) -> None:
        """A device of the kernel's came, went or changed."""
        for probe in self._probes.values():
            if isinstance(probe, OvsdbProbe):
                probe.devices_changed()

    def tell_all(self) -> None:
        """Report all that is there once more."""
        for probe in self._probes.values():
            probe.tell_all()

    def waiting(self) -> dict[str, str | None]:
        """Why the graph may not be as a database, by the probe's name; None: it is, or there is none."""
        return {name: probe.failure for name, probe in self._probes.items()}

    def notes(self) -> dict[str, str]:
        """Why a database is not followed though it is there, which holds up nothing else."""
        databases = {name: one.database for name, one in self._probes.items() if isinstance(one, OvsdbProbe)}
        return {name: one.note for name, one in databases.items() if one.note is not None}

    def active(self) -> dict[str, bool]:
        """Which see their database, by name."""
        return {name: probe.active for name, probe in self._probes.items()}

    def status(self) -> dict[str, dict[str, Any]]:
        """What each knows, by its name."""
        return {name: probe.status() for name, probe in self._probes.items()}

    def shown(self) -> dict[str, dict[str, str]]:
        """The same as Skydive's clients read it; of those that have something to watch."""
        return {
            name: {"Status": probe.failure or "active"} for name, probe in self._probes.items() if probe.active or probe.failure
        }

    def families(self) -> Iterable[Family]:
        """Their metrics."""
        databases = {name: one for name, one in self._probes.items() if isinstance(one, OvsdbProbe)}
        rules = {name: one for name, one in self._probes.items() if isinstance(one, OpenFlowProbe)}
        return [
            Family(metrics.UP, [((name,), int(one.active)) for name, one in databases.items()]),
            Family(metrics.RESYNCS, [((name,), one.database.resyncs) for name, one in databases.items()]),
            Family(metrics.LEFT_OUT, [((name,), one.left_out()) for name, one in rules.items()]),
            Family(metrics.MALFORMED, [((name,), one.malformed) for name, one in rules.items()]),
        ]


def _nobody(_: Mapping[str, tuple[str, str]]) -> None:
    """Nobody reads the rules of these bridges."""
