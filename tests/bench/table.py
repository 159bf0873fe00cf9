"""Reading the kernel's maps and aggregating: flow records per second and CPU, against reading alone."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from exporters.bpf import layout, syscall
from exporters.bpf.program import FlowProgram
from exporters.bpf.select import choose_loader
from exporters.flows.applications import Applications
from exporters.flows.points import Point, Points
from exporters.flows.table import FlowTable, Timeouts
from exporters.flows.totals import Totals
from tests.bench.report import Line, median_ratio

FLOWS = 100_000
ROUNDS = 9


def drain() -> Iterator[Line]:
    """100,000 IPv4 flows: all new; then all of them have grown at each reading; then a tenth has."""
    program = choose_loader("libbpf")
    points = Points(zero=Point("bench0", "", "00000000-0000-0000-0000-000000000000"))
    offset, later = time.time_ns() - time.monotonic_ns(), 0
    totals = Totals(points, Applications(), time.time_ns())
    table = FlowTable(program, points, totals, Timeouts(), lambda: time.monotonic_ns() + later, lambda: offset)
    keys, flows = _entries()
    try:
        ours, reading = [], []
        for _ in range(ROUNDS):
            _write(program, keys, flows, later)
            ours.append(_cpu(table.drain))
            reading.append(_cpu(lambda: deque(program.entries(), 0)))
            assert len(table) == FLOWS
            for _ in ("idle", "gone"):
                later += 100_000_000_000
                table.drain()
            assert len(table) == 0
            flows["id"] += FLOWS
            flows["first"] = time.monotonic_ns() + later
        yield Line(
            "drain, flow records, all new, the first time",
            FLOWS / ours[0],
            "records/s",
            FLOWS / reading[0],
            "map read alone",
            note="memory is touched for the first time",
        )
        yield Line(
            "drain, flow records, all new",
            FLOWS / statistics.median(ours),
            "records/s",
            FLOWS / statistics.median(reading),
            "map read alone",
            1 / median_ratio(ours, reading),
            least=500_000,
        )
        _write(program, keys, flows, later)
        table.drain()
        for name, every in (("all grown", 1), ("a tenth grown", 10)):
            ours, reading = [], []
            for _ in range(ROUNDS):
                flows["dir"]["packets"][::every] += 1
                flows["dir"]["bytes"][::every] += 100
                _write(program, keys, flows, later)
                ours.append(_cpu(table.drain))
                reading.append(_cpu(lambda: deque(program.entries(), 0)))
            assert len(table) == FLOWS
            yield Line(
                f"drain, flow records, {name}",
                FLOWS / statistics.median(ours),
                "records/s",
                FLOWS / statistics.median(reading),
                "map read alone",
                1 / median_ratio(ours, reading),
                least=500_000,
            )
    finally:
        program.close()


def _entries() -> tuple[np.ndarray, np.ndarray]:
    number = np.arange(FLOWS, dtype=np.uint32)
    keys, flows = np.zeros(FLOWS, layout.KEY4), np.zeros(FLOWS, layout.FLOW)
    keys["tags"] = np.uint64(17 << 8)
    keys["addr"][:, 0], keys["addr"][:, 1] = (10, 0, 0, 1), (10, 0, 0, 2)
    keys["port"][:, 0], keys["port"][:, 1] = number % 50_000 + 10_000, 9_000 + number // 50_000
    flows["id"] = layout.FIRST_ID + number
    flows["dir"]["packets"], flows["dir"]["bytes"] = 1, 100
    flows["first"] = flows["last"] = time.monotonic_ns()
    flows["hooks"], flows["ethertype"] = 1, 0x0800
    return keys, flows


def _write(program: FlowProgram, keys: np.ndarray, flows: np.ndarray, later: int) -> None:
    flows["last"] = time.monotonic_ns() + later
    syscall.map_update_batch(program._main.maps["flows4"], keys, flows)


def _cpu(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before
