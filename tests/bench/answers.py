"""What an agent answers: 20,000 flows asked now; hours of 20,000 flows a minute kept, and asked again."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout, syscall
from exporters.bpf.select import choose_loader
from exporters.flows.answering import LiveFlows
from exporters.flows.applications import Applications
from exporters.flows.collector import FlowsCollector
from exporters.flows.identify import identify
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW, Batch, Timeouts
from exporters.history.flows import GROWS, KIND, FlowHistory, FlowRecorder
from exporters.history.store import History
from exporters.sockets.known import Known
from exporters.sockets.processes import Process
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import Compare, Either
from skytrail.kernel.host import clock_offset_ns
from tests.bench.report import Line

_FLOWS = 20_000
_ROUNDS = 15
_SECOND = 1_000_000_000
_TICK = 4_000_000  # ns of the kernel's coarse clock
_FEW = Compare("Network.A", "within", ("10.0.1.77",))
_EITHER = Either((_FEW, Compare("Network.B", "within", ("10.0.1.77",))))


def _points() -> Points:
    points = Points()
    for name in ("eth0", "veth1", "veth2"):
        points.add(Point(name, "", f"tid-{name}"))
    return points


def answers() -> Iterator[Line]:
    """The CPU of one agent's answer, the reading of the kernel beside it."""
    program = choose_loader("libbpf")
    points, applications = _points(), Applications()
    collector = FlowsCollector(program, points, applications, Timeouts(), clock_offset_ns)
    live = LiveFlows(collector, points, applications)
    try:
        for flows, most in ((_FLOWS, 3.0), (5 * _FLOWS, None)):
            rows = ended(flows, time.time_ns(), 1)
            keys = np.zeros(flows, layout.KEY4)
            for name in ("tags", "port", "point"):
                keys[name] = rows["key"][name]
            keys["addr"] = rows["key"]["addr"][:, :, :4]
            counted = rows["flow"].copy()
            counted["ended"], counted["first"], counted["last"] = 0, time.monotonic_ns(), time.monotonic_ns()
            syscall.map_update_batch(program._main.maps["flows4"], keys, counted)
            collector.drain()
            drained = _cpu(collector.drain)
            collector.drain_since = lambda _: None  # type: ignore[method-assign]
            for name, question in (
                ("Has(Network.A)", FlowsQuestion(term=_FEW)),
                ("HasEither(Network)", FlowsQuestion(term=_EITHER)),
                ("ten largest", FlowsQuestion(sort="Metric.ABBytes", descending=True, limit=10)),
            ):
                found = sum(len(part) for part in live.answer(question))
                spent = _cpu(lambda asked=question: [*live.answer(asked)])  # type: ignore[misc]
                limit = most if name == "Has(Network.A)" else None
                note = f"{found} found; the reading of the kernel before it: {drained * 1e3:.1f} ms"
                yield Line(f"one agent, {flows:,} flows: {name}", spent * 1e3, "ms of CPU", most=limit, note=note)
            del collector.drain_since
    finally:
        program.close()


