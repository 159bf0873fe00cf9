"""``skytrail sockets`` and the agent's route, with a real agent: what ss says, for all namespaces at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.agentlab import StartAgent
from support.netlab import Net, in_netns, until

pytestmark = pytest.mark.kernel


@pytest.fixture
def opened(net: Net) -> Iterator[tuple[str, list[socket.socket]]]:
    """A namespace, and a listener, a connection and a datagram socket in it."""
    netns = net.netns("a")

    def make() -> list[socket.socket]:
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        return [server, client, server.accept()[0], datagram]

    made = in_netns(netns, make)
    yield netns, made
    for one in made:
        one.close()


def skytrail(port: int, *arguments: str) -> str:
    command = [sys.executable, "-m", "skytrail", "sockets", "--listen", f"127.0.0.1:{port}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("source", ["iterators", "sock_diag"])
def test_sockets_of_every_namespace_are_shown_as_ss_shows_them(
    start_agent: StartAgent, net: Net, opened: tuple[str, list[socket.socket]], source: str
) -> None:
    netns, sockets = opened
    agent = start_agent("--set", f"sockets.source={source}")
    until(lambda: netns in skytrail(agent.port))
    shown = [line.split() for line in skytrail(agent.port).splitlines()]
    assert shown[0][:3] == ["Namespace", "Netid", "State"]
    ours = sorted(tuple(line[1:7]) for line in shown if line[0] == netns)
    ss = sorted(tuple(line.split()[:6]) for line in net.run(netns, "ss", "-Htuan").splitlines())
    assert ours == ss
    assert len(ours) == len(sockets)
    told: list[dict[str, Any]] = [json.loads(line) for line in skytrail(agent.port, "--json").splitlines()]
    here = {one["FD"]: one for one in told if one["Namespace"] == netns}
    assert here.keys() == {one.fileno() for one in sockets}
    assert {(one["Pid"], one["Protocol"]) for one in here.values()} == {(os.getpid(), "TCP"), (os.getpid(), "UDP")}
    assert here[sockets[1].fileno()]["RemotePort"] == sockets[0].getsockname()[1]


@pytest.mark.parametrize("source", ["iterators", "sock_diag"])
def test_metrics_tell_of_sockets_where_they_are_collected(
    start_agent: StartAgent, opened: tuple[str, Any], source: str
) -> None:
    netns, _ = opened
    agent = start_agent("--set", "sockets.interval=1s", "--set", f"sockets.source={source}")
    where = {"netns": netns, "transport": "tcp"}
    until(lambda: agent.metrics().value("skytrail_sockets", **where, state="established") == 2)
    assert agent.metrics().value("skytrail_sockets", **where, state="listen") == 1
    assert agent.metrics().value("skytrail_socket_events_lost_total", what="events") == 0


def test_an_agent_that_collects_no_sockets_says_so(start_agent: StartAgent) -> None:
    agent = start_agent("--collectors", "flows")
    command = [sys.executable, "-m", "skytrail", "sockets", "--listen", f"127.0.0.1:{agent.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "reads no sockets: see its log, and agent.collectors" in done.stderr
    assert not any(one.name.startswith("skytrail_socket") for one in agent.metrics().samples)
