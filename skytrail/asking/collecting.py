"""What an asker collects of one question: parts as JSON, bounded, read only when they are wanted."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from skytrail.asking.clocks import part_shifted
from skytrail.asking.questions import Part, decode_part
from skytrail.errors import RunError

RESULTS = ANSWERED, FAILED, LATE, AWAY = ("answered", "failed", "late", "away")
"""What becomes of a question to one agent."""

_QUESTIONS = 4  # as large as one may be


class Room:
    """Room for answers, of all questions of a process.

    Args:
        most: bytes of one question's.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._used = 0

    def take(self, size: int) -> bool:
        """Whether there is so much left; it is taken then."""
        with self._lock:
            if self._used + size > _QUESTIONS * self.most:
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
        unreadable: takes the TID of one whose part is none, and why, as that is read; all others' are given.
    """

    def __init__(self, room: Room) -> None:
        self._room, self._size = room, _Size()
        self._parts: list[tuple[str, bytes, int]] = []
        self.unreadable: Callable[[str, str], None] = lambda _tid, _reason: None
        self.drop = weakref.finalize(self, _give, room, self._size)

    def add(self, tid: str, data: bytes, shift: int = 0) -> None:
        """Take one more, its times to be shifted by so many ms as it is read. Raises RunError: there is no room."""
        most = self._room.most
        if self._size.bytes + len(data) > most:
            raise RunError(f"the answers are larger than {most >> 20} MiB together: ask for less, or set hub.ask_max")
        if not self._room.take(len(data)):
            raise RunError("there is no room for the answers of all who ask at once: ask again later, or set hub.ask_max")
        self._size.bytes += len(data)
        self._parts.append((tid, data, shift))

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        for tid, data, shift in self._parts:
            try:
                part = decode_part(data)
                yield tid, part_shifted(part, shift) if shift else part
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                self.unreadable(tid, f"its answer cannot be read ({error}): upgrade its agent and the hub")

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(slots=True)
class _Size:
    bytes: int = 0


def _give(room: Room, size: _Size) -> None:
    room.give(size.bytes)
