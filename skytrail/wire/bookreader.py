"""An agent's end of the address book: keeps its own as the hub's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

import grpc
import structlog

from skytrail.addresses.book import Book, Changes, Draft, Entry
from skytrail.addresses.packing import MalformedChangesError, unpack
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import naming

_log = structlog.get_logger(__name__)

_AGAIN = 2.0  # seconds
_MOST = 1_000_000  # entries of one message's changes: a hub that tells of more is not believed


class BookReader:
    """Reads on a thread of its own as long as a hub is there; without one the book stays as it was.

    Args:
        book: that is kept.
        clock: µs since the epoch.
        ahead: gives the µs that the hub's clock is ahead of ours.

    Attributes:
        entries: that were told of.
        bytes: that came.
    """

    def __init__(self, book: Book, clock: Callable[[], int], ahead: Callable[[], int]) -> None:
        self._book, self._clock, self._ahead = book, clock, ahead
        self._known = wire.Known()
        self.entries = self.bytes = 0

    @contextlib.contextmanager
    def reading(self, channel: grpc.Channel, metadata: Mapping[str, str]) -> Iterator[None]:
        """Read from the hub at the other end, meanwhile."""
        leaving = threading.Event()
        cancel: list[Callable[[], object]] = []
        thread = threading.Thread(
            target=self._run, args=(channel, metadata, leaving, cancel), name="wire-addresses", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            leaving.set()
            for one in cancel:
                one()
            thread.join()

    def _run(
        self,
        channel: grpc.Channel,
        metadata: Mapping[str, str],
        leaving: threading.Event,
        cancel: list[Callable[[], object]],
    ) -> None:
        while not leaving.is_set():
            try:
                changes, end = naming(channel, self._known, metadata)
                cancel[:] = [end]
                if not leaving.is_set():  # or it was said before we could be cancelled
                    self._read(changes)
            except MalformedChangesError as error:
                _log.error("addresses_refused", error=str(error), remedy="upgrade the agent and the hub")
                self._known = wire.Known()
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel is closed
                if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    _log.info("addresses_not_told", reason="the hub is of a release that has no address book")
                    return
                if not leaving.is_set():
                    _log.info("addresses_ended", reason=str(error.details()) if isinstance(error, grpc.Call) else str(error))
            finally:
                for one in cancel:
                    one()
            leaving.wait(_AGAIN)

    def _read(self, changes: Iterator[wire.Changes]) -> None:
        draft, put, gone = Draft(self._ahead()), list[Entry](), list[Entry]()
        for piece in changes:
            more, less = unpack(piece.body)
            self.bytes += len(piece.body)
            self.entries += len(more) + len(less)
            if piece.whole:
                draft.add(more)
            else:
                put += more
                gone += less
            if len(draft) + len(put) + len(gone) > _MOST:
                raise MalformedChangesError(f"the address book has more than {_MOST} entries")
            if piece.more:
                continue
            if piece.whole:
                self._book.replace(draft, self._clock())
            else:
                self._book.apply(Changes(tuple(put), tuple(gone)), self._clock(), self._ahead())
            self._known = wire.Known(session=piece.session, number=piece.number)
            draft, put, gone = Draft(self._ahead()), [], []
