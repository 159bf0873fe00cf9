"""A graph that is held in memory whole, as it was read from a file."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

from gremlin_api.errors import TraversalError
from gremlin_api.graphs.view import BOTH, OUT
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.values import Edge, Element, Value, Vertex, hashable
from topology.store.traversal import WalkStep

_MOST_DIGITS = 100

_ElementT = TypeVar("_ElementT", bound=Element)


class MemoryGraph:
    """Vertices and edges; the edges' ends are vertices of it.

    IDs are found by their text too, as TinkerGraph's ID managers do: ``V('1')`` and ``V(1L)`` find the vertex 1. Where all IDs
    are numbers those asked for must be, and are made whole.
    """

    walks = False

    def __init__(self, vertices: Iterable[Vertex], edges: Iterable[Edge]) -> None:
        self._vertices = list(vertices)
        self._edges = list(edges)
        self._vertex_by_id = _by_id(self._vertices)
        self._edge_by_id = _by_id(self._edges)
        self._whole_vertices, self._whole_edges = _all_whole(self._vertices), _all_whole(self._edges)
        self._out: dict[Hashable, dict[str, list[Edge]]] = {}
        self._in: dict[Hashable, dict[str, list[Edge]]] = {}
        for edge in self._edges:
            self._out.setdefault(hashable(edge.out.id), {}).setdefault(edge.label, []).append(edge)
            self._in.setdefault(hashable(edge.into.id), {}).setdefault(edge.label, []).append(edge)

    def vertices(self) -> Iterable[Vertex]:
        """All vertices."""
        return self._vertices

    def edges(self) -> Iterable[Edge]:
        """All edges."""
        return self._edges

    def vertex(self, id_: Value) -> Vertex | None:
        """The vertex of that ID, if there is one."""
        return self._vertex_by_id.get(_text(id_, whole=self._whole_vertices))

    def edge(self, id_: Value) -> Edge | None:
        """The edge of that ID, if there is one."""
        return self._edge_by_id.get(_text(id_, whole=self._whole_edges))

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[Edge]:
        """Edges of a vertex in a direction, with one of the labels."""
        if direction == BOTH:
            return itertools.chain(self._some(self._out, vertex, labels), self._some(self._in, vertex, labels))
        return self._some(self._out if direction == OUT else self._in, vertex, labels)

    def _some(
        self, ends: dict[Hashable, dict[str, list[Edge]]], vertex: Vertex, labels: Sequence[str | None]
    ) -> Iterable[Edge]:
        by_label = ends.get(hashable(vertex.id))
        if by_label is None:
            return ()
        return itertools.chain.from_iterable(by_label.get(label, ()) for label in labels or by_label if label is not None)

    def adjacent(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[Vertex]:
        """The vertices at the other ends of these edges."""
        if direction == BOTH:
            return itertools.chain(self.adjacent(vertex, "OUT", labels), self.adjacent(vertex, "IN", labels))
        if direction == OUT:
            return [edge.into for edge in self._some(self._out, vertex, labels)]
        return [edge.out for edge in self._some(self._in, vertex, labels)]

    def candidates(self, conditions: Sequence[Condition]) -> None:
        """There is no index."""

    def tally(self, *, vertices: bool, conditions: Sequence[Condition]) -> int | None:
        """How many there are, of all."""
        return None if conditions else len(self._vertices if vertices else self._edges)

    def counted(self, key: str) -> None:
        """There is no index."""

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """Each step is as near as the next."""


def _by_id(elements: Iterable[_ElementT]) -> dict[str, _ElementT]:
    return {str(one.id): one for one in elements}


def _all_whole(elements: Iterable[Element]) -> bool:
    ids = [one.id for one in elements]
    return bool(ids) and all(isinstance(one, int) for one in ids)


def _text(id_: Value, *, whole: bool) -> str:
    """An ID as it is looked up. Raises TraversalError."""
    if not whole:
        return str(id_)
    try:
        if isinstance(id_, Decimal) and id_.adjusted() > _MOST_DIGITS:
            return str(id_)  # no ID is as long: to write it out could take minutes
        return str(int(id_))
    except (TypeError, ValueError, OverflowError) as error:
        raise TraversalError(f"the IDs of this graph are numbers: '{id_}' is none") from error
