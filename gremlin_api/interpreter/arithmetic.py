"""Arithmetic on Java's number types: which type comes out, what wraps, what fails.

Ports NumberHelper, Operator and MeanGlobalStep's MeanNumber of TinkerPop 3.7.3.
"""

from __future__ import annotations

import math
import operator
import struct
import uuid
from collections.abc import Callable
from datetime import datetime
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, DecimalException, Inexact, InvalidOperation
from functools import partial

from gremlin_api.errors import ARITHMETIC, ILLEGAL_ARGUMENT, WRONG_TYPE, TraversalError
from gremlin_api.numbers import BITS, INT_BITS, LONG_BITS, BigInteger, Byte, Float, Int, Long, Short, fits, integer_type
from gremlin_api.values import BulkSet, Map, OrderedSet, Tree, Value

NUMBER_FORMAT = "java.lang.NumberFormatException"
NULL_POINTER = "java.lang.NullPointerException"

_Binary = Callable[[Value, Value], Value]

_MOST_BITS = 1 << 20
"""Of a BigInteger. Java's limit is 2**31; numbers of that size would stop a server."""

_MOST_DIGITS = 1 << 18
"""Of a BigDecimal, for the same reason."""

_LEAST_INT, _MOST_INT = -(1 << INT_BITS - 1), (1 << INT_BITS - 1) - 1


def _context(digits: int, traps: list[type[DecimalException]]) -> Context:
    return Context(prec=digits, rounding=ROUND_HALF_UP, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=traps)


_EXACT = _context(_MOST_DIGITS, [Inexact, InvalidOperation])

# What getHighestCommonNumberClass knows of a type: its bits, and whether it has a fraction.
_WIDTHS: dict[type, tuple[int, bool]] = {
    Byte: (8, False),
    Short: (16, False),
    Int: (32, False),
    Long: (64, False),
    BigInteger: (128, False),
    Float: (32, True),
    float: (64, True),
    Decimal: (128, True),
}
_OF_WIDTH = {width: kind for kind, width in _WIDTHS.items()} | {(8, True): Float, (16, True): Float}


def _wider(one: type, other: type) -> type:
    (bits, fraction), (other_bits, other_fraction) = _WIDTHS[one], _WIDTHS[other]
    return _OF_WIDTH[max(bits, other_bits), fraction or other_fraction]


_COMMON = {(one, other): _wider(one, other) for one in _WIDTHS for other in _WIDTHS}

INTEGERS = frozenset({int, Byte, Short, Long, BigInteger})
"""The Python types of Java's integers; a boolean is none."""

REALS = frozenset({float, Float})
NUMBERS = INTEGERS | REALS | {Decimal}


def is_nan(value: Value) -> bool:
    """Whether it is a Float or a Double that is no number."""
    return type(value) in REALS and math.isnan(value)


def java_type(number: Value) -> type:
    """The type of a number: ``Int`` for an Integer, ``float`` for a Double, ``Decimal`` for a BigDecimal."""
    kind = type(number)
    return integer_type(number) if kind is int else kind


def common_type(one: Value, other: Value, *, real: bool = False) -> type:
    """The type in which two numbers meet; NaN has no say in it. ``real``: it must have a fraction."""
    kinds = [java_type(number) for number in (one, other) if not is_nan(number)] or [Byte]
    kind = _COMMON[kinds[0], kinds[-1]]
    return _COMMON[kind, Float] if real else kind


def rounded(value: float) -> Float:
    """The nearest 32-bit number."""
    try:
        return Float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return Float(math.copysign(math.inf, value))


def double_of(number: Value) -> float:
    """A number as a Double; a Float's digits beyond its 32 bits are none of its."""
    return float(rounded(number) if type(number) is Float else number)


def decimal_of(number: Value) -> Decimal:
    """A number as a BigDecimal: a Double by its shortest text, with the scale of Java's ``Double.toString``.

    Raises:
        TraversalError: it is NaN or infinite.
    """
    if type(number) not in REALS:
        return Decimal(number)
    real = double_of(number)
    if not math.isfinite(real):
        raise TraversalError(f"{real} has no BigDecimal", NUMBER_FORMAT)
    sign, digits, exponent = Decimal(repr(real)).normalize().as_tuple()
    assert isinstance(exponent, int)
    # Java writes 0.001 … 9999999 plainly and the rest as d.ddE±n, at least one digit behind the point in both.
    point = len(digits) + exponent - 1
    least = min(exponent, -1) if -3 <= point < 7 or not real else min(exponent, point - 1)
    return Decimal((sign if real else 0, digits + (0,) * (exponent - least), least))


