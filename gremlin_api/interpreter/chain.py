"""Steps in a row, and how traversers go through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from gremlin_api.interpreter.comparison import IncomparableError
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.traverser import Gathered, Traverser
from gremlin_api.values import Value
from topology.store.traversal import Ends, Hop

Flow: TypeAlias = Iterator[Traverser]
T = TypeVar("T")


class _MissingType:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _MissingType()
"""What a ``by`` gives where there is nothing."""


class Kept:
    """What steps know from one wave of traversers to the next, where a chain goes on after it ran dry (in a repeat, say)."""

    def __init__(self) -> None:
        self._states: dict[int, object] = {}

    def state(self, step: Step, new: Callable[[], T]) -> T:
        """The state of a step; a new one at first."""
        return self._states.setdefault(id(step), new())  # type: ignore[return-value]  # by its step


def state(kept: Kept | None, step: Step, new: Callable[[], T]) -> T:
    """The state that a step begins with: as it was left, where anything is kept."""
    return new() if kept is None else kept.state(step, new)


class Step:
    """A step.

    Attributes:
        name: as TinkerPop writes it.
        labels: what the places after it are remembered as.
        moves: whether what comes out is elsewhere than what came in.
        reduces: whether it makes one of all.
        gathers: whether it waits for all before it lets one go.
        nested: the chains in it.
    """

    name = ""
    moves = True
    reduces = False
    gathers = False

    def __init__(self) -> None:
        self.labels: frozenset[str] = frozenset()
        self.nested: Sequence[Chain] = ()

    @property
    def text(self) -> str:
        """It and what belongs to it, as one would write it."""
        return f"{self.name}()"

    @property
    def shown(self) -> list[str]:
        """What explain() tells of it."""
        return [self.text]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """What comes out, one by one, as it is asked for."""
        raise NotImplementedError


class Map(Step):
    """Gives one value for each."""

    def __init__(self, name: str, function: Callable[[Value], Value]) -> None:
        super().__init__()
        self.name, self._function = name, function

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """One for each."""
        function = self._function
        for traverser in upstream:
            yield traverser.to(function(traverser.value))


class MapTraverser(Step):
    """Gives one value for each traverser, or ``MISSING``: then it ends there."""

    def __init__(self, name: str, function: Callable[[Traverser], Value]) -> None:
        super().__init__()
        self.name, self._function = name, function

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """One for each, or none."""
        function = self._function
        for traverser in upstream:
            value = function(traverser)
            if value is not MISSING:
                yield traverser.to(value)


class FlatMap(Step):
    """Gives any number of values for each.

    Attributes:
        walk: the same as a store says it; None: no store does it.
    """

    def __init__(
        self, name: str, run: Run, function: Callable[[Value], Iterable[Value]], walk: Hop | Ends | None = None
    ) -> None:
        super().__init__()
        self.name, self._run, self._function, self.walk = name, run, function, walk

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Any number for each."""
        function, run = self._function, self._run
        for traverser in upstream:
            run.tick()
            for value in function(traverser.value):
                yield traverser.to(value)


class Filter(Step):
    """Lets through what passes a test.

    Values that cannot be compared do not pass; in a filter within a filter that is the outer one's matter, for there it may be
    negated (``GremlinTypeErrorException`` in TinkerPop's FilterStep).
    """

    moves = False

    def __init__(self, name: str, test: Callable[[Traverser], bool], *, inner: bool = False) -> None:
        super().__init__()
        self.name, self._test, self._inner = name, test, inner

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Those that pass."""
        test = self._test
        for traverser in upstream:
            try:
                passes = test(traverser)
            except IncomparableError:
                if self._inner:
                    raise
                continue
            if passes:
                yield traverser


class Label(Step):
    """Remembers the places under labels."""

    name = "as"
    moves = False

    def __init__(self, labels: Iterable[str], *, moved: bool) -> None:
        super().__init__()
        self._labels, self._moved = frozenset(labels), moved

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same."""
        for traverser in upstream:
            traverser.label(self._labels, moved=self._moved)
            yield traverser


class Chain:
    """Steps in a row.

    Args:
        run: that they belong to.
        steps: any number: none gives back what comes in.
    """

    __slots__ = ("run", "steps")

    def __init__(self, run: Run, steps: Sequence[Step]) -> None:
        self.run, self.steps = run, steps

    def flow(self, upstream: Flow, kept: Kept | None = None) -> Flow:
        """What comes out of all steps."""
        for step in self.steps:
            upstream = step.flow(upstream, kept)
        return upstream

    def results(self, traverser: Traverser) -> Flow:
        """What comes out where one goes in, alone."""
        self.run.tick()
        return self.flow(iter((traverser.alone(),)))

    def first(self, traverser: Traverser) -> Value:
        """The first value that comes out where one goes in; ``MISSING``: none does."""
        for found in self.results(traverser):
            return found.value
        return MISSING

    def test(self, traverser: Traverser) -> bool:
        """Whether anything comes out where one goes in."""
        return any(True for _ in self.results(traverser))

    def has(self, wanted: Callable[[Step], bool]) -> bool:
        """Whether one of the steps, or of those in them, is such a one."""
        return any(wanted(step) or any(chain.has(wanted) for chain in step.nested) for step in self.steps)


class Ongoing:
    """A chain that traversers come to in waves; its steps know from one to the next what they knew."""

    def __init__(self, chain: Chain) -> None:
        self._chain, self._kept = chain, Kept()
        self._waiting = Gathered(chain.run.merge)

    def add(self, traverser: Traverser) -> None:
        """Let one more in, next time."""
        self._waiting.add(traverser)

    def __len__(self) -> int:
        return len(self._waiting)

    def drain(self) -> Flow:
        """What comes out of all that wait, those too that are added meanwhile."""
        before = -1
        while self._waiting and len(self._waiting) != before:
            before = len(self._waiting)
            yield from self._chain.flow(self._taken(), self._kept)

    def _taken(self) -> Flow:
        for traverser in self._waiting.take():
            self._chain.run.tick()
            yield traverser
