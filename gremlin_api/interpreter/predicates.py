"""Predicates as functions. A test that has no answer raises IncomparableError: a filter takes that as no.

Ports P, TextP, Compare, Contains, Text, AndP and OrP of TinkerPop 3.7.3. Regular expressions are Java's as far as RE2 has them,
which looks at each character once: no expression can take long.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from gremlin_api.errors import UNSUPPORTED, TraversalError
from gremlin_api.interpreter.arithmetic import (
    AS,
    NULL_POINTER,
    NUMBERS,
    REALS,
    common_type,
    double_of,
    is_nan,
    java_type,
    wrong_type,
)
from gremlin_api.interpreter.comparison import IncomparableError, compare, equals
from gremlin_api.language.syntax import Argument, Predicate
from gremlin_api.values import BulkSet, Edge, OrderedSet, Value, Vertex, VertexProperty
from skytrail.asking.regular import Expression, compile_re2

PATTERN_SYNTAX = "java.util.regex.PatternSyntaxException"

Test: TypeAlias = Callable[[Value], bool]

NEGATIONS = {
    "eq": "neq", "lt": "gte", "gt": "lte", "within": "without", "startingWith": "notStartingWith",
    "endingWith": "notEndingWith", "containing": "notContaining", "regex": "notRegex",
}  # fmt: skip
"""What is no where the other is yes; both have no answer alike."""
NEGATIONS |= {no: yes for yes, no in NEGATIONS.items()}


class _Numbers:
    """Numbers, one of which may be equal to a value: found by what each is in the type in which both meet."""

    def __init__(self, numbers: Iterable[Value]) -> None:
        self._by_type: dict[type, list[Value]] = {}
        for number in numbers:
            if not is_nan(number):
                self._by_type.setdefault(java_type(number), []).append(number)
        self._met: dict[type, list[tuple[type, frozenset[Hashable]]]] = {}

    def __contains__(self, value: Value) -> bool:
        if is_nan(value):
            return False
        kind = java_type(value)
        met = self._met.get(kind)
        if met is None:
            met = self._met[kind] = self._meeting(value)
        return any(_as_met(common, value) in keys for common, keys in met)

    def _meeting(self, value: Value) -> list[tuple[type, frozenset[Hashable]]]:
        found: dict[type, set[Hashable]] = {}
        for numbers in self._by_type.values():
            common = common_type(value, numbers[0])
            found.setdefault(common, set()).update(_as_met(common, number) for number in numbers)
        return [(common, frozenset(keys)) for common, keys in found.items()]


def _as_met(common: type, number: Value) -> Hashable:
    """What is the same of numbers that are equal in a type."""
    if common is Decimal and type(number) in REALS and math.isinf(double_of(number)):
        return None  # met by no BigDecimal
    found: Value = AS[common](number)
    return (found, math.copysign(1, number)) if common in REALS and not found else found


_EXACT = (str, bool, datetime, uuid.UUID, type(None))
_ELEMENTS = (Vertex, Edge, VertexProperty)


class _Items:
    """The items of ``within``, in which a value is found at once if it is of a plain kind."""

    def __init__(self, items: Iterable[Value]) -> None:
        several = list(items)
        self._numbers = _Numbers(item for item in several if type(item) in NUMBERS)
        self._exact: dict[type, set[Value]] = {
            kind: {item for item in several if type(item) is kind} for kind in (*_EXACT, *_ELEMENTS)
        }
        self._id_types = {java_type(item.id) for item in several if type(item) in _ELEMENTS}
        self._others = [item for item in several if type(item) not in NUMBERS and type(item) not in _EXACT]

    def __contains__(self, value: Value) -> bool:
        kind = type(value)
        if kind in NUMBERS:
            return value in self._numbers
        if kind in _EXACT:
            return value in self._exact[kind]
        if kind in _ELEMENTS and not is_nan(value.id):
            if value in self._exact[kind]:
                return True
            if self._id_types <= {java_type(value.id)}:
                return False
        return any(equals(value, item) for item in self._others)


_COLLECTIONS = frozenset({list, tuple, OrderedSet, BulkSet, set, frozenset})


def _within(value: Value) -> Test:
    if type(value) not in _COLLECTIONS:
        raise wrong_type(value, "Collection")
    return _Items((item for item, _ in value.counts.items()) if type(value) is BulkSet else value).__contains__


def _text_test(tested: Callable[[str, str], bool]) -> Callable[[Value], Test]:
    def of(argument: Value) -> Test:
        def passes(value: Value) -> bool:
            for one in (value, argument):
                if one is not None and type(one) is not str:
                    raise wrong_type(one, "String")
            if value is None or argument is None:
                raise IncomparableError(value, argument)
            return tested(value, argument)

        return passes

    return of


def _regex(expression: Value) -> Test:
    if type(expression) is not str:
        raise wrong_type(expression, "String") if expression is not None else TraversalError("no expression", NULL_POINTER)
    found = _compiled(expression)

    def passes(value: Value) -> bool:
        if value is None:
            raise TraversalError("regex() looks at no null", NULL_POINTER)
        if type(value) is not str:
            raise wrong_type(value, "String")
        return found.search(value.encode("utf-8", "surrogatepass")) is not None

    return passes


_HOLDS: dict[str, Callable[[Value], Test]] = {
    "eq": lambda argument: lambda value: equals(value, argument),
    "lt": lambda argument: lambda value: compare(value, argument) < 0,
    "lte": lambda argument: lambda value: compare(value, argument) <= 0,
    "gt": lambda argument: lambda value: compare(value, argument) > 0,
    "gte": lambda argument: lambda value: compare(value, argument) >= 0,
    "within": _within,
    "startingWith": _text_test(str.startswith),
    "endingWith": _text_test(str.endswith),
    "containing": _text_test(str.__contains__),
    "regex": _regex,
}


def holds(name: str, argument: Value) -> Test:
    """The test of one predicate against a value that it has: that of ``within`` is a collection.

    Raises:
        TraversalError: the value does not fit; at a test: the tested one does not.
    """
    made = _HOLDS.get(name)
    if made is not None:
        return made(argument)
    positive = _HOLDS[NEGATIONS[name]](argument)
    return lambda value: not positive(value)


def _all(tests: list[Test]) -> Test:
    def passes(value: Value) -> bool:
        failure: IncomparableError | None = None
        for test in tests:
            try:
                if not test(value):
                    return False
            except IncomparableError as error:
                failure = error
        if failure is not None:
            raise failure
        return True

    return passes


def _any(tests: list[Test]) -> Test:
    def passes(value: Value) -> bool:
        failure: IncomparableError | None = None
        for test in tests:
            try:
                if test(value):
                    return True
            except IncomparableError as error:
                failure = error
        if failure is not None:
            raise failure
        return False

    return passes


_RANGES = {"inside": ("gt", "lt", "and"), "outside": ("lt", "gt", "or"), "between": ("gte", "lt", "and")}
_JOINED: dict[str, Callable[[list[Test]], Test]] = {"and": _all, "or": _any}
_OPPOSITE = {"and": "or", "or": "and"}


def compiled(predicate: Predicate, value_of: Callable[[Argument], Value]) -> Test:
    """The test that a predicate is; ``value_of`` gives the values of its arguments.

    Raises:
        TraversalError: an argument does not fit, or RE2 lacks a part of a regular expression.
        IncomparableError: at a test: there is no answer, which a filter takes as no.
    """
    return _compiled_as(predicate, value_of, negated=False)


def _compiled_as(predicate: Predicate, value_of: Callable[[Argument], Value], *, negated: bool) -> Test:
    name, arguments = predicate.name, predicate.arguments
    if name in ("not", "negate"):
        (inner,) = arguments
        assert isinstance(inner, Predicate)
        return _compiled_as(inner, value_of, negated=not negated)
    if name in _RANGES:
        *sides, name = _RANGES[name]
        arguments = tuple(Predicate(side, (one,)) for side, one in zip(sides, arguments, strict=True))
    if name in _JOINED:
        tests = [_compiled_as(one, value_of, negated=negated) for one in arguments if isinstance(one, Predicate)]
        return _JOINED[_OPPOSITE[name] if negated else name](tests)
    argument = _items(name, [value_of(one) for one in arguments]) if name in _TAKEN_APART else value_of(arguments[0])
    return holds(NEGATIONS[name] if negated else name, argument)


_TAKEN_APART: dict[str, frozenset[type]] = {"within": _COLLECTIONS, "without": frozenset({list, tuple})}
"""What is taken apart where it is the only argument: ``without`` of a set looks for the set itself."""


def _items(name: str, values: list[Value]) -> Value:
    return values[0] if len(values) == 1 and type(values[0]) in _TAKEN_APART[name] else values


_Ranges: TypeAlias = list[tuple[int, int]]

_LAST = 0x10FFFF
_TERMINATORS: _Ranges = [(0x0A, 0x0A), (0x0D, 0x0D), (0x85, 0x85), (0x2028, 0x2029)]
_LOWER, _UPPER, _DIGITS = (0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39)
_SETS: dict[str, _Ranges] = {
    "d": [_DIGITS],
    "w": [_DIGITS, _UPPER, _LOWER, (0x5F, 0x5F)],
    "s": [(0x09, 0x0D), (0x20, 0x20)],
    "h": [
        (0x09, 0x09), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200A), (0x202F, 0x202F),
        (0x205F, 0x205F), (0x3000, 0x3000),
    ],
    "v": [(0x0A, 0x0D), (0x85, 0x85), (0x2028, 0x2029)],
}  # fmt: skip
_POSIX: dict[str, _Ranges] = {
    "Lower": [_LOWER], "Upper": [_UPPER], "ASCII": [(0, 0x7F)], "Alpha": [_UPPER, _LOWER], "Digit": [_DIGITS],
    "Alnum": [_DIGITS, _UPPER, _LOWER], "Punct": [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)],
    "Graph": [(0x21, 0x7E)], "Print": [(0x20, 0x7E)], "Blank": [(0x09, 0x09), (0x20, 0x20)],
    "Cntrl": [(0, 0x1F), (0x7F, 0x7F)], "XDigit": [_DIGITS, (0x41, 0x46), (0x61, 0x66)], "Space": [(0x09, 0x0D), (0x20, 0x20)],
}  # fmt: skip
_CATEGORIES = frozenset(
    "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp".split()  # noqa: SIM905
)
_CONTROLS = {"t": 0x09, "n": 0x0A, "r": 0x0D, "f": 0x0C, "a": 0x07, "e": 0x1B}
_END = r"(?:\x{d}\x{a}|[\x{a}\x{d}\x{85}\x{2028}\x{2029}])?\z"
_PLACES = {"A": r"\A", "G": r"\A", "z": r"\z", "Z": _END, "b": r"\b", "B": r"\B"}
_LINE_BREAK = r"(?:\x{d}\x{a}|[\x{a}-\x{d}\x{85}\x{2028}\x{2029}])"

_ESCAPED = re.compile(
    r"\\(?:0(?P<octal>[0-3][0-7]{2}|[0-7]{1,2})|x(?P<hex>[0-9a-fA-F]{2})|x\{(?P<long>[0-9a-fA-F]{1,6})\}|u(?P<unit>[0-9a-fA-F]{4})"
    r"|c(?P<control>.)|(?P<sign>[pP])(?:\{(?P<property>[^}]*)\}|(?P<letter>\w))|(?P<one>.))",
    re.DOTALL,
)
_REPEATED = re.compile(r"([*+?]|\{[0-9]+(?:,[0-9]*)?\})([?+]?)")
_GROUP = re.compile(r"\((?:\?(?:<[a-zA-Z][a-zA-Z0-9]*>|(?P<on>[a-zA-Z]*)(?:-(?P<off>[a-zA-Z]*))?(?P<rest>[:)])))?")
_MOST_NESTED = 100
_MOST_KEPT = 128
"""As many as RE2 keeps itself."""

_REFUSED = {"(?=": "look-ahead", "(?!": "look-ahead", "(?<=": "look-behind", "(?<!": "look-behind", "(?>": "an atomic group"}


def _inverse(ranges: _Ranges) -> _Ranges:
    found, least = [], 0
    for first, last in sorted(ranges):
        if first > least:
            found.append((least, first - 1))
        least = max(least, last + 1)
    return [*found, (least, _LAST)] if least <= _LAST else found


def _in_both_cases(ranges: _Ranges) -> _Ranges:
    """With the other case of what is of ASCII: Java's (?i) knows no other."""
    found = list(ranges)
    for (low, high), step in ((_LOWER, -32), (_UPPER, 32)):
        for first, last in ranges:
            if max(first, low) <= min(last, high):
                found.append((max(first, low) + step, min(last, high) + step))
    return found


