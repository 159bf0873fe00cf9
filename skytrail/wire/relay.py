"""What other hubs of the same graph ask: our agents answer, part by part as they do, and nobody else is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import msgspec
import structlog

from skytrail import __version__
from skytrail.asking.collecting import NO_ROOM, OF_PART, Room
from skytrail.asking.gathering import CallOff
from skytrail.asking.questions import decode_question
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendances import Attendances, Wanted
from skytrail.wire.attendant import MOST_OPEN
from skytrail.wire.security import HubSecurity, PeerError
from skytrail.wire.versions import NEWEST, OLDEST

_log = structlog.get_logger(__name__)


class _Waiting:
    """What agents answered and waits to be sent; a :class:`skytrail.asking.gathering.Taker`. For the loop's thread.

    Args:
        room: for what waits.
        most: bytes of one agent's answer: one that goes on beyond it is called off.
        names: of the agents' hosts, by TID.
        below: what the TIDs of their elements begin with, by TID.
    """

    def __init__(self, room: Room, most: int, names: Mapping[str, str], below: Mapping[str, tuple[str, ...]]) -> None:
        self._room, self._most, self._names, self._size = room, most, names, 0
        self._below = {tid: [one for one in begin if one != f"{tid}/"] for tid, begin in below.items()}
        self._said: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()
        self._left_out: set[str] = set()
        self._call_off: CallOff
        self._replies: asyncio.Queue[wire.Reply | None] = asyncio.Queue()  # bounded by the room
        self._over = False

    def begins(self, call_off: CallOff) -> None:
        """As that says."""
        self._call_off = call_off

    def part(self, tid: str, data: bytes) -> None:
        """As that says; where there is no room, the largest of what waits is left out."""
        size = len(data) + OF_PART
        if self._said[tid] > self._most:
            self._leave_out(tid, f"it is larger than {self._most >> 20} MiB: ask for less, or set hub.ask_max")
        self._said[tid] += size
        while not self._over and tid not in self._left_out:
            if self._size + size <= self._room.most and self._room.take(size, self._size):
                self._size += size
                self._waits[tid] += size
                self._replies.put_nowait(wire.Reply(tid=tid, host=self._host(tid), part=data, below=self._below.get(tid, ())))
                return
            waits = self._waits + Counter({tid: size})
            self._leave_out(max(waits, key=lambda one: (waits[one], one == tid)), NO_ROOM)

    def _leave_out(self, tid: str, reason: str) -> None:
        """Send no more of a host's answer, and none of what waits."""
        self._left_out.add(tid)
        waiting = [self._replies.get_nowait() for _ in range(self._replies.qsize())]
        for one in waiting:
            if one is None or one.tid != tid:
                self._replies.put_nowait(one)
        self._give(tid, self._waits[tid])
        self.dropped(tid, f"its answer is left out: {reason}")
        self._call_off(tid)

    def ended(self, tid: str, failure: str) -> None:
        """As that says."""
        self._replies.put_nowait(wire.Reply(tid=tid, host=self._host(tid), last=True, failure=failure))

    def dropped(self, tid: str, reason: str) -> None:
        """As that says."""
        self._replies.put_nowait(wire.Reply(tid=tid, host=self._host(tid), last=True, failure=reason, dropped=True))

    def _host(self, tid: str) -> str:
        return self._names.get(tid, "")

    def done(self) -> None:
        """As that says."""
        self._replies.put_nowait(None)

    async def next(self) -> wire.Reply | None:
        """The next one, whose room is given back; None: that was the last."""
        reply = await self._replies.get()
        if reply is not None and reply.part:
            self._give(reply.tid, len(reply.part) + OF_PART)
        return reply

    def drop(self) -> None:
        """Take no more, and give all room back."""
        self._over = True
        for tid, size in self._waits.items():
            self._give(tid, size)

    def _give(self, tid: str, size: int) -> None:
        self._room.give(size)
        self._size -= size
        self._waits[tid] -= size


class Relay:
    """Serves other hubs.

    Args:
        attendances: our agents.
        session: of our process.
        clock: µs since the epoch.
        security: who may ask.
        closed: why nobody may; empty: others may.
    """

    def __init__(
        self, attendances: Attendances, session: str, clock: Callable[[], int], security: HubSecurity, closed: str = ""
    ) -> None:
        self._attendances, self._session, self._clock, self._security = attendances, session, clock, security
        self._closed, self._open = closed, 0

    async def meet(self, _: wire.Meeting, context: Any) -> wire.Meeting:  # noqa: ANN401 - grpc has no types
        """Tell another hub who we are; it sees whether it can ask us."""
        received = self._clock()
        await self._admit(context)
        return wire.Meeting(
            oldest=OLDEST,
            newest=NEWEST,
            release=__version__,
            session=self._session,
            clock=self._clock(),
            received=received,
        )

    async def ask(self, inquiry: wire.Inquiry, context: Any) -> AsyncIterator[wire.Reply]:  # noqa: ANN401 - grpc has no types
        """Ask our agents for another hub."""
        await self._admit(context)
        if self._open >= MOST_OPEN:
            busy = f"other hubs ask {MOST_OPEN} questions already: ask again later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, busy)
        try:
            question = decode_question(inquiry.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            unknown = f"it does not know this question ({error}): upgrade it"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, unknown)
        self._open += 1
        hosts = frozenset(inquiry.hosts)
        wanted = Wanted(None, hosts) if inquiry.all_but else Wanted(hosts)
        agents = self._attendances
        seconds, most = min(inquiry.timeout_ms / 1000, agents.timeout), min(inquiry.most_bytes, agents.room.most)
        waiting = _Waiting(agents.room, most, agents.names(), agents.below())
        begun = agents.begin(question, inquiry.body, wanted, waiting, most, seconds)
        late = asyncio.get_running_loop().call_later(seconds, agents.end, begun, seconds)
        try:
            while (reply := await waiting.next()) is not None:
                yield reply
        finally:
            late.cancel()
            agents.end(begun, seconds)
            waiting.drop()
            self._open -= 1

    async def _admit(self, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        """End the call of who may not ask."""
        refusal = self._closed
        try:
            self._security.peer(context, "hub")
        except PeerError as error:
            refusal = str(error)
        if refusal:
            _log.warning("hub_refused", address=context.peer(), reason=refusal)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)
