"""The agent's end: hands what waits in the outbox to a hub, the next one of the list where one is away."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
import structlog

from skytrail import __version__
from skytrail.addresses.book import Book
from skytrail.asking.asker import Answer
from skytrail.asking.clocks import by_clock_of_hub
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendant import Attendant
from skytrail.wire.bookreader import BookReader
from skytrail.wire.methods import MAX_MESSAGE, OUTBOX, TID, VERSION, greeting, reporting
from skytrail.wire.offset import Offset
from skytrail.wire.security import INSECURE, Connect
from skytrail.wire.versions import ATTENDS, NEWEST, OLDEST, PIECES, WireError
from topology.facts import Report
from topology.remote.outbox import Outbox, Waiting
from topology.store.interface import StoreError

_log = structlog.get_logger(__name__)

_TOGETHER = 1 << 20  # bytes of reports in one message
_PIECE = 4 << 20  # bytes of a piece of one that is larger
_HEARTBEAT = 5.0  # seconds without a report after which it is said that we live
_WELL_KNOWN = 1000  # µs by which the hub's clock may be wrong: else it is asked twice before anything is told
_GREETED = 5.0  # seconds that a hub has to greet back
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0  # seconds between attempts, all hubs tried once in each


@dataclass(frozen=True, slots=True)
class Identity:
    """Who reports: the host's name and TID."""

    host: str
    tid: str


