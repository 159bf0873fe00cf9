"""Skydive's JSON, ``{"Nodes": […], "Edges": […]}``, as our REST and Skydive's give it; ``G`` answers a list of one. Pure."""

from __future__ import annotations

import msgspec

from topology.snapshot.elements import Element, SnapshotError, checked


class _Graph(msgspec.Struct):
    Nodes: list[Element] | None
    Edges: list[Element] | None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Graph | list[_Graph])


def write(elements: list[Element]) -> bytes:
    """The file, one element a line."""
    nodes = b",\n".join(_encoder.encode(element) for element in elements if not element.Parent)
    edges = b",\n".join(_encoder.encode(element) for element in elements if element.Parent)
    return b'{"Nodes":[\n' + nodes + b'\n],"Edges":[\n' + edges + b"\n]}\n"


def read(data: bytes) -> list[Element]:
    """What a file holds, nodes first. Raises SnapshotError."""
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{_reason(error)}: give the answer of GET /api/v1/graph, or to Skydive's query G") from error
    if isinstance(found, list):
        if len(found) != 1:
            raise SnapshotError(f"{len(found)} graphs in one list: give one")
        found = found[0]
    return checked([*(found.Nodes or ()), *(found.Edges or ())])


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
