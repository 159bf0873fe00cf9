"""Steps that make one value of one: texts, dates, lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter import arithmetic, dates, lists, strings
from gremlin_api.interpreter.chain import MISSING, Map, MapTraverser, Step
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.scope import scoped
from gremlin_api.interpreter.steps import local
from gremlin_api.interpreter.steps.family import Build, scope_and_rest
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language.grammar import CONSTANTS
from gremlin_api.language.syntax import Argument, Traversal
from gremlin_api.values import Edge, Value, Vertex, VertexProperty
from gremlin_api.values import Map as MapOfValues

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

OfTraverser = Callable[[Traverser], Value]

_OPTIONS = CONSTANTS["WithOptions"]


def _of_texts(function: Callable[..., strings.OfText]) -> Build:
    """A step of texts, or of lists of texts where its scope is local; its arguments make the function."""

    def build(builder: Builder, instruction: Instruction) -> Step:
        scope, arguments = scope_and_rest(builder, instruction)
        apply = strings.of_items if scope == "local" else strings.of_text
        return Map(instruction.name, apply(instruction.name, function(*arguments)))

    return build


def _as_string(builder: Builder, instruction: Instruction) -> Step:
    scope, _ = scope_and_rest(builder, instruction)
    return Map("asString", strings.as_strings if scope == "local" else strings.as_string)


def _concat(builder: Builder, instruction: Instruction) -> Step:
    tellers = [_teller(builder, one, "concat") for one in instruction.arguments]

    def tell(traverser: Traverser) -> Value:
        others = [teller(traverser) for teller in tellers]
        for one in others:
            if one is not None and not isinstance(one, str):
                raise arithmetic.wrong_type(one, "java.lang.String")
        return strings.concat(traverser.value, others)

    return MapTraverser("concat", tell)


def _teller(builder: Builder, argument: Argument, step: str) -> OfTraverser:
    """Gives the value of an argument: the same for all, or the first that its traversal gives."""
    if not isinstance(argument, Traversal) or argument.terminal is not None:
        value = builder.value(argument)
        return lambda _: value
    chain = builder.chain(argument)

    def tell(traverser: Traverser) -> Value:
        found = chain.first(traverser)
        if found is MISSING:
            raise TraversalError(f"{step}(): its traversal gives nothing of a traverser")
        return found

    return tell


def _format(builder: Builder, instruction: Instruction) -> Step:
    template, ring, run = builder.value(instruction.arguments[0]), builder.ring(instruction), builder.run

    def tell(traverser: Traverser) -> Value:
        place = 0

        def told(name: str) -> Value:
            nonlocal place
            if name == "_":
                place += 1
                value = ring[place - 1].at(traverser)
            else:
                value = _of_element(traverser.value, name)
                if value is MISSING:
                    value = scoped(run, traverser, name)
            return None if value is MISSING else value

        text = strings.formatted(template, told)
        return MISSING if text is None else text

    return MapTraverser("format", tell)


def _of_element(element: Value, key: str) -> Value:
    if isinstance(element, Vertex):
        several = (element.properties or {}).get(key)
        return several[0].value if several else MISSING
    if isinstance(element, Edge | VertexProperty):
        return (element.properties or {}).get(key, MISSING)
    return MISSING


def _date_add(builder: Builder, instruction: Instruction) -> Step:
    unit, amount = map(builder.value, instruction.arguments)
    return Map("dateAdd", dates.date_add(unit.name, amount))


def _date_difference(builder: Builder, instruction: Instruction) -> Step:
    other = _teller(builder, instruction.arguments[0], "dateDiff")
    return MapTraverser("dateDiff", lambda traverser: dates.date_difference(traverser.value, other(traverser)))


def _join(builder: Builder, instruction: Instruction) -> Step:
    name, other = instruction.name, _teller(builder, instruction.arguments[0], instruction.name)
    join = lists.JOINS[name]

    def tell(traverser: Traverser) -> Value:
        if name == "merge" and isinstance(traverser.value, MapOfValues):
            return lists.merged(traverser.value, other(traverser))
        one = lists.collected(traverser.value, name)
        return join(one, lists.collected(other(traverser), name))

    return MapTraverser(name, tell)


def _conjoin(builder: Builder, instruction: Instruction) -> Step:
    delimiter = builder.value(instruction.arguments[0])
    return Map("conjoin", lambda value: lists.conjoin(value, delimiter))


def _index(builder: Builder, instruction: Instruction) -> Step:
    as_map = False
    for modulator in instruction.modulators:
        key, *values = map(builder.value, modulator.arguments)
        if key == _OPTIONS["indexer"]:
            if len(values) != 1 or values[0] not in (_OPTIONS["list"], _OPTIONS["map"]) or isinstance(values[0], bool):
                raise TraversalError("WithOptions.indexer takes WithOptions.list or WithOptions.map")
            as_map = values[0] == _OPTIONS["map"]
    return Map("index", lambda value: lists.indexed(local.items(value), as_map=as_map))


STEPS: dict[str, Build] = {
    "asString": _as_string,
    "concat": _concat,
    "length": _of_texts(lambda: strings.length),
    "toLower": _of_texts(lambda: str.lower),
    "toUpper": _of_texts(lambda: str.upper),
    "trim": _of_texts(lambda: strings.trim),
    "lTrim": _of_texts(lambda: strings.left_trim),
    "rTrim": _of_texts(lambda: strings.right_trim),
    "replace": _of_texts(strings.replace),
    "split": _of_texts(strings.split),
    "substring": _of_texts(strings.substring),
    "reverse": lambda _, __: Map("reverse", strings.reverse),
    "format": _format,
    "asDate": lambda _, __: Map("asDate", dates.as_date),
    "dateAdd": _date_add,
    "dateDiff": _date_difference,
    **dict.fromkeys(lists.JOINS, _join),
    "conjoin": _conjoin,
    "index": _index,
}
