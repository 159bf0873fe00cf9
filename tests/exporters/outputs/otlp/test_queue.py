from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporters.outputs.otlp.config import Signal
from exporters.outputs.otlp.queue import Backoff, Encoded, ExportQueue, Limits, Reason
from exporters.outputs.otlp.transport import Outcome, Verdict
from skytrail.metrics import Histogram

DELIVERED = Outcome(Verdict.DELIVERED)
RETRY = Outcome(Verdict.RETRY, "away")
Poll = Callable[[Callable[[], Any]], Any]


class Gate:
    """A transport whose every attempt waits until the test says how it ends; ``close`` ends it as a failure."""

    def __init__(self) -> None:
        self.attempts: list[bytes] = []
        self.timeouts: list[float] = []
        self._outcomes: list[Outcome | Exception] = []
        self._given = threading.Condition()
        self._open = True

    def give(self, *outcomes: Outcome | Exception) -> None:
        with self._given:
            self._outcomes += outcomes
            self._given.notify_all()

    def send(self, data: bytes, timeout: float) -> Outcome:
        with self._given:
            self.attempts.append(data)
            self.timeouts.append(timeout)
            self._given.wait_for(lambda: self._outcomes or not self._open)
            outcome = self._outcomes.pop(0) if self._outcomes else RETRY
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        with self._given:
            self._open = False
            self._given.notify_all()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def make_queue(gate: Gate) -> Iterator[Callable[..., ExportQueue]]:
    made: list[ExportQueue] = []

    def make(limits: Limits = Limits(), backoff: Backoff = Backoff(0.001, 0.002)) -> ExportQueue:  # noqa: B008 - frozen
        made.append(ExportQueue(Signal.TRACES, gate, timeout=7.0, limits=limits, backoff=backoff))
        return made[-1]

    yield make
    for queue in made:
        queue.close(0)


def request(name: str, items: int = 10, size: int = 100) -> Encoded:
    return Encoded(Signal.TRACES, items, name.encode().ljust(size, b"."))


def names(gate: Gate) -> list[str]:
    return [data.rstrip(b".").decode() for data in gate.attempts]


def accounted(queue: ExportQueue) -> int:
    return queue.sent + sum(queue.dropped.values()) + queue.items


def test_requests_go_out_in_order_and_are_counted(gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll) -> None:
    queue = make_queue()
    for name in "abc":
        queue.offer(request(name))
    gate.give(DELIVERED, DELIVERED, DELIVERED)
    eventually(lambda: queue.sent == 30)
    assert names(gate) == ["a", "b", "c"]
    assert gate.timeouts == [7.0] * 3
    assert (queue.items, queue.bytes, queue.retries, queue.last_error) == (0, 0, 0, "")


@pytest.mark.parametrize("limits", [Limits(max_bytes=300), Limits(max_items=30)])
def test_a_full_queue_drops_the_oldest_waiting_never_what_is_being_sent(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll, limits: Limits
) -> None:
    queue = make_queue(limits)
    queue.offer(request("a"))
    eventually(lambda: gate.attempts)
    for name in "bcde":
        queue.offer(request(name))
        assert queue.bytes <= 300
        assert queue.items <= 30
    assert queue.dropped[Reason.QUEUE_FULL] == 20
    gate.give(DELIVERED, DELIVERED, DELIVERED)
    eventually(lambda: queue.sent == 30)
    assert names(gate) == ["a", "d", "e"]


