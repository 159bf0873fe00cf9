"""The bounded queue of one signal and the thread that empties it.

When it is full the **oldest** waiting request goes: after a long outage the newest traffic is what somebody looks at,
and a newer reading of a cumulative metric replaces an older one. A request that is retried is tried until settled:
what ends an outage's retries is this bound alone.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from enum import Enum

import structlog

from exporters.outputs.otlp import selfmetrics
from exporters.outputs.otlp.config import Signal
from exporters.outputs.otlp.transport import Outcome, Transport, Verdict
from skytrail.metrics import Family, Histogram

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One serialised request: ``items`` is how many spans or data points it holds."""

    signal: Signal
    items: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a queue: bytes of serialised requests and items in them, the one being sent included."""

    max_bytes: int = 64 << 20
    max_items: int = 200_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: doubling from ``initial`` to ``maximum``, each spread by half of itself up and down."""

    initial: float = 1.0
    maximum: float = 15.0

    def delay(self, attempt: int) -> float:
        """The pause after the ``attempt``-th failure, from 1."""
        plain = min(self.maximum, self.initial * (1 << min(attempt - 1, 30)))
        return plain * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards no secret


DEFAULT_LIMITS = Limits()
DEFAULT_BACKOFF = Backoff()


class Reason(Enum):
    """Why items were dropped."""

    QUEUE_FULL = "queue_full"
    REJECTED = "rejected"  # by a partial success
    REFUSED = "refused"  # by an answer that must not be retried
    SHUTDOWN = "shutdown"  # still waiting when the exporter was closed


