from __future__ import annotations

import contextlib
import json
import math
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from gremlin_python import statics
from gremlin_python.process import strategies, traversal
from gremlin_python.structure import graph as their
from gremlin_python.structure.io.graphsonV2d0 import GraphSONReader, GraphSONWriter
from gremlin_python.structure.io.graphsonV3d0 import GraphSONWriter as ThirdWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.gremlinserver import Server
from support.plainvalues import plain

from gremlin_api.language.grammar import ENUMS, SAME_AS
from gremlin_api.language.syntax import EnumValue, Predicate, Strategy, Variable
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import (
    Edge,
    Entry,
    Graph,
    Map,
    Metrics,
    OrderedSet,
    Path,
    Property,
    TraversalMetrics,
    Tree,
    Value,
    Vertex,
    VertexProperty,
)
from gremlin_api.wire.graphbinary import Binding, Bytecode, Reader, Traverser
from gremlin_api.wire.graphson import GraphsonError
from gremlin_api.wire.graphson2 import typed, value_of

GRAPHSON2 = "application/vnd.gremlin-v2.0+json"


def as_type(name: Any, told: Any) -> dict[str, Any]:
    return {"@type": name, "@value": told}


def int32(value: Any) -> dict[str, Any]:
    return as_type("g:Int32", value)


# A Gremlin Server.

QUERIES = [
    "g.V()", "g.E()", "g.V().as('a').outE().as('b').inV().path()", "g.V().path().by(out().fold())", "g.V().valueMap(true)",
    "g.V().elementMap()", "g.V().properties()", "g.V().properties().properties()", "g.E().properties()",
    "g.V().group().by(label)", "g.V().group().by(out().fold())", "g.V().groupCount()", "g.V().groupCount().by(id)",
    "g.E().groupCount()", "g.V().properties().groupCount()", "g.V().groupCount().by(values().fold())",
    "g.V().out().tree()", "g.V().out().aggregate('x').cap('x')", "g.E().subgraph('x').cap('x')", "g.V().toSet()",
    "g.V().toBulkSet()", "g.V().valueMap().unfold()", "g.V().elementMap().unfold()", "g.V().limit(0)", "g.V(1).profile()",
    "g.inject(1, 2l, 3b, 4s, 5n, 1.5, 2.5d, 3.5f, 1.5m, true, null, 'aé€😀', NaN, Infinity, -Infinity)",
    "g.inject(0.1f, 16777217f, 1e-45f, 1e-20f, 3.4e38f, 3.4028235e38f, 123456.79f)",
    "g.inject(datetime('2020-01-01T00:00:00.123Z'))",
    "g.inject([a: 1, 'b': [1, [c: 2]], (T.id): 3, (OUT): 4])", "g.inject(id, OUT, single, any)",
    "g.inject(1, 2l, 1.5d, 1e10d, 1e-5d, 0.1f, 5n, 1.50m, true, 'a').groupCount()",
    "g.inject(datetime('2020-01-01T00:00:00.123Z')).groupCount()", "g.inject([1, 'a', [b: 2]]).groupCount()",
]  # fmt: skip


def timeless(told: Any) -> Any:
    """Without the durations, which each query has of its own."""
    if isinstance(told, dict):
        return {key: timeless(one) for key, one in told.items() if key != "dur"}
    return [timeless(one) for one in told] if isinstance(told, list) else told


@pytest.mark.lab
@pytest.mark.parametrize("graph", ["modern", "crew"])
@pytest.mark.parametrize("query", QUERIES)
def test_values_are_written_as_a_gremlin_server_writes_them(server: Server, query: str, graph: str) -> None:
    status, body = server.submit(query, graph, accept="application/vnd.graphbinary-v1.0")
    assert status == 200, body
    told_status, told = server.submit(query, graph, accept=GRAPHSON2)
    assert told_status == 200, told
    assert timeless(typed(data_of(body))) == timeless(told["result"]["data"])


@pytest.mark.lab
@pytest.mark.parametrize("graph", ["modern", "crew"])
@pytest.mark.parametrize("query", QUERIES)
def test_what_a_gremlin_server_writes_is_read_and_written_again_as_the_same(server: Server, query: str, graph: str) -> None:
    _, told = server.submit(query, graph, accept=GRAPHSON2)
    assert typed(value_of(told["result"]["data"])) == told["result"]["data"]


