"""``call()``: what agents tell, from TinkerPop's dialect, on what real agents told (``support.recording``)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.tables import Tables, graphs, last_time, recorded, tables, told

from gremlin_api.answering import Answerer, Question
from gremlin_api.errors import TraversalError
from gremlin_api.graphs.topology import TopologyGraph
from gremlin_api.skydive.services import AgentServices
from gremlin_api.values import Map
from gremlin_api.wire.untyped import untyped
from skytrail.errors import SkytrailError
from skytrail.moments import parse_moment

END = last_time()
SAMPLE = {"RxPackets": 3, "Start": END - 20_000, "Last": END - 10_000}


class _Graphs:
    def view(self, at: str | None, _: Any) -> TopologyGraph:
        return graphs().as_of(None if at is None else parse_moment(at.partition("/")[2] or at, END * 1000))


def answers(query: str, asker: Tables | None = None, at: str | None = None) -> list[Any]:
    answerer = Answerer(_Graphs(), services=AgentServices(asker or tables(), lambda: END * 1000))
    return [untyped(one) for one in answerer.answers(Question(query, at=at), threading.Event())]


def test_services_are_listed() -> None:
    assert answers("g.call()") == answers("g.call('--list')") == ["flows", "sockets", "metrics"]
    [one] = answers("g.call('--list', ['service': 'flows']).with('verbose')")
    assert one["name"] == "flows"
    assert one["parameters"] == ["filter"]


def test_flows_are_maps_of_what_the_agents_told() -> None:
    found = answers("g.call('flows', ['filter': \"Has('ICMP.ID', 123)\"])")
    assert sorted(found, key=str) == sorted(told("G.Flows().Has('ICMP.ID', 123)"), key=str)
    assert isinstance(next(iter(Answerer(_Graphs(), services=AgentServices(tables(), lambda: 0)).answers(
        Question("g.call('flows')"), threading.Event()))), Map)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ("call('flows')", "Flows()"),
        ("call('flows').with('filter', \"Has('Network', '10.0.9.1')\")", "Flows().Has('Network', '10.0.9.1')"),
        ("V().has('Name', 'eth').call('flows')", "V().Has('Name', 'eth').Flows()"),
        ("V().hasLabel('netns').call('flows')", "V().Has('Type', 'netns').Flows()"),
        ("call('flows', ['filter': \"Dedup().Has('Application', 'TCP')\"])", "Flows().Dedup().Has('Application', 'TCP')"),
        ("call('sockets')", "V().Has('Type', 'host').Sockets()"),
        ("call('sockets', ['filter': \"Has('Protocol', 'UDP')\"])", "V().Has('Type', 'host').Sockets().Has('Protocol', 'UDP')"),
        ("V().has('Name', 'h1').call('sockets')", "V().Has('Name', 'h1').Sockets()"),
        ("V().has('Name', 'client').call('sockets')", "V().Has('Name', 'client').Sockets()"),
    ],
)
def test_it_is_what_skydives_dialect_tells(query: str, same: str) -> None:
    [count] = answers(f"g.{query}.count()")
    assert count == told(f"G.{same}.Count()") > 0


def test_what_follows_looks_into_the_maps() -> None:
    query = "g.call('flows', ['filter': \"Has('Transport.B', 5001).Sort(DESC, 'Last')\"]).select('Network').select('A').dedup()"
    assert answers(query) == ["10.0.0.1"]
    groups = answers("g.call('flows').groupCount().by(select('Application'))")
    assert groups == [answers("g.call('flows').select('Application').groupCount()")[0]]
    assert groups[0]["TCP"] == 4


def test_a_flow_belongs_to_the_vertex_that_asked() -> None:
    found = answers("g.V().hasLabel('host').as('h').call('flows', ['filter': \"Has('ICMP.ID', 123)\"]).as('f')"
                    ".select('h').values('Name')")  # fmt: skip
    assert sorted(found) == ["h1", "h2", "h3", "h3"]
    paths = answers("g.V().has('Name', 'p1').call('flows', ['filter': 'Limit(1)']).path().count(local)")
    assert paths == [2]


def test_agents_are_asked_once_however_many_vertices_come() -> None:
    asker = tables()
    answers("g.V().call('flows').count()", asker)
    assert len(asker.asked) == 1


def test_the_moment_is_the_traversals() -> None:
    early = "g.with('at', '%s').call('flows').count()"
    assert answers(early % (END - 3_600_000)) == [0]
    assert answers(early % (END - 1)) == answers("g.call('flows').count()")
    assert answers("g.call('flows').count()", at=f"{END - 60_000}/{END - 1}") == answers("g.call('flows').count()")


def test_metrics_of_interfaces() -> None:
    [eth] = [one for one in recorded("nodes") if one["Metadata"]["TID"].endswith("client/link/veth/eth")]
    asker = Tables({}, {}, {"host/h1": {eth["Metadata"]["TID"]: [SAMPLE]}})
    assert answers("g.call('metrics')", asker) == [{"TID": eth["Metadata"]["TID"], **SAMPLE}]
    assert answers("g.V().has('Name', 'eth').call('metrics')", asker) == [SAMPLE]
    assert answers("g.V().has('Name', 'eth').call('metrics').select('RxPackets')", asker, at=f"{END - 60_000}") == []


def test_who_did_not_answer_is_noted() -> None:
    asker = tables(missing={"h7": "away"})
    question = Question("g.call('flows').limit(1)")
    answerer = Answerer(_Graphs(), services=AgentServices(asker, lambda: END * 1000))
    assert len(list(answerer.answers(question, threading.Event()))) == 1
    assert question.noted.notes.missing == {"h7": "away"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("g.call('flow')", r"^there is no service 'flow': did you mean flows\?: g.call\(\) lists them$"),
        ("g.call('flows', ['limit': 3])", r"^call\('flows'\) has no parameter 'limit': it takes filter$"),
        ("g.call('flows', ['filter': \"Count()\"])", r"^the filter says Count\(\): it takes Has, HasKey,"),
        ("g.call('flows', ['filter': \"At(NOW)\"])", r"^the filter says At\(\): it takes Has"),
        ("g.call('flows', ['filter': \"Has('Network.A', Regex('('))\"])", r"is no regular expression"),
        ("g.call('flows', ['filter': \"Has(\"])", r"an argument is expected here"),
        ("g.call('sockets', ['filter': \"Sort()\"])", r"Sort\(\) cannot follow what gives sockets"),
        ("g.call('flows', project('filter').by(constant('x')))", r"takes its parameters as a map"),
        ("g.V().values('Name').call('flows')", r"^call\(\) asks about vertices"),
        ("g.V().map(call('flows', ['filter': 'Limit(1)'])).repeat(identity()).times(1)", None),
        (
            "g.V().has('Name', 'p1').repeat(local(call('flows', ['filter': 'Limit(1)']).V().has('Name', 'p1'))).times(200)",
            r"asks the agents more than 100 times",
        ),
    ],
)
def test_what_cannot_be_is_told(query: str, reason: str | None) -> None:
    if reason is None:
        assert answers(query)
        return
    with pytest.raises(SkytrailError, match=reason):
        answers(query)


def test_without_agents_it_is_refused() -> None:
    with pytest.raises(TraversalError, match=r"^call\(\) is refused: there are no services here$"):
        list(Answerer(_Graphs()).answers(Question("g.call('flows')"), threading.Event()))


@pytest.mark.parametrize(
    "query",
    [
        "g.call('flows').groupCount().by(select('Application'))",
        """g.call('flows', ['filter': "Has('Network', '10.0.0.1').Sort(DESC, 'Last').Limit(10)"])""",
        """g.V().has('Name', 'eth').call('flows').with('filter', "Has('Transport.B', 5001)").select('TrackingID').dedup()""",
        "g.with('at', '-1m/now').V().hasLabel('host').as('h').call('flows').as('f').select('h', 'f').by('Name').by('UUID')",
        """g.V().hasLabel('netns').call('sockets', ['filter': "Has('Protocol', 'TCP')"]).select('LocalPort')""",
        "g.with('at', '-5m/now').V().has('Name', 'eth').call('metrics')",
    ],
)
def test_what_the_documentation_shows_finds_something(query: str) -> None:
    """As docs/gremlin.md has them, with the names of what was recorded; as they stand there tests/docs runs them."""
    assert answers(query)
