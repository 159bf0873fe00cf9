"""Other hubs of the same graph: each is met now and then, and asks its agents for us, which never ask a third one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import grpc
import grpc.aio
import structlog

from skytrail import __version__
from skytrail.asking.clocks import question_shifted
from skytrail.asking.collecting import ANSWERED, AWAY, FAILED, LATE, REFUSED
from skytrail.asking.gathering import OURS, From, Gathered
from skytrail.asking.questions import Question, encode_question
from skytrail.asking.shapes import AnswerError, check_of
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendances import TOLD, Wanted
from skytrail.wire.methods import asking, meeting
from skytrail.wire.offset import Offset
from skytrail.wire.security import HubSecurity
from skytrail.wire.versions import NEWEST, OLDEST, WireError, agreed

_log = structlog.get_logger(__name__)

_MET = 5.0  # seconds that a hub has to meet
_MEETINGS = 10.0  # seconds between two
_ENDS = 60.0  # seconds that questions on a connection have that is not used any more
_AT_ONCE = 12  # questions, of the calls that a hub takes on a connection
_AGENTS_SHARE = 0.9  # of the time, for the agents; the rest is for the way

Refuses = Callable[["Other"], str]


@dataclass(frozen=True, slots=True)
class Other:
    """Another hub, as it tells in the store.

    Attributes:
        name: of its host.
        address: where its wire is reached; empty: it is of a release that told none.
        loopback: names its network namespace: another one's loopback is another.
        agents: names of the hosts whose agents report to it, by TID.
    """

    name: str
    address: str = ""
    loopback: str = ""
    agents: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """It, in an answer."""
        return f"the hub on {self.name} ({self.address})" if self.address else f"the hub on {self.name}"


class _Peer:
    """How we stand with one. For the loop's thread."""

    def __init__(self, other: Other) -> None:
        self.other = other
        self.channel: grpc.aio.Channel | None = None
        self.files: object = None
        self.offset = Offset()
        self.failure = "was not met yet"
        self.met = asyncio.Event()  # or it failed
        self.meeting: asyncio.Task[None] | None = None
        self.refused = False  # something that it answered, so far: it is said once
        self.at = float("-inf")  # when it was met last, or was tried to be
        self.slots = asyncio.Semaphore(_AT_ONCE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to other hubs, and until when they are waited for, by the loop's clock."""

    question: Question
    wanted: Wanted
    gathered: Gathered
    most: int
    until: float


class Peers:
    """Asks other hubs. For any thread, but for what says otherwise.

    Args:
        loop: that serves them.
        session: of our process.
        clock: µs since the epoch.
        security: by which certificate we ask.
        refuses: says why one may not be asked; empty: it may.

    Attributes:
        results: what became of questions to hubs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: str,
        clock: Callable[[], int],
        security: HubSecurity,
        refuses: Refuses = lambda _: "",
    ) -> None:
        self._loop, self._session, self._clock, self._security, self.refuses = loop, session, clock, security, refuses
        self._peers: dict[str, _Peer] = {}
        self._others: Mapping[str, Other] = {}
        self._heard: dict[str, str] = {}  # names of hosts that answered since the lists were read
        self._heard_before: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self.results: Counter[str] = Counter()

    def are(self, others: Mapping[str, Other]) -> None:
        """Know them, by their sessions; those that are no more among them are forgotten."""
        self._others = others
        self._heard, self._heard_before = {}, self._heard
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._update)

    def agents(self) -> Mapping[str, Mapping[str, str]]:
        """As :class:`skytrail.wire.attendances.Others` says."""
        return {session: one.agents for session, one in self._others.items()}

    def names(self) -> Mapping[str, str]:
        """As :class:`skytrail.wire.attendances.Others` says."""
        listed = {tid: host for one in self._others.values() for tid, host in one.agents.items()}
        return {**self._heard_before, **self._heard, **listed}

    def status(self) -> list[tuple[Other, str, int]]:
        """Each other hub, why it cannot be asked (empty: it can), and µs that its clock is ahead of ours."""
        peers = dict(self._peers)
        return [
            (other, peers[session].failure, peers[session].offset.ahead)
            for session, other in self._others.items()
            if session in peers
        ]

    def left(self, hub: str) -> str:
        """As :class:`skytrail.wire.attendances.Others` says."""
        other = self._others.get(hub)
        return f"its agent has left {other.told if other else 'a hub that is gone'}: ask again"

    def late(self, hub: str, seconds: float) -> str:
        """As :class:`skytrail.wire.attendances.Others` says."""
        self._count(LATE)
        other, peer = self._others.get(hub), self._peers.get(hub)
        if peer is not None:
            peer.at = float("-inf")  # is it still there?
        return f"{_of(other) if other else 'its hub'}, which did not answer within {seconds:g} s"

    def ask(self, question: Question, wanted: Wanted, gathered: Gathered, most: int, seconds: float) -> Future[None]:
        """As :class:`skytrail.wire.attendances.Others` says."""
        asked = _Asked(question, wanted, gathered, most, self._loop.time() + seconds)
        work = self._ask_all(asked)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop has ended
            work.close()
            for side in self._others:
                gathered.lost(side, "this hub ends")
            return Future()

    async def _ask_all(self, asked: _Asked) -> None:
        sides = asked.gathered.left() - {OURS}
        if not sides <= self._peers.keys():
            self._update()
        await asyncio.gather(*(self._ask(session, asked) for session in sides))

    async def _ask(self, session: str, asked: _Asked) -> None:
        peer = self._peers.get(session)
        if peer is None:
            asked.gathered.lost(session, self.left(session))
            return
        await peer.met.wait()
        async with peer.slots:
            if peer.failure or peer.channel is None:
                self._count(AWAY)
                asked.gathered.lost(session, f"{_of(peer.other)}, which {peer.failure}")
                return
            try:
                result = await self._hear(session, peer, peer.channel, asked)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # who asks counts that
                    self._count(FAILED)
                    peer.at = float("-inf")
                    asked.gathered.lost(session, f"{_of(peer.other)}, which {_failure(error)}")
            else:
                self._count(result)
                asked.gathered.done(session)

    async def _hear(self, session: str, peer: _Peer, channel: grpc.aio.Channel, asked: _Asked) -> str:
        """Take what one answers: what became of the question. Raises AioRpcError."""
        wanted, ahead = asked.wanted, round(peer.offset.ahead / 1000)
        left = asked.until - self._loop.time()
        inquiry = wire.Inquiry(
            body=encode_question(question_shifted(asked.question, ahead)),
            hosts=sorted(wanted.but if wanted.hosts is None else wanted.hosts),
            all_but=wanted.hosts is None,
            timeout_ms=max(1, int(left * _AGENTS_SHARE * 1000)),
            most_bytes=asked.most,
        )
        taker = From(asked.gathered, session, wanted.hosts, wanted.but, -ahead)
        check, result = check_of(asked.question), ANSWERED
        call = asking(channel, inquiry, left)
        try:
            async for reply in call:
                if reply.host:
                    self._heard[reply.tid] = reply.host
                if reply.part:
                    try:
                        check(reply.part, (f"{reply.tid}/", *reply.below))
                    except AnswerError as error:
                        result = REFUSED
                        self._refuse(peer, reply.tid, error)
                        taker.dropped(reply.tid, f"its answer is refused: {error}")
                    else:
                        taker.part(reply.tid, reply.part)
                if reply.dropped:
                    taker.dropped(reply.tid, reply.failure[:TOLD])
                elif reply.last:
                    taker.ended(reply.tid, reply.failure[:TOLD])
        finally:
            call.cancel()
        return result

    @staticmethod
    def _refuse(peer: _Peer, tid: str, error: AnswerError) -> None:
        """Say once that something of what one answers is refused."""
        if not peer.refused:
            remedy = "upgrade it; else look who is there"
            _log.warning("answer_refused", hub=peer.other.name, agent=tid, reason=str(error), remedy=remedy)
        peer.refused = True

    def _update(self) -> None:
        """Meet those that are new, and again those that were met a while ago."""
        for session in self._peers.keys() - self._others.keys():
            self._forget(self._peers.pop(session), "is gone")
        for session, other in self._others.items():
            known = self._peers.get(session)
            if known is None:
                known = self._peers[session] = _Peer(other)
            elif known.other.address != other.address:
                self._forget(known, "is gone")
                known = self._peers[session] = _Peer(other)
            known.other = other
            due = known.failure or self._loop.time() - known.at >= _MEETINGS
            if due and (known.meeting is None or known.meeting.done()):
                known.meeting = self._loop.create_task(self._meet(session, known))

    async def _meet(self, session: str, peer: _Peer) -> None:
        peer.at = self._loop.time()
        before = peer.failure if peer.met.is_set() else None
        try:
            peer.failure = await self._met(session, peer)
        except grpc.aio.AioRpcError as error:
            peer.failure = _failure(error)
        except (WireError, OSError, ValueError) as error:
            peer.failure = f"cannot be asked: {error}"
        peer.met.set()
        if peer.failure and peer.failure != before:
            _log.warning("hub_not_asked", hub=peer.other.name, address=peer.other.address, reason=peer.failure)
        elif not peer.failure and before != "":
            _log.info("hub_met", hub=peer.other.name, address=peer.other.address)

    async def _met(self, session: str, peer: _Peer) -> str:
        """Meet one; why it cannot be asked. Raises AioRpcError, WireError, and what reading our certificate does."""
        if refusal := self.refuses(peer.other) or self._security.refusal():
            return refusal
        files = self._security.files.current() if self._security.files else None
        if peer.channel is None or peer.files is not files:  # certificates are read again
            self._close(peer)
            peer.channel, peer.files = self._security.dial(peer.other.address), files
        said = wire.Meeting(oldest=OLDEST, newest=NEWEST, release=__version__, session=self._session, clock=self._clock())
        answer = await meeting(peer.channel)(said, timeout=_MET)
        peer.offset.note(said.clock, answer.received, answer.clock, self._clock())
        agreed(answer.oldest, answer.newest, "it", "this hub")
        if answer.session != session:
            return "is not there, but another one: set hub.advertise there to an address that is its own"
        return ""

    def _count(self, result: str) -> None:
        with self._lock:
            self.results[result] += 1

    def _forget(self, peer: _Peer, reason: str) -> None:
        """Ask one no more, by a reason."""
        if peer.meeting is not None:
            peer.meeting.cancel()
        peer.failure = reason
        peer.met.set()
        self._close(peer)

    def _close(self, peer: _Peer) -> None:
        """Let what is being asked end, and then the connection."""
        if peer.channel is not None:
            closing = self._loop.create_task(peer.channel.close(_ENDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            peer.channel = None

    async def close(self) -> None:
        """Ask no more. On the loop."""
        for peer in self._peers.values():
            channel, peer.channel = peer.channel, None
            self._forget(peer, "is not asked any more: this hub ends")
            if channel is not None:
                await channel.close()
        for closing in self._closing:
            closing.cancel()


def _of(other: Other) -> str:
    return f"its agent reports to {other.told}"


def _failure(error: grpc.aio.AioRpcError) -> str:
    """What a hub does not do, in a line that goes on after *which*."""
    code, details = error.code(), " ".join((error.details() or "").split())
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "is of a release that other hubs cannot ask: upgrade it"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "does not answer"
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"cannot be reached: {details}"
    return f"refuses: {details}"
