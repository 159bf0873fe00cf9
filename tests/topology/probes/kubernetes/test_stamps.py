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


def cut(clock: Clock, begin: float, end: float) -> Stamps:
    """A watch that was last heard at one time, and begins again at another."""
    made = Stamps(clock)
    clock.now = begin
    made.heard()
    made.cut()
    clock.now = end
    made.connected()
    return made


def test_while_a_watch_lasts_it_is_now_whatever_is_said(clock: Clock) -> None:
    made = Stamps(clock)
    clock.now = 30.25
    assert told(made.of(at(5))) == 30.25
    assert told(made.of(None)) == 30.25
    assert not made.gap


def test_after_a_gap_what_is_said_is_believed_within_the_gap_and_in_order(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert told(made.of(at(12))) == 12.5  # the middle of that second
    assert told(made.of(None)) == 12.5  # after what was before
    assert told(made.of(at(11))) == 12.5  # never back
    assert told(made.of(at(15))) == 15.5
    assert told(made.of(at(50))) == 20.0  # a clock that is ahead
    clock.now = 20.1
    assert told(made.of(at(19))) == 20.0


@pytest.mark.parametrize("said", [at(3), "0001-01-01T00:00:00Z", "no time", "", None])
def test_nothing_is_before_the_gap(clock: Clock, said: str | None) -> None:
    assert told(cut(clock, 10.0, 20.0).of(said)) == 10.0


def test_once_nothing_came_for_a_while_it_is_now_again(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert told(made.of(at(12))) == 12.5
    made.heard()
    clock.now = 20.5
    assert told(made.of(at(13))) == 20.5
    assert not made.gap


def test_a_busy_watch_is_believed_to_be_of_now_after_two_seconds(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    for step in range(30):
        clock.now = 20.0 + step / 10
        last = told(made.of(at(12)))
        made.heard()
    assert last == 22.9


def test_after_a_watch_that_was_away_for_a_moment_it_is_now(clock: Clock) -> None:
    made = cut(clock, 10.0, 10.4)
    assert not made.gap
    for step in range(10):  # one after the other: nothing tells where what was before ends
        clock.now = 10.4 + step / 10
        assert told(made.of(at(10))) == pytest.approx(clock.now)
        made.heard()


def test_what_was_told_up_to_an_earlier_moment_leaves_a_gap_since_then(clock: Clock) -> None:
    made = Stamps(clock)
    clock.now = 20.0
    made.heard(DAY * SECOND + 10 * SECOND)  # a list that took ten seconds
    made.cut()
    made.connected()
    assert told(made.of(at(12))) == 12.5


def test_a_list_says_when_an_object_was_made_in_no_order(clock: Clock) -> None:
    made = cut(clock, 10.0, 20.0)
    assert [told(made.within(one)) for one in (at(15), at(12), at(2), at(40), None)] == [15.5, 12.5, 10.0, 20.0, 20.0]


def test_of_a_second_that_has_not_passed_it_is_the_middle_so_far(clock: Clock) -> None:
    assert told(cut(clock, 10.0, 20.5).of(at(20))) == 20.25