class ExportQueue:
    """Holds one signal's requests until they are delivered, refused or pushed out.

    All counters are plain numbers, readable from any thread: ``sent``, ``retries``, ``dropped`` (by reason), ``bytes``
    and ``items`` (what is held now, the request being sent included), ``last_error`` and ``durations`` (of attempts).
    """

    def __init__(
        self,
        signal: Signal,
        transport: Transport,
        *,
        timeout: float,
        limits: Limits = DEFAULT_LIMITS,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        self.sent = self.retries = self.bytes = self.items = 0
        self.dropped = dict.fromkeys(Reason, 0)
        self.last_error = ""
        self.durations = [0] * (len(selfmetrics.DURATION.buckets) + 1)
        self.duration_sum = 0.0
        self.signal = signal
        self.limits = limits
        self._transport = transport
        self._timeout = timeout
        self._backoff = backoff
        self._start = time.time_ns()
        self._failing = False
        self._waiting: deque[Encoded] = deque()
        self._sending: Encoded | None = None
        self._deadline: float | None = None  # monotonic seconds; set by close()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"otlp-{signal.value}", daemon=True)
        self._thread.start()

    def offer(self, request: Encoded) -> None:
        """Take a request to be sent; never blocks, drops what does not fit and counts it."""
        size = len(request.data)
        with self._changed:
            held = self._sending
            room_bytes = self.limits.max_bytes - (len(held.data) if held else 0)
            room_items = self.limits.max_items - (held.items if held else 0)
            if self._deadline is not None:
                self.dropped[Reason.SHUTDOWN] += request.items
            elif size > room_bytes or request.items > room_items:
                self.dropped[Reason.QUEUE_FULL] += request.items
            else:
                while self.bytes + size > self.limits.max_bytes or self.items + request.items > self.limits.max_items:
                    oldest = self._waiting.popleft()
                    self._forget(oldest)
                    self.dropped[Reason.QUEUE_FULL] += oldest.items
                self._waiting.append(request)
                self.bytes += size
                self.items += request.items
                self._changed.notify()

    def begin_close(self, timeout: float) -> None:
        """Take no more requests, and give up what is left after ``timeout`` seconds; does not wait."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
                self._changed.notify()

    def close(self, timeout: float) -> None:
        """Send what can be sent in ``timeout`` seconds; the rest is dropped and counted."""
        self.begin_close(timeout)
        self._thread.join(timeout)
        self._transport.close()  # cuts short an attempt that is still under way
        with self._changed:
            left = [self._sending] if self._sending else []
            self._sending = None
            left += self._waiting
            self._waiting.clear()
            for request in left:
                self._forget(request)
                self.dropped[Reason.SHUTDOWN] += request.items
            dropped = self.dropped[Reason.SHUTDOWN]
        if dropped:
            log.warning("otlp export ended undelivered", signal=self.signal.value, items=dropped, error=self.last_error)

    def families(self) -> list[Family]:
        """Read the counters as metrics."""
        labels = (selfmetrics.EXPORTER, self.signal.value)
        with self._changed:
            duration = Histogram(tuple(self.durations), self.duration_sum)
            return [
                Family(selfmetrics.SENT, [(labels, self.sent)], self._start),
                Family(selfmetrics.DROPPED, [((*labels, why.value), n) for why, n in self.dropped.items()], self._start),
                Family(selfmetrics.RETRIES, [(labels, self.retries)], self._start),
                Family(selfmetrics.QUEUE_BYTES, [(labels, self.bytes)]),
                Family(selfmetrics.QUEUE_ITEMS, [(labels, self.items)]),
                Family(selfmetrics.QUEUE_LIMIT, [(labels, self.limits.max_bytes)]),
                Family(selfmetrics.DURATION, [(labels, duration)], self._start),
            ]

    def _run(self) -> None:
        while (request := self._next()) is not None:
            self._deliver(request)

    def _next(self) -> Encoded | None:
        """The next request, or None when the queue is closed and empty or out of time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._deadline is not None)
            if not self._waiting or self._left() <= 0:
                return None
            self._sending = self._waiting.popleft()
            return self._sending

    def _deliver(self, request: Encoded) -> None:
        """Try until the request is settled or the queue is out of time (then close() counts it)."""
        for attempt in itertools.count(1):
            outcome = self._attempt(request)
            if outcome.verdict is not Verdict.RETRY:
                self._settle(request, outcome)
                return
            delay = self._backoff.delay(attempt) if outcome.delay is None else outcome.delay
            if not self._pause(outcome, delay):
                return

    def _attempt(self, request: Encoded) -> Outcome:
        begin = time.monotonic()
        try:
            outcome = self._transport.send(request.data, max(0.001, min(self._timeout, self._left())))
        except Exception as error:
            log.exception("otlp export failed unexpectedly", signal=self.signal.value)
            outcome = Outcome(Verdict.REFUSED, type(error).__name__)
        seconds = time.monotonic() - begin
        with self._changed:
            self.durations[bisect_left(selfmetrics.DURATION.buckets, seconds)] += 1
            self.duration_sum += seconds
        return outcome

    def _settle(self, request: Encoded, outcome: Outcome) -> None:
        with self._changed:
            if self._sending is not request:
                return  # close() has given it up and counted it
            self._sending = None
            self._forget(request)
            rejected = min(outcome.rejected, request.items)
            if outcome.verdict is Verdict.DELIVERED:
                self.sent += request.items - rejected
                self.dropped[Reason.REJECTED] += rejected
            else:
                self.dropped[Reason.REFUSED] += request.items
            self._note(outcome, failing=outcome.verdict is Verdict.REFUSED)

    def _pause(self, outcome: Outcome, delay: float) -> bool:
        """Wait before the next attempt; False when the queue must be closed before it."""
        until = time.monotonic() + delay
        with self._changed:
            self._note(outcome, failing=True)
            while (rest := until - time.monotonic()) > 0:
                if rest > self._left():
                    return False
                self._changed.wait(rest)
            self.retries += 1
        return True

    def _note(self, outcome: Outcome, *, failing: bool) -> None:
        """Keep what went wrong, and log it where the state changes: an outage is two lines, not one an attempt."""
        if outcome.message:
            self.last_error = outcome.message
        if failing and not self._failing:
            log.warning("otlp export fails", signal=self.signal.value, error=outcome.message, action=outcome.verdict.value)
        elif self._failing and not failing:
            log.info("otlp export works again", signal=self.signal.value, sent=self.sent)
        self._failing = failing

    def _left(self) -> float:
        """Seconds until the queue must be closed."""
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _forget(self, request: Encoded) -> None:
        self.bytes -= len(request.data)
        self.items -= request.items
