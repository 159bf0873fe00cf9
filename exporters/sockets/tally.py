"""What becomes of sockets, counted by where, whose and how: events → counters. No I/O."""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.sockets import metrics
from exporters.sockets.grouping import distinct
from skytrail.metrics import Family, Histogram, Metric

OVERFLOW = "overflow"
_MOST_SOCKETS = 65_536
_SILENT = 300.0  # seconds without a connection after which a program's series make room for another's

_FAILURES = {
    0: "abandoned", errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "timeout", errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable", errno.ECONNRESET: "reset", errno.EACCES: "prohibited", errno.EPERM: "prohibited",
}  # fmt: skip
"""Why a connect() failed, by the socket's error; any other one by its name."""

_ENDS = {errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ETIMEDOUT: "timeout", errno.EHOSTUNREACH: "timeout"}
_ABORTED = (1, 3, 8)  # ESTABLISHED, SYN_RECV, CLOSE_WAIT: without a farewell


def failure_of(error: int) -> str:
    """Why a connect() failed."""
    return _FAILURES.get(error) or errno.errorcode.get(error, str(error)).lower()


def end_of(error: int, before: int) -> str:
    """How an established connection ended: ``closed``, ``reset`` (by the other end), ``aborted`` (by this one), ``timeout``."""
    if error in _ENDS:
        return _ENDS[error]
    if error:
        return errno.errorcode.get(error, str(error)).lower()
    return "aborted" if before in _ABORTED else "closed"


class Tally:
    """Counters that grow. For one thread at a time.

    Args:
        most: different names of processes; more are told of as ``overflow``.
        start: since when it counts, ns since the epoch.
        clock: seconds.
    """

    def __init__(self, most: int, start: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._start, self._clock = most, start, clock
        self._names: dict[str, float] = {}  # when each was last told of
        self._retransmits: dict[int, int] = {}  # by cookie: what is counted
        self._counts: dict[Metric, Counter[tuple[Any, ...]]] = defaultdict(Counter)
        self._histograms: dict[Metric, dict[int, tuple[NDArray[np.int64], float]]] = {
            metrics.CONNECT_SECONDS: {},
            metrics.RTT_SECONDS: {},
        }

    def add(self, events: NDArray[Any]) -> None:
        """Count rows of ``exporters.bpf.sockets.EVENT``: TCP's. An MPTCP connection is one of its first subflow."""
        events = events[events["ends"]["proto"] == socket.IPPROTO_TCP]
        if not len(events):
            return
        ends = events["ends"]
        told, which = distinct(ends["netns"], events["owner"]["comm"], events["kind"], events["error"], ends["state"])
        for (netns, comm, kind, error, before), count in zip(told, np.bincount(which).tolist(), strict=True):
            self._count(netns, self._name(comm), kind, (error, before), count)
        self.retransmitted(events[np.isin(events["kind"], (sockets.CLOSED, sockets.FAILED))], ended=True)
        connected = events[events["kind"] == sockets.CONNECTED]
        self._observe(metrics.CONNECT_SECONDS, connected, connected["latency"] * 1e-9)
        closed = events[(events["kind"] == sockets.CLOSED) & (events["tcp"]["rtt"] > 0)]
        self._observe(metrics.RTT_SECONDS, closed, closed["tcp"]["rtt"] * 1e-6)

    def retransmitted(self, rows: NDArray[Any], *, ended: bool) -> None:
        """Count what sockets sent again since they were last told of: rows of ``exporters.bpf.sockets.RECORD`` or ``EVENT``.

        One that goes on without a process is in no pass any more, but ends one day: so what was counted is kept until then.
        """
        rows = rows[rows["tcp"]["retransmits"] > 0]
        columns = rows["cookie"], rows["tcp"]["retransmits"], rows["ends"]["netns"], rows["owner"]["comm"]
        for cookie, told, netns, comm in zip(*(column.tolist() for column in columns), strict=True):
            more = told - self._retransmits.pop(cookie, 0)
            if not ended:
                self._retransmits[cookie] = told  # the newest stand last
            if more > 0:
                self._counts[metrics.RETRANSMITS][netns, self._name(comm)] += more
        while len(self._retransmits) > _MOST_SOCKETS:
            del self._retransmits[next(iter(self._retransmits))]

    def _count(self, netns: int, name: str, kind: int, how: tuple[int, int], count: int) -> None:
        if kind == sockets.CONNECTED:
            self._counts[metrics.CONNECTS][netns, name] += count
        elif kind == sockets.ACCEPTED:
            self._counts[metrics.ACCEPTS][netns, name] += count
        elif kind == sockets.FAILED:
            self._counts[metrics.FAILURES][netns, name, failure_of(how[0])] += count
        elif kind == sockets.CLOSED:
            self._counts[metrics.ENDS][netns, name, end_of(*how)] += count

    def _name(self, comm: bytes) -> str:
        name, now = comm.decode("utf-8", "replace"), self._clock()
        if name not in self._names and len(self._names) >= self._most:
            self._forget_names(now - _SILENT)
            if len(self._names) >= self._most:
                return OVERFLOW
        self._names[name] = now
        return name

    def _forget_names(self, before: float) -> None:
        """Make room: programs that have done nothing since then leave, with their series."""
        self._names = {name: seen for name, seen in self._names.items() if seen >= before}
        for counter in self._counts.values():
            for key in [key for key in counter if key[1] != OVERFLOW and key[1] not in self._names]:
                del counter[key]

    def _observe(self, metric: Metric, events: NDArray[Any], seconds: NDArray[np.float64]) -> None:
        places = np.searchsorted(metric.buckets, seconds)
        for netns in np.unique(events["ends"]["netns"]).tolist():
            here = events["ends"]["netns"] == netns
            counts = np.bincount(places[here], minlength=len(metric.buckets) + 1)
            before, total = self._histograms[metric].get(netns, (np.zeros_like(counts), 0.0))
            self._histograms[metric][netns] = before + counts, total + float(seconds[here].sum())

    def forget(self, there: Iterable[int]) -> None:
        """Leave out what is of namespaces that are there no more, by their cookies."""
        living = set(there)
        for counter in self._counts.values():
            for key in [key for key in counter if key[0] not in living]:
                del counter[key]
        for several in self._histograms.values():
            for netns in several.keys() - living:
                del several[netns]

    def families(self, name_of: Callable[[int], str]) -> Iterator[Family]:
        """All of it; ``name_of`` gives a namespace's name by its cookie."""
        for metric in (metrics.CONNECTS, metrics.ACCEPTS, metrics.FAILURES, metrics.ENDS, metrics.RETRANSMITS):
            samples = [((name_of(key[0]), *key[1:]), float(count)) for key, count in self._counts[metric].items()]
            yield Family(metric, samples, self._start)
        for metric, several in self._histograms.items():
            values = (
                ((name_of(netns),), Histogram(tuple(counts.tolist()), total)) for netns, (counts, total) in several.items()
            )
            yield Family(metric, list(values), self._start)
