"""What capture costs the traffic: iperf3 over a veth pair with capture at both ends against none, in turns."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator

from support.agentlab import Agent
from support.netlab import until

from tests.bench.agent import Bench, _bench
from tests.bench.report import Line, median_ratio

PAIRS, SECONDS = 10, 2


def veth() -> Iterator[Line]:
    """Offloads on; off; and small UDP packets."""
    with _bench() as bench:
        server = bench.net.spawn(bench.right.netns, "iperf3", "-s", "--forceflush")
        assert server.stdout
        until(lambda: "listening" in server.stdout.readline())
        yield _compare(bench, "iperf3 TCP, offloads on", 0.98, "Gbit/s", ())
        yield _compare(bench, "iperf3 UDP, 64 bytes", 0.90, "kpackets/s", ("-u", "-b", "0", "-l", "64"))
        for end in (bench.left, bench.right):
            bench.net.run(end.netns, "ethtool", "-K", end.interface, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
        yield _compare(bench, "iperf3 TCP, offloads off", 0.90, "Gbit/s", ())


def _compare(bench: Bench, name: str, least: float, unit: str, options: tuple[str, ...]) -> Line:
    _iperf(bench, options)  # the first one warms up
    with_capture, without = [], []
    for turn in range(PAIRS):
        for captured in (turn % 2 == 0, turn % 2 == 1):  # ABBA: a machine that slows down slows down both
            with _agent(bench) if captured else contextlib.nullcontext():
                (with_capture if captured else without).append(_iperf(bench, options))
    ratio = median_ratio(with_capture, without)
    scale = 1e9 if unit == "Gbit/s" else 1e3
    return Line(
        name,
        statistics.median(with_capture) / scale,
        unit,
        statistics.median(without) / scale,
        "without capture",
        ratio,
        least=least,
        of_ratio=True,
    )


@contextlib.contextmanager
def _agent(bench: Bench) -> Iterator[Agent]:
    agent = bench.agent(bench.left.interface, bench.right.interface)
    try:
        assert len(agent.points()) == 2
        yield agent
    finally:
        agent.stop()


def _iperf(bench: Bench, options: tuple[str, ...]) -> float:
    """Bits per second (TCP) or packets per second (UDP) received."""
    said = json.loads(
        bench.net.run(bench.left.netns, "iperf3", "-c", bench.right.ip4, "-t", str(SECONDS), "-O", "1", "-J", *options)
    )
    end = said["end"]
    if "-u" not in options:
        return float(end["sum_received"]["bits_per_second"])
    received = end["sum"]["packets"] - end["sum"]["lost_packets"]
    return float(received) / float(end["sum"]["seconds"])
