"""GraphSON 3 as TinkerPop's writers give a whole graph → the graph. Pure.

Three forms there are, typed or not:

- *lines*, of ``GraphSONWriter.writeGraph`` and the ``io`` step: a vertex a line, its edges beside it (``outE``, ``inE``);
- *wrapped*, of the same with ``wrapAdjacencyList``: ``{"vertices": […]}`` of such vertices;
- the *document* that a TinkerGraph is as a value: ``{"@type": "tinker:graph", "@value": {"vertices": […], "edges": […]}}``.

Sources: TinkerPop 3.7.3's GraphSONWriter, StarGraphGraphSONSerializerV3, TinkerIoRegistryV3, GraphSONXModuleV3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import msgspec

from gremlin_api.graphs.files.errors import GraphFileError, shown
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.numbers import BITS, INT_BITS, LONG_BITS, BigInteger, Byte, Long, Short, fits
from gremlin_api.values import Edge, Map, OrderedSet, Value, Vertex, VertexProperty
from gremlin_api.wire.graphson import value_of
from topology.snapshot.elements import DEEPEST

T = TypeVar("T")
Json: TypeAlias = Any

_NAMES = {"out": "outV", "into": "inV", "edges_out": "outE", "edges_in": "inE"}


class _VertexProperty(msgspec.Struct):
    value: Json
    id: Json = None
    properties: dict[str, Json] = {}


class _Beside(msgspec.Struct, rename=_NAMES):
    """An edge beside one of its ends: ``inV`` or ``outV`` is the other."""

    id: Json
    into: Json = None
    out: Json = None
    properties: dict[str, Json] = {}


class _Vertex(msgspec.Struct, rename=_NAMES):
    id: Json
    label: str = "vertex"
    properties: dict[str, list[_VertexProperty]] = {}
    edges_out: dict[str, list[_Beside]] = {}
    edges_in: dict[str, list[_Beside]] = {}


class _Edge(msgspec.Struct, rename=_NAMES):
    id: Json
    out: Json
    into: Json
    label: str = "edge"
    properties: dict[str, Json] = {}


class _Document(msgspec.Struct):
    vertices: list[_Vertex]
    edges: list[_Edge] = []


class _TypedVertexProperty(msgspec.Struct, tag_field="@type", tag="g:VertexProperty"):
    value: _VertexProperty = msgspec.field(name="@value")


class _Property(msgspec.Struct):
    value: Json


class _TypedProperty(msgspec.Struct, tag_field="@type", tag="g:Property"):
    value: _Property = msgspec.field(name="@value")


class _VertexInType(msgspec.Struct):
    id: Json
    label: str = "vertex"
    properties: dict[str, list[_TypedVertexProperty]] = {}

    def plain(self) -> _Vertex:
        """The same as it is without types."""
        return _Vertex(self.id, self.label, {key: [one.value for one in several] for key, several in self.properties.items()})


class _EdgeInType(msgspec.Struct, rename=_NAMES):
    id: Json
    out: Json
    into: Json
    label: str = "edge"
    properties: dict[str, _TypedProperty] = {}

    def plain(self) -> _Edge:
        """The same as it is without types."""
        properties = {key: one.value.value for key, one in self.properties.items()}
        return _Edge(self.id, self.out, self.into, self.label, properties)


class _TypedVertex(msgspec.Struct, tag_field="@type", tag="g:Vertex"):
    value: _VertexInType = msgspec.field(name="@value")


class _TypedEdge(msgspec.Struct, tag_field="@type", tag="g:Edge"):
    value: _EdgeInType = msgspec.field(name="@value")


class _TypedDocument(msgspec.Struct):
    vertices: list[_TypedVertex]
    edges: list[_TypedEdge] = []


class _Probe(msgspec.Struct):
    """What a document begins with: only as much is looked at as says what it is."""

    kind: str | None = msgspec.field(name="@type", default=None)
    value: msgspec.Raw = msgspec.field(name="@value", default=msgspec.Raw(b""))
    vertices: msgspec.Raw = msgspec.Raw(b"")


_TYPED_FIRST = re.compile(rb'\s*\[\s*\{\s*"@type"')
_SPACE = re.compile(rb"\s*")
_AT_BYTE = re.compile(r" \(byte (\d+)\)$")
_probe = msgspec.json.Decoder(_Probe)
_vertex_decoder = msgspec.json.Decoder(_Vertex)
_document_decoder = msgspec.json.Decoder(_Document)
_typed_decoder = msgspec.json.Decoder(_TypedDocument)


def read_lines(data: bytes) -> MemoryGraph:
    """The graph of lines. Raises GraphFileError, which names the line."""
    building = _Building("line {}")
    for number, line in _numbered(data):
        building.add_vertex(number, _decoded(_vertex_decoder, line, f"line {number}: ", "a vertex of GraphSON 3"))
    return building.graph()


def read_document(data: bytes) -> MemoryGraph:
    """The graph of a document. Raises GraphFileError, which names the line or the vertex."""
    probe = _decoded(_probe, data, "", "a graph of GraphSON 3")
    if probe.kind not in (None, "tinker:graph"):
        raise GraphFileError(f"{shown(probe.kind)} is no graph: give {{'@type': 'tinker:graph', …}}, or a vertex a line")
    if probe.kind is not None and not probe.value:
        raise GraphFileError("it is a tinker:graph without @value: give one whole")
    inner = data if probe.kind is None else bytes(probe.value)
    vertices = probe.vertices if probe.kind is None else _decoded(_probe, inner, "", "a graph").vertices
    building = _Building("vertices[{}]", "edges[{}]")
    told: Iterable[_Vertex]
    edges: Iterable[_Edge]
    if _TYPED_FIRST.match(memoryview(vertices)):
        typed = _decoded(_typed_decoder, inner, "", "a TinkerGraph in GraphSON 3")
        told, edges = (one.value.plain() for one in typed.vertices), (one.value.plain() for one in typed.edges)
    else:
        plain = _decoded(_document_decoder, inner, "", "{'vertices': […], 'edges': […]} of GraphSON 3")
        told, edges = plain.vertices, plain.edges
    for number, vertex in enumerate(told):
        building.add_vertex(number, vertex)
    for number, edge in enumerate(edges):
        building.add_edge(number, edge)
    return building.graph()


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, from 1."""
    end, number = 0, 1
    while True:
        space = _SPACE.match(data, end)
        assert space
        begin = space.end()
        if begin == len(data):
            return
        number += data.count(b"\n", end, begin)
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        yield number, data[begin:end]


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, where: str, wanted: str) -> T:
    """What JSON says. Raises GraphFileError: says where in ``data``, if ``where`` does not say it, and what was wanted."""
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise GraphFileError(f"{where}it is nested too deeply for {wanted}") from error
    except UnicodeDecodeError as error:
        raise GraphFileError(f"{where}it is not UTF-8 ({error.reason}): give {wanted}") from error
    except msgspec.MsgspecError as error:
        raise GraphFileError(f"{where}{_located(str(error), data, where)}: give {wanted}") from error


