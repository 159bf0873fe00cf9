"""Flows of many agents, asked of a hub in Gremlin: over HTTP to the hub, over the wire to agents with a table each.

The agents are in four processes; those of one process share its flow table, so that this machine reads four kernel maps for a
question where as many hosts as there are agents would each read one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exporters.bpf import layout, syscall
from exporters.bpf.select import choose_loader
from exporters.flows.answering import LiveFlows
from exporters.flows.applications import Applications
from exporters.flows.collector import FlowsCollector
from exporters.flows.points import Point, Points
from exporters.flows.table import Timeouts
from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from gremlin_api.http.endpoint import mounted
from gremlin_api.http.topology import TopologyEndpoint
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.asking.asker import Answer
from skytrail.asking.questions import FlowsQuestion, Part, Question
from skytrail.http.guard import Receive, Scope, Send
from skytrail.http.server import serve
from skytrail.settings.tree import Http
from tests.bench.report import Line
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore

AGENTS, FLOWS, PROCESSES = 50, 20_000, 4
TIMES = 100
_ADDRESSES = 5_000  # of A: each has four flows
_LONG = 3600  # seconds: nothing ends meanwhile


def clock() -> int:
    """µs since the epoch."""
    return time.time_ns() // 1000


def asked() -> Iterator[Line]:
    """One address of 5,000, anew each time; then the largest of all flows, and how many there are."""
    with tempfile.TemporaryDirectory() as folder, _hub(Path(folder)) as (connection, receiver), _agents(receiver.port) as pids:
        until = time.monotonic() + 60
        while len(receiver.asker.hosts()) < AGENTS or "Skytrail-Missing" in _ask(connection, "G.Flows().Limit(1)")[1]:
            if time.monotonic() > until:
                raise TimeoutError("the agents did not come")
            time.sleep(0.2)
        where = f"{AGENTS} agents, {FLOWS:,} flows each"
        for name, query, times, most in (
            ("an address", "G.Flows().Has('Network.A', '10.0.{}.{}')", TIMES, 250.0),
            ("the ten largest", "G.Flows().Sort(DESC, 'Metric.ABBytes').Limit(10)", 10, None),
            ("how many to a port", "G.Flows().Has('Transport.B', 9000).Has('Transport.A', LT(10100)).Count()", 10, None),
        ):
            took, found = [], 0
            hub, agents = time.process_time(), sum(map(_cpu, pids))
            for at in range(times + 1):
                began = time.perf_counter()
                told, headers = _ask(connection, query.format(at % 20, at * 7 % 250))
                took.append(time.perf_counter() - began)
                if "Skytrail-Missing" in headers:
                    raise RuntimeError(headers["Skytrail-Missing"])
                found = len(told) if isinstance(told, list) else told
            hub, agents = (1000 * one / len(took) for one in (time.process_time() - hub, sum(map(_cpu, pids)) - agents))
            took = sorted(took[1:])
            note = f"p99 {1000 * took[int(0.99 * len(took))]:.0f} ms, finds {found}; CPU: hub {hub:.0f}, agents {agents:.0f} ms"
            yield Line(f"Gremlin, flows of {where}: {name}", 1000 * statistics.median(took), "ms p50", most=most, note=note)


@contextlib.contextmanager
def _hub(folder: Path) -> Iterator[tuple[http.client.HTTPConnection, Receiver]]:
    store = EmbeddedStore(folder)
    receiver = Receiver("127.0.0.1:0", lambda _: None, store, clock)
    receiver.start()
    executor = Executor()
    answerer = SkydiveAnswerer(StoredGraphs(store, NOTHING_SHOWN, clock), asker=receiver.asker)
    app = mounted({"/api/topology": TopologyEndpoint(answerer, executor)}, {}, _nothing)
    with serve(app, "127.0.0.1:0", Http()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        yield connection, receiver
        connection.close()
    executor.close()
    receiver.stop()
    store.close()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope)


def _ask(connection: http.client.HTTPConnection, query: str) -> tuple[Any, http.client.HTTPMessage]:
    connection.request("POST", "/api/topology", json.dumps({"GremlinQuery": query}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    return json.loads(body), answer.headers


def _cpu(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _agents(port: int) -> Iterator[list[int]]:
    """Processes of agents, that end when their input does."""
    shares = [range(at, AGENTS, PROCESSES) for at in range(PROCESSES)]
    command = [sys.executable, "-m", "tests.bench.asking", str(port)]
    processes = [
        subprocess.Popen([*command, *map(str, share)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for share in shares
    ]
    try:
        for one in processes:
            assert one.stdout
            assert one.stdout.readline() == b"ready\n", "a process of agents has ended"
        yield [one.pid for one in processes]
    finally:
        for one in processes:
            one.communicate()


def _serve(port: int, numbers: list[int]) -> None:
    """Agents of this process, until the input ends."""
    program = choose_loader("libbpf")
    points = Points(zero=Point("bench0", "", "bench0"))
    applications, offset = Applications(), time.time_ns() - time.monotonic_ns()
    timeouts = Timeouts(udp=_LONG, other=_LONG)
    collector = FlowsCollector(program, points, applications, timeouts, lambda: offset)
    _fill(program._main.maps["flows4"])
    collector.drain()
    live = LiveFlows(collector, points, applications)

    def of_host(tid: str) -> Answer:
        def answer(question: Question) -> Iterator[Part]:
            assert isinstance(question, FlowsQuestion)
            for found in live.answer(question):
                yield Part([{**flow, "NodeTID": f"{tid}/bench0"} for flow in found])  # a hub takes what is on that host

        return answer

    with tempfile.TemporaryDirectory() as folder:
        senders = []
        for one in numbers:
            outbox = Outbox(Path(folder) / str(one), 1 << 20, Clocks.of_machine("bench"))
            senders.append(Sender([f"127.0.0.1:{port}"], outbox, Identity(f"h{one}", f"t{one}"), clock, of_host(f"t{one}")))
        for sender in senders:
            sender.start()
        print("ready", flush=True)
        sys.stdin.read()
        for sender in senders:
            threading.Thread(target=sender.stop, daemon=True).start()
    program.close()


def _fill(flows4: Any) -> None:
    number = np.arange(FLOWS, dtype=np.uint32)
    keys, flows = np.zeros(FLOWS, layout.KEY4), np.zeros(FLOWS, layout.FLOW)
    keys["tags"] = np.uint64(17 << 8)
    address = number % _ADDRESSES
    keys["addr"][:, 0, 0], keys["addr"][:, 0, 2], keys["addr"][:, 0, 3] = 10, address // 250, address % 250
    keys["addr"][:, 1] = (10, 1, 0, 2)
    keys["port"][:, 0], keys["port"][:, 1] = number % 50_000 + 10_000, 9_000 + number % 7
    flows["id"] = layout.FIRST_ID + number
    flows["dir"]["packets"], flows["dir"]["bytes"] = 1, 100 + number[:, None]
    flows["first"] = flows["last"] = time.monotonic_ns()
    flows["hooks"], flows["ethertype"] = 1, 0x0800
    syscall.map_update_batch(flows4, keys, flows)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), [int(one) for one in sys.argv[2:]])
