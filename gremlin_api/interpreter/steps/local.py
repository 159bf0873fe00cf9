"""Steps on what is in one thing: count(local), sum(local), range(local), order(local)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from gremlin_api.errors import ILLEGAL_ARGUMENT, TraversalError
from gremlin_api.interpreter import arithmetic
from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import Long
from gremlin_api.values import BulkSet, Entry, Map, OrderedSet, Path, Value

_COMPARABLE = arithmetic.NATURAL.keys() | arithmetic.NUMBERS | {EnumValue}
_COLLECTIONS = (list, OrderedSet, BulkSet)


def items(value: Value) -> Iterator[Value]:
    """What a thing holds; of anything else, the thing itself. Source: IteratorUtils.asIterator."""
    if isinstance(value, _COLLECTIONS):
        return iter(value)
    if isinstance(value, Path):
        return iter(value.objects)
    if isinstance(value, Map):
        return (Entry(key, one) for key, one in value.items())
    return iter((value,))


def is_collection(value: Value) -> bool:
    """Whether it is a list or a set."""
    return isinstance(value, _COLLECTIONS)


def count(value: Value) -> Value:
    """How many things it holds."""
    return Long(sum(1 for _ in items(value)))


class LocalRange(Step):
    """The items from the ``low``-th to before the ``high``-th; -1: to the end. One alone is given as it is.

    Where one is asked for that is not there nothing more comes out, as of TinkerPop's RangeLocalStep.
    """

    def __init__(self, name: str, low: int, high: int) -> None:
        super().__init__()
        if -1 not in (low, high) and low > high:
            raise TraversalError(f"[{low}, {high}] is no range", ILLEGAL_ARGUMENT)
        self.name, self._bounds = name, (low, high)

    def bounds(self, value: Value) -> tuple[int, int]:  # noqa: ARG002 - those of a tail depend on it
        """The range for a value."""
        return self._bounds

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The items in the range of each."""
        for traverser in upstream:
            low, high = self.bounds(traverser.value)
            value = traverser.value
            if isinstance(value, Map):
                value = Map(_sliced(value.items(), low, high))
            elif isinstance(value, (*_COLLECTIONS, Path)):
                found = list(_sliced(items(value), low, high))
                if high != -1 and high - low == 1:
                    if not found or found[0] is None:
                        return
                    value = found[0]
                else:
                    value = OrderedSet(found) if isinstance(value, OrderedSet | BulkSet) else found
            yield traverser.to(value)


class LocalTail(LocalRange):
    """The last items."""

    def __init__(self, many: int) -> None:
        super().__init__("tail", 0, -1)
        self._many = many

    def bounds(self, value: Value) -> tuple[int, int]:
        """The range for a value."""
        high = sum(1 for _ in items(value))
        return high - self._many, high


def _sliced(things: Iterable[Value], low: int, high: int) -> Iterator[Value]:
    return itertools.islice(things, max(low, 0), None if high == -1 else max(high, 0))


def reduced(name: str, reduce: Callable[[Sequence[Value]], Value]) -> Step:
    """One value of the items of each thing that has any."""

    def step(upstream: Flow) -> Flow:
        for traverser in upstream:
            found = list(items(traverser.value))
            if found:
                yield traverser.to(reduce(found))

    return _OfFlow(name, step)


class _OfFlow(Step):
    def __init__(self, name: str, step: Callable[[Flow], Flow]) -> None:
        super().__init__()
        self.name, self._step = name, step

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        return self._step(upstream)


def check_comparable(values: Iterable[Value]) -> None:
    """Raises TraversalError for what Java cannot compare with anything."""
    for value in values:
        if value is not None and type(value) not in _COMPARABLE:
            raise arithmetic.wrong_type(value, "java.lang.Comparable")


def total(values: Sequence[Value]) -> Value:
    """The sum of what is not null; null, where nothing is."""
    found: Value = None
    for value in values:
        if value is not None:
            if type(value) not in arithmetic.NUMBERS:
                raise arithmetic.wrong_type(value, "java.lang.Number")
            found = value if found is None else arithmetic.add(found, value)
    return found


def mean(values: Sequence[Value]) -> Value:
    """The mean of what is not null."""
    several = [value for value in values if value is not None]
    return arithmetic.mean_of(total(several), len(several)) if several else None


def least(values: Sequence[Value]) -> Value:
    """The smallest."""
    check_comparable(values)
    found = values[0]
    for value in values[1:]:
        found = arithmetic.minimum(value, found)
    return found


def greatest(values: Sequence[Value]) -> Value:
    """The largest."""
    check_comparable(values)
    found = values[0]
    for value in values[1:]:
        found = arithmetic.maximum(value, found)
    return found
