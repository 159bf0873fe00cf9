"""Flows, sockets and counters of a real agent, asked of its hub in both dialects."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import needs
from support.agentlab import Agent, Metrics
from support.hublab import Hub
from support.netlab import End, Net, until

SERVER = """
import socket
l = socket.create_server(("10.0.0.2", 5001)); print("ready", flush=True)
c, _ = l.accept()
while c.recv(1 << 16): pass
"""
CLIENT = """
import socket, time
c = socket.create_connection(("10.0.0.2", 5001), source_address=("10.0.0.1", 40000)); print("ready", flush=True)
while True: c.sendall(bytes(1000)); time.sleep(0.05)
"""
IDENTIFIER, FIRST = 0x4321, 0x1234


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    needs.root()
    net = Net()
    yield net
    net.close()


@pytest.fixture(scope="module")
def ends(net: Net) -> tuple[End, End]:
    return net.pair()


@pytest.fixture(scope="module")
def hub(net: Net, ends: tuple[End, End], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Agent and hub in one process, with a connection and a ping between two namespaces."""
    settings = {"flow.interfaces": f"{net.prefix}*", "flow.netns": "all", "flow.update": "1s", "history.interfaces": "1s"}
    hub = Hub(tmp_path_factory.mktemp("hub"), settings).start()
    until(lambda: ask(hub, f"G.V().Has('Name', '{ends[1].interface}').Count()") == 1)
    for end, code in ((ends[1], SERVER), (ends[0], CLIENT)):
        process = net.spawn(end.netns, sys.executable, "-c", code)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    until(lambda: _pinged(net, hub, ends, FIRST))  # the hub is ready before its agent captures
    until(lambda: _pinged(net, hub, ends, IDENTIFIER))
    yield hub
    hub.stop()


def _pinged(net: Net, hub: Hub, ends: tuple[End, End], identifier: int) -> bool:
    """Whether a ping was counted at both ends."""
    net.ping(ends[0].netns, ends[1].ip4, count=5, identifier=identifier)
    return bool(ask(hub, f"G.Flows().Has('ICMP.ID', {identifier}).Count()") == 2)


def ask(hub: Hub, query: str) -> Any:
    return json.loads(hub.post("/api/topology", {"GremlinQuery": query}))


def test_flows_at_interfaces_of_the_graph(hub: Hub, ends: tuple[End, End]) -> None:
    left, right = ends
    [flow] = ask(hub, f"G.V().Has('Name', '{left.interface}').Flows().Has('ICMP.ID', {IDENTIFIER})")
    assert (flow["Network"]["A"], flow["Network"]["B"], flow["Interface"]) == (left.ip4, right.ip4, left.interface)
    conversations = ask(hub, f"G.Flows().Has('ICMP.ID', {IDENTIFIER}).Dedup()")
    assert [one["TrackingID"] for one in conversations] == [flow["TrackingID"]]
    query = f"G.Flows().Has('TrackingID', '{flow['TrackingID']}')"
    assert set(ask(hub, f"{query}.Hops().Values('Name')")) == {left.interface, right.interface}
    assert set(ask(hub, f"{query}.In().Values('Name')")) == {left.interface}
    assert set(ask(hub, f"{query}.Out().Values('Name')")) == {right.interface}


def test_processes_at_both_ends(hub: Hub, ends: tuple[End, End]) -> None:
    found = until(lambda: ask(hub, "G.Flows().Has('Transport', 5001).Dedup().Sockets()"))
    assert {one["Namespace"] for sockets in found[0].values() for one in sockets} == {end.netns for end in ends}
    space = f"G.V().Has('Type', 'netns', 'Name', '{ends[1].netns}')"
    assert ask(hub, f"{space}.Sockets().Has('State', 'LISTEN').Values('LocalPort')") == [5001]


