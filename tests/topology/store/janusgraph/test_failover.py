"""Agents that go from hub to hub on one real JanusGraph: each report once, nothing overwritten, both hubs show the same."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hublab import Hub
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import Part, Question
from topology.elements import Metadata, State, node_id
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.remote.taking import Taking
from topology.store.interface import StaleWriterError
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

OpenStore = Callable[..., JanusGraphStore]


def now() -> int:
    return time.time_ns() // 1000


def source(host: str, probe: str = "netlink") -> Source:
    return Source(probe, host, tid=f"host/{host}")


def link(host: str, name: str, **metadata: Any) -> NodeFact:
    return NodeFact(f"host/{host}/{name}", {"Name": name, "Type": "veth", **metadata})


class Hubs:
    """Reconcilers, each on a store of its own, of one graph."""

    def __init__(self, open_store: OpenStore) -> None:
        self.stores = [open_store(also=True) for _ in range(2)]
        self.reconcilers = [Reconciler(store, f"hub{number}/x", now) for number, store in enumerate(self.stores)]

    def report(self, hub: int, whose: Source, *facts: Fact, connection: int = 0, **more: Any) -> int:
        if connection:
            self.reconcilers[hub].claim(whose, f"outbox-{whose.host}/#{connection}/hub{hub}")
        return self.reconcilers[hub].report(Report(whose, now(), facts, **more))

    def graph(self, hub: int = 0) -> dict[str, State]:
        return {one.id: one.state for one in self.stores[hub].current() if one.state}

    def metadata(self, tid: str) -> Metadata | None:
        state = self.graph().get(node_id(tid))
        return state.metadata if state else None

    def close(self) -> None:
        for one in self.reconcilers:
            one.close()


@pytest.fixture
def hubs(open_store: OpenStore) -> Iterator[Hubs]:
    made = Hubs(open_store)
    yield made
    made.close()


def test_who_takes_over_a_source_knows_what_was_said_of_it_and_who_lost_it_is_refused(hubs: Hubs) -> None:
    a = source("a")
    assert hubs.report(0, a, link("a", "1", MTU=1), link("a", "2"), connection=1, whole=True) == 2
    assert hubs.report(1, a, link("a", "1", MTU=1), connection=2) == 0  # known
    assert hubs.report(1, a, link("a", "1", MTU=2), link("a", "3"), connection=2) == 2
    with pytest.raises(StaleWriterError):
        hubs.report(0, a, link("a", "1", MTU=9))
    with pytest.raises(StaleWriterError):
        hubs.report(0, a, link("a", "1", MTU=9), connection=1)
    assert hubs.report(1, a, gone=(node_id("host/a/2"),), connection=2) == 1
    assert hubs.report(0, a, link("a", "1", MTU=2), link("a", "4"), connection=3, whole=True) == 2  # 3 goes, 4 comes
    assert {one.metadata["Name"] for one in hubs.graph().values()} == {"1", "4"}
    assert hubs.graph(0) == hubs.graph(1)
    assert hubs.metadata("host/a/1") == {"Name": "1", "Type": "veth", "MTU": 2}


def test_sources_of_one_element_at_two_hubs_do_not_overwrite_each_other(hubs: Hubs) -> None:
    """Both write whole states: what another added since is kept, though nobody had the time to follow."""
    for one in hubs.reconcilers:
        one._stopping.set()  # nobody looks by himself
    a, other = source("a"), source("a", "docker")
    for number in range(1, 20):
        hubs.report(1, a, link("a", "1", MTU=number), connection=9)
        hubs.report(0, other, NodeFact("host/a/1", {"Container": number}, enriches=True))
        assert hubs.metadata("host/a/1") == {"Name": "1", "Type": "veth", "MTU": number, "Container": number}
    hubs.report(1, a, gone=(node_id("host/a/1"),))
    assert hubs.report(0, other, NodeFact("host/a/1", {"Container": 99}, enriches=True)) == 0  # there is no such node
    assert hubs.graph() == {}
    hubs.report(1, a, link("a", "1", MTU=7))
    hubs.reconcilers[0].look()
    assert hubs.metadata("host/a/1") == {"Name": "1", "Type": "veth", "MTU": 7, "Container": 99}


def test_an_edge_to_a_host_of_another_hub_comes_and_goes_with_it(hubs: Hubs) -> None:
    a, b = source("a"), source("b")
    hubs.report(0, a, link("a", "1"), EdgeFact("host/a/1", "host/b/1", "layer2"))
    assert len(hubs.graph()) == 1
    hubs.report(1, b, link("b", "1"))
    until(lambda: len(hubs.graph()) == 3, 10)
    hubs.report(1, b, gone=(node_id("host/b/1"),))
    until(lambda: len(hubs.graph()) == 1, 10)
    hubs.report(1, b, link("b", "1"))
    until(lambda: len(hubs.graph()) == 3, 10)
    assert hubs.graph(0) == hubs.graph(1)


def test_a_storm_of_failovers_ends_with_what_each_said_last(hubs: Hubs) -> None:
    chance, said = random.Random(5), {host: dict[str, NodeFact]() for host in "abc"}
    where = dict.fromkeys("abc", 0)
    connections = dict.fromkeys("abc", 1)
    for step in range(200):
        host = chance.choice("abc")
        if chance.random() < 0.2:
            where[host], connections[host] = 1 - where[host], connections[host] + 1
        name = str(chance.randrange(6))
        mine = said[host]
        if chance.random() < 0.3 and name in mine:
            gone = (mine.pop(name).id,)
            facts: tuple[Fact, ...] = ()
        else:
            mine[name] = link(host, name, n=step)
            gone, facts = (), (mine[name],)
        whole = chance.random() < 0.1
        hubs.report(
            where[host],
            source(host),
            *(mine.values() if whole else facts),
            connection=connections[host],
            whole=whole,
            gone=gone,
        )
    expected = {fact.id: fact.metadata for mine in said.values() for fact in mine.values()}
    assert {id_: state.metadata for id_, state in hubs.graph().items()} == expected
    assert hubs.graph(0) == hubs.graph(1)


def made_rule(hub: Hub, rule: dict[str, Any]) -> None:
    connection = hub.connect()
    connection.request("POST", "/api/noderule", json.dumps(rule), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 201
    connection.close()


def test_a_rule_is_applied_by_one_of_two_hubs_and_by_the_other_when_that_is_killed(server: Any, tmp_path: Path) -> None:
    """Real hubs; what a rule made is there once, with one revision, and its next work is done by who is left."""
    settings = {"topology.store": "janusgraph", "topology.janusgraph.url": server.url}
    both = [Hub(tmp_path / str(number), settings, command="hub") for number in range(2)]
    for one in both:
        one.start()
    outbox = Outbox(tmp_path / "outbox", 1 << 30, Clocks.of_machine("b"))
    agent = Sender([f"127.0.0.1:{one.wire}" for one in both], outbox, Identity("a", "host/a"), now, no_answer)
    agent.start()

    def marked(hub: Hub) -> dict[str, int]:
        """Of nodes with the rule's mark, how many revisions they had."""
        nodes = [node for node in hub.graph()["Nodes"] if node["Metadata"].get("Mark") == "x"]
        return {node["Metadata"]["Name"]: node["Revision"] for node in nodes}

    def on_duty() -> list[int]:
        return [number for number, one in enumerate(both) if "duty_taken" in one.log()]

    agent.report(Report(source("a"), now(), (link("a", "1"),), whole=True))
    until(lambda: outbox.waiting == 0, 30)
    made_rule(both[0], {"Metadata": {"Mark": "x"}, "Action": "update", "Query": "G.V().Has('Type', 'veth')"})
    until(lambda: marked(both[0]) == marked(both[1]) == {"1": 2}, 40)
    [first] = on_duty()
    both[first].kill()
    agent.report(Report(source("a"), now(), (link("a", "2"),)))
    until(lambda: marked(both[1 - first]) == {"1": 2, "2": 2}, 90)
    assert on_duty() == [0, 1]
    agent.stop()
    for one in both:
        one.close()


