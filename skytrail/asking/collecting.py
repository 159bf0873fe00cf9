"""What an asker collects of one question: parts as JSON, bounded, read only when they are wanted."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from skytrail.asking.clocks import part_shifted
from skytrail.asking.questions import Part, decode_part
from skytrail.errors import RunError

RESULTS = ANSWERED, FAILED, LATE, AWAY, REFUSED, CROWDED = ("answered", "failed", "late", "away", "refused", "crowded")
"""What becomes of a question to one agent. Refused: its answer is none; crowded: there was no room for it."""

_QUESTIONS = 4  # as large as one may be
_LITTLE = 16  # times less than one may have, for which there is room of its own
OF_PART = 128
"""Bytes that a part takes beside its JSON."""
NO_ROOM = "there is no room for the answers of all who ask at once: ask again later, or set hub.ask_max"


class FullError(RunError):
    """There is no room for another part; says what to do."""


class Room:
    """Room for answers, of all questions of a process.

    All questions together may have four times as much as one. The last fourth is for those that have little, no more than a
    sixteenth of what one may have: none of them is kept from being answered by some that have much.

    Args:
        most: bytes of one question's.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._used = 0

    def take(self, size: int, has: int) -> bool:
        """Whether there is so much left for a question that has so much; it is taken then."""
        shares = _QUESTIONS if has + size <= self.most // _LITTLE else _QUESTIONS - 1
        with self._lock:
            if self._used + size > shares * self.most:
                return False
            self._used += size
            return True

    def give(self, size: int) -> None:
        """Give back."""
        with self._lock:
            self._used -= size


class Collected:
    """Parts, with the TID of who answered each; an iterable that reads them anew each time. Holds its room as long as it lives.

    Attributes:
        drop: gives the room back at once.
    """

    def __init__(self, room: Room) -> None:
        self._room, self._size = room, _Size()
        self._parts: list[tuple[str, bytes, int]] = []
        self._sizes: Counter[str] = Counter()
        self.drop = weakref.finalize(self, _give, room, self._size)

    def add(self, tid: str, data: bytes, shift: int = 0) -> None:
        """Take one more, its times to be shifted by so many ms as it is read. Raises FullError: there is no room."""
        size, most = len(data) + OF_PART, self._room.most
        if self._size.bytes + size > most:
            raise FullError(f"the answers are larger than {most >> 20} MiB together: ask for less, or set hub.ask_max")
        if not self._room.take(size, self._size.bytes):
            raise FullError(NO_ROOM)
        self._size.bytes += size
        self._sizes[tid] += size
        self._parts.append((tid, data, shift))

    def largest(self, tid: str, data: bytes) -> str:
        """Whose answer would be the largest with one more part."""
        sizes = self._sizes + Counter({tid: len(data)})
        return max(sizes, key=lambda one: (sizes[one], one == tid))

    def leave_out(self, tid: str) -> None:
        """Forget what one has answered, and give its room back."""
        self._parts = [one for one in self._parts if one[0] != tid]
        size = self._sizes.pop(tid, 0)
        self._size.bytes -= size
        self._room.give(size)

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        for tid, data, shift in self._parts:
            part = decode_part(data)
            yield tid, part_shifted(part, shift) if shift else part

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(slots=True)
class _Size:
    bytes: int = 0


def _give(room: Room, size: _Size) -> None:
    room.give(size.bytes)
