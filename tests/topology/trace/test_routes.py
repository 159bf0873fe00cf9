"""GET /api/v1/trace…, of an agent that answers in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from exporters.flows.filter_questions import question_of
from skytrail.asking.local import LocalAsker
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, Part, Question
from skytrail.asking.terms import compiled
from topology.store.embedded.store import EmbeddedStore
from topology.trace.routes import trace_blueprint

Json = dict[str, Any]
NOW = 1_700_000_000_000
HOUR = 3_600_000
OLD, NEW = "a" * 32, "b" * 32


def ends(port: int) -> Json:
    return {
        "Network": {"Protocol": "IPV4", "A": "10.0.1.1", "B": "10.0.2.1"},
        "Transport": {"Protocol": "TCP", "A": port, "B": 80},
        "Namespace": "",
        "Interface": "eth0",
    }


def flow(tracking: str, port: int, last: int) -> Json:
    counts = {"ABPackets": 5, "ABBytes": 500, "BAPackets": 4, "BABytes": 400}
    times = {"Start": last - 1000, "Last": last, "FirstMonotonic": 1}
    known = {"UUID": tracking, "TrackingID": tracking, "NodeTID": "host/h1/link/eth0", "Initiator": "A"}
    return {**known, **ends(port), **times, "Seen": {"AB": "egress", "BA": "ingress"}, "Metric": counts}


def drop(tracking: str, port: int, what: str, **more: Any) -> Json:
    return {"What": what, "TrackingID": tracking, **ends(port), "AB": 7, "BA": 0, "Last": NOW, **more}


class Agent:
    """Has a conversation of an hour ago, and one of now."""

    def __init__(self, *drops: Json) -> None:
        self.asked: list[Question] = []
        self._drops = drops

    def answer(self, question: Question) -> Iterator[Part]:
        self.asked.append(question)
        rows: list[Json] = []
        if isinstance(question, FlowsQuestion):
            then = question.when
            known = flow(OLD, 40000, NOW - HOUR), flow(NEW, 50000, NOW - 10_000)
            rows = [
                one for one in known if (one["TrackingID"] == NEW if then is None else then.begin <= one["Last"] <= then.end)
            ]
        elif isinstance(question, DropsQuestion):
            rows = list(self._drops)
        test = compiled(question.term) if getattr(question, "term", None) else (lambda _: True)
        yield Part([one for one in rows if test(one)])


Opens = Callable[[Agent], FlaskClient]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Opens]:
    """Opens a hub's routes on an agent."""
    with contextlib.ExitStack() as closers:

        def opened(agent: Agent) -> FlaskClient:
            store = closers.enter_context(contextlib.closing(EmbeddedStore(tmp_path / f"{len(list(tmp_path.iterdir()))}")))
            asker = LocalAsker("h1", "host/h1", agent.answer, 5.0, 1 << 20)
            closers.callback(asker.stop)
            app = Flask("trace")
            app.register_blueprint(trace_blueprint(asker, store, question_of, lambda: NOW * 1000))
            return app.test_client()

        yield opened


def test_the_latest_conversation_of_a_moment_is_of_that_moment(client: Opens) -> None:
    agent = Agent(drop(NEW, 50000, "Retransmit"))
    found = client(agent).get("/api/v1/trace", query_string={"filter": "port 80", "at": f"{(NOW - HOUR + 500) / 1000}"})
    assert found.get_json()["TrackingID"] == OLD


def test_what_is_dropped_now_was_not_lost_then(client: Opens) -> None:
    agent = Agent(drop(OLD, 40000, "Drop", Reason="NETFILTER_DROP"))
    then, now = ({"at": f"{(NOW - HOUR + 500) / 1000}"}, {})
    assert client(agent).get(f"/api/v1/trace/{OLD}", query_string=then).get_json()["Verdict"]["Kind"] == "well"
    assert client(agent).get(f"/api/v1/trace/{OLD}", query_string=now).get_json()["Verdict"]["Kind"] == "lost"


def test_little_is_asked_for_to_find_the_latest(client: Opens) -> None:
    agent = Agent()
    client(agent).get("/api/v1/trace", query_string={"filter": "port 80"})
    asked = [one for one in agent.asked if isinstance(one, FlowsQuestion)]
    assert {one.fields for one in asked[:2]} == {("UUID", "ParentUUID", "TrackingID", "Last")}
    assert all(one.fields is None for one in asked[2:])
