"""What a traversal asks of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gremlin_api.interpreter.conditions import Condition
from gremlin_api.values import Edge, Value, Vertex
from topology.store.traversal import WalkStep

OUT, IN, BOTH = "OUT", "IN", "BOTH"
"""Directions, as seen from a vertex."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a store answered at once.

    Attributes:
        steps: how many of the walk's.
        found: the elements and how often each came; or how many came, where the last step is a count.
    """

    steps: int
    found: Sequence[tuple[Vertex | Edge, int]] | int


class GraphView(Protocol):
    """A graph as it was at one moment, for one traversal: it does not change meanwhile."""

    @property
    def walks(self) -> bool:
        """Whether :meth:`walk` ever answers."""
        ...

    def vertices(self) -> Iterable[Vertex]:
        """All vertices."""
        ...

    def edges(self) -> Iterable[Edge]:
        """All edges."""
        ...

    def vertex(self, id_: Value) -> Vertex | None:
        """The vertex of that ID, if there is one."""
        ...

    def edge(self, id_: Value) -> Edge | None:
        """The edge of that ID, if there is one."""
        ...

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[Edge]:
        """Edges of a vertex in a direction, with one of the labels, or with any where none is given. A loop has two ends."""
        ...

    def adjacent(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[Vertex]:
        """The vertices at the other ends of these."""
        ...

    def candidates(self, conditions: Sequence[Condition]) -> Iterable[Vertex] | None:
        """Vertices among which are all that meet the conditions, found by an index. None: there is none that helps."""
        ...

    def tally(self, *, vertices: bool, conditions: Sequence[Condition]) -> int | None:
        """How many vertices, or edges, meet the conditions. None: that cannot be told without looking at each."""
        ...

    def counted(self, key: str) -> list[tuple[Value, int]] | None:
        """How many vertices have a value at a key, by value. None: that cannot be told without looking at each."""
        ...

    def walk(self, steps: Sequence[WalkStep]) -> Walk | None:
        """Answer the longest leading part of a walk that can be answered at once. None: ask step by step."""
        ...
