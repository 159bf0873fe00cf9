"""The wire: facts a second on one connection, and a hub of many agents that change, and are asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from support.hublab import Hub

from skytrail.asking.questions import Part, Question, encode_part
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import OPTIONS, OUTBOX, TID, VERSION
from skytrail.wire.versions import NEWEST, OLDEST
from tests.bench.report import Line
from topology.elements import Revision
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.codec import encode_report
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Health

FACTS, TOGETHER = 60_000, 100
AGENTS, ELEMENTS, SECONDS = 200, 200, 30
FLOWS = 10  # of an agent's thousand that a question finds
_SERVICE = "/skytrail.wire.v1.Wire"


def _now() -> int:
    return time.time_ns() // 1000


def _link(host: str, number: int, version: int) -> NodeFact:
    metadata: dict[str, Any] = {
        "Name": f"veth{number}",
        "Type": "veth",
        "MAC": f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}",
        "IfIndex": number,
        "MTU": 1500 + version,
        "State": "UP",
        "IPV4": [f"10.0.{number >> 8 & 255}.{number & 255}/24"],
        "LinkFlags": ["UP", "BROADCAST", "MULTICAST", "LOWER_UP"],
    }
    return NodeFact(f"host/{host}/link/{number}", metadata)


class _Acknowledging:
    """A store that forgets what it takes."""

    shared = False

    def lease(self, *_: object) -> int:
        return 1

    def last_number(self, *_: object) -> int:
        return 0

    def apply(self, batch: Batch) -> int:
        return batch.number

    def current(self) -> Iterator[Revision]:
        return iter(())

    def feed(self, *_: object) -> list[Revision]:
        return []

    def between(self, *_: object) -> Iterator[Revision]:
        return iter(())

    def resources(self, _: str) -> dict[str, bytes]:
        return {}

    def health(self) -> Health:
        return Health(None, 0, 0, 0, 0)


def _serve(make: Callable[[], Any], ready: Connection) -> None:
    """A hub in a process of its own, until it is told to end."""
    store = make()
    reconciler = Reconciler(store, "hub", _now)
    receiver = Receiver("127.0.0.1:0", Taking(reconciler), store, _now)
    receiver.start()
    ready.send(receiver.port)
    ready.recv()
    os._exit(0)


def _no_answer(_: Question) -> Iterator[Part]:
    return iter(())


def _rate(make: Callable[[], Any], folder: Path) -> float:
    """Facts a second that a sender hands on to a hub on such a store."""
    source = Source("netlink", "a", tid="host/a")
    outbox = Outbox(folder / "outbox", 1 << 30, Clocks.of_machine("bench"))
    for at in range(0, FACTS, TOGETHER):
        outbox.put(
            Report(source, _now(), tuple(_link("a", number % 10_000, number // 10_000) for number in range(at, at + TOGETHER)))
        )
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(make, theirs))
    process.start()
    sender = Sender([f"127.0.0.1:{ours.recv()}"], outbox, Identity("a", "host/a"), _now, _no_answer)
    sender.start()
    while sender.hub is None:
        time.sleep(0.001)
    began = time.perf_counter()
    while outbox.waiting:
        time.sleep(0.002)
    took = time.perf_counter() - began
    sender.stop()
    ours.send(None)
    process.join()
    return FACTS / took


class _Embedded:
    """Makes a store in a folder, in another process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> EmbeddedStore:
        return EmbeddedStore(self._folder)