def data_of(body: bytes) -> Value:
    """A response's data, of GraphBinary."""
    reader = Reader(body)
    reader.take(2)
    reader.uuid(), reader.integer(), reader.take(1), reader.text(), reader.named(), reader.named()
    return reader.value()


# gremlinpython.

MARKO, LOP = their.Vertex(1, "person"), their.Vertex(3, "software")
P, TextP = traversal.P, traversal.TextP
INNER = traversal.Bytecode()
INNER.add_step("out", "knows")
BYTECODE = traversal.Bytecode()
BYTECODE.add_source("withSideEffect", "a", [1, 2])
BYTECODE.add_step("V", 1)
BYTECODE.add_step("has", "name", P.within("a", "b"))
BYTECODE.add_step("where", INNER)
OURS: Value = Bytecode((("out", ("knows",)),))

THEIRS: list[tuple[Any, Value]] = [
    (1, 1), (statics.long(1), Long(1)), (2**40, Long(2**40)), (statics.bigint(2**70), BigInteger(2**70)), (1.5, 1.5),
    (math.inf, math.inf), (-math.inf, -math.inf), (True, True), (None, None), ("aé€😀", "aé€😀"),
    (statics.SingleByte(-5), Byte(-5)), (Decimal("123.45"), Decimal("123.45")), (uuid.UUID(int=7), uuid.UUID(int=7)),
    (datetime(2020, 1, 1, 1, 2, 3, 4000), datetime(2020, 1, 1, 1, 2, 3, 4000, tzinfo=UTC)),  # noqa: DTZ001
    (statics.timestamp(5.25), datetime(1970, 1, 1, 0, 0, 5, 250000, tzinfo=UTC)),
    ([1, ["a"]], [1, ["a"]]), ({"a": [1]}, Map([("a", [1])])), ({}, Map()), (traversal.T.id, EnumValue("T", "id")),
    (traversal.Direction.OUT, EnumValue("Direction", "OUT")), (traversal.Cardinality.set_, EnumValue("Cardinality", "set")),
    (traversal.Scope.global_, EnumValue("Scope", "global")), (traversal.Order.desc, EnumValue("Order", "desc")),
    (traversal.Operator.add_all, EnumValue("Operator", "addAll")),
    (traversal.Barrier.norm_sack, EnumValue("Barrier", "normSack")),
    (traversal.Merge.on_create, EnumValue("Merge", "onCreate")), (MARKO, Vertex(1, "person")),
    (their.Edge(7, MARKO, "created", LOP), Edge(7, "created", Vertex(1, "person"), Vertex(3, "software"))),
    (their.VertexProperty(5, "name", "marko", MARKO), VertexProperty(5, "name", "marko")),
    (their.Property("weight", 0.5, their.Edge(7, MARKO, "created", LOP)), Property("weight", 0.5)),
    (traversal.Traverser("x", 3), Traverser(3, "x")), (traversal.Binding("x", 5), Binding("x", 5)),
    (P.gt(5), Predicate("gt", (5,))), (P.between(1, 2), Predicate("between", (1, 2))),
    (P.within([1, 2]), Predicate("within", (1, 2))), (P.without(), Predicate("without", ())),
    (P.not_(P.lt(3)), Predicate("not", (Predicate("lt", (3,)),))),
    (P.gt(5).and_(P.lt(9)), Predicate("and", (Predicate("gt", (5,)), Predicate("lt", (9,))))),
    (TextP.starting_with("a"), Predicate("startingWith", ("a",))), (TextP.not_regex("a"), Predicate("notRegex", ("a",))),
    (TextP.containing("a").or_(P.eq("b")), Predicate("or", (Predicate("containing", ("a",)), Predicate("eq", ("b",))))),
    (BYTECODE, Bytecode((("V", (1,)), ("has", ("name", Predicate("within", ("a", "b")))), ("where", (OURS,))),
                        (("withSideEffect", ("a", [1, 2])),))),
    (strategies.ReadOnlyStrategy(), Strategy("ReadOnlyStrategy")),
    (strategies.SeedStrategy(5), Strategy("SeedStrategy", (("seed", 5),))),
    (strategies.OptionsStrategy({"evaluationTimeout": 500}), Strategy("OptionsStrategy", (("evaluationTimeout", 500),))),
    (strategies.SubgraphStrategy(vertices=INNER), Strategy("SubgraphStrategy", (("vertices", OURS),))),
]  # fmt: skip


