"""Which conversation becomes which other one by address translation: a bounded table. All by arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.conntrack.entries import conversations
from exporters.flows.ends import ENDS

TO, FROM = 0, 1
"""What the other conversation of a row is: what this one becomes, or what it was."""

ROW = np.dtype(
    [
        ("hash", "u8"),
        ("ends", ENDS),
        ("other", ENDS),
        ("netns", "u8"),
        ("changed", "i8"),
        ("role", "u1"),
        ("kinds", "u1"),
        ("reversed", "?"),
        ("gone", "?"),
    ]
)
"""``reversed``: the second end of ``other`` is its source; ``changed``: ns, as told; ``gone``: conntrack has it no more."""

KEPT_NS = 330_000_000_000
"""As long as a flow of a connection that conntrack has forgotten may still be told of: TCP's idle time, and one report."""

_ROW_BYTES = f"V{ROW.itemsize}"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio


class Translations:
    """Rows by conversation. For one thread at a time.

    Args:
        most: rows at once, two for each connection; what is gone for longest goes first, then what began first.
        kept_ns: how long a row is kept after its connection.

    Attributes:
        evicted: rows that had to go before their time.

    """

    def __init__(self, most: int, kept_ns: int = KEPT_NS) -> None:
        self._most, self._kept_ns = most, kept_ns
        self._rows = np.zeros(0, ROW)  # by hash
        self._new: list[NDArray[Any]] = []
        self.evicted = 0

    def __len__(self) -> int:
        self._merge()
        return len(self._rows)

    def memory(self) -> int:
        """Bytes of the rows."""
        return self._rows.nbytes + sum(part.nbytes for part in self._new)

    def living(self) -> NDArray[Any]:
        """Rows of connections that conntrack has, seen as they were before they were translated."""
        self._merge()
        return _at(self._rows, ~self._rows["gone"] & (self._rows["role"] == TO))

    def add(self, entries: NDArray[Any], now_ns: int) -> None:
        """Take in rows of :data:`exporters.conntrack.entries.ENTRY`, the later ones being the newer ones."""
        if not len(entries):
            return
        sides = [conversations(entries[name], entries["family"], entries["proto"]) for name in ("original", "translated")]
        made = np.zeros((len(entries), 2), ROW)
        for role in (TO, FROM):
            rows = made[:, role]
            rows["ends"], (rows["other"], rows["reversed"]) = sides[role][0], sides[1 - role]
            rows["hash"], rows["role"] = _hashes(rows["ends"]), role
            for name in ("netns", "kinds", "gone"):
                rows[name] = entries[name]
        made["changed"] = now_ns
        same = made["ends"][:, TO] == made["ends"][:, FROM]
        self._new.append(made[~same].reshape(-1))

    def replace(self, netns: int, entries: NDArray[Any], now_ns: int) -> None:
        """Take in all that conntrack has in one namespace: what is not among it is gone."""
        self.add(entries, now_ns)
        self._merge()
        rows = self._rows
        missing = (rows["netns"] == np.uint64(netns)) & ~rows["gone"] & (rows["changed"] < now_ns)
        rows["gone"][missing], rows["changed"][missing] = True, now_ns

    def forget(self, netns: int, now_ns: int) -> None:
        """A namespace is gone, and all its connections with it."""
        self.replace(netns, np.zeros(0, ROW), now_ns)

    def expire(self, now_ns: int) -> None:
        """Leave out what is gone for long."""
        self._merge()
        old = self._rows["gone"] & (self._rows["changed"] + self._kept_ns <= now_ns)
        if old.any():
            self._keep(~old)

    def find(self, ends: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """What conversations (:data:`ENDS`) become and were; of several the newest one.

        Returns:
            The place in ``ends`` of each row found, ascending, and the rows (:data:`ROW`), ``TO`` before ``FROM``.

        """
        self._merge()
        hashes = _hashes(ends)
        begin = np.searchsorted(self._rows["hash"], hashes)
        counts = np.searchsorted(self._rows["hash"], hashes, "right") - begin
        owners = np.repeat(np.arange(len(ends)), counts)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts) + begin[owners]
        rows = _at(self._rows, places)
        equal = rows["ends"] == ends[owners]
        owners, rows = owners[equal], _at(rows, equal)
        order = np.lexsort((rows["changed"], ~rows["gone"], rows["role"], owners))
        owners, rows = owners[order], _at(rows, order)
        last = np.ones(len(rows), bool)
        last[:-1] = (owners[1:] != owners[:-1]) | (rows["role"][1:] != rows["role"][:-1])
        return owners[last], _at(rows, last)

    def _merge(self) -> None:
        """Sort in what is new; of one conversation, role and namespace the last row stays."""
        if not self._new:
            return
        rows = np.concatenate([part.view(_ROW_BYTES) for part in (self._rows, *self._new)]).view(ROW)
        self._new = []
        rows = _at(rows, np.argsort(rows["hash"], kind="stable"))
        self._rows = rows
        run = np.flatnonzero(rows["hash"][1:] == rows["hash"][:-1])
        if len(run):
            self._keep(~_superseded(rows, run))
        if (excess := len(self._rows) - self._most) > 0:
            age = self._rows["changed"] + np.where(self._rows["gone"], 0, 1 << 62)
            kept = np.ones(len(self._rows), bool)
            kept[np.argpartition(age, excess - 1)[:excess]] = False
            self.evicted += excess
            self._keep(kept)

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self._rows = _at(self._rows, kept)


def _superseded(rows: NDArray[Any], run: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which rows have a later one of the same conversation, role and namespace; ``run``: those whose next has the same hash."""
    chosen = np.union1d(run, run + 1)
    part = rows[chosen]
    names = np.zeros(len(part), [("ends", ENDS), ("role", "u1"), ("netns", "u8")])
    for name in names.dtype.names or ():
        names[name] = part[name]
    _, first = np.unique(names.view(f"V{names.itemsize}")[::-1], return_index=True)
    old = np.ones(len(part), bool)
    old[len(part) - 1 - first] = False
    superseded = np.zeros(len(rows), bool)
    superseded[chosen] = old
    return superseded


def _at(rows: NDArray[Any], chosen: NDArray[Any]) -> NDArray[Any]:
    """Rows by number or mask, moved whole: field by field takes numpy ten times as long."""
    found: NDArray[Any] = rows.view(_ROW_BYTES)[chosen].view(ROW)
    return found


def _hashes(ends: NDArray[Any]) -> NDArray[np.uint64]:
    padded = np.zeros((len(ends), -(-ENDS.itemsize // 8) * 8), np.uint8)
    padded[:, : ENDS.itemsize] = np.ascontiguousarray(ends).view(np.uint8).reshape(len(ends), ENDS.itemsize)
    found = np.zeros(len(ends), np.uint64)
    for word in padded.view(np.uint64).T:
        found = (found ^ word) * _FACTOR
        found ^= found >> np.uint64(29)
    return found
