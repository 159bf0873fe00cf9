"""Flows of the past over HTTP: what is asked of the history, and what of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.flowrows import points, random_rows

from exporters import routes
from exporters.flows.applications import Applications
from exporters.flows.filters import parse
from exporters.flows.records import Renderer
from skytrail.asking.questions import FlowsQuestion, Part, Question, Range
from skytrail.asking.terms import compiled
from skytrail.http.app import create_app

FLOWS = Renderer(points(), Applications()).render(random_rows(300))


class Past:
    """An agent that remembers some flows."""

    def __init__(self) -> None:
        self.told = 0

    def answer(self, question: Question) -> Iterator[Part]:
        assert isinstance(question, FlowsQuestion)
        assert question.when == Range(1_795_000_000_000, 1_795_000_060_000)
        test = compiled(question.term) if question.term else lambda _: True
        found = [flow for flow in FLOWS if test(flow)]
        self.told += len(found)
        yield Part([], 1_795_000_010_000, [Range(1, 2)])
        yield Part(found)


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def client(past: Past) -> FlaskClient:
    collector: Any = None  # of what there is now
    return create_app("agent", dict, list, [routes.flows_blueprint(collector, past.answer)]).test_client()


def ask(client: FlaskClient, **words: str) -> Any:
    return client.get("/api/v1/flows", query_string={"at": "1795000060000", "duration": "1m", **words})


@pytest.mark.parametrize(
    ("text", "narrowed"),
    [("host 10.0.0.3 and tcp", True), ("Interface=eth0", True), ("vlan 3", False), ("Metric.ABPackets~1*", False)],
)
def test_a_filter_narrows_what_is_looked_for(client: FlaskClient, past: Past, text: str, narrowed: bool) -> None:
    answer = ask(client, filter=text, sort="start")
    expected = [flow for flow in FLOWS if parse(text).matches(flow)]
    assert 0 < len(expected) < len(FLOWS)
    assert sorted(flow["UUID"] for flow in answer.json) == sorted(flow["UUID"] for flow in expected)
    assert past.told == (len(expected) if narrowed else len(FLOWS))
    assert (answer.headers["Skytrail-Since"], answer.headers["Skytrail-Gaps"]) == ("1795000010000", "1-2")


def test_more_than_can_be_told_at_once_is_refused(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ask(client).json) == len(FLOWS)
    monkeypatch.setattr(routes, "MOST_TOLD", 299)
    answer = ask(client)
    assert answer.status_code == 400
    assert answer.json["error"] == "more than 299 flows: ask for a shorter time, or for less by filter and limit"
    assert len(ask(client, limit="299").json) == 299
