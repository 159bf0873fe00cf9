"""GraphML → the graph. Pure.

Read as TinkerPop's GraphMLReader does: the data of the keys ``labelV`` and ``labelE`` are the labels, other data properties,
named by ``attr.name`` and typed by ``attr.type``; an unknown type is text. Beyond that, for what yEd, NetworkX and Gephi write:

- ``<default>`` of a key holds for each node or edge that has no data of it;
- the text of a node's or an edge's label in yEd's graphics is the property ``label``;
- an edge without an ID, or all if two have the same (NetworkX numbers parallel edges for each two nodes), get one of their own;
- an undirected edge is there once, from source to target.

A port, and where an edge's is, is not kept: an edge is of its nodes. Hyperedges and graphs within nodes are refused, for what
they say would be lost. So is a document type: it may define entities, which may be as large as they like.

Sources: the GraphML primer and schema 1.1; TinkerPop 3.7.3's GraphMLReader and GraphMLWriter.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn
from xml.parsers import expat

from gremlin_api.graphs.files.errors import GraphFileError, shown
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.numbers import INT_BITS, LONG_BITS, Float, Long, fits
from gremlin_api.values import Edge, Value, Vertex, VertexProperty

LABEL = {"node": "labelV", "edge": "labelE"}
"""IDs of the keys whose data is the label."""
_DEFAULT_LABEL = {"node": "vertex", "edge": "edge"}

_CHUNK = 1 << 20  # bytes that the parser gets at once
_LONGEST_TAG = 4 << 20  # bytes of one tag or comment: the parser begins each anew with each chunk
_DEEPEST = 100  # elements in each other
_ENCODINGS = frozenset({"utf-8", "utf-16", "iso-8859-1", "us-ascii"})  # those the parser has itself
_GRAPHICS = {"NodeLabel", "EdgeLabel"}  # yEd's

_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NOT_FINITE = {"NaN": math.nan, "INF": math.inf, "-INF": -math.inf, "Infinity": math.inf, "-Infinity": -math.inf}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _whole(text: str, bits: int) -> int:
    if not _WHOLE.fullmatch(text) or not fits(number := int(text), bits):
        raise ValueError
    return number


def _real(text: str) -> float:
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if not _REAL.fullmatch(text):
        raise ValueError
    return float(text)


_TYPES: dict[str, Callable[[str], Value]] = {
    "int": lambda text: _whole(text.strip(), INT_BITS),
    "long": lambda text: Long(_whole(text.strip(), LONG_BITS)),
    "float": lambda text: Float(_real(text.strip())),
    "double": lambda text: _real(text.strip()),
    "boolean": lambda text: _TRUTH[text.strip().lower()],
}


@dataclass(slots=True)
class _Key:
    """What a key's data are. ``name`` None: graphics of an editor."""

    id: str
    domain: str
    name: str | None
    kind: str
    default: Value = None


@dataclass(slots=True)
class _Element:
    """A node or an edge as it is read."""

    kind: str
    attributes: dict[str, str]
    line: int
    label: str | None = None
    properties: dict[str, Value] = field(default_factory=dict)


def read(data: bytes) -> MemoryGraph:
    """The graph of a file. Raises GraphFileError, which names the line."""
    reader = _Reader()
    reader.feed(data)
    return reader.graph()


