from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import pytest
from lab.gremlin import Engine

from gremlin_api.interpreter.comparison import IncomparableError, compare, equals, order, order_key
from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import Edge, Entry, Map, OrderedSet, Path, Property, Vertex, VertexProperty, hashable
from gremlin_api.wire.graphson import value_of

SEED = 373
NUMBERS = [
    "0", "1", "-1", "2147483647", "16777217", "1b", "-1b", "1s", "1l", "-1l", "9007199254740993l", "9223372036854775807l", "1n",
    "-1n", "9007199254740993n", "9223372036854775807n", "1e2m", "0.0d", "-0.0d", "1.0d", "-1.0d", "0.1d", "16777216.0d",
    "9007199254740992.0d", "1e300d", "0.0f", "-0.0f", "1.0f", "0.1f", "16777216.0f", "0.1m", "0.10m", "1m", "1.00m", "100m",
    "NaN", "Infinity", "-Infinity",
]  # fmt: skip
OTHERS = [
    "null", "true", "false", "''", "'a'", "'b'", "'ab'", "'é'", "'\U0001f600'", "'\uffee'", "datetime('2020-01-01T00:00:00Z')",
    "datetime('1969-01-01T00:00:00Z')", "T.id", "T.label", "T.value", "T.key", "OUT", "IN", "BOTH", "single", "set", "list",
    "Pick.any", "Pick.none", "onCreate", "onMatch",
]  # fmt: skip
ELEMENTS = [
    *(f"g.V({at}).next()" for at in (1, 2, 6)), *(f"g.E({at}).next()" for at in (7, 8, 12)),
    *(f"g.V({at}).properties('name').next()" for at in (1, 2)),
    *(f"g.E({at}).properties('weight').next()" for at in (7, 8, 10)), "g.V(1).out().path().next()", "g.V(1).path().next()",
    "g.inject(1).path().next()", "g.inject(1l).path().next()", "g.inject(1.0).path().next()", "g.inject(NaN).path().next()",
    "g.V(1).as('a').path().next()",
]  # fmt: skip


def pool(rng: random.Random) -> list[str]:
    """Texts of values: plain ones, elements, lists, maps and sets of them."""
    plain = NUMBERS + OTHERS
    few = ["1", "1l", "1.0d", "2", "'a'", "null", "NaN"]
    lists = ["[]", *(f"[{', '.join(rng.choices(few, k=rng.randrange(1, 4)))}]" for _ in range(25))]
    keys = ["(T.id)", "(T.label)", "'a'", "'b'", "(1)", "(1l)"]
    entries = [[f"{key}: {rng.choice(few)}" for key in rng.sample(keys, rng.randrange(1, 4))] for _ in range(20)]
    maps = ["[:]", *(f"[{', '.join(several)}]" for several in entries)]
    sets = [f"g.inject({', '.join(rng.choices(few, k=rng.randrange(2, 5)))}).toSet()" for _ in range(15)]
    bulks = ["g.inject(1, 1).toBulkSet()", "g.inject(1, 2).toBulkSet()", "g.inject(1, 1l).toBulkSet()", "g.V(1, 1).toBulkSet()"]
    nested = [f"[{rng.choice(lists + maps + plain)}, {rng.choice(lists + maps + plain)}]" for _ in range(20)]
    return [*plain, *ELEMENTS, *lists, *maps, *sets, *bulks, *nested]


def told(answer: tuple[bool, str]) -> list[Any]:
    answered, text = answer
    assert answered, text
    found: list[Any] = value_of(json.loads(text, parse_float=Decimal))
    return found


