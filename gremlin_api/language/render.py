"""What a query says → text of TinkerPop's Gremlin that says the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from gremlin_api.language.syntax import (
    Argument,
    CardinalityValue,
    Date,
    EnumValue,
    ListValue,
    MapValue,
    Predicate,
    Query,
    Range,
    Step,
    Strategy,
    Traversal,
    Variable,
    VertexReference,
)
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Number, Short

_SUFFIXES: dict[type, str] = {int: "", Byte: "b", Short: "s", Long: "l", BigInteger: "n", Float: "f", float: "d"}
_JOINED = frozenset({"and", "or", "negate"})
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b"})


def render(queries: Iterable[Query]) -> str:
    """The text of statements, each on a line."""
    return "\n".join(map(_query, queries))


def _query(query: Query) -> str:
    if query.traversal is not None:
        text = render_traversal(query.traversal)
    else:
        text = "''" if query.source is None else _steps("g", query.source)
    return text + ".toString()" * query.texts


def render_traversal(traversal: Traversal) -> str:
    """The text of a traversal, from ``g`` or from ``__``."""
    steps = traversal.steps if traversal.terminal is None else (*traversal.steps, traversal.terminal)
    return _steps("__", steps) if traversal.source is None else _steps("g", (*traversal.source, *steps))


def _steps(before: str, steps: Iterable[Step]) -> str:
    return ".".join([before, *map(render_step, steps)])


def render_step(step: Step) -> str:
    """The text of a step."""
    return f"{step.name}({_list(step.arguments)})"


def _list(arguments: Iterable[Argument]) -> str:
    return ", ".join(map(render_argument, arguments))


def render_argument(argument: Argument) -> str:
    """The text of one argument."""
    return next(rendered(argument) for kind, rendered in _RENDERED if isinstance(argument, kind))


def _map(value: MapValue) -> str:
    entries = (f"({render_argument(key)}): {render_argument(one)}" for key, one in value.entries)
    return f"[{', '.join(entries) or ':'}]"


def _strategy(strategy: Strategy) -> str:
    if strategy.name == "ReadOnlyStrategy":  # which the grammar has without brackets
        return strategy.name
    return f"new {strategy.name}({', '.join(f'{key}: {render_argument(one)}' for key, one in strategy.arguments)})"


def _predicate(predicate: Predicate) -> str:
    if predicate.name in _JOINED:
        return f"{render_argument(predicate.arguments[0])}.{predicate.name}({_list(predicate.arguments[1:])})"
    return f"{predicate.name}({_list(predicate.arguments)})"


def _number(number: Number) -> str:
    if isinstance(number, Decimal):
        return f"{number}m"
    if isinstance(number, Float) and math.isinf(number):
        return "1e39f" if number > 0 else "-1e39f"  # it has no word: beyond the largest
    if isinstance(number, float) and not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    plain = repr(float(number)) if isinstance(number, float) else repr(int(number))
    return plain + _SUFFIXES[type(number)]


_RENDERED: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (type(None), lambda _: "null"),
    (bool, lambda one: str(one).lower()),
    (str, lambda one: f"'{one.translate(_ESCAPES)}'"),
    ((int, float, Decimal), _number),
    (EnumValue, lambda one: f"{one.enum}.{one.name}"),
    (Variable, lambda one: str(one.name)),
    (Traversal, render_traversal),
    (Date, lambda one: "datetime()" if one.text is None else f"datetime({render_argument(one.text)})"),
    (ListValue, lambda one: f"[{_list(one.items)}]"),
    (Range, lambda one: f"{render_argument(one.first)}..{render_argument(one.last)}"),
    (MapValue, _map),
    (VertexReference, lambda one: f"new Vertex({render_argument(one.id)}, {render_argument(one.label)})"),
    (CardinalityValue, lambda one: f"Cardinality.{one.cardinality}({render_argument(one.value)})"),
    (Strategy, _strategy),
    (Predicate, _predicate),
)
"""The first that fits: a boolean is an integer, too."""