def no_answer(_: Question) -> Iterator[Part]:
    return iter(())


def test_an_agent_that_goes_back_and_forth_has_each_change_in_the_history_once(
    hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topology.remote.sender._TOGETHER", 2000)
    ports = [free_port(), free_port()]

    def listen(hub: int) -> Receiver:
        made = Receiver(f"127.0.0.1:{ports[hub]}", Taking(hubs.reconcilers[hub]), hubs.stores[hub], now)
        made.start()
        return made

    a = source("a")
    addresses = [f"127.0.0.1:{port}" for port in ports]
    agent = Sender(
        addresses, Outbox(tmp_path / "outbox", 1 << 30, Clocks.of_machine("b")), Identity("a", "host/a"), now, no_answer
    )
    total, hub = 600, 0
    running = listen(hub)
    agent.start()
    for number in range(1, total + 1):
        agent.report(Report(a, now(), (link("a", "1", MTU=number % 2), link("a", "2"))))
        if number % 30 == 0:  # to the other one, in the middle of what is under way
            done = agent._told
            until(lambda done=done: agent._told > done, 30)
            hub = 1 - hub
            other = listen(hub)
            running.stop()
            running = other
    until(lambda: agent.outbox.waiting == 0, 60)
    agent.stop()
    running.stop()
    history = [one.state.metadata["MTU"] for one in hubs.stores[0].feed(0, 5000) if one.id == node_id("host/a/1") and one.state]
    assert history == [number % 2 for number in range(1, total + 1)]
    assert hubs.graph(0) == hubs.graph(1)