def comparison(one: Any, other: Any) -> int | None:
    """-1, 0, 1; None: they cannot be compared."""
    try:
        found = compare(one, other)
    except IncomparableError:
        return None
    return (found > 0) - (found < 0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


@pytest.fixture(scope="module")
def known(engine: Engine) -> dict[str, Any]:
    """Values by their texts, no two alike: inject() would put those together."""
    texts = pool(random.Random(SEED))
    (values, _) = told(engine.answer(f"g.inject([{', '.join(texts)}], 0)"))
    found = {hashable(value): (text, value) for text, value in zip(texts, values, strict=True)}
    return dict(found.values())


def answers(engine: Engine, texts: list[str], step: str) -> dict[str, Any]:
    return dict(zip(texts, told(engine.answer(f"g.inject([{', '.join(texts)}]).unfold().map({step})")), strict=True))


@pytest.mark.lab
def test_equality_is_tinkerpops(engine: Engine, known: dict[str, Any]) -> None:
    rng = random.Random(SEED)
    equal = 0
    for text, value in known.items():
        others = list(dict.fromkeys([*rng.sample(list(known), 60), text]))
        expected = answers(engine, others, f"choose(is(eq({text})), constant(true), constant(false))")
        assert {other: equals(known[other], value) for other in others} == expected, text
        equal += sum(expected.values())
    assert equal > len(known)


@pytest.mark.lab
def test_less_and_more_are_tinkerpops(engine: Engine, known: dict[str, Any]) -> None:
    rng = random.Random(SEED)
    outcomes: set[int | None] = set()
    for text, value in known.items():
        others = list(dict.fromkeys([*rng.sample(list(known), 60), text]))
        otherwise = f"choose(is(lte({text})), constant(0), constant(null))"
        step = f"choose(is(lt({text})), constant(-1), choose(is(gt({text})), constant(1), {otherwise}))"
        expected = answers(engine, others, step)
        assert {other: comparison(known[other], value) for other in others} == expected, text
        outcomes.update(expected.values())
    assert outcomes == {-1, 0, 1, None}


@pytest.mark.lab
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_the_order_of_all_is_tinkerpops(engine: Engine, known: dict[str, Any], direction: str) -> None:
    rng = random.Random(SEED)
    orderable = [text for text in known if "toBulkSet" not in text]  # in Java a set may be equal to a BulkSet
    for _ in range(150):
        texts = rng.sample(orderable, 20)
        expected = told(engine.answer(f"g.inject({', '.join(texts)}).order().by({direction})"))
        several = [known[text] for text in texts]
        found = sorted(several, key=order_key(several), reverse=direction == "desc")
        assert list(map(hashable, found)) == list(map(hashable, expected)), texts


@pytest.mark.lab
@pytest.mark.parametrize(
    "kinds",
    [["'a'", "'B'", "''", "'ab'"], ["'a'", "'é'", "'\U0001f600'", "'\uffee'"], ["1", "3000000000", "-1l", "2b", "5n"],
     ["1.5d", "-2.0d", "0.0d", "1e300d"], ["0.0d", "1", "-0.0d"], ["NaN", "1.0d", "Infinity"], ["1", "1.5d", "-7", "2.0d"],
     ["9007199254740993l", "9007199254740992.0d", "9007199254740991l"], ["0.1f", "0.1d", "1"], ["true", "1", "false"],
     ["datetime('2020-01-01T00:00:00Z')", "datetime('1969-01-01T00:00:00Z')"], ["T.key", "'a'", "OUT", "T.id", "'z'"]],
)  # fmt: skip
def test_values_of_one_kind_are_ordered_alike_by_their_quick_key(engine: Engine, kinds: list[str]) -> None:
    rng = random.Random(SEED)
    for _ in range(10):
        given = rng.sample(kinds, len(kinds))
        several = told(engine.answer(f"g.inject({', '.join(given)})"))
        expected = told(engine.answer(f"g.inject({', '.join(given)}).order()"))
        assert [hashable(one) for one in sorted(several, key=order_key(several))] == [hashable(one) for one in expected]


def test_plain_values_are_their_own_keys() -> None:
    for plain in (["a", "b"], [1, Long(2), 2**70], [1.5, 2.5], [1, 2.5], [datetime(2020, 1, 1, tzinfo=UTC)]):
        assert [order_key(plain)(one) for one in plain] == plain
    for special in ([0.0, -0.0], [1, -0.0], [math.nan, 1.0], [2**53 + 1, 1.0], [10**400, 1.0], ["a", 1], [None]):
        keys = {type(order_key(special)(one)) for one in special}
        assert keys == {type(cmp_to_key(order)(1))}, special


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (Entry("a", 1), Entry("a", 1), True),
        (Entry("a", 1), Entry("a", Long(1)), True),
        (Entry("a", 1), Entry("a", 1.0), False),
        (Entry("a", -1), Entry("a", Long(-1)), False),
        (Entry("a", BigInteger(2**70)), Entry("a", BigInteger(2**70)), True),
        (Entry("a", Decimal("1.0")), Entry("a", Decimal("1.00")), False),
        (Entry("a", [1]), Entry("a", [1.0]), False),
        (Entry("a", Map([(1, 2)])), Entry("a", Map([(1, 2.0)])), False),
        (Entry("a", OrderedSet([1, 2])), Entry("a", OrderedSet([Long(2), Long(1)])), True),
        (Vertex(1, "a"), Vertex(Long(1), "b"), True),
        (Vertex(1, "a"), Vertex(1.0, "a"), False),
        (Vertex("1", "a"), Vertex(1, "a"), False),
        (Vertex(math.nan, "a"), Vertex(math.nan, "a"), False),
        (Vertex(1, "a"), VertexProperty(1, "a", 1), False),
        (Property("a", 1), Property("a", Byte(1), Vertex(1, "a")), True),
        (Property("a", 1), Property("b", 1), False),
        (Path([1], [frozenset("a")]), Path([Short(1)], [frozenset("b")]), True),
        (Path([Float(1.5)], [frozenset()]), Path([1.5], [frozenset()]), False),
        (EnumValue("T", "id"), EnumValue("T", "id"), True),
        (EnumValue("Direction", "OUT"), EnumValue("Direction", "IN"), False),
        (uuid.UUID(int=1), uuid.UUID(int=1), True),
        (Float(0.1), 0.1, False),
        (Float(0.1), 0.10000000149011612, True),
    ],
)
def test_equality_of_what_gremlin_has_no_literals_for(one: Any, other: Any, equal: bool) -> None:
    assert (equals(one, other), equals(other, one)) == (equal, equal)


def test_uuids_are_ordered_as_signed_numbers() -> None:
    ascending = [uuid.UUID(int=at) for at in (1 << 127, 1 << 63, 0, 1, 1 << 64)]
    mixed = [*ascending[3:], *ascending[:3]]
    assert sorted(mixed, key=order_key(mixed)) == ascending


def test_what_cannot_be_compared_says_so_as_tinkerpop() -> None:
    edge = Edge(1, "a", Vertex(1, "a"), Vertex(2, "a"))
    for one, other in ((1, "a"), (None, 1), (math.nan, 1), (edge, Vertex(1, "a")), ([1], ["a"]), ([1], OrderedSet([1]))):
        with pytest.raises(IncomparableError) as raised:
            compare(one, other)
        assert raised.value.kind == "org.apache.tinkerpop.gremlin.process.traversal.GremlinTypeErrorException"
    assert compare(None, None) == 0
