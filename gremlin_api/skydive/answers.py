"""Answers of Skydive's dialect as JSON, in the shapes that Skydive gives, and as text for Graphviz. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

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
    told = plain(answer)
    return msgspec.json.encode(told if keys is None else _only(keys, told)) + b"\n"


def as_graphviz(answer: Answer) -> bytes | None:
    """The same for Graphviz; None: it is no graph."""
    if answer.kind is not Kind.PART:
        return None
    return "".join(as_dot(_part(one)) for one in answer.values).encode()


def plain(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    """The answer as values of JSON."""
    return _SHAPES[answer.kind](answer.values)


def _only(keys: Collection[str], value: Any) -> Any:  # noqa: ANN401 - JSON
    """An answer whose elements have no other keys of Metadata."""
    if isinstance(value, list):
        return [_only(keys, one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Nodes" in value:
        return {name: _only(keys, value[name]) for name in value}
    metadata = value.get("Metadata")
    if metadata is None:
        return value
    return {**value, "Metadata": {key: metadata[key] for key in keys if key in metadata}}


def _element(item: Item) -> Json:
    return json_of(item.revision, item.metadata)


def _elements(items: Iterable[Item]) -> list[Json]:
    return [_element(one) for one in items]


def _part(part: Part) -> Json:
    return {"Nodes": _elements(part.nodes), "Edges": _elements(part.edges)}


def _flows(flows: Iterable[Seen]) -> list[Json]:
    return [one.flow for one in flows]


def _in_list(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [found] if found else []


def _number(value: float) -> float:
    """A number as JSON is written here: beyond 64 bits it is rounded."""
    return int(value) if isinstance(value, int) and -_INT64 <= value < _INT64 else float(value)


_INT64 = 1 << 63

_SHAPES: dict[Kind, Callable[[list[Value]], Any]] = {
    Kind.NODES: _elements,
    Kind.EDGES: _elements,
    Kind.VALUES: lambda values: values or None,
    Kind.NUMBER: lambda values: _number(values[0]),
    Kind.PATHS: lambda paths: [_elements(path) for path in paths],
    Kind.PART: lambda parts: [_part(one) for one in parts],
    Kind.METRICS: lambda pairs: _in_list({id_: by_time(found) for id_, found in by_id(pairs).items()}),
    Kind.TOTAL: lambda values: {key: _number(value) for key, value in values[0].items()},
    Kind.SOCKETS: lambda pairs: _in_list(by_id(pairs)),
    Kind.HOPS: lambda pairs: _in_list(dict(pairs)),
    Kind.FLOWS: _flows,
    Kind.GROUPS: lambda pairs: _in_list({key: _flows(found) for key, found in by_id(pairs).items()}),
    Kind.PACKETS: lambda pairs: _in_list(by_id(pairs)),
}
