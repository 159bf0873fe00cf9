"""Moments as people write them: ``now``, ``-5m``, ``14:32``, RFC 3339, RFC 1123, seconds or milliseconds since the epoch.

A millisecond is meant to its end: what is shown as of one (CreatedAt …) is there at the moment that is read there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime

from skytrail.errors import UsageError
from skytrail.settings.values import parse_duration

_LAST = 2**63 - 2
"""µs: the last moment that an interval without an end holds."""
_MILLISECONDS_FROM = 10**11
"""A bare number from here on is ms: as seconds it would be the year 5138."""

_CLOCK = re.compile(
    r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))? ?(Z|UTC|[+-](?:[01]\d|2[0-3]):[0-5]\d)?", re.ASCII | re.IGNORECASE
)
_UTC = frozenset({"Z", "UTC"})
_RFC1123 = re.compile(r"[A-Za-z]{3}, \d{1,2} [A-Za-z]{3} \d{4} ")


def parse_moment(text: str, now: int, zone: tzinfo | None = UTC) -> int:
    """µs since the epoch.

    Args:
        text: what somebody wrote; a time of day is the last such one. What lies beyond all times there can be is the last one.
        now: µs since the epoch.
        zone: of a date or a time of day that names none; None: this machine's.

    Raises:
        UsageError: it is none.
    """
    word = text.strip()
    if word.lower() == "now":
        return now
    if re.fullmatch(r"\d{1,16}(\.\d{1,9})?", word, re.ASCII):
        number = float(word)
        if number < _MILLISECONDS_FROM:
            return int(number * 1_000_000)
        return min(int(number) * 1_000 + 999, _LAST)
    if clock := _CLOCK.fullmatch(word):
        return _time_of_day(clock, now, zone)
    try:
        if word.startswith("-"):
            return max(0, now - int(parse_duration(word[1:]) * 1e6))
        date = parsedate_to_datetime(word) if _RFC1123.match(word) else datetime.fromisoformat(word)
        if date.tzinfo is None:
            date = date.replace(tzinfo=zone)
        return int(date.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text[:60]}' is no moment: write now, -5m, 14:32, 2026-11-25T14:32:00Z, Wed, 25 Nov 2026 14:32:00 GMT,"
            " or seconds or ms since the epoch"
        ) from None


def _time_of_day(clock: re.Match[str], now: int, zone: tzinfo | None) -> int:
    """The last such one."""
    *digits, named = clock.groups()
    hours, minutes, seconds = (int(part or 0) for part in digits)
    if named:
        zone = UTC if named.upper() in _UTC else datetime.strptime(named, "%z").tzinfo
    today = datetime.fromtimestamp(now // 1_000_000, zone)
    moment = today.replace(hour=hours, minute=minutes, second=seconds, fold=0)
    if moment.timestamp() > today.timestamp():
        moment -= timedelta(days=1)
    return int(moment.timestamp()) * 1_000_000


def with_zone(text: str, now: int) -> str:
    """A moment, or a period, as whoever is in another zone takes it for the same: where none is named, this machine's is meant.

    Raises:
        UsageError: it is none.
    """
    return "/".join(_with_zone(part, now) for part in text.split("/", 1))


def _with_zone(text: str, now: int) -> str:
    here = parse_moment(text, now, None)
    if here == parse_moment(text, now):
        return text
    date = datetime.fromtimestamp(here // 1_000_000, UTC).replace(microsecond=here % 1_000_000)
    return date.isoformat().replace("+00:00", "Z")


def parse_period(text: str, now: int) -> tuple[int, int]:
    """Two moments with a ``/`` between them, as ISO 8601 writes an interval: µs since the epoch, the earlier first.

    Raises:
        UsageError: it is none, or ends before it begins.
    """
    first, _, last = text.partition("/")
    begin, end = parse_moment(first, now), parse_moment(last, now)
    if begin > end:
        raise UsageError(f"'{text[:60]}' ends before it begins: write the earlier moment first")
    return begin, end
