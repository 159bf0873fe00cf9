"""ns per packet of the program on an established flow, against the naive counter on TCP/IPv4; by BPF_PROG_TEST_RUN."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram
from exporters.bpf.select import choose_loader
from exporters.bpf.syscall import TestRun
from tests.bench.bpf import naive_program
from tests.bench.report import Line, median_ratio

REPEAT = 500_000
ROUNDS = 15

_ETHER = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
_TCP = TCP(sport=50000, dport=80, flags="A", seq=1, ack=1)
PLAIN = bytes(_ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / _TCP / bytes(100))
CASES = (
    ("TCP/IPv4", PLAIN, 1.4),
    ("TCP/IPv6", bytes(_ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / _TCP / bytes(100)), 1.6),
    (
        "TCP in VXLAN (two flows)",
        bytes(_ETHER / IP(src="10.1.0.1", dst="10.1.0.2") / UDP(sport=40000, dport=4789) / VXLAN(vni=10, flags=8) / PLAIN),
        2.8,
    ),
)


@contextlib.contextmanager
def _programs() -> Iterator[tuple[FlowProgram, int, int]]:
    """The flows program, its entry at point 1 and the naive one."""
    program = choose_loader("libbpf")
    program.set_tunnel_ports({"vxlan": frozenset({4789})})
    program.set_point(1, layout.LINK_ETHERNET)
    entry = program.entry(1, 0)
    try:
        with tempfile.TemporaryDirectory() as folder, naive_program(Path(folder)) as naive:
            yield program, entry, naive
    finally:
        os.close(entry)
        program.close()


def _prepared(descriptor: int, packet: bytes) -> Callable[[], int]:
    """A run on one packet; gives ns per packet."""
    run = TestRun(descriptor, 2048)
    run.data[: len(packet)] = packet

    def measure() -> int:
        assert run.run(len(packet), REPEAT) == -1
        return run.duration_ns

    return measure


def ns_per_packet() -> Iterator[Line]:
    """One CPU, one flow."""
    with _programs() as (_, entry, naive):
        baseline = _prepared(naive, PLAIN)
        for name, packet, target in CASES:
            ours, theirs = _interleaved(_prepared(entry, packet), baseline)
            yield Line(
                f"ns per packet, {name}",
                statistics.median(ours),
                "ns",
                statistics.median(theirs),
                "naive counter, TCP/IPv4",
                median_ratio(ours, theirs),
                most=target,
                of_ratio=True,
            )


def _interleaved(ours: Callable[[], int], theirs: Callable[[], int]) -> tuple[list[int], list[int]]:
    ours(), theirs()  # makes the flow, warms the caches
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    return [mine for mine, _ in pairs], [its for _, its in pairs]


def both_cpus() -> Iterator[Line]:
    """Two CPUs at once on one flow: no count may be lost."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with _programs() as (program, entry, naive):
        ours, theirs = [], []
        rounds = 5
        for _ in range(rounds):
            ours.append(statistics.fmean(_at_once(entry, cpus)))
            theirs.append(statistics.fmean(_at_once(naive, cpus)))
        counted = sum(int(entries.flows["dir"]["packets"].sum()) for entries in program.entries())
        missing = rounds * REPEAT * len(cpus) - counted
        lost = int(program.points()[1]["lost"]["skbs"].sum())
    yield Line(
        f"ns per packet, {len(cpus)} CPUs on one flow",
        statistics.median(ours),
        "ns",
        statistics.median(theirs),
        "naive counter (per CPU)",
        median_ratio(ours, theirs),
    )
    yield Line("… packets not counted", missing, "packets", most=0, note=f"of {counted:,}; {lost} lost by a named reason")


def _at_once(descriptor: int, cpus: list[int]) -> list[int]:
    """ns per packet on each CPU, all running at the same time (the call gives up Python's lock)."""
    durations = np.zeros(len(cpus), int)
    start = threading.Barrier(len(cpus))

    def work(number: int) -> None:
        os.sched_setaffinity(0, {cpus[number]})
        measure = _prepared(descriptor, PLAIN)
        start.wait()
        durations[number] = measure()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(cpus))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [int(duration) for duration in durations]
