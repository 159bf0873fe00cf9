from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from lab.gremlin import Engine

from gremlin_api.errors import ARITHMETIC, ILLEGAL_ARGUMENT, WRONG_TYPE, TraversalError
from gremlin_api.interpreter.arithmetic import (
    OPERATORS,
    add,
    compare_numbers,
    decimal_of,
    divide,
    maximum,
    mean_of,
    minimum,
    multiply,
    subtract,
)
from gremlin_api.language.render import render_argument
from gremlin_api.language.syntax import ListValue, MapValue
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import BulkSet, Map, OrderedSet, Tree, Vertex, hashable
from gremlin_api.wire.graphson import value_of

SEED = 373
LIMITS: dict[type[int], int] = {Byte: 8, Short: 16, int: 32, Long: 64}
REALS = [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, -2.75, 0.001, 9999999.0, 1e7, 1e-5, 1e300, 2.0**53, math.nan, math.inf, -math.inf]
FLOATS = [0.0, -0.0, 1.0, 0.1, -2.75, 16777216.0, 3.4e38, 1e-40, 1e39]
DECIMALS = ["0", "0.0", "1", "-1.50", "3", "7.000", "0.1", "123456789012345678901234567890.5", "1E+3", "-2E-12", "100"]


def numbers(rng: random.Random) -> list[Any]:
    """Of each type: the ends of its range, what is near zero, and some at random."""
    found: list[Any] = []
    for kind, bits in LIMITS.items():
        most = 2 ** (bits - 1) - 1
        found += map(kind, (-most - 1, most, 0, 1, -1, 3, rng.randrange(-most, most), rng.randrange(-most, most)))
    found += map(BigInteger, (0, 1, -7, 2**63, -(2**70), rng.getrandbits(100)))
    found += [*REALS, *(rng.uniform(-1000, 1000) for _ in range(4)), *map(Float, FLOATS)]
    return [*found, *map(Decimal, DECIMALS), Decimal(rng.randrange(10**12)).scaleb(-rng.randrange(12)), None]


def told(text: str) -> list[Any]:
    """Answers; a Float's digits beyond its 32 bits are nothing."""
    read: list[Any] = value_of(json.loads(text, parse_float=Decimal))
    return [comparable(one) for one in read]


def comparable(value: Any) -> Any:
    if type(value) is not Float:
        return hashable(value)
    with np.errstate(over="ignore"):
        return hashable(Float(np.float32(value)))


def outcome(operator: str, one: Any, other: Any) -> tuple[Any, str | None]:
    """What comes out, or the class of Java's exception."""
    try:
        return comparable(OPERATORS[operator](one, other)), None
    except TraversalError as error:
        return None, error.kind


def query(operator: str, one: Any, others: list[Any]) -> str:
    given = ", ".join(map(render_argument, others))
    return f"g.withSack({render_argument(one)}).inject({given}).sack({operator}).sack()"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


@pytest.mark.lab
@pytest.mark.parametrize("operator", ["sum", "minus", "mult", "div", "min", "max"])
def test_two_numbers_of_any_types_come_to_what_tinkerpop_says(engine: Engine, operator: str) -> None:
    rng = random.Random(f"{SEED} {operator}")
    pool = numbers(rng)
    failures = []
    for one in pool:
        found = [(other, *outcome(operator, one, other)) for other in rng.sample(pool, 40)]
        fine = [(other, result) for other, result, kind in found if kind is None]
        failures += [(one, other, kind) for other, _, kind in found if kind is not None]
        answered, text = engine.answer(query(operator, one, [other for other, _ in fine]))
        assert answered, (one, text)
        assert list(zip(fine, told(text), strict=True)) == [(pair, pair[1]) for pair in fine], (operator, one)
    assert failures
    for one, other, kind in rng.sample(failures, min(len(failures), 60)):
        answered, text = engine.answer(query(operator, one, [other, other]))
        assert (answered, text.split(":")[0]) == (False, kind), (operator, one, other, text)


@pytest.mark.lab
def test_means_are_those_of_both_steps(engine: Engine) -> None:
    rng = random.Random(SEED)
    # Up to 2**40: of larger Doubles Java 17 does not find the shortest text, by which they become a BigDecimal.
    pool = [one for one in numbers(rng) if one is not None and abs(one) < 2**40]
    for _ in range(150):
        several = rng.choices(pool, k=rng.randrange(1, 6))
        total = several[0]
        for one in several[1:]:
            total = add(total, one)
        widened = multiply(several[0], Long(1))
        for one in several[1:]:
            widened = add(widened, multiply(one, Long(1)))
        given = render_argument(ListValue(tuple(several)))
        for text_of, expected in ((f"g.inject({given}).unfold().mean()", widened), (f"g.inject({given}).mean(local)", total)):
            answered, text = engine.answer(text_of)
            assert answered, text
            assert told(text) == [comparable(mean_of(expected, len(several)))], text_of
    assert mean_of(None, 0) is None


KINDS = [
    None, True, False, 1, Long(5), Long(2**63 - 1), 2**40, 1.5, Byte(1), "a", "b", "😀", "\uffff", ListValue((1, 2)),
    ListValue(()), MapValue((("a", 1),)), MapValue(()),
]  # fmt: skip
VALUES = {ListValue: lambda one: list(one.items), MapValue: lambda one: Map(one.entries)}


def made(literal: Any) -> Any:
    return VALUES.get(type(literal), lambda one: one)(literal)


