"""Capture points: the interfaces where packets are counted, by the small numbers that the kernel's keys hold."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One capture point.

    Attributes:
        name: the interface's present name.
        namespace: name of its namespace; empty for the host's.
        tid: topology ID of the interface.
        link: ``enum link_type`` of its packets.

    """

    name: str
    namespace: str
    tid: str
    link: int = 0


UNKNOWN = Point("", "", "")


class Points:
    """The capture points by number. Number 0 is never given out (a capture file's first interface has it).

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
                if (self.all[number].tid, self.all[number].link) == (point.tid, point.link):
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

    def put(self, number: int, point: Point) -> None:
        """A number is chosen by the caller, as for the interfaces of a capture file; beyond the most there is none."""
        if number < self._most:
            self.all += [UNKNOWN] * (number + 1 - len(self.all))
            self.all[number] = point

    def rename(self, number: int, point: Point) -> None:
        """A point has another name, or is in another namespace."""
        self.all[number] = point

    def remove(self, number: int) -> None:
        """The interface is gone; its number stays valid until forgotten."""
        with self._lock:
            self._gone.add(number)

    @property
    def gone(self) -> frozenset[int]:
        """Numbers of points that went away and still have them."""
        with self._lock:
            return frozenset(self._gone)

    def present(self) -> list[int]:
        """Numbers in use, those that went away but have records among them."""
        with self._lock:
            free = set(self._free)
            return [number for number in range(len(self.all)) if number not in free]

    def forget(self, unused: Collection[int]) -> set[int]:
        """Free those numbers, in no record any more, whose points are (still) gone; returns them."""
        with self._lock:
            done = self._gone.intersection(unused)
            self._gone -= done
            for number in done:
                self.all[number] = UNKNOWN
                self._free.append(number)
            return done