@pytest.mark.parametrize("writer", [GraphSONWriter, ThirdWriter])
@pytest.mark.parametrize(("told", "value"), THEIRS)
def test_what_gremlinpython_writes_is_read(writer: Any, told: Any, value: Value) -> None:
    assert plain(value_of(json.loads(writer().write_object(told), parse_float=Decimal))) == plain(value)


def test_the_lists_sets_and_maps_of_graphson_3_are_read() -> None:
    told = json.loads(ThirdWriter().write_object([{1: "a"}, {2}]))
    assert plain(value_of(told)) == plain([Map([(1, "a")]), OrderedSet([2])])


THEY_READ: list[tuple[Value, Any]] = [
    (1, 1), (Long(2**40), 2**40), (BigInteger(2**70), 2**70), (Byte(-5), -5), (1.5, 1.5), (True, True), (Float(1.5), 1.5),
    (math.inf, math.inf), (None, None), ("aé€😀", "aé€😀"), (uuid.UUID(int=7), uuid.UUID(int=7)), ([1, ["a"]], [1, ["a"]]),
    (datetime(2020, 1, 1, 1, 2, 3, 4000, tzinfo=UTC), datetime(2020, 1, 1, 1, 2, 3, 4000)),  # noqa: DTZ001
    (Map([("a", [1])]), {"a": [1]}), (Vertex(1, "person"), MARKO),
    (Edge(7, "created", Vertex(1, "person"), Vertex(3, "software")), their.Edge(7, MARKO, "created", LOP)),
    (VertexProperty(5, "name", "marko"), their.VertexProperty(5, "name", "marko", MARKO)),
    (Path([1, "b"], [frozenset("a"), frozenset()]), their.Path([{"a"}, set()], [1, "b"])),
    (Traverser(3, "x"), traversal.Traverser("x", 3)), (Property("weight", 0.5), their.Property("weight", 0.5, None)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "told"), THEY_READ)
def test_what_is_written_gremlinpython_reads(value: Value, told: Any) -> None:
    assert GraphSONReader().to_object(json.loads(json.dumps(typed(value)))) == told


# What the documentation and the Java sources say.


def test_what_messages_hold_is_written_as_the_documentation_says() -> None:
    outer = Bytecode((("V", ()), ("has", ("age", Predicate("gt", (5,))))), (("withSack", (1,)),))
    assert typed(outer) == as_type(
        "g:Bytecode",
        {
            "source": [["withSack", int32(1)]],
            "step": [["V"], ["has", "age", as_type("g:P", {"predicate": "gt", "value": int32(5)})]],
        },
    )
    assert typed(Predicate("within", (1,))) == as_type("g:P", {"predicate": "within", "value": [int32(1)]})
    assert typed(Predicate("regex", ("a",))) == as_type("g:TextP", {"predicate": "regex", "value": "a"})
    assert typed(Binding("x", 1)) == as_type("g:Binding", {"key": "x", "value": int32(1)})
    assert typed(Traverser(2, "x")) == as_type("g:Traverser", {"bulk": as_type("g:Int64", 2), "value": "x"})
    assert typed(Entry("a", [1])) == {"a": [int32(1)]}
    step = Metrics("1", "V", 1_500_000, {"n": 2}, {}, (Metrics("2", "x", 1, {}, {"p": 0.5}),))
    assert typed(TraversalMetrics(2_000_000, (step,))) == as_type(
        "g:TraversalMetrics",
        {
            "dur": as_type("g:Double", 2.0),
            "metrics": [
                as_type(
                    "g:Metrics",
                    {
                        "id": "1", "name": "V", "dur": as_type("g:Double", 1.5), "counts": {"n": as_type("g:Int64", 2)},
                        "metrics": [
                            as_type("g:Metrics", {
                                "id": "2", "name": "x", "dur": as_type("g:Double", 1e-6), "counts": {},
                                "annotations": {"p": as_type("g:Double", 0.5)},
                            }),
                        ],
                    },
                ),
            ],
        },
    )  # fmt: skip


