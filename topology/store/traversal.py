"""The graph at one moment, as a traversal asks of it: by ID, by a key's value, from node to node, or a walk at once.

A store gives it by an index where it has one; :class:`Listed` does it for any list of revisions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

from topology.elements import Kind, Revision

Scalar: TypeAlias = "str | int | float | bool"
Test: TypeAlias = Callable[[Any], bool]

PARENT, CHILD = "@parent", "@child"

LABEL = "@label"
"""The key at which :class:`Moment` has the labels of nodes (:func:`label_of`)."""

UNTYPED = "node"
"""The label of a node without a Type."""

UNRELATED = "related"
"""What an edge without a RelationType is called in :attr:`Hop.relations`."""


class Direction(Enum):
    """From a node: OUT along edges whose parent it is. From an edge: OUT to its parent, IN to its child."""

    OUT = "OUT"
    IN = "IN"
    BOTH = "BOTH"


@dataclass(frozen=True, slots=True)
class Compare:
    """One of an element's values at a key is such.

    A number equals a number of another type, a truth value is no number, and what cannot be put in order is in none. Texts are
    put in order by their UTF-16 units, as Java does.

    Attributes:
        key: as :func:`values_at` has it, or ``@Host``, ``@Origin``, ``TID``; an empty TID is none.
        operator: ``eq neq within without gt gte lt lte between inside outside startingWith endingWith containing``.
        values: what it is compared with: one; two for ``between``, ``inside``, ``outside``; any for ``within``, ``without``.
    """

    key: str
    operator: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Nodes:
    """All nodes that meet all conditions. Only at the beginning."""

    where: tuple[Compare, ...] = ()


@dataclass(frozen=True, slots=True)
class Edges:
    """All edges that meet all conditions. Only at the beginning."""

    where: tuple[Compare, ...] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """From nodes along their edges; both ways, an edge from a node to itself counts twice.

    Attributes:
        direction: of the edges.
        relations: RelationTypes of the edges; empty: any.
        to_edges: to the edges themselves rather than to the nodes at their other ends.
        where: what these must be.
    """

    direction: Direction
    relations: tuple[str, ...] = ()
    to_edges: bool = False
    where: tuple[Compare, ...] = ()


@dataclass(frozen=True, slots=True)
class Ends:
    """From edges to nodes at their ends that meet all conditions."""

    direction: Direction
    where: tuple[Compare, ...] = ()


@dataclass(frozen=True, slots=True)
class Ids:
    """Those that have one of the IDs."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How many came. Only at the end."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many of those that came, no matter which."""

    many: int


@dataclass(frozen=True, slots=True)
class Dedup:
    """Each once."""


WalkStep: TypeAlias = "Nodes | Edges | Hop | Ends | Ids | Count | Limit | Dedup"


@dataclass(frozen=True, slots=True)
class Walked:
    """The answer to the leading steps of a walk. An edge of which an end is not there does not occur.

    Attributes:
        steps: how many it answers.
        found: the elements, each once, and how often each came; or how many came, where the last of the steps is a count.
    """

    steps: int
    found: list[tuple[Revision, int]] | int


class Moment(Protocol):
    """The graph at one moment: it stays as it is, whatever is written meanwhile. For one thread at a time.

    Attributes:
        walks: whether :meth:`walk` ever answers.
    """

    walks: bool

    def get(self, ids: Iterable[str]) -> list[Revision]:
        """The elements of these IDs that are there."""
        ...

    def nodes(self) -> Iterator[Revision]:
        """All nodes."""
        ...

    def edges(self) -> Iterator[Revision]:
        """All edges."""
        ...

    def edges_from(self, node: str) -> list[Revision]:
        """The edges whose parent it is."""
        ...

    def edges_to(self, node: str) -> list[Revision]:
        """The edges whose child it is."""
        ...

    def having(self, key: str, values: Collection[Scalar]) -> Collection[str] | None:
        """IDs of all nodes that have one of the values at a key (:func:`values_at`). None: there is no index that tells."""
        ...

    def passing(self, key: str, test: Test) -> Collection[str] | None:
        """IDs of all nodes of which a scalar value at a key passes a test. None: there is no index that tells."""
        ...

    def counted(self, key: str) -> list[tuple[Scalar, int]] | None:
        """How many nodes have a value at a key, by value. None: there is no index that tells, or a node has several."""
        ...

    def count(self, kind: Kind) -> int:
        """How many nodes there are, or edges with both their ends."""
        ...

    def walk(self, steps: Sequence[WalkStep]) -> Walked | None:
        """Answer the longest leading part of a walk that can be answered at once. None: ask step by step."""
        ...


def value_at(metadata: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - a value of JSON
    """What metadata has at a key: dots lead into maps and through lists. None: nothing.

    A key that is there with its dots is looked at first.
    """
    if key in metadata:
        return metadata[key]
    head, dot, rest = key.partition(".")
    while dot:
        inner = metadata.get(head)
        found = None
        if isinstance(inner, dict):
            found = value_at(inner, rest)
        elif isinstance(inner, list):
            found = [one for each in inner if isinstance(each, dict) for one in values_at(each, rest)] or None
        if found is not None:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def values_at(metadata: Mapping[str, Any], key: str) -> list[Any]:
    """All that metadata has at a key (:func:`value_at`): a list's items are values of their own."""
    value = value_at(metadata, key)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def label_of(metadata: Mapping[str, Any]) -> str:
    """The label of a node: its Type."""
    return str(metadata.get("Type") or UNTYPED)


class Listed:
    """A moment by a list of its revisions."""

    walks = False

    def __init__(self, revisions: Iterable[Revision]) -> None:
        self._by_id = {one.id: one for one in revisions}
        self._from: dict[str, list[Revision]] = {}
        self._to: dict[str, list[Revision]] = {}
        for one in self._by_id.values():
            assert one.state is not None
            if one.state.kind is Kind.EDGE:
                self._from.setdefault(one.state.parent, []).append(one)
                self._to.setdefault(one.state.child, []).append(one)

    def get(self, ids: Iterable[str]) -> list[Revision]:
        """The elements of these IDs that are there."""
        return [self._by_id[id_] for id_ in ids if id_ in self._by_id]

    def nodes(self) -> Iterator[Revision]:
        """All nodes."""
        return self._of(Kind.NODE)

    def edges(self) -> Iterator[Revision]:
        """All edges."""
        return self._of(Kind.EDGE)

    def _of(self, kind: Kind) -> Iterator[Revision]:
        return (one for one in self._by_id.values() if one.state is not None and one.state.kind is kind)

    def edges_from(self, node: str) -> list[Revision]:
        """The edges whose parent it is."""
        return self._from.get(node, [])

    def edges_to(self, node: str) -> list[Revision]:
        """The edges whose child it is."""
        return self._to.get(node, [])

    def having(self, key: str, values: Collection[Scalar]) -> None:
        """There is no index."""

    def passing(self, key: str, test: Test) -> None:
        """There is no index."""

    def counted(self, key: str) -> None:
        """There is no index."""

    def count(self, kind: Kind) -> int:
        """How many nodes there are, or edges with both their ends."""
        if kind is Kind.NODE:
            return sum(1 for _ in self.nodes())
        there = self._by_id
        return sum(one.state is not None and one.state.parent in there and one.state.child in there for one in self.edges())

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """All is here: a step at a time is as fast."""
