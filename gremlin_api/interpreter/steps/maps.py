"""Steps that tell something of each traverser: select, project, path, math, unfold, constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, ILLEGAL_STATE, UNSUPPORTED, TraversalError
from gremlin_api.interpreter import arithmetic
from gremlin_api.interpreter.chain import MISSING, FlatMap, Map, MapTraverser, Step
from gremlin_api.interpreter.formula import Formula
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.interpreter.projection import IDENTITY, Ring, of_column
from gremlin_api.interpreter.scope import LAST, scoped
from gremlin_api.interpreter.steps import local
from gremlin_api.interpreter.steps.family import Build, modulator_texts
from gremlin_api.interpreter.steps.filters import sub_path
from gremlin_api.interpreter.traverser import Traverser, path_of
from gremlin_api.language.syntax import EnumValue, Traversal
from gremlin_api.values import Map as MapOfValues
from gremlin_api.values import Path, Value

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder


def _path(builder: Builder, instruction: Instruction) -> Step:
    start, end = modulator_texts(builder, instruction)
    ring = builder.ring(instruction)

    def tell(traverser: Traverser) -> Value:
        path = sub_path(path_of(traverser.trail), start, end)
        if ring.identity:
            return path
        told = ring.all_of(path.objects)
        return MISSING if told is None else Path(told, path.labels)

    return MapTraverser("path", tell)


def _select(builder: Builder, instruction: Instruction) -> Step:
    arguments = [one if isinstance(one, Traversal) else builder.value(one) for one in instruction.arguments]
    first = arguments[0]
    if isinstance(first, EnumValue) and first.enum == "Column":
        return Map("select", of_column(first.name))
    pop: str | None = None if isinstance(first, Traversal) else LAST
    if isinstance(first, EnumValue):
        pop = first.name
        arguments = arguments[1:]
    if isinstance(arguments[0], Traversal):
        return _select_by_traversal(builder, instruction, pop, arguments[0])
    ring = builder.ring(instruction)
    if len(arguments) == 1:
        return MapTraverser("select", _one(builder, pop, arguments[0], ring))
    return MapTraverser("select", _several(builder, pop, arguments, ring))


def _one(builder: Builder, pop: str | None, key: Value, ring: Ring) -> Callable[[Traverser], Value]:
    run, last = builder.run, ring[len(ring) - 1]

    def tell(traverser: Traverser) -> Value:
        value = scoped(run, traverser, key, pop)
        return value if value is MISSING or value is None else last.of(value)

    return tell


def _several(builder: Builder, pop: str | None, keys: list[Value], ring: Ring) -> Callable[[Traverser], Value]:
    run = builder.run

    def tell(traverser: Traverser) -> Value:
        told = MapOfValues()
        for place, key in enumerate(keys):
            value = scoped(run, traverser, key, pop)
            if value is not MISSING:
                value = ring[place].of(value)
            if value is MISSING:
                return MISSING
            told[key] = value
        return told

    return tell


def _select_by_traversal(builder: Builder, instruction: Instruction, pop: str | None, traversal: Traversal) -> Step:
    run, chain, by = builder.run, builder.chain(traversal), instruction.by()
    projection = builder.projection(by[-1]) if by else IDENTITY

    def tell(traverser: Traverser) -> Value:
        key = chain.first(traverser)
        value = MISSING if key is MISSING else scoped(run, traverser, key, pop)
        if value is MISSING or value is None:
            return value
        told = projection.of(value)
        if told is MISSING:
            raise TraversalError(f"select(): by() gives nothing of {java_text(value)}", ILLEGAL_ARGUMENT)
        return told

    return MapTraverser("select", tell)


def _project(builder: Builder, instruction: Instruction) -> Step:
    keys = [builder.value(one) for one in instruction.arguments]
    if len(set(keys)) != len(keys):
        raise TraversalError("project() takes each key once", ILLEGAL_ARGUMENT)
    ring = builder.ring(instruction)

    def tell(traverser: Traverser) -> Value:
        told = MapOfValues()
        for place, key in enumerate(keys):
            value = ring[place].at(traverser)
            if value is not MISSING:
                told[key] = value
        return told

    return MapTraverser("project", tell)


def _constant(builder: Builder, instruction: Instruction) -> Step:
    value = builder.value(instruction.arguments[0])
    return Map("constant", lambda _: value)


def _loops(builder: Builder, instruction: Instruction) -> Step:
    name = builder.value(instruction.arguments[0]) if instruction.arguments else None

    def tell(traverser: Traverser) -> Value:
        for _, loop, times in reversed(traverser.loops):
            if name in (None, loop):
                return times
        if name is None or not traverser.loops:
            raise TraversalError("loops() is asked outside of repeat()", UNSUPPORTED)
        raise TraversalError(f"no repeat() around this is named '{name}'", ILLEGAL_ARGUMENT)

    return MapTraverser("loops", tell)


def _unfold(builder: Builder, _: Instruction) -> Step:
    def unfold(value: Value) -> Value:
        if value is None:
            raise TraversalError("unfold() does not take null", "java.lang.NullPointerException")
        return local.items(value)

    return FlatMap("unfold", builder.run, unfold)


def _math(builder: Builder, instruction: Instruction) -> Step:
    formula = Formula(builder.value(instruction.arguments[0]))
    ring, run = builder.ring(instruction), builder.run

    def tell(traverser: Traverser) -> Value:
        values: dict[str, float] = {}
        for place, variable in enumerate(formula.variables):
            if variable == "_":
                value = ring[place].at(traverser)
            else:
                found = scoped(run, traverser, variable)
                value = ring[place].of(None if found is MISSING else found)
            if value is MISSING:
                return MISSING
            if type(value) not in arithmetic.NUMBERS:
                raise TraversalError(f"math(): {variable} is {java_text(value)}, which is no number", ILLEGAL_STATE)
            values[variable] = float(value)
        return formula.evaluate(values)

    return MapTraverser("math", tell)


STEPS: dict[str, Build] = {
    "path": _path,
    "select": _select,
    "project": _project,
    "constant": _constant,
    "loops": _loops,
    "unfold": _unfold,
    "math": _math,
}