def whole_of(number: Value) -> int:
    """A number as an integer, NaN as 0."""
    return 0 if is_nan(number) else int(number)


AS: dict[type, Callable[[Value], Value]] = {
    **dict.fromkeys((Byte, Short, Int, Long, BigInteger), whole_of),
    Float: rounded,
    float: double_of,
    Decimal: decimal_of,
}
"""Number.byteValue … by type; integers are told as plain ones."""


def _integer_of(kind: type[int]) -> Callable[[int], Value]:
    bits = BITS[kind]
    made: type[int] = int if kind is Int else kind
    half, whole = 1 << bits - 1, 1 << bits

    def wrapped(value: int) -> int:
        return made((value + half) % whole - half)

    return wrapped


def _big_integer(value: int) -> BigInteger:
    if value.bit_length() > _MOST_BITS:
        raise TraversalError("BigInteger would overflow supported range", ARITHMETIC)
    return BigInteger(value)


def _decimal(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if not fits(-exponent, INT_BITS):
        raise TraversalError("Underflow" if exponent < 0 else "Overflow", ARITHMETIC)
    return value or value.copy_abs()


RESULTS: dict[type, Callable[[Value], Value]] = {
    **{kind: _integer_of(kind) for kind in BITS},
    BigInteger: _big_integer,
    Float: rounded,
    float: float,
    Decimal: _decimal,
}
"""A result of Java's as our value, by its type: integers wrapped to their bits, an Integer as a plain ``int``."""


def _by_type(whole: _Binary, real: _Binary, decimal: _Binary) -> dict[type, _Binary]:
    return {kind: decimal if kind is Decimal else real if fraction else whole for kind, (_, fraction) in _WIDTHS.items()}


def _truncated(one: int, other: int) -> int:
    if not other:
        raise TraversalError("/ by zero", ARITHMETIC)
    quotient = abs(one) // abs(other)
    return quotient if (one < 0) is (other < 0) else -quotient


def _ratio(one: float, other: float) -> float:
    if other:
        return one / other
    if not one or math.isnan(one) or math.isnan(other):
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1, other)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent


def _precision(number: Decimal) -> int:
    return len(number.as_tuple().digits)


def _divided(one: Decimal, other: Decimal) -> Decimal:
    """Exactly where that ends; else with ten digits more than the longer one has, and no more places than needed."""
    if not other:
        raise TraversalError("Division by zero" if one else "Division undefined", ARITHMETIC)
    enough = _precision(one) + math.ceil(10 * _precision(other) / 3)
    if enough > _MOST_DIGITS:
        raise TraversalError(f"BigDecimals of more than {_MOST_DIGITS} digits are not divided", ARITHMETIC)
    try:
        return _context(enough, [Inexact]).divide(one, other)
    except Inexact:
        digits = max(_precision(one), _precision(other)) + 10
        found = _context(digits, []).divide(one, other)
    scale = max(_places(one), _places(other), 10)
    return found.quantize(Decimal((0, (1,), -scale)), ROUND_HALF_UP, _EXACT_BUT_ROUNDED) if _places(found) > scale else found


_EXACT_BUT_ROUNDED = _context(_MOST_DIGITS, [InvalidOperation])


def _bounded(exact: _Binary) -> _Binary:
    """A BigDecimal's operation that says so where its result is too long."""

    def done(one: Decimal, other: Decimal) -> Decimal:
        try:
            found: Decimal = exact(one, other)
        except (Inexact, InvalidOperation) as error:
            raise TraversalError(f"a BigDecimal would have more than {_MOST_DIGITS} digits", ARITHMETIC) from error
        return found

    return done


_ADD = _by_type(operator.add, operator.add, _bounded(_EXACT.add))
_SUBTRACT = _by_type(operator.sub, operator.sub, _bounded(_EXACT.subtract))
_MULTIPLY = _by_type(operator.mul, operator.mul, _bounded(_EXACT.multiply))
_DIVIDE = _by_type(_truncated, _ratio, _bounded(_divided))
_LEAST: dict[type, _Binary] = dict.fromkeys(_WIDTHS, min)
_MOST: dict[type, _Binary] = dict.fromkeys(_WIDTHS, max)


def _applied(table: dict[type, _Binary], kind: type, one: Value, other: Value) -> Value:
    convert = AS[kind]
    return RESULTS[kind](table[kind](convert(one), convert(other)))


def java_name(value: Value) -> str:
    """The simple name of a value's class in Java, for messages."""
    kind = type(value)
    return _NAMES.get(java_type(value) if kind is int else kind, kind.__name__)


