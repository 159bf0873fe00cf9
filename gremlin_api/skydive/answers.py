"""Answers of Skydive's dialect as JSON, in the shapes that Skydive gives, and as text for Graphviz. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from gremlin_api.notes import Notes
from gremlin_api.skydive.conditions import Item
from gremlin_api.skydive.kinds import Kind
from gremlin_api.skydive.metrics import by_id, by_time
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.walks import Part
from gremlin_api.values import Value
from topology.graphviz import as_dot
from topology.shape import Json, json_of

Told: TypeAlias = "Callable[[Item], Any]"
"""An element as JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gives.

    Attributes:
        kind: what its values are.
        values: all of them.
        notes: what is to be said beside them.
    """

    kind: Kind
    values: list[Value]
    notes: Notes = field(default_factory=Notes)


def as_json(answer: Answer, keys: Collection[str] | None = None) -> bytes:
    """The body of the answer, with a newline at its end; of elements only these keys of Metadata, where some are named."""
    return msgspec.json.encode(plain(answer, _encoding(keys))) + b"\n"


def first_as_json(answer: Answer) -> bytes:
    """The same of the answer's first value alone."""
    return msgspec.json.encode(plain(answer, _encoding(None))[0]) + b"\n"


def as_graphviz(answer: Answer) -> bytes | None:
    """The same for Graphviz; None: it is no graph."""
    if answer.kind is not Kind.PART:
        return None
    return "".join(as_dot(_part(one, _element)) for one in answer.values).encode()


def plain(answer: Answer, told: Told | None = None) -> Any:  # noqa: ANN401 - JSON
    """The answer as values of JSON, elements as they are told."""
    return _SHAPES[answer.kind](answer.values, told or _element)


def _encoding(keys: Collection[str] | None) -> Told:
    """Elements as JSON, one after the other: all at once, decoded, they would have the garbage collector look at each."""

    def told(item: Item) -> msgspec.Raw:
        metadata = item.metadata_once()
        if keys is not None:
            metadata = {key: metadata[key] for key in keys if key in metadata}
        return msgspec.Raw(msgspec.json.encode(json_of(item.revision, metadata)))

    return told


def _element(item: Item) -> Json:
    return json_of(item.revision, item.metadata)


def _elements(items: Iterable[Item], told: Told) -> list[Any]:
    return [told(one) for one in items]


def _part(part: Part, told: Told) -> dict[str, list[Any]]:
    return {"Nodes": _elements(part.nodes, told), "Edges": _elements(part.edges, told)}


def _flows(flows: Iterable[Seen]) -> list[Json]:
    return [one.flow for one in flows]


def _in_list(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [found] if found else []


def _number(value: float) -> float:
    """A number as JSON is written here: beyond 64 bits it is rounded."""
    return int(value) if isinstance(value, int) and -_INT64 <= value < _INT64 else float(value)


_INT64 = 1 << 63

_SHAPES: dict[Kind, Callable[[list[Value], Told], Any]] = {
    Kind.NODES: _elements,
    Kind.EDGES: _elements,
    Kind.VALUES: lambda values, _: values or None,
    Kind.NUMBER: lambda values, _: _number(values[0]),
    Kind.PATHS: lambda paths, told: [_elements(path, told) for path in paths],
    Kind.PART: lambda parts, told: [_part(one, told) for one in parts],
    Kind.METRICS: lambda pairs, _: _in_list({id_: by_time(found) for id_, found in by_id(pairs).items()}),
    Kind.TOTAL: lambda values, _: {key: _number(value) for key, value in values[0].items()},
    Kind.SOCKETS: lambda pairs, _: _in_list(by_id(pairs)),
    Kind.HOPS: lambda pairs, _: _in_list(dict(pairs)),
    Kind.FLOWS: lambda flows, _: _flows(flows),
    Kind.GROUPS: lambda pairs, _: _in_list({key: _flows(found) for key, found in by_id(pairs).items()}),
    Kind.PACKETS: lambda pairs, _: _in_list(by_id(pairs)),
}
