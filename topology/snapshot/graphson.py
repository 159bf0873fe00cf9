"""GraphSON 3 as TinkerPop's ``io`` step reads and writes it: a line for each vertex, its edges beside it, typed values. Pure.

Source: TinkerPop's IO documentation, "GraphSON 3.0"; the adjacency form of ``GraphSONWriter.writeVertex`` with both directions.

A vertex's label is the node's ``Type``, an edge's its ``RelationType``. An element's own fields (``Host``, ``CreatedAt`` …) and
the keys of its metadata are properties side by side; a key of the metadata that is called as a field is, or begins with
``Metadata.``, has ``Metadata.`` before it.

Two things are kept by us and not by every reader: an integer beyond 64 bits (``gx:BigInteger``) is text to a reader without
``GraphSONXModuleV3``, and a property that is null is left out by a TinkerGraph that was not told to allow null values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from topology.snapshot.elements import DEEPEST, Element, SnapshotError, checked

Json = dict[str, Any]

_FIELDS = ("Host", "Origin", "CreatedAt", "UpdatedAt", "DeletedAt", "ArchivedAt", "Revision")
_IDENTITY = frozenset({"ID", "Parent", "Child"})
_PREFIX = "Metadata."
_INT64 = 1 << 63

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def write(elements: Iterable[Element]) -> Iterator[bytes]:
    """The file's lines."""
    nodes: list[Element] = []
    out: dict[str, list[Element]] = {}
    into: dict[str, list[Element]] = {}
    for element in elements:
        if element.Parent:
            out.setdefault(element.Parent, []).append(element)
            into.setdefault(element.Child, []).append(element)
        else:
            nodes.append(element)
    for node in nodes:
        vertex: Json = {"id": node.ID, "label": node.Metadata["Type"]}
        for side, edges, other in (("inE", into, "outV"), ("outE", out, "inV")):
            if node.ID in edges:
                vertex[side] = _edges(edges[node.ID], other)
        vertex["properties"] = {
            key: [{"id": f"{node.ID}/{key}", "value": _typed(value)}] for key, value in _properties(node).items()
        }
        yield _encoder.encode(vertex) + b"\n"


