"""The agent's end: hands what waits in the outbox to a hub, the next one of the list where one is away."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
import structlog

from skytrail import __version__
from skytrail.asking.asker import Answer
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendant import Attendant
from skytrail.wire.methods import OUTBOX, TID, VERSION, greeting, reporting
from skytrail.wire.security import INSECURE, Connect
from skytrail.wire.versions import ATTENDS, NEWEST, OLDEST, WireError
from topology.facts import Report
from topology.remote.outbox import Outbox
from topology.store.interface import StoreError

_log = structlog.get_logger(__name__)

_TOGETHER = 1 << 20  # bytes of reports in one message
_HEARTBEAT = 5.0  # seconds without a report after which it is said that we live
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
        connect: opens a connection to a hub.

    Attributes:
        hub: that takes reports now; None: none does.
        failure: why none does.
        attendant: answers the hub's questions.
        clock_offset: µs that the hub's clock is before ours, as of its last word.
    """

    def __init__(
        self,
        hubs: Sequence[str],
        outbox: Outbox,
        identity: Identity,
        clock: Callable[[], int],
        answer: Answer,
        connect: Connect = INSECURE,
    ) -> None:
        self._hubs, self.outbox, self._identity, self._clock, self._connect = hubs, outbox, identity, clock, connect
        self.attendant = Attendant(answer)
        self._stopping = threading.Event()
        self._cancel: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self.hub: str | None = None
        self.failure: str | None = "no hub was reached yet"
        self.clock_offset = 0

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
            began = time.monotonic()
            try:
                self._talk(address)
            except (grpc.RpcError, WireError, StoreError) as error:
                self._lost(address, error)
            if time.monotonic() - began > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            if address == self._hubs[-1] or wait == _FIRST_WAIT:
                self._stopping.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 - agents are not to come all at once
                wait = min(2 * wait, _LONGEST_WAIT)

    def _lost(self, address: str, error: Exception) -> None:
        if self._stopping.is_set():
            return
        told = f"{error.code().name.lower()}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
        if self.hub is not None or self.failure is None or not self.failure.startswith(address):
            _log.warning("hub_away", hub=address, reason=told, meanwhile="what is seen waits in the outbox")
        self.hub, self.failure = None, f"{address}: {told}"

    def _talk(self, address: str) -> None:
        """Report to one hub until it or we end it. Raises grpc.RpcError, WireError, StoreError."""
        with self._connect(address) as channel:
            welcome = greeting(channel)(self._greeting(), timeout=_GREETED)
            if not OLDEST <= welcome.version <= NEWEST:
                raise WireError(f"the hub wants version {welcome.version} of the wire: upgrade the agent")
            self.outbox.taken(welcome.taken)
            metadata = {TID: self._identity.tid, OUTBOX: self.outbox.name, VERSION: str(welcome.version)}
            attends = self.attendant.attend(channel, metadata) if welcome.version >= ATTENDS else contextlib.nullcontext()
            with attends:
                self._hand_on(address, channel, welcome, metadata)

    def _hand_on(self, address: str, channel: grpc.Channel, welcome: wire.Welcome, metadata: Mapping[str, str]) -> None:
        ended = threading.Event()
        answers, self._cancel = reporting(channel, self._requests(welcome.taken, ended), metadata)
        try:
            if self._stopping.is_set():  # it was said before we could be cancelled
                return
            self.hub, self.failure = address, None
            _log.info("hub_reached", hub=address, release=welcome.release, waiting=self.outbox.waiting)
            for taken in answers:
                self.outbox.taken(taken.number)
                self.clock_offset = taken.clock - self._clock()
            raise WireError("the hub has ended the connection")
        finally:
            ended.set()
            self._cancel()

    def _greeting(self) -> wire.Greeting:
        who = self._identity
        return wire.Greeting(
            oldest=OLDEST, newest=NEWEST, release=__version__, host=who.host, tid=who.tid, outbox=self.outbox.name,
            clock=self._clock(),
        )  # fmt: skip

    def _requests(self, number: int, ended: threading.Event) -> Iterator[wire.Reports]:
        """What is sent, made as it can be: gRPC asks for no more than the hub takes."""
        while not (ended.is_set() or self._stopping.is_set()):
            try:
                found = self.outbox.after(number, _TOGETHER, _HEARTBEAT)
            except StoreError as error:  # gRPC would end the call without a word
                _log.error("outbox_not_read", error=str(error))
                return
            if found:
                number = found[-1][0]
            numbered = [wire.Numbered(number=place, report=data) for place, data in found]
            yield wire.Reports(reports=numbered, clock=self._clock())