@pytest.mark.parametrize("value", [Variable("x"), [Map([(1, Variable("x"))])], Map([(None, 1)]), Entry(None, 1), b"abc"])
def test_what_has_no_form_is_refused(value: Value) -> None:
    with pytest.raises(TypeError, match="no form in GraphSON"):
        typed(value)


def test_what_says_no_type_is_a_map_a_list_or_a_plain_value() -> None:
    told = {"@type": "g:Int32", "more": [1, 2**40, 2**70, Decimal("1.5"), 1.5, True, None, "a"]}
    assert plain(value_of(told)) == plain(Map([("@type", "g:Int32"), ("more", [1, 2**40, 2**70, 1.5, 1.5, True, None, "a"])]))


def test_a_float_has_32_bits() -> None:
    told = [as_type("g:Float", 0.1), as_type("g:Float", 1e300), as_type("g:Float", "-Infinity")]
    assert value_of(told) == [0.10000000149011612, math.inf, -math.inf]
    assert typed(value_of(told)) == [as_type("g:Float", 0.1), as_type("g:Float", "Infinity"), as_type("g:Float", "-Infinity")]


# What is written is read.

NAMES = st.text(max_size=5)
ENUM_VALUES = [EnumValue(enum, name) for enum, names in ENUMS.items() for name in names if (enum, name) not in SAME_AS]
MOMENTS = st.integers(-(10**13), 10**14).map(lambda one: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=one))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.integers(-(2**63), 2**63 - 1).map(Long), st.floats(),
    st.floats(width=32).map(Float), st.integers(-128, 127).map(Byte),
    st.integers(-(2**15), 2**15 - 1).map(Short), st.integers().map(BigInteger),
    st.decimals(allow_nan=False, allow_infinity=False), st.text(), st.uuids(), MOMENTS, st.sampled_from(ENUM_VALUES),
)  # fmt: skip


