"""Traversers: where one is, how many there are of it, and where it came from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import TypeAlias

from gremlin_api.values import Path, Value, hashable

Trail: TypeAlias = "tuple[Trail | None, Value, frozenset[str]]"
"""A path, from its end: what was before, the object, and the labels it has."""

Loops: TypeAlias = "tuple[tuple[object, str | None, int], ...]"
"""The repeats that a traverser is in, the innermost last: which one, its name, and how often it went round."""

NO_LABELS: frozenset[str] = frozenset()


class Traverser:
    """One place in a traversal.

    Attributes:
        value: what it is at.
        bulk: how many they are.
        trail: None: nothing is remembered yet, or nothing need be.
        sack: what it carries.
        loops: of the repeats it is in.
    """

    __slots__ = ("bulk", "loops", "sack", "trail", "value")

    def __init__(self, value: Value, bulk: int = 1, trail: Trail | None = None, sack: Value = None, loops: Loops = ()) -> None:
        self.value, self.bulk, self.trail, self.sack, self.loops = value, bulk, trail, sack, loops

    def to(self, value: Value) -> Traverser:
        """The traverser that goes on to a value."""
        return Traverser(value, self.bulk, self.trail, self.sack, self.loops)

    def split(self) -> Traverser:
        """Another at the same place."""
        return type(self)(self.value, self.bulk, self.trail, self.sack, self.loops)

    def alone(self) -> Traverser:
        """Another at the same place, and but one of them."""
        return type(self)(self.value, 1, self.trail, self.sack, self.loops)

    def label(self, labels: frozenset[str], *, moved: bool) -> None:
        """Remember the place under these labels; ``moved``: it came to be there by this very step."""
        trail = self.trail
        if moved or trail is None or hashable(trail[1]) != hashable(self.value):
            self.trail = (trail, self.value, labels)
        else:
            self.trail = (trail[0], trail[1], trail[2] | labels)

    def key(self) -> Hashable:
        """What tells traversers apart that must not become one."""
        return hashable(self.value), _trail_key(self.trail), self.loops


class TrackingTraverser(Traverser):
    """One that remembers each place it was at."""

    __slots__ = ()

    def to(self, value: Value) -> Traverser:
        """The traverser that goes on to a value."""
        return TrackingTraverser(value, self.bulk, (self.trail, value, NO_LABELS), self.sack, self.loops)

    def label(self, labels: frozenset[str], *, moved: bool) -> None:  # noqa: ARG002 - it has been remembered in any case
        """Remember the place under these labels."""
        trail = self.trail
        self.trail = (None, self.value, labels) if trail is None else (trail[0], trail[1], trail[2] | labels)


def _trail_key(trail: Trail | None) -> Hashable:
    found = []
    while trail is not None:
        found.append((hashable(trail[1]), trail[2]))
        trail = trail[0]
    return tuple(found)


def path_of(trail: Trail | None) -> Path:
    """A trail as a path, from its beginning."""
    objects, labels = [], []
    while trail is not None:
        objects.append(trail[1])
        labels.append(trail[2])
        trail = trail[0]
    return Path(objects[::-1], labels[::-1])


def labelled(trail: Trail | None, label: str) -> Iterator[Value]:
    """What has the label, the last first."""
    while trail is not None:
        if label in trail[2]:
            yield trail[1]
        trail = trail[0]


class Gathered:
    """Traversers in the order they came, those that are the same as one.

    Args:
        merge: makes one sack of two; None: those with sacks stay apart.
    """

    __slots__ = ("_by_key", "_merge", "_number")

    def __init__(self, merge: Callable[[Value, Value], Value] | None = None) -> None:
        self._by_key: OrderedDict[Hashable, Traverser] = OrderedDict()
        self._merge = merge
        self._number = 0

    def add(self, traverser: Traverser) -> None:
        """Take one more."""
        if traverser.sack is not None and self._merge is None:
            self._number += 1
            self._by_key[None, self._number] = traverser
            return
        key = traverser.key()
        there = self._by_key.setdefault(key, traverser)
        if there is not traverser:
            there.bulk += traverser.bulk
            if there.sack is not None and self._merge is not None:
                there.sack = self._merge(there.sack, traverser.sack)

    def take(self) -> Iterator[Traverser]:
        """Each, taken out, the first first; what is added meanwhile comes too."""
        while self._by_key:
            yield self._by_key.popitem(last=False)[1]

    def __len__(self) -> int:
        return len(self._by_key)
