"""The whole agent on real traffic between two network namespaces: what it costs, what it keeps, how soon it shows."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from support.agentlab import Agent
from support.netlab import End, Net, in_netns, until

from tests.bench.bpf import map_memory, run_time, run_time_counted
from tests.bench.report import Line

SENDER = Path(__file__).with_name("sender.c")
LOAD_RATE, LOAD_FLOWS, LOAD_SECONDS = 80_000, 1_000, 15
CHURN_RATE, CHURN_FILL, CHURN_SECONDS = 20_000, 12, 15
SCRAPES = 21
MEMORY_FLOWS = 100_000
IDLE_INTERFACES, IDLE_SECONDS = 100, 20
VISIBLE_ROUNDS = 41
MB = 1_000_000


@dataclass(frozen=True)
class Bench:
    """Two namespaces joined by a veth pair; nobody answers at ``nowhere``."""

    net: Net
    left: End
    right: End
    folder: Path
    nowhere: str = "10.0.0.77"

    def agent(self, *interfaces: str, **settings: str) -> Agent:
        words = [word for pattern in interfaces or (self.left.interface,) for word in ("--interfaces", pattern)]
        return Agent(self.folder / "agent", words, {"flow.netns": "all", **settings}).start()

    def send(self, rate: int, seconds: int, flows: int) -> subprocess.Popen[str]:
        program = self.folder / "sender"
        if not program.exists():
            subprocess.run(["clang", "-O2", "-o", program, SENDER], check=True)
        return self.net.spawn(self.left.netns, str(program), self.nowhere, str(rate), str(seconds), str(flows))


@contextlib.contextmanager
def _bench() -> Iterator[Bench]:
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = Bench(net, *net.pair(), Path(folder))
            neighbour = f"neigh add {made.nowhere} lladdr {net.mac(made.right)} dev {made.left.interface}"
            net.ip(neighbour, netns=made.left.netns)
            yield made
        finally:
            net.close()


def _cpu_clock(pid: int) -> int:
    """CPU time of another process, all its threads (clock_getcpuclockid(3): CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2


@dataclass
class Usage:
    """Shares of one core between two moments: of the process, and of its programs."""

    process: float
    programs: float
    runs: int


class Meter:
    """Measures an agent's use of the CPU; the kernel counts the programs' run time meanwhile, which itself costs some."""

    def __init__(self, agent: Agent) -> None:
        self._pid = agent.process.pid
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, int]:
        programs = run_time(self._pid)
        return time.monotonic(), time.clock_gettime(_cpu_clock(self._pid)), programs.seconds, programs.runs

    def read(self) -> Usage:
        now = self._now()
        wall, process, programs, runs = (later - earlier for later, earlier in zip(now, self._before, strict=True))
        return Usage(process / wall, programs / wall, int(runs))


def _lost(agent: Agent, end: End) -> float:
    return agent.metrics().value("skytrail_flow_lost_packets_total", device=end.interface)


def load() -> Iterator[Line]:
    """80,000 small UDP packets/s through one capture point."""
    with _bench() as bench, run_time_counted():
        agent = bench.agent()
        sender = bench.send(LOAD_RATE, LOAD_SECONDS + 4, LOAD_FLOWS)
        time.sleep(2)
        meter = Meter(agent)
        time.sleep(LOAD_SECONDS)
        usage = meter.read()
        sent = int(sender.communicate(timeout=60)[0])
        counted = agent.metrics().value("skytrail_flow_packets_total", device=bench.left.interface, transport="udp")
        assert counted == sent, f"{counted:.0f} packets counted of {sent}"
        agent.stop()
    yield Line(
        f"{LOAD_RATE:,} packets/s, {LOAD_FLOWS:,} flows: CPU",
        100 * (usage.process + usage.programs),
        "% core",
        36,
        "% Skydive's capture (not run here)",
        most=4,
        note=f"agent {usage.process:.1%}, programs {usage.programs:.1%} at {usage.runs / LOAD_SECONDS:,.0f} packets/s",
    )


def churn() -> Iterator[Line]:
    """20,000 new flows/s, until the map's limit has long been reached and flows are ended early."""
    with _bench() as bench, run_time_counted():
        agent = bench.agent()
        seconds = CHURN_FILL + CHURN_SECONDS
        sender = bench.send(CHURN_RATE, seconds + 2, CHURN_RATE * (seconds + 2))
        time.sleep(CHURN_FILL)
        meter = Meter(agent)
        time.sleep(CHURN_SECONDS)
        usage = meter.read()
        sent = int(sender.communicate(timeout=60)[0])
        metrics = agent.metrics()
        counted = metrics.value("skytrail_flow_packets_total", device=bench.left.interface, transport="udp")
        new = metrics.value("skytrail_flows_new_total", device=bench.left.interface, transport="udp")
        lost, early = _lost(agent, bench.left), metrics.value("skytrail_flow_evicted_total")
        rss = agent.rss()
        agent.stop()
    yield Line(
        f"{CHURN_RATE:,} new flows/s: CPU",
        100 * (usage.process + usage.programs),
        "% core",
        most=25,
        note=f"agent {usage.process:.1%}, programs {usage.programs:.1%}; {new:,.0f} flows, {early:,.0f} ended early, "
        f"RSS {rss / MB:.0f} MB",
    )
    yield Line(f"{CHURN_RATE:,} new flows/s: packets uncounted", sent - counted + lost, "", sent, "packets sent", most=0)


