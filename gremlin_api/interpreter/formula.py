"""The formulas of ``math()``: TinkerPop 3.7.3's MathStep over exp4j 0.4.8, as postfix operations (no recursion)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping

from gremlin_api.errors import ARITHMETIC, TraversalError

_SAFE = [
    "abs",
    "acos",
    "asin",
    "atan",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "exp",
    "floor",
    "log",
    "log10",
    "log2",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]
_VARIABLE = re.compile(rf"\b(?![0-9]+|\b(?:{'|'.join(_SAFE)})\b)([a-zA-Z_][a-zA-Z0-9_]*)\b", re.ASCII)
_TOKEN = re.compile(r"\s*(?:([0-9.]+(?:[eE][+-]?[0-9]+)?)|([a-zA-Z_πφ][a-zA-Z0-9_]*)|([-+*/%^(),]))", re.ASCII)
_CONSTANTS = {"π": math.pi, "φ": 1.61803398874}
_RESERVED = frozenset({"expm1", "log1p", "pow"})


def _java(function: Callable[[float], float], overflow: Callable[[float], float] = abs) -> Callable[[float], float]:
    def call(value: float) -> float:
        try:
            return float(function(value))
        except ValueError:
            return math.nan
        except OverflowError:
            return math.copysign(math.inf, overflow(value))

    return call


def _log(function: Callable[[float], float]) -> Callable[[float], float]:
    safe = _java(function)
    return lambda value: -math.inf if value == 0 else safe(value)


def _rounded(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: math.copysign(float(function(value)), value) if math.isfinite(value) else value


def _cbrt(value: float) -> float:
    """Java's cbrt (fdlibm's), which is not always the nearest double."""
    if value == 0 or not math.isfinite(value):
        return value
    x = abs(value)
    tiny = x < 2.0**-1022
    high = struct.unpack(">q", struct.pack(">d", x * 2.0**54 if tiny else x))[0] >> 32
    high = high // 3 + (696219795 if tiny else 715094163)
    t: float = struct.unpack(">d", struct.pack(">q", high << 32))[0]
    s = 19 / 35 + t * t / x * t
    t *= 5 / 14 + (45 / 28) / (s + 99 / 70 + (-864 / 1225) / s)
    high = (struct.unpack(">q", struct.pack(">d", t))[0] >> 32) + 1
    t = struct.unpack(">d", struct.pack(">q", high << 32))[0]
    r = x / (t * t)
    return math.copysign(t + t * ((r - t) / (t + t + r)), value)


def _signum(value: float) -> float:
    return math.copysign(1.0, value) if value > 0 or value < 0 else 0.0


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    **{
        name: _java(getattr(math, name))
        for name in ("acos", "asin", "atan", "cos", "cosh", "exp", "sin", "sqrt", "tan", "tanh")
    },
    "abs": abs,
    "cbrt": _cbrt,
    "ceil": _rounded(math.ceil),
    "floor": _rounded(math.floor),
    "log": _log(math.log),
    "log10": _log(math.log10),
    "log2": _log(lambda value: math.log(value) / math.log(2.0)),
    "signum": _signum,
    "sinh": _java(math.sinh, float),
}


def _divide(left: float, right: float) -> float:
    if right == 0:
        raise TraversalError("Division by zero!", ARITHMETIC)
    return left / right


def _modulo(left: float, right: float) -> float:
    if right == 0:
        raise TraversalError("Division by zero!", ARITHMETIC)
    return math.nan if math.isinf(left) else math.fmod(left, right)


def _power(left: float, right: float) -> float:
    if math.isnan(right) or (abs(left) == 1 and math.isinf(right)):
        return math.nan
    odd = math.isfinite(right) and right % 2 == 1
    try:
        return math.pow(left, right)
    except ValueError:
        return (math.copysign(math.inf, left) if odd else math.inf) if left == 0 else math.nan
    except OverflowError:
        return -math.inf if left < 0 and odd else math.inf


_BINARY: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "+": (500, lambda left, right: left + right),
    "-": (500, lambda left, right: left - right),
    "*": (1000, lambda left, right: left * right),
    "/": (1000, _divide),
    "%": (1000, _modulo),
    "^": (10000, _power),
}
_UNARY: dict[str, Callable[[float], float]] = {"u-": lambda value: -value, "u+": lambda value: value}
_MISMATCHED = "Mismatched parentheses detected. Please check the expression"


def _tokens(text: str) -> list[str]:
    at, text = 0, text.rstrip()
    found: list[str] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TraversalError(f"Unable to parse char '{text[at]}' (Code:{ord(text[at])}) at [{at}]")
        symbol = match[match.lastindex or 0]
        if symbol in "+-" and (not found or found[-1] in _BINARY or found[-1] in {"(", ",", "u-", "u+"}):
            symbol = "u" + symbol
        found.append(symbol)
        at = match.end()
    return found


def _yields(top: str, symbol: str) -> bool:
    """Whether the operation on top of the stack comes before a binary operator."""
    if top in _FUNCTIONS:
        return True
    above = 5000 if top in _UNARY else _BINARY[top][0] if top in _BINARY else -1
    return above > _BINARY[symbol][0] or (above == _BINARY[symbol][0] and symbol != "^")


def _close(stack: list[str], output: list[str]) -> None:
    while stack and stack[-1] != "(":
        output.append(stack.pop())
    if not stack:
        raise TraversalError("null", "java.util.EmptyStackException")


def _postfix(tokens: list[str]) -> list[str]:
    output: list[str] = []
    stack: list[str] = []
    for symbol in tokens:
        if symbol == "(" or symbol in _FUNCTIONS or symbol in _UNARY:
            stack.append(symbol)
        elif symbol in {")", ","}:
            _close(stack, output)
            if symbol == ")":
                stack.pop()
                if stack and stack[-1] in _FUNCTIONS:
                    output.append(stack.pop())
        elif symbol in _BINARY:
            while stack and _yields(stack[-1], symbol):
                output.append(stack.pop())
            stack.append(symbol)
        else:
            output.append(symbol)
    if "(" in stack:
        raise TraversalError(_MISMATCHED)
    return output + stack[::-1]


class Formula:
    """A formula, read once; raises TraversalError where it is none. ``variables``: in the order they are first named."""

    def __init__(self, text: str) -> None:
        self.variables: tuple[str, ...] = tuple(dict.fromkeys(_VARIABLE.findall(text)))
        if not text.strip():
            raise TraversalError("Expression can not be empty")
        for name in self.variables:
            if name in _RESERVED:
                raise TraversalError(f"A variable can not have the same name as a function [{name}]")
        self._operations = [self._operation(symbol) for symbol in _postfix(_tokens(text))]

    @staticmethod
    def _operation(symbol: str) -> str | float:
        if symbol[0] not in "0123456789.":
            return symbol
        try:
            return float(symbol)
        except ValueError:
            raise TraversalError(f'For input string: "{symbol}"', "java.lang.NumberFormatException") from None

    def evaluate(self, values: Mapping[str, float]) -> float:
        """The formula's value (a Double); raises TraversalError for a division by zero or too few operands."""
        stack: list[float] = []
        for operation in self._operations:
            if isinstance(operation, float):
                stack.append(operation)
                continue
            one = _FUNCTIONS.get(operation) or _UNARY.get(operation)
            needed = 1 if one else 2 if operation in _BINARY else 0
            if len(stack) < needed:
                raise TraversalError(f"Invalid number of operands available for '{operation.lstrip('u')}' operator")
            if one:
                stack.append(one(stack.pop()))
            elif needed:
                right = stack.pop()
                stack.append(_BINARY[operation][1](stack.pop(), right))
            else:
                stack.append(values[operation] if operation in values else _CONSTANTS[operation])
        if len(stack) != 1:
            raise TraversalError(
                "Invalid number of items on the output queue. Might be caused by an invalid number of arguments"
            )
        return stack[0]
