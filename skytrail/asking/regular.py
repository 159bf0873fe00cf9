"""Regular expressions that cannot blow up: RE2's, in a bounded memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import re2

Expression: TypeAlias = "re2._Regexp"  # noqa: SLF001 - the only name that it has

_MEMORY = 1 << 21  # bytes, for one expression
_MOST_KEPT = 256


@lru_cache(_MOST_KEPT)
def compile_re2(expression: str) -> Expression:
    """An expression of RE2's syntax, that is matched with bytes of UTF-8. Raises ValueError: RE2 does not take it, and why."""
    options = re2.Options()
    options.log_errors, options.never_capture, options.max_mem = False, True, _MEMORY
    try:
        return re2.compile(expression.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