class _Reader:
    """Follows the file's elements. What begins within what, and what is then done, is in :data:`_BEGINNINGS`."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._document_type
        self._within: list[str] = [""]
        self._passed_over = 0  # elements in each other that are not looked at
        self._keys: dict[str, _Key] = {}
        self._key: _Key | None = None
        self._element: _Element | None = None
        self._nodes: dict[str, Vertex] = {}
        self._edges: list[_Element] = []
        self._graphs = 0
        self._text: list[str] | None = None
        self._graphics_label: str | None = None

    def feed(self, data: bytes) -> None:
        """The whole file."""
        whole = memoryview(data)
        try:
            for at in range(0, len(data), _CHUNK):
                self._parser.Parse(whole[at : at + _CHUNK], False)
                if at + _CHUNK - max(self._parser.CurrentByteIndex, 0) > _LONGEST_TAG:
                    self._refuse(f"a tag or a comment of more than {_LONGEST_TAG >> 20} MiB")
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise GraphFileError(f"line {error.lineno}: {expat.ErrorString(error.code)}: give well-formed GraphML") from error

    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _refuse(self, reason: str) -> NoReturn:
        raise GraphFileError(f"line {self._line()}: {reason}")

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:  # noqa: ARG002
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self._refuse(f"the encoding {shown(encoding)} is not known: save it as UTF-8")

    def _document_type(self, name: str, system: str | None, public: str | None, has_internal: int) -> NoReturn:  # noqa: ARG002
        self._refuse("a document type (<!DOCTYPE …>) is refused, for it may define entities: take it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if self._passed_over:
            self._passed_over += 1
            if self._passed_over > _DEEPEST:
                self._refuse(f"elements are nested more than {_DEEPEST} deep")
            if self._is_graphics_label(local) and self._graphics_label is None:
                self._text = []
            return
        begin = self._BEGINNINGS.get((self._within[-1], local))
        if begin is None:
            if self._within[-1] == "":
                self._refuse(f"<{shown(local)[1:-1]}> is no GraphML: export the graph as GraphML, which begins with <graphml>")
            self._passed_over = 1
            return
        self._within.append(local)
        begin(self, attributes)

    def _end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if self._passed_over:
            self._passed_over -= 1
            if self._is_graphics_label(local) and self._text is not None:
                self._graphics_label, self._text = "".join(self._text), None
            return
        self._within.pop()
        end = self._ENDS.get(local)
        if end is not None:
            end(self)

    def _is_graphics_label(self, local: str) -> bool:
        return local in _GRAPHICS and self._key is not None and self._key.name is None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _begin_nothing(self, attributes: dict[str, str]) -> None:
        pass

    def _begin_graph(self, attributes: dict[str, str]) -> None:  # noqa: ARG002
        self._graphs += 1
        if self._graphs > 1:
            self._refuse("a second graph: give a file of one")

    def _begin_inner_graph(self, attributes: dict[str, str]) -> None:  # noqa: ARG002
        self._refuse("a graph within a node or an edge: ungroup it, for here a graph has no graphs in it")

    def _begin_hyperedge(self, attributes: dict[str, str]) -> None:  # noqa: ARG002
        self._refuse("a hyperedge: make edges of it, for here an edge has two ends")

    def _begin_key(self, attributes: dict[str, str]) -> None:
        id_ = self._required(attributes, "key", "id")
        if id_ in self._keys:
            self._refuse(f"the key {shown(id_)} is declared twice")
        name = attributes.get("attr.name") or (None if "yfiles.type" in attributes else id_)
        self._key = _Key(id_, attributes.get("for", "all"), name, attributes.get("attr.type", "string"))
        self._keys[id_] = self._key

    def _end_key(self) -> None:
        self._key = None

    def _begin_default(self, attributes: dict[str, str]) -> None:  # noqa: ARG002
        self._text = []

    def _end_default(self) -> None:
        assert self._key
        if self._key.name is not None:
            self._key.default = self._value(self._key)
        self._text = None

    def _begin_element(self, attributes: dict[str, str]) -> None:
        self._element = _Element(self._within[-1], attributes, self._line())

    def _begin_data(self, attributes: dict[str, str]) -> None:
        id_ = self._required(attributes, "data", "key")
        key = self._keys.get(id_)
        if key is None:
            self._refuse(f"data of the key {shown(id_)}, which is declared nowhere before")
        self._key, self._graphics_label = key, None
        self._text = None if key.name is None else []

    def _end_data(self) -> None:
        key, element = self._key, self._element
        assert key
        assert element
        if key.name is None:
            if self._graphics_label is not None:
                element.properties.setdefault("label", self._graphics_label.strip())
        elif key.id == LABEL[element.kind]:
            element.label = "".join(self._text or ())
        elif key.name in element.properties:
            self._refuse(f"{shown(key.name)} stands there twice in one {element.kind}")
        else:
            element.properties[key.name] = self._value(key)
        self._key = self._text = None

    def _value(self, key: _Key) -> Value:
        text = "".join(self._text or ())
        read = _TYPES.get(key.kind)
        try:
            return read(text) if read else text
        except (ValueError, KeyError):
            self._refuse(f"{shown(text)} is no {key.kind}, which {shown(key.name)} is")

    def _end_element(self) -> None:
        element = self._element
        assert element
        self._element = None
        for key in self._keys.values():
            if key.default is None or key.domain not in ("all", element.kind) or key.name is None:
                continue
            if key.id != LABEL[element.kind]:
                element.properties.setdefault(key.name, key.default)
            elif element.label is None:
                element.label = str(key.default)
        if element.kind == "edge":
            self._edges.append(element)
        else:
            self._add_node(element)

    def _add_node(self, element: _Element) -> None:
        id_ = self._required(element.attributes, "node", "id")
        if id_ in self._nodes:
            self._refuse(f"the node {shown(id_)} stands there twice: each must have an ID of its own")
        vertex = Vertex(id_, element.label or _DEFAULT_LABEL["node"])
        vertex.properties = {
            key: [VertexProperty(f"{id_}/{key}", key, one, {}, vertex)] for key, one in element.properties.items()
        }
        self._nodes[id_] = vertex

    def _required(self, attributes: dict[str, str], element: str, name: str) -> str:
        if not attributes.get(name):
            self._refuse(f"a {element} without {name}")
        return attributes[name]

    def graph(self) -> MemoryGraph:
        """All of it, once it is read."""
        if not self._graphs:
            raise GraphFileError("there is no <graph> in it: give GraphML with one")
        edges = [
            Edge(id_, one.label or _DEFAULT_LABEL["edge"], self._node(one, "source"), self._node(one, "target"), one.properties)
            for id_, one in zip(self._edge_ids(), self._edges, strict=True)
        ]
        return MemoryGraph(self._nodes.values(), edges)

    def _edge_ids(self) -> Iterator[str]:
        given = [one.attributes.get("id") for one in self._edges]
        taken = {one for one in given if one is not None}
        if len(taken) < sum(one is not None for one in given):
            given, taken = [None] * len(given), set()
        free = (id_ for number in itertools.count() if (id_ := f"e{number}") not in taken)
        return (next(free) if one is None else one for one in given)

    def _node(self, edge: _Element, end: str) -> Vertex:
        id_ = edge.attributes.get(end)
        found = None if id_ is None else self._nodes.get(id_)
        if found is None:
            reason = f"without {end}" if id_ is None else f"whose {end} is not there: {shown(id_)}"
            raise GraphFileError(f"line {edge.line}: an edge {reason}")
        return found

    _BEGINNINGS: ClassVar[dict[tuple[str, str], Callable[[_Reader, dict[str, str]], None]]] = {
        ("", "graphml"): _begin_nothing,
        ("graphml", "key"): _begin_key,
        ("key", "default"): _begin_default,
        ("graphml", "graph"): _begin_graph,
        ("graph", "node"): _begin_element,
        ("graph", "edge"): _begin_element,
        ("graph", "hyperedge"): _begin_hyperedge,
        ("node", "data"): _begin_data,
        ("edge", "data"): _begin_data,
        ("node", "graph"): _begin_inner_graph,
        ("edge", "graph"): _begin_inner_graph,
    }
    """By the element that is open and the one that begins in it; what else there is is passed over."""

    _ENDS: ClassVar[dict[str, Callable[[_Reader], None]]] = {
        "key": _end_key,
        "default": _end_default,
        "node": _end_element,
        "edge": _end_element,
        "data": _end_data,
    }
