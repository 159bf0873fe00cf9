"""The walks that Skydive's dialect has a step for: to descendants, along the shortest path, to what lies between nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from gremlin_api.graphs.topology import TopologyEdge, TopologyVertex
from gremlin_api.graphs.view import BOTH, IN, OUT
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.interpreter.run import Run
from gremlin_api.skydive.conditions import Item
from gremlin_api.skydive.graph import SkydiveGraph

Key: TypeAlias = "tuple[str, int]"
ItemT = TypeVar("ItemT", TopologyVertex, TopologyEdge)
Nodes: TypeAlias = "Iterable[TopologyVertex]"
Conditions: TypeAlias = "Sequence[Condition]"


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes and edges of a graph."""

    nodes: Sequence[TopologyVertex]
    edges: Sequence[TopologyEdge]


def key_of(item: Item) -> Key:
    """What tells a revision of an element from all others."""
    return item.id, item.revision.number


def once(items: Iterable[ItemT]) -> dict[Key, ItemT]:
    """Each revision once, in the order in which they came."""
    return {key_of(one): one for one in items}


class Walks:
    """Walks on a graph, within what a run may take."""

    def __init__(self, run: Run, graph: SkydiveGraph) -> None:
        self._run, self._graph = run, graph

    def neighbours(self, vertex: TopologyVertex, direction: str, through: Conditions) -> Iterator[TopologyVertex]:
        """The nodes at the other ends of a node's edges that meet conditions; always in the same order."""
        for side, other in ((OUT, IN), (IN, OUT)):
            if direction not in (side, BOTH):
                continue
            for edge in sorted(self._graph.incident(vertex, side, ()), key=_age):
                self._run.tick()
                if _meets(edge, through):
                    yield from self._graph.ends(edge, other)

    def spread(self, origins: Nodes, direction: str, through: Conditions, depth: int | None) -> Iterator[TopologyVertex]:
        """Nodes, and those that are no more than so many edges away, each once; None: however many edges."""
        seen = once(origins)
        yield from seen.values()
        front = list(seen.values())
        while front and (depth is None or depth > 0):
            depth = None if depth is None else depth - 1
            found: list[TopologyVertex] = []
            for other in (one for vertex in front for one in self.neighbours(vertex, direction, through)):
                if key_of(other) not in seen:
                    self._run.hold()
                    seen[key_of(other)] = other
                    found.append(other)
            yield from found
            front = found

    def shortest_path(
        self, start: TopologyVertex, is_target: Callable[[TopologyVertex], bool], through: Conditions
    ) -> list[TopologyVertex] | None:
        """The nodes of a shortest path to a target, both ends included, edges taken either way; None: there is none."""
        before: dict[Key, TopologyVertex | None] = {key_of(start): None}
        front = deque((start,))
        while front:
            vertex = front.popleft()
            self._run.hold()
            if is_target(vertex):
                return _back(before, vertex)[::-1]
            for other in self.neighbours(vertex, BOTH, through):
                if key_of(other) not in before:
                    before[key_of(other)] = vertex
                    front.append(other)
        return None

    def among(self, nodes: Nodes, conditions: Conditions) -> Part:
        """These nodes, and the edges between them that meet conditions."""
        there = once(nodes)
        found = (edge for vertex in there.values() for edge in self._graph.incident(vertex, OUT, ()))
        edges = [edge for edge in self._watched(found) if self._ends_in(there, edge) and _meets(edge, conditions)]
        return self._held(there, once(edges))

    def joined(self, edges: Iterable[TopologyEdge], conditions: Conditions) -> Part:
        """These edges that meet conditions, and their ends."""
        kept = once(edge for edge in self._watched(edges) if _meets(edge, conditions))
        return self._held(once(end for edge in kept.values() for end in self._graph.ends(edge, BOTH)), kept)

    def _ends_in(self, nodes: dict[Key, TopologyVertex], edge: TopologyEdge) -> bool:
        return any(key_of(end) in nodes for end in self._graph.ends(edge, IN))

    def _watched(self, edges: Iterable[TopologyEdge]) -> Iterator[TopologyEdge]:
        for edge in edges:
            self._run.tick()
            yield edge

    def _held(self, nodes: dict[Key, TopologyVertex], edges: dict[Key, TopologyEdge]) -> Part:
        self._run.hold(len(nodes) + len(edges))
        return Part(list(nodes.values()), list(edges.values()))


def _age(edge: TopologyEdge) -> tuple[int, str]:
    return edge.revision.created_at, edge.id


def _meets(edge: TopologyEdge, conditions: Conditions) -> bool:
    return all(one.test(edge) for one in conditions)


def _back(before: dict[Key, TopologyVertex | None], vertex: TopologyVertex) -> list[TopologyVertex]:
    found: list[TopologyVertex] = []
    at: TopologyVertex | None = vertex
    while at is not None:
        found.append(at)
        at = before[key_of(at)]
    return found
