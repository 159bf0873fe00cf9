"""Whether what stands in a step's brackets is what the step takes: the kinds of :mod:`gremlin_api.language.grammar`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from gremlin_api.language import grammar
from gremlin_api.language.syntax import (
    Argument,
    CardinalityValue,
    Date,
    EnumValue,
    ListValue,
    MapValue,
    Predicate,
    Strategy,
    Traversal,
    Variable,
    VertexReference,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A bare name: which enum it belongs to, or that it is a variable, is said by where it stands."""

    text: str


Raw: TypeAlias = "Argument | Word"


class _NothingType:
    """No argument of that kind; null is one of some."""


_NOTHING: Final = _NothingType()
_Convert: TypeAlias = Callable[[Raw], "Argument | _NothingType"]


def match(signature: str, given: Sequence[Raw]) -> tuple[Argument, ...] | None:
    """The arguments as the signature has them; None: they are others."""
    kinds = signature.split()
    more = kinds.pop().removesuffix("*") if kinds and kinds[-1].endswith("*") else None
    if len(given) < len(kinds) or (more is None and len(given) > len(kinds)):
        return None
    if more == "Constant" and len(given) == len(kinds) + 1:
        more = "Literal"  # a variable may stand for all of them, but not among others
    found: list[Argument] = []
    for place, one in enumerate(given):
        kind = kinds[place] if place < len(kinds) else more
        assert kind is not None
        value = KINDS[kind](one)
        if isinstance(value, _NothingType):
            return None
        found.append(value)
    return tuple(found)


def described(given: Sequence[Raw]) -> str:
    """Their kinds in words."""
    return ", ".join(_described(one) for one in given)


def _described(one: Raw) -> str:
    if isinstance(one, Word):
        return one.text
    if isinstance(one, EnumValue):
        return f"{one.enum}.{one.name}"
    return next(name for kind, name in _NAMES if isinstance(one, kind))


_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "boolean"),
    (int, "integer"),
    ((float, Decimal), "number"),
    (str, "string"),
    (Date, "date"),
    (ListValue, "list"),
    (MapValue, "map"),
    (VertexReference, "vertex"),
    (Traversal, "traversal"),
    (Predicate, "predicate"),
    (object, "something else"),
)


def _variable(one: Raw) -> Argument | _NothingType:
    if isinstance(one, Variable):
        return one
    free = isinstance(one, Word) and one.text not in grammar.KEYWORDS and "." not in one.text
    return Variable(one.text) if isinstance(one, Word) and free else _NOTHING


def _of_types(*types: type, variable: bool = True, null: bool = False) -> _Convert:
    def convert(one: Raw) -> Argument | _NothingType:
        if isinstance(one, types) and not (isinstance(one, bool) and bool not in types):
            return one  # type: ignore[return-value]  # of one of these
        if one is None and null:
            return None
        return _variable(one) if variable else _NOTHING

    return convert


def _of_enums(*enums: str) -> _Convert:
    def convert(one: Raw) -> Argument | _NothingType:
        if isinstance(one, EnumValue):
            return one if one.enum in enums else _NOTHING
        found = _enum_value(one, enums)
        return _variable(one) if found is None else found

    return convert


def _enum_value(one: Raw, enums: Sequence[str]) -> EnumValue | None:
    if not isinstance(one, Word):
        return None
    before, _, name = one.text.rpartition(".")
    for enum in enums:
        if before in ("", enum) and name in grammar.ENUMS[enum]:
            return EnumValue(enum, grammar.SAME_AS.get((enum, name), name))
    return None


def literal(one: Raw) -> Argument | _NothingType:
    """What may stand where any literal may."""
    if isinstance(one, Word):
        found = _enum_value(one, grammar.LITERAL_ENUMS)
        return _variable(one) if found is None else found
    if isinstance(one, Predicate | Strategy) or (isinstance(one, EnumValue) and one.enum in grammar.CONSTANTS):
        return _NOTHING
    return one


def _constant(one: Raw) -> Argument | _NothingType:
    found = literal(one)
    return _NOTHING if isinstance(found, Variable) else found


def _traversal(one: Raw) -> Argument | _NothingType:
    return one if isinstance(one, Traversal) and one.terminal is None else _NOTHING


def _strings(one: Raw) -> Argument | _NothingType:
    if isinstance(one, ListValue):
        return one if all(item is None or isinstance(item, str) for item in one.items) else _NOTHING
    return ListValue((one,)) if one is None or isinstance(one, str) else _NOTHING


def _with(more: _Convert) -> _Convert:
    def convert(one: Raw) -> Argument | _NothingType:
        return one if isinstance(one, EnumValue) and one.enum in grammar.CONSTANTS else more(one)

    return convert


_string = _of_types(str)

KINDS: dict[str, _Convert] = {
    "Boolean": _of_types(bool),
    "Constant": _constant,
    "Date": _of_types(Date),
    "FixedBoolean": _of_types(bool, variable=False),
    "FixedInteger": _of_types(int, variable=False),
    "Float": _of_types(float, Decimal),
    "Function": _of_enums("T", "Column"),
    "Integer": _of_types(int),
    "Literal": literal,
    "Map": _of_types(MapValue),
    "Map?": _of_types(MapValue, null=True),
    "Predicate": _of_types(Predicate, variable=False),
    "Strategy": _of_types(Strategy, variable=False),
    "String": _string,
    "String?": _of_types(str, null=True),
    "Strings": _strings,
    "Traversal": _traversal,
    "Vertex": _of_types(VertexReference),
    "WithKey": _with(_string),
    "WithValue": _with(literal),
    "Cardinality": lambda one: one if isinstance(one, CardinalityValue) else _of_enums("Cardinality")(one),
    **{enum: _of_enums(enum) for enum in grammar.ENUMS if enum != "Cardinality"},
}
"""By kind: gives an argument of that kind for what stands there, or nothing."""
