"""Where the record of each flow stands: the kernel's ids, sorted, with the slot of each in arrays that grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Slots:
    """Numbers of places in arrays, by id; places of what was removed are used again, lowest first: memory stays compact.

    Attributes:
        capacity: how many places the arrays must have.

    """

    def __init__(self) -> None:
        self._ids = np.zeros(0, np.uint64)  # sorted
        self._slots = np.zeros(0, np.intp)
        self._free = np.zeros(0, np.intp)  # ascending
        self.capacity = 0

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> NDArray[np.uint64]:
        """All ids, ascending."""
        return self._ids

    @property
    def used(self) -> NDArray[np.intp]:
        """The slot of each id, in the order of ids."""
        return self._slots

    def find(self, ids: NDArray[np.uint64]) -> NDArray[np.intp]:
        """The slot of each id; -1 where it has none."""
        if not len(self._ids):
            return np.full(len(ids), -1, np.intp)
        at = np.searchsorted(self._ids, ids)
        at[at == len(self._ids)] = 0
        return np.where(self._ids[at] == ids, self._slots[at], -1)

    def add(self, ids: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Give slots to new ids; ``capacity`` may have grown then."""
        count = len(ids)
        if count > len(self._free):
            more = max(count - len(self._free), self.capacity)
            self._free = np.concatenate([self._free, np.arange(self.capacity, self.capacity + more)])
            self.capacity += more
        slots, self._free = self._free[:count], self._free[count:]
        order = np.argsort(ids)
        at = np.searchsorted(self._ids, ids[order])
        self._ids = np.insert(self._ids, at, ids[order])
        self._slots = np.insert(self._slots, at, slots[order])
        return slots

    def remove(self, ids: NDArray[np.uint64]) -> None:
        """Free the slots of ids that are there."""
        at = np.searchsorted(self._ids, ids)
        self._free = np.sort(np.concatenate([self._free, self._slots[at]]))
        kept = np.ones(len(self._ids), np.bool_)
        kept[at] = False
        self._ids, self._slots = self._ids[kept], self._slots[kept]