_NAMES: dict[type, str] = {
    Int: "Integer",
    float: "Double",
    Decimal: "BigDecimal",
    str: "String",
    bool: "Boolean",
    type(None): "null",
    list: "ArrayList",
    Map: "LinkedHashMap",
    OrderedSet: "LinkedHashSet",
    datetime: "Date",
}


def wrong_type(value: Value, wanted: str) -> TraversalError:
    """Java's ClassCastException."""
    return TraversalError(f"{java_name(value)} cannot be cast to {wanted}", WRONG_TYPE)


def _calculated(table: dict[type, _Binary], one: Value, other: Value) -> Value:
    for value in (one, other):
        if value is not None and type(value) not in NUMBERS:
            raise wrong_type(value, "Number")
    if one is None or other is None:
        return one
    return _applied(table, common_type(one, other), one, other)


def _small(one: int, other: int, result: int) -> bool:
    return _LEAST_INT <= one <= _MOST_INT and _LEAST_INT <= other <= _MOST_INT and _LEAST_INT <= result <= _MOST_INT


def _quick(simple: _Binary, general: _Binary) -> _Binary:
    """An operation that takes two Integers or two Doubles the short way, unless they overflow or come to NaN."""

    def done(one: Value, other: Value) -> Value:
        kind = type(one)
        if kind is type(other):
            if kind is int:
                result = simple(one, other)
                if _small(one, other, result):
                    return result
            elif kind is float:
                result = simple(one, other)
                if not math.isnan(result):
                    return result
        return general(one, other)

    return done


def _quotient(one: Value, other: Value) -> Value:
    return _truncated(one, other) if type(one) is int else _ratio(one, other)


_add = _quick(operator.add, partial(_calculated, _ADD))
_subtract = _quick(operator.sub, partial(_calculated, _SUBTRACT))
_multiply = _quick(operator.mul, partial(_calculated, _MULTIPLY))
_divide = _quick(_quotient, partial(_calculated, _DIVIDE))


def add(one: Value, other: Value) -> Value:
    """The sum; ``one`` where either is null.

    Raises:
        TraversalError: not both are numbers or null.
    """
    return _add(one, other)


def subtract(one: Value, other: Value) -> Value:
    """The difference; ``one`` where either is null. Raises TraversalError as :func:`add`."""
    return _subtract(one, other)


def multiply(one: Value, other: Value) -> Value:
    """The product; ``one`` where either is null. Raises TraversalError as :func:`add`."""
    return _multiply(one, other)


def divide(one: Value, other: Value) -> Value:
    """The quotient, integers' towards zero; ``one`` where either is null.

    Raises:
        TraversalError: as :func:`add`; an integer or a BigDecimal is divided by zero.
    """
    return _divide(one, other)


def mean_of(total: Value, count: int) -> Value:
    """A total divided by a count, with a fraction: a Double, or a BigDecimal of big numbers; null of null.

    ``mean()`` multiplies each number by its bulk, a Long, before it adds it; ``mean(local)`` adds them as they are.
    """
    if total is None:
        return None
    times = Long(count)
    return _applied(_DIVIDE, common_type(total, times, real=True), total, times)


def _signed(half: int) -> int:
    return half - (1 << LONG_BITS) if half >> LONG_BITS - 1 else half


def _uuid_key(value: uuid.UUID) -> tuple[int, int]:
    return _signed(value.int >> LONG_BITS), _signed(value.int & (1 << LONG_BITS) - 1)


def _text_order(one: str, other: str) -> int:
    if not (one.isascii() or other.isascii()):  # Java compares the units of UTF-16
        one_units, other_units = (text.encode("utf-16-be", "surrogatepass") for text in (one, other))
        return (one_units > other_units) - (one_units < other_units)
    return (one > other) - (one < other)


def _plain_order(one: Value, other: Value) -> int:
    return bool(one > other) - bool(one < other)


def _uuid_order(one: uuid.UUID, other: uuid.UUID) -> int:
    return _plain_order(_uuid_key(one), _uuid_key(other))


NATURAL: dict[type, Callable[[Value, Value], int]] = {
    str: _text_order,
    bool: _plain_order,
    datetime: _plain_order,
    uuid.UUID: _uuid_order,
}
"""``compareTo`` of what has one in Java, besides numbers: negative, 0 or positive."""


def _real_order(one: float, other: float) -> int:
    if one == other == 0:
        one, other = math.copysign(1, one), math.copysign(1, other)
    return (one > other) - (one < other)


