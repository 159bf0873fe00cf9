"""Capture points: the interfaces where packets are counted, by the small numbers that the kernel's keys hold."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One capture point.

    Attributes:
        name: the interface's present name.
        namespace: name of its namespace; empty for the host's.
        tid: topology ID of the interface.

    """

    name: str
    namespace: str
    tid: str


UNKNOWN = Point("", "", "")


class Points:
    """The capture points by number. Number 0 is a capture file's.

    A point that went away keeps its number until no record refers to it (:meth:`forget`): a last report of its flows still
    has its name, and the same device, if it comes back meanwhile, goes on where it was. One thread attaches (adds, renames,
    removes), others read out and forget.

    Args:
        most: numbers there are, 0 among them.
        zero: what number 0 is.

    """

    def __init__(self, most: int = 1024, zero: Point = UNKNOWN) -> None:
        self.all: list[Point] = [zero]
        self._most = most
        self._gone: set[int] = set()
        self._free: list[int] = []
        self._lock = threading.Lock()

    def add(self, point: Point) -> tuple[int, bool] | None:
        """A point begins; returns its number and whether that is a new one. None: there is no room."""
        with self._lock:
            for number in self._gone:
                if self.all[number].tid == point.tid:
                    self._gone.discard(number)
                    self.all[number] = point
                    return number, False
            if self._free:
                number = self._free.pop()
                self.all[number] = point
                return number, True
            if len(self.all) >= self._most:
                return None
            self.all.append(point)
            return len(self.all) - 1, True

    def rename(self, number: int, point: Point) -> None:
        """A point has another name, or is in another namespace."""
        self.all[number] = point

    def remove(self, number: int) -> None:
        """The interface is gone; its number stays valid until forgotten."""
        with self._lock:
            self._gone.add(number)

    @property
    def gone(self) -> bool:
        """Whether a point that went away still has its number."""
        return bool(self._gone)

    def present(self) -> list[int]:
        """Numbers in use, those that went away but have records among them."""
        with self._lock:
            free = set(self._free)
            return [number for number in range(len(self.all)) if number not in free]

    def forget(self, in_use: set[int]) -> set[int]:
        """Free the numbers of points that are gone and in no record; returns them."""
        with self._lock:
            done = self._gone - in_use
            self._gone -= done
            for number in done:
                self.all[number] = UNKNOWN
                self._free.append(number)
            return done
