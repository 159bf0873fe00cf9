"""The topology as a traversal sees it: nodes are vertices, their Type the label; edges have their RelationType.

Metadata are properties: the keys of a map within stand behind a dot (``K8s.Namespace``), each item of a list is a value of its
own. ``@Host``, ``@Origin``, ``@CreatedAt``, ``@UpdatedAt`` and ``@Revision`` are what the element has beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gremlin_api.errors import TraversalError
from gremlin_api.graphs.view import BOTH, OUT, Walk
from gremlin_api.interpreter.comparison import IncomparableError
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.numbers import Long
from gremlin_api.values import Edge, Map, Value, Vertex, VertexProperty
from topology.elements import Kind, Revision, with_volatile
from topology.store.traversal import LABEL, UNRELATED, Compare, Edges, Ends, Hop, Moment, Nodes, WalkStep, label_of, values_at

RELATED = UNRELATED
"""The label of edges that say no RelationType."""

_AT_ONCE = 64  # vertices that are made before one is looked at
_FEW = 100  # vertices that are looked at one by one rather than narrowed further

_ATTRIBUTES: dict[str, Callable[[Revision], Value]] = {
    "@Host": lambda one: _state(one).host,
    "@Origin": lambda one: _state(one).origin,
    "@CreatedAt": lambda one: Long(one.created_at // 1000),
    "@UpdatedAt": lambda one: Long(one.updated_at // 1000),
    "@Revision": lambda one: one.number,
}


def _state(revision: Revision) -> Any:  # noqa: ANN401
    return revision.state


def value_of(value: Any) -> Value:  # noqa: ANN401
    """A value of metadata's JSON as a traversal's."""
    if isinstance(value, dict):
        return Map((key, value_of(one)) for key, one in value.items())
    if isinstance(value, list):
        return [value_of(one) for one in value]
    return value


def flattened(metadata: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of metadata, and the key that it has as a property."""
    for key, value in metadata.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            yield from flattened(value, f"{name}.")
        elif isinstance(value, list):
            for one in value:
                yield name, one
        elif value is not None:
            yield name, value


class _Properties(Mapping[str, "list[VertexProperty]"]):
    """Of a vertex: each key is looked up as it is asked for."""

    __slots__ = ("_all", "_metadata", "_vertex")

    def __init__(self, vertex: TopologyVertex, metadata: Mapping[str, Any]) -> None:
        self._vertex, self._metadata = vertex, metadata
        self._all: dict[str, list[VertexProperty]] | None = None

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        """The properties of a key."""
        attribute = _ATTRIBUTES.get(key)
        found = [attribute(self._vertex.revision)] if attribute else values_at(self._metadata, key)
        return self._made(key, found) if found else default

    def __getitem__(self, key: str) -> list[VertexProperty]:
        found: list[VertexProperty] | None = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def _made(self, key: str, values: Iterable[Any]) -> list[VertexProperty]:
        vertex, before = self._vertex, f"{self._vertex.id}/{key}"
        if isinstance(values, list) and len(values) == 1:
            return [VertexProperty(before, key, value_of(values[0]), None, vertex)]
        ids = (before if not at else f"{before}/{at}" for at in range(1 << 31))
        return [VertexProperty(id_, key, value_of(one), None, vertex) for one, id_ in zip(values, ids, strict=False)]

    def _whole(self) -> dict[str, list[VertexProperty]]:
        if self._all is None:
            several: dict[str, list[Any]] = {}
            for key, value in flattened(self._metadata):
                several.setdefault(key, []).append(value)
            for key, attribute in _ATTRIBUTES.items():
                several[key] = [attribute(self._vertex.revision)]
            self._all = {key: self._made(key, values) for key, values in several.items()}
        return self._all

    def __bool__(self) -> bool:
        return True  # each has some; to count them would be to make them all

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())


