"""The flows collector: reads the kernel every ``flow.drain``, hands records to outputs, answers queries."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import structlog
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram
from exporters.flows import metrics
from exporters.flows.applications import Applications
from exporters.flows.capture import Capture
from exporters.flows.columns import DROPS
from exporters.flows.conditions import Mask
from exporters.flows.identify import quoted_by
from exporters.flows.names import FlowNames
from exporters.flows.owners import Owners
from exporters.flows.owntraffic import OwnTraffic
from exporters.flows.peers import Peers
from exporters.flows.perflow import TopTalkers
from exporters.flows.points import Points
from exporters.flows.query import Query
from exporters.flows.receivers import EndSockets, senders
from exporters.flows.records import Renderer, sort_values
from exporters.flows.table import Batch, FlowTable, Rows, Timeouts, in_memory
from exporters.flows.totals import DIRECTIONS, Totals
from exporters.flows.totals import TRANSPORTS as TRANSPORT_NAMES
from exporters.sockets.known import Known
from exporters.sockets.shown import Described, undescribed
from skytrail.metrics import Family, Metric, summed

_log = structlog.get_logger(__name__)

Sink = Callable[[Batch], None]
Fates = Callable[[NDArray[Any]], Sequence[Mapping[str, Any]]]
"""What a flow's JSON says beside what is counted here, for each row of the table."""
Dropped = Callable[[NDArray[Any]], Mask]
"""Which rows of the table may have ``Drops`` among their fates."""
_OF_ANY = frozenset({*DROPS, "NAT", "NATTrackingID"})
_QUERY_ROWS = 1_000
_LOOK = 0.02  # seconds between two looks for new flows


