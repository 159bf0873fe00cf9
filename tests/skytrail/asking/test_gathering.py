"""What one question brings from several sides: each host's answer once, whole or with the reason, in any order of events."""

from __future__ import annotations

import itertools

import pytest

from skytrail.asking.collecting import Room
from skytrail.asking.gathering import OURS, From, Gathered
from skytrail.asking.questions import Part, encode_part

MiB = 1 << 20


def part(name: str) -> bytes:
    return encode_part(Part([{"UUID": name}]))


def gathered(*sides: str) -> Gathered:
    return Gathered(Room(MiB), sides)


def uuids(of: Gathered) -> list[str]:
    return [str(one["UUID"]) for _, found in of.collected for one in found.found]


def test_it_is_finished_when_every_side_is_done_or_lost() -> None:
    of = gathered(OURS, "x", "y")
    for end in (lambda: of.done("x"), lambda: of.done("x"), lambda: of.lost("y", "gone")):
        end()
        assert not of.finished.is_set()
    of.done(OURS)
    assert of.finished.is_set()
    assert of.left() == set()


def test_a_host_that_answers_at_two_sides_is_taken_from_one() -> None:
    """Every order in which the two answers may come: two parts and the end of each, the first side's failing or not."""
    for failing, order in itertools.product(("", "x"), set(itertools.permutations("xxxyyy"))):
        of, said = gathered("x", "y"), {"x": 0, "y": 0}
        for side in order:
            if said[side] < 2:
                of.part(side, "h", part(f"{side}{said[side]}"), 0)
            else:
                of.ended(side, "h", "no" if side == failing else "")
            said[side] += 1
        first = order[0]
        assert uuids(of) == [f"{first}0", f"{first}1"]
        assert of.missing({}, {}) == ({"h": "no"} if first == failing else {})


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_a_failure_at_one_side_is_nothing_where_another_brings_all(order: str) -> None:
    of = gathered("x", "y")
    for side in order:
        if side == "x":
            of.ended("x", "h", "is busy")
        else:
            of.part("y", "h", part("1"), 0)
            of.ended("y", "h", "")
    assert (uuids(of), of.missing({"h": "was not heard"}, {})) == (["1"], {})


def test_an_empty_answer_is_whole_too() -> None:
    of = gathered("x", "y")
    of.ended("x", "h", "")
    of.part("y", "h", part("late"), 0)
    assert (uuids(of), of.missing({"h": "was not heard"}, {})) == ([], {})


def test_why_a_host_is_missing() -> None:
    """Its own failure before its side's loss, and that before the reason of who was not heard; known in no list or not."""
    of = gathered("x", "y")
    of.part("x", "began", part("1"), 0)
    of.ended("x", "failed", "no")
    of.ended("x", "whole", "")
    of.lost("x", "x is lost")
    of.lost("x", "said again")
    of.done("y")
    at = {"x": ("failed", "whole", "listed"), "y": ("elsewhere",)}
    assert of.missing({"listed": "unheard", "elsewhere": "unheard"}, at) == {
        "began": "x is lost",
        "failed": "no",
        "listed": "x is lost",
        "elsewhere": "unheard",
    }


def test_what_comes_after_the_end_is_not_taken() -> None:
    of = gathered("x")
    of.done("x")
    of.part("x", "h", part("1"), 0)
    of.ended("x", "h", "no")
    assert (uuids(of), of.missing({}, {})) == ([], {})


def crowded(*hosts: str) -> tuple[Gathered, list[tuple[str, str]]]:
    """One with little room, and who is called off at which side."""
    of, called_off = Gathered(Room(2000), ["x", "y"], hosts), list[tuple[str, str]]()
    for side in "xy":
        From(of, side).begins(lambda host, side=side: called_off.append((side, host)))
    return of, called_off


LEFT_OUT = "its answer is left out: the answers are larger than 0 MiB together: ask for less, or set hub.ask_max"


@pytest.mark.parametrize("known", ["h", "hi", "hijklm"])
def test_the_largest_answer_makes_room_for_one_of_another_side(known: str) -> None:
    of, called_off = crowded(*known)
    of.part("x", "h", bytes(1000), 0)
    of.ended("x", "h", "")
    of.part("y", "i", bytes(900), 0)
    assert called_off == [("x", "h")]
    for side in "xy":
        of.part(side, "h", b"more", 0)
        of.ended(side, "h", "")
    of.ended("y", "i", "")
    assert [tid for tid, _, _ in of.collected._parts] == ["i"]
    assert of.missing({"h": "was not heard"}, {}) == {"h": LEFT_OUT}
    assert (of.crowded, of.over, of.finished.is_set()) == ({"h"}, None, False)


def test_of_one_alone_that_has_too_much_the_question_is_refused() -> None:
    of, _ = crowded("h")
    for _ in range(2):
        of.part("x", "h", bytes(1000), 0)
    assert of.finished.is_set()
    assert "ask for less, or set hub.ask_max" in str(of.over)


def test_too_many_that_have_too_much_end_it_at_once() -> None:
    of, called_off = crowded(*"hijklmn")
    for number, host in enumerate("hij"):
        assert not of.finished.is_set()
        of.part("xy"[number % 2], host, bytes(1100), 0)
    assert of.finished.is_set()
    assert "ask for less, or set hub.ask_max" in str(of.over)
    assert called_off == [("x", "h"), ("y", "i")]
    of.part("x", "k", b"small", 0)
    assert len(of.collected) == 0


def test_an_answer_that_is_dropped_takes_all_of_it_along_and_no_others() -> None:
    of = gathered("x", "y")
    of.part("x", "h", part("1"), 0)
    of.part("y", "i", part("2"), 0)
    of.dropped("y", "h", "is of another side")
    of.dropped("x", "h", "is none")
    of.part("x", "h", part("3"), 0)
    of.ended("x", "h", "")
    of.ended("y", "i", "")
    assert uuids(of) == ["2"]
    assert of.missing({"h": "was not heard"}, {}) == {"h": "is none"}


def test_of_hosts_that_were_not_asked_at_a_side_nothing_is_taken() -> None:
    of = gathered("x", "y")
    some, others = From(of, "x", frozenset({"a"})), From(of, "y", None, frozenset({"a"}))
    for side in (some, others):
        for host in "ab":
            side.part(host, part(f"{side.side}{host}"))
            side.ended(host, "no")
    assert uuids(of) == ["xa", "yb"]
    assert of.missing({}, {}).keys() == {"a", "b"}
