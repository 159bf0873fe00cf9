"""Flows of a real agent in the real OpenTelemetry Collector: all of them, also those of the time when it was away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import otelcol
from support.agentlab import Agent, StartAgent
from support.frames import TCP
from support.identity import ICMP, echo_id, plain_id
from support.netlab import End, Net, until

QUICK = {"flow__update": "500ms", "flow__drain": "100ms", "flow__idle__other": "1s", "otlp__metrics_interval": "1s"}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "collector"
    folder.mkdir()
    made = otelcol.Collector(otelcol.demand(folder), folder)
    made.start()
    yield made
    made.stop()


def echo(left: End, right: End, identifier: int) -> str:
    return echo_id(ICMP, left.ip4, right.ip4, True, identifier)


def of_echoes(collector: Any) -> dict[str, list[dict[str, Any]]]:
    """The spans of ICMP flows by trace id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for span in collector.spans():
        if otelcol.attributes(span).get("network.transport") == "icmp":
            found.setdefault(span["traceId"], []).append(span)
    return found


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_every_flow_becomes_spans_of_one_trace(net: Net, start_agent: StartAgent, collector: Any, protocol: str) -> None:
    left, right = net.pair()
    endpoint = collector.grpc if protocol == "grpc" else collector.http
    agent = start_agent(interfaces=(f"{net.prefix}*", "lo"), otlp__endpoint=endpoint, otlp__protocol=protocol, **QUICK)

    for identifier in (1, 2, 3):
        net.ping(left.netns, right.ip4, identifier=identifier)

    traces = {echo(left, right, identifier) for identifier in (1, 2, 3)}
    until(lambda: sum(len(spans) for spans in of_echoes(collector).values()) >= 6, 20.0, 0.1)
    agent.stop()
    found = of_echoes(collector)
    assert set(found) == traces
    for spans in found.values():
        assert {span["resource"]["service.name"] for span in spans} == {"skytrail"}
        where = {otelcol.attributes(span)["skytrail.netns"] for span in spans}
        assert where == {left.netns, right.netns}
        windows = {
            (span["spanId"], otelcol.attributes(span)["skytrail.flow.uuid"], span["startTimeUnixNano"]) for span in spans
        }
        assert len(windows) == len({span["spanId"] for span in spans})  # one id for one record and window
    echoing = [otelcol.attributes(span) for spans in found.values() for span in spans]
    assert {(told["process.executable.name"], told["skytrail.process.end"]) for told in echoing} == {("ping", "source")}
    port = int(endpoint.rpartition(":")[2])
    ends = [otelcol.attributes(span) for span in collector.spans()]
    assert not [e for e in ends if port in (e.get("source.port"), e.get("destination.port"))]  # we ourselves
    assert "skytrail.flow.packets" in collector.metrics()


def test_a_connections_span_says_how_its_sockets_fared(net: Net, start_agent: StartAgent, collector: Any) -> None:
    left, right = net.pair()
    agent = start_agent(interfaces=(left.interface,), otlp__endpoint=collector.grpc, **QUICK)
    net.run(left.netns, "bash", "-c", f"exec 3<>/dev/tcp/{right.ip4}/5000", check=False)

    def told() -> dict[str, Any]:
        spans = [otelcol.attributes(span) for span in collector.spans()]
        found = [one for one in spans if one.get("destination.port") == 5000 and "skytrail.flow.finish_type" in one]
        return found[0] if found else {}

    agent.wait_flows(1, "tcp and port 5000")
    agent.stop()
    span = until(told, 20.0, 0.1)
    assert span["skytrail.tcp.end"] == "refused"
    assert 0 < span["skytrail.tcp.connect_latency"] < 10**9
    assert span["process.executable.name"] == "bash"


def test_flows_of_the_time_when_the_collector_was_away_arrive_later(net: Net, start_agent: StartAgent, collector: Any) -> None:
    left, right = net.pair()
    agent: Agent = start_agent(otlp__endpoint=collector.grpc, **QUICK)
    net.ping(left.netns, right.ip4, identifier=1)
    until(lambda: echo(left, right, 1) in of_echoes(collector), 20.0, 0.1)

    collector.stop()
    for identifier in range(2, 12):
        net.ping(left.netns, right.ip4, count=1, identifier=identifier)
    until(lambda: agent.metrics().value("skytrail_flows_active", transport="icmp") == 0, 20.0)
    collector.start()

    expected = {echo(left, right, identifier) for identifier in range(1, 12)}
    until(lambda: set(of_echoes(collector)) == expected, 40.0, 0.2)
    dropped = [sample.value for sample in agent.metrics().samples if sample.name == "skytrail_export_dropped_total"]
    assert dropped
    assert not any(dropped)


TWO_SERVERS = """
import socket, threading
def serve(port):
    server = socket.create_server(("10.0.0.2", port))
    while True:
        accepted, _ = server.accept()
        accepted.recv(1)
        accepted.sendall(str(port).encode())
        accepted.close()
servers = [threading.Thread(target=serve, args=(port,)) for port in (8080, 8081)]
for server in servers:
    server.start()
print("ready", flush=True)
"""
AGAIN = """
import socket, time
for number in range(4):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("10.0.0.1", 40000))
        client.connect(("10.0.0.99", 80))
        client.send(b"x")
        print(client.recv(9).decode(), flush=True)
        assert client.recv(9) == b""  # the server closes first: this port is free again
    time.sleep(1.5)
"""
IN_TURN = """
table ip nat {
    chain before {
        type nat hook prerouting priority dstnat
        ip daddr 10.0.0.99 tcp dport 80 dnat to 10.0.0.2 : numgen inc mod 2 map { 0 : 8080, 1 : 8081 }
    }
}
"""


def test_spans_of_one_conversation_link_to_the_server_that_each_had(net: Net, start_agent: StartAgent, collector: Any) -> None:
    """A port that is used again at once, behind an address of several servers."""
    left, right = net.pair()
    net.ip("route add 10.0.0.99/32 via 10.0.0.2", netns=left.netns)
    net.run(right.netns, "sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0")
    net.run(right.netns, "nft", "-f", "-", stdin=IN_TURN)
    server = net.spawn(right.netns, sys.executable, "-c", TWO_SERVERS)
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    agent = start_agent(interfaces=(left.interface,), otlp__endpoint=collector.grpc)
    answered = net.run(left.netns, sys.executable, "-c", AGAIN).split()
    assert len(set(answered)) == 2
    agent.stop()

    def spans() -> list[dict[str, Any]]:
        found = [span for span in collector.spans() if otelcol.attributes(span).get("destination.address") == "10.0.0.99"]
        assert len(found) == len(answered)
        return sorted(found, key=lambda span: int(span["startTimeUnixNano"]))

    for span, port in zip(until(spans), answered, strict=True):
        becomes = plain_id(TCP, left.ip4, right.ip4, (40000, int(port)))
        assert otelcol.attributes(span)["skytrail.nat.to.tracking_id"] == becomes
        assert [link["traceId"] for link in span["links"]] == [becomes]
