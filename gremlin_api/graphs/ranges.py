"""The topology over a range of time: every revision in it is an element of its own.

What was there together is joined: an edge's revision and a node's meet where their intervals do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from gremlin_api.graphs.topology import Shown, TopologyEdge, TopologyVertex
from gremlin_api.graphs.view import BOTH, IN, OUT
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.values import Edge, Value, Vertex
from topology.elements import FOREVER, Kind, Revision, State
from topology.store.traversal import WalkStep


class RangeGraph:
    """Revisions of a range, the newest first.

    Args:
        revisions: in any order.
        shown: what is shown beside what is still so; None: nothing, for the range is past.
        each: called for all that is looked at; may raise.
    """

    walks = False

    def __init__(
        self, revisions: Iterable[Revision], shown: Shown | None = None, each: Callable[[], object] = lambda: None
    ) -> None:
        self._each = each
        self._nodes: dict[str, list[TopologyVertex]] = {}  # by when they began; of one node no two meet
        self._unjoined: list[Revision] = []
        for one in sorted(revisions, key=lambda one: (one.updated_at, one.sequence)):
            assert one.state is not None
            if one.state.kind is Kind.EDGE:
                self._unjoined.append(one)
            else:
                beside = shown.of(one.id) if shown is not None and one.archived_at == FOREVER else None
                self._nodes.setdefault(one.id, []).append(TopologyVertex(one, beside))

    @cached_property
    def _edges(self) -> list[TopologyEdge]:
        return [edge for one in reversed(self._unjoined) if (edge := self._joined(one)) is not None]

    @cached_property
    def _from(self) -> dict[str, list[TopologyEdge]]:
        return _by(self._edges, lambda state: state.parent)

    @cached_property
    def _to(self) -> dict[str, list[TopologyEdge]]:
        return _by(self._edges, lambda state: state.child)

    def _joined(self, revision: Revision) -> TopologyEdge | None:
        self._each()
        state = revision.state
        assert state is not None
        out, into = (next(self._meeting(revision, end), None) for end in (state.parent, state.child))
        return None if out is None or into is None else TopologyEdge(revision, out, into)

    def _meeting(self, revision: Revision, node: str) -> Iterator[TopologyVertex]:
        """The revisions of a node that were there while another was, the newest first."""
        several = self._nodes.get(node, [])
        for at in range(bisect_right(several, revision.archived_at, key=_begin) - 1, -1, -1):
            one = several[at]
            self._each()
            if one.revision.archived_at < revision.updated_at:
                return
            if _meet(one.revision, revision):
                yield one

    def vertices(self) -> Iterator[TopologyVertex]:
        """All revisions of nodes."""
        return (one for several in self._nodes.values() for one in reversed(several))

    def edges(self) -> Iterable[TopologyEdge]:
        """All revisions of edges."""
        return self._edges

    def vertex(self, id_: Value) -> Vertex | None:
        """The last revision of a node."""
        return next(reversed(self._nodes.get(str(id_), [])), None)

    def edge(self, id_: Value) -> Edge | None:
        """The last revision of an edge."""
        return next((one for one in self._edges if one.id == str(id_)), None)

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterator[TopologyEdge]:
        """Revisions of edges that were there while a node was as it is, with one of the labels."""
        assert isinstance(vertex, TopologyVertex)
        for side in (OUT, IN) if direction == BOTH else (direction,):
            for edge in (self._from if side == OUT else self._to).get(vertex.id, ()):
                self._each()
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
        return None if ids is None else [one for id_ in ids for one in reversed(self._nodes.get(str(id_), []))]

    def tally(self, *, vertices: bool, conditions: Sequence[Condition]) -> int | None:
        """How many revisions there are, of all."""
        if conditions:
            return None
        return sum(map(len, self._nodes.values())) if vertices else len(self._edges)

    def counted(self, key: str) -> None:
        """There is no index."""

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """Each step is as near as the next."""


def _begin(vertex: TopologyVertex) -> int:
    return vertex.revision.updated_at


def _by(edges: Iterable[TopologyEdge], end: Callable[[State], str]) -> dict[str, list[TopologyEdge]]:
    found: dict[str, list[TopologyEdge]] = {}
    for edge in edges:
        assert edge.revision.state is not None
        found.setdefault(end(edge.revision.state), []).append(edge)
    return found


def _meet(one: Revision, other: Revision) -> bool:
    """Whether both were there at a moment; one that an instant took away again was there at it."""
    begin, end = max(one.updated_at, other.updated_at), min(one.archived_at, other.archived_at)
    if begin < end:
        return True
    instant = one if one.updated_at == one.archived_at else other if other.updated_at == other.archived_at else None
    return instant is not None and begin == end == instant.updated_at
