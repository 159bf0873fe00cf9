"""The hub's end: takes the reports of agents, each once and in its order, and knows which agents there are."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import grpc.aio
import structlog

from skytrail import __version__
from skytrail.errors import ListenError, RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendances import Attendances
from skytrail.wire.bookstreams import NO_NAMES, BookStreams
from skytrail.wire.bookstreams import Source as NameSource
from skytrail.wire.methods import OUTBOX, SERVER_OPTIONS, TID, handlers
from skytrail.wire.peers import Peers
from skytrail.wire.relay import Relay
from skytrail.wire.security import OPEN, HubSecurity, Peer, PeerError
from skytrail.wire.versions import CLOCKS, OLDEST, WireError, agreed
from topology.facts import Source
from topology.remote.admission import Admission, check_report
from topology.remote.codec import MalformedReportError, decode_report
from topology.remote.marks import FORGOTTEN, Mark, marks, note_of
from topology.remote.pieces import Pieces, RoomForPieces
from topology.remote.taking import Taker
from topology.store.interface import Note, Store, StoreError

_log = structlog.get_logger(__name__)

_KEPT = 10_000_000  # µs between two notes of what is taken, where it changed nothing
_ENDED = 2.0  # seconds
_GRACE = 1.0  # seconds that calls have to end
_STARTED = 10.0
_LOOK = 5.0  # seconds between two looks at whether who attends may still do so


class ConnectedError(RunError):
    """An agent reports now."""


@dataclass(slots=True)
class Agent:
    """An agent that has greeted.

    Attributes:
        host: name of its host.
        tid: of its host.
        version: of the wire that it speaks.
        release: of Skytrail there.
        address: where it calls from.
        outbox: names the numbering of its reports.
        taken: number of its last report that is taken.
        connected: whether it reports now.
        heard: when it said something last, µs since the epoch.
        offset: µs that its clock is ahead of ours, as of then.
        refused: reports of it that could not be read.
        life: tells it from one of before, which was forgotten: the agent then tells all anew.
        formerly: TIDs of its host by earlier IDs of that: it remembers what was there then.
    """

    host: str
    tid: str
    version: int = OLDEST
    release: str = ""
    address: str = ""
    outbox: str = ""
    taken: int = 0
    connected: bool = False
    heard: int = 0
    offset: int = 0
    refused: int = 0
    noted: int = 0
    noted_at: int = 0
    source: Source | None = None
    holder: str = ""
    call: object = field(default=None, repr=False)
    peer: Peer | None = None
    life: int = 0
    formerly: frozenset[str] = frozenset()
    pieces: Pieces | None = field(default=None, repr=False)

    @property
    def below(self) -> tuple[str, ...]:
        """What the TIDs of its host's elements begin with."""
        return tuple(f"{tid}/" for tid in (self.tid, *self.formerly))

    def note(self, number: int) -> Note:
        """That its reports are taken up to a number."""
        return note_of(self.tid, Mark(self.outbox, number))


@dataclass(frozen=True, slots=True)
class AskBounds:
    """Seconds that agents have to answer a question, and bytes of all their answers to it."""

    seconds: float = 5.0
    most: int = 64 << 20