def _located(reason: str, data: bytes, where: str) -> str:
    """A reason that names a byte, with the line instead where none is named before it."""
    found = _AT_BYTE.search(reason)
    if not found or where:
        return reason
    return f"line {data.count(10, 0, int(found[1])) + 1}: {reason}"


class _Building:
    """A graph as it is read.

    Args:
        vertices: what a vertex's number is called, ``{}`` in it; of an edge that stands beside it, too.
        edges: what an edge's is that stands by itself.
    """

    def __init__(self, vertices: str, edges: str = "") -> None:
        self._of_vertices, self._of_edges = vertices, edges
        self._vertices: dict[str, Vertex] = {}
        self._edges: dict[str, _Edge] = {}
        self._places: list[tuple[str, int]] = []
        self._seen: set[tuple[str, str]] = set()

    def add_vertex(self, number: int, told: _Vertex) -> None:
        """One, with the edges beside it."""
        with _at(self._of_vertices, number):
            vertex = _vertex(told)
            if str(vertex.id) in self._vertices:
                raise GraphFileError(f"the vertex {shown(vertex.id)} stands there twice: each must have an ID of its own")
            self._vertices[str(vertex.id)] = vertex
            place = (self._of_vertices, number)
            for label, several in told.edges_out.items():
                for one in several:
                    self._join("out", place, _Edge(one.id, told.id, one.into, label, one.properties))
            for label, several in told.edges_in.items():
                for one in several:
                    self._join("in", place, _Edge(one.id, one.out, told.id, label, one.properties))

    def add_edge(self, number: int, told: _Edge) -> None:
        """One that stands by itself."""
        with _at(self._of_edges, number):
            self._join("alone", (self._of_edges, number), told)

    def _join(self, side: str, place: tuple[str, int], told: _Edge) -> None:
        """An edge stands once beside each of its ends, there alike, or beside one of them."""
        id_ = str(_id_of(told.id))
        known = self._edges.setdefault(id_, told)
        if known is told:
            self._places.append(place)
        if (side, id_) in self._seen or known != told:
            raise GraphFileError(f"the edge {shown(id_)} stands there twice, or not alike at both its ends")
        self._seen.add((side, id_))

    def graph(self) -> MemoryGraph:
        """All of it."""
        edges = []
        for place, told in zip(self._places, self._edges.values(), strict=True):
            with _at(*place):
                edges.append(self._edge(told))
        return MemoryGraph(self._vertices.values(), edges)

    def _edge(self, told: _Edge) -> Edge:
        properties = {key: value(one) for key, one in told.properties.items()}
        return Edge(_id_of(told.id), told.label, self._end(told, told.out), self._end(told, told.into), properties)

    def _end(self, told: _Edge, end: Json) -> Vertex:
        found = self._vertices.get(str(_id_of(end)))
        if found is None:
            raise GraphFileError(f"the edge {shown(_id_of(told.id))} has an end that is not there: {shown(_id_of(end))}")
        return found


