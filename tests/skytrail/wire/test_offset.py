"""Clocks against each other, by simulated round trips whose true offset is known."""

from __future__ import annotations

import random

import pytest

from skytrail.wire.offset import Offset

HOUR = 3_600_000_000


def trip(offset: Offset, at: int, ahead: int, there: int, work: int, back: int) -> int:
    """A round trip that begins at a time of our clock; gives when it ended."""
    received = at + there + ahead
    end = at + there + work + back
    offset.note(at, received, received + work, end)
    return end


@pytest.mark.parametrize("ahead", [0, 7, -1_800_000_000, 1_800_000_000, 86_400_000_000])
def test_it_is_known_as_well_as_it_says_and_better_than_by_any_round_trip(ahead: int) -> None:
    chance, offset, now = random.Random(ahead), Offset(), HOUR
    errors = []
    for _ in range(200):
        there, back = (int(chance.expovariate(1 / 20_000)) + 200 for _ in range(2))
        now = trip(offset, now + 5_000_000, ahead, there, int(chance.expovariate(1 / 500_000)), back)
        assert abs(offset.ahead - ahead) <= offset.error + 1
        errors.append(abs(there - back) / 2)
    assert abs(offset.ahead - ahead) < sum(errors) / len(errors)


def test_what_waited_on_its_way_changes_nothing() -> None:
    offset = Offset()
    trip(offset, HOUR, 1_000_000, 100, 0, 100)
    known = offset.ahead
    assert known == 1_000_000
    trip(offset, HOUR + 5_000_000, 1_000_000, 30_000_000, 10, 100)
    assert offset.ahead == known


def test_clocks_that_may_be_the_same_are_left_alone() -> None:
    offset = Offset()
    trip(offset, HOUR, 0, 900, 0, 100)
    assert (offset.ahead, offset.error) == (0, 500)


def test_a_clock_that_is_set_is_noticed_at_once_and_one_that_drifts_is_followed() -> None:
    offset = Offset()
    trip(offset, HOUR, 0, 100, 0, 100)
    trip(offset, HOUR + 10_000_000, 60_000_000, 5000, 0, 100)  # a slower round trip than the best
    assert abs(offset.ahead - 60_000_000) <= 2550
    for second in range(0, 3600, 5):
        trip(offset, 2 * HOUR + second * 1_000_000, 60_000_000 + 30 * second, 150, 0, 150)
    assert abs(offset.ahead - (60_000_000 + 30 * 3595)) <= 2000


@pytest.mark.parametrize("times", [(100, 50, 40, 200), (100, 50, 500, 200)])
def test_a_round_trip_that_cannot_be_is_passed_over(times: tuple[int, int, int, int]) -> None:
    offset = Offset()
    offset.note(*times)
    assert (offset.ahead, offset.error) == (0, float("inf"))
