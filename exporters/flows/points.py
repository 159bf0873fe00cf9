"""Capture points: the interfaces where packets are counted, by small numbers that fit into flow records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One capture point.

    Attributes:
        netns: cookie of its network namespace.
        ifindex: number of the interface there.
        name: the interface's present name.
        namespace: name of the namespace; empty for the host's.
        tid: topology ID of the interface.
        loopback: packets pass it twice, out and in; they are counted coming in.

    """

    netns: int
    ifindex: int
    name: str
    namespace: str
    tid: str
    loopback: bool = False


UNKNOWN = Point(0, 0, "", "", "")


class Points:
    """The capture points that flow records refer to by number.

    A point that went away keeps its number until no record refers to it (:meth:`forget`), so that a last report of its
    flows still has its name.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self.all: list[Point] = [UNKNOWN]
        self._gone: set[int] = set()
        self._free: list[int] = []

    def put(self, point: Point) -> int:
        """Add a point, or tell its new name; returns its number."""
        key = (point.netns & 0xFFFFFFFF, point.ifindex)
        number = self._numbers.get(key)
        if number is not None and self.all[number].tid != point.tid:  # another interface took the number over
            self._gone.add(number)
            number = None
        if number is None:
            number = self._free.pop() if self._free else len(self.all)
            if number == len(self.all):
                self.all.append(point)
            self._numbers[key] = number
        self.all[number] = point
        self._gone.discard(number)
        return number

    def remove(self, netns: int, ifindex: int) -> None:
        """The interface is gone; its number stays valid until forgotten."""
        number = self._numbers.pop((netns & 0xFFFFFFFF, ifindex), None)
        if number is not None:
            self._gone.add(number)

    def number(self, netns: int, ifindex: int) -> int:
        """The number of a point, 0 where it is unknown."""
        return self._numbers.get((netns & 0xFFFFFFFF, ifindex), 0)

    def forget(self, in_use: set[int]) -> set[int]:
        """Free the numbers of points that are gone and in no record; returns them."""
        done = self._gone - in_use
        self._gone -= done
        for number in done:
            self.all[number] = UNKNOWN
            self._free.append(number)
        return done
