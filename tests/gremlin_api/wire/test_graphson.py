from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from lab.gremlin import Engine

from gremlin_api.language.syntax import EnumValue, Variable
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import (
    BulkSet,
    Edge,
    Entry,
    Explanation,
    Map,
    Metrics,
    OrderedSet,
    Path,
    Presence,
    Stage,
    TraversalMetrics,
    Value,
    Vertex,
    VertexProperty,
    hashable,
)
from gremlin_api.wire.graphson import GraphsonError, typed, value_of
from gremlin_api.wire.messages import typed3

QUERIES = [
    "g.V()", "g.E()", "g.V().path().by('name')", "g.V().as('a').out().as('b', 'c').path()", "g.V().valueMap(true)",
    "g.V().elementMap()", "g.V().properties()", "g.V().properties().properties()", "g.E().properties()",
    "g.V().group().by(label)", "g.V().group().by(out().fold())", "g.V().out().tree()", "g.V().aggregate('x').cap('x')",
    "g.E().subgraph('x').cap('x')", "g.V().count()", "g.V().id().fold()", "g.V().toSet()", "g.V().toBulkSet()",
    "g.inject(1, 2l, 3b, 4s, 5n, 1.5, 2.5d, 3.5f, 1.5m, true, null, 'a', NaN, Infinity, -Infinity)",
    "g.inject(1e400, 12345678901234567890.5, 0.1, 100000000000000000000)", "g.inject(datetime('2020-01-01T00:00:00.123Z'))",
    "g.inject([a: 1, 'b': [1, [c: 2]], (T.id): 3])", "g.inject(id, OUT, single, any)", "g.V().hasNext()", "g.V().limit(0)",
]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


def exact(text: str) -> Any:
    """A number, as a Decimal where a double is not it."""
    return float(text) if math.isfinite(float(text)) and Decimal(repr(float(text))) == Decimal(text) else Decimal(text)


def unordered(told: Any) -> Any:
    """With the members of sets in one order, and a Decimal that a double is as that double."""
    if isinstance(told, dict):
        found = {key: unordered(one) for key, one in told.items()}
        if found.get("@type") == "g:Set":
            found["@value"].sort(key=json.dumps)
        return found
    if isinstance(told, list):
        return [unordered(one) for one in told]
    return exact(str(told)) if isinstance(told, Decimal) else told


@pytest.mark.lab
@pytest.mark.timeout(120)
@pytest.mark.parametrize("graph", ["modern", "crew", "sink"])
@pytest.mark.parametrize("query", QUERIES)
def test_what_tinkerpop_writes_is_read_and_written_again_as_the_same(engine: Engine, query: str, graph: str) -> None:
    answered, text = engine.answer(query, graph)
    assert answered, text
    told = json.loads(text, parse_float=exact)
    assert unordered(typed(value_of(told))) == unordered(told)


@pytest.mark.lab
def test_the_largest_of_the_graphs_too(engine: Engine) -> None:
    told = json.loads(engine.answer("g.V()", "grateful")[1])
    assert len(told["@value"]) == 808
    assert typed(value_of(told)) == told


def test_values_have_the_types_that_they_are_told_with() -> None:
    values = [1, Long(1), Byte(1), Short(1), BigInteger(1), 1.0, Float(1), Decimal("1.0"), 2**31, 2**63]
    names = [one["@type"] for one in typed(values)["@value"]]
    assert names == [
        "g:Int32", "g:Int64", "gx:Byte", "gx:Int16", "gx:BigInteger", "g:Double", "g:Float", "gx:BigDecimal", "g:Int64",
        "gx:BigInteger",
    ]  # fmt: skip
    others = [uuid.UUID(int=7), datetime(2026, 11, 25, tzinfo=UTC), EnumValue("T", "id"), None, True, "a", math.inf]
    assert value_of(typed(others)) == others


STEP = Metrics("1", "V", 123_456_789, {"traverserCount": 2}, {"percentDur": 0.5}, (Metrics("2", "x", 1),))


@pytest.mark.parametrize(
    "value",
    [
        Explanation(("V()", "out()"), (Stage("SubgraphStrategy", "Decoration", ("V()", "is(1)")),), ("index[V()]",)),
        TraversalMetrics(2**40 + 1, (STEP, Metrics("3", "out", 0))),
        [TraversalMetrics(0, ()), [STEP]],
        Presence(True),
        Presence(False),
    ],
)
def test_what_a_query_tells_of_itself_is_read(value: Value) -> None:
    assert value_of(json.loads(json.dumps(typed3(value)))) == value


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"@type": "g:Metrics"},
        {"@type": "g:TraversalMetrics", "@value": []},
        {"@type": "g:TraversalExplanation"},
        {"present": True},
        {"@type": "g:Nothing"},
        {"@type": "g:Int32"},
        {"@type": "g:Map", "@value": [1]},
        {"@type": "g:Vertex", "@value": {}},
    ],
)
def test_what_is_no_graphson_is_refused(told: Any) -> None:
    with pytest.raises(GraphsonError, match="this is no GraphSON 3"):
        value_of(told)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="Variable has no form"):
        typed([Variable("x")])


def test_what_tells_values_apart() -> None:
    alike = [
        (1, 1), ("a", "a"), ([1, "a"], [1, "a"]), ({1, 2}, {2, 1}), (Map([([1], 2), ("a", 3)]), Map([("a", 3), ([1], 2)])),
        (Vertex(1, "a"), Vertex(1, "b")), (OrderedSet([1, 2]), OrderedSet([2, 1])), (Entry(1, [2]), Entry(1, [2])),
    ]  # fmt: skip
    for one, other in alike:
        assert hashable(one) == hashable(other)
    vertex = Vertex(1, "a")
    different = [1, Long(1), 1.0, Float(1), Decimal(1), True, "1", [1], {1}, Map([(1, 1)]), vertex, Vertex(Long(1), "a"),
                 Edge(1, "a", vertex, vertex), None, 0.0, -0.0, float("nan"), Decimal("1.0"), Entry(1, 1),
                 Path([1], [frozenset()]), Path([1], [frozenset("a")]), BulkSet(Map([(1, 1)])),
                 VertexProperty(1, "a", 1)]  # fmt: skip
    assert len({hashable(one) for one in different}) == len(different)


def test_a_map_keeps_its_order_and_its_last_values() -> None:
    found = Map([("b", 1), ([1], 2), ("b", 3)])
    assert list(found.items()) == [("b", 3), ([1], 2)]
    assert (found["b"], found.get([1]), found.get("c", 0), [1] in found, "c" in found) == (3, 2, 0, True, False)
    assert typed(BulkSet(Map([("a", 2)])))["@value"] == ["a", {"@type": "g:Int64", "@value": 2}]
