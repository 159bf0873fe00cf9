"""Agents that tell a hub what their hosts are made of: real processes, killed and started again in the middle of changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Agent
from support.hublab import Hub
from support.netlab import Net, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

HOSTS = ("11111111111111111111111111111111", "22222222222222222222222222222222")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub", command="hub")
    yield made
    made.stop()


@pytest.fixture
def agents(tmp_path: Path, hub: Hub) -> Iterator[Callable[[str], Agent]]:
    """Start an agent of a host by its ID, or start it again; all see this machine."""
    made: list[Agent] = []

    def start(host: str) -> Agent:
        settings = {"host_id": host, "agent.hubs": f"127.0.0.1:{hub.wire}", "flow.netns": "all"}
        made.append(Agent(tmp_path / host, ["--interfaces", "no-such-if"], settings))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


def names(hub: Hub, host: str) -> set[str]:
    """Of the nodes of a host, as the hub's graph has them."""
    nodes = hub.graph()["Nodes"]
    return {node["Metadata"]["Name"] for node in nodes if node["Metadata"].get("TID", "").startswith(f"host/{host}")}


def test_the_graph_has_what_each_host_has_whoever_is_killed(hub: Hub, agents: Callable[[str], Agent], net: Net) -> None:
    netns = net.netns("w")

    def link(name: str) -> str:
        net.ip(f"link add {net.name(name)} type bridge", netns=netns)
        return net.name(name)

    def unlink(name: str) -> None:
        net.ip(f"link del {net.name(name)}", netns=netns)

    def both_have(*wanted: str, without: tuple[str, ...] = ()) -> bool:
        return all(set(wanted) <= names(hub, host) and not names(hub, host) & set(without) for host in HOSTS)

    hub.start()
    running = {host: agents(host) for host in HOSTS}
    first = link("1")
    until(lambda: both_have(netns, first), 30)

    hub.kill()
    second = link("2")
    unlink("1")
    until(lambda: all(agent.status()["hub"]["failure"] for agent in running.values()), 30)
    third = link("3")
    hub.start()
    until(lambda: both_have(second, third, without=(first,)), 40)

    running[HOSTS[0]].kill()
    unlink("2")
    fourth = link("4")
    until(lambda: fourth in names(hub, HOSTS[1]), 20)
    assert {second, third} <= names(hub, HOSTS[0])  # nothing is deleted because nobody looks
    running[HOSTS[0]] = agents(HOSTS[0])
    until(lambda: both_have(third, fourth, without=(first, second)), 40)

    told: dict[str, Any] = hub.status()["Agents"]
    assert {agent["TID"] for agent in told.values()} == {f"host/{host}" for host in HOSTS}
    assert all(agent["IsConnected"] and agent["Refused"] == 0 for agent in told.values())


def test_what_was_while_the_hub_was_away_is_in_the_history(hub: Hub, agents: Callable[[str], Agent], net: Net) -> None:
    netns = net.netns("w")
    agent = agents(HOSTS[0])
    name = net.name("gone")
    net.ip(f"link add {name} type bridge", netns=netns)
    until(lambda: name in json.dumps(agent.status()) or agent.status()["hub"]["waiting"] > 1)
    waiting = agent.status()["hub"]["waiting"]
    net.ip(f"link del {name}", netns=netns)
    until(lambda: agent.status()["hub"]["waiting"] > waiting)
    hub.start()
    until(lambda: agent.status()["hub"]["waiting"] == 0 and agent.status()["hub"]["failure"] is None, 30)
    assert name not in names(hub, HOSTS[0])
    query = f"G.Context(NOW, 300).V().Has('Name', '{name}').Count()"
    answer = hub.post("/api/topology", {"GremlinQuery": query})
    assert int(answer) > 0
