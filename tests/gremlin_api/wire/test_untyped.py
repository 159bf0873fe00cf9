from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from lab.gremlinserver import Server

from gremlin_api.language.syntax import EnumValue, Variable
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import Edge, Entry, Map, Property, Tree, Value, Vertex, VertexProperty
from gremlin_api.wire.graphbinary import Reader
from gremlin_api.wire.untyped import untyped, untyped1

FIRST, SECOND, THIRD = (f"application/vnd.gremlin-v{version}.0+json;types=false" for version in (1, 2, 3))
FORMS: list[tuple[str, Callable[[Value], Any]]] = [(FIRST, untyped1), (SECOND, untyped), (THIRD, untyped)]

# A Gremlin Server.

QUERIES = [
    "g.V()", "g.E()", "g.V().as('a').outE().as('b').inV().path()", "g.V().path().by(out().fold())", "g.V().valueMap(true)",
    "g.V().elementMap()", "g.V().properties()", "g.V().properties().properties()", "g.E().properties()",
    "g.V().group().by(label)", "g.V().group().by(out().fold())", "g.V().groupCount()", "g.V().groupCount().by(id)",
    "g.E().groupCount()", "g.V().properties().groupCount()", "g.V().groupCount().by(values().fold())",
    "g.V().out().tree()", "g.V().out().aggregate('x').cap('x')", "g.V().toSet()", "g.V().toBulkSet()",
    "g.V().valueMap().unfold()", "g.V().elementMap().unfold()", "g.V().limit(0)", "g.V(1).profile()",
    "g.inject(1, 2l, 3b, 4s, 5n, 1.5, 2.5d, 3.5f, 1.5m, true, null, 'aé€😀', NaN, Infinity, -Infinity)",
    "g.inject(0.1f, 16777217f, 1e-45f, 1e-20f, 3.4e38f, 3.4028235e38f, 123456.79f)",
    "g.inject(datetime('2020-01-01T00:00:00.123Z'))",
    "g.inject([a: 1, 'b': [1, [c: 2]], (T.id): 3, (OUT): 4])", "g.inject(id, OUT, single, any)",
    "g.inject(1, 2l, 1.5d, 1e10d, 1e-5d, 0.1f, 5n, 1.50m, true, 'a').groupCount()",
    "g.inject([1, 'a', [b: 2]]).groupCount()",
]  # fmt: skip


def timeless(told: Any) -> Any:
    """Without the durations, which each query has of its own."""
    if isinstance(told, dict):
        return {key: timeless(one) for key, one in told.items() if key != "dur"}
    return [timeless(one) for one in told] if isinstance(told, list) else told


def data_of(body: bytes) -> Value:
    """A response's data, of GraphBinary."""
    reader = Reader(body)
    reader.take(2)
    reader.uuid(), reader.integer(), reader.take(1), reader.text(), reader.named(), reader.named()
    return reader.value()


@pytest.mark.lab
@pytest.mark.parametrize(("kind", "form"), FORMS)
@pytest.mark.parametrize("query", QUERIES)
def test_values_are_written_as_a_gremlin_server_writes_them(
    server: Server, query: str, kind: str, form: Callable[[Value], Any]
) -> None:
    for graph in ("modern", "crew"):
        status, body = server.submit(query, graph, accept="application/vnd.graphbinary-v1.0")
        assert status == 200, body
        told_status, told = server.submit(query, graph, accept=kind)
        assert told_status == 200, told
        assert timeless(form(data_of(body))) == timeless(told["result"]["data"])


@pytest.mark.lab
def test_a_graph_is_written_as_a_gremlin_server_writes_it(server: Server) -> None:
    """Of GraphSON 3 only: the server's others have no form for it."""
    for graph in ("modern", "crew"):
        _, body = server.submit("g.E().subgraph('x').cap('x')", graph, accept="application/vnd.graphbinary-v1.0")
        _, told = server.submit("g.E().subgraph('x').cap('x')", graph, accept=THIRD)
        (graph_told,) = told["result"]["data"]
        assert untyped(data_of(body)) == [graph_told]
        assert len(graph_told["edges"]) > 5


# What the Java sources say.

NAME = VertexProperty(Long(0), "name", "marko", {"since": 5})
MARKO, LOP = Vertex(1, "person", {"name": [NAME]}), Vertex(3, "software")
CREATED = Edge(9, "created", MARKO, LOP, {"weight": 0.5})


@pytest.mark.parametrize(
    ("value", "first", "second"),
    [
        (MARKO,
         {"id": 1, "label": "person", "type": "vertex",
          "properties": {"name": [{"id": 0, "value": "marko", "properties": {"since": 5}}]}},
         {"id": 1, "label": "person",
          "properties": {"name": [{"id": 0, "value": "marko", "label": "name", "properties": {"since": 5}}]}}),
        (LOP, {"id": 3, "label": "software", "type": "vertex", "properties": {}}, {"id": 3, "label": "software"}),
        (CREATED,
         {"id": 9, "label": "created", "type": "edge", "inVLabel": "software", "outVLabel": "person", "inV": 3, "outV": 1,
          "properties": {"weight": 0.5}},
         {"id": 9, "label": "created", "inVLabel": "software", "outVLabel": "person", "inV": 3, "outV": 1,
          "properties": {"weight": {"key": "weight", "value": 0.5}}}),
        (Tree([(LOP, Tree())]),
         {"3": {"key": {"id": 3, "label": "software", "type": "vertex", "properties": {}}, "value": {}}},
         [{"key": {"id": 3, "label": "software"}, "value": []}]),
    ],
)  # fmt: skip
def test_how_the_forms_differ(value: Value, first: Any, second: Any) -> None:
    assert (untyped1(value), untyped(value)) == (first, second)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (NAME, {"id": 0, "value": "marko", "label": "name", "properties": {"since": 5}}),
        (Property("a", Long(1)), {"key": "a", "value": 1}),
        (Entry("a", [1]), {"a": [1]}), (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), (EnumValue("T", "id"), "id"),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000), (-math.inf, "-Infinity"),
        (math.nan, "NaN"), (Float("inf"), "Infinity"),
        ([Byte(1), Short(2), Long(3), BigInteger(2**70), Decimal("1.50"), True], [1, 2, 3, 2**70, Decimal("1.50"), True]),
        (Map([(MARKO, 1), (EnumValue("T", "label"), 2)]), {"1": 1, "label": 2}),
    ],
)  # fmt: skip
def test_what_all_forms_have_alike(value: Value, told: Any) -> None:
    assert (untyped1(value), untyped(value)) == (told, told)


def test_numbers_are_written_as_plain_numbers() -> None:
    assert [type(one) for one in untyped([Long(1), Byte(1), Float(1), 2**70])] == [int, int, float, int]


@pytest.mark.parametrize("form", [untyped, untyped1])
@pytest.mark.parametrize("value", [Variable("x"), [Entry("a", Variable("x"))], Map([(None, 1)])])
def test_what_has_no_form_is_refused(form: Callable[[Value], Any], value: Value) -> None:
    with pytest.raises(TypeError, match="no form in GraphSON"):
        form(value)
