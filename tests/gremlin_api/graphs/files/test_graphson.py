"""GraphSON 3 by hand: types, ids, edges at their ends, and what is refused with its place."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gremlin_api.graphs.files.errors import GraphFileError
from gremlin_api.graphs.files.graphson import read_document, read_lines, value
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import Edge, Map, OrderedSet, hashable
from gremlin_api.wire.graphson import typed

UUID = "5d0a5a1e-5a0e-4f0e-8a52-2c9b9c1f3f10"
SCALARS = (
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(-(2**80), 2**80) | st.floats() | st.uuids()
    | st.integers(-(2**63), 2**63 - 1).map(Long) | st.integers(-(2**15), 2**15 - 1).map(Short)
    | st.integers(-128, 127).map(Byte) | st.integers().map(BigInteger) | st.floats(width=32).map(Float)
    | st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)).map(lambda one: one.replace(microsecond=0))  # noqa: DTZ001
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(OrderedSet)
        | st.lists(st.tuples(inner, inner), max_size=3).map(Map)
    ),
    max_leaves=8,
)


def _t(kind: str, told: Any) -> dict[str, Any]:
    return {"@type": kind, "@value": told}


def _vertex(id_: Any, **more: Any) -> dict[str, Any]:
    return {"id": id_, "label": "x", **more}


def _lines(*vertices: dict[str, Any]) -> bytes:
    return "\n".join(map(json.dumps, vertices)).encode()


def _nested(depth: int) -> Any:
    deep: Any = 1
    for _ in range(depth):
        deep = _t("g:List", [deep])
    return deep


@given(VALUES)
def test_each_value_is_read_with_its_type(one: Any) -> None:
    assert hashable(value(json.loads(json.dumps(typed(one))))) == hashable(one)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (_t("gx:BigDecimal", 1.5), Decimal("1.5")),
        (_t("g:Timestamp", 1000), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (_t("gx:InetAddress", "10.0.0.1"), "10.0.0.1"),
        (_t("gx:Char", "x"), "x"),
        (_t("gx:Duration", "PT5S"), "PT5S"),
        ({"a": [1, 2.5, None]}, Map([("a", [1, 2.5, None])])),
        (2**70, 2**70),
    ],
)
def test_what_has_no_form_of_its_own_or_no_type_is_read(told: Any, read: Any) -> None:
    assert hashable(value(told)) == hashable(read)


def test_ids_have_their_types_and_are_found_by_their_texts() -> None:
    edge = {"k": [{"id": _t("janusgraph:RelationIdentifier", {"relationId": "4r-3-2-1"}), "inV": "b"}]}
    ids = [_t("g:Int64", 1), "b", _t("g:UUID", UUID), _t("g:Double", 1.5), 7]
    graph = read_lines(_lines(_vertex(ids[0], outE=edge), *map(_vertex, ids[1:])))
    assert [hashable(one.id) for one in graph.vertices()] == [hashable(one) for one in (Long(1), "b", uuid.UUID(UUID), 1.5, 7)]
    assert [graph.vertex(one) is not None for one in ("1", 1, "b", UUID, "7", "8")] == [True, True, True, True, True, False]
    found = graph.edge("4r-3-2-1")
    assert found
    assert (found.out, found.into) == (graph.vertex(1), graph.vertex("b"))


@pytest.mark.parametrize("sides", ["outE", "inE", "both"])
def test_an_edge_is_there_once_on_whichever_side_it_stands(sides: str) -> None:
    properties = {"since": _t("g:Double", "NaN")}
    out = {"outE": {"k": [{"id": 9, "inV": 2, "properties": properties}]}} if sides != "inE" else {}
    into = {"inE": {"k": [{"id": 9, "outV": 1, "properties": properties}]}} if sides != "outE" else {}
    graph = read_lines(_lines(_vertex(1, **out), _vertex(2, **into)))
    (edge,) = graph.edges()
    assert isinstance(edge, Edge)
    assert (edge.id, edge.label, edge.out, edge.into) == (9, "k", graph.vertex(1), graph.vertex(2))
    assert hashable(edge.properties["since"]) == hashable(float("nan"))


def test_properties_have_all_their_values_and_their_own_properties() -> None:
    several = [{"id": 1, "value": "a", "properties": {"p": _t("g:Int64", 5)}}, {"value": "b"}]
    (vertex,) = read_lines(_lines(_vertex("v", properties={"n": several, "none": []}))).vertices()
    assert vertex.properties is not None
    assert set(vertex.properties) == {"n"}
    assert [(one.id, one.label, one.value, one.properties, one.owner) for one in vertex.properties["n"]] == [
        (1, "n", "a", {"p": Long(5)}, vertex),
        ("v/n/1", "n", "b", {}, vertex),
    ]


def test_a_document_may_be_typed_or_not_and_wrapped_or_not() -> None:
    plain = {
        "vertices": [_vertex(1), _vertex(2)],
        "edges": [{"id": 3, "label": "k", "outV": 1, "inV": 2, "properties": {"w": 5}}],
    }
    edge = {"id": 3, "label": "k", "outV": 1, "inV": 2, "properties": {"w": _t("g:Property", {"key": "w", "value": 5})}}
    inner = {"vertices": [_t("g:Vertex", one) for one in plain["vertices"]], "edges": [_t("g:Edge", edge)]}
    for told in (plain, inner, _t("tinker:graph", inner), _t("tinker:graph", plain)):
        graph = read_document(json.dumps(told, indent=1).encode())
        assert [one.id for one in graph.vertices()] == [1, 2]
        assert [(one.id, one.out.id, one.into.id, one.properties) for one in graph.edges()] == [(3, 1, 2, {"w": 5})]


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ([_vertex(1), _vertex("1")], "line 2: the vertex '1' stands there twice"),
        ([_vertex(1), {"label": "x"}], "line 2: .*missing required field `id`"),
        ([_vertex(1) | {"label": 5}], r"line 1: Expected `str`, got `int` - at `\$.label`: give a vertex"),
        ([_vertex(1, properties={"n": "text"})], "line 1: Expected `array`"),
        ([_vertex(None)], "line 1: 'None' is no ID"),
        ([_vertex("")], "line 1: '' is no ID"),
        ([_vertex(True)], "line 1: 'True' is no ID"),
        ([_vertex(_t("g:Double", "NaN"))], "line 1: a map is no ID"),
        ([_vertex(_t("g:Int32", 2**31))], "line 1: '2147483648' is no g:Int32"),
        ([_vertex(_t("g:Int64", 2**70))], f"line 1: '{2**70}' is no g:Int64"),
        ([_vertex(_t("g:Int64", "1"))], "line 1: '1' is no g:Int64"),
        ([_vertex(_t("gx:BigInteger", 1.5))], "line 1: '1.5' is no gx:BigInteger"),
        ([_vertex(_t("g:UUID", "1"))], "line 1: '1' is no g:UUID"),
        ([_vertex(1, properties={"n": [{"value": _t("g:Date", 2**62)}]})], "is no g:Date"),
        ([_vertex(1, properties={"n": [{"value": _t("g:Double", 10**400)}]})], "line 1: '10{59}…' is no g:Double"),
        ([_vertex(1, properties={"n": [{"value": _t("g:Map", ["a"])}]})], "line 1: a list is no g:Map"),
        (
            [_vertex(1, properties={"n": [{"value": _t("g:Lambda", {"script": "1"})}]})],
            "type 'g:Lambda' are not known: use g:Date",
        ),
        ([_vertex(1, properties={"n": [{"value": _nested(101)}]})], "line 1: a value is nested more than 100 deep"),
        ([_vertex(1, outE={"k": [{"id": 9, "inV": 2}]})], "line 1: the edge '9' has an end that is not there: '2'"),
        ([_vertex(1, outE={"k": [{"id": 9}]})], "line 1: 'None' is no ID"),
        ([_vertex(1, outE={"k": [{"id": 9, "inV": 1}, {"id": 9, "inV": 1}]})], "line 1: the edge '9' stands there twice"),
        (
            [_vertex(1, outE={"k": [{"id": 9, "inV": 2}]}), _vertex(2, inE={"l": [{"id": 9, "outV": 1}]})],
            "line 2: the edge '9' stands there twice, or not alike",
        ),
    ],
)
def test_what_is_no_graph_is_refused_with_its_line(vertices: list[Any], message: str) -> None:
    with pytest.raises(GraphFileError, match=message):
        read_lines(_lines(*vertices))


def test_nesting_up_to_the_limit_is_read() -> None:
    (vertex,) = read_lines(_lines(_vertex(1, properties={"n": [{"value": _nested(100)}]}))).vertices()
    assert vertex.properties


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('{"vertices": [{"id": 1},\n {"id": 1}]}', r"vertices\[1\]: the vertex '1' stands there twice"),
        ('{"vertices": [{"id": 1}], "edges": [{"id": 2, "outV": 1, "inV": 3}]}', r"edges\[0\]: .*not there: '3'"),
        ('{"vertices": [{"id": 1}], "edges": [{"id": 2, "outV": 1}]}', r"missing required field `inV` - at `\$.edges\[0\]`"),
        ('{"vertices": [{"id": 1},\n {"id": 1]}', r"line 2: JSON is malformed"),
        ('{"vertices": [{"id": 1}', "truncated"),
        ('{"@type": "g:List", "@value": []}', "'g:List' is no graph"),
        ('{"@type": "tinker:graph", "@value": 5}', "Expected `object`"),
        ('{"@type": "tinker:graph"}', "without @value: give one whole"),
        ('{"name": "x"}', "missing required field `vertices`: give {'vertices'"),
        ('{"vertices": [{"@type": "g:Edge", "@value": {"id": 1}}]}', r"Invalid value 'g:Edge' - at `\$.vertices\[0\]"),
        ('{"vertices": ' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(document: str, message: str) -> None:
    with pytest.raises(GraphFileError, match=message):
        read_document(document.encode())
