"""Functions of lists and sets. Source: the list steps and ListFunction of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.interpreter.strings import items
from gremlin_api.values import Map, OrderedSet, Value


def collected(value: Value, step: str) -> list[Value]:
    """The items of a list, a set or a path. Raises TraversalError for anything else."""
    found = items(value)
    if found is None:
        raise TraversalError(f"{step}() takes lists and sets, not {java_text(value)}")
    return found


def combine(one: list[Value], other: list[Value]) -> Value:
    """All items of both."""
    return [*one, *other]


def difference(one: list[Value], other: list[Value]) -> Value:
    """Items of the first that are not of the second."""
    there = OrderedSet(other)
    return OrderedSet(item for item in one if item not in there)


def disjunct(one: list[Value], other: list[Value]) -> Value:
    """Items of one of them that are not of both."""
    first, second = OrderedSet(one), OrderedSet(other)
    return OrderedSet([*(item for item in first if item not in second), *(item for item in second if item not in first)])


def intersect(one: list[Value], other: list[Value]) -> Value:
    """Items of both."""
    first = OrderedSet(one)
    return OrderedSet(item for item in other if item in first)


def merge(one: list[Value], other: list[Value]) -> Value:
    """Items of one of them, each once."""
    return OrderedSet([*one, *other])


def product(one: list[Value], other: list[Value]) -> Value:
    """Each item of the first with each of the second."""
    return [[first, second] for first in one for second in other]


JOINS: dict[str, Callable[[list[Value], list[Value]], Value]] = {
    "combine": combine,
    "difference": difference,
    "disjunct": disjunct,
    "intersect": intersect,
    "merge": merge,
    "product": product,
}
"""Steps that make one of two lists."""


def merged(one: Map, other: Value) -> Value:
    """The pairs of both maps; the second's hold. Raises TraversalError."""
    if not isinstance(other, Map):
        raise TraversalError(f"merge() of a map takes a map, not {java_text(other)}")
    return Map([*one.items(), *other.items()])


def conjoin(value: Value, delimiter: str) -> Value:
    """The items' texts with the delimiter between; null, where there are only nulls. Raises TraversalError."""
    several = collected(value, "conjoin")
    texts = [java_text(one) for one in several if one is not None]
    if several and not texts:
        return None
    return delimiter.join(texts)


def indexed(several: Iterable[Value], *, as_map: bool) -> Value:
    """Each item with its place: pairs, or a map by place."""
    if as_map:
        return Map(enumerate(several))
    return [[item, place] for place, item in enumerate(several)]
