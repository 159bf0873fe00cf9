"""The history of flows: what is restored is what was shown; ranges against a plain rule; from memory and from disk."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.flowrows import NOW, SECOND, points, random_rows

from exporters.flows.applications import Applications
from exporters.flows.collector import add_fate
from exporters.flows.identify import identify
from exporters.flows.records import Renderer
from exporters.flows.table import ROW, Batch, Rows, turn_window
from exporters.history import flows as history_of_flows
from exporters.history.flows import GROWS, KIND, FlowHistory, FlowRecorder, restore
from exporters.history.flows import Kept as KeptTable
from exporters.history.packing import Packed, joined, pack
from exporters.history.store import History
from exporters.sockets.known import Known
from exporters.sockets.processes import NOBODY, Process
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import Compare, Every, Not, Term, compiled, value_at
from skytrail.errors import UsageError

Flow = dict[str, Any]
Update = tuple[int, int, int, Flow]
"""A record: its window, when it was told, and as what."""
MS = 1_000_000
_KNOWN = [
    Known(Process(7, "näme", "/bin/x", "/pod/a"), 0, None, 0),
    Known(Process(8, "y"), 120_000, "reset", 3),
    Known(NOBODY, None, "refused", None),
]


def known(cookies: NDArray[Any]) -> Mapping[int, Known]:
    return {cookie: _KNOWN[cookie % 3] for cookie in cookies.reshape(-1).tolist() if cookie}


def described(cgroup: str) -> Mapping[str, Mapping[str, str]]:
    return {"Container": {"Name": "c1", "ID": "abc"}, "Pod": {"Name": "p"}} if cgroup == "/pod/a" else {}


def fates(rows: NDArray[Any]) -> Sequence[Mapping[str, Any]]:
    return [{"Drops": {"NO_SOCKET": int(one)}, "ABSYNTimeouts": 2} if one % 5 == 0 else {} for one in rows["id"]]


def drawn(count: int, seed: int = 1, *, at: int = NOW) -> Rows:
    rows = random_rows(count, seed, at=at)
    rows["flow"]["socket"] = np.random.default_rng(seed).choice([0, 0, 1, 2, 3], (count, 2))
    rows["reported"] = rows["flow"]["dir"]
    return rows


def shown(rows: Rows, ended: NDArray[np.bool_]) -> list[Flow]:
    """As whoever asked at the time was told."""
    flows = Renderer(points(), Applications(), 1, described).render(rows, ended=ended, sockets=known(rows["flow"]["socket"]))
    for flow, fate in zip(flows, fates(rows), strict=True):
        add_fate(flow, fate)
    return flows


class NoFlows:
    """A table without flows."""

    def rows(self, _question: FlowsQuestion, _end: int, _asked: float) -> Rows:
        return np.zeros(0, ROW)

    def shown(self, _rows: Rows, _question: FlowsQuestion) -> Iterator[Flow]:
        return iter(())

    def pending(self, _question: FlowsQuestion, _begin: int, _end: int, _asked: float) -> Rows:
        return np.zeros(0, ROW)

    def still(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()


class Reporting(NoFlows):
    """A table with flows of which each is reported, and leaves, as soon as the table is not held still."""

    def __init__(self, kept: Kept, rows: Rows) -> None:
        self._kept, self._left = kept, rows

    def rows(self, _question: FlowsQuestion, _end: int, _asked: float) -> Rows:
        return self._left

    def pending(self, _question: FlowsQuestion, _begin: int, _end: int, _asked: float) -> Rows:
        return self._left

    def shown(self, rows: Rows, _question: FlowsQuestion) -> Iterator[Flow]:
        return iter(shown(rows, np.zeros(len(rows), np.bool_)))

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        yield
        self.report()

    def report(self) -> None:
        gone, self._left = self._left, self._left[:0]
        self._kept.recorder.take(Batch(gone, np.ones(len(gone), np.bool_), self._kept.now))


class Kept:
    """A history of drawn records, and all that was shown of them."""

    def __init__(self, folder: Path, *, horizon: float = 400.0) -> None:
        self.now = NOW
        self.history = History(folder, 64 << 20, 3600, {KIND: GROWS}, lambda: self.now)
        self.recorder = FlowRecorder(self.history, points(), None, known, described, fates)
        live: Any = NoFlows()
        self.asked = FlowHistory(self.history, self.recorder, live, Applications(), horizon, lambda: self.now)
        self.updates: list[Update] = []

    def take(self, rows: Rows, ended: NDArray[np.bool_]) -> None:
        self.recorder.take(Batch(rows, ended, self.now))
        windows = rows["previous_at"].tolist(), rows["reported_at"].tolist()
        self.updates += zip(*windows, [self.now] * len(rows), shown(rows, ended), strict=True)

    def ask(self, begin: int, end: int, term: Term | None = None, **more: Any) -> list[Flow]:
        question = FlowsQuestion(Range(begin, end), term=term, **more)
        assert question.when
        return [flow for part in self.asked.answer(question, question.when) for flow in part]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_restored_is_what_was_shown(kept: Kept, packed: bool) -> None:
    parts = [drawn(300, seed) for seed in (1, 2)]
    ended = [np.arange(300) % 3 == 0, np.zeros(300, np.bool_)]
    tables = [kept.recorder.table(Batch(rows, ends, NOW)) for rows, ends in zip(parts, ended, strict=True)]
    table = joined(tables)
    found = restore(KeptTable(Packed(pack(table, GROWS)) if packed else table), np.arange(600), Applications())
    expected = [
        flow for rows, ends in zip(parts, ended, strict=True) for flow in shown(rows, ends | (rows["flow"]["ended"] > 0))
    ]
    assert list(found) == expected


def lives(kept: Kept, count: int, draw: random.Random) -> None:
    """Flows that come, grow and go in ten minutes, reported each minute while they grow, in the order of time."""
    rows = drawn(count, draw.randrange(1000))
    rows["flow"]["ended"] = 0
    uptime = 5000 * SECOND
    rows["offset"] = NOW - uptime
    begun = [draw.randrange(600) for _ in range(count)]
    pauses = [draw.choice([0, 0, 130]) for _ in range(count)]
    length = [draw.choice([0, 3, 70, 200, 400]) for _ in range(count)]
    rows["flow"]["first"] = rows["flow"]["last"] = [uptime + one * SECOND for one in begun]
    rows["start"] = rows["reported_at"] = rows["previous_at"] = [NOW + one * SECOND for one in begun]
    rows["reported"], rows["previous"], rows["identified"] = 0, 0, False
    rows["flow"]["dir"] = 0
    rows["flow"]["dir"]["packets"][:, 0] = 1
    identify(rows, points())
    ended = np.zeros(count, np.bool_)
    for second in range(0, 1100, 7):
        kept.now = NOW + second * SECOND
        due, over = [], []
        for at in range(count):
            if second < begun[at] or ended[at]:
                continue
            age = second - begun[at]
            quiet = pauses[at] and 50 < age < 50 + pauses[at]
            if age <= length[at] and not quiet:
                rows["flow"]["last"][at] = uptime + second * SECOND
                rows["flow"]["dir"]["packets"][at] += np.array((1, draw.randrange(3)), np.uint64)
                rows["flow"]["dir"]["bytes"][at] += np.array((100, 7), np.uint64)
            grown = (rows["flow"]["dir"]["packets"][at] != rows["reported"]["packets"][at]).any()
            if age > length[at] + 35:
                over.append(at)
            elif grown and kept.now - rows["reported_at"][at] >= 60 * SECOND:
                due.append(at)
        chosen = np.array(due + over, np.intp)
        if not len(chosen):
            continue
        ended[over] = True
        batch = rows[chosen]
        batch["previous"], batch["previous_at"] = batch["reported"], batch["reported_at"]
        until = np.where(ended[chosen], batch["offset"] + batch["flow"]["last"].astype(np.int64), kept.now)
        batch["reported"], batch["reported_at"] = batch["flow"]["dir"], np.maximum(until, batch["reported_at"])
        rows[chosen] = batch
        kept.take(batch.copy(), ended[chosen])
        if draw.random() < 0.2:
            kept.history.write()


def as_of(updates: list[Update], begin: int, end: int) -> list[Flow]:
    """The rule, plainly: of flows that lived the last record until the end, else the first after it."""
    found: dict[str, list[tuple[int, Flow]]] = {}
    for _, reported, told, flow in updates:
        waited = flow["FinishType"] == "TIMEOUT" and told > end * MS + MS - 1
        found.setdefault(flow["UUID"], []).append((reported, {**flow, "FinishType": "NOT_FINISHED"} if waited else flow))
    answer = []
    for records in found.values():
        records.sort(key=lambda one: one[0])
        if records[0][1]["Start"] <= end and any(flow["Last"] >= begin for _, flow in records):
            until = [flow for reported, flow in records if reported <= end * MS + MS - 1]
            answer.append(until[-1] if until else records[0][1])
    return answer


def same(found: list[Flow], expected: list[Flow]) -> None:
    def by_uuid(flow: Flow) -> str:
        return str(flow["UUID"])

    assert sorted(found, key=by_uuid) == sorted(expected, key=by_uuid)


_TERMS: list[Callable[[list[Flow]], Term | None]] = [
    lambda _: None,
    lambda flows: Compare("UUID", "within", (flows[0]["UUID"],)),
    lambda flows: Compare("TrackingID", "within", (flows[0]["TrackingID"], flows[1]["TrackingID"])),
    lambda flows: Compare("TrackingID", "regex", (f"{flows[0]['TrackingID'][:2]}.*",)),
    lambda _: Compare("Network.A", "range", ("10.0.0.0/30",)),
    lambda _: Compare("Metric.ABPackets", "gt", (9,)),
    lambda _: Every((Compare("Process.A.Name", "within", ("näme",)), Not(Compare("Interface", "within", ("eth0",))))),
    lambda _: Compare("LastUpdateMetric.Start", "there"),
    lambda _: Compare("FinishType", "without", ("NOT_FINISHED",)),
    lambda _: Compare("FinishType", "within", ("NOT_FINISHED",)),
    lambda _: Compare("Drops", "there"),
    lambda _: Not(Compare("Drops.NO_SOCKET", "gt", (20,))),
    lambda _: Compare("DropsAt", "missing"),
]


@pytest.mark.parametrize("seed", range(4))
def test_ranges_and_terms_are_those_of_the_plain_rule(kept: Kept, seed: int) -> None:
    draw = random.Random(seed)
    lives(kept, 60, draw)
    flows = [flow for *_, flow in kept.updates]
    began = NOW // MS
    some = 0
    for _ in range(40):
        begin = began + draw.randrange(-5_000, 1_000_000)
        end = begin + draw.choice([0, 0, 1, 5_000, 300_000])
        term = draw.choice(_TERMS)(draw.sample(flows, 2))
        test = compiled(term) if term else lambda _: True
        expected = [flow for flow in as_of(kept.updates, begin, end) if test(flow)]
        same(kept.ask(begin, end, term), expected)
        some += len(expected)
        within = [
            flow
            for previous, reported, _, flow in kept.updates
            if reported >= begin * MS and previous <= end * MS + MS - 1 and test(flow)
        ]
        found = kept.ask(begin, end, term, updates=True)
        same(found, within)
        for uuid in {flow["UUID"] for flow in found}:
            times = [flow["LastUpdateMetric"]["Last"] for flow in found if flow["UUID"] == uuid]
            assert times == sorted(times)
    assert some, "nothing was found at all"


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_what_is_reported_while_an_answer_is_made_is_told_once(kept: Kept, updates: bool, before: bool) -> None:
    older, rows = drawn(700, 1), drawn(20, 2)
    kept.take(older, np.zeros(700, np.bool_))
    live: Any = Reporting(kept, rows)
    kept.asked._live = live
    if before:
        live.report()
    begin, end = NOW // MS - 100_000, NOW // MS
    question = FlowsQuestion(Range(begin, end), updates=updates)
    answer = kept.asked.answer(question, Range(begin, end))
    found = next(answer)
    live.report()
    found += [flow for part in answer for flow in part]
    told = [flow["UUID"] for flow in found]
    assert len(set(told)) == len(told) == len(kept.ask(begin, end, updates=updates))


@pytest.mark.parametrize("seconds", [100, 200, 309])
def test_a_moment_at_which_a_flow_waited_for_packets_has_it_whenever_it_is_asked(kept: Kept, seconds: int) -> None:
    """A TCP flow without packets from 10 s on, that leaves the table after 310 s."""
    rows = drawn(1)
    for name in ("ended", "fin", "rst"):
        rows["flow"][name] = 0
    uptime = 5_000 * SECOND
    rows["offset"], rows["flow"]["first"], rows["flow"]["last"] = NOW - uptime, uptime, uptime + 10 * SECOND
    rows["start"] = rows["reported_at"] = rows["previous_at"] = NOW
    rows["reported"], rows["identified"] = 0, False
    identify(rows, points())
    for told, over in ((60, False), (310, True)):
        kept.now = NOW + told * SECOND
        turn_window(rows, rows["offset"] + rows["flow"]["last"].astype(np.int64) if over else np.array([kept.now]))
        kept.take(rows.copy(), np.array([over]))
        if kept.now >= NOW + seconds * SECOND or not over:
            moment = NOW // MS + seconds * 1_000
            [found] = kept.ask(moment - 600_000, moment)
            assert found["FinishType"] == "NOT_FINISHED"
    [found] = kept.ask(NOW // MS, NOW // MS + 310_000)
    assert found["FinishType"] == "TIMEOUT"


def test_order_limit_nodes_and_fields(kept: Kept) -> None:
    kept.take(drawn(400), np.zeros(400, np.bool_))
    begin, end = NOW // MS - 100_000, NOW // MS
    everything = kept.ask(begin, end)
    by_bytes = sorted((flow["Metric"]["ABBytes"] for flow in everything), reverse=True)
    found = kept.ask(begin, end, sort="Metric.ABBytes", descending=True, limit=7, fields=("Metric", "UUID"))
    assert [flow["Metric"]["ABBytes"] for flow in found] == by_bytes[:7]
    assert all(flow.keys() == {"Metric", "UUID"} for flow in found)
    ports = [flow["Transport"]["A"] for flow in everything if "Transport" in flow]
    found = kept.ask(begin, end, sort="Transport.A")
    assert [flow["Transport"]["A"] for flow in found[: len(ports)]] == sorted(ports)
    assert not any("Transport" in flow for flow in found[len(ports) :])
    of_node = kept.ask(begin, end, nodes=("tid-b",))
    same(of_node, [flow for flow in everything if flow["NodeTID"] == "tid-b"])
    assert 0 < len(of_node) < len(everything)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", ["Transport.Protocol", "Metric.ABPackets", "TCPMetric.SynAckRTT"])
def test_of_equals_the_first_by_uuid_are_told(kept: Kept, key: str, descending: bool) -> None:
    kept.take(drawn(400), np.zeros(400, np.bool_))
    begin, end = NOW // MS - 100_000, NOW // MS
    everything = sorted(kept.ask(begin, end), key=lambda flow: str(flow["UUID"]))
    there = [flow for flow in everything if value_at(flow, key) is not None]
    there.sort(key=lambda flow: value_at(flow, key), reverse=descending)
    expected = there + [flow for flow in everything if value_at(flow, key) is None]
    assert len({str(value_at(flow, key)) for flow in there}) < len(there)
    for limit in (3, len(there) + 5, 0):
        found = kept.ask(begin, end, sort=key, descending=descending, limit=limit)
        assert [flow["UUID"] for flow in found] == [flow["UUID"] for flow in expected[: limit or None]]


def test_a_run_s_flows_are_not_those_of_another_with_the_same_numbers(kept: Kept) -> None:
    rows = drawn(5)
    kept.take(rows, np.ones(5, np.bool_))
    kept.recorder.run += 1
    later = drawn(5, at=NOW + 10 * SECOND)
    kept.take(later, np.ones(5, np.bool_))
    assert len(kept.ask(NOW // MS - 100_000, NOW // MS + 10_000)) == 10


def test_of_all_flows_only_those_that_lost_packets_are_rendered(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def counting(table: KeptTable, places: NDArray[np.int64], applications: Applications) -> Iterator[Flow]:
        rendered.append(len(places))
        return restore(table, places, applications)

    kept.take(drawn(300), np.ones(300, np.bool_))
    monkeypatch.setattr(history_of_flows, "restore", counting)
    found = kept.ask(0, 2 * NOW // MS, Compare("Drops", "there"))
    same(found, [flow for *_, flow in kept.updates if "Drops" in flow])
    assert sum(rendered) == len(found) > 0


def test_too_many_flows_are_refused(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_of_flows, "_MOST", 10)
    kept.take(drawn(11), np.zeros(11, np.bool_))
    with pytest.raises(UsageError, match="more than 10 flows: ask for a shorter time"):
        kept.ask(NOW // MS - 100_000, NOW // MS)


def test_a_condition_that_cannot_be_is_refused(kept: Kept) -> None:
    with pytest.raises(UsageError, match="'like' is no relation"):
        kept.ask(0, 1, Compare("UUID", "like", ("x",)))
