"""A traversal as it was written → the chain of steps that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from gremlin_api.errors import ILLEGAL_STATE, UNKNOWN_VARIABLE, UNSUPPORTED, TraversalError
from gremlin_api.interpreter import predicates
from gremlin_api.interpreter.chain import MISSING, Chain, Label, MapTraverser, Step
from gremlin_api.interpreter.dates import parse_datetime
from gremlin_api.interpreter.instructions import START, Instruction
from gremlin_api.interpreter.projection import IDENTITY, Projection, Ring, of_column, of_key, of_token
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps import (
    barriers,
    branches,
    filters,
    graph,
    maps,
    match,
    profile,
    scalars,
    services,
    sideeffects,
)
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.interpreter.strategies import instructions_of
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language import syntax
from gremlin_api.language.grammar import CONSTANTS
from gremlin_api.language.syntax import Argument, EnumValue, Predicate, Traversal
from gremlin_api.values import Map, Value, Vertex

BUILD: dict[str, Build] = {
    START: lambda _, __: sideeffects.Aside("start", lambda _: None),
    **graph.STEPS,
    **filters.STEPS,
    **maps.STEPS,
    **scalars.STEPS,
    **branches.STEPS,
    **barriers.STEPS,
    **sideeffects.STEPS,
    **match.STEPS,
    **profile.STEPS,
    **services.STEPS,
}
"""By name: how a step is built."""

_TRACKING = frozenset({"path", "simplePath", "cyclicPath", "tree", "otherV"})
"""Steps that need each place of the path."""

_AS_ONE = {
    ("outE", "inV"): "out",
    ("inE", "outV"): "in",
    ("bothE", "otherV"): "both",
    ("outE", "otherV"): "out",
    ("inE", "otherV"): "in",
}
"""Two steps that are one, where no path is asked for."""

_NULL = Traversal((syntax.Step("constant", (None,)),))


class Builder:
    """Builds the chains of one traversal.

    Attributes:
        run: that they belong to.
        tracking: whether each place of the path is remembered.
        inner: whether what is being built stands in a filter.
        productive: where ProductiveByStrategy is asked for: the keys that are taken to be there always.
    """

    def __init__(self, run: Run, *, tracking: bool) -> None:
        self.run, self.tracking = run, tracking
        self.inner = False
        self.productive: frozenset[str] | None = None
        self._source = self._begins = False

    def at_source(self) -> bool:
        """Whether the step that is being built is the first of a traversal that begins at the graph."""
        return self._source

    def begins(self) -> bool:
        """Whether the step that is being built is the first of its traversal."""
        return self._begins

    # Arguments

    def value(self, argument: Argument) -> Value:
        """The value that an argument says. Raises TraversalError."""
        told = _VALUES.get(type(argument))
        return argument if told is None else told(self, argument)

    def predicate(self, predicate: Predicate) -> Callable[[Value], bool]:
        """A predicate as a function."""
        return predicates.compiled(predicate, self.value)

    # Modulators

    def projection(self, by: syntax.Step) -> Projection:
        """What a ``by`` looks at."""
        if not by.arguments:
            return IDENTITY
        (argument,) = by.arguments
        if isinstance(argument, Traversal):
            if len(argument.steps) == 1 and argument.steps[0].name == "values" and len(argument.steps[0].arguments) == 1:
                return self.projection(
                    syntax.Step("by", argument.steps[0].arguments)
                )  # as ByModulatorOptimizationStrategy does
            chain = self.chain(argument)
            if self.productive is not None and not (chain.steps and chain.steps[-1].reduces):
                return Projection(chain=self.chain(Traversal((syntax.Step("coalesce", (argument, _NULL)),))))
            return Projection(chain=chain)
        value = self.value(argument)
        if isinstance(value, EnumValue):
            return Projection(of_column(value.name) if value.enum == "Column" else of_token(value.name))
        return Projection(of_key(value, default=self._default(value)), key=None if self.productive is not None else value)

    def _default(self, key: str) -> Value:
        """What a key gives that is not there."""
        return MISSING if self.productive is None or key in self.productive else None

    def ring(self, instruction: Instruction) -> Ring:
        """What its ``by`` modulators look at, in turns."""
        return Ring([self.projection(one) for one in instruction.by()])

    def projected(self, projection: Projection) -> Step:
        """A step that gives what a projection looks at."""
        return MapTraverser("map", projection.at)

    def told(self, name: str, function: Callable[[Traverser], Value]) -> Step:
        """A step that tells something of a traverser."""
        return MapTraverser(name, function)

    def side_effect(self, name: str, instruction: Instruction) -> Step:
        """The form with a key of a step that has two."""
        return sideeffects.SIDE_EFFECT_FORMS[name](self, instruction)

    # Chains

    def chain(self, traversal: Traversal, *, inner: bool = False, source: bool = False) -> Chain:
        """The chain of a nested traversal; ``inner``: it stands in a filter."""
        source = source or traversal.source is not None
        if traversal.source:
            raise TraversalError("a nested traversal has no source steps: write them at the beginning", UNSUPPORTED)
        instructions = instructions_of(traversal, source=source)
        return Chain(self.run, self.steps(instructions, inner=inner, source=source))

    def steps(self, instructions: Sequence[Instruction], *, inner: bool = False, source: bool = False) -> list[Step]:
        """The steps of instructions."""
        before = self.inner, self._source, self._begins
        found: list[Step] = []
        for place, instruction in enumerate(self._joined(instructions)):
            self.inner, self._source, self._begins = inner, source and not place, not place
            step = self._step(instruction)
            if isinstance(step, filters.Has) and found and isinstance(found[-1], graph.Elements):
                for condition in step.conditions:
                    found[-1].take(condition)
                step = found[-1]
            else:
                found.append(step)
            if instruction.labels:
                step.labels |= frozenset(instruction.labels)
                found.append(Label(instruction.labels, moved=step.moves))
        self.inner, self._source, self._begins = before
        return found

    def _joined(self, instructions: Sequence[Instruction]) -> Iterator[Instruction]:
        """With pairs of steps that are one as one."""
        pending: Instruction | None = None
        for instruction in instructions:
            if pending is not None:
                one = (
                    None
                    if self.tracking or pending.labels or pending.modulators
                    else _AS_ONE.get((pending.name, instruction.name))
                )
                if one is not None:
                    yield Instruction(one, pending.arguments, instruction.labels, instruction.modulators, pending.at)
                    pending = None
                    continue
                yield pending
            pending = instruction
        if pending is not None:
            yield pending

    def _step(self, instruction: Instruction) -> Step:
        build = BUILD.get(instruction.name)
        if build is None:
            raise TraversalError(f"{instruction.name}() is refused: {refusal(instruction.name)}", UNSUPPORTED)
        return build(self, instruction)


_WRITES = "it changes the graph, and queries only read"
_COMPUTER = "it needs a graph computer, and there is none here"
_REFUSED = {
    "io": "it reads and writes files of the server",
    "read": "it reads files of the server",
    "write": "it writes files of the server",
    "tx": "queries only read",
    "pageRank": _COMPUTER,
    "peerPressure": _COMPUTER,
    "connectedComponent": _COMPUTER,
    "shortestPath": _COMPUTER,
}


def refusal(name: str) -> str:
    """Why a step that the language has is not answered."""
    return _REFUSED.get(name, _WRITES)


def tracks(traversal: Traversal) -> bool:
    """Whether each place of the path must be remembered."""
    if any(step.name == "withPath" for step in traversal.source or ()):
        return True
    return any(_tracks(traversal.steps))


def _tracks(steps: Iterable[syntax.Step]) -> Iterator[bool]:
    before = ""
    for step in steps:
        if step.name in _TRACKING and (before, step.name) not in _AS_ONE:
            yield True
        before = step.name
        for traversal in nested(step.arguments):
            yield from _tracks(traversal.steps)


def nested(arguments: Iterable[Argument]) -> Iterator[Traversal]:
    """The traversals that stand in arguments."""
    for argument in arguments:
        if isinstance(argument, Traversal):
            yield argument


def _variable(builder: Builder, argument: syntax.Variable) -> Value:
    if argument.name not in builder.run.bindings:
        raise TraversalError(f"'{argument.name}' has no value: give it one in bindings", UNKNOWN_VARIABLE)
    return builder.run.bindings[argument.name]


def _date(builder: Builder, argument: syntax.Date) -> Value:
    return datetime.now(UTC) if argument.text is None else parse_datetime(builder.value(argument.text))


def _range(builder: Builder, argument: syntax.Range) -> Value:
    first, last = builder.value(argument.first), builder.value(argument.last)
    if isinstance(first, str):
        return [chr(code) for code in range(ord(first[:1] or "\0"), ord(last[:1] or "\0") + 1)]
    return list(range(first, last + 1)) if first <= last else list(range(first, last - 1, -1))


def _vertex(builder: Builder, argument: syntax.VertexReference) -> Value:
    """The vertex of the graph, if it is there."""
    id_ = builder.value(argument.id)
    return builder.run.graph.vertex(id_) or Vertex(id_, builder.value(argument.label))


def _enum(_: Builder, argument: EnumValue) -> Value:
    return CONSTANTS[argument.enum][argument.name] if argument.enum in CONSTANTS else argument


def _literal_traversal(builder: Builder, argument: Traversal) -> Value:
    from gremlin_api.interpreter.evaluate import result  # noqa: PLC0415 - a literal may be a whole query's result

    if argument.terminal is None:
        raise TraversalError("a traversal stands where a value is expected: end it with next() or toList()", ILLEGAL_STATE)
    return result(argument, builder.run)


_VALUES: dict[type, Callable[[Builder, Value], Value]] = {
    syntax.Variable: _variable,
    syntax.Date: _date,
    syntax.ListValue: lambda builder, one: [builder.value(item) for item in one.items],
    syntax.MapValue: lambda builder, one: Map((builder.value(key), builder.value(value)) for key, value in one.entries),
    syntax.Range: _range,
    syntax.VertexReference: _vertex,
    syntax.CardinalityValue: lambda builder, one: builder.value(one.value),
    EnumValue: _enum,
    Traversal: _literal_traversal,
}
"""What is not its own value."""
