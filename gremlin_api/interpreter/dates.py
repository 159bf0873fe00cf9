"""Functions of dates. Source: AsDateStep, DateAddStep, DateDiffStep and DatetimeHelper of TinkerPop 3.7.3."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from gremlin_api.errors import ILLEGAL_ARGUMENT, NULL_POINTER, WRONG_TYPE, TraversalError
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.numbers import LONG_BITS, Long, fits
from gremlin_api.values import Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = 31  # days
_FORM = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:T(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{0,9}))?)?"
    r"(?P<offset>Z|[+-]\d{2}:?\d{2}(?::?\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)
_MONTH = re.compile(r"(\d{1,4})-(\d{1,2})", re.ASCII)


def parse_datetime(text: str) -> datetime:
    """A date, a date and time with or without an offset, or a year and month; UTC where no offset is given.

    Raises:
        TraversalError: it is none, or beyond the years 1 to 9999.
    """
    try:
        found = _FORM.fullmatch(text)
        if found is not None:
            return _moment(found)
        month = _MONTH.fullmatch(text)
        if month is not None:
            return datetime(int(month[1]), int(month[2]), 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise TraversalError(f"'{text[:60]}' is no date: write 2026-11-25T14:32:00Z, 2026-11-25 or 2026-11")


def _moment(found: re.Match[str]) -> datetime:
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    milliseconds = int((found["fraction"] or "0").ljust(9, "0")[:3])
    zone = _zone(found["offset"] or "Z")
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    day = min(day, calendar.monthrange(year, month)[1]) if day <= _LONGEST else day  # as Java's resolver does
    return datetime(year, month, day, hour, minute, second, 1000 * milliseconds, zone).astimezone(UTC)


def _zone(offset: str) -> timezone:
    if offset in ("Z", "z"):
        return UTC
    digits = offset[1:].replace(":", "").ljust(6, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return timezone(-shift if offset[0] == "-" else shift)


def as_date(value: Value) -> datetime:
    """The date that a text says, or that so many ms since the epoch are. Raises TraversalError."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_datetime(value)
    if isinstance(value, int) and not isinstance(value, bool) and fits(value, LONG_BITS):
        return _shifted(_EPOCH, int(value) * _MILLISECOND if abs(value) < 1 << 53 else None)
    raise TraversalError(f"asDate() takes texts and numbers of ms, not {java_text(value)}")


def _shifted(value: datetime, by: timedelta | None) -> datetime:
    try:
        if by is not None:
            return value + by
    except OverflowError:
        pass
    raise TraversalError("a date lies beyond the years 1 to 9999")


_UNITS = {"second": "seconds", "minute": "minutes", "hour": "hours", "day": "days"}


def date_add(unit: str, amount: int) -> Callable[[Value], Value]:
    """So many units later. What it gives raises TraversalError."""
    by = timedelta(**{_UNITS[unit]: int(amount)})

    def apply(value: Value) -> Value:
        if not isinstance(value, datetime):
            raise TraversalError(f"dateAdd() takes dates, not {java_text(value)}")
        return _shifted(value, by)

    return apply


def date_difference(value: Value, other: Value) -> Value:
    """Seconds from the other date, or from the epoch, where it is null; whole ones, towards 0. Raises TraversalError."""
    if not isinstance(value, datetime):
        raise TraversalError(
            f"dateDiff() takes dates, not {java_text(value)}", NULL_POINTER if value is None else ILLEGAL_ARGUMENT
        )
    if other is not None and not isinstance(other, datetime):
        raise TraversalError(f"dateDiff() takes a date, not {java_text(other)}", WRONG_TYPE)
    milliseconds = (value - (other or _EPOCH)) // _MILLISECOND
    return Long(abs(milliseconds) // 1000 * (1 if milliseconds >= 0 else -1))
