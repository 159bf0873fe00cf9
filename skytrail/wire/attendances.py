"""A hub's end of questions: asks the agents that attend, and other hubs, all at once, and waits for what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc
import structlog

from skytrail.asking.asker import Answers
from skytrail.asking.collecting import ANSWERED, AWAY, CROWDED, FAILED, LATE, REFUSED, Room
from skytrail.asking.gathering import OURS, From, Gathered, Taker
from skytrail.asking.questions import Question, encode_question
from skytrail.asking.shapes import AnswerError, Check, check_of
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendant import MOST_OPEN
from skytrail.wire.versions import ATTENDS

_log = structlog.get_logger(__name__)

TOLD = 1000
"""Characters of what an agent says of its failure, or another hub of one."""


class Known(Protocol):
    """An agent that has greeted: see :class:`topology.remote.receiver.Agent`."""

    host: str
    tid: str
    version: int
    connected: bool
    heard: int

    @property
    def below(self) -> tuple[str, ...]:
        """What the TIDs of its host's elements begin with."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which hosts are asked: those of some TIDs; None: all but some."""

    hosts: frozenset[str] | None = None
    but: frozenset[str] = frozenset()

    def of(self, there: Collection[str]) -> set[str]:
        """Those among some."""
        return set(there) - self.but if self.hosts is None else set(there) & self.hosts


class Others(Protocol):
    """Other hubs of the same graph, which ask their agents for us: see :class:`skytrail.wire.peers.Peers`."""

    def agents(self) -> Mapping[str, Mapping[str, str]]:
        """Names of the hosts whose agents report to another hub, by TID, by what names that hub."""
        ...

    def names(self) -> Mapping[str, str]:
        """Names of all these hosts, and of those that answered lately and are in no list yet, by TID."""
        ...

    def left(self, hub: str) -> str:
        """Why an agent that was said to report to a hub is not there, where that one says nothing of it."""
        ...

    def ask(self, question: Question, wanted: Wanted, gathered: Gathered, most: int, seconds: float) -> Future[None]:
        """Ask all of them that are sides of what is gathered; cancelled, it takes no more."""
        ...

    def late(self, hub: str, seconds: float) -> str:
        """Count a hub that was waited for in vain; says so."""
        ...


class _Attendance:
    """The call by which one agent attends. For the loop's thread, but for ``open``, which :class:`Attendances` locks."""

    def __init__(self, agent: Known) -> None:
        self.tid, self.below = agent.tid, agent.below
        self.refused = False  # so far: it is said once
        self.open: dict[int, Round] = {}
        self.sending: asyncio.Queue[wire.Question | None] = asyncio.Queue()  # bounded by who puts in


class Round:
    """A question that some of our agents are being asked. For any thread.

    Args:
        number: of the question.
        check: what an answer to it must look like.
        taker: takes what they answer.
        cancel: tells agents that their answer to the question is not wanted any more.

    Attributes:
        tried: TIDs of those that were to be asked.
        begun: those that are asked.
        waiting: those of them that have not answered whole, by TID.
        results: what became of the question to each, by TID.
    """

    def __init__(self, number: int, check: Check, taker: Taker, cancel: Callable[[int, Collection[_Attendance]], None]) -> None:
        self.number, self._check, self._taker, self._cancel = number, check, taker, cancel
        self.tried: set[str] = set()
        self.begun: list[_Attendance] = []
        self.waiting: dict[str, _Attendance] = {}
        self.results: dict[str, str] = {}
        self._lock = threading.Lock()
        taker.begins(self._call_off)

    def refuse(self, tid: str, reason: str) -> None:
        """An agent cannot be asked."""
        self.results[tid] = AWAY
        self._taker.ended(tid, reason)

    def take(self, there: _Attendance, answer: wire.Answer) -> None:
        """Take a part of an answer."""
        if there.tid not in self.waiting:
            return
        if answer.part and (refused := self._refused(there, answer.part)):
            with self._lock:
                if there.tid in self.waiting:
                    self._taker.dropped(there.tid, f"its answer is refused: {refused}")
                    self._done(there.tid, REFUSED)
            self._cancel(self.number, [there])
            return
        if answer.part:  # not locked: it may call off
            self._taker.part(there.tid, answer.part)
        with self._lock:
            if answer.last and there.tid in self.waiting:
                self._end(there.tid, answer.failure[:TOLD], FAILED if answer.failure else ANSWERED)

    def _refused(self, there: _Attendance, part: bytes) -> str:
        """Why a part is refused; empty: it is not."""
        try:
            self._check(part, there.below)
        except AnswerError as error:
            if not there.refused:
                _log.warning("answer_refused", agent=there.tid, reason=str(error), remedy="upgrade it; else look who is there")
            there.refused = True
            return str(error)
        return ""

    def _call_off(self, tid: str) -> None:
        with self._lock:
            there = self.waiting.get(tid)
            if there is not None:
                self._done(tid, CROWDED)
            elif tid in self.results:
                self.results[tid] = CROWDED
        if there is not None:
            self._cancel(self.number, [there])

    def lost(self, tid: str) -> None:
        """An agent went away."""
        with self._lock:
            if tid in self.waiting:
                self._end(tid, "its agent went away while it answered", AWAY)

    def _end(self, tid: str, failure: str, result: str) -> None:
        self._taker.ended(tid, failure)
        self._done(tid, result)

    def _done(self, tid: str, result: str) -> None:
        del self.waiting[tid]
        self.results[tid] = result
        if not self.waiting:
            self._taker.done()

    def late(self, seconds: float, result: str) -> list[_Attendance]:
        """Wait no longer; those who have not answered whole."""
        with self._lock:
            left = list(self.waiting.values())
            for one in left:
                self._end(one.tid, f"did not answer within {seconds:g} s", result)
        return left