def test_the_past_is_asked_of_what_the_agent_remembers(hub: Hub, ends: tuple[End, End]) -> None:
    flow = f"V().Has('Name', '{ends[0].interface}').Flows().Has('Transport', 5001)"
    until(lambda: len(ask(hub, f"G.At(NOW, '1m').{flow}.Metrics()")[0].popitem()[1]) > 3, 20)
    before = time.time() - 1
    packets = ask(hub, f"G.At({before:.3f}).{flow}.Values('Metric.ABPackets')")
    assert len(packets) == 1
    assert 0 < packets[0] < ask(hub, f"G.{flow}.Values('Metric.ABPackets')")[0]
    [told] = ask(hub, f"G.At(NOW, '1m').{flow}.Metrics()")
    [updates] = told.values()
    assert [one["Start"] for one in updates[1:]] == [one["Last"] for one in updates[:-1]]
    assert ask(hub, f"G.At('-1h').{flow}") == []


def test_counters_of_interfaces_over_a_time(hub: Hub, ends: tuple[End, End]) -> None:
    query = f"G.At(NOW, '1m').V().Has('Name', '{ends[0].interface}').Metrics()"
    [samples] = until(lambda: [one for one in ask(hub, query)[0].values() if len(one) > 2], 20)
    assert all(one["TxPackets"] > 0 for one in samples[1:])
    assert ask(hub, f"{query}.Sum()")["TxPackets"] >= sum(one["TxPackets"] for one in samples)


def test_the_command_line_asks_both_dialects(net: Net, hub: Hub) -> None:
    wanted = f"Has('ICMP.ID', {IDENTIFIER})"
    for query in (
        f"G.Flows().{wanted}.Count()",
        f"g.V().has('veth', 'Name', startingWith('{net.prefix}')).call('flows', ['filter': \"{wanted}\"]).count()",
    ):
        command = [sys.executable, "-m", "skytrail", "query", "--set", f"hub.listen=127.0.0.1:{hub.port}", query]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip().strip("[]") == "2"
        assert done.stderr == ""


def test_over_the_wire_and_when_the_agent_is_gone(net: Net, ends: tuple[End, End], tmp_path: Path) -> None:
    left, right = ends
    hub = Hub(tmp_path / "hub", command="hub").start()
    patterns = {"flow.interfaces": f"{net.prefix}*", "flow.netns": "all"}
    agent = Agent(tmp_path / "agent", ["--hub", f"127.0.0.1:{hub.wire}"], patterns)
    try:
        agent.start()
        agent.wait_point(left.netns, left.interface, 10)
        net.ping(left.netns, right.ip4, count=5, identifier=0x777)
        query = "G.Flows().Has('ICMP.ID', 1911).Sort('Start').Hops().Values('Name')"
        assert until(lambda: set(ask(hub, query) or ())) == {left.interface, right.interface}
        [count] = ask(hub, f"G.V().Has('Name', '{right.interface}').Flows().Has('ICMP.ID', 1911).Values('Metric.ABPackets')")
        assert count == 5
        assert until(lambda: ask(hub, "G.V().Has('Type', 'host').Sockets().Values('Inode')"))
        assert hub.get("/api/v1/trace", filter="icmp")["Missing"] == {}  # drops, sockets and interfaces are asked of, too
        told = Metrics(hub.ask("/metrics")[1].decode())
        assert told.value("skytrail_wire_questions_total", result="answered") >= 6
        assert told.value("skytrail_wire_questions_total", result="refused") == 0  # what real agents say is of the right shape
        agent.kill()
        command = [sys.executable, "-m", "skytrail", "query", "--set", f"hub.listen=127.0.0.1:{hub.port}", query]
        done = until(lambda: _missing(command))
        assert done.stdout.strip() == "null"
        assert "not connected" in done.stderr
    finally:
        agent.close()
        hub.stop()


def _missing(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done if done.stderr else None


def test_what_the_agent_cannot_answer_is_told(tmp_path: Path) -> None:
    needs.root()
    settings = {"history.size": "0", "agent.collectors": "[flows]"}
    deaf = Hub(tmp_path / "deaf", settings).start()
    try:
        where = f"hub.listen=127.0.0.1:{deaf.port}"
        command = [sys.executable, "-m", "skytrail", "query", "--set", where, "G.At('-1m').Flows()"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == "[]"
        assert "this agent remembers nothing: set history.size" in done.stderr
    finally:
        deaf.stop()
