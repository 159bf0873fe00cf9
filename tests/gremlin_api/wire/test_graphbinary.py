from __future__ import annotations

import io
import math
import random
import tracemalloc
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from gremlin_python import statics
from gremlin_python.process import strategies, traversal
from gremlin_python.structure import graph as their
from gremlin_python.structure.io.graphbinaryV1 import GraphBinaryReader, GraphBinaryWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.gremlinserver import Server
from support.plainvalues import plain

from gremlin_api.language.grammar import ENUMS, SAME_AS
from gremlin_api.language.syntax import EnumValue, Predicate, Strategy, Variable
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import (
    BulkSet,
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
from gremlin_api.wire import graphson
from gremlin_api.wire.graphbinary import (
    Binding,
    Bytecode,
    GraphbinaryError,
    Reader,
    Traverser,
    decode,
    encode,
)

GRAPHBINARY = "application/vnd.graphbinary-v1.0"


# What the documentation and the Java sources say.

DOCUMENTED = [
    ("01 00 00000001", 1),
    ("01 00 00000101", 257),
    ("01 00 ffffffff", -1),
    ("01 00 fffffffe", -2),
    ("02 00 0000000000000001", Long(1)),
    ("02 00 fffffffffffffffe", Long(-2)),
    ("03 00 00000003 616263", "abc"),
    ("03 00 00000004 61626364", "abcd"),
    ("03 00 00000000", ""),
    ("04 00 0000000000000000", datetime(1970, 1, 1, tzinfo=UTC)),
    ("04 00 ffffffffffffffff", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    ("07 00 3ff0000000000000", 1.0),
    ("07 00 3f70000000000000", 0.00390625),
    ("07 00 3fb999999999999a", 0.1),
    ("07 00 7ff0000000000000", math.inf),
    ("08 00 3f800000", Float(1)),
    ("08 00 3ec00000", Float(0.375)),
    ("09 00 00000002 01 00 00000001 fe01", [1, None]),
    ("0a 00 00000001 03 00 00000001 61 01 00 00000001", Map([("a", 1)])),
    ("0b 00 00000001 03 00 00000001 61", OrderedSet("a")),
    ("0c 00 00112233445566778899aabbccddeeff", uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")),
    ("18 00 03 00 00000003 4f5554", EnumValue("Direction", "OUT")),
    ("22 00 00000001 00000001 0f", Decimal("1.5")),
    ("22 00 fffffffd 00000001 01", Decimal("1E+3")),
    ("23 00 00000001 00", BigInteger(0)),
    ("23 00 00000001 7f", BigInteger(127)),
    ("23 00 00000002 0080", BigInteger(128)),
    ("23 00 00000001 ff", BigInteger(-1)),
    ("23 00 00000001 80", BigInteger(-128)),
    ("23 00 00000002 fe24", BigInteger(-476)),
    ("24 00 ff", Byte(-1)),
    ("25 00 00000003 616263", b"abc"),
    ("26 00 0101", Short(257)),
    ("27 00 01", True),
    ("27 00 00", False),
    ("2a 00 00000001 03 00 00000001 61 0000000000000002", BulkSet(Map([("a", 2)]))),
    ("2b 00 00000001 03 00 00000001 61 00000000", Tree([("a", Tree())])),
    ("81 00 0000000000000001 000003e8", timedelta(seconds=1, microseconds=1)),
    ("84 00 000007e4 02 1d", date(2020, 2, 29)),
    ("85 00 000007e4 02 1d 0000000000000000", datetime(2020, 2, 29)),  # noqa: DTZ001
    ("86 00 00004e9455b43600", time(23, 59, 59)),
    ("fe 01", None),
]
READ_ONLY = [
    ("01 01", None),
    ("0a 01", None),
    ("05 00 0000000000000000", datetime(1970, 1, 1, tzinfo=UTC)),
    ("80 00 61", "a"),
    ("80 00 c2a2", "¢"),
    ("80 00 e282ac", "€"),
    ("83 00 0000000000000001 000f4240", datetime(1970, 1, 1, 0, 0, 1, 1000, tzinfo=UTC)),
    ("88 00 000007e4 02 1d 00000d18c2e28000 00000e10", datetime(2020, 2, 29, 3, tzinfo=UTC)),
    ("8d 00 000007e4 02 1d 00000d18c2e28000 fffff1f0", datetime(2020, 2, 29, 5, tzinfo=UTC)),
    ("03 00 00000003 61ff62", "a\ufffdb"),
]


@pytest.mark.parametrize(("told", "value"), DOCUMENTED)
def test_values_are_the_bytes_that_the_documentation_says(told: str, value: Value) -> None:
    data = bytes.fromhex(told)
    assert encode(value) == data
    found, end = decode(data)
    assert (plain(found), type(found), end) == (plain(value), type(value), len(data))


@pytest.mark.parametrize(("told", "value"), READ_ONLY)
def test_other_bytes_that_are_read(told: str, value: Value) -> None:
    data = bytes.fromhex(told)
    assert decode(data) == (value, len(data))


def test_a_value_may_begin_anywhere() -> None:
    data = encode("a") + encode(Long(5)) + encode([])
    first, at = decode(data)
    second, then = decode(memoryview(data), at)
    third, end = decode(data, then)
    assert (first, second, third, end) == ("a", 5, [], len(data))


def test_half_a_character_is_replaced_as_java_does() -> None:
    assert encode("a\ud800b") == encode("a?b")


def test_a_pair_is_written_as_a_map_of_one() -> None:
    assert encode(Entry("a", [1])) == encode(Map([("a", [1])]))


@pytest.mark.parametrize("value", [Variable("x"), object(), [1, object()], Decimal("NaN")])
def test_what_has_no_form_is_refused(value: Value) -> None:
    with pytest.raises(TypeError, match="no form in GraphBinary"):
        encode(value)


# What is written is read.


@st.composite
def elements(draw: st.DrawFn, inner: st.SearchStrategy[Value]) -> Value:
    names = st.text(max_size=5)
    meta = st.none() | st.dictionaries(names, inner, max_size=2)
    several = [VertexProperty(draw(inner), draw(names), draw(inner), draw(meta)) for _ in range(draw(st.integers(1, 2)))]
    by_key = {one.label: [other for other in several if other.label == one.label] for one in several}
    vertex = Vertex(draw(inner), draw(names), draw(st.sampled_from([None, {}, by_key])))
    edge = Edge(draw(inner), draw(names), Vertex(draw(inner), "a"), Vertex(draw(inner), "b"), draw(meta))
    return draw(st.sampled_from([vertex, edge, several[0], Property(draw(names), draw(inner))]))


ENUM_VALUES = [EnumValue(enum, name) for enum, names in ENUMS.items() for name in names if (enum, name) not in SAME_AS]
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.integers(-(10**13), 10**14).map(lambda one: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=one))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), INT64.map(Long), st.integers(-128, 127).map(Byte),
    st.integers(-(2**15), 2**15 - 1).map(Short), st.integers().map(BigInteger), st.floats(), st.floats(width=32).map(Float),
    st.decimals(allow_nan=False, allow_infinity=False).filter(bool),
    st.text(), st.uuids(), MOMENTS, st.dates(), st.times(), st.datetimes(), st.binary(), st.sampled_from(ENUM_VALUES),
    st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)),
)  # fmt: skip
NAMES = st.text(max_size=5)


