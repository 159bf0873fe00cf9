"""A real Prometheus scrapes a real agent: rates agree with the traffic, exemplars lead to flows, promtool is silent."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Agent, StartAgent
from support.needs import tool
from support.netlab import Net, until
from support.ports import free_port

RATE, SIZE = 500, 158  # packets/s; bytes of each with its headers
PACED = f"""
import socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
start = time.monotonic()
for number in range({RATE} * 60):
    udp.sendto(bytes({SIZE} - 42), (sys.argv[1], 7000))
    time.sleep(max(0, start + (number + 1) / {RATE} - time.monotonic()))
"""
CONFIG = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: skytrail
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A server that scrapes one agent twice a second."""

    def __init__(self, folder: Path, agent: Agent) -> None:
        self._port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(port=agent.port))
        command = [
            tool("prometheus", "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--enable-feature=exemplar-storage",
        ]
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, path: str, **arguments: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.loads(answer.read())
        assert found["status"] == "success"
        return found["data"]

    def value(self, query: str) -> float:
        try:
            result = self.ask("query", query=query)["result"]
        except OSError:
            return float("nan")  # it is starting
        return float(result[0]["value"][1]) if result else float("nan")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Any]:
    made: list[Prometheus] = []

    def start(agent: Agent) -> Prometheus:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        made.append(Prometheus(folder, agent))
        return made[-1]

    yield start
    for server in made:
        server.close()


def test_rates_agree_with_the_traffic(net: Net, start_agent: StartAgent, scrape: Any) -> None:
    left, right = net.pair()
    agent = start_agent()
    server = scrape(agent)
    net.spawn(left.netns, sys.executable, "-c", PACED, right.ip4)

    for end, direction in ((left, "transmit"), (right, "receive")):
        labels = f'{{device="{end.interface}",netns="{end.netns}",direction="{direction}",transport="udp"}}'
        for name, expected in (("skytrail_flow_packets_total", RATE), ("skytrail_flow_bytes_total", RATE * SIZE)):
            query = f"sum(rate({name}{labels}[5s]))"
            until(lambda query=query, expected=expected: abs(server.value(query) / expected - 1) < 0.05, 20.0, 0.2)
    assert server.value(f'skytrail_flows_active{{device="{left.interface}",transport="udp"}}') == 1
    assert server.value("up") == 1


def test_exemplars_lead_from_a_histogram_to_a_flow(net: Net, start_agent: StartAgent, scrape: Any) -> None:
    left, right = net.pair()
    agent = start_agent(prometheus__exemplars="true")
    server = scrape(agent)
    net.spawn(right.netns, "nc", "-l", right.ip4, "7777")
    until(lambda: ":7777" in net.run(right.netns, "ss", "-Htln"))

    net.run(left.netns, "nc", "-N", right.ip4, "7777", stdin="hello\n")

    tracking = {flow["TrackingID"] for flow in agent.wait_flows(2, "tcp")}

    def found() -> set[str]:
        try:
            series = server.ask("query_exemplars", query="skytrail_flow_tcp_rtt_seconds_bucket", start="0", end="9999999999")
        except OSError:
            return set()
        return {exemplar["labels"]["trace_id"] for one in series for exemplar in one["exemplars"]}

    assert until(found, 20.0, 0.2) == tracking
    until(lambda: server.value(f'skytrail_flow_tcp_rtt_seconds_count{{device="{left.interface}"}}') == 1, 10.0)


def test_promtool_has_nothing_to_say(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(prometheus__per_flow__enabled="true")
    net.ping(left.netns, right.ip4)
    agent.wait_flows(2, "icmp")

    done = subprocess.run(
        [tool("promtool", "prometheus"), "check", "metrics"], input=agent.get("/metrics"), capture_output=True, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_series_per_conversation_are_capped_and_lose_nothing(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(
        interfaces=(left.interface,), prometheus__per_flow__enabled="true", prometheus__per_flow__max="3", flow__drain="100ms"
    )
    for identifier in range(1, 9):
        net.ping(left.netns, right.ip4, count=identifier, identifier=identifier)
    agent.wait_flows(8, "icmp")

    def equal() -> bool:
        metrics = agent.metrics()
        for name in ("packets", "bytes"):
            total = metrics.value(f"skytrail_flow_{name}_total") + metrics.value(f"skytrail_flow_inner_{name}_total")
            assert metrics.value(f"skytrail_flow_record_{name}_total") == total
        series = metrics.by("skytrail_flow_record_packets_total", "tracking_id")
        assert len(series) == 3 + 1
        assert series["overflow"] > 0
        return True

    until(equal)


def test_each_part_says_what_it_costs(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent()
    net.ping(left.netns, right.ip4)
    until(lambda: agent.metrics().by("skytrail_part_memory_bytes", "part").get("flows", 0) > 500)  # a record has as many
    metrics = agent.metrics()
    memory = metrics.by("skytrail_part_memory_bytes", "part")
    assert memory.keys() == {"flows", "history", "sockets", "drops", "conntrack"}
    assert memory["sockets"] > 0
    assert sum(memory.values()) < metrics.value("skytrail_process_resident_memory_bytes") < 2 * agent.rss()
    threads = metrics.by("skytrail_process_thread_cpu_seconds_total", "thread")
    assert {"drain", "sockets", "drops", "conntrack"} <= threads.keys()
    collectors = metrics.by("skytrail_collector_success", "collector")
    assert {name for name, success in collectors.items() if success != 1} == set()
