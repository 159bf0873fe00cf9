"""Functions of texts. Source: the string steps of TinkerPop 3.7.3, StringLocalStep, and StringUtils of Apache Commons Lang.

Java's texts are UTF-16: lengths and places count its units.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from gremlin_api.errors import ARITHMETIC, TraversalError
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.values import BulkSet, OrderedSet, Path, Value

OfText = Callable[[str], Value]

_NO_BREAK = "\u00a0\u2007\u202f"
_SPACES = "".join(
    chr(code)
    for code in range(0x10000)
    if (unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp") and chr(code) not in _NO_BREAK)
    or code in (*range(0x09, 0x0E), *range(0x1C, 0x20))
)
"""What Java's Character.isWhitespace says of."""
_SPACE = re.compile(f"[{re.escape(_SPACES)}]+")
_ITERABLE = (list, OrderedSet, BulkSet)


def of_text(step: str, function: OfText) -> Callable[[Value], Value]:
    """The function of a text; null stays. What it gives raises TraversalError for anything else."""

    def apply(value: Value) -> Value:
        if value is None:
            return None
        if not isinstance(value, str):
            raise TraversalError(f"{step}() takes texts, not {java_text(value)}")
        return function(value)

    return apply


def of_items(step: str, function: OfText) -> Callable[[Value], Value]:
    """The function of a text, or of each text of a list."""
    of_one = of_text(f"{step}(local)", function)

    def apply(value: Value) -> Value:
        several = items(value)
        return of_one(value) if several is None else [of_one(one) for one in several]

    return apply


def items(value: Value) -> list[Value] | None:
    """What a list or set holds, or a path; None: it is none of these."""
    if isinstance(value, _ITERABLE):
        return list(value)
    return list(value.objects) if isinstance(value, Path) else None


def as_string(value: Value) -> Value:
    """The text of a value; null stays."""
    return None if value is None else java_text(value)


def as_strings(value: Value) -> Value:
    """The texts of a list's items, or of a value."""
    several = items(value)
    return as_string(value) if several is None else [as_string(one) for one in several]


def concat(value: Value, others: Sequence[Value]) -> Value:
    """The texts, one after the other; nulls are left out, and of nothing but nulls it is null. Raises TraversalError."""
    if value is not None and not isinstance(value, str):
        raise TraversalError(f"concat() takes texts, not {java_text(value)}")
    texts = [java_text(one) for one in (value, *others) if one is not None]
    return "".join(texts) if texts else None


def length(text: str) -> int:
    """In units of UTF-16."""
    return len(text) + sum(character > "\uffff" for character in text)


def split(separator: str | None) -> OfText:
    """Into the parts between a separator, or between blanks; empty ones are left out, but for the last."""
    if not separator:
        return lambda text: [part for part in _SPACE.split(text) if part]

    def apply(text: str) -> list[Value]:
        if not text:
            return []
        *parts, last = text.split(separator)
        found: list[Value] = [part for part in parts if part]
        return [*found, last]

    return apply


def substring(begin: int, end: int | None = None) -> OfText:
    """The part from a place to before another; negative ones count from the end. Raises TraversalError."""

    def apply(text: str) -> str:
        size = length(text)
        first = _place(size, begin)
        last = size if end is None else _place(size, end)
        if last <= first:
            return ""
        if size == len(text):
            return text[first:last]
        return text.encode("utf-16-le")[2 * first : 2 * last].decode("utf-16-le", "surrogatepass")

    return apply


def _place(size: int, index: int) -> int:
    if index >= 0:
        return min(index, size)
    if not size:
        raise TraversalError("/ by zero: substring() of an empty text takes no negative place", ARITHMETIC)
    return max(size + index, 0)


def replace(old: str | None, new: str | None) -> OfText:
    """With one text in the place of another."""
    if not old or new is None:
        return lambda text: text
    return lambda text: text.replace(old, new)


def trim(text: str) -> str:
    """Without blanks at both ends."""
    return text.strip(_SPACES)


def left_trim(text: str) -> str:
    """Without blanks at the beginning."""
    return text.lstrip(_SPACES)


def right_trim(text: str) -> str:
    """Without blanks at the end."""
    return text.rstrip(_SPACES)


def reverse(value: Value) -> Value:
    """A text or a list from its end; anything else as it is."""
    if isinstance(value, str):
        return value[::-1]
    several = items(value)
    return value if several is None else several[::-1]


VARIABLE = re.compile(r"(?<!%)%\{(.*?)\}")
"""Of a format: ``%{name}``; ``%%{`` is none."""


def formatted(template: str, told: Callable[[str], Value]) -> str | None:
    """The template with what ``told`` gives in the place of each variable; None: one of them is null."""
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        value = None if missing else told(match[1])
        missing = missing or value is None
        return java_text(value)

    text = VARIABLE.sub(fill, template)
    return None if missing else text
