"""Steps of the interpreter that only Skydive's dialect has."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.values import Value


class All(Step):
    """Gives what it makes of all that comes."""

    gathers = True

    def __init__(self, name: str, function: Callable[[Iterator[Value]], Iterable[Value]]) -> None:
        super().__init__()
        self.name, self._function = name, function

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """What is made of all."""
        for value in self._function(one.value for one in upstream for _ in range(one.bulk)):
            yield Traverser(value)


class Again(Step):
    """Lets all that comes before it end, and begins anew."""

    name = "G"
    gathers = True

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """One traverser, at nothing."""
        for _ in upstream:
            pass
        yield Traverser(None)


class Once(Step):
    """Lets through what is told apart by a function, each once; what it gives None for is all different."""

    name = "Dedup"
    moves = False

    def __init__(self, run: Run, told: Callable[[Value], Hashable]) -> None:
        super().__init__()
        self._run, self._told = run, told

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each once."""
        seen: set[Hashable] = set()
        for traverser in upstream:
            told = self._told(traverser.value)
            if told is None:
                yield traverser
            elif told not in seen:
                self._run.hold()
                seen.add(told)
                traverser.bulk = 1
                yield traverser


class Sorted(Step):
    """Gives all in the order of a key; what has none comes last, whichever way."""

    name = "Sort"
    gathers = True

    def __init__(self, run: Run, key: Callable[[Value], Any], *, descending: bool) -> None:
        super().__init__()
        self._run, self._key, self._descending = run, key, descending

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """All, in order."""
        keyed: list[tuple[tuple[int, Any], Traverser]] = []
        without: list[Traverser] = []
        for traverser in upstream:
            self._run.hold()
            order = _order(self._key(traverser.value))
            if order is None:
                without.append(traverser)
            else:
                keyed.append((order, traverser))
        keyed.sort(key=lambda pair: pair[0], reverse=self._descending)
        yield from (traverser for _, traverser in keyed)
        yield from without


def _order(value: Any) -> tuple[int, Any] | None:  # noqa: ANN401 - a value of JSON
    """Truth values before numbers before texts before the rest, which is ordered by how it is written."""
    if value is None:
        return None
    for rank, kinds in _RANKS:
        if isinstance(value, kinds):
            return rank, value
    return len(_RANKS), str(value)


_RANKS: list[tuple[int, type | tuple[type, ...]]] = [(0, bool), (1, (int, float)), (2, str)]
