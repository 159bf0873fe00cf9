"""The topology over a range of time: every revision in it is an element of its own.

What was there together is joined: an edge's revision and a node's meet where their intervals do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gremlin_api.graphs.topology import Shown, TopologyEdge, TopologyVertex
from gremlin_api.graphs.view import BOTH, IN, OUT
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.values import Edge, Value, Vertex
from topology.elements import FOREVER, Kind, Revision
from topology.store.traversal import WalkStep


class RangeGraph:
    """Revisions of a range, the newest first.

    Args:
        revisions: in any order.
        shown: what is shown beside what is still so; None: nothing, for the range is past.
    """

    walks = False

    def __init__(self, revisions: Iterable[Revision], shown: Shown | None = None) -> None:
        self._nodes: dict[str, list[TopologyVertex]] = {}
        self._edges: list[TopologyEdge] = []
        self._from: dict[str, list[TopologyEdge]] = {}
        self._to: dict[str, list[TopologyEdge]] = {}
        found = sorted(revisions, key=lambda one: (one.updated_at, one.sequence), reverse=True)
        edges: list[Revision] = []
        for one in found:
            assert one.state is not None
            if one.state.kind is Kind.EDGE:
                edges.append(one)
            else:
                beside = shown.of(one.id) if shown is not None and one.archived_at == FOREVER else None
                self._nodes.setdefault(one.id, []).append(TopologyVertex(one, beside))
        for one in edges:
            self._join(one)

    def _join(self, revision: Revision) -> None:
        state = revision.state
        assert state is not None
        out, into = (next(self._meeting(revision, end), None) for end in (state.parent, state.child))
        if out is not None and into is not None:
            edge = TopologyEdge(revision, out, into)
            self._edges.append(edge)
            self._from.setdefault(state.parent, []).append(edge)
            self._to.setdefault(state.child, []).append(edge)

    def _meeting(self, revision: Revision, node: str) -> Iterator[TopologyVertex]:
        """The revisions of a node that were there while another was."""
        return (one for one in self._nodes.get(node, ()) if _meet(one.revision, revision))

    def vertices(self) -> Iterator[TopologyVertex]:
        """All revisions of nodes."""
        return (one for several in self._nodes.values() for one in several)

    def edges(self) -> Iterable[TopologyEdge]:
        """All revisions of edges."""
        return self._edges

    def vertex(self, id_: Value) -> Vertex | None:
        """The last revision of a node."""
        return next(iter(self._nodes.get(str(id_), ())), None)

    def edge(self, id_: Value) -> Edge | None:
        """The last revision of an edge."""
        return next((one for one in self._edges if one.id == str(id_)), None)

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterator[TopologyEdge]:
        """Revisions of edges that were there while a node was as it is, with one of the labels."""
        assert isinstance(vertex, TopologyVertex)
        for side in (OUT, IN) if direction == BOTH else (direction,):
            for edge in (self._from if side == OUT else self._to).get(vertex.id, ()):
                if _meet(edge.revision, vertex.revision) and (not labels or edge.label in labels):
                    yield edge

    def adjacent(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterator[Vertex]:
        """Revisions of the nodes at the other ends, each once for an edge."""
        assert isinstance(vertex, TopologyVertex)
        for side in (OUT, IN) if direction == BOTH else (direction,):
            seen: set[tuple[str, int]] = set()
            for edge in self.incident(vertex, side, labels):
                for end in self.ends(edge, IN if side == OUT else OUT):
                    told = (edge.id, end.revision.number)
                    if told not in seen and _meet(end.revision, vertex.revision):
                        seen.add(told)
                        yield end

    def ends(self, edge: Edge, direction: str) -> Iterator[TopologyVertex]:
        """Revisions of the nodes that an edge comes out of (``OUT``), goes into (``IN``), or of both."""
        assert isinstance(edge, TopologyEdge)
        state = edge.revision.state
        assert state is not None
        for side in (OUT, IN) if direction == BOTH else (direction,):
            yield from self._meeting(edge.revision, state.parent if side == OUT else state.child)

    def candidates(self, conditions: Sequence[Condition]) -> Iterable[Vertex] | None:
        """Those of an ID, where one is asked for."""
        ids = next((one.equal_to for one in conditions if one.key == "@ID" and one.equal_to is not None), None)
        return None if ids is None else [one for id_ in ids for one in self._nodes.get(str(id_), ())]

    def tally(self, *, vertices: bool, conditions: Sequence[Condition]) -> int | None:
        """How many revisions there are, of all."""
        if conditions:
            return None
        return sum(map(len, self._nodes.values())) if vertices else len(self._edges)

    def counted(self, key: str) -> None:
        """There is no index."""

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """Each step is as near as the next."""


def _meet(one: Revision, other: Revision) -> bool:
    """Whether both were there at a moment; one that an instant took away again was there at it."""
    begin, end = max(one.updated_at, other.updated_at), min(one.archived_at, other.archived_at)
    if begin < end:
        return True
    instant = one if one.updated_at == one.archived_at else other if other.updated_at == other.archived_at else None
    return instant is not None and begin == end == instant.updated_at
