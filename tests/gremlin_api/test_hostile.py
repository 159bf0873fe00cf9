"""Queries that mean harm: each ends with an answer or a clear error, in time, and the threads go on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.agreeing import Held
from support.toygraphs import ring

from gremlin_api.answering import Answerer, Question
from gremlin_api.errors import TraversalError
from gremlin_api.execution import Capacity, Executor
from gremlin_api.interpreter.run import Allowance
from gremlin_api.language.errors import QueryError
from skytrail.errors import BusyError, SkytrailError


@pytest.fixture
def executor() -> Iterator[Executor]:
    executor = Executor(Capacity(running=2, waiting=2))
    yield executor
    executor.close()


def told(executor: Executor, text: str, seconds: float = 10.0) -> Any:
    """The answers, or the error."""
    answerer = Answerer(Held(ring(20)), Allowance(seconds, held=100_000))
    try:
        return executor.submit(lambda event: list(answerer.answers(Question(text), event)), threading.Event()).result(60)
    except SkytrailError as error:
        return error


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("g.V(0)" + ".out()" * 500 + ".id()", [0]),
        ("g.V(0)" + ".out()" * 1990 + ".id()", None),
        ("g.V(0).where(" * 45 + "g.V(0)" + ")" * 45 + ".count()", None),
        ("g.V(0)" + ".map(out()" * 95 + ")" * 95 + ".id()", None),
        ("g.V().has('name', within(" + ",".join(f"'{number}'" for number in range(9000)) + ")).count()", [20]),
        ("g.inject(" + "[" * 90 + "]" * 90 + ").count()", [1]),
        ("g.V().and(" + "or(".join([""] * 60) + "id()" + ")" * 60 + ".count()", [20]),
    ],
    ids=["long", "too long", "nested roots", "nested maps", "many arguments", "nested lists", "nested connectives"],
)
def test_large_queries_are_answered_or_refused_in_words(executor: Executor, text: str, answers: Any) -> None:
    found = told(executor, text)
    assert found == answers or (answers is None and isinstance(found, list | QueryError | TraversalError)), repr(found)[:300]
    assert told(executor, "g.V().count()") == [20]


@pytest.mark.parametrize(
    "text",
    [
        "g.V()" + ".map(__.out()" * 10_000 + ")" * 10_000,
        "g.inject(" + "[" * 10_000,
        "g.V()" + ".out()" * 100_000,
        "g.V().has('name', " + "not(" * 10_000 + "eq(1)" + ")" * 10_001,
        "g.V().has('name', regex('" + "(" * 5000 + "')).count()",
        "g.V().has('name', regex('(a*)*b\\\\1'))",
        "g.inject(1" + "0" * 60_000 + "n).math('_ ^ _')",
        "g.V().math('" + "(" * 60_000 + "')",
        "g.inject(1).dateAdd(DT.day, 1)",
        "g.V().\ud800",
        "g.V('\x00').limit(\u0662)",
    ],
    ids=[
        "nested",
        "open lists",
        "too long",
        "nots",
        "open groups",
        "back reference",
        "huge number",
        "formula",
        "no date",
        "surrogate",
        "digits",
    ],
)
def test_what_cannot_be_answered_says_why_in_one_line(executor: Executor, text: str) -> None:
    found = told(executor, text)
    assert isinstance(found, QueryError | TraversalError), repr(found)[:300]
    assert "\n" not in str(found)
    assert len(str(found)) < 2000
    assert told(executor, "g.V().count()") == [20]


def test_expressions_that_blow_up_elsewhere_are_quick(executor: Executor) -> None:
    assert told(executor, f"g.inject('{'a' * 5000}').is(regex('(a+)+$')).count()", 5) == [1]
    assert told(executor, f"g.inject('{'a' * 5000}b').is(regex('^(a|aa)+$')).count()", 5) == [0]


def test_few_look_at_the_whole_graph_at_a_time_and_others_are_answered_meanwhile() -> None:
    executor = Executor(Capacity(running=4, scans=1, scans_waiting=1))
    answerer = Answerer(Held(ring(20)), Allowance(20), gate=executor.scans)
    nobody, begun = threading.Event(), threading.Event()

    def scan(event: threading.Event, *, first: bool = False) -> list[Any]:
        found = answerer.answers(
            Question("g.V().repeat(both()).emit()" if first else "g.V().V().has('name', '3').count()"), event
        )
        for _ in found:
            begun.set()
            if not first:
                return [_]
        return []

    endless = executor.submit(lambda event: scan(event, first=True), nobody)
    assert begun.wait(10)
    waits = executor.submit(scan, threading.Event())
    while not executor.scans._queue:  # until the second one has come
        time.sleep(0.01)
    refused = executor.submit(scan, threading.Event())
    with pytest.raises(BusyError, match="whole graph"):
        refused.result(10)
    quick = executor.submit(lambda event: list(answerer.answers(Question("g.V(3).out().id()"), event)), threading.Event())
    assert quick.result(10) == [4]
    nobody.set()
    with pytest.raises(TraversalError):
        endless.result(10)
    assert waits.result(10) == [20]
    assert executor.scans.refused == 1
    for text in ("g.V().fail().toList()", "g.V().fail()", "g.V().count().next()", "g.V().toList()"):  # the place is free again
        with contextlib.suppress(TraversalError):
            list(answerer.answers(Question(text), threading.Event()))
    executor.close()


def test_work_that_nobody_waits_for_is_not_begun_and_what_waits_is_bounded(executor: Executor) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)

    def wait(_: threading.Event) -> None:
        begun.release()
        release.wait(20)

    running = [executor.submit(wait, threading.Event()) for _ in range(2)]
    for _ in running:
        assert begun.acquire(timeout=10)
    nobody = threading.Event()
    waiting = [executor.submit(lambda _: "done", event) for event in (nobody, threading.Event())]
    with pytest.raises(BusyError):
        executor.submit(lambda _: None, threading.Event())
    nobody.set()
    release.set()
    assert waiting[1].result(10) == "done"
    assert waiting[0].cancelled()
    assert executor.counters["refused"] == 1
