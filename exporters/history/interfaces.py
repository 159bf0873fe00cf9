"""What went through interfaces, sample by sample: the counters' growth between two readings, kept and found again.

As Skydive's ``LastUpdateMetric``: what did not grow is left out, and so is a sample in which nothing did. A counter that fell
(a driver that begins anew, a bond that lost a port), also below nothing, has not grown. A new interface is told of from its
second reading on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.history.packing import Packed, Table
from exporters.history.store import History
from exporters.interfaces import tables
from skytrail.asking.questions import InterfacesQuestion
from skytrail.errors import SkytrailError, UsageError
from skytrail.kernel.linkcounters import LINK_COUNTERS
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError
from skytrail.kernel.netlink import Answer, NetlinkDecodeError

_log = structlog.get_logger(__name__)

KIND = "interfaces"
GROWS = frozenset({"begin"})

_MS = 1_000_000
_FELL = np.uint64(2**63 - 1)  # more than that no counter grows: it was set below 0
_PART = 2_000  # samples of a part of an answer: about 300 KB
_MOST = 250_000  # of an answer: 50 MB while they are put in order, and 40 MB of JSON
_NEVER = 2**63 - 1  # ns
_UNREAD = (OSError, SkytrailError, NetlinkDecodeError)

_Read: TypeAlias = dict[str, tuple[int, NDArray[np.uint64]]]
"""Counters by TID, and when they were read, ns."""

Others: TypeAlias = "Callable[[], Mapping[str, NDArray[np.uint64]]]"

Found = dict[str, Any]


class InterfaceHistory:
    """Reads counters every so often, keeps their growth, and answers.

    Args:
        history: keeps it.
        read: the counters of all interfaces of a namespace; raises as ``InterfaceSource.read``.
        namespaces: those that are followed.
        tids: of a namespace (by cookie) the TIDs of its interfaces, by ifindex.
        others: what reads the counters of interfaces that no namespace has, by TID, each by the name of its place.
        interval: seconds between two readings.
        clock: ns since the epoch.
    """

    def __init__(
        self,
        history: History,
        read: Callable[[Namespace], Answer],
        namespaces: Callable[[], Sequence[Namespace]],
        tids: Callable[[int], Mapping[int, str]],
        interval: float = 30.0,
        clock: Callable[[], int] = time.time_ns,
        others: Mapping[str, Others] | None = None,
    ) -> None:
        self._others = others or {}
        self._of_others: dict[str, frozenset[str]] = {}  # TIDs
        self._history, self._read, self._namespaces, self._tids = history, read, namespaces, tids
        self._interval, self._clock = interval, clock
        self._before: _Read = {}
        self._latest: Table | None = None
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interface-history", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read once more, and no more after that."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._try()
        while not self._stop.wait(self._interval):
            self._try()
        self._try()

    def _try(self) -> None:
        try:
            self.sample()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next one is tried
            _log.error("interface_history_failed", error=str(error), exc_info=True)

    def sample(self) -> None:
        """Read all counters, and keep what they grew by since the reading before."""
        found: _Read = {}
        failed = set()
        for namespace in self._namespaces():
            try:
                found |= self._counted(namespace)
            except NamespaceGoneError:
                continue
            except _UNREAD as error:
                failed.add(namespace.label)
                if namespace.label not in self._failed:
                    _log.warning("interface_counters_not_read", namespace=namespace.label, error=str(error))
                # the next reading is compared with the last that there was: nothing that they counted is left out
                found |= {tid: self._before[tid] for tid in self._tids(namespace.cookie).values() if tid in self._before}
        for name in self._others:
            try:
                found |= self._counted_there(name)
            except _UNREAD as error:
                failed.add(name)
                if name not in self._failed:
                    _log.warning("interface_counters_not_read", database=name, error=str(error))
                found |= {tid: self._before[tid] for tid in self._of_others.get(name, ()) if tid in self._before}
        self._failed = failed
        self._latest = _grown(self._before, found)
        self._before = found
        if self._latest is not None:
            grew = self._latest.rows(np.flatnonzero(self._latest.column("grown").any(axis=1)))
            if len(grew):
                begin, end = grew.column("begin"), grew.column("end")
                self._history.add(KIND, grew, int(begin.min()), int(end.max()))

    def _counted(self, namespace: Namespace) -> _Read:
        ifindexes, counters = tables.counters(self._read(namespace))
        at, tids = self._clock(), self._tids(namespace.cookie)
        return {tids[one]: (at, row) for one, row in zip(ifindexes.tolist(), counters, strict=True) if one in tids}

    def _counted_there(self, name: str) -> _Read:
        rows = self._others[name]()
        at, self._of_others[name] = self._clock(), frozenset(rows)
        return {tid: (at, row) for tid, row in rows.items()}

    def _fresh(self, before: _Read, nodes: frozenset[str]) -> Table | None:
        """What interfaces counted since a sample, read where they are."""
        found: _Read = {}
        for namespace in self._namespaces():
            if not nodes.isdisjoint(self._tids(namespace.cookie).values()):
                with contextlib.suppress(NamespaceGoneError, *_UNREAD):  # the next sample says so
                    found |= self._counted(namespace)
        for name, tids in list(self._of_others.items()):
            if not nodes.isdisjoint(tids):
                with contextlib.suppress(*_UNREAD):
                    found |= self._counted_there(name)
        return _grown(before, {tid: row for tid, row in found.items() if tid in nodes})

    def answer(self, question: InterfacesQuestion) -> Iterator[list[Found]]:
        """Interfaces with their samples, oldest first, part by part. Raises UsageError: they are too many."""
        if question.when is None:
            latest = self._latest
            yield from _parts([latest] if latest else [], question.nodes, None)
            return
        span = question.when.begin * _MS, question.when.end * _MS + _MS - 1
        before = self._before
        fresh = self._fresh(before, frozenset(before if question.nodes is None else question.nodes)) if question.fresh else None
        with self._history.reading(KIND, *span) as read:
            yield from _parts(read(), question.nodes, span, fresh)


def _grown(before: _Read, now: _Read) -> Table | None:
    """What interfaces counted between two readings; None: none was there at both."""
    tids = [tid for tid in now if tid in before]
    if not tids:
        return None
    earlier = np.stack([before[tid][1] for tid in tids])
    later = np.stack([now[tid][1] for tid in tids])
    return Table(
        {
            "tid": np.arange(len(tids), dtype=np.uint32),
            "begin": np.array([before[tid][0] for tid in tids], np.int64),
            "end": np.array([now[tid][0] for tid in tids], np.int64),
            "grown": np.where(later > earlier, later - earlier, np.uint64(0)),
        },
        {"tid": [msgspec.json.encode(tid) for tid in tids]},
    )


def _parts(
    found: Collection[Table] | Iterator[Table | Packed],
    nodes: Collection[str] | None,
    span: tuple[int, int] | None,
    fresh: Table | None = None,
) -> Iterator[list[Found]]:
    """Samples of some interfaces that touch a span of time (ns), by interface; ``fresh``: what came after all of them."""
    numbers: dict[str, int] = {}
    many = 0
    rows: list[tuple[NDArray[Any], ...]] = []
    ends = _begins(fresh) if fresh else {}
    for table in chain(found, [fresh] if fresh else ()):
        tids = [str(msgspec.json.decode(word)) for word in table.words["tid"]]
        wanted = np.array([nodes is None or tid in nodes for tid in tids], np.bool_)
        codes = np.array([numbers.setdefault(tid, len(numbers)) for tid in tids], np.int64)
        tid, begin, end = (table.column(name) for name in ("tid", "begin", "end"))
        chosen = wanted[tid]
        if span:
            chosen = chosen & (end >= span[0]) & (begin <= span[1])
        if ends and table is not fresh:  # a sample that was taken meanwhile tells what the fresh one does
            chosen = chosen & (begin < np.array([ends.get(one, _NEVER) for one in tids], np.int64)[tid])
        if chosen.any():
            many += int(chosen.sum())
            if many > _MOST:
                raise UsageError(f"more than {_MOST} samples of interfaces: ask for a shorter time, or for fewer interfaces")
            rows.append((codes[tid[chosen]], begin[chosen], end[chosen], table.column("grown")[chosen]))
    if not rows:
        return
    code, begin, end, grown = (np.concatenate(column) for column in zip(*rows, strict=True))
    grown[grown > _FELL] = 0
    order = np.lexsort((begin, code))
    names = list(numbers)
    part: list[Found] = []
    count = 0
    for of_one in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        samples = [_sample(grown[at], int(begin[at]), int(end[at])) for at in of_one.tolist() if grown[at].any()]
        if samples:
            part.append({"TID": names[int(code[of_one[0]])], "Metrics": samples})
        count += len(samples)
        if count >= _PART:
            yield part
            part, count = [], 0
    if part:
        yield part


def _begins(table: Table) -> dict[str, int]:
    """From when on each interface's counters are told, ns."""
    return dict(zip(map(msgspec.json.decode, table.words["tid"]), table.column("begin").tolist(), strict=True))


def _sample(grown: NDArray[np.uint64], begin: int, end: int) -> dict[str, int]:
    told = {LINK_COUNTERS[at]: int(grown[at]) for at in np.flatnonzero(grown).tolist()}
    return {**told, "Start": begin // _MS, "Last": end // _MS}