def _decimal_order(one: Value, other: Value) -> int:
    # An infinite number meets a BigDecimal or a BigInteger here, neither of which is.
    for number, sign in ((one, 1), (other, -1)):
        if type(number) in REALS and math.isinf(double_of(number)):
            return sign if number > 0 else -sign
    return _plain_order(decimal_of(one), decimal_of(other))


def compare_numbers(one: Value, other: Value) -> int:
    """Negative, 0 or positive, as NumberHelper.compare: by value in their common type, -0.0 before 0.0, NaN last."""
    if type(one) in INTEGERS and type(other) in INTEGERS:
        return _plain_order(one, other)
    if is_nan(one) or is_nan(other):
        return is_nan(one) - is_nan(other)
    kind = common_type(one, other)
    if kind is Decimal:
        return _decimal_order(one, other)
    return _real_order(AS[kind](one), AS[kind](other))


def _chosen(table: dict[type, _Binary], sign: int, one: Value, other: Value) -> Value:
    for value in (one, other):
        if value is not None and type(value) not in NUMBERS and type(value) not in NATURAL:
            raise wrong_type(value, "Comparable")
    if one is None or other is None:
        return other if one is None else one
    if is_nan(one) or is_nan(other):
        return other if is_nan(one) else one
    kind = type(one)
    if kind in NUMBERS and type(other) in NUMBERS:
        return _applied(table, common_type(one, other), one, other)
    if kind is not type(other):
        raise wrong_type(other, java_name(one))
    return one if NATURAL[kind](one, other) * sign > 0 else other


_minimum = _quick(min, partial(_chosen, _LEAST, -1))
_maximum = _quick(max, partial(_chosen, _MOST, 1))


def minimum(one: Value, other: Value) -> Value:
    """The lesser, a number in the common type of both; null and NaN give way to the other.

    Raises:
        TraversalError: they cannot be compared.
    """
    return _minimum(one, other)


def maximum(one: Value, other: Value) -> Value:
    """The greater, a number in the common type of both; null and NaN give way to the other.

    Raises:
        TraversalError: they cannot be compared.
    """
    return _maximum(one, other)


def _truth(value: Value) -> bool:
    if type(value) is not bool:
        raise wrong_type(value, "Boolean")
    return value


def _both(one: Value, other: Value) -> Value:
    if one is None or other is None:
        return other if one is None else one
    return _truth(one) and _truth(other)


def _either(one: Value, other: Value) -> Value:
    if one is None or other is None:
        return other if one is None else one
    return _truth(one) or _truth(other)


def _sum_of_longs(one: Value, other: Value) -> Value:
    for value in (one, other):
        if value is None:
            raise TraversalError("sumLong adds no null", NULL_POINTER)
        if type(value) not in INTEGERS or integer_type(value) is not Long:
            raise wrong_type(value, "Long")
    return RESULTS[Long](int(one) + int(other))


def _put_all(one: Map, other: Map) -> None:
    for key, value in other.items():
        one[key] = value


def _add_each(one: OrderedSet, other: Value) -> None:
    for item in other:
        one.add(item)


def _add_bulks(one: BulkSet, other: Value) -> None:
    counted = other.counts.items() if type(other) is BulkSet else ((item, 1) for item in list(other))
    for item, times in list(counted):
        one.add(item, times)


_TAKE: dict[type, Callable[[Value, Value], None]] = {
    Map: _put_all,
    Tree: _put_all,
    list: lambda one, other: one.extend(list(other)),
    OrderedSet: _add_each,
    BulkSet: _add_bulks,
}
_MAPS = (Map, Tree)


def _all_of(one: Value, other: Value) -> Value:
    if one is None or other is None:
        return other if one is None else one
    kind, other_kind = type(one), type(other)
    if kind not in _TAKE or (kind in _MAPS and other_kind not in _MAPS):
        raise TraversalError(
            f"Objects must be both of Map or Collection: a={java_name(one)} b={java_name(other)}", ILLEGAL_ARGUMENT
        )
    if kind not in _MAPS and (other_kind in _MAPS or other_kind not in _TAKE):
        raise wrong_type(other, "Collection")
    _TAKE[kind](one, other)
    return one


OPERATORS: dict[str, _Binary] = {
    "addAll": _all_of,
    "and": _both,
    "assign": lambda _, other: other,
    "div": divide,
    "max": maximum,
    "min": minimum,
    "minus": subtract,
    "mult": multiply,
    "or": _either,
    "sum": add,
    "sumLong": _sum_of_longs,
}
"""By the names of Operator: what becomes of the first, the seed, by the second. ``addAll`` changes the first, as Java's."""
