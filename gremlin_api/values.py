"""What a traversal's answers are made of, besides Python's own text, booleans, lists, sets, UUIDs, ``datetime`` and numbers.

Elements are equal by what they are and their IDs, as TinkerPop's are; the IDs' types count, for ``1`` and ``1l`` are two.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gremlin_api.numbers import integer_type

Value: TypeAlias = Any
"""Whatever a traverser may be at: one of these, or of Python's."""


class Element:
    """A vertex, an edge or a property of a vertex."""

    __slots__ = ("id", "label")

    def __init__(self, id_: Value, label: str) -> None:
        self.id, self.label = id_, label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and type(other) is type(self) and hashable(other.id) == hashable(self.id)

    def __hash__(self) -> int:
        return hash(hashable(self.id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.label!r})"


class Vertex(Element):
    """A vertex; ``properties`` by key, each with all its values: None where they are not told."""

    __slots__ = ("properties",)

    def __init__(self, id_: Value, label: str, properties: Mapping[str, list[VertexProperty]] | None = None) -> None:
        super().__init__(id_, label)
        self.properties = properties


class VertexProperty(Element):
    """One value of a vertex's property; its label is the key. ``properties`` are those of the property itself."""

    __slots__ = ("properties", "value")

    def __init__(self, id_: Value, label: str, value: Value, properties: Mapping[str, Value] | None = None) -> None:
        super().__init__(id_, label)
        self.value, self.properties = value, properties


class Edge(Element):
    """An edge from ``out`` to ``into``."""

    __slots__ = ("into", "out", "properties")

    def __init__(
        self, id_: Value, label: str, out: Vertex, into: Vertex, properties: Mapping[str, Value] | None = None
    ) -> None:
        super().__init__(id_, label)
        self.out, self.into, self.properties = out, into, properties


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an edge or of a vertex's property."""

    key: str
    value: Value

    def __hash__(self) -> int:
        return hash((self.key, hashable(self.value)))


@dataclass(slots=True)
class Path:
    """Where a traverser was: objects, and the labels that each step had."""

    objects: list[Value]
    labels: list[frozenset[str]]


class Map:
    """Keys and values in their order; keys may be anything, lists and maps too."""

    __slots__ = ("_at", "_pairs")

    def __init__(self, pairs: Iterable[tuple[Value, Value]] = ()) -> None:
        self._pairs: list[tuple[Value, Value]] = []
        self._at: dict[Hashable, int] = {}
        for key, value in pairs:
            self[key] = value

    def __setitem__(self, key: Value, value: Value) -> None:
        at = self._at.setdefault(hashable(key), len(self._pairs))
        self._pairs[at : at + 1] = [(key, value)]

    def __getitem__(self, key: Value) -> Value:
        return self._pairs[self._at[hashable(key)]][1]

    def get(self, key: Value, default: Value = None) -> Value:
        """The value of a key."""
        at = self._at.get(hashable(key))
        return default if at is None else self._pairs[at][1]

    def __contains__(self, key: object) -> bool:
        return hashable(key) in self._at

    def items(self) -> Iterator[tuple[Value, Value]]:
        """All pairs, in their order."""
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and hashable(self) == hashable(other)

    def __hash__(self) -> int:
        return hash(hashable(self))

    def __repr__(self) -> str:
        return f"Map({self._pairs!r})"


class Tree(Map):
    """A map whose values are trees."""

    __slots__ = ()


@dataclass(slots=True)
class BulkSet:
    """Things, and how often each is there, in the order in which they came."""

    counts: Map = field(default_factory=Map)


@dataclass(slots=True)
class Graph:
    """A part of a graph."""

    vertices: list[Vertex]
    edges: list[Edge]


def hashable(value: Value) -> Hashable:
    """What tells values apart, as Java's ``equals`` does: by their types and what they hold."""
    if value is None or isinstance(value, str | Element):
        return value
    told = next((telling(value) for kind, telling in _TOLD if isinstance(value, kind)), value)
    return type(value) if told is value else None, told


_TOLD: tuple[tuple[type | tuple[type, ...], Callable[[Value], Hashable]], ...] = (
    (bool, lambda one: (bool, one)),
    (int, lambda one: (integer_type(one), int(one))),
    ((list, tuple), lambda one: (list, *map(hashable, one))),
    ((set, frozenset), lambda one: (set, frozenset(map(hashable, one)))),
    (Map, lambda one: (dict, frozenset((hashable(key), hashable(value)) for key, value in one.items()))),
    (Path, lambda one: (Path, *map(hashable, one.objects))),
)
