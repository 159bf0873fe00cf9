"""A traversal takes no more than it may, and does no more than is asked of it."""

from __future__ import annotations

import threading
import time

import pytest
from support.toygraphs import ask, ring

from gremlin_api.errors import UNSUPPORTED, VERIFICATION, TraversalError
from gremlin_api.interpreter.run import Allowance, CancelledError, Run, TimedOutError, TooMuchError


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("g.V().limit(1)", 1),
        ("g.V().has('name', '2').limit(1)", 3),
        ("g.V().out().limit(2)", 4),
        ("g.V().repeat(out()).emit().limit(3)", 8),
        ("g.V().where(out()).limit(1)", 2),
        ("g.V().coalesce(out(), in()).limit(1)", 2),
        ("g.V().hasNext()", 1),
        ("g.V().next()", 1),
        ("g.V().next(3)", 4),
    ],
)
def test_no_more_is_asked_of_the_graph_than_the_answer_needs(query: str, most: int) -> None:
    graph = ring(10_000)
    assert list(ask(query, Run(graph)))
    assert graph.asked <= most


@pytest.mark.parametrize(
    ("query", "count", "most"),
    [
        (f"g.V(){'.both()' * 10}.count()", 50 * 2**10, 2400),
        (f"g.V(){'.both()' * 10}.out().values('name').groupCount().unfold().select(values).sum()", 50 * 2**10, 2400),
        ("g.V().repeat(both()).times(10).count()", 50 * 2**10, 12_000),
    ],
)  # fmt: skip
def test_traversers_that_meet_are_looked_at_once(query: str, count: int, most: int) -> None:
    graph = ring(50)
    assert list(ask(query, Run(graph))) == [count]
    assert graph.asked <= most


def test_answers_come_as_they_are_asked_for() -> None:
    graph = ring(10_000)
    found = ask("g.V().values('name')", Run(graph))
    assert [next(found), next(found)] == ["0", "1"]
    assert graph.asked <= 3


@pytest.mark.parametrize(
    "query",
    [
        "g.V().repeat(out())",
        "g.V().repeat(out()).until(has('name', 'nobody')).count()",
        "g.V().repeat(identity()).times(1000000000)",
        "g.V().map(repeat(both()).until(values('name').is('x')))",
        "g.V().both().both().both().both().both().both().both().both().both().both().path().count()",
        "g.V().where(repeat(out()).emit().values('name').is('x'))",
    ],
)
def test_a_traversal_without_end_ends_in_time(query: str) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOutError, match=r"took longer than 0\.2 s"):
        list(ask(query, Run(ring(50), allowance=Allowance(seconds=0.2, held=10**9))))
    assert time.monotonic() - began < 5


def test_a_traversal_that_nobody_waits_for_ends() -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.1, cancelled.set)
    timer.start()
    with pytest.raises(CancelledError):
        list(ask("g.V().repeat(both()).emit().path()", Run(ring(50), cancelled=cancelled, allowance=Allowance(held=10**9))))
    timer.join()


@pytest.mark.parametrize(
    "query",
    [
        "g.V().both().both().both().both().both().both().both().both().both().both().fold()",
        "g.V().repeat(both()).emit().path().order().by(count(local))",
        "g.V().both().both().both().both().both().both().both().both().path().group().by(count(local))",
        "g.V().repeat(both()).emit().path().dedup().count()",
        "g.V().repeat(both()).emit().aggregate('x').path()",
        "g.V().repeat(both()).emit().path().barrier()",
    ],
)
def test_a_traversal_that_would_hold_too_much_ends(query: str) -> None:
    with pytest.raises(TooMuchError, match="holds more than 1000 things"):
        list(ask(query, Run(ring(50), allowance=Allowance(seconds=60, held=1000))))


def test_there_are_no_more_answers_than_allowed() -> None:
    found = ask("g.V().both().both()", Run(ring(50), allowance=Allowance(results=10)))
    with pytest.raises(TooMuchError, match="more than 10 answers"):
        list(found)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("g.addV('x')", "it changes the graph"),
        ("g.V().drop()", "it changes the graph"),
        ("g.V().property('a', 1)", "it changes the graph"),
        ("g.mergeV([name: 'x'])", "it changes the graph"),
        ("g.V().map(__.addE('x'))", "it changes the graph"),
        ("g.V().where(sideEffect(drop()))", "it changes the graph"),
        ("g.io('/etc/passwd').read()", "files of the server"),
        ("g.call('x')", "no services"),
        ("g.V().pageRank()", "graph computer"),
        ("g.V().shortestPath()", "graph computer"),
        ("g.V().connectedComponent()", "graph computer"),
        ("g.tx().commit()", "queries only read"),
    ],
)
def test_what_writes_or_needs_a_computer_is_refused_before_anything_is_done(query: str, reason: str) -> None:
    graph = ring(5)
    with pytest.raises(TraversalError, match=reason) as refused:
        list(ask(query, Run(graph)))
    assert refused.value.kind == UNSUPPORTED
    assert graph.asked == 0


def test_a_profile_counts_what_comes_out_of_each_step() -> None:
    (found,) = ask("g.V().has('name', '3').out().values('name').profile()", Run(ring(10)))
    assert [one.name for one in found.metrics] == ["V", "out", "values"]
    assert [one.counts["traverserCount"] for one in found.metrics] == [1, 1, 1]
    assert found.duration >= sum(one.duration for one in found.metrics) > 0
    with pytest.raises(TraversalError, match="the last step") as refused:
        list(ask("g.V().profile().count()", Run(ring(3))))
    assert refused.value.kind == VERIFICATION


def test_an_explanation_runs_nothing() -> None:
    graph = ring(10)
    (found,) = ask("g.V().has('name', '3').out().explain()", Run(graph))
    assert found.original == ("V()", "has('name', '3')", "out()")
    assert graph.asked == 0