@pytest.mark.lab
@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_operators_take_and_refuse_what_tinkerpops_do(engine: Engine, operator: str) -> None:
    for one in KINDS:
        for other in KINDS:
            modulated = f"inject(0).sack({operator}).by(constant({render_argument(other)})).sack()"
            answered, text = engine.answer(f"g.withSack({render_argument(one)}).{modulated}")
            result, kind = outcome(operator, made(one), made(other))
            if kind is None:
                assert answered, (operator, one, other, text)
                assert told(text) == [result], (operator, one, other)
            else:
                assert (answered, text.split(":")[0]) == (False, kind), (operator, one, other, text)


def test_the_reals_of_32_bits_are_rounded_once() -> None:
    rng = random.Random(SEED)
    for _ in range(1000):
        one, other = (np.float32(rng.uniform(-1, 1) * 10 ** rng.uniform(-44, 38)) for _ in range(2))
        with np.errstate(all="ignore"):
            expected = [one + other, one - other, one * other, one / other]
        found = [operation(Float(one), Float(other)) for operation in (add, subtract, multiply, divide)]
        assert [repr(each) for each in found] == [repr(float(each)) for each in expected]
        assert {type(each) for each in found} == {Float}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (add(2147483647, 1), -2147483648),
        (add(2**40, -(2**40)), Long(0)),
        (add(Long(2**63 - 1), 1), Long(-(2**63))),
        (multiply(Byte(100), Byte(2)), Byte(-56)),
        (divide(-7, 2), -3),
        (divide(-2147483648, -1), -2147483648),
        (add(math.nan, 1), 1),
        (add(math.nan, math.nan), Byte(0)),
        (subtract(1, None), 1),
        (subtract(None, 1), None),
        (minimum(1, Long(1)), Long(1)),
        (maximum(math.nan, Byte(1)), Byte(1)),
        (divide(1.0, -0.0), -math.inf),
        (divide(Decimal(1), 8), Decimal("0.125")),
        (divide(Decimal(2), 3), Decimal("0.6666666667")),
        (divide(Decimal("1.00"), 10), Decimal("0.10")),
        (divide(Decimal(100), Decimal("0.10")), Decimal("1.0E+3")),
        (multiply(Decimal("-1.5"), 0), Decimal("0.0")),
        (multiply(Decimal("1E+2000000"), Decimal("3E+2000000")), Decimal("3E+4000000")),
        (divide(Decimal("1E+2000000"), 8), Decimal("125E+1999997")),
        (mean_of(Long(3), 2), 1.5),
        (mean_of(BigInteger(1), 4), Decimal("0.25")),
    ],
)
def test_results_have_javas_type_and_value(found: Any, expected: Any) -> None:
    assert hashable(found) == hashable(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.0"), (0.001, "0.001"), (0.0001, "0.00010"), (9999999.0, "9999999.0"), (1e7, "1.0E+7"), (1.25e10, "1.25E+10"),
     (-0.0, "0.0"), (123456.75, "123456.75"), (Float(0.1), "0.10000000149011612")],
)  # fmt: skip
def test_a_double_becomes_a_decimal_by_its_text(value: float, text: str) -> None:
    assert decimal_of(value).as_tuple() == Decimal(text).as_tuple()


def test_numbers_too_long_are_refused_at_once() -> None:
    for one, other in ((BigInteger(1 << 900_000), BigInteger(1 << 900_000)), (Decimal("1E+500000"), Decimal("1.5"))):
        with pytest.raises(TraversalError) as raised:
            multiply(one, other) if isinstance(one, int) else add(one, other)
        assert raised.value.kind == ARITHMETIC
    with pytest.raises(TraversalError, match="digits"):
        divide(Decimal("1." + "3" * 300_000), 7)


@pytest.mark.parametrize(
    ("ascending"),
    [
        [
            -math.inf,
            Decimal("-1E+400"),
            BigInteger(-5),
            -1,
            -0.0,
            0,
            Byte(1),
            1.5,
            Long(2**40),
            Decimal("1E+400"),
            math.inf,
            math.nan,
        ]
    ],
)
def test_numbers_are_ordered_by_value(ascending: list[Any]) -> None:
    for at, one in enumerate(ascending):
        for later, other in enumerate(ascending):
            assert compare_numbers(one, other) == (at > later) - (at < later), (one, other)


def test_all_of_one_is_added_to_the_other() -> None:
    add_all = OPERATORS["addAll"]
    bulks = BulkSet(Map([("a", 2)]))
    assert add_all([1], bulks) == [1, "a", "a"]
    assert add_all(bulks, BulkSet(Map([("a", 1), ("b", 3)]))) is bulks
    assert list(bulks.counts.items()) == [("a", 3), ("b", 3)]
    assert add_all(BulkSet(), ["a", "a"]) == BulkSet(Map([("a", 2)]))
    assert list(add_all(OrderedSet([1]), [2, 1])) == [1, 2]
    assert list(add_all(Map([("a", 1)]), Tree([("a", Tree())])).items()) == [("a", Tree())]
    both = [1]
    assert add_all(both, both) == [1, 1]


@pytest.mark.parametrize(
    ("operator", "one", "other", "kind"),
    [
        ("addAll", 1, [1], ILLEGAL_ARGUMENT),
        ("addAll", [1], Map(), WRONG_TYPE),
        ("max", "a", 1, WRONG_TYPE),
        ("min", Vertex(1, "a"), None, WRONG_TYPE),
        ("sum", "a", None, WRONG_TYPE),
        ("and", True, 1, WRONG_TYPE),
        ("sumLong", Long(1), 1, WRONG_TYPE),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, one: Any, other: Any, kind: str) -> None:
    with pytest.raises(TraversalError) as raised:
        OPERATORS[operator](one, other)
    assert raised.value.kind == kind