class Sender:
    """Takes reports of probes, at once and always, and hands them on, on a thread of its own.

    Args:
        hubs: addresses, the first tried first.
        outbox: where reports wait until a hub has taken them; closed with this.
        identity: who we are.
        clock: µs since the epoch.
        answer: answers a hub's questions.
        tell_all: lets the probes report all once more, to a hub that another one's place was taken by, or that was started
            anew: it knows only what is in its store, not what is volatile, nor edges that waited for a node.
        connect: opens a connection to a hub.
        book: is kept as the hub's; None: none is.

    Attributes:
        hub: that takes reports now; None: none does.
        failure: why none does.
        attendant: answers the hub's questions.
        book: reads the hub's address book.
        clock_offset: µs that the hub's clock is ahead of ours, as far as it is known.
    """

    def __init__(
        self,
        hubs: Sequence[str],
        outbox: Outbox,
        identity: Identity,
        clock: Callable[[], int],
        answer: Answer,
        tell_all: Callable[[], None] = lambda: None,
        connect: Connect = INSECURE,
        book: Book | None = None,
    ) -> None:
        self._hubs, self.outbox, self._identity, self._clock, self._connect = hubs, outbox, identity, clock, connect
        self.attendant = Attendant(by_clock_of_hub(answer, lambda: round(self._offset.ahead / 1000)))
        self.book = None if book is None else BookReader(book, clock, lambda: self._offset.ahead)
        self._stopping = threading.Event()
        self._cancel: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self.hub: str | None = None
        self.failure: str | None = "no hub was reached yet"
        self._away = set[str]()  # hubs of which that was said since one was reached
        self._offset = Offset()
        self._tell_all = tell_all
        self._session = ""  # of the hub that was told
        self._told = 0  # how often a hub said what it has taken

    @property
    def clock_offset(self) -> int:
        """As above."""
        return self._offset.ahead

    def start(self) -> None:
        """Begin to hand on."""
        self._thread.start()

    def stop(self) -> None:
        """Hand on no more; what no hub has taken stays in the outbox."""
        self._stopping.set()
        self._cancel()
        self.outbox.close()
        if self._thread.ident is not None:
            self._thread.join()
        self.attendant.stop()

    def report(self, report: Report) -> None:
        """Take a report. Raises StoreError: the outbox cannot be written."""
        self.outbox.put(report)

    def _run(self) -> None:
        wait = _FIRST_WAIT
        for address in itertools.cycle(self._hubs):
            if self._stopping.is_set():
                return
            before = self._told
            try:
                self._talk(address)
            except (grpc.RpcError, WireError, StoreError) as error:
                self._lost(address, error)
            if self._told != before:  # what was cut did work
                wait = _FIRST_WAIT
            if address == self._hubs[-1] or wait == _FIRST_WAIT:
                self._stopping.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 - agents are not to come all at once
                wait = min(2 * wait, _LONGEST_WAIT)

    def _lost(self, address: str, error: Exception) -> None:
        if self._stopping.is_set():
            return
        told = f"{error.code().name.lower()}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
        if self.hub is not None or address not in self._away:
            _log.warning("hub_away", hub=address, reason=told, meanwhile="what is seen waits in the outbox")
        self._away.add(address)
        self.hub, self.failure = None, f"{address}: {told}"

    def _talk(self, address: str) -> None:
        """Report to one hub until it or we end it. Raises grpc.RpcError, WireError, StoreError."""
        with self._connect(address) as channel:
            welcome = self._greet(channel)
            if not OLDEST <= welcome.version <= NEWEST:
                raise WireError(f"the hub wants version {welcome.version} of the wire: upgrade the agent")
            self.outbox.taken(welcome.taken)
            metadata = {TID: self._identity.tid, OUTBOX: self.outbox.name, VERSION: str(welcome.version)}
            attends = self.attendant.attend(channel, metadata) if welcome.version >= ATTENDS else contextlib.nullcontext()
            names = self.book.reading(channel, metadata) if self.book else contextlib.nullcontext()
            with attends, names:
                self._hand_on(address, channel, welcome, metadata)

    def _hand_on(self, address: str, channel: grpc.Channel, welcome: wire.Welcome, metadata: Mapping[str, str]) -> None:
        ended = threading.Event()
        answers, self._cancel = reporting(channel, self._requests(welcome, ended), metadata)
        try:
            if self._stopping.is_set():  # it was said before we could be cancelled
                return
            self.hub, self.failure = address, None
            self._away.clear()
            self._meet(welcome.session)
            _log.info("hub_reached", hub=address, release=welcome.release, waiting=self.outbox.waiting)
            for taken in answers:
                if taken.received:
                    self._offset.note(taken.sent, taken.received, taken.clock, self._clock())
                self.outbox.taken(taken.number)
                self._told += 1
            raise WireError("the hub has ended the connection")
        finally:
            ended.set()
            self._cancel()

    def _meet(self, session: str) -> None:
        """The first hub is told all anyway: that is how probes begin."""
        if self._session and session and session != self._session:
            threading.Thread(target=self._tell_all, name="tell-all", daemon=True).start()
        self._session = session or self._session

    def _greet(self, channel: grpc.Channel) -> wire.Welcome:
        """Greet, and learn the hub's clock: before the second time the connection is there, and no part of the round trip."""
        self._offset, who = Offset(), self._identity
        said = wire.Greeting(
            oldest=OLDEST, newest=NEWEST, release=__version__, host=who.host, tid=who.tid, outbox=self.outbox.name,
            connection=self.outbox.connect(),
        )  # fmt: skip
        for _ in range(2):
            said.clock = self._clock()
            welcome = greeting(channel)(said, timeout=_GREETED)
            if not welcome.received:  # version 1
                break
            self._offset.note(said.clock, welcome.received, welcome.clock, self._clock())
            if self._offset.error <= _WELL_KNOWN:
                break
        return welcome

    def _requests(self, welcome: wire.Welcome, ended: threading.Event) -> Iterator[wire.Reports]:
        """What is sent, made as it can be: gRPC asks for no more than the hub takes."""
        number, largest = welcome.taken, _PIECE if welcome.version >= PIECES else MAX_MESSAGE
        while not (ended.is_set() or self._stopping.is_set()):
            try:
                found = self.outbox.after(number, _TOGETHER, _HEARTBEAT)
            except StoreError as error:  # gRPC would end the call without a word
                _log.error("outbox_not_read", error=str(error))
                return
            if found:
                number = found[-1].number
            for numbered in _messages(found, largest):
                yield wire.Reports(reports=numbered, clock=self._clock(), ahead=self._offset.ahead)


def _messages(found: Sequence[Waiting], largest: int) -> Iterator[list[wire.Numbered]]:
    """What one message each can carry: all, or where the last is larger than that, what is before it, and its pieces."""
    large = found[-1] if found and len(found[-1].data) > largest else None
    small = found[:-1] if large else found
    if small or large is None:
        yield [wire.Numbered(number=one.number, report=one.data, shift=one.shift) for one in small]
    if large is not None:
        for at in range(0, len(large.data), largest):
            piece, more = large.data[at : at + largest], at + largest < len(large.data)
            yield [wire.Numbered(number=large.number, report=piece, more=more, shift=large.shift)]