class _Decoded:
    """What a node and an edge of the topology have in common: it is decoded as it is looked at."""

    __slots__ = ()
    revision: Revision
    _shown: Mapping[str, Any] | None
    _metadata: Mapping[str, Any] | None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is said of it, and what is shown beside."""
        if self._metadata is None:
            self._metadata = _metadata(self.revision, self._shown)  # type: ignore[misc]  # each class has the slot
        return self._metadata

    def metadata_once(self) -> Mapping[str, Any]:
        """The same, and not kept where it is not yet: of many elements that are only told it would be a burden."""
        return _metadata(self.revision, self._shown) if self._metadata is None else self._metadata


class TopologyVertex(_Decoded, Vertex):
    """A node: what it has is decoded as it is looked at.

    Attributes:
        revision: of the node.
    """

    __slots__ = ("_metadata", "_properties", "_shown", "revision")

    def __init__(self, revision: Revision, shown: Mapping[str, Any] | None = None) -> None:
        self.id, self.revision, self._shown = revision.id, revision, shown
        self._metadata = None
        self._properties: _Properties | None = None

    @property
    def label(self) -> str:  # type: ignore[override]  # decoded as it is asked for, as all else
        """Its Type."""
        return label_of(self.metadata)

    @property
    def properties(self) -> Mapping[str, list[VertexProperty]]:  # type: ignore[override]
        """By key."""
        if self._properties is None:
            self._properties = _Properties(self, self.metadata)
        return self._properties


class TopologyEdge(_Decoded, Edge):
    """An edge: what it has is decoded as it is looked at.

    Attributes:
        revision: of the edge.
        out: the node that it comes out of.
        into: the node that it goes into.
    """

    __slots__ = ("_metadata", "_properties", "_shown", "revision")
    out: TopologyVertex
    into: TopologyVertex

    def __init__(
        self, revision: Revision, out: TopologyVertex, into: TopologyVertex, shown: Mapping[str, Any] | None = None
    ) -> None:
        self.id, self.revision, self.out, self.into, self._shown = revision.id, revision, out, into, shown
        self._metadata = None
        self._properties: dict[str, Value] | None = None

    @property
    def label(self) -> str:  # type: ignore[override]
        """Its RelationType."""
        return str(self.metadata.get("RelationType") or RELATED)

    @property
    def properties(self) -> Mapping[str, Value]:  # type: ignore[override]
        """By key."""
        if self._properties is None:
            self._properties = _edge_properties(self.revision, self.metadata)
        return self._properties


def _metadata(revision: Revision, shown: Mapping[str, Any] | None) -> Mapping[str, Any]:
    state = _state(revision)
    metadata: dict[str, Any] = state.metadata
    if state.tid:
        metadata["TID"] = state.tid
    return with_volatile(metadata, shown) if shown else metadata


def _meets(key: str, other: str) -> bool:
    """Whether two keys are one, or one is of what is within the other."""
    shorter, longer = sorted((key, other), key=len)
    return longer == shorter or longer.startswith(f"{shorter}.")


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of nodes now and never kept.

    Attributes:
        of: gives it, by ID.
        keys: that it may have.
    """

    of: Callable[[str], Mapping[str, Any]]
    keys: Collection[str]


NOTHING_SHOWN = Shown(lambda _: {}, ())
"""Beside a graph of which all is kept."""


def _where(step: WalkStep) -> Sequence[Compare]:
    return step.where if isinstance(step, Nodes | Edges | Hop | Ends) else ()


