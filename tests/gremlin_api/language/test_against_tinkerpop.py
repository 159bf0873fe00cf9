"""The parser against TinkerPop's own: it reads what that reads, as the same bytecode, and refuses what that refuses."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from lab.gremlin import Parser
from support.gremlinsamples import others, queries

from gremlin_api.language.errors import QueryError
from gremlin_api.language.parser import parse
from gremlin_api.language.render import render

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

_SYNTAX = "Query parsing failed"
"""What its parser says of a text that the grammar does not have; it refuses others as it makes a traversal of them."""

LITERALS = [
    "1", "-1", "+1", "0", "0x1F", "-0xff", "017", "1_000", "1b", "2s", "3i", "4l", "5n", "2147483648", "9223372036854775808",
    "1.5", "-1.5e3", "1e10", "1E-3d", "1f", "1d", "1m", "0.1f", "NaN", "Infinity", "-Infinity", "+Infinity",
    "'a'", '"a\\"b"', "'\\u00e9\\101\\n\\\\'", "'a\\\nb'", "'\\uD83D\\uDE00'", "true", "false", "null", "[]", "[:]",
    "[1, [2, [3]]]", "[a: 1, 'b': 2, 3: 4, (5.0): 6, (T.id): 7, label: 8, IN: 9, [1, 2]: 3, ([a: 1]): 2, new: 1]",
    "1..3", "'a'..'c'", "datetime('2020-01-01')", "id", "T.key", "single", "Cardinality.list", "set(1)", "OUT", "from",
    "onCreate", "any", "new Vertex(1, 'a')", "out()", "__.out('a').in()", "g.V().out().toList()",
]  # fmt: skip

STATEMENTS = [
    "g", "''", '""', "g.V();g.E()", "g.V() g.E();", "g.withPath()", "g.V().toString()", "g.V().count().next().toString()",
    "g.V( ) . out ( ) // all\n.in()", "g\n.V()\t.out()", "g.V().hasNext()", "g.V().next(3)", "g.withBulk(false).with('a').V()",
    "g.V().out().none()", "g.withSack(1.0, sum).V()", "g.withSideEffect('a', [1], addAll).V()",
]  # fmt: skip

BROKEN = [
    "", " ", "x", "g.", "g.V", "g.V(", "g.V()..out()", "g.V().out(,)", "g.V().out('a',)", "g.V)(", "g.V().T.id",
    "g.V().has('a'", "g.V().has('a)", "g.V().has(a b)", "g.V();;g.E()", "g.V().values(1)", "g.v()", "G.V()", "g.V().Out()",
    "g.inject([1, a: 2])", "g.inject([count: 1])", "g.inject([(a): 1])", "g.inject({1})", "g.inject(1..'a')",
    "g.inject('\\q')", "g.inject(08)", "g.inject(1.)", "g.inject(.5)", "g.V().coin(1)", "g.V().has('a', T . id)",
    "g.V().within(1)", "g.eq(1)", "g.V().where(not(1))", "g.V().repeat(g)", "g.V().with(WithOptions.foo)",
    "g.withStrategies(ReadOnly).V()", "g.V().is(P.regex(1))", "g.V().is(TextP.eq(1))", "g.tx()", "g.V().tx().commit()",
    "g.V().toList().out()", "g.inject(300b, x y)", "g.V().as()", "g.V().select()", "#", "g.V().\\u0041()",
]  # fmt: skip


@pytest.fixture(scope="module")
def tinkerpop() -> Iterator[Parser]:
    with Parser() as made:
        yield made


def ours(query: str) -> str | None:
    """What we read, as text again; None: it is no query."""
    try:
        return render(parse(query))
    except QueryError:
        return None


def assert_same(tinkerpop: Parser, query: str) -> bool:
    """Both read it, as the same, or both refuse it; gives whether they read it."""
    read, bytecode = tinkerpop.read(query)
    text = ours(query)
    if not read and _SYNTAX not in bytecode:
        return False  # it is of the grammar, but makes no traversal: no matter of the parser
    assert (text is not None) == read, f"{query}: TinkerPop says {bytecode}"
    if text is not None:
        assert tinkerpop.read(text) == (True, bytecode), f"{query}, rendered as {text}"
    return read


def test_every_signature_is_read_as_tinkerpop_does(tinkerpop: Parser) -> None:
    asked = list(queries())
    assert sum(assert_same(tinkerpop, query) for query in asked) > 0.8 * len(asked) > 300


def test_other_arguments_are_refused_where_tinkerpop_refuses_them(tinkerpop: Parser) -> None:
    asked = list(others())
    read = sum(assert_same(tinkerpop, query) for query in asked)
    assert 300 < read < 0.1 * len(asked)


@pytest.mark.parametrize("literal", LITERALS)
def test_literals_mean_what_they_mean_there(tinkerpop: Parser, literal: str) -> None:
    for query in (f"g.inject({literal})", f"g.inject([{literal}, 'a'])", f"g.V().is(within({literal}, 1))"):
        assert_same(tinkerpop, query)
    assert assert_same(tinkerpop, f"g.inject({literal})")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_are_read_as_there(tinkerpop: Parser, statement: str) -> None:
    assert assert_same(tinkerpop, statement) or ours(statement) is not None


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_query_is_refused_as_there(tinkerpop: Parser, text: str) -> None:
    read, why = tinkerpop.read(text)
    assert not read, why
    assert ours(text) is None


@pytest.mark.parametrize("seed", range(4))
def test_queries_with_a_fault_are_refused_or_read_as_there(tinkerpop: Parser, seed: int) -> None:
    """A token left out, said twice, or in another's place, in queries of several steps."""
    chance = random.Random(seed)
    steps = [query.removeprefix("g.V()") for query in queries() if query.startswith("g.V()")]
    marks = [
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        ":",
        "'x'",
        "1",
        "g",
        "__",
        "not",
        "P.gt",
        "T.id",
        "local",
        "desc",
        "out",
        "new",
        "null",
    ]
    read = 0
    for _ in range(400):
        words = re.findall(r"'[^']*'|\w+|\S", "g.V()" + "".join(chance.sample(steps, 2)))
        place = chance.randrange(len(words))
        words[place : place + 1] = chance.choice([[], [words[place]] * 2, [chance.choice(marks)], [chance.choice(words)]])
        read += assert_same(tinkerpop, " ".join(words))
    assert 0 < read < 350
