"""Answers of queries as people and programs read them: a table, JSON, typed GraphSON, a graph for Graphviz."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from gremlin_api.values import Edge, Explanation, Graph, Metrics, Path, Presence, TraversalMetrics, Value, Vertex
from gremlin_api.wire.messages import typed3
from gremlin_api.wire.untyped import untyped
from skytrail.errors import UsageError
from topology.graphviz import as_dot, printable

_FIRST = ("Name", "name", "State", "MAC", "IPV4")
"""Keys of an element that a table shows, where it has them."""
_COUNTS = {"traversers": "traverserCount", "elements": "elementCount"}
"""What a table shows of what profile() counted, and its name there."""
_MOST_KEYS = 4
_WIDEST = 60  # characters of a cell
_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Values:
    """The answers to a query of TinkerPop's dialect."""

    values: list[Value]


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a query of Skydive's dialect, as JSON."""

    told: Any


Result: TypeAlias = "Values | Told"


def rendered(result: Result, output: str) -> str:
    """An answer, with a newline at its end. Raises UsageError: it has no such form."""
    return _OUTPUTS[output](result)


def in_json(result: Result) -> str:
    """An answer in a line of JSON; of TinkerPop's dialect as GraphSON without types has it."""
    return _encoder.encode(_plain(result)).decode()


def _plain(result: Result) -> Any:  # noqa: ANN401 - JSON
    return result.told if isinstance(result, Told) else [_untyped(one) for one in result.values]


def _untyped(value: Value) -> Any:  # noqa: ANN401 - JSON
    return typed3(value) if isinstance(value, Presence) else untyped(value)


def _typed(result: Result) -> str:
    if isinstance(result, Told):
        raise UsageError("GraphSON has types of TinkerPop's dialect: take --output json, or ask in g.V()…")
    return f"{_encoder.encode(typed3(result.values)).decode()}\n"


# Tables


def _table(result: Result) -> str:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = list(_rows(result))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in keys:
        table.add_column(Text(key))
    for row in rows:
        table.add_row(*(Text(_cell(row[key])) if key in row else Text("") for key in keys))
    written = io.StringIO()
    console = Console()
    Console(file=written, width=max(console.width, 40), force_terminal=console.is_terminal).print(table)
    count = len(result.values) if isinstance(result, Values) else len(rows)
    return (written.getvalue() if keys else "") + f"{count} answer{'' if count == 1 else 's'}\n"


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    if isinstance(result, Values):
        for value in result.values:
            yield from _rows_of_value(value)
        return
    told = result.told if isinstance(result.told, list) else [result.told]
    for item in told:
        yield from map(_row, item if isinstance(item, list) else [item] if item is not None else ())


def _rows_of_value(value: Value) -> Iterator[dict[str, Any]]:
    """One row; of explain() and profile() one for each step."""
    if isinstance(value, Explanation):
        stages = [("as written", value.original), *((one.strategy, one.steps) for one in value.stages), ("as run", value.final)]
        for name, steps in stages:
            yield from ({"stage": name if at == 0 else "", "step": step} for at, step in enumerate(steps))
    elif isinstance(value, TraversalMetrics):
        yield from _rows_of_metrics(value.metrics)
        yield {"step": "all", **_spent(value.duration)}
    else:
        yield _row_of_value(value)


def _rows_of_metrics(several: Iterable[Metrics], before: str = "") -> Iterator[dict[str, Any]]:
    """Steps of inner traversals stand below theirs, indented."""
    for one in several:
        counts = {name: one.counts.get(key, 0) for name, key in _COUNTS.items()}
        yield {"step": f"{before}{one.name}", **counts, **_spent(one.duration)}
        yield from _rows_of_metrics(one.nested, f"{before}  ")


def _spent(nanoseconds: int) -> dict[str, str]:
    return {"time": f"{nanoseconds / 1e6:.3f} ms"}


