"""The flow table: the kernel's cumulative counters, read in batches, as records with a beginning and an end.

One *drain*: read both maps; add what is new; update what is known (by the entry's id); add the growth to the totals; report
what ended; mark what is idle or has lingered long enough, to be read once more and deleted by the next drain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram, Snapshot
from exporters.flows.identify import identify, proto_of
from exporters.flows.points import Points
from exporters.flows.totals import Totals

ROW = np.dtype(
    [
        ("id", "u8"),
        ("key", layout.KEY6),
        ("flow", layout.FLOW),
        ("family", "u1"),
        ("identified", "?"),
        ("rtt_seen", "?"),
        ("reset_seen", "?"),
        ("point", "i4"),
        ("label", "i4"),
        ("offset", "i8"),  # ns from the kernel's clock to the epoch, as it was when the flow was first read
        ("start", "i8"),  # ns since the epoch
        ("counted", layout.COUNTS, 2),  # what the totals have
        ("reported", layout.COUNTS, 2),  # what the last update had
        ("reported_at", "i8"),  # when that was; the beginning of the window of the next one
        ("previous", layout.COUNTS, 2),  # what the update before had: LastUpdateMetric is reported - previous
        ("previous_at", "i8"),
        ("closing_at", "i8"),  # clock's ns when the entry was first read as closing; 0: it is not
        ("tracking", "u1", 16),
        ("uuid", "u1", 16),
        ("parent_uuid", "u1", 16),
        ("parent_tracking", "u1", 16),
        ("parent_start", "i8"),
    ]
)

_TCP, _UDP = 6, 17
GRACE_NS = 1_000_000
"""Enough for what a processor had begun to count when the entry was marked (close_flows itself waits for RCU)."""


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
        rows: :data:`ROW`, identified; ``previous`` and ``previous_at`` begin the window reported here.
        ended: which of them ended, bool[n].
        now: the window's end for living ones, ns since the epoch.

    """

    rows: NDArray[Any]
    ended: NDArray[np.bool_]
    now: int


