"""The flow table: the kernel's cumulative counters, read in batches, as records with a beginning and an end.

One *drain*: read both maps, part by part; add what is new; copy what has changed (by the entry's id); add the growth to the
totals; report what ended; mark what is idle or has lingered long enough, to be read once more and deleted by the next drain.

What every drain looks at for every flow is in columns; what it needs of those that changed, in whole records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import Entries, FlowProgram
from exporters.flows.identify import identify, proto_of, tunnel_of
from exporters.flows.points import Points
from exporters.flows.slots import Slots
from exporters.flows.totals import ANOMALIES, Totals, counted, transport_of

ROW = np.dtype(
    [
        ("id", "u8"),
        ("key", layout.KEY6),
        ("flow", layout.FLOW),
        ("family", "u1"),
        ("identified", "?"),
        ("point", "i4"),
        ("offset", "i8"),  # ns from the kernel's clock to the epoch, as it was when the flow was first read
        ("start", "i8"),  # ns since the epoch
        ("reported", layout.COUNTS, 2),  # what the last update had
        ("reported_at", "i8"),  # when that was; the beginning of the window of the next one
        ("previous", layout.COUNTS, 2),  # what the update before had: LastUpdateMetric is reported - previous
        ("previous_at", "i8"),
        ("tracking", "u1", 16),
        ("uuid", "u1", 16),
        ("parent_uuid", "u1", 16),
        ("parent_tracking", "u1", 16),
        ("parent_start", "i8"),
        ("tunnel", "u8"),  # the network of the tunnel that it is in; 0: none that has a number
    ]
)

_COLUMNS: dict[str, Any] = {
    "packets": ("u8", 2),  # what the totals have, by direction of the key
    "bytes": ("u8", 2),
    "last": "i8",  # the kernel's clock, ns
    "limit": "i8",  # ns without a packet after which the flow ends
    "due": "i8",  # ns since the epoch: when an update is due
    "closing_at": "i8",  # the kernel's clock when the entry was marked, or first read as marked by a new SYN; 0: it is not
    "point": "i4",
    "label": "i4",
    "state": "u1",
    "proto": "u1",
    "four": "?",
    "inner": "?",
    "unreported": "?",  # packets came since the last update
    "rtt_seen": "?",
    "reset_seen": "?",
    "anomalies": ("u4", len(ANOMALIES)),  # what the totals have
}
_UNUSED = 255  # a state that the kernel does not know

_TCP, _UDP = 6, 17
GRACE_NS = 50_000_000
"""Enough for what a processor had begun to count when an entry was read or marked (close_flows itself waits for RCU)."""

Rows = NDArray[Any]
"""Records of :data:`ROW`."""


def in_memory(count: int) -> Rows:
    """So many empty records."""
    return np.zeros(count, ROW)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """When flows are reported and ended; seconds."""

    update: float = 60.0
    tcp: float = 300.0
    udp: float = 30.0
    other: float = 30.0
    linger: float = 5.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Flow records to report: living ones whose update is due, and ended ones.

    Attributes:
        rows: :data:`ROW`; ``previous`` and ``previous_at`` begin the window reported here.
        ended: which of them ended, bool[n].
        now: the window's end for living ones, ns since the epoch.

    """

    rows: Rows
    ended: NDArray[np.bool_]
    now: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What flows grew by between two drains.

    Attributes:
        slots: the place in the table that each flow has from its first growth to its end.
        flows: the latest counters of each, :data:`exporters.bpf.layout.FLOW`.
        proto: their IP protocols.
        packets: uint64[n, 2], by direction of the key.
        bytes: uint64[n, 2].
        rows: gives the identified records of some, by their places in ``flows``.
        records: gives records by their slots, without identities unless they have them already.

    """

    slots: NDArray[np.intp]
    flows: NDArray[Any]
    proto: NDArray[np.uint8]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]
    rows: Callable[[NDArray[np.intp]], Rows]
    records: Callable[[NDArray[np.intp]], Rows]


class GrowthSink(Protocol):
    """Wants to know of every flow that grew."""

    def grew(self, growth: Growth) -> None:
        """Take in what flows of one map grew by; at each drain, though none grew."""
        ...

    def ended(self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows]) -> None:
        """Flows ended, and leave their slots to others; ``records``: as in :class:`Growth`."""
        ...


@dataclass(slots=True)
class TableCounters:
    """What the table counts about itself."""

    drains: int = 0
    drain_seconds: float = 0.0
    begun: int = 0
    evicted: int = 0


class FlowTable:
    """Flow records of all capture points.

    Args:
        program: the kernel side.
        points: names of capture points.
        totals: counters to feed.
        timeouts: when to report and end flows.
        clock: monotonic time, ns, of the same clock as the kernel's time stamps.
        offset: ns from that clock to the epoch.
        grace_ns: an entry read this long after it was marked cannot change any more; below 0: at once.
        growth: are told of all growth.
        rows: gives so many empty records, for the table to keep its own in.

    Attributes:
        closing: how many entries the last drain began to close.

    """

    def __init__(
        self,
        program: FlowProgram,
        points: Points,
        totals: Totals,
        timeouts: Timeouts,
        clock: Callable[[], int],
        offset: Callable[[], int],
        grace_ns: int = GRACE_NS,
        growth: Sequence[GrowthSink] = (),
        rows: Callable[[int], Rows] = in_memory,
    ) -> None:
        self._allocate = rows
        self._program, self._points, self._totals, self._timeouts = program, points, totals, timeouts
        self._clock, self._offset, self._grace_ns, self._growth = clock, offset, grace_ns, growth
        self.closing = 0
        self._lock = threading.Lock()
        self._idle = np.zeros(256, np.int64)
        self._idle[:] = int(timeouts.other * 1e9)
        self._idle[_TCP], self._idle[_UDP] = int(timeouts.tcp * 1e9), int(timeouts.udp * 1e9)
        self.counters = TableCounters()
        self._read_at = 0
        self._empty()

    def _empty(self) -> None:
        self._slots = Slots()
        self._rows: Rows = np.zeros(0, ROW)
        self._columns = {name: np.zeros(0, kind) for name, kind in _COLUMNS.items()}

    def __len__(self) -> int:
        return len(self._slots)

    def memory(self) -> int:
        """Bytes of the records and columns, room for more included."""
        with self._lock:
            return self._rows.nbytes + sum(column.nbytes for column in self._columns.values())

    def order(self, values: Callable[[Rows], NDArray[Any]]) -> NDArray[np.uint64]:
        """Ids of all flows as of the last drain, those of the largest values first."""
        with self._lock:
            ascending = np.argsort(values(self._rows)[self._slots.used], kind="stable")
            return self._slots.ids[ascending[::-1]]

    def rows(self, ids: NDArray[np.uint64] | None = None) -> Rows:
        """A copy of the identified records of these flows (all without) as of the last drain; of those still there."""
        with self._lock:
            slots = self._slots.used if ids is None else self._slots.find(ids)
            return self._identified(slots[slots >= 0])

    def choose(self, pick: Callable[[Rows], NDArray[np.intp]], *, identified: bool) -> NDArray[np.uint64]:
        """Ids of the flows that ``pick`` chooses, in its order, as of the last drain.

        Args:
            pick: is given the records themselves, among them empty ones with the id 0; gives the places of what it chooses.
            identified: it looks at identities.
        """
        with self._lock:
            if identified:
                used = self._slots.used
                missing = used[~self._rows["identified"][used]]
                if len(missing):
                    self._identified(missing)
            return np.asarray(self._rows["id"][pick(self._rows)])

    def active(self) -> list[tuple[int, ...]]:
        """Capture point, number of the transport, count of flows."""
        with self._lock:
            used = self._slots.used
            return counted(self._columns["point"][used], transport_of(self._columns["proto"][used]))

    def points_in_use(self) -> set[int]:
        """Capture points that records refer to."""
        with self._lock:
            return set(np.flatnonzero(np.bincount(self._columns["point"][self._slots.used])).tolist())

    def sizes(self) -> tuple[int, int]:
        """Entries in the IPv4 map, and in the other one, as of the last drain."""
        with self._lock:
            four = int(self._columns["four"][self._slots.used].sum())
            return four, len(self._slots) - four

    def drain(self, *, identified: bool = True) -> Batch:
        """Read the kernel's counters; returns what is to be reported, with its identities only if they are asked for."""
        with self._lock:
            began = self._clock()
            offset = self._offset()
            new, came = [np.zeros(0, np.intp)], {4: 0, 6: 0}
            for entries in self._program.entries():
                new.append(self._merge(entries, began, offset))
                came[entries.family] += len(new[-1])
            self._name_parents(np.concatenate(new))
            self._read_at = began
            batch = self._end(began, identified=identified)
            self._mark(began, came)
            self.counters.drains += 1
            self.counters.drain_seconds += (self._clock() - began) / 1e9
            return batch

    def finish(self) -> Batch:
        """Report everything, ended or not: the process stops."""
        with self._lock:
            rows = self._identified(self._slots.used)
            rows = rows[rows["flow"]["dir"]["packets"].sum(axis=1) > 0]
            turn_window(rows, rows["offset"] + rows["flow"]["last"].astype(np.int64))
            self._empty()
            ended = (rows["flow"]["ended"] > 0) | (rows["flow"]["state"] == layout.CLOSING)
            return Batch(rows, ended, self._clock() + self._offset())

    def _identified(self, slots: NDArray[np.intp]) -> Rows:
        rows = whole(self._rows)[slots].view(ROW)
        if not rows["identified"].all():
            identify(rows, self._points)
            whole(self._rows)[slots] = whole(rows)
        return rows

    def _records(self, slots: NDArray[np.intp]) -> Rows:
        return whole(self._rows)[slots].view(ROW)

    def _merge(self, entries: Entries, now: int, offset: int) -> NDArray[np.intp]:
        """Take in what one map holds; returns the slots of new flows."""
        columns, flows = self._columns, entries.flows
        packets = flows["dir"]["packets"]
        slots = self._slots.find(flows["id"])
        known = np.flatnonzero(slots >= 0)
        at = slots[known]
        changed = (packets[known] != columns["packets"][at]).any(axis=1) | (flows["state"][known] != columns["state"][at])
        # A packet may have been half counted when it was last read: once more, whatever came shortly before.
        changed |= columns["last"][at] >= self._read_at - GRACE_NS
        # An entry with no packet yet was inserted a moment ago: it is counted by the next drain.
        fresh = np.flatnonzero((slots < 0) & (packets[:, 0] + packets[:, 1] > 0))
        new = self._add(entries, fresh, offset)
        at = np.concatenate([at[changed], new])
        latest = whole(flows)[np.concatenate([known[changed], fresh])]
        whole(self._rows["flow"])[at] = latest
        self._account(at, latest.view(layout.FLOW), now)
        return new

    def _add(self, entries: Entries, fresh: NDArray[np.intp], offset: int) -> NDArray[np.intp]:
        flows, keys = entries.flows, entries.wide_keys(fresh)
        ids = flows["id"][fresh]
        slots = self._slots.add(ids)
        self._grow()
        rows, columns = self._rows, self._columns
        whole(rows["key"])[slots] = whole(keys)
        start = flows["first"][fresh].astype(np.int64) + offset
        proto = proto_of(keys)
        for name, values in (("id", ids), ("family", entries.family), ("offset", offset), ("point", keys["point"])):
            rows[name][slots] = values
        for name in ("start", "reported_at", "previous_at"):
            rows[name][slots] = start
        label = self._totals.labels(keys, flows["ethertype"][fresh], entries.family)
        for name, column in (
            *((name, 0) for name in ("packets", "bytes", "closing_at", "unreported", "rtt_seen", "reset_seen", "anomalies")),
            *(("due", start + int(self._timeouts.update * 1e9)), ("point", keys["point"]), ("label", label)),
            *(("proto", proto), ("four", entries.family == 4), ("inner", keys["parent"] != 0)),
        ):
            columns[name][slots] = column
        self._totals.began(columns["point"][slots], proto)
        self.counters.begun += len(slots)
        return slots

    def _grow(self) -> None:
        missing = self._slots.capacity - len(self._rows)
        if not missing:
            return
        rows = self._allocate(self._slots.capacity)
        whole(rows)[: len(self._rows)] = whole(self._rows)
        self._rows = rows
        self._columns = {name: _longer(column, missing) for name, column in self._columns.items()}
        self._columns["state"][-missing:] = _UNUSED

    def _account(self, at: NDArray[np.intp], flows: NDArray[Any], now: int) -> None:
        """Add the growth of flows, given by slot and latest counters, to the totals."""
        columns = self._columns
        packets, bytes_ = flows["dir"]["packets"], flows["dir"]["bytes"]
        more_packets, more_bytes = packets - columns["packets"][at], bytes_ - columns["bytes"][at]
        columns["packets"][at], columns["bytes"][at] = packets, bytes_
        columns["unreported"][at] |= (more_packets != 0).any(axis=1)
        columns["last"][at], columns["state"][at] = flows["last"], flows["state"]
        proto = columns["proto"][at]
        columns["limit"][at] = np.where(flows["ended"] > 0, int(self._timeouts.linger * 1e9), self._idle[proto])
        closing = at[flows["state"] == layout.CLOSING]
        columns["closing_at"][closing[columns["closing_at"][closing] == 0]] = now
        self._totals.grew(columns["label"][at], columns["inner"][at], flows["hooks"], more_packets, more_bytes)
        tcp = np.flatnonzero(proto == _TCP)
        measured = at[tcp[(flows["rtt"][tcp, 0] > 0) & ~columns["rtt_seen"][at[tcp]]]]
        if len(measured):
            columns["rtt_seen"][measured] = True
            self._totals.observed_rtt(whole(self._rows)[measured].view(ROW))
        reset = at[tcp[flows["rst"][tcp].any(axis=1) & ~columns["reset_seen"][at[tcp]]]]
        if len(reset):
            columns["reset_seen"][reset] = True
            self._totals.saw_resets(columns["point"][reset])
        self._account_anomalies(at[tcp], flows[tcp])
        if self._growth:
            growth = Growth(
                slots=at,
                flows=flows,
                proto=proto,
                packets=more_packets,
                bytes=more_bytes,
                rows=lambda some: self._identified(at[some]),
                records=self._records,
            )
            for sink in self._growth:
                sink.grew(growth)

    def _account_anomalies(self, at: NDArray[np.intp], flows: NDArray[Any]) -> None:
        seen = np.stack([flows[field].sum(axis=1, dtype=np.uint32) for field in ANOMALIES.values()], axis=1)
        more = seen - self._columns["anomalies"][at]
        grown = np.flatnonzero(more.any(axis=1))
        if len(grown):
            self._columns["anomalies"][at] = seen
            self._totals.saw_anomalies(self._columns["point"][at[grown]], more[grown])

    def _name_parents(self, at: NDArray[np.intp]) -> None:
        """Give new inner flows their outer flow's UUID; outer ones first, for a tunnel in a tunnel."""
        rows = self._rows
        at = at[rows["key"]["parent"][at] >= layout.FIRST_ID]
        for _ in range(layout.LEVELS):
            if not len(at):
                return
            where = self._slots.find(rows["key"]["parent"][at])
            there = where >= 0
            # a parent that waits for its own parent's name comes in the next round
            waiting = np.isin(where, at)
            ready = there & ~waiting
            parents = self._identified(where[ready])
            for mine, its in (("parent_uuid", "uuid"), ("parent_tracking", "tracking"), ("parent_start", "start")):
                rows[mine][at[ready]] = parents[its]
            rows["tunnel"][at[ready]] = tunnel_of(parents["key"])
            at = at[there & waiting]

    def _end(self, now: int, *, identified: bool) -> Batch:
        """Take out what was closed and read once more; find the living whose update is due."""
        columns = self._columns
        epoch = now + self._offset()
        final = (columns["state"] == layout.CLOSING) & (columns["closing_at"] + self._grace_ns < now)
        due = (columns["state"] == layout.LIVE) & columns["unreported"] & (columns["due"] <= epoch)
        chosen = np.flatnonzero(due | final)
        ended = final[chosen]
        rows = self._identified(chosen) if identified else self._records(chosen)
        turn_window(rows, np.where(ended, rows["offset"] + rows["flow"]["last"].astype(np.int64), epoch))
        whole(self._rows)[chosen] = whole(rows)
        columns["unreported"][chosen] = False
        columns["due"][chosen] = rows["reported_at"] + int(self._timeouts.update * 1e9)
        if ended.any():
            gone = whole(rows)[ended].view(ROW)
            self._totals.ended(gone["point"], proto_of(gone["key"]), finish_of(gone))
            for sink in self._growth:
                sink.ended(chosen[ended], self._records)
            self._program.delete_flows(gone["key"], gone["family"])
            columns["state"][chosen[ended]] = _UNUSED
            whole(self._rows)[chosen[ended]] = np.void(bytes(ROW.itemsize))
            self._slots.remove(gone["id"])
        return Batch(rows, ended, epoch)

    def _mark(self, now: int, came: Mapping[int, int]) -> None:
        """Begin to close what is idle, what ended and lingered, and, when a map fills up, what was idle longest.

        ``came``: by family, how many flows began since the last drain. What is marked leaves with the next drain; so a map
        keeps room for those that come until then and a little longer, at least a quarter of it.
        """
        columns = self._columns
        live = columns["state"] == layout.LIVE
        age = now - columns["last"]
        done = live & (age > columns["limit"])
        most = self._program.max_flows
        for family, new in came.items():
            candidates = np.flatnonzero(live & ~done & (columns["four"] == (family == 4)))
            excess = len(candidates) - (most - min(max(most // 4, 3 * new), most // 2))
            if excess > 0:
                self._evict(done, candidates, age, excess)
        marked = np.flatnonzero(done)
        columns["closing_at"][marked] = now
        self.closing = len(marked)
        part = whole(self._rows)[marked].view(ROW)
        self._program.close_flows(part["key"], part["id"], part["family"])

    def _evict(self, done: NDArray[np.bool_], candidates: NDArray[np.intp], age: NDArray[np.int64], excess: int) -> None:
        oldest = candidates[np.argpartition(-age[candidates], excess - 1)[:excess]]
        done[oldest] = True
        self.counters.evicted += len(oldest)


def whole(records: NDArray[Any]) -> NDArray[Any]:
    """Records as plain memory: numpy copies it at once, but a record field by field."""
    return records.view(f"V{records.dtype.itemsize}")


def _longer(array: NDArray[Any], more: int) -> NDArray[Any]:
    result: NDArray[Any] = np.zeros((len(array) + more, *array.shape[1:]), array.dtype)
    result[: len(array)] = array
    return result


def turn_window(rows: Rows, window_end: NDArray[np.int64]) -> None:
    """Begin a new window: what was counted since the last update is reported as of ``window_end``, ns since the epoch."""
    rows["previous"], rows["previous_at"] = rows["reported"], rows["reported_at"]
    rows["reported"], rows["reported_at"] = rows["flow"]["dir"], np.maximum(window_end, rows["reported_at"])


def finish_of(rows: Rows) -> NDArray[np.uint8]:
    """How flows ended: index into :data:`exporters.flows.totals.FINISHES`."""
    reset = rows["flow"]["rst"].any(axis=1)
    closed = rows["flow"]["fin"].all(axis=1)
    return np.select([reset, closed], [2, 1], 0).astype(np.uint8)
