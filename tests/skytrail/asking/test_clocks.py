"""Clocks that are apart: what is asked and answered through the wire against the same with clocks in step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.tables import answered, last_time, recorded

from skytrail.asking.clocks import by_clock_of_hub
from skytrail.asking.questions import (
    DropsQuestion,
    FlowsQuestion,
    InterfacesQuestion,
    Part,
    Question,
    Range,
    SocketsQuestion,
)
from skytrail.asking.terms import Compare, Either, Every, Not

END = last_time()
HOUR = 3_600_000
_TIMES = {"Start", "Last", "ABSynStart", "BASynStart", "ABFinStart", "BAFinStart", "ABRstStart", "BARstStart"}


def by(value: Any, ms: int) -> Any:
    """JSON with all its times shifted."""
    if isinstance(value, list):
        return [by(one, ms) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: one + ms if key in _TIMES else by(one, ms) for key, one in value.items()}


def agent(ms: int) -> Any:
    """One whose clock is so far ahead of the recording's."""

    def answer(question: Question) -> Iterator[Part]:
        if isinstance(question, FlowsQuestion):
            yield Part(answered(question, by(recorded("flows"), ms)), END - 60_000 + ms, [Range(END - 50_000 + ms, END + ms)])
        elif isinstance(question, InterfacesQuestion):
            assert question.when == Range(END - 5_000 + ms, END + ms)
            yield Part([{"TID": "one", "Metrics": [{"RxBytes": 7, "Start": END + ms, "Last": END + 1 + ms}]}])
        else:
            yield Part([{"What": "Drop", "Last": END + ms, "asked": question.term.values[0] if question.term else 0}])

    return answer


QUESTIONS: list[FlowsQuestion | SocketsQuestion | InterfacesQuestion | DropsQuestion] = [
    FlowsQuestion(),
    FlowsQuestion(Range(END - 5_000, END), limit=7, sort="Last", descending=True),
    FlowsQuestion(Range(END - 20_000, END - 4_000), updates=True),
    FlowsQuestion(
        term=Every((
            Either((Compare("Last", "gte", (END - 5_000,)), Compare("LastUpdateMetric.Last", "gt", (END - 9_000,)))),
            Not(Compare("Metric.ABPackets", "lt", (2,))),
            Not(Compare("Start", "within", (recorded("flows")[0]["Start"], "x", True))),
        ))
    ),
    InterfacesQuestion(Range(END - 5_000, END)),
    SocketsQuestion(term=Compare("LocalPort", "within", (5,))),
    DropsQuestion(Compare("Last", "gt", (END,))),
]  # fmt: skip


@pytest.mark.parametrize("apart", [30 * 60_000, -HOUR, 1])
@pytest.mark.parametrize("question", QUESTIONS)
def test_clocks_apart_answer_as_clocks_in_step(question: Question, apart: int) -> None:
    expected = list(by_clock_of_hub(agent(0), lambda: 0)(question))
    found = list(by_clock_of_hub(agent(apart), lambda: -apart)(question))
    if isinstance(question, DropsQuestion):
        assert found[0].found[0].pop("asked") == expected[0].found[0].pop("asked") + apart
    assert json.dumps([part.found for part in found]) == json.dumps([part.found for part in expected])
    assert [(part.since, part.gaps) for part in found] == [(part.since, part.gaps) for part in expected]
    assert expected[0].found
