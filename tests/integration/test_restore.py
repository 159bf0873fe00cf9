"""A hub that went back to a backup: agents that live on tell what it misses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.agentlab import Agent
from support.hublab import Hub
from support.netlab import Net, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

HOST = "e" * 32


def skytrail(hub: Hub, *words: str) -> str:
    command = [sys.executable, "-m", "skytrail", *words, "--set", f"state_dir={hub.state}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def names(hub: Hub) -> set[str]:
    return {node["Metadata"]["Name"] for node in hub.graph()["Nodes"]}


def test_agents_tell_what_came_after_the_backup(tmp_path: Path, net: Net) -> None:
    netns = net.netns("w")
    hub = Hub(tmp_path / "hub", command="hub").start()
    settings = {"host_id": HOST, "agent.hubs": f"127.0.0.1:{hub.wire}", "flow.netns": "all"}
    agent = Agent(tmp_path / "agent", ["--interfaces", "no-such-if"], settings)
    before, after = net.name("before"), net.name("after")
    try:
        agent.start(ready=False)
        net.ip(f"link add {before} type bridge", netns=netns)
        until(lambda: before in names(hub), 60)
        assert "bytes" in skytrail(hub, "backup", str(tmp_path / "kept"))
        net.ip(f"link del {before}", netns=netns)
        net.ip(f"link add {after} type bridge", netns=netns)
        until(lambda: after in names(hub) and before not in names(hub), 30)
        hub.stop()
        assert skytrail(hub, "restore", str(tmp_path / "kept")).startswith("restored; what was there: ")
        hub.start()
        until(lambda: after in names(hub) and before not in names(hub), 60)
    finally:
        agent.close()
        hub.close()
