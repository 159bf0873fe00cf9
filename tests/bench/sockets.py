"""Sockets: a pass over 20,000 of them in 100 namespaces; 5,000 connections a second; iperf3 with every collector on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator

from support.netlab import until

from exporters.bpf.sockets import SocketPrograms
from exporters.sockets.collector import SocketsCollector
from exporters.sockets.diag import SockDiag
from skytrail.kernel.census import Census
from skytrail.kernel.host import Roots
from skytrail.kernel.worker import NamespaceWorker
from tests.bench.agent import Meter, _bench
from tests.bench.bpf import run_time_counted
from tests.bench.report import Line, median_ratio
from tests.bench.veth import PAIRS, _iperf

NAMESPACES, EACH = 100, 200
INTERVAL = 15.0  # seconds between passes, unless told otherwise
RATE, SECONDS = 5_000, 15
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET

SERVICE = "10.0.0.100"  # nobody's: what is sent there is sent on
DNAT = """
table ip nat {{
    chain out {{
        type nat hook output priority -100
        ip daddr 10.0.0.100 dnat to {}
    }}
}}
"""
SERVE = """
import socket, sys
server = socket.create_server((sys.argv[1], 5000), backlog=4096)
print("ready", flush=True)
while True:
    accepted, _ = server.accept()
    accepted.recv(1)
    accepted.close()
"""
CONNECT = """
import socket, sys, time
rate, until = int(sys.argv[2]), time.monotonic() + int(sys.argv[3])
begun, made = time.monotonic(), 0
while (now := time.monotonic()) < until:
    while made < (now - begun) * rate:
        client = socket.socket()
        client.connect((sys.argv[1], 5000))
        client.close()
        made += 1
    time.sleep(0.001)
print(made)
"""


def passes() -> Iterator[Line]:
    """Half of the sockets connected to each other, in each namespace; read as the collector does, metrics too."""
    children = [_child() for _ in range(NAMESPACES)]
    programs = SocketPrograms()
    try:
        until(lambda: len(programs.read()) >= NAMESPACES * EACH, 60)
        collector = SocketsCollector(programs, dict)
        took, raw = [], []
        for _ in range(21):
            begun = time.perf_counter()
            programs.read()
            raw.append(1000 * (time.perf_counter() - begun))
            begun = time.perf_counter()
            collector._pass()
            took.append(1000 * (time.perf_counter() - begun))
        begun = time.perf_counter()
        list(collector.families())
        told = 1000 * (time.perf_counter() - begun)
        by_diag = _by_sock_diag()
    finally:
        programs.close()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    mine = statistics.median(took[1:])
    name = f"a pass over {NAMESPACES * EACH:,} sockets in {NAMESPACES} namespaces"
    yield Line(name, mine, "ms p50", statistics.median(raw), "reading them alone", most=150, note=f"metrics {told:.0f} ms")
    yield Line("… of a core at the default interval", mine / INTERVAL / 10, "%", most=5)
    walks = "for each namespace the kernel walks the connections of all"
    yield Line("reading them by sock_diag and /proc", by_diag, "ms p50", statistics.median(raw), "by the iterator", note=walks)
    yield Line("… of a core at the default interval", by_diag / INTERVAL / 10, "%", most=5)


def _by_sock_diag() -> float:
    """A reading where there are no iterators, ms."""
    worker = NamespaceWorker()
    census = Census(worker, Roots(), every=True)
    try:
        census.refresh(processes=True)
        diag = SockDiag(worker, census.namespaces)
        took = []
        for _ in range(11):
            begun = time.perf_counter()
            rows = diag.read()
            took.append(1000 * (time.perf_counter() - begun))
        assert len(rows) >= NAMESPACES * (EACH - 1)  # all but those that are not bound
    finally:
        census.close()
        worker.close()
    return statistics.median(took[1:])


def _child() -> int:
    """A process in a namespace of its own, with its sockets."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        ctypes.CDLL(None).unshare(_NEW_NETWORK)
        os.system("ip link set lo up")
        server = socket.create_server(("127.0.0.1", 5000), backlog=500)
        kept = [server]
        while len(kept) + 2 <= EACH:
            kept.append(socket.create_connection(("127.0.0.1", 5000)))
            kept.append(server.accept()[0])
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        signal.pause()
    os._exit(1)


def connections() -> Iterator[Line]:
    """Short TCP connections between two namespaces, both ends here, every collector on."""
    yield from _connections(translated=False)


def translated() -> Iterator[Line]:
    """The same, the server's address and port being translated at the client's host."""
    yield from _connections(translated=True)


def _connections(*, translated: bool) -> Iterator[Line]:
    with _bench() as bench, run_time_counted():
        if translated:
            bench.net.run(bench.left.netns, "nft", "-f", "-", stdin=DNAT.format(bench.right.ip4))
        bench.net.run(bench.left.netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1")
        agent = bench.agent()
        server = bench.net.spawn(bench.right.netns, sys.executable, "-c", SERVE, bench.right.ip4)
        assert server.stdout
        server.stdout.readline()
        target = SERVICE if translated else bench.right.ip4
        client = bench.net.spawn(bench.left.netns, sys.executable, "-c", CONNECT, target, str(RATE), str(SECONDS + 4))
        time.sleep(2)
        meter = Meter(agent)
        time.sleep(SECONDS)
        usage = meter.read()
        made = int(client.communicate(timeout=60)[0])
        metrics = agent.metrics()
        connects = metrics.value("skytrail_tcp_connects_total", netns=bench.left.netns)
        lost = metrics.value("skytrail_socket_events_lost_total")
        told = metrics.value("skytrail_conntrack_translated_total", netns=bench.left.netns)
        again = metrics.value("skytrail_conntrack_resyncs_total")
        agent.stop()
    yield Line(
        f"{made / (SECONDS + 4):,.0f} {'translated ' if translated else ''}connections/s: CPU",
        100 * (usage.process + usage.programs),
        "% core",
        most=40,
        note=f"agent {usage.process:.1%}, programs {usage.programs:.1%}; asked for {RATE:,}/s",
    )
    yield Line("… connections that were not counted and not counted as lost", made - connects - lost, "", most=0)
    if translated:
        yield Line("… whose translation was not heard of", made - told, "", most=0, note=f"{again:.0f} times all was read anew")


def everything() -> Iterator[Line]:
    """iperf3 over veth, captured at both ends, with every collector on against flows alone."""
    with _bench() as bench:
        server = bench.net.spawn(bench.right.netns, "iperf3", "-s", "--forceflush")
        assert server.stdout
        until(lambda: "listening" in server.stdout.readline())
        ends = bench.left.interface, bench.right.interface
        _iperf(bench, ())  # the first one warms up
        rates: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(PAIRS):
            for all_of_them in (turn % 2 == 0, turn % 2 == 1):
                names = {} if all_of_them else {"agent.collectors": "flows"}
                agent = bench.agent(*ends, **names)
                try:
                    rates[all_of_them].append(_iperf(bench, ()))
                finally:
                    agent.stop()
    mine, alone = (statistics.median(rates[which]) / 1e9 for which in (True, False))
    ratio = median_ratio(rates[True], rates[False])
    yield Line("iperf3 TCP, every collector on", mine, "Gbit/s", alone, "flows alone", ratio, least=0.97, of_ratio=True)
