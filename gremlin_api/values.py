"""What a traversal's answers are made of, besides Python's own text, booleans, lists, sets, UUIDs, ``datetime`` and numbers.

Elements are equal by what they are and their IDs, as TinkerPop's are; the IDs' types count, for ``1`` and ``1l`` are two.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

from gremlin_api.numbers import INT_BITS, BigInteger, Byte, Float, Long, Short, fits, integer_type

Value: TypeAlias = Any
"""Whatever a traverser may be at: one of these, or of Python's."""


class Element:
    """A vertex, an edge or a property of a vertex."""

    __slots__ = ("id", "label")
    kind: ClassVar[str]

    def __init__(self, id_: Value, label: str) -> None:
        self.id, self.label = id_, label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and hashable(other) == hashable(self)

    def __hash__(self) -> int:
        return hash(hashable(self))

    def __repr__(self) -> str:
        return f"{self.kind}({self.id!r}, {self.label!r})"


class Vertex(Element):
    """A vertex; ``properties`` by key, each with all its values: None where they are not told."""

    __slots__ = ("properties",)
    kind = "Vertex"

    def __init__(self, id_: Value, label: str, properties: Mapping[str, list[VertexProperty]] | None = None) -> None:
        super().__init__(id_, label)
        self.properties = properties


class VertexProperty(Element):
    """One value of a vertex's property; its label is the key.

    ``properties`` are those of the property itself, ``owner`` is the vertex: None where it is not told.
    """

    __slots__ = ("owner", "properties", "value")
    kind = "VertexProperty"

    def __init__(
        self,
        id_: Value,
        label: str,
        value: Value,
        properties: Mapping[str, Value] | None = None,
        owner: Vertex | None = None,
    ) -> None:
        super().__init__(id_, label)
        self.value, self.properties, self.owner = value, properties, owner


class Edge(Element):
    """An edge from ``out`` to ``into``."""

    __slots__ = ("into", "out", "properties")
    kind = "Edge"

    def __init__(
        self, id_: Value, label: str, out: Vertex, into: Vertex, properties: Mapping[str, Value] | None = None
    ) -> None:
        super().__init__(id_, label)
        self.out, self.into, self.properties = out, into, properties


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an edge or of a vertex's property: those of two elements are two. None: the element is not told."""

    key: str
    value: Value
    owner: Element | None = field(default=None, repr=False)

    def __hash__(self) -> int:
        return hash(hashable(self))


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


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair of a map, taken out of it."""

    key: Value
    value: Value


class OrderedSet:
    """Things, each once, in the order in which they came; they may be anything, lists and maps too."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Value] = ()) -> None:
        self._items: dict[Hashable, Value] = {}
        for item in items:
            self._items.setdefault(hashable(item), item)

    def add(self, item: Value) -> None:
        """Take one more, if it is not there."""
        self._items.setdefault(hashable(item), item)

    def __contains__(self, item: object) -> bool:
        return hashable(item) in self._items

    def __iter__(self) -> Iterator[Value]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OrderedSet) and self._items.keys() == other._items.keys()

    def __hash__(self) -> int:
        return hash(hashable(self))

    def __repr__(self) -> str:
        return f"OrderedSet({list(self._items.values())!r})"


class BulkSet:
    """Things, and how often each is there, in the order in which they came first. Iterated, each comes as often."""

    __slots__ = ("counts",)

    def __init__(self, counts: Map | None = None) -> None:
        self.counts = Map() if counts is None else counts

    def add(self, item: Value, times: int = 1) -> None:
        """Take one so many times more."""
        self.counts[item] = self.counts.get(item, 0) + times

    def __iter__(self) -> Iterator[Value]:
        for item, times in self.counts.items():
            for _ in range(times):
                yield item

    def __len__(self) -> int:
        return sum(times for _, times in self.counts.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BulkSet) and self.counts == other.counts

    def __hash__(self) -> int:
        return hash(hashable(self))

    def __repr__(self) -> str:
        return f"BulkSet({self.counts!r})"


@dataclass(slots=True)
class Graph:
    """A part of a graph."""

    vertices: list[Vertex]
    edges: list[Edge]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a step took.

    Attributes:
        id: the step's.
        name: the step's.
        duration: in nanoseconds.
        counts: of traversers and elements, by what is counted.
        annotations: what else is said of it.
        nested: those of its inner traversals' steps.
    """

    id: str
    name: str
    duration: int
    counts: Mapping[str, int] = field(default_factory=dict)
    annotations: Mapping[str, Value] = field(default_factory=dict)
    nested: tuple[Metrics, ...] = ()


@dataclass(frozen=True, slots=True)
class TraversalMetrics:
    """What a traversal took: its duration in nanoseconds, and its steps'."""

    duration: int
    metrics: tuple[Metrics, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether there was an answer: what ``tryNext()`` tells.

    Attributes:
        present: whether.
        value: the first answer; only a text shows it.
    """

    present: bool
    value: Value = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """What became of a traversal's steps: by which strategy, of which category."""

    strategy: str
    category: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a traversal is run: its steps as they were written, what was made of them one after another, and what is run."""

    original: tuple[str, ...]
    stages: tuple[Stage, ...]
    final: tuple[str, ...]


def hashable(value: Value) -> Hashable:
    """What tells values apart, as Java's ``equals`` does: by their types and what they hold."""
    kind = type(value)
    if kind is str or value is None:
        return value  # type: ignore[no-any-return]  # a string
    telling = _TELLING.get(kind)
    if telling is None:
        telling = _TELLING[kind] = next((_TELLING[base] for base in kind.__mro__ if base in _TELLING), lambda one: (kind, one))
    return telling(value)


def _integer(value: int) -> Hashable:
    return value if fits(value, INT_BITS) else (integer_type(value), value)


def _list(value: Iterable[Value]) -> Hashable:
    return list, *map(hashable, value)


def _set(value: Iterable[Value]) -> Hashable:
    return set, frozenset(map(hashable, value))


def _map(value: Map) -> Hashable:
    return dict, frozenset((hashable(key), hashable(one)) for key, one in value.items())


def _path(value: Path) -> Hashable:
    return Path, tuple(value.labels), *map(hashable, value.objects)


def _float(value: float) -> Hashable:
    return type(value), value.hex()  # tells 0.0 from -0.0, and NaN is NaN, as for Double.equals


_TELLING: dict[type, Callable[[Value], Hashable]] = {
    bool: lambda one: (bool, one),
    int: _integer,
    **{kind: lambda one: (type(one), int(one)) for kind in (Byte, Short, Long, BigInteger)},
    float: _float,
    Float: _float,
    Decimal: lambda one: (Decimal, one.as_tuple()),
    str: str,
    list: _list,
    tuple: _list,
    set: _set,
    frozenset: _set,
    OrderedSet: _set,
    Map: _map,
    Entry: lambda one: (Entry, hashable(one.key), hashable(one.value)),
    Path: _path,
    BulkSet: lambda one: (BulkSet, _map(one.counts)),
    Element: lambda one: (one.kind, hashable(one.id)),
    Property: lambda one: (Property, one.key, hashable(one.value), hashable(one.owner)),
    datetime: lambda one: one,
    uuid.UUID: lambda one: one,
    **{kind: lambda one: (type(one), id(one)) for kind in (Metrics, TraversalMetrics)},  # Java's have no equals of their own
}
"""By type, the most special first; types that are met are added."""
