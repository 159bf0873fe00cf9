"""What flows carry, counted by whose their ends are: pod, container, systemd's unit, or program.

A packet is its sender's (``transmit``) and its receiver's (``receive``), as far as they are on this host. All by arrays that
stand beside the table's: whose an end is, is asked once for each flow; once it is known, all that it carried is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows import metrics
from exporters.flows.points import Points
from exporters.flows.receivers import EndSockets
from exporters.flows.table import Growth, Rows
from exporters.flows.totals import DIRECTIONS, MAX_LABELS, TRANSPORTS, transports
from exporters.sockets.known import Whose
from exporters.sockets.processes import NOBODY, Process
from exporters.sockets.shown import Described
from skytrail.metrics import Family, summed

_Owner = tuple[str, str]
"""Kind and name."""
_Labels = tuple[int, int, _Owner]
"""Capture point, transport, owner."""

_OVERFLOW: _Owner = ("", "overflow")
_NOBODY: _Owner = ("", "")
_EVERYTHING: _Labels = (-1, 0, _OVERFLOW)  # what is beyond MAX_LABELS
_SHORT_ID = 12
_UDP = 17
_AGAIN = 5.0  # seconds after which those that were not known are asked for again
_NAMELESS = 10.0  # seconds that a runtime gets to tell the name of a new container
_LOOK = 60.0  # seconds between two looks for owners that are gone
_KEPT = 3600.0  # seconds without a flow: longer than a quiet service sleeps (ntp asks every 1024 s)
_KEPT_CROWDED = 300.0  # when there is no room for others

_COLUMNS: dict[str, Any] = {
    "label": ("i4", 2),  # number of the label set that an end is counted under; 0: not known yet
    "asked": ("u8", 2),  # the cookies of its ends, as they were when its owners were asked for
    "since": "f8",  # when that was first
    "silent": "?",  # UDP, and one end has only received
    "used": "?",
}


class Owners:
    """Counters by owner, fed with what flows grew by.

    Args:
        points: names of capture points.
        whose: whose sockets are, by their cookies.
        sockets: which sockets are at the ends of flows.
        described: what a control group is.
        most: owners at once; what others carry is ``overflow``.
        clock: seconds.

    Attributes:
        capped: flows' ends that were counted as ``overflow``.
    """

    def __init__(
        self,
        points: Points,
        whose: Callable[[NDArray[Any]], Whose],
        sockets: EndSockets,
        described: Described,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._points, self._whose, self._sockets, self._described = points, whose, sockets, described
        self._most, self._clock = most, clock
        self._flows = {name: np.zeros(0, kind) for name, kind in _COLUMNS.items()}
        self._labels: dict[_Labels, int] = {_EVERYTHING: 1}  # number 0 takes what is of nobody, and is never told of
        self._free: list[int] = []
        self._owners: set[_Owner] = set()
        self._traffic = np.zeros((64, 2, 2), np.uint64)  # by label set, by receive or transmit; packets, bytes
        self._begun = np.zeros(64, np.int64)
        self._seen = np.zeros(64)  # when each label set last grew
        self._again = self._look = clock()
        self.capped = 0

    def grew(self, growth: Growth) -> None:
        """Take in growth; ask for owners that are not known yet."""
        now, flows, slots = self._clock(), self._room(growth.slots), growth.slots
        counts = np.stack([growth.packets, growth.bytes], axis=2)
        label = flows["label"][slots]
        for end in (0, 1):
            here = np.flatnonzero(label[:, end])
            self._book(label[here, end], counts[here, end], counts[here, 1 - end], now)
        cookies = growth.flows["socket"]
        fresh = ~flows["used"][slots]
        flows["used"][slots[fresh]], flows["since"][slots[fresh]] = True, now
        changed = fresh | (cookies != flows["asked"][slots]).any(axis=1)
        flows["asked"][slots] = cookies
        # who sends is told by the packet; who only receives datagrams is looked for
        only_receives = (cookies == 0) & (growth.flows["dir"]["packets"] == 0)
        flows["silent"][slots] = (growth.proto == _UDP) & only_receives.any(axis=1)
        due = slots[changed]
        if now >= self._again:
            self._again = now + _AGAIN
            due = np.flatnonzero(flows["used"])
        self._settle(due, growth.records, now)
        if now >= self._look:
            self._look = now + _LOOK
            self._expire(now)

    def ended(self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows]) -> None:
        """Flows end: what is not counted yet is, if it can be known whose it is."""
        self._settle(slots, records, self._clock(), last=True)
        for column in self._flows.values():
            column[slots] = 0

    def _room(self, slots: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        needed, there = int(slots.max(initial=-1)) + 1, len(self._flows["used"])
        if needed > there:
            more = max(needed, 2 * there) - there
            self._flows = {
                name: np.concatenate([column, np.zeros((more, *column.shape[1:]), column.dtype)])
                for name, column in self._flows.items()
            }
        return self._flows

    def _book(self, labels: NDArray[np.int32], sent: NDArray[np.uint64], received: NDArray[np.uint64], now: float) -> None:
        """Add packets and bytes, [n, 2], to label sets."""
        if not len(labels):
            return
        self._seen[labels] = now
        for direction, counts in enumerate((received, sent)):  # as DIRECTIONS
            for what in (0, 1):
                # float64 is exact below 2**53: one drain's growth is far below
                added = np.bincount(labels, counts[:, what], len(self._traffic))
                self._traffic[:, direction, what] += added.astype(np.uint64)

    def _settle(
        self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows], now: float, *, last: bool = False
    ) -> None:
        """Find the owners of ends that are not known yet, and count under them what the flows have carried so far."""
        flows = self._flows
        missing = flows["label"][slots] == 0
        slots = slots[(missing & (flows["asked"][slots] > 0)).any(axis=1) | (missing.any(axis=1) & flows["silent"][slots])]
        if not len(slots):
            return
        rows, cookies = records(slots), flows["asked"][slots]
        silent = np.flatnonzero(flows["silent"][slots])
        if len(silent):
            cookies[silent] = self._sockets(rows[silent])
        at, end = np.nonzero((flows["label"][slots] == 0) & (cookies > 0))
        if not len(at):
            return
        processes, which = self._whose(cookies[at, end])
        owners, named = self._owners_of(processes)
        known = np.array([owner != _NOBODY for owner in owners])[which]
        known &= np.array(named)[which] | last | (flows["since"][slots[at]] + _NAMELESS <= now)
        at, end, which = at[known], end[known], which[known]
        keys, slots = rows["key"][at], slots[at]
        labels = self._numbers(keys["point"], transports(keys), which, owners)
        before = flows["label"][slots, 1 - end]
        flows["label"][slots, end] = labels
        # a flow between two ends of one owner is one flow
        twice = (before == labels) | ((end == 1) & (flows["label"][slots, 0] == labels))
        self._begun += np.bincount(labels[~twice], minlength=len(self._begun))
        carried = rows["flow"]["dir"][at]
        counts = np.stack([carried["packets"], carried["bytes"]], axis=2)
        every = np.arange(len(at))
        self._book(labels, counts[every, end], counts[every, 1 - end], now)

    def _owners_of(self, processes: Sequence[Process]) -> tuple[list[_Owner], list[bool]]:
        """The owner that each process belongs to, and whether its name will not become better."""
        told = cache(self._owner_of_group)
        found = [
            (_NOBODY, True) if process is NOBODY else told(process.cgroup) or (("process", process.name), True)
            for process in processes
        ]
        return [owner for owner, _ in found], [named for _, named in found]

    def _owner_of_group(self, cgroup: str) -> tuple[_Owner, bool] | None:
        told = self._described(cgroup) if cgroup else {}
        if pod := told.get("Pod"):
            if "Name" in pod:
                return ("pod", f"{pod.get('Namespace', '')}/{pod['Name']}"), True
            return ("pod", pod["UID"]), False
        if container := told.get("Container"):
            if "Name" in container:
                return ("container", container["Name"]), True
            return ("container", container["ID"][:_SHORT_ID]), False
        if unit := told.get("Unit"):
            return ("unit", unit["Name"]), True
        return None

    def _numbers(
        self,
        points: NDArray[np.uint32],
        transport: NDArray[np.uint8],
        which: NDArray[np.intp],
        owners: Sequence[_Owner],
    ) -> NDArray[np.int32]:
        """The numbers of label sets; makes those that are not there yet."""
        packed = points.astype(np.int64) << 40 | transport.astype(np.int64) << 32 | which
        sets, inverse = np.unique(packed, return_inverse=True)
        numbers = [self._number(one >> 40, one >> 32 & 0xFF, owners[one & 0xFFFFFFFF]) for one in sets.tolist()]
        return np.array(numbers, np.int32)[inverse]

    def _number(self, point: int, transport: int, owner: _Owner) -> int:
        if owner not in self._owners:
            if len(self._owners) >= self._most:
                self.capped += 1
                owner = _OVERFLOW
            else:
                self._owners.add(owner)
        labels = (point, transport, owner)
        number = self._labels.get(labels)
        if number is None:
            if len(self._labels) > MAX_LABELS:
                self.capped += 1
                return self._labels[_EVERYTHING]
            number = self._free.pop() if self._free else len(self._labels) + 1
            if number >= len(self._traffic):
                self._traffic, self._begun, self._seen = (
                    np.concatenate([column, np.zeros_like(column)]) for column in (self._traffic, self._begun, self._seen)
                )
            self._labels[labels] = number
        return number

    def forget(self, points: set[int]) -> None:
        """Drop the series of capture points that are gone."""
        self._drop([labels for labels in self._labels if labels[0] in points])

    def _expire(self, now: float) -> None:
        """Drop the series of owners that have had no flow for long."""
        in_use = np.bincount(self._flows["label"].ravel(), minlength=len(self._seen)) > 0
        newest: dict[_Owner, float] = {}
        for (_, _, owner), number in self._labels.items():
            seen = now if in_use[number] else float(self._seen[number])
            newest[owner] = max(newest.get(owner, 0.0), seen)
        kept = _KEPT if len(self._owners) < self._most else _KEPT_CROWDED
        gone = {owner for owner, seen in newest.items() if seen + kept < now and owner != _OVERFLOW}
        self._drop([labels for labels in self._labels if labels[2] in gone])
        self._owners &= {owner for _, _, owner in self._labels}

    def _drop(self, gone: Iterable[_Labels]) -> None:
        for labels in gone:
            number = self._labels.pop(labels)
            self._traffic[number], self._begun[number] = 0, 0
            self._free.append(number)

    def families(self, start_ns: int) -> Iterable[Family]:
        """All counters as they are now."""
        for what, metric in ((0, metrics.OWNER_PACKETS), (1, metrics.OWNER_BYTES)):
            samples = [
                (self._values(labels, direction), float(self._traffic[number, direction, what]))
                for labels, number in self._labels.items()
                for direction in (0, 1)
                if self._traffic[number, direction, 0]
            ]
            yield Family(metric, summed(samples), start_ns)
        begun = [
            (self._values(labels), float(self._begun[number])) for labels, number in self._labels.items() if self._begun[number]
        ]
        yield Family(metrics.OWNER_FLOWS, summed(begun), start_ns)

    def _values(self, labels: _Labels, direction: int | None = None) -> tuple[str, ...]:
        point, transport, owner = labels
        way = () if direction is None else (DIRECTIONS[direction],)
        if labels == _EVERYTHING:
            return ("overflow", "", *way, "", *owner)
        where = self._points.all[point]
        return (where.name, where.namespace, *way, TRANSPORTS[transport], *owner)
