"""GraphSON 3: values ↔ JSON, typed. Pure.

Source: TinkerPop's IO documentation, "GraphSON 3.0", and what a Gremlin Server 3.7.3 answers.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np

from gremlin_api.language.grammar import ENUMS
from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import BigInteger, Byte, Float, Int, Long, Short, integer_type
from gremlin_api.values import (
    BulkSet,
    Edge,
    Entry,
    Explanation,
    Graph,
    Map,
    Metrics,
    OrderedSet,
    Path,
    Presence,
    Property,
    Stage,
    TraversalMetrics,
    Tree,
    Value,
    Vertex,
    VertexProperty,
)

Json: TypeAlias = Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MILLISECOND_NANOSECONDS = 1_000_000
_INTEGERS: dict[type[int], str] = {
    Int: "g:Int32",
    Long: "g:Int64",
    BigInteger: "gx:BigInteger",
    Byte: "gx:Byte",
    Short: "gx:Int16",
}
_PRESENCE = {"empty", "present"}
"""What ``tryNext()`` tells: the one thing that says no type."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class GraphsonError(ValueError):
    """JSON that is no GraphSON 3."""


def typed(value: Value) -> Json:
    """A value as JSON that says its type; a BigDecimal's is a ``Decimal``, to be written as a number.

    Raises:
        TypeError: it has none.
    """
    if value is None or isinstance(value, str | bool):
        return value
    for kind, written in _WRITTEN:
        if isinstance(value, kind):
            return written(value)
    raise TypeError(f"{type(value).__name__} has no form in GraphSON")


def _as(name: str, value: Json) -> dict[str, Json]:
    return {"@type": name, "@value": value}


def _integer(value: int) -> Json:
    return _as(_INTEGERS[integer_type(value)], int(value))


def _float(value: float) -> Json:
    told: Json = float(str(np.float32(value))) if isinstance(value, Float) else float(value)  # the shortest text of 32 bits
    if not math.isfinite(value):
        told = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return _as("g:Float" if isinstance(value, Float) else "g:Double", told)


def _pairs(value: Map) -> list[Json]:
    return [typed(one) for pair in value.items() for one in pair]


def _vertex(value: Vertex) -> Json:
    told = {"id": typed(value.id), "label": value.label}
    if value.properties:
        told["properties"] = {key: [typed(one) for one in several] for key, several in value.properties.items()}
    return _as("g:Vertex", told)


def _vertex_property(value: VertexProperty) -> Json:
    told = {"id": typed(value.id), "value": typed(value.value), "label": value.label}
    if value.properties:
        told["properties"] = {key: typed(one) for key, one in value.properties.items()}
    return _as("g:VertexProperty", told)


def _edge(value: Edge) -> Json:
    told = {
        "id": typed(value.id),
        "label": value.label,
        "inVLabel": value.into.label,
        "outVLabel": value.out.label,
        "inV": typed(value.into.id),
        "outV": typed(value.out.id),
    }
    if value.properties:
        told["properties"] = {key: typed(Property(key, one)) for key, one in value.properties.items()}
    return _as("g:Edge", told)


def _tree(value: Tree) -> Json:
    return _as("g:Tree", [{"key": typed(key), "value": typed(below)} for key, below in value.items()])


def _graph(value: Graph) -> Json:
    return _as(
        "tinker:graph", {"vertices": [typed(one) for one in value.vertices], "edges": [typed(one) for one in value.edges]}
    )


def _path(value: Path) -> Json:
    labels = [_as("g:Set", sorted(several)) for several in value.labels]
    return _as("g:Path", {"labels": _as("g:List", labels), "objects": typed(value.objects)})


