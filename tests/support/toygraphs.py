"""Small graphs in memory, and queries on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from lab.gremlin import Engine

from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.interpreter.evaluate import answers
from gremlin_api.interpreter.run import Run
from gremlin_api.language.parser import parse
from gremlin_api.values import Edge, Vertex, VertexProperty, hashable
from gremlin_api.wire.graphson import value_of


class CountingGraph(MemoryGraph):
    """Counts the elements that it was asked for."""

    asked = 0

    def vertices(self) -> Iterable[Vertex]:
        for vertex in super().vertices():
            self.asked += 1
            yield vertex

    def adjacent(self, vertex: Vertex, direction: str, labels: Any) -> Iterable[Vertex]:
        for one in super().adjacent(vertex, direction, labels):
            self.asked += 1
            yield one


def ring(size: int) -> CountingGraph:
    """Vertices named 0, 1, 2 …, each with an edge to the next, the last to the first."""
    vertices = [_vertex(number) for number in range(size)]
    edges = [Edge(size + at, "next", vertices[at], vertices[(at + 1) % size], {"weight": at / 2}) for at in range(size)]
    return CountingGraph(vertices, edges)


def _vertex(number: int) -> Vertex:
    vertex = Vertex(number, "even" if number % 2 == 0 else "odd")
    vertex.properties = {"name": [VertexProperty(f"{number}/name", "name", str(number), None, vertex)]}
    return vertex


def ask(query: str, run: Run) -> Iterator[Any]:
    """The answers to a query."""
    traversal = parse(query)[0].traversal
    assert traversal is not None
    return answers(traversal, run)


def modern(engine: Engine) -> MemoryGraph:
    """TinkerPop's graph of that name."""
    return joined(*(value_of(json.loads(engine.answer(query)[1])) for query in ("g.V()", "g.E()")))


def joined(vertices: list[Vertex], edges: list[Edge]) -> MemoryGraph:
    """The graph of vertices and edges as a server tells them: apart, each edge with ends of its own."""
    by_id = {hashable(one.id): one for one in vertices}
    for vertex in vertices:
        for several in (vertex.properties or {}).values():
            for one in several:
                one.owner = vertex
    for edge in edges:
        edge.out, edge.into = by_id[hashable(edge.out.id)], by_id[hashable(edge.into.id)]
    return MemoryGraph(vertices, edges)