class _at:  # noqa: N801 - a context manager; contextlib's costs more than all that is done within
    """Names the place in errors that come from within."""

    __slots__ = ("_name", "_number")

    def __init__(self, name: str, number: int) -> None:
        self._name, self._number = name, number

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, GraphFileError):
            raise GraphFileError(f"{self._name.format(self._number)}: {error}") from error


def _vertex(told: _Vertex) -> Vertex:
    vertex = Vertex(_id_of(told.id), told.label)
    vertex.properties = {
        key: [_property(vertex, key, at, one) for at, one in enumerate(several)]
        for key, several in told.properties.items()
        if several
    }
    return vertex


def _property(vertex: Vertex, key: str, at: int, told: _VertexProperty) -> VertexProperty:
    id_ = f"{vertex.id}/{key}/{at}" if told.id is None else _id_of(told.id)
    of_its_own = {name: value(one) for name, one in told.properties.items()}
    return VertexProperty(id_, key, value(told.value), of_its_own, vertex)


def _id_of(told: Json) -> Value:
    """An ID. Raises GraphFileError: it is none that can be asked for."""
    found = told if type(told) is str else value(told)
    if found == "" or type(found) in _NO_IDS or (isinstance(found, float) and not math.isfinite(found)):
        raise GraphFileError(f"{shown(told)} is no ID: an ID must be text, a number or a UUID")
    return found


def value(told: Json, depth: int = 0) -> Value:
    """A value with its type; JSON without types is what it is. Raises GraphFileError."""
    kind = type(told)
    if kind is str or kind in _PLAIN:
        return told
    if kind is list:
        return _items(told, depth)
    name = told.get("@type")
    if not isinstance(name, str) or "@value" not in told:
        return Map(zip(told, _items(list(told.values()), depth), strict=True))
    read = _TYPES.get(name)
    if read is None:
        raise GraphFileError(f"values of the type {shown(name)} are not known: use {', '.join(sorted(_TYPES))}")
    try:
        return read(told, depth)
    except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError) as error:
        raise GraphFileError(f"{shown(told['@value'])} is no {name}") from error


def _whole(told: Json, made: Callable[[int], int], bits: int | None = None) -> int:
    number = told["@value"]
    if type(number) is not int or not (bits is None or fits(number, bits)):
        raise ValueError
    return made(number)


def _number(told: Json) -> Value:
    if isinstance(told["@value"], bool):
        raise TypeError
    return value_of(told)


def _text(told: Json, _depth: int) -> str:
    if not isinstance(told["@value"], str | int | float):
        raise TypeError
    return str(told["@value"])


def _list(told: Json, depth: int) -> list[Value]:
    if not isinstance(told["@value"], list):
        raise TypeError
    return _items(told["@value"], depth)


def _items(told: list[Json], depth: int) -> list[Value]:
    """What is in a list or a map that is within so many others."""
    if depth >= DEEPEST:
        raise GraphFileError(f"a value is nested more than {DEEPEST} deep")
    return [value(one, depth + 1) for one in told]


def _map(told: Json, depth: int) -> Map:
    items = _list(told, depth)
    return Map(zip(items[::2], items[1::2], strict=True))


_PLAIN = frozenset({type(None), bool, int, float})
_NO_IDS = frozenset({type(None), bool, list, Map, OrderedSet})
_AS_TEXT = (
    "Char", "Duration", "InetAddress", "Instant", "LocalDate", "LocalDateTime", "LocalTime", "MonthDay", "OffsetDateTime",
    "OffsetTime", "Period", "Year", "YearMonth", "ZoneOffset", "ZonedDateTime",
)  # fmt: skip
_TYPES: dict[str, Callable[[Json, int], Value]] = {
    "g:Int32": lambda told, _: _whole(told, int, INT_BITS),
    "g:Int64": lambda told, _: _whole(told, Long, LONG_BITS),
    "gx:Int16": lambda told, _: _whole(told, Short, BITS[Short]),
    "gx:Byte": lambda told, _: _whole(told, Byte, BITS[Byte]),
    "gx:BigInteger": lambda told, _: _whole(told, BigInteger),
    **dict.fromkeys(("gx:BigDecimal", "g:Double", "g:Float"), lambda told, _: _number(told)),
    **dict.fromkeys(("g:Date", "g:UUID"), lambda told, _: value_of(told)),
    "g:Timestamp": lambda told, _: value_of({"@type": "g:Date", "@value": told["@value"]}),
    **dict.fromkeys((f"gx:{name}" for name in _AS_TEXT), _text),
    "g:List": _list,
    "g:Set": lambda told, depth: OrderedSet(_list(told, depth)),
    "g:Map": _map,
    "janusgraph:RelationIdentifier": lambda told, _: str(told["@value"]["relationId"]),
}
"""By the type's name. What has no form in a traversal (times without a date, addresses …) is its text."""
