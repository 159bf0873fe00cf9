"""The opt-in metrics of who sends to whom: what flows carry between the owners of their ends, by the address book.

A flow is counted once both its ends are named, or cannot be within a while; then all that it has carried so far is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from exporters.flows import metrics
from exporters.flows.names import UNNAMED, FlowNames
from exporters.flows.points import Points
from exporters.flows.table import Growth, Rows
from skytrail.addresses.book import Owner
from skytrail.metrics import Family, summed

_Pair = tuple[int, Owner, Owner]
"""Capture point, who sends, who gets."""

_OVERFLOW = Owner("", "overflow")
_EVERYTHING: _Pair = (-1, _OVERFLOW, _OVERFLOW)
_PATIENCE = 10.0  # seconds that the book gets to name who is new
_AGAIN = 2.0  # seconds after which all who are not named yet are looked for again
_LOOK = 60.0  # seconds between two looks for pairs that are silent
_KEPT = 3600.0  # seconds without a packet
_KEPT_CROWDED = 300.0  # when there is no room for others


class Peers:
    """Counters by pair, fed with what flows grew by.

    Args:
        points: names of capture points.
        names: who has the addresses of flows.
        most: pairs at once; what others carry is ``overflow``.
        clock: seconds.

    Attributes:
        capped: flows' ways that were counted as ``overflow``.
    """

    def __init__(self, points: Points, names: FlowNames, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._points, self._names, self._most, self._clock = points, names, most, clock
        # by slot: the number of the pair that each end of the key sends as; 0: not known yet
        self._label = np.zeros((0, 2), np.int32)
        self._since = np.zeros(0)
        self._pairs: dict[_Pair, int] = {_EVERYTHING: 1}
        self._free: list[int] = []
        self._traffic = np.zeros((most + 2, 2), np.uint64)  # packets, bytes
        self._seen = np.zeros(most + 2)
        self._again = self._look = clock()
        self.capped = 0

    def grew(self, growth: Growth) -> None:
        """Take in growth."""
        now, slots = self._clock(), growth.slots
        self._room(slots)
        counts, label = np.stack([growth.packets, growth.bytes], axis=2), self._label[slots]
        for end in (0, 1):
            known = label[:, end] > 0
            self._book(label[known, end], counts[known, end], now)
        new = self._since[slots] == 0
        self._since[slots[new]] = now
        due = slots[label[:, 0] == 0]
        if now >= self._again:
            self._again = now + _AGAIN
            due = np.flatnonzero((self._since > 0) & (self._label[:, 0] == 0))
        self._settle(due, growth.records, now)
        if now >= self._look:
            self._look = now + _LOOK
            self._expire(now)

    def ended(self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows]) -> None:
        """Flows end: what is not counted yet is."""
        self._room(slots)
        self._settle(slots[self._label[slots, 0] == 0], records, self._clock(), last=True)
        self._label[slots], self._since[slots] = 0, 0

    def _room(self, slots: NDArray[np.intp]) -> None:
        needed, there = int(slots.max(initial=-1)) + 1, len(self._since)
        if needed > there:
            more = max(needed, 2 * there) - there
            self._label = np.concatenate([self._label, np.zeros((more, 2), np.int32)])
            self._since = np.concatenate([self._since, np.zeros(more)])

    def _book(self, labels: NDArray[np.int32], counts: NDArray[np.uint64], now: float) -> None:
        if not len(labels):
            return
        self._seen[labels] = now
        for what in (0, 1):
            # float64 is exact below 2**53: one drain's growth is far below
            added = np.bincount(labels, counts[:, what], len(self._traffic))
            self._traffic[:, what] += added.astype(np.uint64)

    def _settle(
        self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows], now: float, *, last: bool = False
    ) -> None:
        """Name the ends of flows, and count under them what the flows have carried so far."""
        if not len(slots):
            return
        rows = records(slots)
        codes, owners = self._names.of(rows)
        known = (codes > 0).all(axis=1) | last | (self._since[slots] + _PATIENCE <= now)
        slots, rows, codes = slots[known], rows[known], codes[known]
        if not len(slots):
            return
        for end in (0, 1):
            labels = self._numbers(rows["key"]["point"], codes[:, end], codes[:, 1 - end], owners)
            self._label[slots, end] = labels
            carried = rows["flow"]["dir"][:, end]
            self._book(labels, np.stack([carried["packets"], carried["bytes"]], axis=1), now)

    def _numbers(
        self,
        points: NDArray[np.uint32],
        senders: NDArray[np.uint32],
        receivers: NDArray[np.uint32],
        owners: list[Owner],
    ) -> NDArray[np.int32]:
        """The numbers of pairs; makes those that are not there yet."""
        packed = points.astype(np.int64) << 40 | senders.astype(np.int64) << 20 | receivers
        sets, inverse = np.unique(packed, return_inverse=True)
        mask = (1 << 20) - 1
        numbers = [self._number((one >> 40, owners[one >> 20 & mask], owners[one & mask])) for one in sets.tolist()]
        return np.array(numbers, np.int32)[inverse]

    def _number(self, pair: _Pair) -> int:
        number = self._pairs.get(pair)
        if number is None:
            if not self._free and len(self._pairs) > self._most:
                self.capped += 1
                return self._pairs[_EVERYTHING]
            number = self._pairs[pair] = self._free.pop() if self._free else len(self._pairs) + 1
        return number

    def forget(self, points: set[int]) -> None:
        """Drop the series of capture points that are gone."""
        self._drop([pair for pair in self._pairs if pair[0] in points])

    def _expire(self, now: float) -> None:
        kept = _KEPT if len(self._pairs) <= self._most else _KEPT_CROWDED
        in_use = set(np.unique(self._label).tolist())
        self._drop(
            [
                pair
                for pair, number in self._pairs.items()
                if pair != _EVERYTHING and number not in in_use and self._seen[number] + kept < now
            ]
        )

    def _drop(self, gone: Iterable[_Pair]) -> None:
        for pair in gone:
            number = self._pairs.pop(pair)
            self._label[self._label == number] = self._pairs[_EVERYTHING]
            self._traffic[number] = 0
            self._free.append(number)

    def families(self, start_ns: int) -> Iterable[Family]:
        """All counters as they are now."""
        for what, metric in ((0, metrics.PEER_PACKETS), (1, metrics.PEER_BYTES)):
            samples = [
                (self._values(pair), float(self._traffic[number, what]))
                for pair, number in self._pairs.items()
                if self._traffic[number, 0] and pair[1:] != (UNNAMED, UNNAMED)
            ]
            yield Family(metric, summed(samples), start_ns)

    def _values(self, pair: _Pair) -> tuple[str, ...]:
        point, *ends = pair
        where = ("overflow", "") if point < 0 else (self._points.all[point].name, self._points.all[point].namespace)
        return (*where, *(value for owner in ends for value in (owner.kind, owner.space, owner.name)))
