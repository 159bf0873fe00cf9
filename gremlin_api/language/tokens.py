"""Text → tokens, as the lexer rules of TinkerPop 3.7's Gremlin.g4 have them.

Source: the grammar in gremlin-language 3.7.3, whose literals are those of the Java Language Specification, with strings in
single or double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gremlin_api.language.errors import QueryError


class Kind(Enum):
    """What a token is."""

    NAME = "a name"
    STRING = "a string"
    INTEGER = "an integer"
    FLOAT = "a number"
    MARK = "a mark"
    END = "the end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        kind: what it is.
        text: as it stands there; of a string, what it means.
        at: place of its first character.
    """

    kind: Kind
    text: str
    at: int

    def __str__(self) -> str:
        return self.kind.value if self.kind in (Kind.END, Kind.STRING) else f"'{self.text}'"


_DIGITS = r"[0-9](?:[0-9_]*[0-9])?"
_FLOAT = rf"(?:{_DIGITS}(?:\.{_DIGITS}(?:[eE][+-]?{_DIGITS})?|[eE][+-]?{_DIGITS})[fFdDmM]?|{_DIGITS}[fFdDmM])"
_INTEGER = r"(?:0[xX][0-9a-fA-F](?:[0-9a-fA-F_]*[0-9a-fA-F])?|0_*[0-7](?:[0-7_]*[0-7])?|0|[1-9](?:[0-9_]*[0-9])?)[bBsSnNiIlL]?"
_STRING = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
# An enum's value with its enum before it is one token there: no blank may stand within.
_PREFIXES = "Barrier|Cardinality|Column|DT|Direction|Merge|Operator|Order|P|Pick|Pop|Scope|T|TextP"
_TOKEN = re.compile(
    rf"(?P<skip>[ \t\r\n\f]+|//[^\r\n]*)"
    rf"|(?P<FLOAT>[+-]?{_FLOAT})"
    rf"|(?P<INTEGER>[+-]?{_INTEGER})"
    rf"|(?P<STRING>{_STRING})"
    rf"|(?P<NAME>[+-]Infinity|(?:{_PREFIXES})\.[A-Za-z]+|(?:[^\W\d]|\$)(?:\w|\$)*)"
    rf"|(?P<MARK>[()\[\]{{}};,.:])",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:(?P<join>\r?\n)|u+(?P<hex>[0-9a-fA-F]{4})|(?P<octal>[0-3]?[0-7]{1,2})|(?P<one>.))", re.DOTALL)
_NUMBERS = frozenset({"INTEGER", "FLOAT"})
_DIGITS_AT_MOST = 1000  # Python reads no more than 4,300, for it takes the square of their time
_HEXADECIMAL_AT_MOST = 800  # which are less than a thousand decimal ones, as it is rendered
_HUGE_EXPONENT = re.compile(r"[eE][+-]?[0-9_]{10}")  # beyond what Decimal has
_PLAIN = re.compile(r"\\([\\'\"])")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


def tokens(text: str, *, plain: bool = False) -> Iterator[Token]:
    """The tokens, then one of :attr:`Kind.END`. Raises QueryError where none begins.

    Args:
        text: the whole of it.
        plain: strings are as Skydive has them: a backslash is one, unless a quote or another one follows.
    """
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise QueryError(text, at, _no_token(text, at))
        kind, value = found.lastgroup, found.group()
        if kind == "STRING":
            yield Token(Kind.STRING, _PLAIN.sub(r"\1", value[1:-1]) if plain else _meant(text, at, value), at)
        elif kind != "skip":
            assert kind is not None
            if kind in _NUMBERS and _is_too_large(value):
                raise QueryError(
                    text, at, f"the number that begins here is too large: {_DIGITS_AT_MOST} digits, 9 of an exponent"
                )
            yield Token(Kind[kind], value, at)
        at = found.end()
    yield Token(Kind.END, "", len(text))


def _is_too_large(number: str) -> bool:
    if "x" in number or "X" in number:
        return len(number) > _HEXADECIMAL_AT_MOST
    return len(number) > _DIGITS_AT_MOST or _HUGE_EXPONENT.search(number) is not None


def _no_token(text: str, at: int) -> str:
    if text[at] in "\"'":
        return f"the string that begins here with {text[at]} does not end"
    return f"the character {text[at]!r} stands where none may"


def _meant(text: str, at: int, quoted: str) -> str:
    """What a quoted string means."""

    def replace(found: re.Match[str]) -> str:
        if found["join"] is not None:  # TinkerPop leaves the line's end there
            return found["join"]
        if found["hex"] is not None:
            return chr(int(found["hex"], 16))
        if found["octal"] is not None:
            return chr(int(found["octal"], 8))
        if found["one"] not in _ESCAPED:
            escapes = "\\b \\t \\n \\f \\r \\\" \\' \\\\, octal and \\u ones"
            raise QueryError(text, at + 1 + found.start(), f"\\{found['one']} is no escape: there are {escapes}")
        return _ESCAPED[found["one"]]

    inner = quoted[1:-1]
    if "\\" not in inner:
        return inner
    meant = _ESCAPE.sub(replace, inner)
    # characters beyond the first plane may be written as two halves, as Java has them
    return meant.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
