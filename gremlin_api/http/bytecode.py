"""A traversal as clients send it → as if it had been written, through the same grammar. Source: Bytecode of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gremlin_api.errors import UNSUPPORTED, TraversalError
from gremlin_api.language import grammar
from gremlin_api.language.arguments import Raw, described, match
from gremlin_api.language.errors import nearest
from gremlin_api.language.parser import Limits
from gremlin_api.language.syntax import (
    Argument,
    ListValue,
    Literal,
    MapValue,
    Predicate,
    Step,
    Strategy,
    Traversal,
    VertexReference,
)
from gremlin_api.values import Edge, Map, OrderedSet, Value, Vertex
from gremlin_api.wire.graphbinary import Binding, Bytecode

OPTIONS = "OptionsStrategy"
"""How clients send ``with``: its settings are options of the request."""

_SOURCE: Mapping[str, tuple[str, ...]] = {**grammar.SOURCE_STEPS, "withoutStrategies": ("Literal*",)}


@dataclass(frozen=True, slots=True)
class Sent:
    """A traversal, and what was said of the request by ``with``."""

    traversal: Traversal
    options: Mapping[str, Value]


def from_bytecode(bytecode: Bytecode, limits: Limits) -> Sent:
    """The traversal of a bytecode. Raises TraversalError for one that is none, or too large."""
    reader = _Reader(limits)
    options: dict[str, Value] = {}
    source = []
    for name, arguments in bytecode.source:
        if name == "withStrategies":
            arguments = tuple(_without_options(arguments, options))  # noqa: PLW2901 - the options are told apart
            if not arguments:
                continue
        source.append(reader.step(name, arguments, _SOURCE))
    steps = reader.steps(bytecode, first=grammar.SPAWN_STEPS)
    return Sent(Traversal(steps, tuple(step for step in source if step.name != "withoutStrategies")), options)


def _without_options(arguments: Sequence[Value], options: dict[str, Value]) -> list[Value]:
    left = []
    for one in arguments:
        if isinstance(one, Strategy) and one.name == OPTIONS:
            options.update(one.arguments)
        else:
            left.append(one)
    return left


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._steps = self._depth = 0

    def steps(self, bytecode: Bytecode, first: Mapping[str, tuple[str, ...]] = grammar.STEPS) -> tuple[Step, ...]:
        """The steps of a traversal."""
        if not bytecode.steps:
            raise TraversalError("the traversal has no step", UNSUPPORTED)
        self._depth += 1
        if self._depth > self._limits.depth:
            raise TraversalError(f"the traversal is nested more than {self._limits.depth} deep", UNSUPPORTED)
        (name, arguments), *rest = bytecode.steps
        found = [self.step(name, arguments, first), *(self.step(name, arguments, grammar.STEPS) for name, arguments in rest)]
        self._depth -= 1
        return tuple(found)

    def step(self, name: str, arguments: Sequence[Value], known: Mapping[str, tuple[str, ...]]) -> Step:
        """A step, if it is one and takes these arguments."""
        self._steps += 1
        if self._steps > self._limits.steps or len(arguments) > self._limits.arguments:
            raise TraversalError("the traversal has too many steps or arguments", UNSUPPORTED)
        if name not in known:
            raise TraversalError(f"'{name}' is no step here{nearest(name, known)}", UNSUPPORTED)
        given = [self._argument(one) for one in arguments]
        for signature in known[name]:
            found = match(signature, given)
            if found is not None:
                return Step(name, found)
        takes = " or ".join(f"({signature.replace(' ', ', ')})" for signature in known[name])
        raise TraversalError(f"{name}() takes {takes}, not ({described(given)})", UNSUPPORTED)

    def _argument(self, value: Value) -> Raw:
        convert = _CONVERT.get(type(value))
        found: Raw = value if convert is None else convert(self, value)
        return found

    def literal(self, value: Value) -> Literal:
        """A value within another."""
        return self._argument(value)  # type: ignore[return-value]  # of what stands in lists and maps all are

    def traversal(self, bytecode: Bytecode) -> Traversal:
        """A nested traversal."""
        if bytecode.source:
            raise TraversalError("a nested traversal has no source steps: write them at the beginning", UNSUPPORTED)
        return Traversal(self.steps(bytecode))

    def predicate(self, predicate: Predicate) -> Predicate:
        """A predicate, if it takes these arguments."""
        arguments: list[Argument] = [self._argument(one) for one in predicate.arguments]  # type: ignore[misc]
        if predicate.name in ("and", "or", "not", "negate"):
            return Predicate(predicate.name, tuple(arguments))
        if predicate.name not in grammar.PREDICATES:
            raise TraversalError(
                f"'{predicate.name}' is no predicate{nearest(predicate.name, grammar.PREDICATES)}", UNSUPPORTED
            )
        return Predicate(predicate.name, tuple(arguments))

    def strategy(self, strategy: Strategy) -> Strategy:
        """A strategy, if it is one of those that only change what is read."""
        kinds = grammar.STRATEGIES.get(strategy.name)
        if kinds is None:
            raise TraversalError(f"{strategy.name} is refused: known are {', '.join(grammar.STRATEGIES)}", UNSUPPORTED)
        found = []
        for name, value in strategy.arguments:
            told = match(kinds[name], [self._argument(value)]) if name in kinds else None
            if told is None:
                raise TraversalError(f"{strategy.name} does not take this {name}", UNSUPPORTED)
            found.append((name, told[0]))
        return Strategy(strategy.name, tuple(found))


_CONVERT: dict[type, Callable[[_Reader, Value], Raw]] = {
    Bytecode: _Reader.traversal,
    Binding: lambda reader, one: reader.literal(one.value),
    Predicate: _Reader.predicate,
    Strategy: _Reader.strategy,
    list: lambda reader, one: ListValue(tuple(map(reader.literal, one))),
    OrderedSet: lambda reader, one: ListValue(tuple(map(reader.literal, one))),
    Map: lambda reader, one: MapValue(tuple((reader.literal(key), reader.literal(it)) for key, it in one.items())),
    Vertex: lambda _, one: VertexReference(one.id, one.label),
    Edge: lambda _, one: one,
}