def trees(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Tree]:
    leaf = st.builds(Tree, st.lists(st.tuples(inner, st.just(Tree())), max_size=2))
    return st.builds(Tree, st.lists(st.tuples(inner, leaf), max_size=2))


def instructions(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.tuples(NAMES, st.lists(inner, max_size=2).map(tuple)), max_size=2).map(tuple)


def paths(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Path]:
    steps = st.lists(st.tuples(inner, st.frozensets(NAMES, max_size=2)), max_size=3)
    return steps.map(lambda told: Path([one for one, _ in told], [labels for _, labels in told]))


def metrics(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Metrics]:
    numbers, more = st.dictionaries(NAMES, INT64, max_size=2), st.dictionaries(NAMES, inner, max_size=2)
    leaf = st.builds(Metrics, NAMES, NAMES, INT64, numbers, more, st.just(()))
    return st.builds(Metrics, NAMES, NAMES, INT64, numbers, more, st.lists(leaf, max_size=2).map(tuple))


def composed(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    pairs = st.lists(st.tuples(inner, inner), max_size=3)
    return st.one_of(
        st.lists(inner, max_size=3), st.builds(OrderedSet, st.lists(inner, max_size=3)), st.builds(Map, pairs),
        st.lists(st.tuples(inner, st.integers(1, 2**40)), max_size=3).map(lambda told: BulkSet(Map(told))),
        elements(inner), trees(inner), paths(inner),
    )  # fmt: skip


def remote(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    """What only messages hold."""
    plain_p = st.builds(Predicate, st.sampled_from(["eq", "gte"]), st.tuples(inner))
    return st.one_of(
        metrics(inner), st.builds(TraversalMetrics, INT64, st.lists(metrics(inner), max_size=2).map(tuple)),
        st.builds(Bytecode, instructions(inner), instructions(inner)), st.builds(Binding, NAMES, inner),
        st.builds(Traverser, INT64, inner), plain_p, st.builds(Predicate, st.just("startingWith"), st.tuples(NAMES)),
        st.builds(Predicate, st.just("within"), st.lists(inner, max_size=3).map(tuple)),
        st.builds(Predicate, st.sampled_from(["and", "or"]), st.tuples(plain_p, plain_p)),
        st.builds(Predicate, st.just("between"), st.tuples(inner, inner)),
    )  # fmt: skip


VALUES = st.recursive(SCALARS, composed, max_leaves=6)
MESSAGES = VALUES | remote(VALUES | remote(VALUES))


@settings(max_examples=250, deadline=None)
@given(MESSAGES)
def test_what_is_written_is_read_as_the_same(value: Value) -> None:
    data = encode(value)
    found, end = decode(data)
    assert end == len(data)
    assert plain(found) == plain(value)


def graph_of_all_kinds() -> Graph:
    name = VertexProperty(Long(0), "name", "marko", {"since": 5})
    marko = Vertex(1, "person", {"name": [name, VertexProperty(Long(9), "name", "m", {})]})
    lop = Vertex(2, "software", {})
    return Graph([marko, lop], [Edge(3, "created", marko, lop, {"weight": 0.4}), Edge(4, "likes", lop, lop, {})])


def test_a_graph_is_read_with_its_edges_at_its_vertices() -> None:
    graph = graph_of_all_kinds()
    found, _ = decode(encode(graph))
    assert plain(found) == plain(graph)
    assert found.edges[0].out is found.vertices[0]


# What is no GraphBinary.

SAMPLES: list[Value] = [
    [1, Long(2), "abc", 1.5, Float(2), Decimal("1.5"), BigInteger(7), True, None, uuid.UUID(int=5), b"abc", timedelta(1)],
    Map([("a", [1, OrderedSet(["b"])]), (EnumValue("T", "id"), Tree([("x", Tree())]))]),
    Vertex(1, "a", {"k": [VertexProperty(2, "k", "v", {"m": 1})]}), Edge(1, "e", Vertex(2, "a"), Vertex(3, "b"), {"w": 1}),
    Path([1, 2], [frozenset(), frozenset("ab")]), graph_of_all_kinds(), BulkSet(Map([("a", 2)])), Traverser(2, "x"),
    Bytecode((("V", ()), ("has", ("name", Predicate("within", (1, 2))))), (("with", ("x",)),)), Binding("x", 5),
    TraversalMetrics(5, (Metrics("1", "a", 5, {"n": 1}, {"p": 1.5}, ()),)), Predicate("startingWith", ("a",)),
    datetime(2020, 1, 1, tzinfo=UTC), date(2020, 1, 1), time(1, 2, 3), datetime(2020, 1, 1),  # noqa: DTZ001
]  # fmt: skip


@pytest.mark.parametrize("value", SAMPLES)
def test_what_is_cut_off_is_refused_wherever_it_is(value: Value) -> None:
    data = encode(value)
    assert plain(decode(data)[0]) == plain(value)
    for end in range(len(data)):
        with pytest.raises(GraphbinaryError):
            decode(data[:end])


def test_bytes_that_were_changed_are_read_or_refused_but_nothing_else() -> None:
    changed, refused = random.Random(5), 0
    whole = [encode(value) for value in SAMPLES]
    for _ in range(30_000):
        data = bytearray(changed.choice(whole))
        for _ in range(changed.choice([1, 1, 1, 2, 5])):
            data[changed.randrange(len(data))] = changed.choice([0, 1, 2, 9, 0x0A, 0x7F, 0x80, 0xFF, changed.randrange(256)])
        try:
            decode(bytes(data))
        except GraphbinaryError:
            refused += 1
    assert 10_000 < refused < 29_000


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_but_nothing_else(data: bytes) -> None:
    try:
        found, end = decode(data)
    except GraphbinaryError:
        return
    assert 0 < end <= len(data)
    assert plain(found) == plain(decode(data)[0])


HOSTILE = [
    *(f"{code:02x} 00 {length}" for code in (0x03, 0x09, 0x0A, 0x0B, 0x10, 0x15, 0x23, 0x25, 0x2A, 0x2B)
      for length in ("7fffffff", "ffffffff", "80000000")),
    "09 00 00000002 fe01", "23 00 00000000", "22 00 00000000 000f4240 01", "22 00 00000000 00000000", "00 00",
    "06 00 00000001 61",
    "1d 00 00000001 61 00000001 62 00000001", "82 00 00000004 7f000001", "ff 00", "30 00", "18 00 03 00 00000003 4f5551",
    "18 00 03 00 00000004 66726f6d", "18 00 01 00 00000001", "1e 00 00000001 61 00000000", "1e 00 00000002 6571 00000000",
    "1e 00 00000002 6571 00000002 fe01 fe01", "1e 00 00000003 616e64 00000002 fe01 fe01", "04 00 7fffffffffffffff",
    "1e 00 0000000c 7374617274696e6757697468 00000001 fe01", "84 00 000007e4 02 1e", "84 00 000f4240 02 01",
    "86 00 ffffffffffffffff", "86 00 00004e94914f0000", "86 00 0000000000000001", "81 00 7fffffffffffffff 00000000",
    "81 00 0000000000000000 00000001", "2a 00 00000001 fe01 ffffffffffffffff", "0e 00 09 00 00000000 09 00 00000001 fe01",
    "0e 00 03 00 00000000 03 00 00000000", "11 00 fe01 00000000 01 00 00000001", "11 00 fe01 00000000 09 00 00000001 fe01",
    "10 00 00000000 00000001 fe01 00000000 fe01 fe01 fe01 fe01 fe01 00000000", "80 00 ff000000", "80 00 80",
    "2c 00 00000000 00000000 0000000000000000 00000001 fe01 fe01 00000000 00000000", "27 00", "03", "",
]  # fmt: skip


@pytest.mark.parametrize("told", HOSTILE)
def test_what_is_no_graphbinary_is_refused_and_takes_no_memory(told: str) -> None:
    data = bytes.fromhex(told)
    tracemalloc.start()
    with pytest.raises(GraphbinaryError):
        decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("at", [-1, 7, 2**40])
def test_a_value_that_begins_outside_is_refused(at: int) -> None:
    with pytest.raises(GraphbinaryError):
        decode(encode(1), at)


NESTED = {
    "list": b"\x09\x00\x00\x00\x00\x01",
    "set": b"\x0b\x00\x00\x00\x00\x01",
    "key of a map": b"\x0a\x00\x00\x00\x00\x01",
    "bulk set": b"\x2a\x00\x00\x00\x00\x01",
    "traverser": b"\x21\x00" + bytes(8),
    "binding": b"\x14\x00" + bytes(4),
    "not": b"\x1e\x00\x00\x00\x00\x03not\x00\x00\x00\x01",
    "bytecode": b"\x15\x00\x00\x00\x00\x01\x00\x00\x00\x01V\x00\x00\x00\x01",
    "vertex": b"\x11\x00",
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_is_too_deep_is_refused(kind: str) -> None:
    with pytest.raises(GraphbinaryError, match="deep"):
        decode(NESTED[kind] * 50_000 + b"\xfe\x01" * 50)


def test_a_tree_that_is_too_deep_is_refused() -> None:
    with pytest.raises(GraphbinaryError, match="deep"):
        decode(b"\x2b\x00" + b"\x00\x00\x00\x01\xfe\x01" * 50_000)


def test_a_hundred_deep_is_read() -> None:
    value: Value = "a"
    for _ in range(99):
        value = [value]
    assert decode(encode(value))[0] == value
    with pytest.raises(GraphbinaryError, match="more than 100 deep"):
        decode(encode([[value]]))


def test_a_type_that_has_no_value_here_is_named() -> None:
    with pytest.raises(GraphbinaryError, match=r"0x06 \(Class\)"):
        decode(bytes.fromhex("06 00 00000001 61"))
    with pytest.raises(GraphbinaryError, match="lambdas are not run here"):
        decode(bytes.fromhex("1d 00 00000001 61 00000001 62 00000001"))


# gremlinpython.


P, TextP = traversal.P, traversal.TextP
MARKO, LOP = their.Vertex(1, "person"), their.Vertex(3, "software")
BYTECODE = traversal.Bytecode()
BYTECODE.add_source("withSideEffect", "a", [1, 2])
BYTECODE.add_step("V", 1)
BYTECODE.add_step("has", "name", P.within("a", "b"))
INNER = traversal.Bytecode()
INNER.add_step("out", "knows")
BYTECODE.add_step("where", INNER)
OURS: Value = Bytecode((("out", ("knows",)),))

THEIRS: list[tuple[Any, Value]] = [
    (1, 1), (statics.long(1), Long(1)), (statics.long(2**40), Long(2**40)), (statics.bigint(2**70), BigInteger(2**70)),
    (1.5, 1.5), (math.inf, math.inf), (-math.inf, -math.inf), (True, True), ("aé€😀", "aé€😀"),
    (statics.SingleByte(-5), Byte(-5)), (statics.short(-300), Short(-300)), (statics.BigDecimal(2, 12345), Decimal("123.45")),
    (statics.BigDecimal(-2, -5), Decimal("-5E+2")), (statics.ByteBufferType(b"abc"), b"abc"),
    (statics.SingleChar("€"), "€"), (uuid.UUID(int=7), uuid.UUID(int=7)),
    (datetime(2020, 1, 1, 1, 2, 3, 4000), datetime(2020, 1, 1, 1, 2, 3, 4000, tzinfo=UTC)),  # noqa: DTZ001
    (statics.timestamp(5.25), datetime(1970, 1, 1, 0, 0, 5, 250000, tzinfo=UTC)),
    (timedelta(seconds=5, microseconds=7), timedelta(seconds=5, microseconds=7)),
    ([1, ["a"]], [1, ["a"]]), ({"a": [1]}, Map([("a", [1])])), ({1}, OrderedSet([1])), ({}, Map()),
    (traversal.T.id, EnumValue("T", "id")), (traversal.Direction.OUT, EnumValue("Direction", "OUT")),
    (traversal.Direction.from_, EnumValue("Direction", "OUT")), (traversal.Cardinality.set_, EnumValue("Cardinality", "set")),
    (traversal.Cardinality.list_, EnumValue("Cardinality", "list")), (traversal.Scope.global_, EnumValue("Scope", "global")),
    (traversal.Order.desc, EnumValue("Order", "desc")), (traversal.Pop.all_, EnumValue("Pop", "all")),
    (traversal.Column.keys, EnumValue("Column", "keys")), (traversal.Operator.sum_, EnumValue("Operator", "sum")),
    (traversal.Operator.add_all, EnumValue("Operator", "addAll")),
    (traversal.Barrier.norm_sack, EnumValue("Barrier", "normSack")),
    (traversal.Pick.any_, EnumValue("Pick", "any")), (traversal.DT.day, EnumValue("DT", "day")),
    (traversal.Merge.on_create, EnumValue("Merge", "onCreate")),
    (MARKO, Vertex(1, "person")),
    (their.Edge(7, MARKO, "created", LOP), Edge(7, "created", Vertex(1, "person"), Vertex(3, "software"))),
    (their.VertexProperty(5, "name", "marko", MARKO), VertexProperty(5, "name", "marko")),
    (their.Property("weight", 0.5, None), Property("weight", 0.5)),
    (traversal.Traverser("x", 3), Traverser(3, "x")), (traversal.Binding("x", 5), Binding("x", 5)),
    (P.gt(5), Predicate("gt", (5,))), (P.between(1, 2), Predicate("between", (1, 2))),
    (P.within([1, 2]), Predicate("within", (1, 2))),
    (P.without(), Predicate("without", ())), (P.not_(P.lt(3)), Predicate("not", (Predicate("lt", (3,)),))),
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


@pytest.mark.parametrize(("told", "value"), THEIRS)
def test_what_gremlinpython_writes_is_read(told: Any, value: Value) -> None:
    data = bytes(GraphBinaryWriter().write_object(told))
    found, end = decode(data)
    assert (plain(found), end) == (plain(value), len(data))


THEY_READ: list[tuple[Value, Any]] = [
    (1, 1), (Long(2**40), 2**40), (BigInteger(-(2**70)), -(2**70)), (Byte(-5), -5), (Short(-300), -300), (1.5, 1.5),
    (True, True), (Float(1.5), 1.5), (-math.inf, -math.inf), (None, None), ("aé€😀", "aé€😀"), (b"abc", b"abc"),
    (uuid.UUID(int=7), uuid.UUID(int=7)),
    (datetime(2020, 1, 1, 1, 2, 3, 4000, tzinfo=UTC), datetime(2020, 1, 1, 1, 2, 3, 4000)),  # noqa: DTZ001
    (timedelta(seconds=5, microseconds=7), timedelta(seconds=5, microseconds=7)), ([1, ["a"]], [1, ["a"]]),
    (Map([("a", [1])]), {"a": [1]}), (OrderedSet([1]), {1}), (EnumValue("T", "id"), traversal.T.id),
    (EnumValue("Order", "desc"), traversal.Order.desc), (EnumValue("Merge", "onCreate"), traversal.Merge.on_create),
    (Vertex(1, "person"), MARKO),
    (Edge(7, "created", Vertex(1, "person"), Vertex(3, "software")), their.Edge(7, MARKO, "created", LOP)),
    (VertexProperty(5, "name", "marko"), their.VertexProperty(5, "name", "marko", MARKO)),
    (Property("weight", 0.5), their.Property("weight", 0.5, None)), (Traverser(3, "x"), traversal.Traverser("x", 3)),
    (Binding("x", 5), traversal.Binding("x", 5)), (OURS, INNER),
]  # fmt: skip


@pytest.mark.parametrize(("value", "told"), THEY_READ)
def test_what_is_written_gremlinpython_reads(value: Value, told: Any) -> None:
    stream = io.BytesIO(encode(value))
    assert GraphBinaryReader().read_object(stream) == told
    assert stream.read() == b""


def test_gremlinpython_reads_properties_paths_and_metrics() -> None:
    def read(value: Value) -> Any:
        return GraphBinaryReader().read_object(io.BytesIO(encode(value)))

    name = VertexProperty(Long(5), "name", "marko", {"since": 7})
    found = read(Vertex(1, "person", {"name": [name]}))
    (told,) = found.properties
    assert (told.id, told.label, told.value) == (5, "name", "marko")
    assert [(one.key, one.value) for one in told.properties] == [("since", 7)]
    number = read(Decimal("-1.25"))
    assert (number.scale, number.unscaled_value) == (2, -125)
    path = read(Path([1, "b"], [frozenset("a"), frozenset()]))
    assert (path.labels, path.objects) == ([{"a"}, set()], [1, "b"])
    metered = read(TraversalMetrics(9, (Metrics("1", "V", 5, {"n": 2}, {"percentDur": 50.0}, (Metrics("2", "x", 1),)),)))
    (step,) = metered["metrics"]
    assert (metered["dur"], step["counts"], step["metrics"][0]["id"]) == (9, {"n": 2}, "2")
    assert read(BulkSet(Map([("a", 2), ("b", 1)]))) == ["a", "a", "b"]


# A Gremlin Server.

QUERIES = [
    "g.V()", "g.E()", "g.V().as('a').out().as('b', 'c').path()", "g.V().valueMap(true)", "g.V().elementMap()",
    "g.V().properties()", "g.V().properties().properties()", "g.E().properties()", "g.V().group().by(out().fold())",
    "g.V().out().tree()", "g.V().out().aggregate('x').cap('x')", "g.E().subgraph('x').cap('x')", "g.V().toSet()",
    "g.V().values('name').toSet()", "g.V().valueMap().unfold()", "g.V().limit(0)", "g.V(1).profile()",
    "g.inject(1, 2l, 3b, 4s, 5n, 1.5, 2.5d, 3.5f, 1.5m, true, null, 'aé€😀', NaN, Infinity, -Infinity)",
    "g.inject(12345678901234567890.5, 100000000000000000000, -129n, 128n, 0n, 1e10, 1e-10m)",
    "g.inject(datetime('2020-01-01T00:00:00.123Z'))", "g.inject([a: 1, 'b': [1, [c: 2]], (T.id): 3])",
    "g.inject(id, OUT, single, any)",
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("graph", ["modern", "crew"])
@pytest.mark.parametrize("query", QUERIES)
def test_what_a_gremlin_server_writes_is_read_and_written_again_as_the_same(server: Server, query: str, graph: str) -> None:
    status, body = server.submit(query, graph, accept=GRAPHBINARY)
    assert status == 200, body
    data, end = decode(body, head(body))
    assert end == len(body)
    assert encode(data) == body[head(body) :]


@pytest.mark.lab
@pytest.mark.parametrize("query", [one for one in QUERIES if "path" not in one and "profile" not in one and "e10" not in one])
def test_what_a_gremlin_server_writes_is_what_it_writes_as_graphson(server: Server, query: str) -> None:
    _, body = server.submit(query, "crew", accept=GRAPHBINARY)
    data, _ = decode(body, head(body))
    _, told = server.submit(query, "crew")
    assert graphson.typed(data) == told["result"]["data"]


def head(body: bytes) -> int:
    """Where a response's data begin."""
    reader = Reader(body)
    assert reader.take(1)[0] == 0x81
    assert (reader.take(1)[0], reader.uuid().version) == (0, 4)
    assert reader.integer() == 200
    assert (reader.take(1)[0], reader.text(), reader.named(), reader.named()) == (0, "", {}, {})
    return reader.at
