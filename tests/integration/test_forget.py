"""``skytrail forget``: real hubs and agents; a host whose agent is gone for good leaves the graph, but not the history."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab import janusgraph
from support.agentlab import Agent
from support.hublab import Hub, now_us
from support.netlab import until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

STAYS, GOES = "c" * 32, "d" * 32
Start = Callable[[Hub, str], Agent]


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Start]:
    """Start an agent of a host by its ID, or start it again, that reports to a hub."""
    made: list[Agent] = []

    def start(hub: Hub, host: str) -> Agent:
        settings = {"host_id": host, "agent.hubs": f"127.0.0.1:{hub.wire}"}
        made.append(Agent(tmp_path / host, ["--interfaces", "no-such-if"], settings))
        return made[-1].start(ready=False)

    yield start
    for one in made:
        one.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub", command="hub").start()
    yield made
    made.stop()


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[list[Hub]]:
    """Two of one graph in JanusGraph."""
    with ExitStack() as closers:
        server = janusgraph.Server(janusgraph.demand(), tmp_path / "server", "berkeleyje")
        closers.callback(server.kill)
        server.start()
        settings = {"topology.store": "janusgraph", "topology.janusgraph.url": server.url}
        made = [Hub(tmp_path / f"hub{number}", settings, command="hub") for number in range(2)]
        for one in made:
            one.start()
            closers.callback(one.close)
        yield made


def forget(hub: Hub, host: str) -> tuple[int, str]:
    """Exit status and what was said."""
    command = [sys.executable, "-m", "skytrail", "forget", host, "--hub", f"127.0.0.1:{hub.port}"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def tids(hub: Hub, host: str, at: int | None = None) -> set[str]:
    """Of the nodes of a host, but for other tests' namespaces."""
    found = {node["Metadata"]["TID"] for node in hub.graph(at)["Nodes"]}
    return {tid for tid in found if tid.startswith(f"host/{host}") and not re.search("/(netns|container)/", tid)}


def missing(hub: Hub) -> int:
    """How many hosts an answer is without."""
    return len(hub.get("/api/v1/trace")["Missing"])


def test_a_host_that_is_gone_is_forgotten_and_may_come_back(hub: Hub, agents: Start) -> None:
    agents(hub, STAYS)
    going = agents(hub, GOES)
    until(lambda: f"host/{GOES}" in tids(hub, GOES) and tids(hub, STAYS), 60)
    whole, stays = tids(hub, GOES), tids(hub, STAYS)

    status, said = forget(hub, f"host/{GOES}")
    assert status == 1
    assert said.endswith("is connected here: stop it for good first (systemctl disable --now skytrail-agent)")
    going.kill()
    until(lambda: missing(hub) == 1, 20)
    name = json.loads(hub.ask("/api/status")[1])["Agents"][f"host/{GOES}"]["Host"]
    status, said = forget(hub, name)  # both agents are on this machine
    assert status == 1
    assert said.endswith(f"name one by its TID: host/{STAYS}, host/{GOES}")
    status, said = forget(hub, "no-such-host")
    assert status == 1
    assert "the graph has no host 'no-such-host'" in said
    assert tids(hub, GOES) >= whole

    before = now_us()
    assert forget(hub, f"host/{GOES}")[0] == 0
    assert (tids(hub, GOES), missing(hub)) == (set(), 0)
    assert tids(hub, STAYS) >= stays
    assert tids(hub, GOES, before) >= whole
    hub.restart()
    until(lambda: hub.status()["Agents"] and missing(hub) == 0, 30)
    assert tids(hub, GOES) == set()

    agents(hub, GOES)
    until(lambda: tids(hub, GOES) >= whole and missing(hub) == 0, 60)


@pytest.mark.lab
def test_hubs_of_one_graph_forget_it_too(hubs: list[Hub], agents: Start) -> None:
    first, second = hubs
    going = agents(first, GOES)
    until(lambda: f"host/{GOES}" in tids(second, GOES), 60)
    until(lambda: "connected to another hub" in forget(second, f"host/{GOES}")[1], 20)
    whole = tids(first, GOES)
    going.kill()

    def forgotten() -> bool:
        status, said = forget(second, f"host/{GOES}")
        assert status == 0 or "connected" in said or "a moment ago" in said, said
        return status == 0

    until(forgotten, 60)
    until(lambda: [(tids(hub, GOES), missing(hub)) for hub in hubs] == [(set(), 0)] * 2, 30)
    agents(first, GOES)  # which knew it, and what it had taken of its reports
    until(lambda: tids(second, GOES) >= whole, 60)
