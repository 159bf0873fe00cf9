"""Values as Java's ``String.valueOf`` writes them: texts of TinkerPop's answers and messages are these.

Source: Java's Double, BigDecimal, Date; StringFactory of TinkerPop 3.7.3.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal

import numpy as np

from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import Float
from gremlin_api.values import (
    BulkSet,
    Edge,
    Entry,
    Graph,
    Map,
    OrderedSet,
    Path,
    Presence,
    Property,
    Value,
    Vertex,
    VertexProperty,
)

_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e7  # Double.toString writes what lies between without an exponent
_SHOWN = 20  # characters of a property's value
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def java_text(value: Value) -> str:
    """The text of a value."""
    written = _WRITTEN.get(type(value))
    if written is None:
        written = next((_WRITTEN[kind] for kind in type(value).__mro__ if kind in _WRITTEN), str)
        _WRITTEN[type(value)] = written
    return written(value)


def _real(value: float, shortest: Callable[[float], str]) -> str:
    if value != value:  # noqa: PLR0124 - NaN is not itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if str(value).startswith("-") else "0.0"
    number = Decimal(shortest(value)).normalize()
    if len(number.as_tuple().digits) == 1:
        number = Decimal(f"{value:.1e}").normalize()  # the nearest of two digits
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    place = len(text) + exponent  # of the point, from the first digit
    minus = "-" if sign else ""
    if _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        if place <= 0:
            return f"{minus}0.{'0' * -place}{text}"
        return f"{minus}{text[:place].ljust(place, '0')}.{text[place:] or '0'}"
    return f"{minus}{text[0]}.{text[1:] or '0'}E{place - 1}"


def _double(value: float) -> str:
    return _real(value, repr)


def _float(value: float) -> str:
    return _real(value, lambda one: np.format_float_scientific(np.float32(one), unique=True))


def _date(value: datetime) -> str:
    day, month = _DAYS[value.weekday()], _MONTHS[value.month - 1]
    return f"{day} {month} {value.day:02} {value:%H:%M:%S} UTC {value.year}"


def _list(items: Iterable[Value]) -> str:
    return f"[{', '.join(map(java_text, items))}]"


def _map(value: Map) -> str:
    return f"{{{', '.join(f'{java_text(key)}={java_text(one)}' for key, one in value.items())}}}"


def _abbreviated(value: Value) -> str:
    text = java_text(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_WRITTEN: dict[type, Callable[[Value], str]] = {
    type(None): lambda _: "null",
    str: str,
    bool: lambda one: "true" if one else "false",
    int: lambda one: str(int(one)),
    float: _double,
    Float: _float,
    Decimal: str,
    datetime: _date,
    uuid.UUID: str,
    list: _list,
    tuple: _list,
    OrderedSet: _list,
    set: _list,
    frozenset: _list,
    Map: _map,
    BulkSet: lambda one: _map(one.counts),
    Entry: lambda one: f"{java_text(one.key)}={java_text(one.value)}",
    Path: lambda one: f"path{_list(one.objects)}",
    Vertex: lambda one: f"v[{java_text(one.id)}]",
    Edge: lambda one: f"e[{java_text(one.id)}][{java_text(one.out.id)}-{one.label}->{java_text(one.into.id)}]",
    VertexProperty: lambda one: f"vp[{one.label}->{_abbreviated(one.value)}]",
    Property: lambda one: f"p[{one.key}->{_abbreviated(one.value)}]",
    EnumValue: lambda one: one.name,
    Presence: lambda one: f"Optional[{java_text(one.value)}]" if one.present else "Optional.empty",
    Graph: lambda one: f"tinkergraph[vertices:{len(one.vertices)} edges:{len(one.edges)}]",
}
"""By type; types that are met are added."""
