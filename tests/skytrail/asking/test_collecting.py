"""What is collected of answers is bounded, for each question and for all, and room that is given back is there again."""

from __future__ import annotations

import pytest

from skytrail.asking.collecting import Collected, FullError, Room
from skytrail.asking.questions import Part, encode_part

MOST = 1 << 20
LITTLE = b" " * 1000


def much(room: Room) -> Collected:
    made = Collected(room)
    made.add("host/a", b" " * (MOST - 1000))
    return made


def fill(collected: Collected, part: bytes, times: int) -> None:
    for _ in range(times):
        collected.add("host/a", part)


def test_parts_are_read_in_the_order_in_which_they_came_and_each_time_anew() -> None:
    collected = Collected(Room(MOST))
    said = [("host/a", Part([{"n": 1}])), ("host/b", Part([{"n": 2}], since=3)), ("host/a", Part([{"n": 4}]))]
    for tid, part in said:
        collected.add(tid, encode_part(part))
    for _ in range(2):
        assert list(collected) == said
    collected.leave_out("host/a")
    assert list(collected) == said[1:2]


def test_the_largest_answer_is_that_which_would_be_with_one_more_part() -> None:
    collected = Collected(Room(MOST))
    collected.add("host/a", b" " * 400_000)
    collected.add("host/b", b" " * 300_000)
    assert collected.largest("host/c", b" " * 350_000) == "host/a"
    assert collected.largest("host/b", b" " * 350_000) == "host/b"
    with pytest.raises(FullError, match="the answers are larger than 1 MiB together"):
        collected.add("host/c", b" " * 350_000)
    collected.leave_out("host/a")
    collected.add("host/c", b" " * 350_000)


def test_parts_of_nothing_take_room_too() -> None:
    collected = Collected(Room(MOST))
    with pytest.raises(FullError):
        fill(collected, b"{}", MOST)
    assert len(collected) < MOST // 100


def test_questions_that_have_much_leave_room_for_those_that_have_little() -> None:
    room = Room(MOST)
    large = [much(room) for _ in range(3)]
    with pytest.raises(FullError, match="no room for the answers of all who ask at once"):
        much(room)
    small = [Collected(room) for _ in range(16)]
    for one in small:
        fill(one, LITTLE, 50)
    with pytest.raises(FullError, match="no room for the answers of all who ask at once"):
        fill(small[0], LITTLE, 50)
    assert large
    large.pop().drop()
    small[0].add("host/a", b" " * 100_000)
    del large, small, one
    assert room._used == 0
