"""Numbers as Java has them.

A plain ``int`` is an Integer if 32 bits hold it, else a Long, else a BigInteger; a plain ``float`` is a Double, a
``decimal.Decimal`` a BigDecimal. The classes here are for the others, and for numbers that are wider than they need be.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Self

INT_BITS, LONG_BITS = 32, 64

Number = int | float | Decimal


class Byte(int):
    """8 bits."""


class Short(int):
    """16 bits."""


class Int(int):
    """32 bits. Its values are plain integers; the class is its name."""


class Long(int):
    """64 bits."""


class BigInteger(int):
    """Any size."""


class Float(float):
    """IEEE 754, 32 bits: other values are rounded to these."""

    def __new__(cls, value: float | str = 0.0) -> Self:
        """The nearest one; beyond the largest it is infinite."""
        number = float(value)
        try:
            (number,) = _SINGLE.unpack(_SINGLE.pack(number))
        except OverflowError:
            number = math.copysign(math.inf, number)
        return super().__new__(cls, number)


_SINGLE = struct.Struct("f")


BITS: dict[type[int], int] = {Byte: 8, Short: 16, Int: INT_BITS, Long: LONG_BITS}


def fits(value: int, bits: int) -> bool:
    """Whether so many bits hold it, in two's complement."""
    return -(1 << bits - 1) <= value < 1 << bits - 1


def integer_type(value: int) -> type[int]:
    """Which of Java's types an integer has."""
    kind = type(value)
    if kind is not int:
        return kind
    return Int if fits(value, INT_BITS) else Long if fits(value, LONG_BITS) else BigInteger
