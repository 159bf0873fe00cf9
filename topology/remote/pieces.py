"""Reports that are larger than a message: their pieces, joined. Bounded."""

from __future__ import annotations

import threading

from skytrail.wire import wire_pb2 as wire
from topology.remote.codec import MalformedReportError
from topology.store.interface import StoreError

LARGEST = 256 << 20
"""Bytes of one report: a million elements and more."""
_IN_ALL = 2 * LARGEST


class RoomForPieces:
    """Room for the pieces of all agents. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0

    def take(self, size: int) -> None:
        """Take so many bytes. Raises StoreError: there are not so many now."""
        with self._lock:
            if self._used + size > _IN_ALL:
                raise StoreError("the hub has no room for another large report now")
            self._used += size

    def give(self, size: int) -> None:
        """Give back."""
        with self._lock:
            self._used -= size


class Pieces:
    """The pieces of one connection, which come one after the other."""

    def __init__(self, room: RoomForPieces) -> None:
        self._room = room
        self._number = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def whole(self, one: wire.Numbered) -> bytes | None:
        """The report that a piece ends; None: more of it follows.

        Raises:
            MalformedReportError: with its last piece, of a report that is larger than any may be.
            StoreError: there is no room for it now.
        """
        if one.number != self._number:
            self.drop()
            self._number = one.number
        if not (one.more or self._size):
            return one.report
        size = self._size + len(one.report)
        if size <= LARGEST:
            self._room.take(len(one.report))
            self._pieces.append(one.report)
        else:
            self._free()
        self._size = size
        if one.more:
            return None
        data = b"".join(self._pieces)
        self.drop()
        if size > LARGEST:
            raise MalformedReportError(f"it has {size >> 20} MiB: {LARGEST >> 20} MiB are allowed")
        return data

    def drop(self) -> None:
        """Forget what has come so far."""
        self._free()
        self._number = self._size = 0

    def _free(self) -> None:
        self._room.give(sum(map(len, self._pieces)))
        self._pieces.clear()
