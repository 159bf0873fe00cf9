"""Reports that are larger than a message: their pieces, joined. Bounded, and shared fairly by all agents."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from skytrail.wire import wire_pb2 as wire
from topology.remote.codec import MalformedReportError
from topology.remote.metrics import CROWDED
from topology.store.interface import StoreError

LARGEST = 256 << 20
"""Bytes of one report: a million elements and more."""
_SHARES = 4  # of as much room as one report may take: what an agent has while it is not its turn
_TURN = 60.0  # seconds that an agent keeps its turn while others wait
_MOST_WAITING = 16
_WAITED, _REFUSED, _ENDED = CROWDED


class Pieces:
    """The pieces of one connection, which come one after the other.

    Attributes:
        who: shares the room with others: an agent, by the name in its certificate.
        lost: whether they were dropped: the report has to begin anew.
        size: bytes of the report so far.
    """

    def __init__(self, who: str = "") -> None:
        self.who, self.lost = who, False
        self._number = 0
        self._pieces: list[bytes] = []
        self.size = 0

    @property
    def kept(self) -> int:
        """Bytes of it that are there: none, where it is larger than any may be."""
        return self.size if self.size <= LARGEST else 0

    def more(self, reports: wire.Reports) -> int:
        """Bytes that are there besides, once these are taken."""
        mine = (len(one.report) for one in reports.reports if one.more or (self.size and one.number == self._number))
        more = sum(mine)
        return more if self.size + more <= LARGEST else 0

    def whole(self, one: wire.Numbered) -> bytes | None:
        """The report that a piece ends; None: more of it follows.

        Raises:
            MalformedReportError: with its last piece, of a report that is larger than any may be.
        """
        if one.number != self._number:
            self.drop()
            self._number = one.number
        if not (one.more or self.size):
            return one.report
        self.size += len(one.report)
        if self.size <= LARGEST:
            self._pieces.append(one.report)
        else:
            self._pieces.clear()
        if one.more:
            return None
        data, size = b"".join(self._pieces), self.size
        self.drop()
        if size > LARGEST:
            raise MalformedReportError(f"it has {size >> 20} MiB: {LARGEST >> 20} MiB are allowed")
        return data

    def drop(self) -> None:
        """Forget what has come so far."""
        self._pieces.clear()
        self._number = self.size = 0


class RoomForPieces:
    """Room for the pieces of all agents. For one thread, an event loop's.

    There is room for two of the largest reports. One half is shared: no agent has more than a fourth of it. The other half is
    for whose turn it is, so that of any number of large reports one is always taken in: who finds no room waits for its turn.
    Who has it for long while others wait loses its pieces, and comes after them.

    Args:
        lose: drops pieces that the room is taken from.

    Attributes:
        counts: how many large reports had each of :data:`topology.remote.metrics.CROWDED`.
    """

    def __init__(self, lose: Callable[[Pieces], object]) -> None:
        self._lose = lose
        self._has: Counter[Pieces] = Counter()
        self._waiting: dict[Pieces, tuple[int, asyncio.Future[None]]] = {}
        self._turn: str | None = None
        self._until = 0.0
        self.counts: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """Bytes."""
        return self._has.total()

    async def enter(self, pieces: Pieces, more: int) -> None:
        """Take room for more of these pieces; waits for it. Raises StoreError: there is none now."""
        if self._take(pieces, more):
            return
        if len(self._waiting) >= _MOST_WAITING or any(one.who == pieces.who for one in self._waiting):
            self.counts[_REFUSED] += 1
            raise StoreError("the hub has no room for another large report now")
        self.counts[_WAITED] += 1
        if not self._waiting:
            self._until = time.monotonic() + _TURN
        _, entered = self._waiting[pieces] = more, asyncio.get_running_loop().create_future()
        try:
            while not entered.done():
                await asyncio.wait((entered,), timeout=max(0.0, self._until - time.monotonic()))
                if time.monotonic() >= self._until and not entered.done():
                    self._end_turn()
        finally:
            del self._waiting[pieces]

    def settle(self, pieces: Pieces) -> None:
        """These pieces take what they have now; none, if they are lost."""
        self._has[pieces] = 0 if pieces.lost else pieces.kept
        self._has += Counter()  # forgets those that have nothing
        if self._turn is not None and not self._of(self._turn):
            self._turn = None
        self._let_in()

    def _of(self, who: str | None) -> int:
        return sum(size for one, size in self._has.items() if one.who == who)

    def _take(self, pieces: Pieces, more: int) -> bool:
        has = self._of(pieces.who) + more
        if pieces.who != self._turn:
            shared = self.used - self._of(self._turn) + more
            if has > LARGEST // _SHARES or shared > LARGEST:
                if self._turn is not None or has > LARGEST:
                    return False
                self._turn, self._until = pieces.who, time.monotonic() + _TURN
        elif has > LARGEST:  # by several connections
            return False
        self._has[pieces] += more
        return True

    def _let_in(self) -> None:
        for pieces, (more, entered) in self._waiting.items():
            if not entered.done() and self._take(pieces, more):
                entered.set_result(None)

    def _end_turn(self) -> None:
        self._until = time.monotonic() + _TURN
        for one in [one for one in self._has if one.who == self._turn]:
            self.counts[_ENDED] += 1
            self._lose(one)
