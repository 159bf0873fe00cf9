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

from skytrail.asking.asker import Answers
from skytrail.asking.collecting import ANSWERED, AWAY, FAILED, LATE, Collected, Room
from skytrail.asking.questions import Question, encode_question
from skytrail.errors import RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendant import MOST_OPEN
from skytrail.wire.versions import ATTENDS


class Known(Protocol):
    """An agent that has greeted: see :class:`topology.remote.receiver.Agent`."""

    host: str
    tid: str
    version: int
    connected: bool
    heard: int


class _Attendance:
    """The call by which one agent attends. For the loop's thread, but for ``open``, which :class:`Attendances` locks."""

    def __init__(self, tid: str) -> None:
        self.tid = tid
        self.open: dict[int, _Asked] = {}
        self.sending: asyncio.Queue[wire.Question | None] = asyncio.Queue()  # bounded by who puts in


class _Asked:
    """A question that is being asked."""

    def __init__(self, number: int, room: Room) -> None:
        self.number = number
        self.collected = Collected(room)
        self.failures: dict[str, str] = {}
        self.results: Counter[str] = Counter()
        self.waiting: dict[str, _Attendance] = {}
        self.over: RunError | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()

    def take(self, tid: str, answer: wire.Answer) -> None:
        """Take a part of an answer."""
        with self._lock:
            if tid not in self.waiting:
                return
            if answer.part and self.over is None:
                try:
                    self.collected.add(tid, answer.part)
                except RunError as error:
                    self.over = error
                    self.done.set()
            if answer.last:
                self._end(tid, answer.failure, FAILED if answer.failure else ANSWERED)

    def lost(self, tid: str) -> None:
        """An agent went away."""
        with self._lock:
            if tid in self.waiting:
                self._end(tid, "its agent went away while it answered", AWAY)

    def _end(self, tid: str, failure: str, result: str) -> None:
        del self.waiting[tid]
        self.results[result] += 1
        if failure:
            self.failures[tid] = failure
        if not self.waiting:
            self.done.set()

    def late(self, seconds: float) -> list[_Attendance]:
        """Wait no longer; those who have not answered whole."""
        with self._lock:
            left = list(self.waiting.values())
            self.waiting.clear()
            self.results.update([LATE] * len(left))
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

    def hosts(self) -> Mapping[str, str]:
        """As :meth:`skytrail.asking.asker.Asker.hosts`."""
        elsewhere = {tid: host for tid, (host, _) in self.elsewhere().items()}
        return elsewhere | {one.tid: one.host for one in self._known()}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """As :meth:`skytrail.asking.asker.Asker.ask`."""
        known = {one.tid: one for one in self._known()}
        asked = _Asked(next(self._numbers), self._room)
        with self._lock:
            elsewhere = self.elsewhere()
            for tid in known.keys() | elsewhere.keys() if hosts is None else set(hosts):
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
        hosts = self.hosts()
        missing = _by_name(asked.failures, hosts)
        asked.collected.unreadable = lambda tid, reason: missing.update(_by_name({tid: reason}, hosts))
        return Answers(asked.collected, missing)

    def _choose(self, asked: _Asked, tid: str, agent: Known | None, elsewhere: tuple[str, str] | None) -> None:
        there = self._there.get(tid)
        reads = there is not None and there.sending.qsize() < 2 * MOST_OPEN
        if there is not None and reads and len(there.open) < MOST_OPEN:
            asked.waiting[tid] = there
            there.open[asked.number] = asked
            return
        asked.results[AWAY] += 1
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
            self.results.update(asked.results)
        if left:
            self._say(left, wire.Question(number=asked.number, cancelled=True))

    async def attend(self, tid: str, answers: AsyncIterator[wire.Answer], context: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Serve an agent's call; a later one of the same agent ends it."""
        there = _Attendance(tid)
        with self._lock:
            before = self._there.get(tid)
            self._there[tid] = there
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
                if asked is not None:
                    asked.take(there.tid, answer)
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
