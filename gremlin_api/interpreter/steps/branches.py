"""Steps that go several ways: union, choose, coalesce, optional, local, repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, NULL_POINTER, VERIFICATION, TraversalError
from gremlin_api.interpreter.chain import MISSING, Chain, Flow, Kept, Ongoing, Step, state
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.projection import start
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.interpreter.traverser import Loops, Traverser
from gremlin_api.language import syntax
from gremlin_api.language.syntax import EnumValue, Predicate, Traversal
from gremlin_api.values import Value

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

Test = Callable[[Value], bool]


class Branch(Step):
    """Lets each traverser go the ways that are chosen for it.

    The ways' steps know from one traverser to the next what they knew; where one of them waits for all, all are let in
    before any comes out. Source: BranchStep of TinkerPop 3.7.3.

    Args:
        name: of the step.
        ways: chains.
        chosen: gives the places of a traverser's ways.
    """

    def __init__(self, name: str, ways: Sequence[Chain], chosen: Callable[[Traverser], Sequence[int]]) -> None:
        super().__init__()
        self.name, self._ways, self._chosen = name, ways, chosen
        self.nested = ways
        self._waits = any(way.has(lambda step: step.reduces or step.gathers or step.name in _BARRIERS) for way in ways)

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """What comes out of the ways."""
        ways = state(kept, self, lambda: [Ongoing(way) for way in self._ways])
        for traverser in upstream:
            self._let_in(ways, traverser)
            if self._waits:
                for another in upstream:
                    self._let_in(ways, another)
            for way in ways:
                if way:
                    yield from way.drain()

    def _let_in(self, ways: Sequence[Ongoing], traverser: Traverser) -> None:
        for place in self._chosen(traverser):
            ways[place].add(traverser.split())


_BARRIERS = frozenset({"barrier", "dedup", "range", "limit", "skip", "aggregate"})
"""Other steps that TinkerPop has as Barrier."""


def _union(builder: Builder, instruction: Instruction) -> Step:
    ways = [builder.chain(_traversal(one), source=builder.at_source()) for one in instruction.arguments]
    every = range(len(ways))
    return Branch("union", ways, lambda _: every)


def _traversal(argument: Value) -> Traversal:
    assert isinstance(argument, Traversal)
    return argument


@dataclass(slots=True)
class _Options:
    """Ways by what a choice gives."""

    tests: list[tuple[Test, int]]
    none: list[int]
    any: list[int]

    def of(self, choice: Value) -> list[int]:
        """The places of the ways for a choice."""
        picked = choice.name if isinstance(choice, EnumValue) and choice.enum == "Pick" else ""
        found = list(self.any) if picked == "any" else list(self.none) if picked == "none" else []
        found += [place for test, place in self.tests if test(choice)]
        if not found:
            found = list(self.none)
        return found if picked == "any" else found + self.any


def _branch(builder: Builder, instruction: Instruction) -> Step:
    (choice,) = instruction.arguments
    return _optioned(builder, instruction, _choice(builder, choice))


def _choose(builder: Builder, instruction: Instruction) -> Step:
    first, *ways = instruction.arguments
    if not ways:
        return _optioned(builder, instruction, _choice(builder, first))
    chains = [builder.chain(_traversal(one)) for one in ways]
    if len(chains) == 1:
        chains.append(Chain(builder.run, ()))
    if isinstance(first, Predicate):
        passes = builder.predicate(first)
        return Branch("choose", chains, lambda traverser: (0 if passes(traverser.value) else 1,))
    test = builder.chain(_traversal(first))
    return Branch("choose", chains, lambda traverser: (0 if test.test(traverser) else 1,))


def _choice(builder: Builder, argument: Value) -> Callable[[Traverser], Value]:
    """What is chosen by."""
    projection = builder.projection(syntax.Step("by", (argument,)))

    def choose(traverser: Traverser) -> Value:
        found = projection.at(traverser)
        if found is MISSING:
            raise TraversalError("the traversal that chooses gives nothing for a traverser", ILLEGAL_ARGUMENT)
        return found

    return choose


def _optioned(builder: Builder, instruction: Instruction, choose: Callable[[Traverser], Value]) -> Step:
    options = _Options([], [], [])
    ways: list[Chain] = []
    for modulator in instruction.modulators:
        token, way = modulator.arguments if len(modulator.arguments) > 1 else (None, modulator.arguments[0])
        place = len(ways)
        ways.append(builder.chain(_traversal(way)))
        if len(modulator.arguments) == 1:  # option(traversal) is option(Pick.none, traversal)
            token = EnumValue("Pick", "none")
        _take(builder, options, token, place, single=instruction.name == "choose")
    return Branch(instruction.name, ways, lambda traverser: options.of(choose(traverser)))


def _take(builder: Builder, options: _Options, token: Value, place: int, *, single: bool) -> None:
    value = token if isinstance(token, Predicate | Traversal) else builder.value(token)
    if isinstance(value, EnumValue) and value.enum == "Pick":
        if single and value.name == "any":
            raise TraversalError("choose() has no option for any: only one way is gone", ILLEGAL_ARGUMENT)
        kept = options.any if value.name == "any" else options.none
        if single and kept:
            raise TraversalError(f"choose() has one option for {value.name}, not several", ILLEGAL_ARGUMENT)
        kept.append(place)
    elif isinstance(value, Traversal):
        chain = builder.chain(value)
        options.tests.append((lambda choice: chain.test(start(chain, choice)), place))
    else:
        predicate = value if isinstance(value, Predicate) else Predicate("eq", (value,))
        options.tests.append((builder.predicate(predicate), place))


class Each(Step):
    """Lets each traverser through chains of its own: steps in them know nothing of the traversers before."""

    def __init__(self, name: str, ways: Sequence[Chain], each: Callable[[Traverser], Flow]) -> None:
        super().__init__()
        self.name, self.nested, self._each = name, ways, each

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """What comes out of each."""
        for traverser in upstream:
            yield from self._each(traverser)


def results_of(chain: Chain, traverser: Traverser) -> Flow:
    """What comes out for a traverser, as many times as it is there."""
    for found in chain.results(traverser):
        found.bulk *= traverser.bulk
        yield found


def _coalesce(builder: Builder, instruction: Instruction) -> Step:
    ways = [builder.chain(_traversal(one)) for one in instruction.arguments]

    def each(traverser: Traverser) -> Flow:
        for way in ways:
            found = results_of(way, traverser)
            first = next(found, None)
            if first is not None:
                yield _at(traverser, first)
                for one in found:
                    yield _at(traverser, one)
                return

    return Each("coalesce", ways, each)


def _at(traverser: Traverser, found: Traverser) -> Traverser:
    """The traverser gone on to what was found: of its way only the end is remembered (FlatMapStep)."""
    gone = traverser.to(found.value)
    gone.bulk = found.bulk
    return gone


def _optional(builder: Builder, instruction: Instruction) -> Step:
    way = builder.chain(_traversal(instruction.arguments[0]))

    def each(traverser: Traverser) -> Flow:
        there = False
        for found in results_of(way, traverser):
            there = True
            yield found
        if not there:
            yield traverser

    return Each("optional", [way], each)


def _local(builder: Builder, instruction: Instruction) -> Step:
    way = builder.chain(_traversal(instruction.arguments[0]))
    return Each("local", [way], lambda traverser: results_of(way, traverser))


def _flat_map(builder: Builder, instruction: Instruction) -> Step:
    return flat_mapped(builder.chain(_traversal(instruction.arguments[0])))


def flat_mapped(way: Chain) -> Step:
    """Each traverser gone on to what comes out of a chain for it."""

    def each(traverser: Traverser) -> Flow:
        return (_at(traverser, found) for found in results_of(way, traverser))

    return Each("flatMap", [way], each)


def _map(builder: Builder, instruction: Instruction) -> Step:
    way = builder.chain(_traversal(instruction.arguments[0]))

    def each(traverser: Traverser) -> Flow:
        value = way.first(traverser)
        if value is not MISSING:
            yield traverser.to(value)

    return Each("map", [way], each)


class Repeat(Step):
    """Goes round in a chain, until a test says that it is enough; ``emit`` lets out what passes on the way.

    Source: RepeatStep of TinkerPop 3.7.3.
    """

    name = "repeat"

    def __init__(self, run: Run, body: Chain, name: str | None) -> None:
        super().__init__()
        self._run, self.body, self._name = run, body, name
        self.until: Callable[[Traverser], bool] | None = None
        self.emit: Callable[[Traverser], bool] | None = None
        self.until_first = self.emit_first = False
        self.nested = [body]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """What comes out."""
        body = state(kept, self, lambda: Ongoing(self.body))
        again: deque[Traverser] = deque()  # those that come to the beginning once more
        while True:
            yield from self._round(body, again)
            start = again.popleft() if again else next(upstream, None)
            if start is None:
                return
            start.loops = self._entered(start.loops)
            if self.until_first and self.until is not None and self.until(start):
                yield self._left(start)
                continue
            emits = self.emit_first and self.emit is not None and self.emit(start)
            out = self._left(start.split()) if emits else None
            body.add(start)
            if out is not None:
                yield out

    def _round(self, body: Ongoing, again: deque[Traverser]) -> Flow:
        back = again.append if self.until_first or self.emit_first else body.add
        for traverser in body.drain():
            self._run.tick()
            outer, (step, name, times) = traverser.loops[:-1], traverser.loops[-1]
            traverser.loops = (*outer, (step, name, times + 1))
            if not self.until_first and self.until is not None and self.until(traverser):
                yield self._left(traverser)
                continue
            emits = not self.emit_first and self.emit is not None and self.emit(traverser)
            out = self._left(traverser.split()) if emits else None
            self._run.hold()
            back(traverser)
            if out is not None:
                yield out

    def _entered(self, loops: Loops) -> Loops:
        return loops if loops and loops[-1][0] == id(self) else (*loops, (id(self), self._name, 0))

    @staticmethod
    def _left(traverser: Traverser) -> Traverser:
        traverser.loops = traverser.loops[:-1]
        return traverser


def _repeat(builder: Builder, instruction: Instruction) -> Step:
    body = next((one for one in instruction.modulators if one.name == "repeat"), None)
    if body is None:
        raise TraversalError("until(), emit() and times() belong to a repeat(): there is none", NULL_POINTER)
    chain = builder.chain(_traversal(body.arguments[-1]))
    for step in chain.steps:
        if step.reduces and step.name != "cap":
            raise TraversalError(f"repeat() does not take {step.name}(), which makes one of all", VERIFICATION)
    step = Repeat(builder.run, chain, builder.value(body.arguments[0]) if len(body.arguments) > 1 else None)
    first = True
    for modulator in instruction.modulators:
        if modulator is body:
            first = False
        elif modulator.name == "emit":
            step.emit, step.emit_first = _loop_test(builder, modulator), first
        else:
            step.until, step.until_first = _loop_test(builder, modulator), first
    return step


def _loop_test(builder: Builder, modulator: syntax.Step) -> Callable[[Traverser], bool]:
    if modulator.name == "times":
        most = int(builder.value(modulator.arguments[0]))
        return lambda traverser: traverser.loops[-1][2] >= most
    if not modulator.arguments:
        return lambda _: True
    (argument,) = modulator.arguments
    if isinstance(argument, Predicate):
        passes = builder.predicate(argument)
        return lambda traverser: passes(traverser.value)
    return builder.chain(_traversal(argument)).test


STEPS: dict[str, Build] = {
    "union": _union,
    "branch": _branch,
    "choose": _choose,
    "coalesce": _coalesce,
    "optional": _optional,
    "local": _local,
    "flatMap": _flat_map,
    "map": _map,
    "repeat": _repeat,
}
