"""A host whose clock is wrong is asked, and answers, by the clock of who asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skytrail.asking.clocks import by_clock_of_asker
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Part, Question, Range
from skytrail.asking.terms import Compare, Either, Every, Not

HOUR = 3_600_000
FLOW = {"UUID": "u", "Start": 1_000, "Last": 2_000, "Metric": {"ABPackets": 3, "Start": 1_000, "Last": 2_000}}
SERIES = {"TID": "t", "Metrics": [{"RxPackets": 4, "Start": 10, "Last": 20}]}


class Host:
    def __init__(self, *parts: Part) -> None:
        self.asked: list[Question] = []
        self._parts = parts

    def answer(self, question: Question) -> Iterator[Part]:
        self.asked.append(question)
        yield from self._parts


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_range_conditions_and_answer_are_moved(ahead: int) -> None:
    host = Host(Part([FLOW, SERIES], since=500, gaps=[Range(1, 2)]))
    term = Every((
        Compare("Last", "gte", (HOUR,)),
        Either((Not(Compare("LastUpdateMetric.Start", "lt", (5 * HOUR,))), Compare("Metric.ABPackets", "gt", (HOUR,)))),
    ))  # fmt: skip
    question = FlowsQuestion(Range(2 * HOUR, 3 * HOUR), term=term, limit=7)

    [part] = by_clock_of_asker(host.answer, lambda: ahead * 1_000)(question)

    moved = Every((
        Compare("Last", "gte", (HOUR - ahead,)),
        Either((Not(Compare("LastUpdateMetric.Start", "lt", (5 * HOUR - ahead,))), Compare("Metric.ABPackets", "gt", (HOUR,)))),
    ))  # fmt: skip
    assert host.asked == [FlowsQuestion(Range(2 * HOUR - ahead, 3 * HOUR - ahead), term=moved, limit=7)]
    assert part.found == [
        {
            "UUID": "u",
            "Start": 1_000 + ahead,
            "Last": 2_000 + ahead,
            "Metric": {"ABPackets": 3, "Start": 1_000 + ahead, "Last": 2_000 + ahead},
        },
        {"TID": "t", "Metrics": [{"RxPackets": 4, "Start": 10 + ahead, "Last": 20 + ahead}]},
    ]
    assert (part.since, part.gaps) == (500 + ahead, [Range(1 + ahead, 2 + ahead)])
    assert FLOW["Start"] == 1_000, "what the host has is its own"


@pytest.mark.parametrize("question", [FlowsQuestion(), InterfacesQuestion(), DropsQuestion(Compare("Last", "lt", (HOUR,)))])
def test_now_needs_no_moving(question: Question) -> None:
    host = Host(Part([FLOW]))
    [part] = by_clock_of_asker(host.answer, lambda: HOUR * 1_000)(question)
    assert part.found[0]["Last"] == 2_000 + HOUR
    expected = DropsQuestion(Compare("Last", "lt", (0,))) if isinstance(question, DropsQuestion) else question
    assert host.asked == [expected]


@pytest.mark.parametrize("ahead", [0, 999_999, -999_999])
def test_a_small_difference_is_left_alone(ahead: int) -> None:
    host = Host(part := Part([FLOW], since=1))
    question = FlowsQuestion(Range(5, 6))
    assert list(by_clock_of_asker(host.answer, lambda: ahead)(question)) == [part]
    assert host.asked == [question]
