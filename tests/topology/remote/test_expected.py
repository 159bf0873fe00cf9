"""Whose agent is missed by a hub that knows none yet: that of each host that an agent has reported into the graph."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hublab import Hub
from support.netlab import until

from skytrail.asking.questions import Part, Question
from topology.facts import NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.expected import Expected
from topology.remote.marks import Mark, note_of
from topology.remote.outbox import Clocks, Outbox
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore


def now() -> int:
    return time.time_ns() // 1000


def report(host: str, tid: str) -> Report:
    return Report(Source("host", host, tid=tid), now(), (NodeFact(tid, {"Type": "host", "Name": host}),), whole=True)


def test_hosts_of_the_graph_that_agents_have_reported_are_expected(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph", clock=now)
    reconciler, expected = Reconciler(store, "hub", now), Expected(store, now)
    expected.look()
    assert expected.hosts() == {}
    reconciler.report(report("a", "host/1"), note_of("host/1", Mark("o", 1)))
    reconciler.report(report("b", "host/2"), note_of("host/2", Mark("p", 1)))
    reconciler.report(report("probed", "host/3"))  # of which no agent told
    expected.look()
    assert expected.hosts() == {"host/1": "a", "host/2": "b"}
    reconciler.report(report("b", "host/new"), note_of("host/new", Mark("p", 2)))  # it has got another ID
    expected.look()
    assert expected.hosts() == {"host/1": "a", "host/new": "b"}
    reconciler.report(Report(Source("host", "a", tid="host/1"), now(), (), whole=True))  # its graph has ended
    expected.look()
    assert expected.hosts() == {"host/new": "b"}
    store.close()


def test_a_note_that_is_damaged_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph", clock=now)
    reconciler, expected = Reconciler(store, "hub", now), Expected(store, now)
    reconciler.report(report("a", "host/1"), note_of("host/1", Mark("o", 1)))
    store.put_resource("agent", "host/2", b"{")
    expected.start()
    expected.stop()
    assert expected.hosts() == {"host/1": "a"}
    store.close()


Agents = Callable[[str], Sender]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub", command="hub")
    yield made
    made.close()


@pytest.fixture
def agents(tmp_path: Path, hub: Hub) -> Iterator[Agents]:
    made: list[Sender] = []

    def answer(_: Question) -> Iterator[Part]:
        yield Part()

    def start(host: str) -> Sender:
        outbox = Outbox(tmp_path / host / "outbox", 1 << 30, Clocks.of_machine("boot"))
        made.append(Sender([f"127.0.0.1:{hub.wire}"], outbox, Identity(host, f"host/{host}"), now, answer))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def missing(hub: Hub, query: str = "G.Flows()") -> str | None:
    connection = hub.connect()
    try:
        body = json.dumps({"GremlinQuery": query})
        connection.request("POST", "/api/topology", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.read()
        assert answer.status == 200
        return answer.headers.get("Skytrail-Missing")
    finally:
        connection.close()


def test_a_hub_that_was_killed_names_whose_agent_has_not_come_back(hub: Hub, agents: Agents) -> None:
    hub.start()
    assert missing(hub) == "all hosts: no agent has come to this hub"
    made = {name: agents(name) for name in "ab"}
    for name, one in made.items():
        one.report(report(name, f"host/{name}"))
    until(lambda: all(one.outbox.waiting == 0 for one in made.values()) and missing(hub) is None, 20)
    hub.kill()
    for one in made.values():
        one.stop()
    hub.start()
    said = "no agent of this host has greeted since the hub's start"
    for query in ("G.Flows()", "G.V().Has('Type', 'host').Sockets()", "G.Flows().Has('Network.A', '10.0.0.1').Count()"):
        assert missing(hub, query) == f"a: {said}; b: {said}"
    assert hub.get("/api/v1/trace")["Missing"] == {"a": said, "b": said}
    agents("a")
    until(lambda: missing(hub) == f"b: {said}", 20)
    assert missing(hub, "G.V().Has('Name', 'a').Sockets()") is None
    assert missing(hub, "G.V().Has('Name', 'b').Sockets()") == f"b: {said}"
    agents("b")
    until(lambda: missing(hub) is None, 20)
