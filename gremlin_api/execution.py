"""Queries in threads of their own: so many at a time, each with what it may take, and ended when nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from skytrail.errors import BusyError
from skytrail.process import take_turns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many queries there may be.

    Attributes:
        running: at once.
        waiting: for one of these to end.
        scans: of those that look at a whole graph, at once.
        scans_waiting: for one of these to end.
    """

    running: int = 8
    waiting: int = 256
    scans: int = 2
    scans_waiting: int = 4


OUTCOMES = ("answered", "failed", "abandoned", "refused")
"""What becomes of queries: an answer, an error; nobody waits any more; no place."""

_TURN = 0.0005
"""Seconds after which a thread that computes lets others have the interpreter: with Python's own 5 ms a query that an index
answers, which has to have it a dozen times, takes seconds beside two that look at the whole graph."""


class Executor:
    """Threads that answer queries; all threads of the process take turns more often from then on.

    Attributes:
        counters: how many queries had each of :data:`OUTCOMES`.
        scans: lets so many look at a whole graph.
    """

    def __init__(self, capacity: Capacity = Capacity()) -> None:
        take_turns(_TURN)
        self._capacity = capacity
        self._lock = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self.counters: Counter[str] = Counter()
        self.scans = Gate(capacity.scans, capacity.scans_waiting)

    def submit(self, work: Callable[[threading.Event], T], cancelled: threading.Event) -> Future[T]:
        """Have work done; it is told when nobody waits for it any more. Raises BusyError."""
        found: Future[T] = Future()

        def job() -> None:
            if cancelled.is_set() or not found.set_running_or_notify_cancel():
                found.cancel()
                self._count("abandoned")
                return
            try:
                result = work(cancelled)
            except BaseException as error:  # noqa: BLE001 - it is whoever waits that is told
                self._count("abandoned" if cancelled.is_set() else "failed")
                found.set_exception(error)
            else:
                self._count("answered")
                found.set_result(result)

        with self._lock:
            if len(self._jobs) >= self._capacity.waiting:
                self.counters["refused"] += 1
                raise BusyError("too many queries wait already: ask again a little later")
            self._jobs.append(job)
            if not self._idle and len(self._threads) < self._capacity.running:
                thread = threading.Thread(target=self._work, name="query", daemon=True)
                thread.start()
                self._threads.append(thread)
            self._lock.notify()
        return found

    async def answer(self, work: Callable[[threading.Event], T], cancelled: threading.Event) -> T:
        """The same for a coroutine: cancelled, it tells the work so. Raises BusyError, and what the work raises."""
        future = asyncio.wrap_future(self.submit(work, cancelled))
        try:
            return await future
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @property
    def busy(self) -> tuple[int, int]:
        """How many queries run, and how many wait."""
        with self._lock:
            return len(self._threads) - self._idle, len(self._jobs)

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.counters[outcome] += 1

    def close(self) -> None:
        """Wait for what is being done, and end the threads; what waits is not done."""
        with self._lock:
            self._stopping = True
            self._jobs.clear()
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while not self._jobs and not self._stopping:
                    self._lock.wait()
                self._idle -= 1
                if self._stopping:
                    return
                job = self._jobs.popleft()
            job()


_PATIENCE = 0.05  # seconds between two looks whether whoever waits still may


class Gate:
    """Lets so many in at once; so many more wait, and any more are refused.

    Attributes:
        refused: how many were.
    """

    def __init__(self, inside: int, waiting: int) -> None:
        self._free, self._most = inside, waiting
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self.refused = 0

    def enter(self, go_on: Callable[[], None]) -> None:
        """Go in, those first who came first; ``go_on`` is called while waiting, and may raise. Raises BusyError."""
        with self._lock:
            if self._free and not self._queue:
                self._free -= 1
                return
            if len(self._queue) >= self._most:
                self.refused += 1
                raise BusyError("other queries look at the whole graph already: ask again a little later")
            let_in = threading.Event()
            self._queue.append(let_in)
        try:
            while not let_in.wait(_PATIENCE):
                go_on()
        except BaseException:
            self._give_up(let_in)
            raise

    def leave(self) -> None:
        """Go out again."""
        with self._lock:
            self._next()

    def _give_up(self, let_in: threading.Event) -> None:
        with self._lock:
            if let_in.is_set():  # just now: the place is the next one's
                self._next()
            else:
                self._queue.remove(let_in)

    def _next(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1
