"""What is wrong with a query's text, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from skytrail.errors import UsageError


class QueryError(UsageError):
    """A query that cannot be read.

    Attributes:
        line: from 1.
        column: from 1, in characters.
        reason: without the place.
    """

    def __init__(self, text: str, at: int, reason: str) -> None:
        self.line = text.count("\n", 0, at) + 1
        self.column = at - (text.rfind("\n", 0, at) + 1) + 1
        self.reason = reason
        super().__init__(f"line {self.line}, column {self.column}: {reason}")


def nearest(word: str, known: Iterable[str]) -> str:
    """``: did you mean …?`` for the known word that is most like it; empty if none is."""
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), by_lower, 1)
    return f": did you mean {by_lower[found[0]]}?" if found else ""
