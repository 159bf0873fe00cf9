"""What other hubs of the same graph ask: our agents answer, part by part as they do, and nobody else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import structlog

from skytrail import __version__
from skytrail.asking.collecting import Room
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendances import Attendances, Wanted
from skytrail.wire.attendant import MOST_OPEN
from skytrail.wire.security import HubSecurity, PeerError
from skytrail.wire.versions import NEWEST, OLDEST

_log = structlog.get_logger(__name__)


class _Waiting:
    """What agents answered and waits to be sent; a :class:`skytrail.asking.gathering.Taker`. For the loop's thread."""

    def __init__(self, room: Room, names: Mapping[str, str]) -> None:
        self._room, self._names, self._size = room, names, 0
        self._replies: asyncio.Queue[wire.Reply | None] = asyncio.Queue()  # bounded by the room
        self.full = False

    def part(self, tid: str, data: bytes) -> None:
        """As that says; where there is no room it is full, and takes no more."""
        if self.full or self._size + len(data) > self._room.most or not self._room.take(len(data)):
            self.full = True
            self._replies.put_nowait(None)
            return
        self._size += len(data)
        self._replies.put_nowait(wire.Reply(tid=tid, host=self._names.get(tid, ""), part=data))

    def ended(self, tid: str, failure: str) -> None:
        """As that says."""
        self._replies.put_nowait(wire.Reply(tid=tid, host=self._names.get(tid, ""), last=True, failure=failure))

    def done(self) -> None:
        """As that says."""
        self._replies.put_nowait(None)

    async def next(self) -> wire.Reply | None:
        """The next one, whose room is given back; None: that was the last, or there is no room."""
        reply = await self._replies.get()
        if reply is None or self.full:
            return None
        self._give(len(reply.part))
        return reply

    def drop(self) -> None:
        """Give all room back."""
        self.full = True
        self._give(self._size)

    def _give(self, size: int) -> None:
        self._room.give(size)
        self._size -= size


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
        self._open += 1
        hosts = frozenset(inquiry.hosts)
        wanted = Wanted(None, hosts) if inquiry.all_but else Wanted(hosts)
        agents = self._attendances
        waiting = _Waiting(agents.room, agents.names())
        seconds = min(inquiry.timeout_ms / 1000, agents.timeout)
        begun = agents.begin(inquiry.body, wanted, waiting, min(inquiry.most_bytes, agents.room.most), seconds)
        late = asyncio.get_running_loop().call_later(seconds, agents.end, begun, seconds)
        try:
            while (reply := await waiting.next()) is not None:
                yield reply
            if waiting.full:
                full = "there is no room for the answers of all who ask at once: ask again later, or set hub.ask_max"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, full)
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
