"""``by``: what a step looks at of what it is given. Source: TraversalUtil and the lambda traversals of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gremlin_api.errors import ILLEGAL_ARGUMENT, ILLEGAL_STATE, WRONG_TYPE, TraversalError
from gremlin_api.interpreter.chain import MISSING, Chain
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.values import Edge, Element, Entry, Map, OrderedSet, Path, Property, Value, Vertex, VertexProperty


class Projection:
    """What is looked at: of a traverser (``at``), or of a value by itself (``of``). ``MISSING``: there is none.

    Attributes:
        chain: where it is a traversal; None: it is a key, a token, a column or the thing itself.
        key: where it is a key.
    """

    __slots__ = ("_function", "chain", "key")

    def __init__(
        self, function: Callable[[Value], Value] | None = None, chain: Chain | None = None, key: str | None = None
    ) -> None:
        self._function, self.chain, self.key = function, chain, key

    @property
    def identity(self) -> bool:
        """Whether it is the thing itself."""
        return self._function is None and self.chain is None

    def at(self, traverser: Traverser) -> Value:
        """Of a traverser."""
        if self._function is not None:
            return self._function(traverser.value)
        return traverser.value if self.chain is None else self.chain.first(traverser)

    def of(self, value: Value) -> Value:
        """Of a value."""
        if self._function is not None:
            return self._function(value)
        return value if self.chain is None else self.chain.first(start(self.chain, value))


IDENTITY = Projection()


def start(chain: Chain, value: Value) -> Traverser:
    """A traverser that begins at a value."""
    return Traverser(value, 1, None, chain.run.sack)


class Ring:
    """Projections that take turns; none: the things themselves."""

    __slots__ = ("_projections",)

    def __init__(self, projections: Sequence[Projection]) -> None:
        self._projections = projections or (IDENTITY,)

    def __getitem__(self, place: int) -> Projection:
        return self._projections[place % len(self._projections)]

    def __len__(self) -> int:
        return len(self._projections)

    @property
    def identity(self) -> bool:
        """Whether all are the things themselves."""
        return all(one.identity for one in self._projections)

    def all_of(self, values: Sequence[Value]) -> list[Value] | None:
        """Of each of the values, in their turns; None: one has none."""
        found = []
        for place, value in enumerate(values):
            one = self[place].of(value)
            if one is MISSING:
                return None
            found.append(one)
        return found


def of_key(key: str, default: Value = MISSING) -> Callable[[Value], Value]:
    """The first value of a key, or the default."""

    def look(value: Value) -> Value:
        if isinstance(value, Vertex):
            several = (value.properties or {}).get(key)
            if not several:
                return default
            if len(several) > 1:
                raise TraversalError(
                    f"by('{key}'): {java_text(value)} has several values of it: take by(values('{key}').fold())", ILLEGAL_STATE
                )
            return several[0].value
        if isinstance(value, Edge | VertexProperty):
            return (value.properties or {}).get(key, default)
        if isinstance(value, Map):
            return value.get(key)
        raise TraversalError(
            f"by('{key}') takes elements and maps, not {java_text(value)} ({type(value).__name__})", ILLEGAL_STATE
        )

    return look


def of_token(token: str) -> Callable[[Value], Value]:
    """The ID, label, key or value."""
    told = _TOKENS[token]

    def look(value: Value) -> Value:
        if isinstance(value, Element):
            if token in ("key", "value") and not isinstance(value, VertexProperty):
                raise TraversalError(f"T.{token} is of properties, not of {java_text(value)}", WRONG_TYPE)
            return told(value)
        if isinstance(value, Property) and token in ("key", "value"):
            return told(value)
        raise TraversalError(f"T.{token} is of elements, not of {java_text(value)}", ILLEGAL_STATE)

    return look


_TOKENS: dict[str, Callable[[Value], Value]] = {
    "id": lambda one: one.id,
    "label": lambda one: one.label,
    "key": lambda one: one.key if isinstance(one, Property) else one.label,
    "value": lambda one: one.value,
}


def of_column(column: str) -> Callable[[Value], Value]:
    """The keys or values of a map, of one of its entries, of a path."""

    def look(value: Value) -> Value:
        for kind, told in _COLUMNS:
            if isinstance(value, kind):
                return told[column](value)
        raise TraversalError(f"{java_text(value)} has no {column}: maps, entries of maps and paths have", ILLEGAL_ARGUMENT)

    return look


_COLUMNS: tuple[tuple[type, dict[str, Callable[[Value], Value]]], ...] = (
    (Map, {"keys": lambda one: OrderedSet(key for key, _ in one.items()), "values": lambda one: [it for _, it in one.items()]}),
    (Entry, {"keys": lambda one: one.key, "values": lambda one: one.value}),
    (Path, {"keys": lambda one: [OrderedSet(sorted(some)) for some in one.labels], "values": lambda one: list(one.objects)}),
)
