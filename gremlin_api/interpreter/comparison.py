"""When values are equal, which is the lesser, and the order of all of them.

Ports GremlinValueComparator of TinkerPop 3.7.3 (its COMPARABILITY and its ORDERABILITY) and Order.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from decimal import Decimal
from functools import cmp_to_key

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter.arithmetic import (
    INTEGERS,
    NATURAL,
    NUMBERS,
    compare_numbers,
    is_nan,
    java_name,
    java_type,
    rounded,
)
from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import INT_BITS, LONG_BITS, BigInteger, Byte, Float, Int, Long, Short, fits
from gremlin_api.values import BulkSet, Edge, Entry, Map, OrderedSet, Path, Property, Tree, Value, Vertex, VertexProperty

_Comparison = Callable[[Value, Value], int]


class IncomparableError(TraversalError):
    """Two values of which neither is the lesser: TinkerPop's GremlinTypeErrorException. A filter takes it as no."""

    def __init__(self, one: Value, other: Value) -> None:
        super().__init__(
            f"{java_name(one)} and {java_name(other)} cannot be compared",
            "org.apache.tinkerpop.gremlin.process.traversal.GremlinTypeErrorException",
        )


(
    _NULL, _BOOLEAN, _NUMBER, _DATE, _TEXT, _UUID, _VERTEX, _EDGE, _VERTEX_PROPERTY, _PROPERTY, _PATH, _SET, _LIST, _MAP,
    _ENTRY, _UNKNOWN,
) = range(16)  # fmt: skip
"""GremlinValueComparator.Type: values of different ones are ordered by it, and never equal."""

_SPACES: dict[type, int] = {
    type(None): _NULL,
    bool: _BOOLEAN,
    **dict.fromkeys(NUMBERS, _NUMBER),
    datetime: _DATE,
    str: _TEXT,
    uuid.UUID: _UUID,
    Vertex: _VERTEX,
    Edge: _EDGE,
    VertexProperty: _VERTEX_PROPERTY,
    Property: _PROPERTY,
    Path: _PATH,
    **dict.fromkeys((OrderedSet, BulkSet, set, frozenset), _SET),
    **dict.fromkeys((list, tuple), _LIST),
    **dict.fromkeys((Map, Tree), _MAP),
    Entry: _ENTRY,
}


def _space(value: Value) -> int:
    kind = type(value)
    found = _SPACES.get(kind)
    if found is None:
        found = _SPACES[kind] = next((_SPACES[base] for base in kind.__mro__ if base in _SPACES), _UNKNOWN)
    return found


_STRUCTURE = "org.apache.tinkerpop.gremlin.structure."
_PROCESS = "org.apache.tinkerpop.gremlin.process.traversal."
_ENUMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "T": (_STRUCTURE + "T", ("label", "id", "key", "value")),
    "Direction": (_STRUCTURE + "Direction", ("OUT", "IN", "BOTH")),
    "Cardinality": (_STRUCTURE + "VertexProperty$Cardinality", ("single", "list", "set")),
    "Merge": (_PROCESS + "Merge", ("onCreate", "onMatch", "outV", "inV")),
    "Pick": (_PROCESS + "Pick", ("any", "none")),
}
"""Those whose values may be values: the class, and its values in Java's order."""


def _class_and_text(value: Value) -> tuple[str, str]:
    if not isinstance(value, EnumValue):
        return type(value).__name__, repr(value)
    name, members = _ENUMS[value.enum]
    # Each value of T is of a class of its own: T$1, T$2 …
    return (f"{name}${members.index(value.name) + 1}" if value.enum == "T" else name), value.name


def _naturally_comparable(one: Value, other: Value) -> bool:
    if one == other:
        return True
    return isinstance(one, EnumValue) and isinstance(other, EnumValue) and one.enum == other.enum != "T"


