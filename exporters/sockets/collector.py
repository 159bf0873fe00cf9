"""The sockets collector: all sockets every so often, what becomes of them all the time; answers queries."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.sockets import metrics
from exporters.sockets.bound import Bound
from exporters.sockets.grouping import distinct
from exporters.sockets.known import Known, Sockets, Whose
from exporters.sockets.processes import Processes
from exporters.sockets.shown import STATES, Described, protocol_of, socket_json, undescribed
from exporters.sockets.source import SocketSource
from exporters.sockets.tally import OVERFLOW, Tally
from skytrail.errors import RunError
from skytrail.kernel.cgroups import CgroupPaths
from skytrail.metrics import Family, Metric

_log = structlog.get_logger(__name__)

_LISTEN = 10
_MOST_LISTENERS = 1000
_REMEMBERED = 600.0  # seconds that a namespace without sockets is told of, where it is not followed
_MOST_NAMESPACES = 4096
_LOOK = 0.5  # seconds between two readings of the ring: 4 MB are 22,000 events
_MANY, _LOOK_SOON = 2_000, 0.05  # after a reading of so many the next one comes sooner
Watcher = Callable[[NDArray[Any], Whose], None]
"""Is told of a pass: a row of ``exporters.bpf.sockets.RECORD`` for each descriptor, and whose they are."""
Leftovers = Callable[[], Iterable[NDArray[Any]]]
"""Rows of ``exporters.bpf.sockets.RECORD`` of what no process has open any more, namespace by namespace."""


class SocketsCollector:
    """Everything from the kernel's sockets to metrics and answers.

    Args:
        source: the kernel side, closed with this.
        namespaces: names of those that have one, by cookie.
        leftovers: sockets that no process has open; asked for answers only.
        described: what a control group is: a container, a pod, a unit.
        interval: seconds between two passes.
        most: names of processes that metrics tell apart.
        shared_kernel: others look at this kernel too: what happens in namespaces without a name is theirs.
    """

    def __init__(
        self,
        source: SocketSource,
        namespaces: Callable[[], Mapping[int, str]],
        leftovers: Leftovers = lambda: (),
        described: Described = undescribed,
        *,
        interval: float = 15.0,
        most: int = 200,
        shared_kernel: bool = False,
    ) -> None:
        self._described, self._shared_kernel = described, shared_kernel
        self._source, self._namespaces, self._leftovers, self._interval = source, namespaces, leftovers, interval
        self._start = time.time_ns()
        self._processes = Processes(group=CgroupPaths(sockets.cgroup_root()).path)
        self._tally = Tally(most, self._start)
        self._known = Sockets()
        self._most = most
        self._watchers: list[Watcher] = []
        self._rows: NDArray[Any] = np.empty(0, sockets.RECORD)  # one for each socket
        self._bound: Bound | None = None  # of these; made when somebody asks
        self._inodes: dict[int, int] = {}  # of namespaces that were seen, by cookie
        self._seen: dict[int, float] = {}  # when each was seen last; those seen last stand last
        self._drops: dict[tuple[int, str], float] = {}
        self._seen_drops: NDArray[Any] = np.empty(0, [("cookie", "u8"), ("drops", "u4")])
        self._passes, self._seconds = 0, 0.0
        self._lock = threading.Lock()  # of all above; not held while sockets are read
        self._reading = threading.Lock()  # one pass at a time
        self._stop = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sockets", daemon=True)
        self._failures: dict[str, str] = {}

    @property
    def failure(self) -> str | None:
        """Why the last pass, or the last reading of events, failed; None: they did not."""
        return next(iter(self._failures.values()), None)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more, and detach from the kernel; what is known is told still."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._reading, self._lock:
            self._take_events()  # flows that end after this ask still
            self._closed = True
            self._source.close()

    def _run(self) -> None:
        due, many = time.monotonic(), 0
        while True:
            with self._noting("events"), self._lock:
                many = self._take_events()
            if time.monotonic() >= due:
                with self._noting("sockets"):
                    self._pass()
                due = time.monotonic() + self._interval
            if self._stop.wait(_LOOK if many < _MANY else _LOOK_SOON):
                return

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """One reading that fails is not the end of all."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it was, the next one is tried
            self._failures[what] = f"reading the {what} failed: {error}"
            _log.error("sockets_failed", what=what, error=str(error), exc_info=True)
        else:
            self._failures.pop(what, None)

    def _take_events(self) -> int:
        """Read the ring; says how many events there were."""
        if self._closed:
            return 0
        events = self._own(self._source.events())
        self._saw(events["ends"])
        self._tally.add(events)
        self._known.happened(events, self._processes.of(events["owner"]))
        return len(events)

    def _own(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Those of rows that are of this host's namespaces."""
        return rows[np.isin(rows["ends"]["netns"], [*self._namespaces()])] if self._shared_kernel else rows

    def memory(self) -> int:
        """Bytes of the last pass and of what is known of sockets."""
        with self._lock:
            return self._rows.nbytes + self._known.memory()

    def known(self, cookies: NDArray[Any]) -> dict[int, Known]:
        """What is known, as of now, of sockets by their cookies; of some nothing is."""
        with self._lock:
            self._take_events()
            return self._known.of(cookies)

    def whose(self, cookies: NDArray[Any]) -> Whose:
        """Whose sockets are, as of now, by their cookies."""
        with self._lock:
            self._take_events()
            return self._known.whose(cookies)

    def receivers(self, ends: NDArray[Any]) -> NDArray[np.uint64]:
        """Cookies of the UDP sockets, of the last pass, that get what is sent to ends: rows of ``bound.ENDS``; 0: none."""
        with self._lock:
            if self._bound is None:
                self._bound = Bound(self._rows)
            return self._bound.find(ends)

    def add_watcher(self, watcher: Watcher) -> None:
        """Give all passes to somebody too."""
        self._watchers.append(watcher)

    def _pass(self) -> NDArray[Any]:
        """Read all sockets; returns a row for each descriptor."""
        with self._reading:
            if self._closed:
                return np.empty(0, sockets.RECORD)
            begun = time.monotonic()
            rows = self._own(self._source.read())
            _, first = np.unique(rows["cookie"], return_index=True)
            with self._lock:
                self._rows, self._bound = rows[first], None
                self._known.live(self._rows, self._processes.of(self._rows["owner"]))
                self._tally.retransmitted(self._rows, ended=False)
                self._count_drops()
                self._saw(self._rows["ends"])
                self._forget()
                whose = self._processes.of(rows["owner"]) if self._watchers else ([], np.zeros(0, np.intp))
                self._passes += 1
                self._seconds += time.monotonic() - begun
            for watcher in self._watchers:
                watcher(rows, whose)
        return rows

    def _saw(self, ends: NDArray[Any]) -> None:
        """Remember the namespaces of sockets: those that are not followed have no other name than their inode."""
        now = time.monotonic()
        for netns, inode in distinct(ends["netns"], ends["inode"])[0]:
            self._seen.pop(netns, None)
            self._seen[netns] = now
            if inode:
                self._inodes[netns] = inode

    def _forget(self) -> None:
        """Leave out namespaces that are neither followed nor were seen for long."""
        old = time.monotonic() - _REMEMBERED
        followed = self._namespaces().keys()
        gone = [netns for netns, seen in self._seen.items() if seen < old and netns not in followed]
        gone += list(self._seen)[: max(0, len(self._seen) - len(gone) - _MOST_NAMESPACES)]
        for netns in gone:
            self._seen.pop(netns, None)
            self._inodes.pop(netns, None)
        living = followed | self._seen.keys()
        self._tally.forget(living)
        self._drops = {key: count for key, count in self._drops.items() if key[0] in living}

    def _count_drops(self) -> None:
        """What sockets dropped since the last pass; of one that is new, all."""
        rows = self._rows[self._rows["drops"] > 0]
        before = np.zeros(len(rows), "i8")
        known = np.isin(rows["cookie"], self._seen_drops["cookie"])
        if known.any():  # both are in the order of their cookies
            before[known] = self._seen_drops["drops"][np.searchsorted(self._seen_drops["cookie"], rows["cookie"][known])]
        for row, more in zip(rows, (rows["drops"].astype("i8") - before).tolist(), strict=True):
            if more > 0:
                key = int(row["ends"]["netns"]), protocol_of(int(row["ends"]["proto"]), int(row["type"]))
                self._drops[key] = self._drops.get(key, 0.0) + more
        self._seen_drops = np.empty(len(rows), self._seen_drops.dtype)
        self._seen_drops["cookie"], self._seen_drops["drops"] = rows["cookie"], rows["drops"]

    def sockets(self) -> list[dict[str, Any]]:
        """All sockets as of now, as JSON: one object for each process that has one, and those that nobody has."""
        left = [np.asarray(some) for some in self._leftovers()]
        rows = np.concatenate([self._pass(), *left])
        with self._lock:
            whose = self._processes.of(rows["owner"])
        return list(socket_json(rows, whose, self._namespaces(), self._described))

    def families(self) -> Iterator[Family]:
        """All metrics of this collector: of sockets as of the last pass. Raises RunError: they could not be read."""
        if self.failure is not None:
            raise RunError(self.failure)
        with self._lock:
            self._take_events()
            names = self._namespaces()
            rows = self._rows

            def name_of(netns: int) -> str:
                return names[netns] if netns in names else f"inode:{self._inodes.get(netns, 0)}"

            yield from self._states(rows, name_of)
            yield from self._listeners(rows[rows["ends"]["state"] == _LISTEN], name_of)
            yield from self._tally.families(name_of)
            samples = [((name_of(netns), transport.lower()), count) for (netns, transport), count in self._drops.items()]
            yield self._family(metrics.DROPS, samples)
            events, owners = self._source.losses()
            lost = {"events": events, "owners": owners, "kept": self._known.dropped}
            yield self._family(metrics.LOST, [((what,), float(count)) for what, count in lost.items()])
            yield self._family(metrics.PASSES, [((), float(self._passes))])
            yield self._family(metrics.PASS_SECONDS, [((), self._seconds)])

    def _family(self, metric: Metric, samples: Sequence[tuple[tuple[str, ...], float]]) -> Family:
        return Family(metric, samples, self._start)

    def _states(self, rows: NDArray[Any], name_of: Callable[[int], str]) -> Iterator[Family]:
        ends = rows["ends"]
        found, which = distinct(ends["netns"], ends["proto"], rows["type"], ends["state"])
        counts = np.bincount(which, minlength=len(found))
        listens = ends["state"] == _LISTEN
        queues = [
            np.bincount(which, np.where(listens, 0, rows[queue]), len(found)) for queue in ("receive_queue", "send_queue")
        ]
        states: dict[tuple[str, ...], float] = {}
        waiting: tuple[dict[tuple[str, ...], float], ...] = ({}, {})
        for number, (netns, proto, kind, state) in enumerate(found):
            where = name_of(netns), protocol_of(proto, kind).lower()
            key = (*where, STATES.get(state, str(state)).lower())
            states[key] = states.get(key, 0.0) + float(counts[number])
            for queue, into in zip(queues, waiting, strict=True):
                into[where] = into.get(where, 0.0) + float(queue[number])
        yield self._family(metrics.SOCKETS, list(states.items()))
        yield self._family(metrics.RECEIVE_QUEUE, list(waiting[0].items()))
        yield self._family(metrics.SEND_QUEUE, list(waiting[1].items()))

    def _listeners(self, rows: NDArray[Any], name_of: Callable[[int], str]) -> Iterator[Family]:
        waiting: dict[tuple[str, ...], float] = {}
        limits: dict[tuple[str, ...], float] = {}
        for row in rows:
            comm = row["owner"]["comm"].decode("utf-8", "replace")
            key = name_of(int(row["ends"]["netns"])), comm, str(int(row["ends"]["port"][0]))
            if key not in limits and len(limits) >= _MOST_LISTENERS:
                key = "", OVERFLOW, OVERFLOW
            waiting[key] = waiting.get(key, 0.0) + float(row["receive_queue"])
            limits[key] = limits.get(key, 0.0) + float(row["send_queue"])
        yield self._family(metrics.LISTEN_QUEUE, list(waiting.items()))
        yield self._family(metrics.LISTEN_LIMIT, list(limits.items()))