_WRITTEN: tuple[tuple[type | tuple[type, ...], Callable[[Json], Json]], ...] = (
    (int, _integer),
    (float, _float),
    (Decimal, lambda one: _as("gx:BigDecimal", one)),
    ((list, tuple), lambda one: _as("g:List", [typed(item) for item in one])),
    ((set, frozenset, OrderedSet), lambda one: _as("g:Set", [typed(item) for item in one])),
    (Tree, _tree),
    (Map, lambda one: _as("g:Map", _pairs(one))),
    (Presence, lambda one: {"empty": not one.present, "present": one.present}),
    (Entry, lambda one: _as("g:Map", [typed(one.key), typed(one.value)])),
    (Vertex, _vertex),
    (Edge, _edge),
    (VertexProperty, _vertex_property),
    (Property, lambda one: _as("g:Property", {"key": one.key, "value": typed(one.value)})),
    (Path, _path),
    (
        BulkSet,
        lambda one: _as("g:BulkSet", [typed(part) for thing, times in one.counts.items() for part in (thing, Long(times))]),
    ),
    (Graph, _graph),
    (EnumValue, lambda one: _as(f"g:{one.enum}", one.name)),
    (datetime, lambda one: _as("g:Date", (one - _EPOCH) // _MILLISECOND)),
    (uuid.UUID, lambda one: _as("g:UUID", str(one))),
)
"""The first that fits."""


def value_of(told: Json) -> Value:
    """What typed JSON says. Raises GraphsonError."""
    try:
        return _value_of(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphsonError(f"this is no GraphSON 3: {type(error).__name__}: {error}") from error


def _value_of(told: Json) -> Value:
    if told is None or isinstance(told, str | bool):
        return told
    if isinstance(told, list):
        return [_value_of(one) for one in told]
    if isinstance(told, int | float):
        return told
    if told.keys() == _PRESENCE:
        return Presence(told["present"])
    return _READ[told["@type"]](told.get("@value"))


def _read_float(told: float | str) -> float:
    return _NOT_FINITE[told] if isinstance(told, str) else float(told)


def _read_map(told: list[Json]) -> list[tuple[Json, Json]]:
    values = [_value_of(one) for one in told]
    return list(zip(values[::2], values[1::2], strict=True))


def _read_vertex(told: Mapping[str, Json]) -> Vertex:
    properties = told.get("properties")
    read = {key: [_value_of(one) for one in several] for key, several in properties.items()} if properties else None
    return Vertex(_value_of(told["id"]), told.get("label", "vertex"), read)


def _read_vertex_property(told: Mapping[str, Json]) -> VertexProperty:
    properties = told.get("properties")
    read = {key: _value_of(one) for key, one in properties.items()} if properties else None
    return VertexProperty(_value_of(told["id"]), told["label"], _value_of(told["value"]), read)


def _read_edge(told: Mapping[str, Json]) -> Edge:
    out = Vertex(_value_of(told["outV"]), told.get("outVLabel", "vertex"))
    into = Vertex(_value_of(told["inV"]), told.get("inVLabel", "vertex"))
    properties = told.get("properties")
    read = {key: _value_of(one).value for key, one in properties.items()} if properties else None
    return Edge(_value_of(told["id"]), told["label"], out, into, read)


def _read_path(told: Mapping[str, Json]) -> Path:
    labels = [frozenset(one) for one in _value_of(told["labels"])]
    return Path(_value_of(told["objects"]), labels)


def _read_bulk(told: list[Json]) -> BulkSet:
    return BulkSet(Map((thing, int(times)) for thing, times in _read_map(told)))


def _read_graph(told: Mapping[str, Json]) -> Graph:
    return Graph(_value_of(told["vertices"]), _value_of(told["edges"]))


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * _MILLISECOND_NANOSECONDS)


def _read_metrics(told: Json) -> Metrics:
    found = _value_of(told)
    counts = {key: int(count) for key, count in found.get("counts", Map()).items()}
    annotations, nested = dict(found.get("annotations", Map()).items()), found.get("metrics", [])
    return Metrics(found["id"], found["name"], _nanoseconds(found["dur"]), counts, annotations, tuple(nested))


def _read_traversal_metrics(told: Json) -> TraversalMetrics:
    found = _value_of(told)
    return TraversalMetrics(_nanoseconds(found["dur"]), tuple(found["metrics"]))


def _read_explanation(told: Json) -> Explanation:
    found = _value_of(told)
    stages = (Stage(one["strategy"], one["category"], tuple(one["traversal"])) for one in found["intermediate"])
    return Explanation(tuple(found["original"]), tuple(stages), tuple(found["final"]))


def _enum(name: str) -> Callable[[str], EnumValue]:
    return lambda told: EnumValue(name, told)


_READ: dict[str, Callable[[Json], Json]] = {
    "g:Int32": int,
    "g:Int64": Long,
    "gx:BigInteger": BigInteger,
    "gx:Byte": Byte,
    "gx:Int16": Short,
    "g:Double": _read_float,
    "g:Float": lambda told: Float(_read_float(told)),
    "gx:BigDecimal": lambda told: Decimal(str(told)),
    "g:List": lambda told: [_value_of(one) for one in told],
    "g:Set": lambda told: OrderedSet(map(_value_of, told)),
    "g:Map": lambda told: Map(_read_map(told)),
    "g:Vertex": _read_vertex,
    "g:Edge": _read_edge,
    "g:VertexProperty": _read_vertex_property,
    "g:Property": lambda told: Property(told["key"], _value_of(told["value"])),
    "g:Path": _read_path,
    "g:Tree": lambda told: Tree((_value_of(one["key"]), _value_of(one["value"])) for one in told),
    "g:BulkSet": _read_bulk,
    "tinker:graph": _read_graph,
    "g:Date": lambda told: _EPOCH + told * _MILLISECOND,
    "g:UUID": uuid.UUID,
    "g:Metrics": _read_metrics,
    "g:TraversalMetrics": _read_traversal_metrics,
    "g:TraversalExplanation": _read_explanation,
    **{f"g:{enum}": _enum(enum) for enum in ENUMS},
}
"""By its type's name."""
