"""What Skydive's dialect asks of a graph beyond a traversal of TinkerPop's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gremlin_api.graphs.topology import TopologyEdge, TopologyVertex
from gremlin_api.graphs.view import GraphView
from gremlin_api.values import Edge, Vertex


class SkydiveGraph(GraphView, Protocol):
    """A graph at a moment, or over a range, in which an edge has as many ends as there were revisions of its nodes."""

    def vertices(self) -> Iterable[TopologyVertex]:
        """All nodes."""
        ...

    def edges(self) -> Iterable[TopologyEdge]:
        """All edges."""
        ...

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[TopologyEdge]:
        """Edges of a node in a direction, with one of the labels, or with any where none is given."""
        ...

    def ends(self, edge: Edge, direction: str) -> Iterable[TopologyVertex]:
        """The nodes that an edge comes out of (``OUT``), goes into (``IN``), or both."""
        ...


class Graphs(Protocol):
    """Where the graph comes from, as it is now, as it was, and as it was all the while."""

    def clock(self) -> int:
        """µs since the epoch."""
        ...

    def as_of(self, when: int | None) -> SkydiveGraph:
        """The graph at a moment; None: now. Raises SkytrailError."""
        ...

    def during(self, begin: int, end: int, each: Callable[[], object]) -> SkydiveGraph:
        """All revisions of a range of time; ``each`` is called for every one. Raises SkytrailError."""
        ...