class Receiver:
    """Serves the wire, on a thread of its own.

    What is taken is noted in the store at once with what it changed, and now and then where it changed nothing: after a hub was
    killed, only such reports are taken once more, in their order, and change nothing again.

    Args:
        listen: address and port.
        taker: takes reports.
        store: where it is noted what is taken.
        clock: µs since the epoch.
        bounds: of what agents answer when they are asked.
        security: who may connect as whom.
        closed: why other hubs of the graph may not ask our agents; empty: they may.
        names: has the address book; there from the beginning, since agents wait for us to listen.

    Attributes:
        asker: asks the agents, those of other hubs too.
        book: tells them of the address book.
        peers: the other hubs.
        port: that is listened on.
        session: names this process to agents.
    """

    def __init__(
        self,
        listen: str,
        taker: Taker,
        store: Store,
        clock: Callable[[], int],
        bounds: AskBounds = AskBounds(),
        security: HubSecurity = OPEN,
        closed: str = "",
        names: NameSource = NO_NAMES,
    ) -> None:
        self._listen, self._taker, self._store, self._clock = listen, taker, store, clock
        self._security, self._admission = security, Admission(security, store)
        self._agents: dict[str, Agent] = {}
        self._lock = threading.Lock()
        self._lives = itertools.count()
        self.session = secrets.token_hex(8)
        self._room = RoomForPieces(self._lose)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="wire-take")  # the reconciler takes one after the other anyway
        self._loop = asyncio.new_event_loop()
        self.asker = Attendances(self.agents, self._loop, bounds.seconds, bounds.most)
        self.book = BookStreams(self.session, self._loop, names)
        self.peers = self.asker.others = Peers(self._loop, self.session, clock, security)
        self._relay = Relay(self.asker, self.session, clock, security, closed)
        self._started = threading.Event()
        self._ended: asyncio.Event
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self.port = 0

    def start(self) -> None:
        """Begin to listen. Raises ListenError: the address cannot be listened on."""
        self._thread.start()
        self._started.wait(_STARTED)
        if self._failure is not None:
            raise ListenError(f"cannot listen on {self._listen} for agents: {self._failure}") from self._failure

    def stop(self) -> None:
        """Take no more, and note what is taken."""
        if self._thread.ident is None:
            return
        if self._failure is None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._pool.shutdown()
        for agent in self.agents():
            self._note(agent)

    def agents(self) -> list[Agent]:
        """All that have greeted since the start."""
        with self._lock:
            return list(self._agents.values())

    @property
    def crowded(self) -> Counter[str]:
        """Large reports for which there was no room at once, by what became of them."""
        return self._room.counts

    def connected(self) -> dict[str, str]:
        """Names of the hosts of those that report now, by TID."""
        return {agent.tid: agent.host for agent in self.agents() if agent.connected}

    def forget(self, tid: str, end: Callable[[], int]) -> int:
        """Know an agent no more, nor what is taken of its reports, while nothing of its is taken in.

        Args:
            tid: of its host.
            end: ends its host's graph; returns how many changes that made.

        Returns what ``end`` does.

        Raises:
            ConnectedError: it reports now.
            StoreError: the store is away.
        """
        return self._pool.submit(self._forget, tid, end).result()

    def _forget(self, tid: str, end: Callable[[], int]) -> int:
        with self._lock:
            agent = self._agents.pop(tid, None)
        if agent is not None and agent.connected:  # looked at last: who connects looks whether it is known still
            with self._lock:
                self._agents.setdefault(tid, agent)
            raise ConnectedError(agent.host)
        changes = end()
        if tid in marks(self._store):
            note = note_of(tid, FORGOTTEN)
            self._store.put_resource(note.kind, note.id, note.body)
        return changes

    def let_go(self, known: Mapping[str, Mark]) -> None:
        """Know those no more that another hub has forgotten, by what the store has of all."""
        with self._lock:
            for tid, agent in list(self._agents.items()):
                if not agent.connected and agent.noted and known.get(tid) == FORGOTTEN:
                    del self._agents[tid]

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - told to who started us
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = grpc.aio.server(options=SERVER_OPTIONS)
        calls = self._greet, self._report, self._attend, self._relay.meet, self._relay.ask, self._names
        server.add_generic_rpc_handlers((handlers(*calls),))
        self.port = self._security.add_port(server, self._listen)
        await server.start()
        self._started.set()
        await self._ended.wait()
        await self.peers.close()
        await server.stop(_GRACE)
        # cancelled calls end by themselves, and gRPC's own tasks with them: cancelled once more they say so in the log
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            _, left = await asyncio.wait(left, timeout=_ENDED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _greet(self, greeting: wire.Greeting, context: Any) -> wire.Welcome:  # noqa: ANN401 - grpc has no types
        received = self._clock()
        try:
            version = agreed(greeting.oldest, greeting.newest)
            peer = self._security.peer(context)
            agent = await self._loop.run_in_executor(self._pool, self._known, greeting, version, context.peer(), peer)
        except PeerError as error:
            await self._refuse(context, error)
        except WireError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except StoreError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return wire.Welcome(
            version=version,
            release=__version__,
            clock=self._clock(),
            taken=agent.taken,
            received=received,
            session=f"{self.session}/{agent.life}",
        )

    @staticmethod
    async def _refuse(context: Any, error: PeerError) -> None:  # noqa: ANN401 - grpc has no types
        _log.warning("agent_refused", address=context.peer(), reason=str(error))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))

    def _known(self, greeting: wire.Greeting, version: int, address: str, peer: Peer | None) -> Agent:
        """Note who greets, and what is taken of its outbox."""
        if not greeting.tid or not greeting.outbox:
            raise WireError("a greeting says who greets: give the host an ID (host_id)")
        self._admission.greet(peer, greeting.host, greeting.tid)
        with self._lock:
            agent = self._agents.get(greeting.tid)
        known = marks(self._store)  # also of one that is known: another hub may have taken more meanwhile
        noted = known.get(greeting.tid)
        taken = noted.number if noted is not None and noted.outbox == greeting.outbox else 0
        forgotten = noted == FORGOTTEN and agent is not None and agent.noted > 0  # by another hub
        if agent is None or agent.outbox != greeting.outbox or forgotten:
            agent = Agent(greeting.host, greeting.tid, outbox=greeting.outbox, life=next(self._lives))
        if taken > agent.taken:
            agent.taken = agent.noted = taken
        agent.holder = f"{greeting.outbox}/#{greeting.connection}/{self.session}" if greeting.connection else ""
        agent.host, agent.release, agent.version, agent.address = greeting.host, greeting.release, version, address
        agent.heard = self._clock()
        same = {tid for tid, mark in known.items() if mark.outbox == greeting.outbox}
        agent.formerly = frozenset(self._admission.of_peer(peer, same) - {agent.tid})
        with self._lock:
            self._agents[greeting.tid] = agent
        return agent

    async def _report(self, requests: AsyncIterator[wire.Reports], context: Any) -> AsyncIterator[wire.Taken]:  # noqa: ANN401
        agent = await self._who(context)
        pieces = Pieces(agent.peer.hosts[0] if agent.peer else agent.tid)
        if agent.pieces is not None:
            self._lose(agent.pieces)
        agent.call, agent.connected, agent.pieces = context, True, pieces
        _log.info("agent_connected", host=agent.host, agent=agent.tid, address=agent.address, taken=agent.taken)
        try:
            if not any(one is agent for one in self.agents()):  # it was forgotten meanwhile
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "greet first")
            async for reports in requests:
                received = self._clock()
                if agent.call is not context:
                    await context.abort(grpc.StatusCode.ABORTED, "the agent has another connection")
                try:
                    self._security.check(agent.peer)
                    more = 0 if pieces.lost else pieces.more(reports)
                    large = more or pieces.size
                    if more:
                        await self._room.enter(pieces, more)
                    if pieces.lost:
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "others wait: begin the large report anew")
                    await self._loop.run_in_executor(self._pool, self._take_in, agent, pieces, reports)
                    if large:
                        self._room.settle(pieces)
                except PeerError as error:
                    await self._refuse(context, error)
                except StoreError as error:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
                yield wire.Taken(number=agent.taken, clock=self._clock(), sent=reports.clock, received=received)
        finally:
            self._lose(pieces)
            if agent.call is context:
                agent.connected, agent.call, agent.pieces = False, None, None
                _log.info("agent_gone", host=agent.host, agent=agent.tid, taken=agent.taken)

    def _lose(self, pieces: Pieces) -> None:
        """Drop pieces whose report does not go on."""
        pieces.lost = True
        self._room.settle(pieces)
        with contextlib.suppress(RuntimeError):  # behind what is still being taken in; the pool may have ended
            self._pool.submit(pieces.drop)

    async def _who(self, context: Any) -> Agent:  # noqa: ANN401 - grpc has no types
        """The agent that calls; ends the call of one that has not greeted."""
        metadata = dict(context.invocation_metadata())
        with self._lock:
            agent = self._agents.get(str(metadata.get(TID, "")))
        if agent is None or agent.outbox != metadata.get(OUTBOX):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "greet first")
        assert agent is not None, "aborting raises"
        try:
            peer = self._security.peer(context)
            self._security.admit(peer, agent.host)
            agent.peer = peer
        except PeerError as error:
            await self._refuse(context, error)
        return agent

    async def _attend(self, answers: AsyncIterator[wire.Answer], context: Any) -> None:  # noqa: ANN401 - grpc has no types
        agent = await self._who(context)
        attending = asyncio.ensure_future(self.asker.attend(agent, answers, context))
        try:
            while not (await asyncio.wait({attending}, timeout=_LOOK))[0]:
                self._security.check(agent.peer)
            await attending
        except PeerError as error:
            await self._refuse(context, error)
        finally:
            attending.cancel()

    async def _names(self, known: wire.Known, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        agent = await self._who(context)
        telling = asyncio.ensure_future(self._tell_names(known, context))
        try:
            while not (await asyncio.wait({telling}, timeout=_LOOK))[0]:
                self._security.check(agent.peer)
            await telling
        except PeerError as error:
            await self._refuse(context, error)
        finally:
            telling.cancel()

    async def _tell_names(self, known: wire.Known, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        async for changes in self.book.changes(known):
            await context.write(changes)

    def _take_in(self, agent: Agent, pieces: Pieces, reports: wire.Reports) -> None:
        for one in reports.reports:
            if one.number <= agent.taken:
                continue  # it came once before
            try:
                data = pieces.whole(one)
                if data is None:
                    continue
                report = decode_report(data)
                report = replace(report, observed=report.observed + reports.ahead + one.shift)
                check_report(agent.peer, agent.tid, report)
                # whatever its clock says: times go on from the latest, also those of what is between hosts
                report = replace(report, observed=min(report.observed, self._clock()))
            except MalformedReportError as error:  # sent again it would be no better
                agent.refused += 1
                _log.error("report_refused", agent=agent.tid, number=one.number, error=str(error), remedy="report this")
            else:
                agent.source = report.source
                if self._claimed(agent, report.source) and one.number <= agent.taken:
                    continue
                if self._taker.take(report, agent.note(one.number)):
                    agent.noted = one.number
            agent.taken = one.number
        agent.heard = self._clock()
        agent.offset = -reports.ahead if agent.version >= CLOCKS else reports.clock - agent.heard
        if agent.heard - agent.noted_at >= _KEPT:
            self._note(agent)

    def _claimed(self, agent: Agent, source: Source) -> bool:
        """Write for an agent's source; whether it has turned out that another hub took more of its reports before."""
        if not self._taker.claim(source, agent.holder):
            return False
        noted = marks(self._store).get(agent.tid)
        if noted is None or noted.outbox != agent.outbox or noted.number <= agent.taken:
            return False
        agent.taken = agent.noted = noted.number
        return True

    def _note(self, agent: Agent) -> None:
        """Keep in the store what is taken; where that fails, more is taken once more after a restart."""
        agent.noted_at = agent.heard
        if agent.noted == agent.taken or agent.source is None:
            return
        try:
            self._taker.keep(agent.source, agent.note(agent.taken))
        except StoreError as error:
            _log.warning("agent_not_noted", agent=agent.tid, error=str(error))
        else:
            agent.noted = agent.taken