def memory() -> Iterator[Line]:
    """Resident memory and the kernel memory of maps: idle, and with 100,000 flows."""
    with _bench() as bench:
        agent = bench.agent()
        time.sleep(3)
        yield Line("RSS, idle", agent.rss() / MB, "MB", most=80)
        yield Line("maps, idle", map_memory(agent.process.pid) / MB, "MB", most=40)
        bench.send(MEMORY_FLOWS // 5, 10, MEMORY_FLOWS).wait(60)
        count = agent.metrics().value("skytrail_flows_active", device=bench.left.interface, transport="udp")
        assert count == MEMORY_FLOWS, f"{count:.0f} flows"
        time.sleep(3)
        yield Line(f"RSS, {MEMORY_FLOWS:,} flows", agent.rss() / MB, "MB", most=150)
        yield Line(f"maps, {MEMORY_FLOWS:,} flows", map_memory(agent.process.pid) / MB, "MB", most=100)
        agent.stop()


def idle() -> Iterator[Line]:
    """100 captured interfaces, no traffic."""
    with _bench() as bench, run_time_counted():
        net = bench.net
        for number in range(IDLE_INTERFACES // 2):
            pair = f"{net.prefix}x{number}", f"{net.prefix}y{number}"
            net.ip(f"link add {pair[0]} type veth peer name {pair[1]}", netns=bench.left.netns)
            for name in pair:
                net.ip(f"link set {name} up", netns=bench.left.netns)
        agent = bench.agent(f"{net.prefix}x*", f"{net.prefix}y*")
        assert len(agent.points()) == IDLE_INTERFACES
        time.sleep(2)
        meter = Meter(agent)
        time.sleep(IDLE_SECONDS)
        usage = meter.read()
        agent.stop()
    yield Line(f"idle, {IDLE_INTERFACES} interfaces: CPU", 100 * (usage.process + usage.programs), "% core", most=1)


def scrape() -> Iterator[Line]:
    """/metrics with 500 interfaces in 100 namespaces, every collector on."""
    with _bench() as bench:
        names = [bench.net.netns(f"m{number}") for number in range(100)]
        pairs = [
            f"link add a{number} type veth peer name b{number}\nlink set a{number} up\nlink set b{number} up"
            for number in (1, 2)
        ]
        for name in names:
            bench.net.run(name, "ip", "-batch", "-", stdin="\n".join(pairs))
        agent = bench.agent()
        took = []
        for _ in range(SCRAPES):
            begun = time.perf_counter()
            body = agent.get("/metrics")
            took.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.3)
        told = agent.metrics().by("skytrail_interface_up", "netns")
        assert sum(name in told for name in names) == len(names)
        agent.stop()
    took = sorted(took[1:])
    note = f"worst {took[-1]:.0f} ms; {len(body) / MB:.1f} MB"
    yield Line("/metrics, 500 interfaces in 100 namespaces, p50", statistics.median(took), "ms", most=300, note=note)


def latency() -> Iterator[Line]:
    """From a first packet to its flow: over HTTP, and on the screen of ``skytrail flows``."""
    with _bench() as bench:
        agent = bench.agent()
        connection = HTTPConnection("127.0.0.1", agent.port)
        took = sorted(_until_http(bench, connection, 40_000 + number) for number in range(VISIBLE_ROUNDS))
        yield Line("first packet → its flow over HTTP, p50", 1000 * statistics.median(took), "ms", most=50, note=_worst(took))
        with _screen(agent) as screen:
            took = sorted(_until_shown(bench, screen, 50_000 + number) for number in range(VISIBLE_ROUNDS))
        yield Line("first packet → on the screen, p50", 1000 * statistics.median(took), "ms", most=50, note=_worst(took))
        agent.stop()


def _worst(took: list[float]) -> str:
    return f"the longest of {len(took)}: {1000 * took[-1]:.0f} ms"


def _packet(bench: Bench, port: int) -> float:
    """Send one, from a port of its own; returns when."""

    def send() -> float:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((bench.left.ip4, port))
            now = time.monotonic()
            udp.sendto(b"x", (bench.nowhere, 9))
            return now

    return in_netns(bench.left.netns, send)


def _until_http(bench: Bench, connection: HTTPConnection, port: int) -> float:
    time.sleep(0.05 + port % 7 / 100)  # no step with the drain
    sent = _packet(bench, port)
    while True:
        connection.request("GET", f"/api/v1/flows?filter=port%20{port}")
        if json.loads(connection.getresponse().read()):
            return time.monotonic() - sent
        assert time.monotonic() < sent + 10


@contextlib.contextmanager
def _screen(agent: Agent) -> Iterator[int]:
    """``skytrail flows`` on a terminal of its own; gives the terminal's other end."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = [sys.executable, "-m", "skytrail", "flows", "--sort", "start", "--set", f"agent.listen=127.0.0.1:{agent.port}"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    try:
        until(lambda: b"Interface" in _read(ours, 0.1), 10)
        yield ours
    finally:
        process.terminate()
        process.wait(10)
        os.close(ours)
        os.close(theirs)


def _read(terminal: int, seconds: float) -> bytes:
    ready, _, _ = select.select([terminal], [], [], seconds)
    return os.read(terminal, 1 << 20) if ready else b""


def _until_shown(bench: Bench, screen: int, port: int) -> float:
    pause = time.monotonic() + 0.4 + port % 7 / 100
    while (left := pause - time.monotonic()) > 0:
        _read(screen, left)
    sent, seen = _packet(bench, port), b""
    while f":{port}".encode() not in seen:
        seen = seen[-100:] + _read(screen, 1.0)
        assert time.monotonic() < sent + 10
    return time.monotonic() - sent