def read(data: bytes) -> list[Element]:
    """What a file holds, nodes first.

    An edge stands beside the vertex that it goes out of, beside the one it comes into, or, alike, beside both. A property with
    several values is a list of them.

    Raises:
        SnapshotError: names the line.
    """
    nodes: list[Element] = []
    edges: dict[str, Element] = {}
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            vertex = _decoder.decode(line)
            nodes.append(_node(vertex))
            for side, edge in _edges_of(vertex):
                _join(edges, seen, side, edge)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, SnapshotError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise SnapshotError(f"line {number}: {reason}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"line {number} is no vertex of GraphSON 3: {type(error).__name__}: {error}"
            raise SnapshotError(f"{reason}: give what TinkerPop's io step writes, a vertex a line") from error
    return checked([*nodes, *edges.values()])


def _edges(edges: list[Element], other: str) -> dict[str, list[Json]]:
    """Edges by their labels; ``other``: the name of the end that is not the vertex beside which they stand."""
    by_label: dict[str, list[Json]] = {}
    for edge in edges:
        properties = {key: _typed(value) for key, value in _properties(edge).items()}
        end = edge.Child if other == "inV" else edge.Parent
        by_label.setdefault(edge.Metadata["RelationType"], []).append({"id": edge.ID, other: end, "properties": properties})
    return by_label


def _properties(element: Element) -> Json:
    fields = {name: value for name in _FIELDS if (value := getattr(element, name)) is not None}
    return fields | {_escaped(key): value for key, value in element.Metadata.items()}


def _escaped(key: str) -> str:
    return _PREFIX + key if key in _FIELDS or key in _IDENTITY or key.startswith(_PREFIX) else key


def _node(vertex: Json) -> Element:
    properties = {}
    for key, values in vertex.get("properties", {}).items():
        found = [_plain(one["value"]) for one in values]
        properties[key] = found[0] if len(found) == 1 else found
    return _element(_text(vertex["id"]), "Type", vertex["label"], properties)


def _edges_of(vertex: Json) -> Iterator[tuple[str, Element]]:
    """The edges beside a vertex, with the side on which they stand."""
    own = _text(vertex["id"])
    for side, other in (("outE", "inV"), ("inE", "outV")):
        for label, edges in vertex.get(side, {}).items():
            for edge in edges:
                properties = {key: _plain(value) for key, value in edge.get("properties", {}).items()}
                made = _element(_text(edge["id"]), "RelationType", label, properties)
                end = _text(edge[other])
                made.Parent, made.Child = (own, end) if other == "inV" else (end, own)
                yield side, made


def _join(edges: dict[str, Element], seen: set[tuple[str, str]], side: str, edge: Element) -> None:
    """Add an edge to those known. Raises SnapshotError: another of its ID is there that is not itself from its other end."""
    if (side, edge.ID) in seen or edges.setdefault(edge.ID, edge) != edge:
        raise SnapshotError(f"the edge {edge.ID[:60]!r} stands there twice, or not alike at both its ends")
    seen.add((side, edge.ID))


def _element(id_: str, label_key: str, label: str, properties: Json) -> Element:
    fields = {name: properties.pop(name) for name in _FIELDS if name in properties}
    metadata = {label_key: label} | {key.removeprefix(_PREFIX): value for key, value in properties.items()}
    if label_key == "Type" and "Name" not in metadata:  # of another program's graph
        metadata["Name"] = metadata.get("name", id_)
    return msgspec.convert({"ID": id_, "Metadata": metadata, **fields}, Element)


def _text(value: object) -> str:
    """An ID."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, str | int):
        raise SnapshotError("an ID must be text or an integer")
    return str(plain)


def _typed(value: object) -> object:
    """A value of JSON with GraphSON's types; text, booleans and null are themselves."""
    match value:
        case bool():
            return value
        case int():
            return {"@type": "g:Int64" if -_INT64 <= value < _INT64 else "gx:BigInteger", "@value": value}
        case float():
            return {"@type": "g:Double", "@value": value}
        case list():
            return {"@type": "g:List", "@value": [_typed(one) for one in value]}
        case dict():
            return {"@type": "g:Map", "@value": [part for key, one in value.items() for part in (key, _typed(one))]}
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SnapshotError(f"{value!r} is no integer")
    return value


def _double(value: object) -> float:
    number = float(str(value))  # NaN and Infinity come as text
    if not math.isfinite(number):
        raise SnapshotError(f"{value} is a number that JSON does not have")
    return number


def _map(value: list[Any], depth: int) -> Json:
    if len(value) % 2:
        raise SnapshotError("a g:Map has a key without a value")
    return {str(_plain(key, depth)): _plain(one, depth) for key, one in zip(value[::2], value[1::2], strict=True)}


_TYPES: dict[str, Callable[[Any, int], Any]] = {
    **dict.fromkeys(("g:Int32", "g:Int64", "gx:BigInteger", "gx:Int16", "gx:Byte"), lambda value, _: _integer(value)),
    **dict.fromkeys(("g:Double", "g:Float", "gx:BigDecimal"), lambda value, _: _double(value)),
    **dict.fromkeys(("g:Date", "g:Timestamp"), lambda value, _: _integer(value)),
    **dict.fromkeys(("g:UUID", "gx:Char", "gx:Instant", "gx:Duration", "gx:InetAddress"), lambda value, _: str(value)),
    **dict.fromkeys(("g:List", "g:Set"), lambda value, depth: [_plain(one, depth) for one in value]),
    "g:Map": _map,
}


def _plain(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - JSON
    """A typed value as JSON has it. Raises SnapshotError."""
    if depth > DEEPEST:
        raise SnapshotError(f"a value is nested more than {DEEPEST} deep")
    match value:
        case {"@type": kind, "@value": inner}:
            if kind not in _TYPES:
                raise SnapshotError(f"values of type {kind!r} are not known: use {', '.join(sorted(_TYPES))}")
            return _TYPES[kind](inner, depth + 1)
        case dict():
            return {key: _plain(one, depth + 1) for key, one in value.items()}
        case list():
            return [_plain(one, depth + 1) for one in value]
    return value
