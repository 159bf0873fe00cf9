"""``match``: values for labels, so that all patterns hold. Source: MatchStep of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, ILLEGAL_STATE, TraversalError
from gremlin_api.interpreter.chain import MISSING, Chain, Flow, Kept, Step
from gremlin_api.interpreter.instructions import START, Instruction
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.scope import LAST, popped
from gremlin_api.interpreter.steps.branches import flat_mapped
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.interpreter.strategies import instructions_of
from gremlin_api.interpreter.traverser import Trail, Traverser
from gremlin_api.language.syntax import Argument, ListValue, Predicate, Traversal
from gremlin_api.values import Map, hashable

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder


@dataclass(slots=True)
class Pattern:
    """One pattern.

    Attributes:
        start: the label it begins at; None: where the traverser is.
        needs: labels that must have values before.
        chain: from the start to the end.
        end: the label that the end gets, or must have.
        parts: of an ``and`` or ``or`` of patterns, instead.
        any: whether one of the parts is enough.
        filters: whether it only lets through.
    """

    start: str | None
    needs: frozenset[str]
    chain: Chain
    end: str | None = None
    parts: list[Pattern] = field(default_factory=list)
    any: bool = False
    filters: bool = False

    def starts(self) -> set[str]:
        """Labels that it begins at."""
        return set(self.needs).union(*(one.starts() for one in self.parts))

    def ends(self) -> set[str]:
        """Labels that it ends at."""
        return ({self.end} if self.end else set()).union(*(one.ends() for one in self.parts))


class Match(Step):
    """Gives a map of the labels' values for each way to hold all patterns."""

    name = "match"

    def __init__(self, run: Run, patterns: Sequence[Pattern]) -> None:
        super().__init__()
        self._run, self._patterns = run, patterns
        self._starts: frozenset[str] = frozenset().union(*(one.starts() for one in patterns))
        self._labels = self._starts.union(*(one.ends() for one in patterns))
        self._first = _first_label(patterns)
        self.nested = [one.chain for one in patterns]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The maps."""
        for traverser in upstream:
            if not any(_has(traverser.trail, label) for label in self._starts):
                traverser.label(frozenset({self._first}), moved=False)
            for found in self._solved(traverser, self._patterns, frozenset()):
                yield found.to(self._bindings(found.trail))

    def _bindings(self, trail: Trail | None) -> Map:
        found = Map()
        while trail is not None:
            for label in trail[2] & self._labels:
                if label not in found:
                    found[label] = trail[1]
            trail = trail[0]
        return found

    def _solved(self, traverser: Traverser, patterns: Sequence[Pattern], done: frozenset[int]) -> Flow:
        self._run.tick()
        if len(done) == len(patterns):
            yield traverser
            return
        at = _next(traverser, patterns, done)
        for found in self._through(traverser, patterns[at]):
            yield from self._solved(found, patterns, done | {at})

    def _through(self, traverser: Traverser, pattern: Pattern) -> Flow:
        if pattern.parts:
            inner = self._some(traverser, pattern)
        else:
            begun = traverser.split()
            if pattern.start is not None:
                begun = begun.to(popped(traverser.trail, pattern.start, LAST))
            inner = pattern.chain.flow(iter((begun,)))
        for found in inner:
            if pattern.end is None:
                yield found
                continue
            there = popped(found.trail, pattern.end, LAST)
            if there is MISSING or hashable(there) == hashable(found.value):
                found.label(frozenset({pattern.end}), moved=False)
                yield found

    def _some(self, traverser: Traverser, pattern: Pattern) -> Flow:
        if not pattern.any:
            yield from pattern.chain.flow(self._solved(traverser.split(), pattern.parts, frozenset()))
            return
        for part in pattern.parts:
            yield from pattern.chain.flow(self._through(traverser.split(), part))


def _has(trail: Trail | None, label: str) -> bool:
    return popped(trail, label, LAST) is not MISSING


def _next(traverser: Traverser, patterns: Sequence[Pattern], done: frozenset[int]) -> int:
    """The pattern to try next: one that only filters, or whose end is known, before others (CountMatchAlgorithm)."""
    later = None
    for at, pattern in enumerate(patterns):
        if at in done or not all(_has(traverser.trail, label) for label in _before(pattern)):
            continue
        if pattern.filters or (pattern.end is not None and _has(traverser.trail, pattern.end)):
            return at
        later = at if later is None else later
    if later is None:
        raise TraversalError(
            "match(): the patterns cannot be solved: none of those left begins at a known label", ILLEGAL_STATE
        )
    return later


def _before(pattern: Pattern) -> Iterable[str]:
    """Labels that must be known before a pattern is tried."""
    if not pattern.parts:
        return pattern.needs
    if pattern.any:
        return pattern.starts()
    return pattern.starts() - pattern.ends() or {_first_label(pattern.parts)}


def _first_label(patterns: Sequence[Pattern]) -> str:
    """The label of where traversers come in (MatchStep.Helper.computeStartLabel)."""
    ends: set[str] = set().union(*(one.ends() for one in patterns))
    free = [label for one in patterns for label in sorted(one.starts()) if label not in ends]
    if free:
        return free[0]
    labels = list(dict.fromkeys(label for one in patterns for label in (*sorted(one.starts()), *sorted(one.ends()))))

    def compare(one: str, other: str) -> int:
        for pattern in patterns:
            if one in pattern.ends() and other in pattern.starts():
                return 1
            if other in pattern.ends() and one in pattern.starts():
                return -1
        return 0

    return min(labels, key=cmp_to_key(compare))


def _match(builder: Builder, instruction: Instruction) -> Step:
    patterns = [_pattern(builder, one) for one in instruction.arguments if isinstance(one, Traversal)]
    if all(one.parts for one in patterns):
        raise TraversalError("match() takes patterns, and one at least that is not and() or or() of others", ILLEGAL_ARGUMENT)
    return Match(builder.run, patterns)


def _pattern(builder: Builder, traversal: Traversal) -> Pattern:
    instructions = instructions_of(traversal)
    first, last = instructions[0], instructions[-1]
    if len(last.labels) > 1 and last is not first:
        raise TraversalError("match(): the end of a pattern has one label, not several", ILLEGAL_ARGUMENT)
    end = last.labels[0] if last.labels and (last is not first or first.name != START) else None
    rest = list(instructions[1:])
    if end is not None and rest:
        rest[-1] = Instruction(last.name, last.arguments, (), last.modulators, last.at)
    if first.name in ("and", "or") and first.arguments:
        parts = [_pattern(builder, one) for one in first.arguments if isinstance(one, Traversal)]
        return Pattern(None, frozenset(), _chain(builder, rest), end, parts, first.name == "or")
    if first.name == START and len(first.labels) == 1:
        return Pattern(first.labels[0], frozenset(first.labels), _chain(builder, rest), end)
    if first.name in ("not", "where"):
        filtering = Instruction("where", (Traversal(traversal.steps[:1]),)) if first.name == "not" else first
        needs = frozenset(_referred([filtering]))
        return Pattern(None, needs, _chain(builder, [filtering, *rest]), end, filters=True)
    raise TraversalError("match(): a pattern begins at a label: as('a').…", ILLEGAL_ARGUMENT)


def _chain(builder: Builder, instructions: Sequence[Instruction]) -> Chain:
    steps = builder.steps(instructions)
    chain = Chain(builder.run, steps)
    if any(step.reduces or step.gathers for step in steps):  # the path, which holds the labels, must outlast it
        return Chain(builder.run, [flat_mapped(chain)])
    return chain


def _referred(instructions: Sequence[Instruction]) -> Iterator[str]:
    """The labels that where-steps look at."""
    for instruction in instructions:
        for argument in instruction.arguments:
            if isinstance(argument, str):
                yield argument
            elif isinstance(argument, Predicate):
                yield from _labels_of(argument)
            elif isinstance(argument, Traversal):
                yield from _ends_of(argument)


def _labels_of(argument: Argument) -> Iterator[str]:
    if isinstance(argument, str):
        yield argument
    several = (
        argument.arguments if isinstance(argument, Predicate) else argument.items if isinstance(argument, ListValue) else ()
    )
    for one in several:
        yield from _labels_of(one)


def _ends_of(traversal: Traversal) -> Iterator[str]:
    instructions = instructions_of(traversal)
    first, last = instructions[0], instructions[-1]
    if first.name == START:
        yield from first.labels
    elif first.name in ("and", "or", "not"):
        for one in first.arguments:
            if isinstance(one, Traversal):
                yield from _ends_of(one)
    elif first.name == "where":
        yield from _referred([first])
    yield from last.labels


STEPS: dict[str, Build] = {"match": _match}