def composed(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    some = st.dictionaries(NAMES, inner, min_size=1, max_size=2)
    bare = st.builds(Vertex, inner, NAMES)
    property_ = st.builds(VertexProperty, inner, st.just("k"), inner, st.none() | some)
    leaf = st.builds(Tree, st.lists(st.tuples(inner, st.just(Tree())), max_size=2))
    named = st.builds(Map, st.lists(st.tuples(NAMES.filter(lambda one: not one.startswith("@")), inner), max_size=3))
    steps = st.lists(st.tuples(st.text(), st.frozensets(NAMES, max_size=2)), max_size=3)
    vertex = st.builds(Vertex, inner, NAMES, st.lists(property_, min_size=1, max_size=2).map(lambda told: {"k": told}))
    return st.one_of(
        st.lists(inner, max_size=3), named, st.builds(Tree, st.lists(st.tuples(inner, leaf), max_size=2)), vertex, property_,
        st.builds(Edge, inner, NAMES, bare, bare, st.none() | some), st.builds(Property, NAMES, inner),
        steps.map(lambda told: Path([one for one, _ in told], [labels for _, labels in told])),
        st.builds(Traverser, st.integers(0, 2**63 - 1), inner), st.builds(Binding, NAMES, inner),
        st.builds(Bytecode, st.lists(st.tuples(NAMES, st.lists(inner, max_size=2).map(tuple)), max_size=2).map(tuple)),
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.recursive(SCALARS, composed, max_leaves=6))
def test_what_is_written_is_read_as_the_same(value: Value) -> None:
    assert plain(value_of(typed(value))) == plain(value)


def test_a_graph_and_metrics_are_read_as_the_same() -> None:
    one, other = Vertex(1, "a", {"k": [VertexProperty(5, "k", "v", {"m": 1})]}), Vertex(2, "b")
    graph = Graph([one, other], [Edge(3, "e", Vertex(1, "a"), Vertex(2, "b"), {"w": 1})])
    metered = TraversalMetrics(5, (Metrics("1", "V", 123_456_789, {"n": 2}, {"p": 0.5}, (Metrics("2", "x", 1),)),))
    for value in (graph, metered):
        assert plain(value_of(typed(value))) == plain(value)


# What is no GraphSON.


@pytest.mark.parametrize(
    "told",
    [
        int32(2**31), int32("1"), int32(True), int32(1.5), as_type("g:Int64", 2**63), as_type("gx:Byte", 128),
        as_type("g:Nothing", 1), as_type("gx:BigInteger", "1_0"), as_type("gx:BigInteger", 1.0), as_type("gx:BigInteger", "a"),
        as_type(["g:Int32"], 1), as_type("g:Double", "a"), as_type("g:Double", None), as_type("gx:BigDecimal", "NaN"),
        as_type("g:UUID", "a"), as_type("g:Date", "a"), as_type("g:Date", 10**20), as_type("g:T", "x"),
        as_type("g:Direction", "from"),
        as_type("g:Lambda", {"script": "x", "language": "gremlin-groovy", "arguments": 1}),
        as_type("g:P", {"predicate": "x", "value": 1}), as_type("g:P", {"predicate": "regex", "value": "a"}),
        as_type("g:P", {"predicate": "gt", "value": [1]}), as_type("g:P", {"predicate": "between", "value": [1]}),
        as_type("g:P", {"predicate": "and", "value": [1, 2]}), as_type("g:P", {"predicate": "not", "value": 1}),
        as_type("g:P", 5),
        as_type("g:TextP", {"predicate": "gt", "value": "a"}), as_type("g:Map", [1]), as_type("g:Vertex", {}),
        as_type("g:Vertex", {"id": 1, "label": 5}), as_type("g:Vertex", {"id": 1, "properties": {"k": [1]}}),
        as_type("g:Edge", {"id": 1, "label": "e", "inV": 1}), as_type("g:Path", {"labels": [[]], "objects": []}),
        as_type("g:Path", {"labels": [[1]], "objects": [1]}), as_type("g:Tree", [{"key": 1, "value": 2}]),
        as_type("g:Bytecode", {"step": [[]]}), as_type("g:Bytecode", {"step": [[1]]}), as_type("g:Bytecode", []),
        as_type("g:BulkSet", [1, -1]), as_type("tinker:graph", {"vertices": [1], "edges": []}), as_type("g:Metrics", {}),
        as_type("g:ReadOnlyStrategy", 5), as_type("g:Traverser", {"bulk": "a"}), as_type("g:Set", 5),
    ],
)  # fmt: skip
def test_what_is_no_graphson_is_refused(told: Any) -> None:
    with pytest.raises(GraphsonError, match="this is no GraphSON"):
        value_of([told])


TYPES = st.sampled_from(["g:List", "g:Map", "g:Vertex", "g:P", "g:Bytecode", "g:Path", "g:Tree", "g:Metrics", "g:Date", "g:T"])
KEYS = st.sampled_from(["@type", "@value", "id", "label", "properties", "predicate", "value", "step", "labels", "objects", "k"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TYPES | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4) | st.builds(as_type, TYPES, inner),
)


@settings(max_examples=500, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused_but_nothing_else(told: Any) -> None:
    try:
        value_of(told)
    except GraphsonError as error:
        assert str(error)  # noqa: PT017


def test_keys_within_keys_are_read_or_refused_but_nothing_else() -> None:
    told: Any = 1
    for _ in range(145):
        told = as_type("g:Map", [told, 1])
    with contextlib.suppress(GraphsonError):
        assert isinstance(value_of(told), Map)


@pytest.mark.parametrize("wrap", [lambda told: [told], lambda told: as_type("g:List", [told]), lambda told: {"a": told}])
def test_what_is_too_deep_is_refused(wrap: Any) -> None:
    told: Any = 1
    for _ in range(140):
        told = wrap(told)
    value_of(told)
    for _ in range(160):
        told = wrap(told)
    with pytest.raises(GraphsonError, match="more than 300 deep"):
        value_of(told)
