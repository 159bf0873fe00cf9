"""The corpus that our interpreter is compared with TinkerPop's by: what it holds, and that both parsers take the same of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from lab.gremlinserver import GRAPHS
from support.agreement import REFUSED, Answer, Asked, How, corpus, differences, ordered
from support.grammarrules import Rules
from support.gremlinqueries import generate

from gremlin_api.language.errors import QueryError
from gremlin_api.language.parser import parse
from gremlin_api.numbers import Float, Long
from gremlin_api.values import Map, Path, Vertex

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

SYNTAX = "syntax"
"""The file of those that are no queries."""
TIMES = 5
"""In how many queries each method is met at least."""
REFUSED_METHODS = {
    **dict.fromkeys(
        [f"traversalMethod_{name}" for name in ("addE", "addV", "mergeV", "mergeE", "property", "drop")], "it changes the graph"
    ),
    **dict.fromkeys(
        [f"traversalSourceSpawnMethod_{name}" for name in ("addE", "addV", "mergeV", "mergeE")], "it changes the graph"
    ),
    **dict.fromkeys(
        ["traversalSourceSpawnMethod_io", "traversalMethod_read", "traversalMethod_write"], "it reads or writes files"
    ),
    **dict.fromkeys(["traversalSourceSpawnMethod_call", "traversalMethod_call"], "there are no services"),
    **dict.fromkeys(
        [f"traversalMethod_{name}" for name in ("pageRank", "peerPressure", "connectedComponent", "shortestPath")],
        "it needs a GraphComputer",
    ),
}
"""Methods that we refuse on purpose, and why: they are in the file of those refused, and in no other."""

ASKED = corpus()


@pytest.fixture(scope="module")
def met() -> Iterator[dict[Asked, list[str] | None]]:
    """The grammar's rules that each query goes through; None: it is none."""
    with Rules() as rules:
        yield {asked: rules.met(asked.text) for asked in ASKED}


@pytest.fixture(scope="module")
def methods() -> tuple[str, ...]:
    with Rules() as rules:
        return rules.methods()


def reads(query: str) -> bool:
    """Whether our parser takes it."""
    try:
        parse(query)
    except QueryError:
        return False
    return True


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len({(asked.graph, asked.text) for asked in ASKED}) == len(ASKED)
    assert sum(asked.theme not in (REFUSED, SYNTAX) for asked in ASKED) >= 1000
    assert {asked.graph for asked in ASKED} == set(GRAPHS)


def test_queries_are_of_the_grammar_except_those_said_not_to_be(met: dict[Asked, list[str] | None]) -> None:
    wrong = [asked.id for asked, rules in met.items() if (rules is None) != (asked.theme == SYNTAX)]
    assert not wrong


def test_our_parser_takes_the_same_ones(met: dict[Asked, list[str] | None]) -> None:
    wrong = [asked.id for asked, rules in met.items() if (rules is not None) != reads(asked.text)]
    assert not wrong


def test_each_method_is_met_often_or_refused_on_purpose(met: dict[Asked, list[str] | None], methods: tuple[str, ...]) -> None:
    answered, refused = Counter[str](), Counter[str]()
    for asked, rules in met.items():
        (refused if asked.theme == REFUSED else answered).update(set(rules or ()))
    assert len(methods) > 150
    assert set(methods) >= REFUSED_METHODS.keys()
    few = {method: answered[method] for method in methods if method not in REFUSED_METHODS and answered[method] < TIMES}
    assert not few
    assert not {method: refused[method] for method in REFUSED_METHODS if refused[method] < TIMES}


def test_what_is_refused_on_purpose_is_asked_nowhere_else(met: dict[Asked, list[str] | None]) -> None:
    wrong = [
        asked.id
        for asked, rules in met.items()
        if (asked.theme == REFUSED) != bool(REFUSED_METHODS.keys() & set(rules or ())) and asked.theme != SYNTAX
    ]
    assert not wrong


def test_generated_queries_are_the_same_for_a_seed_and_of_the_grammar() -> None:
    found = generate(7, 1000)
    assert found == generate(7, 1000)
    assert found != generate(8, 1000)
    assert len(set(found)) == 1000
    with Rules() as rules:
        assert not [query for _, query in found if rules.met(query) is None or not reads(query)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("g.V()", False),
        ("g.V().order().by('name')", True),
        ("g.V().order().by('name').values('name').limit(2)", True),
        ("g.V().order().by('name').out()", False),
        ("g.V().order().by(shuffle)", False),
        ("g.V().map(__.out().order())", False),
        ("g.V().values('name').fold().order(local)", False),
        ("g.V().order().by('name').toList()", True),
        ("g.V().order().by('name').toSet()", False),
    ],
)
def test_an_order_counts_until_a_step_breaks_it(query: str, expected: bool) -> None:
    assert ordered(query) is expected


SAME = [
    ((1, "a"), ("a", 1), How()),
    ((Map([("a", 1), ("b", 2)]),), (Map([("b", 2), ("a", 1)]),), How()),
    (([1, 2],), ([2, 1],), How(loose=True)),
    ((0.1 + 0.2,), (0.3,), How(close=1e-9)),
    ((Map([("a", [0.1 + 0.2])]),), (Map([("a", [0.3])]),), How(close=1e-9)),
    ((float("nan"),), (float("nan"),), How(ordered=True)),
    ((Vertex(1, "a"), None), (None, Vertex(1, "a")), How()),
]
OTHER = [
    ((1,), (Long(1),), How()),
    ((1.0,), (Float(1.0),), How()),
    ((1,), (1.0,), How(close=1e-9)),
    ((1,), (True,), How()),
    ((1, 1), (1,), How()),
    ((1, 2), (2, 1), How(ordered=True)),
    (([1, 2],), ([2, 1],), How()),
    ((0.1 + 0.2,), (0.3,), How()),
    ((0.0,), (-0.0,), How()),
    ((0.3,), (0.31,), How(close=1e-9)),
    ((Map([("a", 1), ("b", 2)]),), (Map([("b", 2), ("a", 1)]),), How(maps=True)),
    ((Vertex(1, "a"),), (Vertex(1, "b"),), How()),
    ((Path([1], [frozenset("a")]),), (Path([1], [frozenset("b")]),), How()),
    ((None,), (), How()),
]


@pytest.mark.parametrize(("theirs", "ours", "how"), SAME)
def test_the_same_answers_do_not_differ(theirs: tuple[object, ...], ours: tuple[object, ...], how: How) -> None:
    assert differences(Answer("ok", "", theirs), Answer("ok", "", ours), how) is None


@pytest.mark.parametrize(("theirs", "ours", "how"), OTHER)
def test_other_answers_differ(theirs: tuple[object, ...], ours: tuple[object, ...], how: How) -> None:
    assert differences(Answer("ok", "", theirs), Answer("ok", "", ours), how)


def test_failures_differ_by_their_kind() -> None:
    failed = Answer("failed", "wrong type")
    assert differences(failed, Answer("failed", "wrong type")) is None
    assert differences(failed, Answer("failed", "arithmetic"))
    assert differences(failed, Answer("ok"))
