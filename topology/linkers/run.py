"""Runs linkers: the store's feed of changes → evidence → edges, reported as facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import structlog

from skytrail.errors import SkytrailError
from topology.facts import Report, Source
from topology.linkers.interfaces import Interfaces
from topology.linkers.join import Join, Linker, Outcome
from topology.linkers.kubernetes import KUBERNETES
from topology.linkers.neighbour import NEIGHBOUR
from topology.linkers.nexthop import NEXT_HOP
from topology.linkers.tunnel import TUNNEL
from topology.linkers.workloads import Workloads
from topology.store.interface import Store

_log = structlog.get_logger(__name__)

LINKERS: dict[str, Linker[Any]] = {one.name: one for one in (TUNNEL, NEIGHBOUR, NEXT_HOP)}
"""By the name that the settings have; they read interfaces."""

OF_WORKLOADS: dict[str, Linker[Any]] = {one.name: one for one in (KUBERNETES,)}
"""The same; they read what of clusters and hosts belongs together."""

_ALL = LINKERS | OF_WORKLOADS

_LOOK = 0.2  # seconds between two looks at what changed
_AGAIN = 5.0  # seconds until the next try after the store failed
_AT_ONCE = 2000  # changes that are read from the feed at once


@dataclass(slots=True)
class LinkerCounters:
    """What linkers did since their start.

    Attributes:
        changes: of elements that were looked at.
        restarts: how often the whole graph was read.
        seconds: that the looking took.
    """

    changes: int = 0
    restarts: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Running:
    source: Source
    join: Join[Any]
    name: str
    whole: bool = True  # the next report tells all


class Linkers:
    """Several linkers on one store's feed.

    Args:
        store: whose graph is read.
        report: takes what they say.
        names: of those that run.
        host: Name of the host whose hub runs them.
        clock: µs since the epoch.
        on_duty: whether they are ours to run; else another hub does.

    Attributes:
        failure: why they do not see the graph; None: they do.
    """

    def __init__(
        self,
        store: Store,
        report: Callable[[Report], object],
        names: Collection[str],
        host: str,
        clock: Callable[[], int],
        on_duty: Callable[[], bool] = lambda: True,
    ) -> None:
        self._on_duty = on_duty
        self._store, self._report, self._names, self._host, self._clock = store, report, names, host, clock
        self._running: list[_Running] = []
        self._interfaces = Interfaces()
        self._workloads = Workloads(self._interfaces)
        self._sequence: int | None = None  # None: the graph has to be read as a whole
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="linkers", daemon=True)
        self.counters = LinkerCounters()
        self.failure: str | None = None

    def start(self) -> None:
        """Begin. What those said that do not run any more is taken back."""
        self._thread.start()

    def stop(self) -> None:
        """End the following; the edges stay."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def edges(self) -> dict[str, int]:
        """How many edges each says."""
        return {one.name: len(one.join) for one in self._running}

    def _follow(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                if self._on_duty():
                    self.step()
                else:
                    self._sequence = None  # what others say meanwhile is not followed
                wait, self.failure = _LOOK, None
            except SkytrailError as error:
                self._fail(str(error))
                wait = _AGAIN
            except Exception as error:  # noqa: BLE001 - whatever one element says, the others are linked
                self._fail(repr(error))
                _log.exception("linkers_failed")
                wait = _AGAIN

    def _fail(self, reason: str) -> None:
        if self.failure != reason:
            _log.warning("linkers_wait", reason=reason)
        self.failure, self._sequence = reason, None

    def step(self) -> None:
        """Take in what changed since the last time, and report what follows. Raises StoreError."""
        began = time.monotonic()
        touched = self._begin() if self._sequence is None else self._read()
        workloads = self._workloads.settle()
        for one in self._running:
            if one.name in LINKERS:
                outcome = one.join.take(touched, self._interfaces)
            else:
                outcome = one.join.take(workloads, self._workloads)
            self._tell(one, outcome)
        self.counters.seconds += time.monotonic() - began

    def _begin(self) -> set[str]:
        """Read the whole graph."""
        self._interfaces = Interfaces()
        self._workloads = Workloads(self._interfaces)
        sources = {name: Source(f"linker/{name}", self._host, service="hub") for name in _ALL}
        for name in _ALL.keys() - set(self._names):  # what it said while it ran
            self._report(Report(sources[name], self._clock(), whole=True))
        self._running = [_Running(sources[name], Join(_ALL[name]), name) for name in _ALL if name in self._names]
        sequence = self._store.health().sequence  # first: what comes meanwhile is taken twice rather than never
        for revision in self._store.current():
            self._workloads.take(revision, self._interfaces.take(revision))
        self.counters.restarts += 1
        self._sequence = sequence
        return set(self._interfaces.by_id)

    def _read(self) -> set[str]:
        """Read what the feed has since."""
        touched: set[str] = set()
        while not self._stopping.is_set():
            assert self._sequence is not None, "the graph was read"
            found = self._store.feed(self._sequence, _AT_ONCE)
            for revision in found:
                now = self._interfaces.take(revision)
                self._workloads.take(revision, now)
                touched |= now
            self.counters.changes += len(found)
            if found:
                self._sequence = found[-1].sequence
            if len(found) < _AT_ONCE:
                break
        return touched

    def _tell(self, one: _Running, outcome: Outcome) -> None:
        if outcome.facts or outcome.gone or one.whole:
            edges = one.join.edges if one.whole else outcome.facts
            self._report(Report(one.source, self._clock(), tuple(edges), tuple(outcome.gone), one.whole))
            one.whole = False
