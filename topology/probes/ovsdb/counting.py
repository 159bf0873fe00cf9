"""What a switch counts at its interfaces, shown beside what its database says of them, and never kept: ``Ovs.Metric``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import structlog

from skytrail.errors import SkytrailError
from topology.probes.netlink.statistics import metrics

_log = structlog.get_logger(__name__)

_PERIOD = 30.0  # seconds; as of the kernel's counters
_LOOK = 1.0  # seconds between two looks for databases of which nothing was read yet

Counters: TypeAlias = "Mapping[str, Mapping[str, int]]"
"""By the UUID of an interface's row: counters by Skydive's names."""

Read: TypeAlias = "Callable[[], Counters]"
"""Raises OSError, SkytrailError: the database does not tell."""


class Countable(Protocol):
    """A probe of a database."""

    @property
    def active(self) -> bool:
        """Whether it sees its database."""
        ...

    def count(self, counted: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """Take the metrics of its interfaces, by UUID."""
        ...


class Counting:
    """Reads the counters of several databases, each as often as the kernel's are.

    Args:
        probes: with what reads their counters.
        clock: µs since the epoch.
    """

    def __init__(self, probes: Iterable[tuple[Countable, Read]], clock: Callable[[], int]) -> None:
        self._probes, self._clock = list(probes), clock
        self._before: dict[int, tuple[int, Counters]] = {}  # by the probe's place: when, ms
        self._failed: set[int] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ovsdb-statistics", daemon=True)

    def start(self) -> None:
        """Begin, if there are any."""
        if self._probes:
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_PERIOD if self._before else _LOOK):
            self.read()

    def read(self) -> None:
        """Read them all now; of a database that does not tell what was shown stays."""
        for place, (probe, read) in enumerate(self._probes):
            if not probe.active:
                continue
            try:
                now, at = read(), self._clock() // 1000
            except (OSError, SkytrailError) as error:
                if place not in self._failed:
                    _log.warning("ovsdb_statistics_not_read", error=str(error), remedy="it is tried again")
                self._failed.add(place)
                continue
            self._failed.discard(place)
            began, before = self._before.get(place, (0, {}))
            self._before[place] = at, now
            probe.count({uuid: metrics(one, before.get(uuid), at, began) for uuid, one in now.items()})