def _unknown(one: Value, other: Value, _: _Comparison) -> int:
    if one == other:
        return 0
    if _naturally_comparable(one, other):
        members = _ENUMS[one.enum][1]
        return members.index(one.name) - members.index(other.name)
    first, second = _class_and_text(one), _class_and_text(other)
    return (first > second) - (first < second)


def _iterables(one: Iterable[Value], other: Iterable[Value], compared: _Comparison) -> int:
    ones, others = list(one), list(other)
    for first, second in zip(ones, others, strict=False):
        found = compared(first, second)
        if found:
            return found
    return len(ones) - len(others)


def _sorted_items(items: Iterable[Value]) -> list[Value]:
    return sorted(items, key=cmp_to_key(_order))


def _sorted_entries(value: Map) -> list[Entry]:
    return _sorted_items(Entry(key, one) for key, one in value.items())


def _entries(one: Entry, other: Entry, compared: _Comparison) -> int:
    return compared(one.key, other.key) or compared(one.value, other.value)


def _elements(one: Value, other: Value, compared: _Comparison) -> int:
    return compared(one.id, other.id)


def _naturally(one: Value, other: Value, _: _Comparison) -> int:
    return NATURAL[type(one)](one, other)


_COMPARED: dict[int, Callable[[Value, Value, _Comparison], int]] = {
    _NULL: lambda _one, _other, _compared: 0,
    **dict.fromkeys((_BOOLEAN, _DATE, _TEXT, _UUID), _naturally),
    _NUMBER: lambda one, other, _: compare_numbers(one, other),
    **dict.fromkeys((_VERTEX, _EDGE, _VERTEX_PROPERTY), _elements),
    _PROPERTY: _entries,
    _PATH: lambda one, other, compared: _iterables(one.objects, other.objects, compared),
    _SET: lambda one, other, compared: _iterables(_sorted_items(one), _sorted_items(other), compared),
    _LIST: _iterables,
    _MAP: lambda one, other, compared: _iterables(_sorted_entries(one), _sorted_entries(other), compared),
    _ENTRY: _entries,
    _UNKNOWN: _unknown,
}
"""By the space of both: how two are compared, what is in them by the function given."""


def compare(one: Value, other: Value) -> int:
    """Negative, 0 or positive: whether one is less than, as much as, or more than the other.

    Raises:
        IncomparableError: they are of different kinds, one is NaN, or what is in them is so.
    """
    kind = type(one)
    if kind is type(other) and kind in _EXACT:
        return NATURAL[kind](one, other) if kind in NATURAL else compare_numbers(one, other)
    if is_nan(one) or is_nan(other):
        raise IncomparableError(one, other)
    space = _space(one)
    if space != _space(other) or (space == _UNKNOWN and not _naturally_comparable(one, other)):
        raise IncomparableError(one, other)
    return _COMPARED[space](one, other, compare)


_EXACT = frozenset({int, str, bool, Long, datetime, uuid.UUID})
"""Types of which two are equal if Python says so."""


def equals(one: Value, other: Value) -> bool:
    """Whether ``P.eq`` holds: numbers by value whatever their types, NaN never, null only with null."""
    kind = type(one)
    if kind is type(other) and kind in _EXACT:
        return bool(one == other)
    space = _space(one)
    if space != _space(other) or is_nan(one) or is_nan(other):
        return False
    if space == _NUMBER:
        return compare_numbers(one, other) == 0
    if space in _BY_ID and type(one.id) is type(other.id) and type(one.id) in _EXACT:
        return bool(one.id == other.id)
    return _equal(space, one, other)


def _equal(space: int, one: Value, other: Value) -> bool:
    if (space in (_SET, _LIST) and len(one) != len(other)) or (space == _UNKNOWN and one != other):
        return False
    try:
        return _COMPARED[space](one, other, compare) == 0 and (space in _BY_CONTENT or _hashes_agree(one, other))
    except IncomparableError:
        return False