def test_a_request_larger_than_the_queue_pushes_nothing_out(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue(Limits(max_bytes=300))
    queue.offer(request("a"))
    eventually(lambda: gate.attempts)
    queue.offer(request("b"))
    queue.offer(request("huge", items=7, size=201))
    assert queue.dropped[Reason.QUEUE_FULL] == 7
    gate.give(DELIVERED, DELIVERED)
    eventually(lambda: queue.sent == 20)
    assert names(gate) == ["a", "b"]


def test_a_retry_keeps_the_request_until_it_is_delivered(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue()
    queue.offer(request("a"))
    queue.offer(request("b"))
    gate.give(*[RETRY] * 20, DELIVERED, DELIVERED)
    eventually(lambda: queue.sent == 20)
    assert names(gate) == ["a"] * 21 + ["b"]
    assert (queue.retries, queue.last_error) == (20, "away")


def test_the_receivers_delay_replaces_the_back_off(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue(backoff=Backoff(1000, 1000))
    begin = time.monotonic()
    queue.offer(request("a"))
    gate.give(Outcome(Verdict.RETRY, "later", delay=0.2), DELIVERED)
    eventually(lambda: queue.sent)
    assert time.monotonic() - begin >= 0.2


def test_a_partial_success_is_not_retried_and_its_rejected_are_counted(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue()
    queue.offer(request("a"))
    queue.offer(request("b"))
    gate.give(Outcome(Verdict.DELIVERED, "3 too old", rejected=3), Outcome(Verdict.DELIVERED, rejected=10**18))
    eventually(lambda: queue.items == 0)
    assert names(gate) == ["a", "b"]
    assert (queue.sent, queue.dropped[Reason.REJECTED], queue.retries) == (7, 13, 0)
    assert queue.last_error == "3 too old"


@pytest.mark.parametrize("outcome", [Outcome(Verdict.REFUSED, "bad request"), KeyError("a library's fault")])
def test_what_must_not_be_retried_is_dropped_and_the_next_goes_out(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll, outcome: Outcome | Exception
) -> None:
    queue = make_queue()
    queue.offer(request("a"))
    queue.offer(request("b"))
    gate.give(outcome, DELIVERED)
    eventually(lambda: queue.sent == 10)
    assert names(gate) == ["a", "b"]
    assert (queue.dropped[Reason.REFUSED], queue.retries) == (10, 0)
    assert queue.last_error


def test_closing_sends_what_it_can(gate: Gate, make_queue: Callable[..., ExportQueue]) -> None:
    queue = make_queue()
    for name in "abc":
        queue.offer(request(name))
    gate.give(DELIVERED, RETRY, DELIVERED, DELIVERED)
    queue.close(30)
    assert (queue.sent, queue.items) == (30, 0)
    queue.offer(request("late"))
    assert queue.dropped[Reason.SHUTDOWN] == 10


def test_closing_gives_up_in_time_and_counts_what_is_left_once(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue()
    for name in "abc":
        queue.offer(request(name))
    eventually(lambda: gate.attempts)
    begin = time.monotonic()
    queue.close(0.2)
    assert time.monotonic() - begin < 5
    assert queue.dropped[Reason.SHUTDOWN] == 30
    gate.give(DELIVERED)  # an answer that comes too late
    queue.close(1)
    assert accounted(queue) == 30
    assert (queue.sent, queue.items, queue.bytes) == (0, 0, 0)


def test_closing_does_not_wait_for_an_attempt_after_its_end(gate: Gate, make_queue: Callable[..., ExportQueue]) -> None:
    queue = make_queue(backoff=Backoff(1000, 1000))
    queue.offer(request("a"))
    gate.give(RETRY)
    begin = time.monotonic()
    queue.close(60)
    assert time.monotonic() - begin < 30
    assert queue.dropped[Reason.SHUTDOWN] == 10


def test_nothing_is_lost_uncounted_while_many_offer(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue(Limits(max_bytes=2_000))
    gate.give(*[DELIVERED, RETRY, Outcome(Verdict.DELIVERED, rejected=1)] * 10_000)

    def offer_many() -> None:
        for _ in range(500):
            queue.offer(request("x", items=3))

    threads = [threading.Thread(target=offer_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: queue.items == 0)
    assert accounted(queue) == 4 * 500 * 3


def test_the_pause_doubles_to_its_maximum_and_is_spread() -> None:
    backoff = Backoff(1.0, 15.0)
    for attempt, plain in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (1000, 15)]:
        delays = [backoff.delay(attempt) for _ in range(200)]
        assert min(delays) >= plain * 0.5
        assert max(delays) <= plain * 1.5
        assert max(delays) > min(delays)


def test_the_self_metrics_say_what_the_counters_say(
    gate: Gate, make_queue: Callable[..., ExportQueue], eventually: Poll
) -> None:
    queue = make_queue()
    queue.offer(request("a"))
    gate.give(RETRY, Outcome(Verdict.DELIVERED, rejected=4))
    eventually(lambda: queue.sent)
    families = {family.metric.name: family for family in queue.families()}
    labels = ("otlp", "traces")
    assert families["skytrail_export_sent_total"].samples == [(labels, 6)]
    assert families["skytrail_export_retries_total"].samples == [(labels, 1)]
    assert dict(families["skytrail_export_dropped_total"].samples) == {
        (*labels, "queue_full"): 0,
        (*labels, "rejected"): 4,
        (*labels, "refused"): 0,
        (*labels, "shutdown"): 0,
    }
    [(_, duration)] = families["skytrail_export_duration_seconds"].samples
    assert isinstance(duration, Histogram)
    assert sum(duration.counts) == 2
    for family in families.values():
        assert all(len(values) == len(family.metric.labels) for values, _ in family.samples)