def _bare(folder: Path) -> float:
    """Facts a second that a reconciler on the embedded store takes of the same reports, with no wire before it."""
    reconciler = Reconciler(EmbeddedStore(folder), "hub", _now)
    source = Source("netlink", "a", tid="host/a")
    reports = [
        Report(source, _now(), tuple(_link("a", number % 10_000, number // 10_000) for number in range(at, at + TOGETHER)))
        for at in range(0, FACTS, TOGETHER)
    ]
    began = time.perf_counter()
    for report in reports:
        reconciler.report(report)
    return FACTS / (time.perf_counter() - began)


def facts() -> Iterator[Line]:
    """60,000 facts in reports of 100 that wait in an outbox, over one connection."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        rates = [_rate(_Acknowledging, path / f"a{number}") for number in range(3)]
        yield Line("facts over the wire, a store that acknowledges", statistics.median(rates), "facts/s", least=30_000)
        pairs = [
            (_rate(_Embedded(path / f"g{number}"), path / f"e{number}"), _bare(path / f"b{number}")) for number in range(3)
        ]
        ours, bare = (statistics.median(one) for one in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        yield Line(
            "facts over the wire into the embedded store",
            ours,
            "facts/s",
            bare,
            "without wire",
            ratio,
            least=0.8,
            of_ratio=True,
        )


class _Agent:
    """One of many in a process: greets, reports, attends, as the wire has it."""

    def __init__(self, number: int, channel: grpc.aio.Channel) -> None:
        self._channel, self.number = channel, number
        self.host, self._sent = f"h{number}", 0
        self._source = Source("netlink", self.host, tid=f"host/{self.host}")
        self._metadata = ((TID, f"host/{self.host}"), (OUTBOX, self.host), (VERSION, str(NEWEST)))
        flow = {
            "Network": {"A": "10.0.0.1", "B": "10.0.0.2"},
            "Metric": dict.fromkeys(("ABBytes", "BABytes"), 9**9),
            "NodeTID": f"host/{self.host}/link/1",
        }
        self._part = encode_part(Part([{"UUID": f"{number:016x}{place:016x}", **flow} for place in range(FLOWS)]))
        self._reports: Any = None

    async def begin(self) -> None:
        greet = self._channel.unary_unary(f"{_SERVICE}/Greet", wire.Greeting.SerializeToString, wire.Welcome.FromString)
        said = wire.Greeting(
            oldest=OLDEST, newest=NEWEST, host=self.host, tid=f"host/{self.host}", outbox=self.host, clock=_now(), connection=1
        )
        await greet(said)
        report = self._channel.stream_stream(f"{_SERVICE}/Report", wire.Reports.SerializeToString, wire.Taken.FromString)
        attend = self._channel.stream_stream(f"{_SERVICE}/Attend", wire.Answer.SerializeToString, wire.Question.FromString)
        self._reports, self._attends = report(metadata=self._metadata), attend(metadata=self._metadata)
        self._task = asyncio.create_task(self._answer())
        nodes = [_link(self.host, number, 0) for number in range(ELEMENTS // 2)]
        edges = [EdgeFact(nodes[0].tid, node.tid, "ownership") for node in nodes[1:]]
        await self._report(Report(self._source, _now(), (*nodes, *edges), whole=True))

    async def _report(self, report: Report) -> None:
        self._sent += 1
        one = wire.Numbered(number=self._sent, report=encode_report(report))
        await self._reports.write(wire.Reports(reports=[one], clock=_now()))
        while (await self._reports.read()).number < self._sent:
            pass

    async def change(self, version: int) -> None:
        await self._report(Report(self._source, _now(), (_link(self.host, 1, version),)))

    async def _answer(self) -> None:
        async for question in self._attends:
            if not question.cancelled:
                await self._attends.write(wire.Answer(number=question.number, part=self._part))
                await self._attends.write(wire.Answer(number=question.number, last=True))


def _agents(port: int, conn: Connection) -> None:
    asyncio.run(_crowd(port, conn))


async def _crowd(port: int, conn: Connection) -> None:
    """All agents; each changes once a second, at a moment of its own, until it is told to end."""
    agents = []
    for number in range(AGENTS):
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        agents.append(_Agent(number, channel))
        await agents[-1].begin()
    conn.send("ready")
    changes: list[int] = []

    async def run(agent: _Agent) -> None:
        await asyncio.sleep(agent.number / AGENTS)
        for version in range(1, 100_000):
            began = time.monotonic()
            if agent.number == 0:
                conn.send((version, began))
            await agent.change(version)
            changes.append(version)
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))

    tasks = [asyncio.create_task(run(agent)) for agent in agents]
    await asyncio.get_running_loop().run_in_executor(None, conn.recv)
    conn.send(len(changes))
    for task in tasks:
        task.cancel()
    os._exit(0)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ask(hub: Hub, asked: list[float]) -> None:
    """Ask all agents for flows, once a second; how long each took."""
    query = {"GremlinQuery": "G.Flows().Has('Network.A', '10.0.0.1').Count()"}
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        began = time.monotonic()
        assert int(hub.post("/api/topology", query)) == FLOWS * AGENTS
        asked.append(time.monotonic() - began)
        time.sleep(1)


def agents() -> Iterator[Line]:
    """200 agents with 200 elements and a change a second each, over the real wire, to a real hub."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        hub = Hub(Path(folder) / "hub", command="hub")
        ending.callback(hub.close)
        hub.start()
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_agents, args=(hub.wire, theirs), daemon=True)
        process.start()
        ending.callback(process.kill)
        assert ours.recv() == "ready"
        connection = hub.connect()
        query = json.dumps({"GremlinQuery": "G.V().Has('TID', 'host/h0/link/1').Values('MTU')"})

        def read() -> list[int]:
            connection.request("POST", "/api/topology", query, {"Content-Type": "application/json"})
            found: list[int] = json.loads(connection.getresponse().read())
            return found

        asked: list[float] = []
        asking = threading.Thread(target=_ask, args=(hub, asked), daemon=True)
        asking.start()
        delays: list[float] = []
        began, cpu = time.monotonic(), _cpu(hub.process.pid)
        while time.monotonic() < began + SECONDS:
            version, sent = ours.recv()
            while read() < [1500 + version]:
                time.sleep(0.002)
            delays.append(time.monotonic() - sent)
        seconds, used = time.monotonic() - began, _cpu(hub.process.pid) - cpu
        asking.join()
        ours.send(None)
        while not isinstance(changes := ours.recv(), int):
            pass
        note = f"{changes / seconds:.0f} changes/s, and a question of flows each second"
        yield Line("hub of 200 agents: CPU", used / seconds, "cores", most=1.0, note=note)
        yield Line("hub of 200 agents: memory", hub.rss() / 1e6, "MB", most=1000)
        yield Line("flows asked of 200 agents, 10 each, p50", 1000 * statistics.median(asked), "ms", note=f"{len(asked)} times")
        yield Line("change at an agent → readable, slowest", 1000 * max(delays), "ms", most=500, note=f"{len(delays)} changes")