class TopologyGraph:
    """The topology at a moment.

    Args:
        moment: of the store.
        shown: what is shown beside it; None: nothing, for the moment is past.
    """

    def __init__(self, moment: Moment, shown: Shown | None = None) -> None:
        self._moment, self._shown = moment, shown
        self._known: dict[str, TopologyVertex] = {}

    def vertices(self) -> Iterable[TopologyVertex]:
        """All nodes; they are not kept, for that would be the whole graph, decoded."""
        known, beside = self._known, self._beside
        return (known.get(one.id) or TopologyVertex(one, beside(one)) for one in self._moment.nodes())

    def edges(self) -> Iterable[TopologyEdge]:
        """All edges whose ends are there."""
        return self._edges(self._moment.edges())

    def vertex(self, id_: Value) -> TopologyVertex | None:
        """The node of that ID."""
        found = self._known.get(str(id_))
        return found or next((self._vertex(one) for one in self._moment.get([str(id_)]) if not _state(one).parent), None)

    def edge(self, id_: Value) -> Edge | None:
        """The edge of that ID."""
        return next(iter(self._edges(one for one in self._moment.get([str(id_)]) if _state(one).parent)), None)

    def incident(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[TopologyEdge]:
        """Edges of a node in a direction, with one of the labels."""
        found = self._edges(self._of(vertex, direction))
        return (edge for edge in found for label in labels if edge.label == label) if labels else found

    def adjacent(self, vertex: Vertex, direction: str, labels: Sequence[str | None]) -> Iterable[Vertex]:
        """The nodes at the other ends of these."""
        if direction == BOTH:
            yield from self.adjacent(vertex, OUT, labels)
            direction = "IN"
        for edge in self.incident(vertex, direction, labels):
            yield edge.into if direction == OUT else edge.out

    def ends(self, edge: Edge, direction: str) -> Sequence[TopologyVertex]:
        """The nodes that an edge comes out of (``OUT``), goes into (``IN``), or both."""
        assert isinstance(edge, TopologyEdge)
        return (edge.out, edge.into) if direction == BOTH else (edge.out,) if direction == OUT else (edge.into,)

    def _of(self, vertex: Vertex, direction: str) -> list[Revision]:
        if direction == BOTH:
            return [*self._moment.edges_from(vertex.id), *self._moment.edges_to(vertex.id)]
        return self._moment.edges_from(vertex.id) if direction == OUT else self._moment.edges_to(vertex.id)

    def _vertex(self, revision: Revision) -> TopologyVertex:
        there = self._known.get(revision.id)
        if there is None:
            there = self._known[revision.id] = TopologyVertex(revision, self._beside(revision))
        return there

    def candidates(self, conditions: Sequence[Condition]) -> Iterable[Vertex] | None:
        """Vertices among which are all that meet the conditions."""
        ids = self._narrowed(conditions)
        return None if ids is None else self._of_ids(list(ids))

    def _of_ids(self, ids: list[str]) -> Iterator[Vertex]:
        for at in range(0, len(ids), _AT_ONCE):
            yield from map(self._vertex, self._moment.get(ids[at : at + _AT_ONCE]))

    def tally(self, *, vertices: bool, conditions: Sequence[Condition]) -> int | None:
        """How many vertices, or edges, meet the conditions."""
        if not conditions:
            return self._moment.count(Kind.NODE if vertices else Kind.EDGE)
        if not vertices or len(conditions) > 1 or not conditions[0].of_scalars:
            return None
        ids = self._narrowed(conditions)
        return None if ids is None else len(ids)

    def counted(self, key: str) -> list[tuple[Value, int]] | None:
        """How many vertices have a value at a key, by value."""
        return self._moment.counted(key) if self._is_indexed(key) else None

    @property
    def walks(self) -> bool:
        """Whether the store does."""
        return self._moment.walks

    def walk(self, steps: Sequence[WalkStep]) -> Walk | None:
        """Answer the longest leading part of a walk that the store answers at once."""
        known = list(itertools.takewhile(lambda step: all(self._is_kept(one.key) for one in _where(step)), steps))
        walked = self._moment.walk(known) if known else None
        if walked is None:
            return None
        if isinstance(walked.found, int):
            return Walk(walked.steps, walked.found)
        times = {one.id: many for one, many in walked.found}
        revisions = [one for one, _ in walked.found]
        if revisions and _state(revisions[0]).kind is Kind.EDGE:
            self._know({end for one in revisions for end in (_state(one).parent, _state(one).child)})
            return Walk(walked.steps, [(edge, times[edge.id]) for edge in self._edges(revisions)])
        return Walk(walked.steps, [(self._vertex(one), times[one.id]) for one in revisions])

    def _know(self, ids: Collection[str]) -> None:
        """Have nodes at hand, all by one question."""
        for one in self._moment.get([id_ for id_ in ids if id_ not in self._known]):
            self._vertex(one)

    def _is_kept(self, key: str) -> bool:
        """Whether what is asked about is in the store, and not shown beside it."""
        return self._shown is None or not any(_meets(key, one) for one in self._shown.keys)

    def _narrowed(self, conditions: Sequence[Condition]) -> Collection[str] | None:
        """IDs that an index tells of, as few as may be."""
        found: set[str] | None = None
        for one in sorted(conditions, key=lambda one: one.equal_to is None):
            if found is not None and len(found) <= _FEW:
                break
            ids = self._ids(one)
            if ids is not None:
                found = set(ids) if found is None else found & set(ids)
        return found

    def _ids(self, one: Condition) -> Collection[str] | None:
        key = LABEL if one.about == "label" else one.key
        if key == "@ID" and one.equal_to is not None:
            return [found.id for found in self._moment.get(map(str, one.equal_to)) if not _state(found).parent]
        if key is None or one.about not in ("", "label") or not self._is_indexed(key):
            return None
        if one.equal_to is not None:
            return self._moment.having(key, one.equal_to)
        return self._passing(key, one.passes) if one.of_scalars else None

    def _passing(self, key: str, passes: Callable[[Value], bool]) -> Collection[str] | None:
        try:
            return self._moment.passing(key, _surely(passes))
        except TraversalError:  # about a value that maybe only others have, or had at another time
            return None

    def _is_indexed(self, key: str) -> bool:
        if key == LABEL:
            return self._is_kept("Type")
        if key.startswith("@"):
            return key in ("@Host", "@Origin")
        return self._is_kept(key)

    def _beside(self, revision: Revision) -> Mapping[str, Any] | None:
        return None if self._shown is None else self._shown.of(revision.id)

    def _edges(self, revisions: Iterable[Revision]) -> Iterator[TopologyEdge]:
        for one in revisions:
            state = _state(one)
            out, into = self.vertex(state.parent), self.vertex(state.child)
            if out is not None and into is not None:
                yield TopologyEdge(one, out, into, self._beside(one))


def _surely(passes: Callable[[Value], bool]) -> Callable[[Value], bool]:
    """What cannot be compared does not pass."""

    def test(value: Value) -> bool:
        try:
            return passes(value)
        except IncomparableError:
            return False

    return test


def _edge_properties(revision: Revision, metadata: Mapping[str, Any]) -> dict[str, Value]:
    """Of an edge, which has one value of each key: several are a list."""
    several: dict[str, list[Value]] = {}
    for key, value in flattened(metadata):
        several.setdefault(key, []).append(value_of(value))
    found: dict[str, Value] = {key: values[0] if len(values) == 1 else values for key, values in several.items()}
    return found | {key: attribute(revision) for key, attribute in _ATTRIBUTES.items()}
