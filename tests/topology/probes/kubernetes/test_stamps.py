"""When an event happened that is told after a gap, by tables of times in seconds."""

from __future__ import annotations

import pytest

from topology.probes.kubernetes.stamps import Stamps

DAY = 1_767_225_600  # 2026-01-01T00:00:00Z
SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> int:
        return DAY * SECOND + round(self.now * SECOND)


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}Z"


def told(stamp: int) -> float:
    return (stamp - DAY * SECOND) / SECOND


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cut(clock: Clock, begin: float, end: float, newest: str = "100") -> Stamps:
    """A watch that was last heard at one time, and goes on at another, when there was that version."""
    made = Stamps(clock)
    clock.now = begin
    made.told()
    made.cut()
    clock.now = end
    made.resume(newest)
    return made


def test_while_a_watch_lasts_it_is_now_whatever_is_said(clock: Clock) -> None:
    made = Stamps(clock)
    clock.now = 30.25
    assert told(made.of(at(5), "7")) == 30.25
    assert told(made.of(None, "8")) == 30.25
    assert not made.gap


def test_after_a_gap_what_is_said_is_believed_within_the_gap_and_in_order(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert told(made.of(at(12), "90")) == 12.5  # the middle of that second
    assert told(made.of(None, "91")) == 12.5  # after what was before
    assert told(made.of(at(11), "92")) == 12.5  # never back
    assert told(made.of(at(15), "93")) == 15.5
    clock.now = 25.0  # it takes its time to tell
    assert told(made.of(at(50), "94")) == 20.0  # a clock that is ahead
    assert told(made.of(at(19), "100")) == 20.0


@pytest.mark.parametrize("said", [at(3), "0001-01-01T00:00:00Z", "no time", "", None])
def test_nothing_is_before_the_gap(clock: Clock, said: str | None) -> None:
    assert told(cut(clock, 10.0, 20.0).of(said, "90")) == 10.0


@pytest.mark.parametrize("later", ["101", "1000"])
def test_what_has_a_later_version_is_of_now_however_soon_it_comes(clock: Clock, later: str) -> None:
    made = cut(clock, 10.0, 20.0)
    assert told(made.of(None, "99")) == 10.0
    clock.now = 20.01
    assert told(made.of(at(12), later)) == 20.01
    assert not made.gap
    assert told(made.of(at(12), "7")) == 20.01  # a version that goes back


@pytest.mark.parametrize(("version", "gap"), [("99", True), ("100", False), ("205", False), ("", True), ("x", True)])
def test_the_gap_is_told_when_its_last_version_is_reached(clock: Clock, version: str, gap: bool) -> None:
    made = cut(clock, 10.0, 20.0)
    made.reached(version)
    assert made.gap is gap


@pytest.mark.parametrize("newest", ["", "x", "-5", "1.5", "²", "9" * 5000])
def test_a_server_whose_versions_are_no_numbers_is_believed_to_tell_of_now(clock: Clock, newest: str) -> None:
    assert told(cut(clock, 10.0, 20.0, newest).of(at(12), "5")) == 20.0
    assert told(cut(clock, 10.0, 20.0).of(at(12), newest)) == 20.0


def test_a_gap_within_a_gap_begins_with_what_was_told_last(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert told(made.of(at(12), "50")) == 12.5
    made.reached("50")
    made.cut()
    clock.now = 30.0
    made.resume("200")
    assert told(made.of(None, "60")) == 12.5
    assert told(made.of(at(25), "150")) == 25.5


def test_a_gap_that_was_not_told_is_one_with_the_next(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    made.cut()
    clock.now = 30.0
    made.resume("200")
    assert told(made.of(at(12), "50")) == 12.5


def test_after_a_watch_that_was_away_for_a_moment_it_is_now(clock: Clock) -> None:
    made = cut(clock, 10.0, 10.4)
    assert not made.gap
    assert told(made.of(at(9), "50")) == 10.4


def test_what_was_told_up_to_an_earlier_moment_leaves_a_gap_since_then(clock: Clock) -> None:
    made = Stamps(clock)
    clock.now = 20.0
    made.told(DAY * SECOND + 10 * SECOND)  # a list that took ten seconds
    made.cut()
    assert not made.brief
    made.resume("100")
    assert told(made.of(at(12), "50")) == 12.5


def test_a_list_ends_the_gap_before_it(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    made.told()
    made.cut()
    assert (made.gap, made.brief) == (True, True)


def test_a_list_says_when_an_object_was_made_in_no_order(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert [told(made.within(one)) for one in (at(15), at(12), at(2), at(40), None)] == [15.5, 12.5, 10.0, 20.0, 20.0]


def test_of_a_second_that_has_not_passed_it_is_the_middle_so_far(clock: Clock) -> None:
    assert told(cut(clock, 10.0, 20.5).of(at(20), "50")) == 20.25
