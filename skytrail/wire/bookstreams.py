"""A hub's end of the address book: tells each agent what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from skytrail.addresses.book import Changes
from skytrail.addresses.packing import pieces
from skytrail.wire import wire_pb2 as wire

_REST = 0.1  # seconds in which changes that come together become one


class Source(Protocol):
    """Has the book.

    Attributes:
        number: of its latest change.
    """

    number: int

    def since(self, number: int) -> tuple[int, Changes]:
        """What became of it after a change, and the number of the latest; from 0 on all that there is."""
        ...

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have it called after each change, on any thread; returns what ends that."""
        ...


class Nothing:
    """A source that never has anything."""

    number = 0

    def since(self, number: int) -> tuple[int, Changes]:
        """Nothing."""
        return number, Changes()

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002
        """Never."""
        return lambda: None


NO_NAMES: Source = Nothing()


class BookStreams:
    """Tells agents of the book; what several are told at once is packed once.

    Args:
        session: of this hub.
        loop: that serves them.
        source: has the book.

    Attributes:
        source: has the book.
        bytes: that were sent.
    """

    def __init__(self, session: str, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self._session, self._loop = session, loop
        self._packed: tuple[int, int, bool, list[bytes]] | None = None  # since which change, to which, whole, pieces
        self.source = source
        self.bytes = 0

    async def changes(self, known: wire.Known) -> AsyncIterator[wire.Changes]:
        """What an agent is told, as long as it listens."""
        number, news = known.number if known.session == self._session else 0, asyncio.Event()

        def told() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
                self._loop.call_soon_threadsafe(news.set)

        end = self.source.watch(told)
        try:
            while True:
                news.clear()
                latest, whole, packed = await self._since(number)
                for at, body in enumerate(packed):
                    self.bytes += len(body)
                    more = at + 1 < len(packed)
                    yield wire.Changes(session=self._session, number=latest, whole=whole, more=more, body=body)
                number = latest
                await news.wait()
                await asyncio.sleep(_REST)
        finally:
            end()

    async def _since(self, number: int) -> tuple[int, bool, list[bytes]]:
        packed = self._packed
        if packed is None or packed[0] != number or packed[1] != self.source.number:
            packed = self._packed = await self._loop.run_in_executor(None, self._pack, number)
        return packed[1], packed[2], packed[3]

    def _pack(self, number: int) -> tuple[int, int, bool, list[bytes]]:
        latest, changes = self.source.since(number)
        return number, latest, changes.whole, list(pieces(changes)) if changes else []