@dataclass(slots=True)
class TableCounters:
    """What the table counts about itself."""

    drains: int = 0
    drain_seconds: float = 0.0
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
        grace_ns: a closing entry read this long after it was first seen closing cannot change any more; below 0: at once.

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
    ) -> None:
        self._program, self._points, self._totals, self._timeouts = program, points, totals, timeouts
        self._clock, self._offset, self._grace_ns = clock, offset, grace_ns
        self.closing = 0
        self._rows = np.zeros(0, ROW)  # sorted by id
        self._lock = threading.Lock()
        self._idle = np.zeros(256, np.int64)
        self._idle[:] = int(timeouts.other * 1e9)
        self._idle[_TCP], self._idle[_UDP] = int(timeouts.tcp * 1e9), int(timeouts.udp * 1e9)
        self.counters = TableCounters()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> NDArray[Any]:
        """A copy of all records, identified, as of the last drain."""
        with self._lock:
            identify(self._rows, self._points)
            return self._rows.copy()

    def point_numbers(self) -> NDArray[np.int32]:
        """The capture point of each record, as of the last drain."""
        with self._lock:
            return np.array(self._rows["point"])

    def sizes(self) -> tuple[int, int]:
        """Entries in the IPv4 map, and in the other one, as of the last drain."""
        with self._lock:
            four = int((self._rows["family"] == 4).sum())
            return four, len(self._rows) - four

    def drain(self) -> Batch:
        """Read the kernel's counters; returns what is to be reported."""
        with self._lock:
            began = self._clock()
            snapshot = self._program.snapshot()
            self._merge(snapshot, self._offset())
            self._account()
            batch = self._end(began)
            self._mark(began)
            self.counters.drains += 1
            self.counters.drain_seconds += (self._clock() - began) / 1e9
            return batch

    def finish(self) -> Batch:
        """Report everything, ended or not: the process stops."""
        with self._lock:
            identify(self._rows, self._points)
            rows = self._rows[self._rows["flow"]["dir"]["packets"].sum(axis=1) > 0].copy()
            _turn_window(rows, rows["offset"] + rows["flow"]["last"].astype(np.int64))
            self._rows = np.zeros(0, ROW)
            ended = (rows["flow"]["ended"] > 0) | (rows["flow"]["state"] == layout.CLOSING)
            return Batch(rows, ended, self._clock() + self._offset())

    def _merge(self, snapshot: Snapshot, offset: int) -> None:
        # An entry with no packet yet was inserted a moment ago: it is counted by the next drain.
        filled = np.asarray(snapshot.flows["dir"]["packets"].any(axis=1))
        order = np.argsort(snapshot.flows["id"], kind="stable")
        order = order[filled[order]]
        flows = snapshot.flows[order]
        ids = flows["id"]
        known = self._rows["id"]
        at = np.searchsorted(known, ids)
        found = _present(known, ids, at)
        _whole(self._rows["flow"])[at[found]] = _whole(flows)[found]
        fresh = ~found
        if not fresh.any():
            return
        new = np.zeros(int(fresh.sum()), ROW)
        new["id"], new["family"] = ids[fresh], snapshot.family[order[fresh]]
        _whole(new["flow"])[:] = _whole(flows)[fresh]
        _whole(new["key"])[:] = _whole(snapshot.keys)[order[fresh]]
        new["offset"] = offset
        new["start"] = new["flow"]["first"].astype(np.int64) + offset
        new["reported_at"] = new["previous_at"] = new["start"]
        new["point"] = new["key"]["point"]
        new["label"] = self._totals.labels(new)
        rows = np.concatenate([_whole(self._rows), _whole(new)])
        in_order = np.argsort(np.concatenate([self._rows["id"], new["id"]]), kind="stable")
        self._rows = rows[in_order].view(ROW)
        self._name_parents(new["id"])
        self._totals.began(new)

    def _name_parents(self, ids: NDArray[np.uint64]) -> None:
        """Give new inner flows their outer flow's UUID; outer ones first, for a tunnel in a tunnel."""
        at = np.searchsorted(self._rows["id"], ids)
        at = at[self._rows["key"]["parent"][at] >= layout.FIRST_ID]
        for _ in range(layout.LEVELS):
            if not len(at):
                return
            parents = self._rows["key"]["parent"][at]
            where = np.searchsorted(self._rows["id"], parents)
            there = _present(self._rows["id"], parents, where)
            ready = there.copy()
            # a parent that waits for its own parent's name comes in the next round
            waiting = np.isin(where, at)
            ready &= ~waiting
            above = np.unique(where[ready])
            part = self._rows[above]
            identify(part, self._points)
            self._rows[above] = part
            for mine, its in (("parent_uuid", "uuid"), ("parent_tracking", "tracking"), ("parent_start", "start")):
                self._rows[mine][at[ready]] = self._rows[its][where[ready]]
            at = at[there & waiting]

    def _account(self) -> None:
        rows = self._rows
        seen = rows["flow"]["dir"]
        packets = seen["packets"] - rows["counted"]["packets"]
        grown = np.flatnonzero(packets.any(axis=1))
        if len(grown):
            bytes_ = seen["bytes"][grown] - rows["counted"]["bytes"][grown]
            self._totals.grew(rows[grown], packets[grown], bytes_)
            _whole(rows["counted"])[grown] = _whole(seen)[grown]
        tcp = proto_of(rows["key"]) == _TCP
        measured = np.flatnonzero(tcp & ~rows["rtt_seen"] & (rows["flow"]["rtt"][:, 0] > 0))
        if len(measured):
            rows["rtt_seen"][measured] = True
            part = rows[measured]
            identify(part, self._points)
            rows[measured] = part
            self._totals.observed_rtt(part)
        reset = np.flatnonzero(tcp & ~rows["reset_seen"] & rows["flow"]["rst"].any(axis=1))
        if len(reset):
            rows["reset_seen"][reset] = True
            self._totals.saw_resets(rows[reset])

    def _end(self, now: int) -> Batch:
        """Take out what was closed and read once more; find the living whose update is due."""
        rows = self._rows
        closing = rows["flow"]["state"] == layout.CLOSING
        rows["closing_at"][closing & (rows["closing_at"] == 0)] = now
        final = closing & (rows["closing_at"] + self._grace_ns < now)
        update = int(self._timeouts.update * 1e9)
        epoch = now + self._offset()
        due = ~closing & (rows["reported_at"] + update <= epoch)
        due &= (rows["flow"]["dir"]["packets"] != rows["reported"]["packets"]).any(axis=1)
        chosen = np.flatnonzero(due | final)
        if not len(chosen):
            return Batch(rows[:0].copy(), np.zeros(0, np.bool_), epoch)
        part = rows[chosen]
        identify(part, self._points)
        ended = final[chosen]
        window_end = np.where(ended, part["offset"] + part["flow"]["last"].astype(np.int64), epoch)
        _turn_window(part, window_end)
        rows[chosen] = part
        if final.any():
            gone = rows[final]
            self._totals.ended(gone, finish_of(gone))
            self._program.delete_flows(gone["key"], gone["family"])
            self._rows = rows[~final]
        return Batch(part, ended, epoch)

    def _mark(self, now: int) -> None:
        """Begin to close what is idle, what ended and lingered, and, when the map fills up, what was idle longest."""
        rows, self.closing = self._rows, 0
        if not len(rows):
            return
        live = rows["flow"]["state"] == layout.LIVE
        age = now - rows["flow"]["last"].astype(np.int64)
        limit = self._idle[proto_of(rows["key"])]
        limit = np.where(rows["flow"]["ended"] > 0, int(self._timeouts.linger * 1e9), limit)
        done = live & (age > limit)
        for four in (True, False):
            chosen = live & ~done & ((rows["family"] == 4) == four)
            excess = int(((rows["family"] == 4) == four).sum()) - self._program.max_flows * 3 // 4
            if excess > 0:
                self._evict(done, np.flatnonzero(chosen), age, excess)
        marked = np.flatnonzero(done)
        self.closing = len(marked)
        part = rows[marked]
        self._program.close_flows(part["key"], part["id"], part["family"])

    def _evict(self, done: NDArray[np.bool_], candidates: NDArray[np.intp], age: NDArray[np.int64], excess: int) -> None:
        excess = min(excess, len(candidates))
        if not excess:
            return
        oldest = candidates[np.argpartition(-age[candidates], excess - 1)[:excess]]
        done[oldest] = True
        self.counters.evicted += len(oldest)


def _whole(records: NDArray[Any]) -> NDArray[Any]:
    """Records as plain memory: numpy copies it at once, but a record field by field."""
    return records.view(f"V{records.dtype.itemsize}")


def _present(known: NDArray[np.uint64], wanted: NDArray[np.uint64], at: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of ``wanted`` stand in sorted ``known`` at the places that searchsorted gave."""
    found = np.zeros(len(at), np.bool_)
    inside = np.flatnonzero(at < len(known))
    found[inside] = known[at[inside]] == wanted[inside]
    return found


def _turn_window(rows: NDArray[Any], window_end: NDArray[np.int64]) -> None:
    rows["previous"], rows["previous_at"] = rows["reported"], rows["reported_at"]
    rows["reported"], rows["reported_at"] = rows["flow"]["dir"], np.maximum(window_end, rows["reported_at"])


def finish_of(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """How flows ended: index into :data:`exporters.flows.totals.FINISHES`."""
    reset = rows["flow"]["rst"].any(axis=1)
    closed = rows["flow"]["fin"].all(axis=1)
    return np.select([reset, closed], [2, 1], 0).astype(np.uint8)
