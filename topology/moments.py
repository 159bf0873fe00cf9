"""Moments as people write them: ``now``, ``-5m``, RFC 3339, seconds or milliseconds since the epoch. Pure.

A millisecond is meant to its end: what is shown as of one (CreatedAt …) is there at the moment that is read there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from skytrail.errors import UsageError
from skytrail.settings.values import parse_duration
from topology.elements import FOREVER

_MILLISECONDS_FROM = 10**11
"""A bare number from here on is ms: as seconds it would be the year 5138."""


def parse_moment(text: str, now: int) -> int:
    """µs since the epoch.

    Args:
        text: what somebody wrote; a date without a zone is UTC. What lies beyond all times there can be is the last one.
        now: µs since the epoch.

    Raises:
        UsageError: it is none.
    """
    word = text.strip()
    if word == "now":
        return now
    if re.fullmatch(r"\d{1,16}(\.\d{1,9})?", word, re.ASCII):
        number = float(word)
        if number < _MILLISECONDS_FROM:
            return int(number * 1_000_000)
        return min(int(number) * 1_000 + 999, FOREVER - 1)
    try:
        if word.startswith("-"):
            return max(0, now - int(parse_duration(word[1:]) * 1e6))
        moment = datetime.fromisoformat(word)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text[:60]}' is no moment: write now, -5m, 2026-11-25T14:32:00Z, or seconds or ms since the epoch"
        ) from None