def _row_of_value(value: Value) -> dict[str, Any]:
    if isinstance(value, Vertex):
        properties = {key: [untyped(one.value) for one in several] for key, several in (value.properties or {}).items()}
        return {"id": untyped(value.id), "label": value.label, **_chosen(properties)}
    if isinstance(value, Edge):
        ends = {"outV": untyped(value.out.id), "inV": untyped(value.into.id)}
        properties = {key: untyped(one) for key, one in (value.properties or {}).items()}
        return {"id": untyped(value.id), "label": value.label, **ends, **_chosen(properties)}
    return _row(_untyped(value))


def _row(told: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(told, Mapping):
        return {"value": told}
    metadata = told.get("Metadata")
    if not isinstance(metadata, Mapping) or "ID" not in told:
        return dict(told)
    kind = metadata.get("Type", metadata.get("RelationType", ""))
    ends = {key: told[key] for key in ("Parent", "Child") if key in told}
    return {"ID": told["ID"], "type": kind, **ends, **_chosen(metadata)}


def _chosen(metadata: Mapping[str, Any]) -> dict[str, Any]:
    first = [key for key in _FIRST if key in metadata]
    others = [key for key in metadata if key not in (*first, "Type", "RelationType") and not key.startswith("@")]
    return {key: metadata[key] for key in (first or others)[:_MOST_KEYS]}


def _cell(value: Any) -> str:  # noqa: ANN401 - JSON
    while isinstance(value, list) and len(value) == 1:
        (value,) = value
    text = value if isinstance(value, str) else _encoder.encode(value).decode()
    shown = printable(text)
    return shown if len(shown) <= _WIDEST else f"{shown[:_WIDEST]}…"


# Graphs


def _dot(result: Result) -> str:
    nodes: dict[str, Any] = {}
    edges: dict[str, Any] = {}
    of = _of_told(result.told) if isinstance(result, Told) else _of_values(result.values)
    for one in of:
        if "Parent" in one:
            edges[one["ID"]] = one
            for end in (one["Parent"], one["Child"]):
                nodes.setdefault(end, {"ID": end, "Metadata": {"Name": end}})
        else:
            nodes[one["ID"]] = one
    if not nodes:
        raise UsageError("there is no node and no edge in the answer: ask for some, as g.E() or G.V()")
    return as_dot({"Nodes": list(nodes.values()), "Edges": list(edges.values())})


def _of_told(told: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
    if isinstance(told, list):
        for one in told:
            yield from _of_told(one)
    elif isinstance(told, Mapping):
        if _is_element(told):
            yield told
        elif {"Nodes", "Edges"} <= told.keys():  # a part of the graph, or values of such keys
            yield from _of_told(told["Nodes"])
            yield from _of_told(told["Edges"])


def _is_element(told: Mapping[str, Any]) -> bool:
    """Whether it is a node or an edge; values of keys of those names are none."""
    ends = [told[key] for key in ("Parent", "Child") if key in told]
    return (
        isinstance(told.get("Metadata"), Mapping)
        and len(ends) != 1
        and all(isinstance(one, str) for one in (told.get("ID"), *ends))
    )


def _of_values(values: Iterable[Value]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Vertex):
            yield _node(value)
        elif isinstance(value, Edge):
            ends = {"Parent": str(value.out.id), "Child": str(value.into.id)}
            yield _node(value.out)
            yield _node(value.into)
            yield {"ID": f"edge {value.id}", "Metadata": {"RelationType": value.label}, **ends}
        elif isinstance(value, Path):
            yield from _of_values(value.objects)
        elif isinstance(value, Graph):
            yield from _of_values([*value.vertices, *value.edges])
        elif isinstance(value, list):
            yield from _of_values(value)


def _node(vertex: Vertex) -> Any:  # noqa: ANN401 - JSON
    properties = vertex.properties or {}
    name = next((one.value for key in ("Name", "name") for one in properties.get(key, ())), vertex.id)
    return {"ID": str(vertex.id), "Metadata": {"Name": name, "Type": vertex.label}}


_OUTPUTS: dict[str, Callable[[Result], str]] = {
    "table": _table,
    "json": lambda result: f"{in_json(result)}\n",
    "graphson": _typed,
    "dot": _dot,
}