class FlowsCollector:
    """Everything from the kernel's maps to records.

    Args:
        program: the kernel side.
        points: capture points, shared with the capture.
        applications: names of applications.
        timeouts: when to report and end flows.
        offset: ns from CLOCK_MONOTONIC to the epoch.
        drain: seconds between readings.
        own_traffic: leaves out our own exports; None: nothing is left out.
        talkers: the opt-in metrics per conversation.
        owners: the metrics by owner.
        subnets: names of subnets by CIDR.
        sockets: what is known of sockets, by their cookies.
        ends: which sockets are at the ends of flows.
        described: what a control group is, by its path: the container, the pod, the unit.
        fates: what happened to packets of flows, beside what is counted here.
        dropped: which flows lost packets, by arrays; None: only their fates tell.
        records: as :class:`FlowTable` takes ``rows``.
        drained: told, after each drain, until when all is in the records, ns since the epoch.
        names: who has the addresses of flows; None: nobody knows.
        peers: the opt-in metrics of who sends to whom.

    """

    def __init__(
        self,
        program: FlowProgram,
        points: Points,
        applications: Applications,
        timeouts: Timeouts,
        offset: Callable[[], int],
        *,
        drain: float = 1.0,
        own_traffic: OwnTraffic | None = None,
        talkers: TopTalkers | None = None,
        owners: Owners | None = None,
        subnets: Mapping[str, str] | None = None,
        sockets: Callable[[NDArray[Any]], Mapping[int, Known]] = lambda _: {},
        ends: EndSockets = senders,
        described: Described = undescribed,
        fates: Fates = lambda rows: [{}] * len(rows),
        dropped: Dropped | None = None,
        records: Callable[[int], Rows] = in_memory,
        drained: Callable[[int], None] = lambda _: None,
        names: FlowNames | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._peers = peers
        self._fates, self._drained, self.names = fates, drained, names
        self.dropped = dropped
        self._sockets, self._ends = sockets, ends
        self._program, self._points, self._interval = program, points, drain
        self._start_ns = time.time_ns()
        self._totals = Totals(points, applications, self._start_ns, subnets)
        self._own, self._talkers, self._owners = own_traffic, talkers, owners
        sinks = [sink for sink in (talkers, owners, peers) if sink]
        self.table = FlowTable(program, points, self._totals, timeouts, time.monotonic_ns, offset, growth=sinks, rows=records)
        self._renderer = Renderer(points, applications, program.sampling, described)
        self._sinks: list[Sink] = []
        self._lock = threading.RLock()
        self._seen = -1
        self._drained_at = -math.inf  # monotonic seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self.capture: Capture | None = None
        self.failure: str | None = None

    @property
    def loader(self) -> str:
        """Name of the loader in use."""
        return self._program.loader

    def add_sink(self, sink: Sink) -> None:
        """Give all batches of records to an output too."""
        self._sinks.append(sink)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; all flows end and are handed on."""
        self._stop.set()
        self._thread.join()
        with self._lock:
            self.table.drain()
            self._hand_on(self.table.finish())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.drain()
                self.failure = None
            except Exception as error:  # noqa: BLE001 - outputs run in here: whatever one does, counting goes on
                self.failure = f"reading the kernel's counters failed: {error}"
                _log.error("drain_failed", error=str(error), exc_info=True)
            self._stop.wait(self._interval)

    def drain_since(self, asked: float) -> None:
        """As :meth:`drain`, unless one has begun since then (monotonic seconds): many who ask at once cost one reading."""
        with self._lock:  # what another one reads is with the outputs before anybody looks at what it left
            if self._drained_at < asked:
                self.drain()

    def still(self) -> AbstractContextManager[object]:
        """Nothing is reported meanwhile but by who holds it: what outputs have and what the table has are all, each once."""
        return self._lock

    def drain(self) -> None:
        """Read the kernel's counters and hand on what is to be reported; for nothing new and no flow, next to nothing."""
        with self._lock:
            self._drained_at, now = time.monotonic(), time.time_ns()
            seen = int(self._counters()["seen"]["skbs"].sum())
            gone = self._points.gone  # before the maps are read: what comes later may have left flows there
            if seen != self._seen or len(self.table):
                self._seen = seen
                if self._own:
                    self._own.look()
                self._hand_on(self.table.drain(identified=bool(self._sinks)))
            if gone and (freed := self._points.forget(gone - self.table.points_in_use())):
                self._totals.forget(freed)
                if self._owners:
                    self._owners.forget(freed)
                if self._peers:
                    self._peers.forget(freed)
                if self.capture:
                    self.capture.room()
            self._drained(now)

    def _counters(self) -> NDArray[Any]:
        return self._program.points(len(self._points.all))

    def _hand_on(self, batch: Batch) -> None:
        if self._own and len(batch.rows):
            foreign = ~self._own.mask(batch.rows)
            batch = Batch(batch.rows[foreign], batch.ended[foreign], batch.now)
        if len(batch.rows) and self._sinks:
            batch.rows["flow"]["socket"] = self._ends(batch.rows)
            for sink in self._sinks:
                sink(batch)

    def flows(self, query: Query) -> list[dict[str, Any]]:
        """Flow JSON of the living flows, as of now."""
        return [flow for batch in self.flow_batches(query) for flow in batch]

    def flow_batches(self, query: Query) -> Iterator[list[dict[str, Any]]]:
        """The same, part by part: a part is made when it is asked for, and leaves out what has ended meanwhile."""
        self.drain()
        ids = self.table.order(lambda rows: sort_values(rows, query.sort))
        missing = query.limit or len(ids)
        step = min(query.limit or _QUERY_ROWS, _QUERY_ROWS) if query.filter is None else _QUERY_ROWS
        for at in range(0, len(ids), step):
            flows = self.shown(self.foreign(self.table.rows(ids[at : at + step])))
            found = [flow for flow in flows if query.filter is None or query.filter.matches(flow)][:missing]
            missing -= len(found)
            yield found
            if not missing:
                return

    def foreign(self, rows: Rows) -> Rows:
        """Records without those of our own exports."""
        return rows[~self._own.mask(rows)] if self._own else rows

    def shown(self, rows: Rows) -> list[dict[str, Any]]:
        """Flow JSON of identified records, with all that is known of them now."""
        rows["flow"]["socket"] = self._ends(rows)
        known = self._sockets(rows["flow"]["socket"])
        flows = self._renderer.render(rows, quoted=quoted_by(self._program, rows), sockets=known)
        for flow, fate in zip(flows, self._fates(rows), strict=True):
            add_fate(flow, fate)
        if self.names:
            for flow, owners in zip(flows, self.names.shown(rows), strict=True):
                flow.update(owners)
        return flows

    def wait_for_flows(self, begun: int, seconds: float) -> int:
        """Wait until other than ``begun`` flows have begun since the start, at most so long; returns how many have."""
        until = time.monotonic() + seconds
        while True:
            before = time.monotonic()
            self.drain()
            now, counters = time.monotonic(), self.table.counters
            if counters.begun != begun or now >= until:
                return counters.begun
            # a twentieth of the time at most goes into looking
            if self._stop.wait(min(max(_LOOK, 20 * (now - before)), until - now)):
                return counters.begun

    def families(self) -> Iterable[Family]:
        """All metrics of this collector, as of now."""
        self.drain()
        with self._lock:
            yield from self._totals.families()
            yield from self._point_families()
            yield from self._self_families()
            if self._talkers:
                yield from self._talkers.families(self._start_ns)
            if self._owners:
                yield from self._owners.families(self._start_ns)
            if self._peers:
                yield from self._peers.families(self._start_ns)

    def _family(self, metric: Metric, samples: list[tuple[tuple[str, ...], float]]) -> Family:
        return Family(metric, summed(samples), self._start_ns)

    def _where(self, number: int) -> tuple[str, str]:
        point = self._points.all[number]
        return point.name, point.namespace

    def _point_families(self) -> Iterable[Family]:
        counters = self._counters()
        present = [number for number in self._points.present() if number]
        points = [(self._where(number), counters[number]) for number in present]
        for metric, field in (
            (metrics.CAPTURE_SKBS, "skbs"),
            (metrics.CAPTURE_PACKETS, "segments"),
            (metrics.CAPTURE_BYTES, "bytes"),
        ):
            yield self._family(
                metric,
                [
                    ((*where, name), float(point["seen"][direction][field]))
                    for where, point in points
                    for direction, name in enumerate(DIRECTIONS)
                ],
            )
        yield self._family(metrics.CAPTURE_HEADER_BYTES, [(where, float(point["header_bytes"])) for where, point in points])
        for metric, lost in (
            (metrics.LOST_PACKETS, counters["lost"]["segments"]),
            (metrics.LOST_BYTES, counters["lost"]["bytes"]),
            (metrics.INNER_LOST_PACKETS, counters["inner_lost"]),
        ):
            yield self._family(
                metric,
                [
                    ((*self._where(number), reason), float(count))
                    for number in present
                    for reason, count in zip(layout.LOST_REASONS, lost[number].tolist(), strict=True)
                ],
            )

    def _self_families(self) -> Iterable[Family]:
        counters = self.table.counters
        yield self._family(
            metrics.FLOWS_ACTIVE,
            [
                ((*self._where(point), TRANSPORT_NAMES[transport]), float(count))
                for point, transport, count in self.table.active()
            ],
        )
        four, other = self.table.sizes()
        capacity = float(self._program.max_flows)
        yield self._family(metrics.MAP_ENTRIES, [(("flows4",), float(four)), (("flows6",), float(other))])
        yield self._family(metrics.MAP_CAPACITY, [(("flows4",), capacity), (("flows6",), capacity)])
        yield self._family(metrics.MAP_MEMORY, [((name,), float(size)) for name, size in self._program.memory().items()])
        yield self._family(metrics.DRAINS, [((), float(counters.drains))])
        yield self._family(metrics.DRAIN_SECONDS, [((), counters.drain_seconds)])
        yield self._family(metrics.EARLY_ENDS, [((), float(counters.evicted))])
        capped = {metrics.FLOW_BYTES: self._totals, metrics.OWNER_BYTES: self._owners, metrics.PEER_BYTES: self._peers}
        yield self._family(metrics.CAPPED, [((metric.name,), float(one.capped)) for metric, one in capped.items() if one])


def add_fate(flow: dict[str, Any], fate: Mapping[str, Any]) -> None:
    """What can happen to any packet stands by itself; all else is TCP's."""
    for name, told in fate.items():
        into = flow if name in _OF_ANY else flow.get("TCPMetric", flow)
        into[name] = told
