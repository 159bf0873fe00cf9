"""What one question brings from several sides, as from our own agents and through other hubs: each host's answer once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from skytrail.asking.collecting import Collected, FullError, Room

OURS = ""
"""The side of the agents that report to this hub; others are named by who is asked there."""
CallOff: TypeAlias = "Callable[[str], None]"
"""Is told the TID of a host whose answer is not wanted any more, for want of room."""

_MAY_BE_LEFT_OUT = 4
"""Of so many that are asked one may have too much to answer; where more have, the question asks for too much."""


class Taker(Protocol):
    """Takes what a side brings, for any thread; parts come one after the other."""

    def begins(self, call_off: CallOff) -> None:
        """Is said first; calls off an answer, from within :meth:`part` of any side."""
        ...

    def part(self, tid: str, data: bytes) -> None:
        """A part of a host's answer, JSON that has been checked."""
        ...

    def ended(self, tid: str, failure: str) -> None:
        """A host's answer has ended; why it is not whole, empty: it is."""
        ...

    def dropped(self, tid: str, reason: str) -> None:
        """A host's answer has ended, and nothing of it is to be used."""
        ...

    def done(self) -> None:
        """All that this side can say was said."""
        ...


class Gathered:
    """The parts of one answer, and why it is not whole. For any thread.

    A host that moved from one side to another meanwhile may answer at both: its parts are taken from the side that brought the
    first one.

    Args:
        room: for the parts. Where there is none for another one, the largest answers are left out.
        sides: that are asked.
        hosts: TIDs of those whose answers are wanted, as far as they are known.

    Attributes:
        collected: the parts.
        finished: is set when every side is done, or it is too much.
        over: too many answers would be left out; None: that is not so.
        crowded: TIDs of hosts whose answers are left out.
    """

    def __init__(self, room: Room, sides: Collection[str], hosts: Collection[str] = ()) -> None:
        self.collected = Collected(room)
        self.finished = threading.Event()
        self.over: FullError | None = None
        self.crowded: set[str] = set()
        self._lock = threading.Lock()
        self._open = set(sides)
        self._hosts = set(hosts)
        self._call_off: dict[str, CallOff] = {}
        self._side_of: dict[str, str] = {}
        self._whole: set[str] = set()
        self._dropped: set[str] = set()
        self._failures: dict[str, str] = {}
        self._lost: dict[str, str] = {}

    def begins(self, side: str, call_off: CallOff) -> None:
        """Know what calls off an answer of a side."""
        self._call_off[side] = call_off

    def part(self, side: str, tid: str, data: bytes, shift: int) -> None:
        """Take a part, whose times are to be shifted by so many ms when it is read."""
        with self._lock:
            if not self._takes(side, tid) or self.over is not None or self._side_of.setdefault(tid, side) != side:
                return
            left_out = self._add(tid, data, shift)
        for one in left_out:
            if call_off := self._call_off.get(self._side_of[one]):
                call_off(one)

    def _takes(self, side: str, tid: str) -> bool:
        self._hosts.add(tid)
        return side in self._open and tid not in self._dropped

    def _add(self, tid: str, data: bytes, shift: int) -> list[str]:
        """Take a part; where there is no room for it the largest answers make some: whose."""
        left_out: list[str] = []
        while self.over is None and tid not in self._dropped:
            try:
                self.collected.add(tid, data, shift)
                break
            except FullError as error:
                largest = self.collected.largest(tid, data)
                self._drop(largest, f"its answer is left out: {error}")
                self.crowded.add(largest)
                left_out.append(largest)
                if len(self.crowded) == len(self._hosts) or len(self.crowded) > max(1, len(self._hosts) // _MAY_BE_LEFT_OUT):
                    self.over = error
                    self.finished.set()
        return left_out

    def _drop(self, tid: str, reason: str) -> None:
        self.collected.leave_out(tid)
        self._whole.discard(tid)
        self._dropped.add(tid)
        self._failures[tid] = reason

    def ended(self, side: str, tid: str, failure: str) -> None:
        """Take the end of a host's answer."""
        with self._lock:
            if not self._takes(side, tid) or self._side_of.get(tid, side) != side or tid in self._whole:
                return
            if failure:
                self._failures[tid] = failure
            else:
                self._side_of[tid] = side
                self._whole.add(tid)
                self._failures.pop(tid, None)

    def dropped(self, side: str, tid: str, reason: str) -> None:
        """Take no more of a host's answer, and forget what was taken."""
        with self._lock:
            if self._takes(side, tid) and self._side_of.get(tid, side) == side:
                self._drop(tid, reason)

    def done(self, side: str) -> None:
        """Expect nothing more of a side."""
        with self._lock:
            self._done(side)

    def lost(self, side: str, reason: str) -> None:
        """Expect nothing more of a side, though it has not said all."""
        with self._lock:
            if side not in self._open:
                return
            self._lost[side] = reason
            begun = {tid for tid, of in self._side_of.items() if of == side} - self._whole
            self._failures.update(dict.fromkeys(begun - self._failures.keys(), reason))
            self._done(side)

    def _done(self, side: str) -> None:
        self._open.discard(side)
        if not self._open:
            self.finished.set()

    def left(self) -> set[str]:
        """Sides that are not done."""
        with self._lock:
            return set(self._open)

    def missing(self, unheard: Mapping[str, str], at: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Why a host's answer is not there, or not whole, by TID.

        Args:
            unheard: why, of hosts of which nothing was heard.
            at: hosts that a side was to bring, by side: why that was lost is why they are missing.
        """
        with self._lock:
            lost = {tid: reason for side, reason in self._lost.items() for tid in at.get(side, ())}
            told = {**unheard, **lost, **self._failures}
            return {tid: reason for tid, reason in told.items() if tid not in self._whole}


@dataclass(frozen=True, slots=True)
class From:
    """Takes what one side brings.

    Args:
        gathered: where it is gathered.
        side: its name.
        wanted: TIDs of hosts that were asked there; None: all but some.
        but: those.
        shift: ms, of times in its answers.
    """

    gathered: Gathered
    side: str
    wanted: frozenset[str] | None = None
    but: frozenset[str] = frozenset()
    shift: int = 0

    def _asked(self, tid: str) -> bool:
        return tid not in self.but if self.wanted is None else tid in self.wanted

    def begins(self, call_off: CallOff) -> None:
        """As :class:`Taker` says."""
        self.gathered.begins(self.side, call_off)

    def part(self, tid: str, data: bytes) -> None:
        """As :class:`Taker` says; of a host that was not asked nothing is taken."""
        if self._asked(tid):
            self.gathered.part(self.side, tid, data, self.shift)

    def ended(self, tid: str, failure: str) -> None:
        """As :class:`Taker` says; of a host that was not asked nothing is taken."""
        if self._asked(tid):
            self.gathered.ended(self.side, tid, failure)

    def dropped(self, tid: str, reason: str) -> None:
        """As :class:`Taker` says; of a host that was not asked nothing is dropped."""
        if self._asked(tid):
            self.gathered.dropped(self.side, tid, reason)

    def done(self) -> None:
        """As :class:`Taker` says."""
        self.gathered.done(self.side)