_BY_ID = frozenset({_VERTEX, _EDGE, _VERTEX_PROPERTY})
_BY_CONTENT = frozenset({_SET, _LIST, _MAP})
"""Of these, and of numbers, equality does not look at Java's hash codes, which differ between 1 and 1.0."""


def _signed(value: int) -> int:
    return value - (1 << INT_BITS) if value >> INT_BITS - 1 else value


def _big_hash(value: int) -> int:
    found, left = 0, abs(value)
    words = []
    while left:
        words.append(left & (1 << INT_BITS) - 1)
        left >>= INT_BITS
    for word in reversed(words):
        found = 31 * found + word
    return found if value >= 0 else -found


def _decimal_hash(value: Decimal) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return 31 * _big_hash(int(Decimal((sign, digits, 0)))) - exponent


def _folded(value: int) -> int:
    return value ^ (value & (1 << LONG_BITS) - 1) >> INT_BITS


_HASHES: dict[type, Callable[[Value], int]] = {
    **dict.fromkeys((Byte, Short, Int), int),
    Long: _folded,
    BigInteger: _big_hash,
    Float: lambda one: int(struct.unpack("<i", struct.pack("<f", rounded(one)))[0]),
    float: lambda one: _folded(struct.unpack("<q", struct.pack("<d", one))[0]),
    Decimal: _decimal_hash,
}
"""Number.hashCode, its lowest 32 bits."""


def _number_hash(value: Value) -> int:
    return _HASHES[java_type(value)](value) & (1 << INT_BITS) - 1


def _parts(space: int, value: Value) -> list[Value]:
    """What a value's hash code is made of."""
    if space in _BY_ID:
        return [value.id]
    if space in (_PROPERTY, _ENTRY):
        return [value.key, value.value]
    if space == _PATH:
        return list(value.objects)
    if space == _MAP:
        return list(_sorted_entries(value))
    return _sorted_items(value) if space == _SET else list(value) if space == _LIST else []


def _hashes_agree(one: Value, other: Value) -> bool:
    """Whether two values that compare as equal have one hash code in Java."""
    space = _space(one)
    if space == _NUMBER:
        return _number_hash(one) == _number_hash(other)
    return all(map(_hashes_agree, _parts(space, one), _parts(space, other)))


def _order(one: Value, other: Value) -> int:
    """Orderability: null first, then by kind, then by value; NaN is the greatest number."""
    kind = type(one)
    if kind is type(other) and kind in _EXACT:
        return NATURAL[kind](one, other) if kind in NATURAL else compare_numbers(one, other)
    space, other_space = _space(one), _space(other)
    if space != other_space:
        return space - other_space
    return _COMPARED[space](one, other, _order)


def order(one: Value, other: Value) -> int:
    """Negative, 0 or positive, as ``Order.asc``: there is an order of any two; an enum's value counts as its name."""
    return _order(_named(one), _named(other))


def _named(value: Value) -> Value:
    return value.name if type(value) is EnumValue else value


_GENERAL_KEY: Callable[[Value], Value] = cmp_to_key(order)


def _as_it_is(value: Value) -> Value:
    return value


def _by_units(value: str) -> bytes:
    return value.encode("utf-16-be", "surrogatepass")


def _plainly_ordered(value: Value) -> bool:
    """Whether Python orders an Integer or a Double among such as Java does."""
    if type(value) is int:
        return fits(value, INT_BITS)
    return not math.isnan(value) and (value != 0 or math.copysign(1, value) > 0)


def order_key(values: Collection[Value]) -> Callable[[Value], Value]:
    """The key for ``sorted`` that puts just these values in :func:`order`; plain ones stand for themselves."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return _as_it_is if all(map(str.isascii, values)) else _by_units
    if kinds <= INTEGERS or kinds == {datetime}:
        return _as_it_is
    if kinds <= {int, float} and all(map(_plainly_ordered, values)):
        return _as_it_is
    return _GENERAL_KEY
