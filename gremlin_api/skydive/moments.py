"""What ``At`` and ``Context`` say: a moment, or a range of time that ends at it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gremlin_api.language.syntax import Argument, EnumValue
from skytrail.errors import UsageError
from skytrail.moments import parse_moment
from skytrail.settings.values import parse_duration
from topology.elements import FOREVER

Period: TypeAlias = "tuple[int, int]"
"""µs since the epoch, both ends included."""


def period_of(arguments: Sequence[Argument], now: int) -> tuple[int | None, Period | None]:
    """The moment that is asked about (None: now), or the range.

    Args:
        arguments: the moment; and, for a range, how long it is: seconds, a duration as ``'5m'``, or FOREVER.
        now: µs since the epoch.

    Raises:
        UsageError: they say none.
    """
    first, *rest = arguments
    when = now if isinstance(first, EnumValue) else _moment(_text(first), now)
    if not rest:
        return (None if when >= now else when), None
    return None, (max(0, when - _length(rest[0], when)), when)


def _moment(text: str, now: int) -> int:
    """µs since the epoch; a duration is added to now, as Skydive does: without a sign it gives a moment that is to come."""
    try:
        return parse_moment(text, now)
    except UsageError:
        try:
            return int(min(now + parse_duration(text.removeprefix("+")) * 1e6, FOREVER - 1))
        except ValueError:
            pass
        raise


def _text(moment: Argument) -> str:
    return f"{moment:f}" if isinstance(moment, float) else str(moment)


def _length(duration: Argument, when: int) -> int:
    if isinstance(duration, EnumValue):
        if duration.name == "NOW":
            raise UsageError("a range is so long: seconds, a duration as '5m', or FOREVER")
        return when
    try:
        seconds = parse_duration(str(duration))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return int(min(seconds * 1e6, when))
