"""A graph of TinkerPop's as nodes and edges of the topology, for Skydive's dialect. Pure.

A vertex's label is the node's ``Type``, its ``Name`` that property, or ``name``, ``label`` or the ID; an edge's label is its
``RelationType``. A property of several values is a list of them; what properties have of their own is left out, and values that
JSON does not have are texts. No times are known: all are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.values import Edge, Map, OrderedSet, Value, Vertex
from topology.elements import FOREVER, Part, Revision, State, edge_id

_PART = "file"
_NAMES = ("Name", "name", "label")


def revisions_of(graph: MemoryGraph) -> list[Revision]:
    """Nodes, then edges. An edge whose ID a node has too gets one that is made of its ends and its own."""
    nodes = {str(vertex.id): _node(vertex) for vertex in graph.vertices()}
    edges = (_edge(edge, nodes.keys()) for edge in graph.edges())
    states = [*nodes.items(), *edges]
    return [Revision(id_, 1, 0, 0, FOREVER, 0, sequence, state) for sequence, (id_, state) in enumerate(states, 1)]


def _node(vertex: Vertex) -> State:
    metadata: dict[str, Any] = {}
    for key, several in (vertex.properties or {}).items():
        values = [json_of(one.value) for one in several]
        metadata[key] = values[0] if len(values) == 1 else values
    name = next((metadata[key] for key in _NAMES if isinstance(metadata.get(key), str)), str(vertex.id))
    return _state({**metadata, "Name": name, "Type": _text(metadata, "Type", vertex.label)})


def _edge(edge: Edge, nodes: Container[str]) -> tuple[str, State]:
    metadata = {key: json_of(value) for key, value in (edge.properties or {}).items()}
    metadata["RelationType"] = _text(metadata, "RelationType", edge.label)
    id_, parent, child = str(edge.id), str(edge.out.id), str(edge.into.id)
    if id_ in nodes:
        id_ = edge_id(parent, child, edge.label, id_)
    return id_, _state(metadata, parent, child)


def _state(metadata: Mapping[str, Any], parent: str = "", child: str = "") -> State:
    return State("", "", {_PART: Part.of(metadata)}, "", parent, child)


def _text(metadata: Mapping[str, Any], key: str, label: str) -> str:
    """What a property says in place of the label, if it is text."""
    said = metadata.get(key)
    return said if isinstance(said, str) else label


def json_of(value: Value) -> Any:  # noqa: ANN401
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool):
        return value
    return next((made(value) for kind, made in _MADE if isinstance(value, kind)), str(value))


def _number(value: Value) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else java_text(value)


_MADE: tuple[tuple[type | tuple[type, ...], Callable[[Value], Any]], ...] = (
    (int, int),
    ((float, Decimal), _number),
    ((list, OrderedSet), lambda one: [json_of(item) for item in one]),
    (Map, lambda one: {str(json_of(key)): json_of(item) for key, item in one.items()}),
    (datetime, datetime.isoformat),
)
"""The first that fits; others are their texts."""