class Attendances:
    """The agents that attend to our questions; an :class:`skytrail.asking.asker.Asker`.

    Args:
        known: gives the agents that have greeted.
        loop: that serves them.
        timeout: seconds that they have to answer.
        most: bytes of the answers to one question.

    Attributes:
        others: other hubs, which are asked, too; None: there are none.
        expected: gives names of the hosts that are told of as missing though no agent of theirs is known, by TID.
        room: for answers.
        results: what became of questions to agents.
    """

    def __init__(
        self, known: Callable[[], Collection[Known]], loop: asyncio.AbstractEventLoop, timeout: float, most: int
    ) -> None:
        self._known, self._loop, self.timeout, self._most = known, loop, timeout, most
        self.room = Room(most)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._there: dict[str, _Attendance] = {}
        self.results: Counter[str] = Counter()
        self.others: Others | None = None
        self.expected: Callable[[], Mapping[str, str]] = dict

    def hosts(self) -> Mapping[str, str]:
        """As :meth:`skytrail.asking.asker.Asker.hosts`."""
        return {**self.expected(), **(self.others.names() if self.others else {}), **self.names()}

    def names(self) -> dict[str, str]:
        """The same of those that report, or reported, to this hub."""
        return {one.tid: one.host for one in self._known()}

    def below(self) -> dict[str, tuple[str, ...]]:
        """What the TIDs of these hosts' elements begin with, by TID."""
        return {one.tid: one.below for one in self._known()}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """As :meth:`skytrail.asking.asker.Asker.ask`."""
        wanted = Wanted(None if hosts is None else frozenset(hosts))
        others = self.others.agents() if self.others else {}
        gathered = Gathered(self.room, [OURS, *others], self.hosts() if wanted.hosts is None else wanted.hosts)
        begun = self.begin(question, encode_question(question), wanted, From(gathered, OURS), self._most, self.timeout)
        unheard = self._unheard(wanted, begun.tried, others)
        asking = self._ask_others(question, wanted, begun, gathered)
        try:
            gathered.finished.wait(self.timeout)
        finally:
            for side in gathered.left() - {OURS}:
                gathered.lost(side, self.others.late(side, self.timeout) if self.others and gathered.over is None else "")
            self.end(begun, self.timeout, LATE if gathered.over is None else CROWDED)
            if asking is not None:
                asking.cancel()
        if gathered.over is not None:
            gathered.collected.drop()
            raise gathered.over
        failures = gathered.missing(unheard, others)
        failures = {tid: failures[tid] for tid in wanted.of(failures)}
        with self._lock:
            self.results.update(CROWDED if tid in gathered.crowded else AWAY for tid in failures.keys() & unheard.keys())
        return Answers(gathered.collected, _by_name(failures, self.hosts()))

    def _ask_others(self, question: Question, wanted: Wanted, begun: Round, gathered: Gathered) -> Future[None] | None:
        """Ask other hubs for whom is not asked here; what takes no more of them when it is cancelled."""
        asked = frozenset(one.tid for one in begun.begun)
        left = Wanted(None, asked) if wanted.hosts is None else Wanted(wanted.hosts - asked)
        sides = gathered.left() - {OURS}
        if self.others is not None and sides and left.hosts != frozenset():
            return self.others.ask(question, left, gathered, self._most, self.timeout)
        for side in sides:
            gathered.done(side)
        return None

    def _unheard(self, wanted: Wanted, tried: Collection[str], others: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Why hosts are missing that are not asked here, unless another hub brings their answers."""
        known = {one.tid: one for one in self._known()}
        listed = {tid: hub for hub, agents in others.items() for tid in agents}
        there = known.keys() | listed.keys() | self.expected().keys()
        reasons: dict[str, str] = {}
        for tid in (there if wanted.hosts is None else wanted.hosts) - set(tried):
            agent = known.get(tid)
            if self.others is not None and tid in listed:
                reasons[tid] = self.others.left(listed[tid])
            elif agent is None:
                reasons[tid] = "no agent of this host has greeted since the hub's start"
            else:
                heard = datetime.fromtimestamp(agent.heard // 1_000_000, UTC)
                reasons[tid] = f"its agent is not connected; last heard of at {heard:%Y-%m-%dT%H:%M:%SZ}"
        return reasons

    def begin(self, question: Question, body: bytes, wanted: Wanted, taker: Taker, most: int, seconds: float) -> Round:
        """Ask those of our agents that are wanted and report now; follow it by :meth:`end`.

        Args:
            question: by which what they answer is checked.
            body: the same as JSON, as it goes to them.
            wanted: who is asked.
            taker: takes what they answer.
            most: bytes of one answer.
            seconds: that they have.
        """
        begun = Round(next(self._numbers), check_of(question), taker, self._cancel)
        connected = {one.tid: one for one in self._known() if one.connected}
        with self._lock:
            begun.tried = wanted.of(connected.keys() | self._there.keys())
            for tid in begun.tried:
                there = self._there.get(tid)
                if reason := self._refusal(there, connected.get(tid)):
                    begun.refuse(tid, reason)
                elif there is not None:
                    begun.begun.append(there)
                    begun.waiting[tid] = there
                    there.open[begun.number] = begun
            to = list(begun.begun)
        if to:
            self._say(to, wire.Question(number=begun.number, body=body, timeout_ms=int(seconds * 1000), most_bytes=most))
        else:
            taker.done()
        return begun

    def end(self, begun: Round, seconds: float, result: str = LATE) -> None:
        """Wait no longer for those that have not answered within so many seconds; what became of the question to them."""
        left = begun.late(seconds, result)
        with self._lock:
            for one in begun.begun:
                one.open.pop(begun.number, None)
            self.results.update(begun.results.values())
            begun.results.clear()  # it may be ended twice
        if left:
            self._cancel(begun.number, left)

    def _cancel(self, number: int, those: Collection[_Attendance]) -> None:
        self._say(those, wire.Question(number=number, cancelled=True))

    @staticmethod
    def _refusal(there: _Attendance | None, agent: Known | None) -> str:
        """Why an agent that reports or attends cannot be asked; empty: it can."""
        if there is None:
            if agent is not None and agent.version < ATTENDS:
                return f"its agent speaks version {agent.version} of the wire: upgrade it"
            return "its agent does not attend to questions yet: ask again"
        if there.sending.qsize() >= 2 * MOST_OPEN:
            return "its agent does not hear what it is asked: see its log"
        return f"is asked {MOST_OPEN} questions already: ask again later" if len(there.open) >= MOST_OPEN else ""

    def _say(self, to: Collection[_Attendance], question: wire.Question) -> None:
        def put() -> None:
            for one in to:
                one.sending.put_nowait(question)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody attends any more
            self._loop.call_soon_threadsafe(put)

    async def attend(self, agent: Known, answers: AsyncIterator[wire.Answer], context: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Serve an agent's call; a later one of the same agent ends it."""
        there = _Attendance(agent)
        with self._lock:
            before = self._there.get(agent.tid)
            self._there[agent.tid] = there
        if before is not None:
            before.sending.put_nowait(None)
        reading = asyncio.ensure_future(self._read(there, answers))
        try:
            while (question := await there.sending.get()) is not None:
                await context.write(question)
        finally:
            reading.cancel()
            self._lost(there)
        await context.abort(grpc.StatusCode.ABORTED, "the agent attends no more, or by another call")

    async def _read(self, there: _Attendance, answers: AsyncIterator[wire.Answer]) -> None:
        try:
            async for answer in answers:
                with self._lock:
                    begun = there.open.get(answer.number)
                    if answer.last:
                        there.open.pop(answer.number, None)
                if begun is not None:
                    begun.take(there, answer)
        finally:
            there.sending.put_nowait(None)

    def _lost(self, there: _Attendance) -> None:
        with self._lock:
            if self._there.get(there.tid) is there:
                del self._there[there.tid]
            lost = list(there.open.values())
            there.open.clear()
        for begun in lost:
            begun.lost(there.tid)


def _by_name(failures: Mapping[str, str], hosts: Mapping[str, str]) -> dict[str, str]:
    """Reasons by the host's name, or its TID where several have the name, or none is known."""
    names = Counter(hosts.values())
    return {hosts[tid] if tid in hosts and names[hosts[tid]] == 1 else tid: reason for tid, reason in failures.items()}
