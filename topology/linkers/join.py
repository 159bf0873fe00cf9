"""Evidence of many elements, joined by keys: what changed is joined anew, nothing else. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from topology.facts import EdgeFact

E = TypeVar("E", bound=Hashable)

Key: TypeAlias = "tuple[Hashable, ...]"


class View(Protocol):
    """What is read: interfaces, workloads."""

    @property
    def by_id(self) -> Mapping[str, Any]:
        """Its elements."""
        ...


@dataclass(frozen=True, slots=True)
class Linker(Generic[E]):
    """What makes edges of one kind.

    Attributes:
        name: as the settings have it; its facts' source is ``linker/<name>``.
        read: an element of a view → its evidence, each under a key.
        join: the evidence under a key → the edges that it is enough for.
    """

    name: str
    read: Callable[[Any, Any], Iterable[tuple[Key, E]]]
    join: Callable[[Key, list[E]], Iterable[EdgeFact]]


@dataclass(slots=True)
class Outcome:
    """What is otherwise: edges that are there, or are otherwise, and IDs of those that are no more."""

    facts: list[EdgeFact] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class Join(Generic[E]):
    """One linker's evidence and edges.

    Args:
        linker: what reads and joins.
    """

    def __init__(self, linker: Linker[E]) -> None:
        self._linker = linker
        self._evidence: dict[str, tuple[tuple[Key, E], ...]] = {}  # by element
        self._under: dict[Key, dict[str, list[E]]] = {}  # key → element → evidence
        self._edges: dict[Key, dict[str, EdgeFact]] = {}  # what each key gives, by edge's ID
        self._said: dict[str, dict[Key, EdgeFact]] = {}  # edge → the keys that give it

    @property
    def edges(self) -> list[EdgeFact]:
        """All that are there."""
        return [_first(keys) for keys in self._said.values()]

    def __len__(self) -> int:
        """How many these are."""
        return len(self._said)

    def take(self, touched: Iterable[str], view: View) -> Outcome:
        """Read some elements anew; gives what is otherwise for that."""
        dirty: dict[Key, None] = {}
        for id_ in touched:
            element = view.by_id.get(id_)
            now = tuple(self._linker.read(element, view)) if element is not None else ()
            before = self._evidence.get(id_, ())
            if now == before:
                continue
            for key, _ in before:
                dirty[key] = None
                self._under.get(key, {}).pop(id_, None)
            for key, one in now:
                dirty[key] = None
                self._under.setdefault(key, {}).setdefault(id_, []).append(one)
            if now:
                self._evidence[id_] = now
            else:
                self._evidence.pop(id_, None)
        return self._join(dirty)

    def _join(self, dirty: Iterable[Key]) -> Outcome:
        changed: dict[str, EdgeFact | None] = {}  # edge → what was said of it
        for key in dirty:
            under = self._under.get(key, {})
            if not under:
                self._under.pop(key, None)
            found = {fact.id: fact for fact in self._linker.join(key, [one for some in under.values() for one in some])}
            before = self._edges.pop(key, {})
            if found:
                self._edges[key] = found
            for id_ in before.keys() | found.keys():
                keys = self._said.setdefault(id_, {})
                changed.setdefault(id_, _first(keys) if keys else None)
                keys.pop(key, None)
                if id_ in found:
                    keys[key] = found[id_]
        outcome = Outcome()
        for id_, was in changed.items():
            keys = self._said[id_]
            if not keys:
                del self._said[id_]
                if was is not None:
                    outcome.gone.append(id_)
            elif (now := _first(keys)) != was:
                outcome.facts.append(now)
        return outcome


def _first(keys: dict[Key, EdgeFact]) -> EdgeFact:
    """Of several keys that give one edge always the same one speaks."""
    return next(iter(keys.values())) if len(keys) == 1 else keys[min(keys, key=repr)]
