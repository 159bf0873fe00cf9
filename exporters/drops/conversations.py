"""What happened to which conversation: a bounded table, to be asked by the endpoints of flows. All by arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows.ends import ENDS
from exporters.sockets.grouping import ranges

_KEY = np.dtype([("ends", ENDS), ("kind", "u1"), ("reason", "u4"), ("netns", "u8")])
ROW = np.dtype([("key", _KEY), ("packets", "u8", 2), ("ifindex", "u4"), ("last", "i8")])
"""``packets``: from the first endpoint to the second, and back; ``ifindex``: of the last one, or 0; ``last``: ns, as told."""

MOST = 65_536
KEPT_NS = 300_000_000_000
"""As long as a TCP flow without packets lives."""

_KEY_BYTES, _ROW_BYTES, _ENDS_BYTES = f"S{_KEY.itemsize}", f"V{ROW.itemsize}", ENDS.itemsize


class Conversations:
    """Rows by conversation, kind, reason and namespace, sorted by the bytes of that; the longest unchanged one goes first.

    Args:
        most: rows at once.
        kept_ns: how long a row is kept after the last change.

    Attributes:
        evicted: packets of rows that had to go before their time.

    """

    def __init__(self, most: int = MOST, kept_ns: int = KEPT_NS) -> None:
        self._most, self._kept_ns = most, kept_ns
        self._keys = np.zeros(0, _KEY_BYTES)  # equal up to zeros at the end, which all have as many of
        self._rows = np.zeros(0, ROW)
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._rows)

    def memory(self) -> int:
        """Bytes of the rows."""
        return self._keys.nbytes + self._rows.nbytes

    def all(self) -> NDArray[Any]:
        """All rows (:data:`ROW`)."""
        return self._rows.copy()

    def add(self, keys: NDArray[Any], flows: NDArray[Any], now_ns: int) -> None:
        """Add growth: rows of :data:`drops.FLOW_KEY`, each once, and of :data:`drops.FLOW`."""
        rows = np.zeros(len(keys), ROW)
        for name in ENDS.names or ():
            rows["key"]["ends"][name] = keys[name]
        for name in ("kind", "reason", "netns"):
            rows["key"][name] = keys[name]
        rows["packets"], rows["ifindex"], rows["last"] = flows["packets"], flows["ifindex"], now_ns
        names = _bytes_of(rows["key"])
        at = np.searchsorted(self._keys, names)
        known = np.zeros(len(names), bool)
        inside = at < len(self._keys)
        known[inside] = self._keys[at[inside]] == names[inside]
        self._rows["packets"][at[known]] += rows["packets"][known]
        self._rows["ifindex"][at[known]] = rows["ifindex"][known]
        self._rows["last"][at[known]] = now_ns
        self._insert(rows[~known], names[~known])

    def _insert(self, rows: NDArray[Any], names: NDArray[np.bytes_]) -> None:
        if not len(rows):
            return
        order = np.argsort(names, kind="stable")
        names = names[order]
        at = np.searchsorted(self._keys, names)
        self._keys = np.insert(self._keys, at, names)
        self._rows = np.insert(self._rows.view(_ROW_BYTES), at, rows.view(_ROW_BYTES)[order]).view(ROW)
        if (excess := len(self._rows) - self._most) > 0:
            oldest = np.argpartition(self._rows["last"], excess - 1)[:excess]
            self.evicted += int(self._rows["packets"][oldest].sum())
            self._keep(np.delete(np.arange(len(self._rows)), oldest))

    def expire(self, now_ns: int) -> None:
        """Forget what has not changed for long."""
        kept = np.flatnonzero(self._rows["last"] + self._kept_ns > now_ns)
        if len(kept) < len(self._rows):
            self._keep(kept)

    def _keep(self, kept: NDArray[np.intp]) -> None:
        self._keys = self._keys[kept]
        self._rows = self._rows.view(_ROW_BYTES)[kept].view(ROW)

    def find(self, ends: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """What happened to conversations (:data:`ENDS`), in whatever namespace.

        Returns:
            The place in ``ends`` of each row found, ascending, and the rows (:data:`ROW`).

        """
        lowest = np.zeros((len(ends), _KEY.itemsize), np.uint8)
        lowest[:, :_ENDS_BYTES] = np.ascontiguousarray(ends).view(np.uint8).reshape(len(ends), _ENDS_BYTES)
        highest = lowest.copy()
        highest[:, _ENDS_BYTES:] = 0xFF
        begin = np.searchsorted(self._keys, lowest.view(_KEY_BYTES)[:, 0])
        owners, places = ranges(begin, np.searchsorted(self._keys, highest.view(_KEY_BYTES)[:, 0], "right"))
        return owners, self._rows.view(_ROW_BYTES)[places].view(ROW)


def _bytes_of(keys: NDArray[Any]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(keys).view(_KEY_BYTES)
