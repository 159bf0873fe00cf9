"""What an agent remembers, with real traffic: through restarts and SIGKILL, on a full disk, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Agent, Flow, StartAgent
from support.needs import root
from support.netlab import Net, until

_UPDATES = {"flow__update": "500ms", "flow__drain": "100ms"}


def now() -> int:
    return time.time_ns() // 1_000_000


def past(agent: Agent, at: int, duration: int = 0, what: str = "flows") -> tuple[list[dict[str, Any]], Message]:
    """What the agent remembers, and the headers of its answer; ms."""
    with urllib.request.urlopen(f"{agent.url}/api/v1/{what}?at={at}&duration={duration}ms", timeout=20) as answer:
        return json.loads(answer.read()), answer.headers


def by_uuid(flows: list[Flow]) -> dict[str, Flow]:
    """Without drops: the kernel's are told by addresses alone, and other tests' hosts have the same."""
    return {flow["UUID"]: {key: flow[key] for key in flow.keys() - {"Drops", "DropsAt"}} for flow in flows}


def pinged(net: Net, agent: Agent) -> tuple[int, dict[str, Flow]]:
    """Flows that have all been reported: when, and as they were shown."""
    left, right = net.pair()
    agent.wait_point(left.netns, left.interface)
    agent.wait_point(right.netns, right.interface)
    net.ping(left.netns, right.ip4, count=4)
    agent.wait_flows(2, "icmp")

    def reported() -> dict[str, Flow]:
        shown = by_uuid(agent.flows())
        assert all(
            flow["LastUpdateMetric"] and flow["LastUpdateMetric"]["Last"] >= flow["Last"] and now() > flow["Last"] + 1_000
            for flow in shown.values()
        )
        return shown

    shown = until(reported)
    time.sleep(2.5)  # longer than between two writings
    return min(flow["Last"] for flow in shown.values()), shown


def test_history_is_what_was_shown_and_survives_sigkill_and_restart(net: Net, start_agent: StartAgent) -> None:
    agent = start_agent(**_UPDATES)
    _, shown = pinged(net, agent)
    asked = now()
    killed = agent.kill() and now()

    agent.start()
    ready = now()
    found, headers = past(agent, asked, 30_000)
    assert by_uuid(found) == shown
    assert int(headers["Skytrail-Since"]) < asked
    _, headers = past(agent, asked - 3_000, 20_000)
    assert "Skytrail-Gaps" not in headers

    _, headers = past(agent, now(), 60_000)
    [(begin, end)] = [tuple(map(int, gap.split("-"))) for gap in headers["Skytrail-Gaps"].split(",")]
    assert asked - 2_500 <= begin <= killed <= end <= ready
    assert agent.metrics().value("skytrail_history_gaps", reason="killed") == 1
    assert "history_gap" in agent.log()

    agent.stop()  # in good order: this gap is told apart
    agent.start()
    found, headers = past(agent, asked, 30_000)
    assert by_uuid(found) == shown
    assert agent.metrics().by("skytrail_history_gaps", "reason") == {"killed": 1, "stopped": 1}


def test_flows_that_ended_and_flows_that_live_are_both_there(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(flow__drain="100ms", flow__idle__other="1s", flow__linger="0s")
    net.ping(left.netns, right.ip4, count=2)
    [first, *_] = agent.wait_flows(2, "icmp")
    until(lambda: agent.flows("icmp") == [])
    gone = now()
    net.ping(left.netns, right.ip4, count=1, identifier=77)
    living = agent.wait_flows(2, "icmp")

    for at, finish in ((first["Last"], "NOT_FINISHED"), (gone, "TIMEOUT")):  # its time had not run out at its last packet
        found, _ = past(agent, at, at - first["Last"] + 1)
        icmp = [flow for flow in found if flow.get("ICMP", {}).get("ID") == 4660]
        assert len(icmp) == 2
        assert {flow["FinishType"] for flow in icmp} == {finish}
        assert {flow["Metric"]["ABPackets"] for flow in icmp} == {2}
    found, _ = past(agent, now(), 60_000)
    assert by_uuid(living).keys() <= by_uuid(found).keys()
    assert len([flow for flow in found if "ICMP" in flow]) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    root()
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_is_said_once_and_counting_goes_on(net: Net, start_agent: StartAgent, small_disk: Path) -> None:
    agent = start_agent(**_UPDATES, state_dir=str(small_disk / "state"))
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/filler", "bs=4k"], capture_output=True, check=False)
    left, right = net.pair()
    agent.wait_point(left.netns, left.interface)
    net.ping(left.netns, right.ip4, count=2)
    agent.wait_flows(2, "icmp")
    until(lambda: "history_not_kept" in agent.log())
    time.sleep(4.5)  # two more writings
    assert agent.log().count("history_not_kept") == 1
    asked = now()
    found, _ = past(agent, asked, 60_000)
    assert len([flow for flow in found if "ICMP" in flow]) == 2, "what waits to be written is found too"

    (small_disk / "filler").unlink()

    until(lambda: agent.metrics().value("skytrail_history_written_records_total", kind="flows") > 0)
    agent.kill()
    agent.start()
    found, _ = past(agent, asked, 60_000)
    assert len([flow for flow in found if "ICMP" in flow]) == 2


def test_sockets_of_the_past(net: Net, start_agent: StartAgent) -> None:
    netns = net.netns("s")
    agent = start_agent(sockets__interval="1s", interfaces=("none",))
    listener = net.spawn(netns, sys.executable, "-c", "import socket; s = socket.create_server(('', 4242)); input()")

    def listening() -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(agent.get("/api/v1/sockets"))
        mine = [one for one in found if one["LocalPort"] == 4242]
        assert mine
        return mine[0]

    shown = until(listening, 15)
    during = now()
    time.sleep(2)
    listener.kill()
    listener.wait()
    until(lambda: not any(one["LocalPort"] == 4242 for one in json.loads(agent.get("/api/v1/sockets"))))
    time.sleep(3)
    after = now()
    agent.kill()
    agent.start()

    found, _ = past(agent, during, what="sockets")
    assert [one for one in found if one["LocalPort"] == 4242] == [shown]
    assert shown["Pid"] == listener.pid
    found, _ = past(agent, after, what="sockets")
    assert not [one for one in found if one["LocalPort"] == 4242]


def cli(agent: Agent, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skytrail", *words, "--listen", agent.url.removeprefix("http://")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"})


def test_command_line_asks_for_the_past(net: Net, start_agent: StartAgent) -> None:
    agent = start_agent(**_UPDATES)
    _, shown = pinged(net, agent)
    asked = now()
    agent.kill()
    agent.start()

    done = cli(agent, "flows", "--json", "--filter", "icmp", "--at", str(asked), "--duration", "30s")
    assert done.returncode == 0, done.stderr
    assert by_uuid([json.loads(line) for line in done.stdout.splitlines()]) == {
        uuid: flow for uuid, flow in shown.items() if "ICMP" in flow
    }
    done = cli(agent, "flows", "--at", "now", "--duration", "1d")
    assert done.returncode == 0
    assert "skytrail: the agent remembers from 20" in done.stderr
    assert "skytrail: no agent ran from 20" in done.stderr
    assert "ICMPv4" in done.stdout
    done = cli(agent, "sockets", "--at", "-0s")
    assert f":{agent.port} " in done.stdout
    for words, message in (
        (("flows", "--at", "teatime"), "'teatime' is no moment"),
        (("sockets", "--duration", "long"), "--duration: expected a duration"),
        (("flows", "--pcap", "x", "--at", "now"), "--pcap goes without --at"),
    ):
        done = cli(agent, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_killed_agent_loses_no_more_than_one_drain(net: Net, start_agent: StartAgent, tmp_path: Path) -> None:
    """No flow is reported before it is killed; all packets that it had read are known to the next one, nothing twice."""
    left, right = net.pair()
    folders = {"flow__drain": "100ms", "flow__update": "1h", "history__run_dir": str(tmp_path / "run")}
    agent = start_agent(**folders)
    agent.wait_point(left.netns, left.interface)
    for identifier in (1, 2, 3):
        net.ping(left.netns, right.ip4, count=3 + identifier, identifier=identifier)
    shown = by_uuid(agent.wait_flows(6, "icmp"))
    time.sleep(1.5)  # drains, and a noting of the capture points
    agent.kill()
    agent.start()

    found, _ = past(agent, now(), 60_000)
    rescued = {flow["UUID"]: flow for flow in found if "ICMP" in flow}
    assert rescued.keys() == shown.keys()
    for uuid, flow in rescued.items():
        assert flow["Metric"] == shown[uuid]["Metric"]
        counted = {key: flow["LastUpdateMetric"][key] for key in ("ABPackets", "ABBytes", "BAPackets", "BABytes")}
        assert counted.items() <= flow["Metric"].items()
        for key in ("Interface", "Namespace", "NodeTID", "Network", "Link", "TrackingID", "Start", "Last", "FinishType"):
            assert flow[key] == shown[uuid][key]
    assert "flows_rescued" in agent.log()

    agent.stop()
    assert {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()} == {"lock"}
    agent.start()
    found, _ = past(agent, now(), 60_000)
    assert sorted(flow["UUID"] for flow in found if "ICMP" in flow) == sorted(shown)
