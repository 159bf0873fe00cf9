"""The Kubernetes probe: follows the API server of one cluster, and reports its objects as facts.

What the kinds' sources see waits in a queue of bounded length: where the graph is slow the API server waits, and nothing is
skipped. What comes together becomes one report a kind, but for an object that is gone again: it gets its moment.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog

from skytrail.process import trim_memory
from topology.facts import Report, Source
from topology.probes.kubernetes.connection import Connection, UnreachableError, is_there
from topology.probes.kubernetes.inventory import CLUSTER, Inventory
from topology.probes.kubernetes.kinds import KINDS
from topology.probes.kubernetes.source import KindSource, Seen

_log = structlog.get_logger(__name__)

_LONGEST_QUEUE = 5000
_LARGEST_QUEUE = 1 << 26  # bytes
_REST = 0.02  # seconds in which changes that come together become one report
_TOGETHER = 100_000  # µs: what happened further apart is not reported as of one time
_LOOK = 1.0  # seconds between two looks whether it is ours to do, and there
_END_SECONDS = 5.0
_WHOLE_OBJECT = "kubectl.kubernetes.io/last-applied-configuration"
"""An annotation that is never kept: it has the values of a secret, too."""


class ClusterProbe:
    """Reports to a sink, on its own thread. An API server that is away is waited for; nothing is deleted meanwhile.

    Args:
        sink: takes a report; what it raises is logged, and all is reported anew.
        name: of the cluster.
        place: where it is (:class:`Connection`).
        kinds: types of the objects that are followed.
        annotations: patterns of the annotations that are kept.
        clock: µs since the epoch.
        on_duty: whether it is ours to do; else another hub does.
        wanted: whether somebody asked for it; else it holds up nothing until it was seen once.
    """

    def __init__(
        self,
        sink: Callable[[Report], object],
        name: str,
        place: str,
        kinds: Collection[str],
        annotations: Collection[str],
        clock: Callable[[], int],
        on_duty: Callable[[], bool] = lambda: True,
        *,
        wanted: bool = True,
    ) -> None:
        self._sink, self.name, self._place, self._clock, self._on_duty = sink, name, place, clock, on_duty
        self._kinds = [kind for type_, kind in KINDS.items() if type_ in kinds]
        self._patterns = tuple(annotations)
        self._queue: deque[Seen] = deque()
        self._queued = 0  # bytes of what waits there
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubernetes", daemon=True)
        self._connection: Connection | None = None
        self._sources: dict[str, KindSource] = {}
        self._inventory = Inventory(name)
        self._listed: set[str] = set()  # kinds that were
        self._unread: set[str] = set()  # kinds that cannot be
        self._owed: set[str] = set()  # kinds whose next report tells all
        self._told = False  # all that could be listed was reported
        self._wanted, self._seen = wanted, False  # whether it must be there; whether it ever was
        self._logged = False  # that it waits
        self._failure: str | None = None
        self.absent = not is_there(place)
        self._ours = not self.absent  # until it is known whose duty it is

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the watching; what was reported stays."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def sources(self) -> dict[str, KindSource]:
        """Of each kind that is followed now, by type."""
        return self._sources

    @property
    def active(self) -> bool:
        """Whether it is ours, and what there is was told."""
        return self._told

    @property
    def failure(self) -> str | None:
        """Why the graph may not be as the cluster; None: it is, or that is not ours to see to."""
        if trouble := self._trouble():
            return trouble if self._must_be else None
        return "it is being listed" if self._ours and not self._told else None

    @property
    def _must_be(self) -> bool:
        return self._wanted or self._seen

    def unread(self) -> list[str]:
        """Which kinds cannot be read, and what to do."""
        return sorted({one.word for one in list(self._sources.values()) if one.word})

    def words(self) -> list[str]:
        """What of the cluster is not seen, and what to do: that holds up nothing."""
        if self.absent:
            return [f"{self._place} is not there: it is waited for"] if self._wanted else []
        trouble = self._trouble()
        return [*([f"it is not followed: {trouble}"] if trouble and not self._must_be else []), *self.unread()]

    def counts(self) -> dict[str, int]:
        """Objects by type."""
        return self._inventory.counts()

    def status(self) -> dict[str, Any]:
        """How it is, for ``/api/status``."""
        return {"place": self._place, "active": self.active, "objects": self.counts(), "unread": self.unread()}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._is_ours():
                    self._follow()
            except ImportError:
                self._failure = "its library is missing: pip install 'skytrail[kubernetes]', or set kubernetes.clusters to {}"
                _log.warning("kubernetes_not_read", cluster=self.name, reason=self._failure)
                return
            except UnreachableError as error:
                self._failure = str(error)
                self._log_failure()
            except Exception as error:  # noqa: BLE001 - whatever an object says: begin anew
                self._failure = repr(error)
                _log.exception("kubernetes_failed", cluster=self.name)
            finally:
                self._end()
            self._stopping.wait(_LOOK)

    def _is_ours(self) -> bool:
        self.absent = not is_there(self._place)
        self._ours = not self.absent and self._on_duty()
        if not self._ours:
            self._failure = None
        return self._ours

    def _follow(self) -> None:
        """Follow the cluster, as long as it is ours to do."""
        connection = self._connection = Connection(self._place)
        self._inventory, self._told, self._failure = Inventory(self.name), False, None
        self._listed, self._unread, self._owed = {CLUSTER}, set(), {CLUSTER}
        self._sources = {kind.name: KindSource(kind, connection, self._put, self._keeps, self._clock) for kind in self._kinds}
        for source in self._sources.values():
            source.start()
        looked = time.monotonic()
        while not self._stopping.is_set():
            if not self._take(self._next()):
                self._stopping.wait(_LOOK)
            if time.monotonic() - looked >= _LOOK:
                looked = time.monotonic()
                self._log_failure()
                if not self._on_duty():
                    return

    def _trouble(self) -> str | None:
        return self._failure or next((one.failure for one in list(self._sources.values()) if one.failure), None)

    def _log_failure(self) -> None:
        """Once an outage, not once a kind."""
        failure = self._trouble()
        if failure and not self._logged:
            _log.warning("kubernetes_waits", cluster=self.name, reason=failure)
        elif self._logged and not failure:
            _log.info("kubernetes_goes_on", cluster=self.name)
        self._logged = failure is not None

    def _end(self) -> None:
        for source in self._sources.values():
            source.stop()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        sources, self._sources, self._told = list(self._sources.values()), {}, False
        with self._changed:
            self._empty()
        until = time.monotonic() + _END_SECONDS
        for source in sources:
            source.join(max(0.0, until - time.monotonic()))
        with self._changed:
            self._empty()

    def _empty(self) -> None:
        self._queue.clear()
        self._queued = 0
        self._changed.notify_all()

    def _keeps(self, annotation: str) -> bool:
        return annotation != _WHOLE_OBJECT and any(fnmatch.fnmatchcase(annotation, one) for one in self._patterns)

    def _put(self, seen: Seen) -> None:
        """Of a source's thread: waits where the queue is full."""
        with self._changed:
            while self._is_full() and self._sources and not self._stopping.is_set():
                self._changed.wait(_LOOK)
            self._queue.append(seen)
            self._queued += len(seen.put or b"")
            if len(self._queue) == 1:
                self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._queue) >= _LONGEST_QUEUE or self._queued >= _LARGEST_QUEUE

    def _next(self) -> list[Seen]:
        """What came; waits for it, for a while."""
        with self._changed:
            if not self._queue and not self._owed_now():
                self._changed.wait(_LOOK)
        self._stopping.wait(_REST)
        with self._changed:
            came = list(self._queue)
            self._empty()
        return came

    def _owed_now(self) -> bool:
        return self._ready() and bool(self._owed)

    def _ready(self) -> bool:
        """Whether each kind was listed once, or cannot be: edges lead from one kind to another."""
        return len((self._listed | self._unread) - {CLUSTER}) == len(self._kinds)

    def _take(self, came: list[Seen]) -> bool:
        """Note what came, and report it; whether all reports were taken."""
        times: dict[str, tuple[int, int]] = {}  # of what of each kind becomes one report: the first, the last
        for seen in came:
            first, _ = times.get(seen.kind.name, (seen.observed, 0))
            if seen.observed - first > _TOGETHER or (seen.gone and self._inventory.touched(seen.gone)):
                self._report(times)
                times, first = {}, seen.observed
            times[seen.kind.name] = first, seen.observed
            self._note(seen)
        self._report(times)
        return self._failure is None

    def _note(self, seen: Seen) -> None:
        type_ = seen.kind.name
        if seen.put is not None:
            self._inventory.put(type_, seen.put)
        elif seen.gone:
            self._inventory.remove(seen.gone)
        elif seen.listed is not None:
            for uid in set(self._inventory.uids(type_)) - set(seen.listed):
                self._inventory.remove(uid)
            if type_ not in self._listed or type_ in self._unread:
                self._owed.add(type_)
            if type_ in self._unread - self._listed:
                self._owed |= self._listed  # now it is known what theirs are to these
            self._listed.add(type_)
            self._unread.discard(type_)
        else:
            self._unread.add(type_)
            if type_ not in self._listed:  # some of a list, perhaps, that was too long
                for uid in tuple(self._inventory.uids(type_)):
                    self._inventory.remove(uid)

    def _report(self, times: Mapping[str, tuple[int, int]]) -> None:
        """Report what is otherwise, by kind; nothing, before all was listed.

        Args:
            times: when it happened. What follows for another kind happened with the last of all.
        """
        if not self._ready():
            return
        latest = max((last for _, last in times.values()), default=self._clock())
        for type_ in [CLUSTER, *KINDS]:
            if type_ not in self._listed:
                continue
            _, at = times.get(type_, (0, latest))
            source = Source(f"kubernetes/{self.name}/{type_}", "", service="hub")  # of no host: whichever hub asks
            if type_ in self._owed:
                facts = tuple(self._inventory.all(type_).values())
                unknown = self._inventory.unknown(type_, self._unread - self._listed)
                report = Report(source, at, facts, whole=True, unknown=unknown)
            else:
                found = self._inventory.difference(type_)
                report = Report(source, at, tuple(found.facts.values()), tuple(found.gone))
                if not report.facts and not report.gone:
                    continue
            try:
                self._sink(report)
            except Exception as error:  # noqa: BLE001 - whatever the graph says, the cluster goes on
                self._failure = str(error)
                self._owed.add(type_)  # once it takes reports again, it gets all
                _log.error("report_failed", probe=source.probe, error=str(error))
            else:
                self._owed.discard(type_)
        if not self._owed:
            if not self._told:
                trim_memory()  # of lists
            self._told, self._seen, self._failure = True, True, None
