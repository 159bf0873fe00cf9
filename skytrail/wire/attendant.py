"""An agent's end of questions: answers those of its hub, a few at once, beside its reports."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import msgspec
import structlog

from skytrail.asking.answering import Bounds, parts_of
from skytrail.asking.asker import Answer
from skytrail.asking.questions import decode_question
from skytrail.errors import RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import attending

_log = structlog.get_logger(__name__)

MOST_OPEN = 32
"""Questions of a hub that wait or are answered; what is asked beyond that fails."""
_AT_ONCE = 4
_MOST_PARTS = 8  # that wait to be sent
_AGAIN = 1.0  # seconds


class Attendant:
    """Answers questions on threads of its own.

    Args:
        answer: gives an answer's parts.

    Attributes:
        answered: questions that were answered whole.
        failed: those that were not, and were told why.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._lock = threading.Lock()
        self.answered = self.failed = 0

    @contextlib.contextmanager
    def attend(self, channel: grpc.Channel, metadata: Mapping[str, str]) -> Iterator[None]:
        """Attend to the hub at the other end, meanwhile."""
        hub = _Hub(self, channel, metadata)
        hub.thread.start()
        try:
            yield
        finally:
            hub.leave()

    def stop(self) -> None:
        """Answer no more."""
        self._pool.shutdown(cancel_futures=True)

    def submit(self, task: Callable[[], None]) -> None:
        """Do it on a thread of the pool, when one is free; not after :meth:`stop`."""
        with contextlib.suppress(RuntimeError):
            self._pool.submit(task)

    def count(self, *, failed: bool) -> None:
        """One more was answered."""
        with self._lock:
            self.failed += failed
            self.answered += not failed

    def parts(self, question: wire.Question, bounds: Bounds) -> Iterator[bytes]:
        """The parts of the answer as JSON. Raises RunError: why it is not whole."""
        try:
            asked = decode_question(question.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RunError(f"does not know this question ({error}): upgrade its agent") from error
        for _, data in parts_of(self._answer, asked, bounds):
            yield data


class _Hub:
    """The questions of one connection."""

    def __init__(self, attendant: Attendant, channel: grpc.Channel, metadata: Mapping[str, str]) -> None:
        self._attendant, self._channel, self._metadata = attendant, channel, metadata
        self.thread = threading.Thread(target=self._run, name="wire-attend", daemon=True)
        self._leaving = threading.Event()
        self._cancel: Callable[[], object] = lambda: None

    def leave(self) -> None:
        """Attend no more."""
        self._leaving.set()
        self._cancel()
        self.thread.join()

    def _run(self) -> None:
        """Attend until we leave: a call that ends while the connection stays is made anew."""
        while not self._leaving.is_set():
            call = _Call(self._attendant)
            try:
                questions, self._cancel = attending(self._channel, call.answers(), self._metadata)
                if not self._leaving.is_set():  # or it was said before we could be cancelled
                    for question in questions:
                        call.take(question)
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel is closed
                if not self._leaving.is_set():
                    _log.info("attending_ended", reason=str(error.details()) if isinstance(error, grpc.Call) else str(error))
            finally:
                self._cancel()
                call.end()
            self._leaving.wait(_AGAIN)


class _Call:
    """The questions of one call, and what is to be sent."""

    def __init__(self, attendant: Attendant) -> None:
        self._attendant = attendant
        self._open: dict[int, Bounds] = {}
        self._waiting: deque[wire.Answer] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def take(self, question: wire.Question) -> None:
        """Begin to answer a question, or end it. Never waits."""
        with self._changed:
            if question.cancelled:
                if bounds := self._open.pop(question.number, None):
                    bounds.unwanted.set()
                    self._changed.notify_all()
                return
            if len(self._open) >= MOST_OPEN:
                if len(self._waiting) < MOST_OPEN:  # a hub that is never told waits until its time is over
                    failure = f"is asked {MOST_OPEN} questions already: ask again later"
                    self._waiting.append(wire.Answer(number=question.number, last=True, failure=failure))
                    self._changed.notify_all()
                return
            bounds = self._open[question.number] = Bounds(question.timeout_ms / 1000, question.most_bytes)
        self._attendant.submit(lambda: self._work(question, bounds))

    def _work(self, question: wire.Question, bounds: Bounds) -> None:
        failure = ""
        if bounds.unwanted.is_set():
            return
        try:
            for data in self._attendant.parts(question, bounds):
                self._put(wire.Answer(number=question.number, part=data), bounds)
        except RunError as error:
            failure = str(error)
        self._attendant.count(failed=bool(failure))
        self._put(wire.Answer(number=question.number, last=True, failure=failure), bounds)
        with self._changed:
            self._open.pop(question.number, None)

    def _put(self, answer: wire.Answer, bounds: Bounds) -> None:
        """Let it be sent; waits for room."""
        with self._changed:
            while len(self._waiting) >= _MOST_PARTS and not (self._ended or bounds.unwanted.is_set()):
                self._changed.wait()
            if not (self._ended or bounds.unwanted.is_set()):
                self._waiting.append(answer)
                self._changed.notify_all()

    def answers(self) -> Iterator[wire.Answer]:
        """What is sent, made as it can be: gRPC asks for no more than the hub takes."""
        while True:
            with self._changed:
                while not (self._waiting or self._ended):
                    self._changed.wait()
                if self._ended:
                    return
                answer = self._waiting.popleft()
                self._changed.notify_all()
            yield answer

    def end(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._ended = True
            for bounds in self._open.values():
                bounds.unwanted.set()
            self._changed.notify_all()
