"""Which conversation becomes which other one by address translation: a bounded table. All by arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.conntrack.entries import conversations
from exporters.flows.ends import ENDS
from exporters.sockets.grouping import ranges

TO, FROM = 0, 1
"""What the other conversation of a row is: what this one becomes, or what it was."""

ROW = np.dtype(
    [
        ("hash", "u8"),
        ("began", "i8"),
        ("changed", "i8"),
        ("netns", "u8"),
        ("ends", ENDS),
        ("other", ENDS),
        ("role", "u1"),
        ("kinds", "u1"),
        ("reversed", "?"),
        ("gone", "?"),
    ]
)
"""``reversed``: the second end of ``other`` is its source; ``began``, ``changed``: ns, as told; ``gone``: for conntrack."""

KEPT_NS = 330_000_000_000
"""As long as a flow of a connection that conntrack has forgotten may still be told of: TCP's idle time, and one report."""

_TOLD_NS = 500_000_000
"""How long after it began a translation is told of, at most, unless there is very much to tell."""

_SAME_BYTES = 8 + 2 * ENDS.itemsize + 1  # netns, ends, other, role; texts are equal up to zeros, which all have as many of
_SAME = np.dtype({"names": ["same"], "formats": [f"S{_SAME_BYTES}"], "offsets": [24], "itemsize": ROW.itemsize})
_ROW_BYTES = f"V{ROW.itemsize}"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio


def rows_of(entries: NDArray[Any], now_ns: int) -> NDArray[Any]:
    """Rows of :data:`exporters.conntrack.entries.ENTRY` as rows of :data:`ROW`, two for each that is changed at all."""
    sides = [conversations(entries[name], entries["family"], entries["proto"]) for name in ("original", "translated")]
    made = np.zeros((len(entries), 2), ROW)
    for role in (TO, FROM):
        rows = made[:, role]
        rows["ends"], (rows["other"], rows["reversed"]) = sides[role][0], sides[1 - role]
        rows["hash"], rows["role"] = _hashes(rows["ends"]), role
        for name in ("netns", "kinds", "gone"):
            rows[name] = entries[name]
    made["began"] = made["changed"] = now_ns
    same = made["ends"][:, TO] == made["ends"][:, FROM]
    changed: NDArray[Any] = made[~same].reshape(-1)
    return changed


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
        self._new.append(rows_of(entries, now_ns))
        if sum(map(len, self._new)) > self._most // 8:  # nobody may have asked for long
            self._merge()

    def replace(self, netns: int, told: NDArray[Any], now_ns: int) -> None:
        """Take in all that conntrack had in one namespace at a time: what is not among it was gone then.

        What was added later is newer, and stays.

        Args:
            netns: its cookie.
            told: :func:`rows_of` what it had.
            now_ns: when.

        """
        self._merge()
        rows = self._rows
        which, places = self._places(told["hash"])
        same = _connection(rows)[places] == _connection(told)[which]
        which, places = which[same], places[same]
        still = ~rows["gone"][places] | (rows["changed"][places] > now_ns)  # as it was, or something newer is known of it
        new, seen = np.ones(len(told), bool), np.zeros(len(rows), bool)
        new[which[still]], seen[places[still]] = False, True
        missing = (rows["netns"] == np.uint64(netns)) & ~rows["gone"] & ~seen & (rows["changed"] < now_ns)
        rows["gone"][missing], rows["changed"][missing] = True, now_ns
        if new.any():
            self._new.append(_at(told, new))
            self._merge()

    def forget(self, netns: int, now_ns: int) -> None:
        """A namespace is gone, and all its connections with it."""
        self.replace(netns, np.zeros(0, ROW), now_ns)

    def expire(self, now_ns: int) -> None:
        """Leave out what is gone for long."""
        self._merge()
        old = self._rows["gone"] & (self._rows["changed"] + self._kept_ns <= now_ns)
        if old.any():
            self._keep(~old)

    def find(
        self,
        ends: NDArray[Any],
        seen: NDArray[np.int64] | tuple[int, int] = (0, 1 << 62),
        netns: NDArray[np.uint64] | int = 0,
    ) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """What conversations become and were.

        Of several the one in the namespace where the conversation was seen, for others may use the same addresses; of those
        the newest one that began before the last packet. What namespaces elsewhere say differently is not told.

        Args:
            ends: conversations (:data:`ENDS`).
            seen: when each one's first and last packet were seen, ns: [n, 2]; what was gone before the first is not told.
            netns: cookie of the namespace where each was seen; 0: nobody knows.

        Returns:
            The place in ``ends`` of each row found, ascending, and the rows (:data:`ROW`), ``TO`` before ``FROM``.

        """
        self._merge()
        owners, places = self._places(_hashes(ends))
        rows = _at(self._rows, places)
        first, last_seen = np.broadcast_to(np.asarray(seen, np.int64), (len(ends), 2))[owners].T
        over = rows["gone"] & (rows["changed"] < first)
        chosen = (rows["ends"] == ends[owners]) & ~over
        owners, rows, last_seen = owners[chosen], _at(rows, chosen), last_seen[chosen]
        in_time = rows["began"] <= last_seen + _TOLD_NS
        here = rows["netns"] == np.broadcast_to(np.asarray(netns, np.uint64), len(ends))[owners]
        order = np.lexsort((rows["changed"], ~rows["gone"], in_time, here, rows["role"], owners))
        owners, rows = owners[order], _at(rows, order)
        last = np.ones(len(rows), bool)
        last[:-1] = (owners[1:] != owners[:-1]) | (rows["role"][1:] != rows["role"][:-1])
        # of two elsewhere that both live, nobody knows which one is meant
        unclear = ~last[:-1] & ~here[order][1:] & ~rows["gone"][:-1] & (rows["netns"][1:] != rows["netns"][:-1])
        last[1:] &= ~(unclear & (rows["other"][1:] != rows["other"][:-1]))
        return owners[last], _at(rows, last)

    def _places(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of these hashes, ascending, and the places of rows that have it."""
        known = self._rows["hash"].copy()  # side by side: searched ten times as fast
        return ranges(np.searchsorted(known, hashes), np.searchsorted(known, hashes, "right"))

    def _merge(self) -> None:
        """Sort in what is new; of each connection the last row stays."""
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
    """Which rows have a later one of the same connection, which is told when the first of them began.

    ``run``: those whose next has the same hash.
    """
    in_run = np.zeros(len(rows), bool)
    in_run[run] = in_run[run + 1] = True
    chosen = np.flatnonzero(in_run)
    where = rows["netns"][chosen] << np.uint64(1) | rows["role"][chosen]
    names = (rows["hash"][chosen] ^ _hashes(rows["other"][chosen]) ^ where) * _FACTOR
    chosen = chosen[np.argsort(names, kind="stable")]
    part = _at(rows, chosen)
    names = _connection(part)
    same = names[1:] == names[:-1]
    same &= ~(part["gone"][:-1] & ~part["gone"][1:])  # a connection with the same ends, once more
    first = np.flatnonzero(np.append(True, ~same))  # of each translation
    rows["began"][chosen] = np.repeat(part["began"][first], np.diff(np.append(first, len(part))))
    superseded = np.zeros(len(rows), bool)
    superseded[chosen[:-1][same]] = True
    return superseded


def _connection(rows: NDArray[Any]) -> NDArray[np.bytes_]:
    """What is the same in all rows of one connection and role, as plain memory: field by field takes ten times as long."""
    found: NDArray[np.bytes_] = rows.view(_SAME)["same"]
    return found


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
