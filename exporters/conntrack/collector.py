"""The conntrack collector: hears what is translated, keeps it for as long as flows ask, answers for metrics and flows."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.conntrack import metrics, source
from exporters.conntrack.entries import KINDS
from exporters.conntrack.source import FAILURES, OURS, Events, Statistics
from exporters.conntrack.table import TO, Translations, rows_of
from exporters.flows.ends import ends_of_flows, tracking_of_ends
from exporters.flows.points import Points
from exporters.sockets.grouping import distinct
from exporters.sockets.shown import address_text, end_text
from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.worker import NamespaceWorker
from skytrail.metrics import Family, Metric

_log = structlog.get_logger(__name__)

_LOOK = 1.0  # seconds between two looks for new namespaces
_TOGETHER = 0.05  # seconds in which events gather
_AGAIN = 60.0  # seconds between two readings of all: what ended unheard
_REST = 9.0  # times as long as such a reading took passes before the next one, however many events are lost


@dataclass(frozen=True, slots=True)
class Found:
    """What conversations of flows become and were.

    Attributes:
        flow: the flow's place, ascending.
        rows: of :data:`exporters.conntrack.table.ROW`, of one flow ``TO`` before ``FROM``.
        tracking: the other conversation's tracking ID: uint8[n, 16].
    """

    flow: NDArray[np.intp]
    rows: NDArray[Any]
    tracking: NDArray[np.uint8]


class ConntrackCollector:
    """Everything from conntrack's messages to families and to what a flow is told.

    Args:
        worker: enters namespaces, to read all that there is in one: that may take long.
        counting: enters namespaces too, for metrics, which do not wait for that.
        namespaces: those that are followed now.
        points: where flows are seen.
        most: connections that are remembered at once.

    Attributes:
        failure: why the last reading failed, or that there was none yet; None: it did not.

    """

    def __init__(
        self,
        worker: NamespaceWorker,
        counting: NamespaceWorker,
        namespaces: Callable[[], Sequence[Namespace]],
        points: Points,
        *,
        most: int,
    ) -> None:
        self._worker, self._counting, self._namespaces, self._points = worker, counting, namespaces, points
        self._start = time.time_ns()
        self._table = Translations(2 * most)
        self._events: Events | None = None
        self._known: dict[int, Namespace] = {}  # by cookie
        self._cookies: dict[int, int] = {}  # by number
        self._begun: Counter[tuple[int, int]] = Counter()
        self._resyncs = 0
        self._due = self._rested = 0.0
        self._lock = threading.Lock()  # of the table and of what events are read into; not held while all are read
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conntrack", daemon=True)
        self.failure: str | None = "conntrack was not read yet"

    def start(self) -> None:
        """Begin to listen; where conntrack is not loaded, as soon as it is."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. Twice is the same as once."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            if self._events is not None:
                self._events.close()
                self._events = None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
                with self._lock:
                    self._read()
                self.failure = None
                self._wait()
            except Exception as error:  # noqa: BLE001 - the next reading is tried
                self._failed(error)
                self._stop.wait(_LOOK)

    def _failed(self, error: Exception) -> None:
        """What was missed is read anew."""
        self.failure, self._due = f"reading conntrack failed: {error}", 0.0
        _log.error("conntrack_failed", error=str(error), exc_info=True)

    def _wait(self) -> None:
        """Until something happens, or it is time to look for namespaces."""
        until = time.monotonic() + _LOOK
        events = self._events
        while not self._stop.wait(_TOGETHER) and (left := until - time.monotonic()) > 0:
            if events is None:
                self._stop.wait(left)
            elif events.wait(min(left, 0.5)):
                return

    def _look(self) -> None:
        """Follow namespaces that are new, forget those that are gone, and read all anew every so often."""
        if self._events is None:
            if not source.conntrack_is_loaded():
                return
            self._events = Events()
        now, begun = {one.cookie: one for one in self._namespaces()}, time.monotonic()
        whole = begun >= max(self._due, self._rested)
        with self._lock:
            chosen = set(now) if whole else set(now) - self._known.keys()
            for cookie in self._known.keys() - now.keys():
                self._table.forget(cookie, time.monotonic_ns())
                for key in [key for key in self._begun if key[0] == cookie]:
                    del self._begun[key]
            self._known, self._cookies = now, _by_number(now.values())
            if whole:
                self._due = begun + _AGAIN
                self._table.expire(time.monotonic_ns())
        for cookie in chosen:
            if self._stop.is_set():
                return
            self._take_all(now[cookie])
        if whole:
            self._rested = time.monotonic() + _REST * (time.monotonic() - begun)

    def _take_all(self, namespace: Namespace) -> None:
        """Read all connections of a namespace. Nobody waits for it: what events tell meanwhile is newer than what is read."""
        with self._lock:
            self._read()
            begun = time.monotonic_ns()
        try:
            found = source.dump(self._worker, namespace)
        except (OSError, SkytrailError, NetlinkDecodeError) as error:  # on its way out, or one that we may not enter
            _log.debug("conntrack_not_read", namespace=namespace.label, error=str(error))
            return
        told = rows_of(found, begun)
        with self._lock:
            self._table.replace(namespace.cookie, told, begun)

    def _read(self) -> None:
        if self._events is None:
            return
        found, numbers, overrun = self._events.read()
        found["netns"] = self._cookies_of(numbers)
        found = found[found["netns"] > 0]
        self._table.add(found, time.monotonic_ns())
        begun = found[~found["gone"]]
        told, which = distinct(begun["netns"], begun["kinds"])
        self._begun.update(dict(zip(told, np.bincount(which).tolist(), strict=True)))
        if overrun:
            self._resyncs += 1
            self._due = 0.0
            _log.warning("conntrack_events_lost", remedy="none: all connections are read anew")

    def _cookies_of(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Cookies of namespaces by the numbers that ours has for them; 0: it is gone."""
        different, which = np.unique(numbers, return_inverse=True)
        if not set(different.tolist()) <= self._cookies.keys():  # a number is given before the first event comes
            self._cookies = _by_number(self._namespaces())
        return np.array([self._cookies.get(number, 0) for number in different.tolist()], np.uint64)[which]

    def memory(self) -> int:
        """Bytes of the translations."""
        with self._lock:
            return self._table.memory()

    def of_flows(self, keys: NDArray[Any], family: NDArray[np.uint8], seen: NDArray[np.uint64]) -> Found:
        """What conversations of flows become and were, as of now.

        Args:
            keys: of flows, :data:`exporters.bpf.layout.KEY6`.
            family: 4, or 6 for all others.
            seen: when each one's first and last packet were seen, by the kernel's clock, ns: [n, 2].

        """
        with self._lock:
            try:
                self._read()
            except (OSError, NetlinkDecodeError) as error:  # flows are told of all the same
                self._failed(error)
            flow, rows = self._table.find(ends_of_flows(keys, family), seen.astype(np.int64), self._seen_in(keys["point"]))
        return Found(flow, rows, tracking_of_ends(rows["other"]))

    def _seen_in(self, points: NDArray[Any]) -> NDArray[np.uint64]:
        """Cookies of the namespaces of capture points; 0: it is not followed any more."""
        by_label = {one.label: cookie for cookie, one in self._known.items()}
        numbers, which = np.unique(points, return_inverse=True)
        return np.array([by_label.get(self._points.all[number].namespace, 0) for number in numbers.tolist()], np.uint64)[which]

    def shown(self, keys: NDArray[Any], family: NDArray[np.uint8], seen: NDArray[np.uint64]) -> list[dict[str, Any]]:
        """What a flow's JSON says: ``NATTrackingID`` (what it becomes, else what it was), and both under ``NAT``."""
        found = self.of_flows(keys, family, seen)
        told: list[dict[str, Any]] = [{} for _ in range(len(keys))]
        with self._lock:
            names = {cookie: one.label for cookie, one in self._known.items()}
        for place, row, tracking in zip(found.flow.tolist(), found.rows, found.tracking, strict=True):
            flow, tracking_id = told[place], tracking.tobytes().hex()
            flow.setdefault("NATTrackingID", tracking_id)
            flow.setdefault("NAT", {})["To" if row["role"] == TO else "From"] = {
                "TrackingID": tracking_id,
                "Kind": KINDS[int(row["kinds"])],
                "Namespace": names.get(int(row["netns"]), ""),
                **_ends_text(row),
            }
        return told

    def families(self) -> Iterable[Family]:
        """All metrics of this collector, as of now; none where conntrack is not loaded."""
        with self._lock:
            if self._events is None:
                return []
            self._read()
            known = dict(self._known)
            netns, counts = np.unique(self._table.living()["netns"], return_counts=True)
            living = dict(zip(netns.tolist(), counts.tolist(), strict=True))
            begun, resyncs, evicted = dict(self._begun), self._resyncs, self._table.evicted // 2
        told = {one.label: self._statistics(one) for one in known.values()}
        counted = {label: one for label, one in told.items() if one is not None and (one.entries or any(one.failures.values()))}
        return [
            self._family(
                metrics.TRANSLATED,
                [((known[netns].label, KINDS[kinds]), float(n)) for (netns, kinds), n in begun.items() if netns in known],
            ),
            self._family(
                metrics.TRANSLATIONS, [((known[netns].label,), float(n)) for netns, n in living.items() if netns in known]
            ),
            self._family(metrics.ENTRIES, [((label,), float(one.entries)) for label, one in counted.items()]),
            self._family(metrics.LIMIT, [((label,), float(one.most)) for label, one in counted.items()]),
            self._family(
                metrics.FAILURES,
                [((label, reason), float(one.failures[reason])) for label, one in counted.items() for reason in FAILURES],
            ),
            self._family(metrics.RESYNCS, [((), float(resyncs))]),
            self._family(metrics.EVICTED, [((), float(evicted))]),
        ]

    def _statistics(self, namespace: Namespace) -> Statistics | None:
        try:
            return source.statistics(self._counting, namespace)
        except (OSError, SkytrailError, NetlinkDecodeError):
            return None

    def _family(self, metric: Metric, samples: list[tuple[tuple[str, ...], float]]) -> Family:
        return Family(metric, samples, self._start)


def _by_number(namespaces: Iterable[Namespace]) -> dict[int, int]:
    """Cookies of namespaces by the numbers that ours has for them."""
    numbers = ((OURS if one.own else one.nsid, one.cookie) for one in namespaces)
    return {number: cookie for number, cookie in numbers if number is not None}


def _ends_text(row: Any) -> dict[str, str]:  # noqa: ANN401 - one row of ROW
    other = row["other"]
    texts = []
    for side in (0, 1):
        address = address_text(int(other["family"]), other["addr"][side].tobytes())
        port = int(other["port"][side])
        with_port = port and other["proto"] in (6, 17, 132)
        texts.append(end_text(address, port) if with_port else address)
    source_, destination = texts[::-1] if row["reversed"] else texts
    return {"Source": source_, "Destination": destination}
