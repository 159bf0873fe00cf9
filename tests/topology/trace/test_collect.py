"""How agents are asked: at once what does not wait for another's answer, no more at a time than an asker has room for."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from skytrail.asking.asker import Answers
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Part, Question, Range, SocketsQuestion
from skytrail.asking.terms import Every, compiled
from topology.trace.collect import Collector

NOW = 1_700_000_000_000
_KINDS = (FlowsQuestion, SocketsQuestion, DropsQuestion, InterfacesQuestion)
PATIENCE = 10.0  # seconds, in which the others of a step are asked


def flow(uuid: str, tracking: str, last: int = NOW - 60_000, **more: Any) -> dict[str, Any]:
    return {"UUID": uuid, "TrackingID": tracking, "NodeTID": "host/h/link/eth0", "Last": last, "Start": last - 1000, **more}


class Steps:
    """An asker who answers a step's questions only when all of them are asked."""

    def __init__(self, sizes: Sequence[int], flows: Sequence[dict[str, Any]] = ()) -> None:
        self.asked: list[Question] = []
        self._flows = flows
        self._slots = [barrier for size in sizes for barrier in [threading.Barrier(size)] * size]
        self._lock = threading.Lock()

    def hosts(self) -> Mapping[str, str]:
        return {"host/h": "h"}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        assert hosts is None
        with self._lock:
            slot = self._slots[len(self.asked)]
            self.asked.append(question)
        slot.wait(PATIENCE)
        test = compiled(question.term) if isinstance(question, FlowsQuestion) and question.term else (lambda _: False)
        return Answers([("host/h", Part([one for one in self._flows if test(one)]))], {})


def collector(asker: Steps) -> Collector:
    return Collector(asker, Range(NOW - 300_000, NOW), lambda: NOW)


def kinds(questions: Sequence[Question]) -> dict[type, int]:
    return {kind: sum(type(one) is kind for one in questions) for kind in _KINDS}


def test_the_latest_conversation_is_asked_for_at_once() -> None:
    asker = Steps([3], [flow("1", "t"), flow("2", "older", NOW - 90_000), flow("3", "long ago", NOW - 900_000)])
    assert collector(asker).latest(Every(())) == ["t", "older"]
    assert kinds(asker.asked) == {FlowsQuestion: 2, SocketsQuestion: 0, DropsQuestion: 1, InterfacesQuestion: 0}


def test_all_about_a_conversation_takes_three_steps_of_four_questions_at_most() -> None:
    ends = {"Network": {"A": "10.0.0.1", "B": "10.0.0.2"}, "Transport": {"A": 40000, "B": 80}}
    asker = Steps([2, 4, 3, 2], [flow("1", "t", ParentUUID="2", **ends), flow("2", "outer")])
    evidence = collector(asker).conversation("t", {"host/h/link/eth0": 10}.get)
    assert [one["UUID"] for _, one in evidence.flows] == ["1"]
    assert set(evidence.carriers) == {"2"}
    assert kinds(asker.asked) == {FlowsQuestion: 6, SocketsQuestion: 1, DropsQuestion: 3, InterfacesQuestion: 1}
