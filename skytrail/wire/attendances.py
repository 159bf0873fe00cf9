"""A hub's end of questions: asks the agents that attend, all at once, and waits for what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc
import structlog

from skytrail.asking.asker import Answers
from skytrail.asking.collecting import ANSWERED, AWAY, CROWDED, FAILED, LATE, REFUSED, Collected, FullError, Room
from skytrail.asking.questions import Question, encode_question
from skytrail.asking.shapes import AnswerError, check_of
from skytrail.errors import RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendant import MOST_OPEN
from skytrail.wire.versions import ATTENDS

_log = structlog.get_logger(__name__)

_MAY_BE_LEFT_OUT = 4
"""Of so many that are asked one may have too much to answer; where more have, the question asks for too much."""
_TOLD = 1000  # characters of what an agent says of its failure


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


class _Attendance:
    """The call by which one agent attends. For the loop's thread, but for ``open``, which :class:`Attendances` locks."""

    def __init__(self, agent: Known) -> None:
        self.tid, self.below = agent.tid, agent.below
        self.refused = False  # so far: it is said once
        self.open: dict[int, _Asked] = {}
        self.sending: asyncio.Queue[wire.Question | None] = asyncio.Queue()  # bounded by who puts in


class _Asked:
    """A question that is being asked."""

    def __init__(self, number: int, question: Question, room: Room) -> None:
        self.number = number
        self._check = check_of(question)
        self.collected = Collected(room)
        self.failures: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.waiting: dict[str, _Attendance] = {}
        self.over: RunError | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()

    def take(self, there: _Attendance, answer: wire.Answer) -> list[_Attendance]:
        """Take a part of an answer; returns those that need not go on with theirs."""
        refused = self._refused(there, answer.part) if answer.part else None
        with self._lock:
            if there.tid not in self.waiting or self.over is not None:
                return []
            if refused is not None:
                return self._leave_out(there.tid, f"its answer is refused: {refused}", REFUSED)
            called_off = self._add(there.tid, answer.part) if answer.part else []
            if answer.last and there.tid in self.waiting:
                self._end(there.tid, answer.failure[:_TOLD], FAILED if answer.failure else ANSWERED)
            return called_off

    def _refused(self, there: _Attendance, part: bytes) -> str | None:
        try:
            self._check(part, there.below)
        except AnswerError as error:
            if not there.refused:
                _log.warning("answer_refused", agent=there.tid, reason=str(error), remedy="upgrade it; else look who is there")
            there.refused = True
            return str(error)
        return None

    def _add(self, tid: str, part: bytes) -> list[_Attendance]:
        """Take a part; where there is no room for it the largest answers make some."""
        called_off: list[_Attendance] = []
        while self.over is None:
            try:
                self.collected.add(tid, part)
            except FullError as error:
                largest = self.collected.largest(tid, part)
                called_off += self._leave_out(largest, f"its answer is left out: {error}", CROWDED)
                asked, left_out = len(self.results) + len(self.waiting), Counter(self.results.values())[CROWDED]
                if left_out == asked or left_out > max(1, asked // _MAY_BE_LEFT_OUT):
                    self.over = error
                    self.done.set()
                if largest == tid:
                    break
            else:
                break
        return called_off

    def _leave_out(self, tid: str, reason: str, result: str) -> list[_Attendance]:
        self.collected.leave_out(tid)
        there = self.waiting.get(tid)
        self._end(tid, reason, result)
        return [] if there is None else [there]

    def lost(self, tid: str) -> None:
        """An agent went away."""
        with self._lock:
            if tid in self.waiting:
                self._end(tid, "its agent went away while it answered", AWAY)

    def _end(self, tid: str, failure: str, result: str) -> None:
        self.waiting.pop(tid, None)
        self.results[tid] = result
        if failure:
            self.failures[tid] = failure
        if not self.waiting:
            self.done.set()

    def late(self, seconds: float) -> list[_Attendance]:
        """Wait no longer; those who have not answered whole."""
        with self._lock:
            left = list(self.waiting.values())
            self.waiting.clear()
            self.results |= dict.fromkeys((one.tid for one in left), LATE if self.over is None else CROWDED)
            self.failures |= {one.tid: f"did not answer within {seconds:g} s" for one in left}
        return left


class Attendances:
    """The agents that attend to our questions; an :class:`skytrail.asking.asker.Asker`.

    Args:
        known: gives the agents that have greeted.
        loop: that serves them.
        timeout: seconds that they have to answer.
        most: bytes of the answers to one question.

    Attributes:
        elsewhere: gives the agents that report to other hubs, and are not asked: names of their host and of that hub's, by TID.
        expected: gives names of the hosts that are told of as missing though no agent of theirs is known, by TID.
        results: what became of questions to agents.
    """

    def __init__(
        self, known: Callable[[], Collection[Known]], loop: asyncio.AbstractEventLoop, timeout: float, most: int
    ) -> None:
        self._known, self._loop, self._timeout, self._most = known, loop, timeout, most
        self._room = Room(most)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._there: dict[str, _Attendance] = {}
        self.results: Counter[str] = Counter()
        self.elsewhere: Callable[[], Mapping[str, tuple[str, str]]] = dict
        self.expected: Callable[[], Mapping[str, str]] = dict

    def hosts(self) -> Mapping[str, str]:
        """As :meth:`skytrail.asking.asker.Asker.hosts`."""
        elsewhere = {tid: host for tid, (host, _) in self.elsewhere().items()}
        return {**self.expected(), **elsewhere, **{one.tid: one.host for one in self._known()}}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """As :meth:`skytrail.asking.asker.Asker.ask`."""
        known = {one.tid: one for one in self._known()}
        asked = _Asked(next(self._numbers), question, self._room)
        with self._lock:
            elsewhere = self.elsewhere()
            for tid in known.keys() | elsewhere.keys() | self.expected().keys() if hosts is None else set(hosts):
                self._choose(asked, tid, known.get(tid), elsewhere.get(tid))
            begun = list(asked.waiting.values())
        said = wire.Question(
            number=asked.number,
            body=encode_question(question),
            timeout_ms=int(self._timeout * 1000),
            most_bytes=self._most,
        )
        try:
            if begun:
                self._say(begun, said)
                asked.done.wait(self._timeout)
        finally:
            left = asked.late(self._timeout)
            self._forget(asked, begun, left)
        if asked.over is not None:
            asked.collected.drop()
            raise asked.over
        return Answers(asked.collected, _by_name(asked.failures, self.hosts()))

    def _choose(self, asked: _Asked, tid: str, agent: Known | None, elsewhere: tuple[str, str] | None) -> None:
        there = self._there.get(tid)
        reads = there is not None and there.sending.qsize() < 2 * MOST_OPEN
        if there is not None and reads and len(there.open) < MOST_OPEN:
            asked.waiting[tid] = there
            there.open[asked.number] = asked
            return
        asked.results[tid] = AWAY
        if there is not None and not reads:
            asked.failures[tid] = "its agent does not hear what it is asked: see its log"
        elif there is not None:
            asked.failures[tid] = f"is asked {MOST_OPEN} questions already: ask again later"
        elif elsewhere is not None and not (agent and agent.connected):
            asked.failures[tid] = f"its agent reports to the hub on {elsewhere[1]}: ask that one"
        elif agent is None:
            asked.failures[tid] = "no agent of this host has greeted since the hub's start"
        elif not agent.connected:
            heard = datetime.fromtimestamp(agent.heard // 1_000_000, UTC)
            asked.failures[tid] = f"its agent is not connected; last heard of at {heard:%Y-%m-%dT%H:%M:%SZ}"
        elif agent.version < ATTENDS:
            asked.failures[tid] = f"its agent speaks version {agent.version} of the wire: upgrade it"
        else:
            asked.failures[tid] = "its agent does not attend to questions yet: ask again"

    def _say(self, to: Collection[_Attendance], question: wire.Question) -> None:
        def put() -> None:
            for one in to:
                one.sending.put_nowait(question)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody attends any more
            self._loop.call_soon_threadsafe(put)

    def _forget(self, asked: _Asked, begun: Collection[_Attendance], left: Collection[_Attendance]) -> None:
        with self._lock:
            for one in begun:
                one.open.pop(asked.number, None)
            self.results.update(asked.results.values())
        if left:
            self._say(left, wire.Question(number=asked.number, cancelled=True))

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
                    asked = there.open.get(answer.number)
                    if answer.last:
                        there.open.pop(answer.number, None)
                for one in asked.take(there, answer) if asked is not None else ():
                    with self._lock:
                        one.open.pop(answer.number, None)
                    one.sending.put_nowait(wire.Question(number=answer.number, cancelled=True))
        finally:
            there.sending.put_nowait(None)

    def _lost(self, there: _Attendance) -> None:
        with self._lock:
            if self._there.get(there.tid) is there:
                del self._there[there.tid]
            lost = list(there.open.values())
            there.open.clear()
        for asked in lost:
            asked.lost(there.tid)


def _by_name(failures: Mapping[str, str], hosts: Mapping[str, str]) -> dict[str, str]:
    """Reasons by the host's name, or its TID where several have the name, or none is known."""
    names = Counter(hosts.values())
    return {hosts[tid] if tid in hosts and names[hosts[tid]] == 1 else tid: reason for tid, reason in failures.items()}