def remembered() -> Iterator[Line]:
    """An hour (BENCH_LONG=1: six) of 20,000 flows a minute, reported each second, written each second."""
    minutes = 360 if os.environ.get("BENCH_LONG") else 60
    begun = time.time_ns() // _SECOND * _SECOND - minutes * 60 * _SECOND
    now = [begun]
    points, applications = _points(), Applications()
    processes = [Process(100 + n, f"p{n}", f"/usr/bin/p{n}", f"/system.slice/p{n}.service") for n in range(30)]

    def known(cookies: NDArray[Any]) -> dict[int, Known]:
        return {one: Known(processes[one % 30], 120_000 + one % 977, "closed", 0) for one in cookies.ravel().tolist() if one}

    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), 1 << 30, minutes * 60 + 60, {KIND: GROWS}, lambda: now[0])
        recorder = FlowRecorder(history, points, None, known)
        live: Any = Nothing()
        asked = FlowHistory(history, recorder, live, applications, 400, lambda: now[0])
        spent, rows = 0.0, ended(_FLOWS, begun, 0)
        every = np.ones(_FLOWS, np.bool_)
        sample = None
        for second in range(minutes * 60):
            now[0] = begun + second * _SECOND
            minute, part = divmod(second, 60)
            if not part:
                rows = ended(_FLOWS, now[0] + 60 * _SECOND, minute, like=rows if minute % 10 else None)
            some = rows[part * _FLOWS // 60 : (part + 1) * _FLOWS // 60]
            sample = some[0] if second == minutes * 30 else sample
            before = time.thread_time()
            recorder.take(Batch(some, every[: len(some)], now[0]))
            history.write()
            spent += time.thread_time() - before
        history.stop()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        history.start()
        records = minutes * _FLOWS
        yield Line("history: bytes of a record on disk", size / records, "bytes", note=f"{records:,} records, {size >> 20} MiB")
        yield Line("history: CPU of a record, written and joined", spent / records * 1e6, "µs")
        yield Line("… of one core at 20,000 flows a minute", spent / minutes / 60 * 100, "%")
        assert sample is not None
        middle = (begun + minutes * 30 * _SECOND) // 1_000_000
        tracking = Compare("TrackingID", "within", (sample["tracking"].tobytes().hex(),))
        for name, when, term in (
            ("a moment, Has(Network.A)", Range(middle, middle), _FEW),
            ("five minutes, Has(Network.A)", Range(middle - 300_000, middle), _FEW),
            ("all of it, Has(TrackingID)", Range(begun // 1_000_000, now[0] // 1_000_000), tracking),
        ):
            question = FlowsQuestion(when, term=term)
            found = sum(map(len, _asked(asked, question)()))
            spent = _cpu(_asked(asked, question), 5)
            yield Line(f"history: {name}", spent * 1e3, "ms of CPU", note=f"{found} found")
        history.stop()


def _asked(history: FlowHistory, question: FlowsQuestion) -> Callable[[], list[Any]]:
    assert question.when
    when = question.when
    return lambda: [*history.answer(question, when)]


class Nothing:
    """No flow is there now."""

    def rows(self, *_: object) -> NDArray[Any]:
        return np.zeros(0, ROW)

    def shown(self, *_: object) -> Iterator[Any]:
        return iter(())

    def still(self) -> AbstractContextManager[object]:
        return nullcontext()


def _cpu(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Seconds, the median of some."""
    spent = []
    for _ in range(rounds):
        before = time.thread_time()
        work()
        spent.append(time.thread_time() - before)
    return statistics.median(spent)


def ended(count: int, at: int, seed: int, like: NDArray[Any] | None = None) -> NDArray[Any]:
    """Records of short TCP and UDP flows that ended in the minute before ``at`` (ns), in the order of their ends.

    ``like``: with the counters and, wrongly, the identities of these, which is quicker.
    """
    draw = np.random.default_rng(seed)
    rows = np.zeros(count, ROW) if like is None else like.copy()
    flow, keys = rows["flow"], rows["key"]
    rows["id"] = flow["id"] = layout.FIRST_ID + np.arange(count) + seed * count
    keys["port"][:, 0] = draw.integers(32768, 60999, count)
    uptime = 5_000 * _SECOND
    last = np.sort(draw.integers(0, 15_000, count)) * _TICK
    lasted = (draw.exponential(3, count) * 250).astype(np.int64) * _TICK
    rows["offset"] = at - uptime - 60 * _SECOND
    flow["last"], flow["first"] = uptime + last, uptime + last - lasted
    rows["start"] = rows["offset"] + flow["first"].astype(np.int64)
    rows["previous_at"], rows["reported_at"] = rows["start"], rows["offset"] + flow["last"].astype(np.int64)
    flow["socket"][:, 0] = rows["id"] * 2
    if like is not None:
        return rows
    proto = draw.choice([6, 6, 6, 17], count)
    tcp = proto == 6
    keys["tags"], rows["family"], rows["point"] = proto << 8, 4, draw.integers(1, 4, count)
    keys["point"] = rows["point"]
    keys["addr"][:, :, 0] = 10
    keys["addr"][:, 0, 2], keys["addr"][:, 0, 3] = draw.integers(0, 4, count), draw.integers(1, 250, count)
    keys["addr"][:, 1, 2], keys["addr"][:, 1, 3] = 9, draw.integers(1, 20, count)
    keys["port"][:, 1] = draw.choice([80, 443, 53, 5432, 9092], count)
    flow["dir"]["packets"] = draw.integers(3, 60, (count, 2))
    flow["dir"]["bytes"] = flow["dir"]["packets"] * draw.integers(60, 1400, (count, 2)).astype(np.uint64)
    flow["merged"], rows["reported"] = flow["dir"]["packets"] // np.uint64(3), flow["dir"]
    flow["rtt"][:, 0] = np.where(tcp, draw.integers(50_000, 3_000_000, count), 0)
    flow["rtt"][:, 1] = np.where(tcp, draw.integers(5_000, 300_000, count), 0)
    flow["smoothed_rtt"] = np.where(tcp[:, None], draw.integers(50_000, 3_000_000, (count, 2)), 0)
    flow["asked"][:, 0] = np.where(tcp, flow["first"], 0)
    flow["fin"] = np.where(tcp, lasted // 1_000_000 + 1, 0)[:, None]
    flow["tcp_flags"], flow["ttl"], flow["syn_ttl"] = np.where(tcp, 0x1B, 0)[:, None], draw.choice([63, 64], (count, 2)), 64
    flow["mac"], flow["ethertype"] = draw.integers(0, 3, (count, 12)), 0x0800
    flow["ended"], flow["initiator"], flow["info"] = tcp, 1, 1
    identify(rows, _points())
    return rows
