"""Why a file's graph cannot be read."""

from __future__ import annotations

import re

from skytrail.errors import RunError

_LONGEST = 60  # characters of a name or value that a message shows
_LONGEST_REASON = 500
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class GraphFileError(RunError):
    """A file that holds no graph, or a damaged one; says where, and what was expected."""


def shown(value: object) -> str:
    """A name or a value of a file, as a message shows it."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a map"
    text = str(value)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def one_line(reason: object) -> str:
    """A reason that may hold parts of a file, as one line that is not too long."""
    text = _UNPRINTABLE.sub(" ", str(reason))
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