def _written(ranges: _Ranges, *, negated: bool = False, properties: str = "") -> str:
    inner = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)
    return f"[{'^' * negated}{inner}{properties}]"


class _Translation:
    """An expression of Java's in the words of RE2, which take its text for what Java takes it for."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._flags, self._depth, self._ends = text, 0, frozenset[str](), 0, False

    def done(self) -> str:
        found = self._alternatives()
        if self._at < len(self._text):
            raise self._wrong("unmatched closing ')'")
        return found

    def _wrong(self, what: str) -> TraversalError:
        return TraversalError(f"{what} at {self._at} of the regular expression {self._text!r}", PATTERN_SYNTAX)

    def _missing(self, what: str) -> TraversalError:
        return TraversalError(
            f"regular expressions have no {what} here (RE2): at {self._at} of {self._text!r}; say it without", UNSUPPORTED
        )

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self) -> str:
        found: list[str] = []
        while self._next() not in ("", ")"):
            if self._next() == "|":
                self._at += 1
                found.append("|")
            else:
                found.append(self._repeated(self._term()))
        return "".join(found)

    def _repeated(self, term: str) -> str:
        match = _REPEATED.match(self._text, self._at)
        if not match:
            if self._next() == "{":
                raise self._wrong("illegal repetition")
            return term
        if match[2] == "+":
            raise self._missing("possessive repetition")
        if not term and self._next() != "{":  # Java repeats what is not there by {n}, but not by *
            raise self._wrong(f"dangling '{self._next()}'")
        self._at = match.end()
        return f"(?:{term}){match[0]}"

    def _term(self) -> str:
        character = self._next()
        special = {
            ".": self._any, "^": self._begin, "$": self._end, "(": self._group, "[": self._class, "\\": self._escape,
        }  # fmt: skip
        if character in special:
            return special[character]()
        if character in "*+?{":
            return ""
        self._at += 1
        return self._literal(ord(character))

    def _literal(self, code: int) -> str:
        ranges = [(code, code)]
        return _written(_in_both_cases(ranges) if "i" in self._flags else ranges)

    def _any(self) -> str:
        self._at += 1
        return "(?s:.)" if "s" in self._flags else _written(_TERMINATORS, negated=True)

    def _begin(self) -> str:
        self._at += 1
        return r"\A"

    def _end(self) -> str:
        self._at += 1
        return self._at_end("'$'", _END)

    def _at_end(self, name: str, written: str) -> str:
        self._ends = True
        if self._next() not in ("", ")", "|"):  # it may stand before a line's end, which the rest would look at
            raise self._missing(f"{name} before the end of an alternative")
        return written

    def _group(self) -> str:
        for begin, name in _REFUSED.items():
            if self._text.startswith(begin, self._at):
                raise self._missing(name)
        match = _GROUP.match(self._text, self._at)
        assert match
        if match[0] == "(" and self._text.startswith("(?", self._at):
            raise self._wrong("unknown group")
        before, self._at = self._flags, match.end()
        self._flags = self._changed(match["on"] or "", match["off"] or "")
        if match["rest"] == ")":
            return ""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise self._missing(f"more than {_MOST_NESTED} groups in each other")
        ended, self._ends = self._ends, False
        inner = self._alternatives()
        if self._next() != ")":
            raise self._wrong("unclosed group")
        self._depth -= 1
        self._at += 1
        self._flags = before
        if self._ends:
            return self._at_end("'$'", f"(?:{inner})")
        self._ends = ended
        return f"(?:{inner})"

    def _changed(self, on: str, off: str) -> frozenset[str]:
        for flag in on + off:
            if flag not in "is":
                raise self._missing(f"flag '{flag}'") if flag in "dmuxU" else self._wrong("unknown inline flag")
        return (self._flags | set(on)) - set(off)

    def _escape(self) -> str:
        if self._text.startswith(r"\Q", self._at):
            quoted, _, rest = self._text[self._at + 2 :].partition(r"\E")
            self._at = len(self._text) - len(rest)
            if len(quoted) != 1 and _REPEATED.match(self._text, self._at):  # Java's repeats the last character
                raise self._missing("repetition of a quotation")
            return "".join(self._literal(ord(one)) for one in quoted)
        name = self._text[self._at + 1 : self._at + 2]
        if name in _PLACES or name == "R":
            self._at += 2
            return self._at_end(r"'\Z'", _END) if name == "Z" else _PLACES.get(name, _LINE_BREAK)
        if name == "k" or name in "123456789":
            raise self._missing("back reference") if name else self._wrong("an escape of nothing")
        code, ranges, properties = self._escaped()
        return self._literal(code) if code is not None else _written(ranges, properties=properties)

    def _escaped(self) -> tuple[int | None, _Ranges, str]:
        """A character, or ranges of such, or a property."""
        match = _ESCAPED.match(self._text, self._at)
        if not match:
            raise self._wrong("an escape of nothing")
        start, self._at = self._at, match.end()
        numbers = [(match["octal"], 8), *((match[name], 16) for name in ("hex", "long", "unit"))]
        for digits, base in numbers:
            if digits is not None:
                return self._code(int(digits, base)), [], ""
        if match["control"]:
            return ord(match["control"]) ^ 64, [], ""
        if match["sign"]:
            return None, *self._property(match["property"] or match["letter"] or "", negated=match["sign"] == "P")
        one = match["one"]
        if one.lower() in _SETS:
            ranges = _SETS[one.lower()]
            return None, ranges if one.islower() else _inverse(ranges), ""
        if one in _CONTROLS:
            return _CONTROLS[one], [], ""
        if one.isascii() and one.isalnum():
            self._at = start
            raise self._missing(rf"'\{one}'") if one in "NX" else self._wrong("illegal escape sequence")
        return ord(one), [], ""

    def _code(self, code: int) -> int:
        if 0xD800 <= code <= 0xDFFF:
            raise self._missing("half of a character")
        if code > _LAST:
            raise self._wrong("a code that is no character's")
        return code

    def _property(self, name: str, *, negated: bool) -> tuple[_Ranges, str]:
        if "i" in self._flags:
            raise self._missing("property without regard to case")
        if name in _POSIX:
            return _inverse(_POSIX[name]) if negated else _POSIX[name], ""
        category = name.removeprefix("Is")
        if category not in _CATEGORIES:
            raise self._missing(f"property '{name}'")
        return [], rf"\{'P' if negated else 'p'}{{{category}}}"

    def _class(self) -> str:
        self._at += 1
        negated = self._next() == "^"
        self._at += negated
        ranges: _Ranges = []
        properties = ""
        while self._next() != "]" or not (ranges or properties):
            more, described = self._member()
            ranges, properties = ranges + more, properties + described
        self._at += 1
        return _written(_in_both_cases(ranges) if "i" in self._flags else ranges, negated=negated, properties=properties)

    def _member(self) -> tuple[_Ranges, str]:
        first, ranges, properties = self._one_of_class()
        if first is None:
            return ranges, properties
        last = first
        if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
            self._at += 1
            found, _, _ = self._one_of_class()
            if found is None or found < first:
                raise self._wrong("illegal character range")
            last = found
        return [(first, last)], ""

    def _one_of_class(self) -> tuple[int | None, _Ranges, str]:
        character = self._next()
        if not character:
            raise self._wrong("unclosed character class")
        if character == "[" or self._text.startswith("&&", self._at):
            raise self._missing("class in a class")
        if character == "\\":
            if self._text.startswith(r"\Q", self._at):
                raise self._missing("quotation in a class")
            return self._escaped()
        self._at += 1
        return ord(character), [], ""


@lru_cache(_MOST_KEPT)
def _compiled(expression: str) -> Expression:
    """Raises TraversalError: Java would not take it either, or RE2 does not."""
    try:
        return compile_re2(_Translation(expression).done())
    except ValueError as error:
        raise TraversalError(f"RE2 does not take the regular expression {expression!r}: {error}", UNSUPPORTED) from error
