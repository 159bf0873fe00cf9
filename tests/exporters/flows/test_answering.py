"""Questions about flows now, to a real table, against a plain selection of all that it shows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.needs import root

from exporters.bpf import layout, syscall
from exporters.bpf.libbpf import LibbpfLoader
from exporters.bpf.program import FlowProgram
from exporters.flows.answering import PART_ROWS, LiveFlows
from exporters.flows.applications import Applications
from exporters.flows.collector import FlowsCollector
from exporters.flows.names import FlowNames
from exporters.flows.names import Names as Owners
from exporters.flows.points import Point, Points
from exporters.flows.query import Query
from exporters.flows.table import Rows, Timeouts
from skytrail.addresses.book import Book, Changes, Entry, Owner
from skytrail.asking.questions import FlowsQuestion
from skytrail.asking.terms import Compare, Either, Every, Not, Term, compiled
from skytrail.errors import UsageError
from skytrail.kernel.host import clock_offset_ns

pytestmark = pytest.mark.kernel

Flow = dict[str, Any]
FLOWS = 1_200


class Names(FlowNames):
    """That say how many rows they were asked for."""

    asked = 0

    def of(self, rows: Rows, among: NDArray[np.bool_] | None = None) -> Owners:
        self.asked += len(rows) if among is None else int(among.sum())
        return super().of(rows, among)


class Fates:
    """Of every hundredth flow packets were dropped; how many rows were asked about."""

    asked = 0

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        self.asked += len(rows)
        drops = {"Drops": {"NO_SOCKET": {"AB": 1, "BA": 0}}, "DropsAt": [{"Reason": "NO_SOCKET", "AB": 1, "BA": 0}]}
        return [drops if lost else {} for lost in self.dropped(rows).tolist()]

    @staticmethod
    def dropped(rows: Rows) -> NDArray[np.bool_]:
        return np.asarray(rows["key"]["port"][:, 0] % 100 == 0)


class Table:
    """A collector that reads maps which the test fills."""

    def __init__(self, book: Book | None = None) -> None:
        self.program = FlowProgram(LibbpfLoader(), max_flows=4096, max_points=8)
        points, applications = Points(), Applications()
        self.names = Names(book, points, "host/1", lambda: {"": "host/1"}) if book else None
        for name in ("eth0", "eth1"):
            points.add(Point(name, "", f"tid-{name}"))
        self.fates = Fates()
        self.collector = FlowsCollector(
            *(self.program, points, applications, Timeouts(), clock_offset_ns),
            names=self.names,
            fates=self.fates,
            dropped=self.fates.dropped,
        )
        self.live = LiveFlows(self.collector, points, applications)
        self.write(range(FLOWS))

    def write(self, numbers: range) -> None:
        draw = np.random.default_rng(5)
        count = len(numbers)
        keys, flows = np.zeros(count, layout.KEY4), np.zeros(count, layout.FLOW)
        keys["tags"] = draw.choice([6 << 8, 17 << 8], count)
        keys["point"] = draw.integers(1, 3, count)
        keys["addr"][:, :, 0], keys["addr"][:, :, 3] = 10, draw.integers(1, 30, (count, 2))
        keys["port"][:, 0] = 10_000 + np.array(numbers)
        keys["port"][:, 1] = draw.choice([53, 80], count)
        flows["id"] = layout.FIRST_ID + np.array(numbers)
        flows["dir"]["packets"] = draw.integers(1, 1000, (count, 2))
        flows["dir"]["bytes"] = flows["dir"]["packets"] * np.uint64(100)
        flows["first"] = flows["last"] = time.monotonic_ns()
        flows["rtt"][:, 0] = draw.choice([0, 5000], count)
        flows["reversed"], flows["info"] = draw.integers(0, 2, count), 1
        syscall.map_update_batch(self.program._main.maps["flows4"], keys, flows)

    def ask(self, **words: Any) -> list[Flow]:
        parts = list(self.live.answer(FlowsQuestion(**words)))
        assert all(0 < len(part) <= PART_ROWS for part in parts)
        return [flow for part in parts for flow in part]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    root()
    made = Table()
    yield made
    made.program.close()


def same(found: list[Flow], expected: list[Flow]) -> None:
    def by_uuid(flow: Flow) -> str:
        return str(flow["UUID"])

    assert sorted(found, key=by_uuid) == sorted(expected, key=by_uuid)


def test_terms_choose_as_on_what_is_shown(table: Table) -> None:
    shown = table.collector.flows(Query())
    assert len(shown) == FLOWS
    one = random.Random(1).choice(shown)
    terms: list[Term] = [
        Compare("Network.A", "within", (one["Network"]["A"],)),
        Either((Compare("Network.A", "within", ("10.0.0.7",)), Compare("Network.B", "within", ("10.0.0.7",)))),
        Compare("UUID", "within", (one["UUID"],)),
        Compare("TrackingID", "without", (one["TrackingID"],)),
        Not(Compare("Metric.RTT", "there")),
        Compare("CommunityID", "within", (one["CommunityID"],)),
        Compare("TCPMetric.ABFlags", "there"),
        Compare("Metric.ABBytes", "gte", (50_000,)),
        Compare("DropsAt", "there"),
        Compare("Drops", "missing"),
        Not(Compare("Drops.NO_SOCKET.AB", "gte", (1,))),
    ]
    for term in terms:
        expected = [flow for flow in shown if compiled(term)(flow)]
        assert 0 < len(expected) < FLOWS, term
        same(table.ask(term=term), expected)
    same(table.ask(nodes=("tid-eth1", "elsewhere")), [flow for flow in shown if flow["NodeTID"] == "tid-eth1"])
    assert table.ask(nodes=()) == []


@pytest.fixture(scope="module")
def named() -> Iterator[Table]:
    root()
    book = Book()
    entries = [Entry(bytes((10, 0, 0, at)), "", "", Owner("pod", f"p{at % 7}", "shop"), 0) for at in range(1, 20)]
    book.apply(Changes(tuple(entries)), 1)
    made = Table(book)
    yield made
    made.program.close()


def test_owners_choose_as_on_what_is_shown_and_only_of_flows_that_may_be_meant(named: Table) -> None:
    assert named.names
    shown = named.collector.flows(Query())
    of_pod = Compare("Owner.A.Name", "within", ("p3",))
    address = Compare("Network.A", "within", ("10.0.0.3",))
    terms: list[Term] = [
        of_pod,
        Not(of_pod),
        Either((of_pod, address)),
        Compare("Owner.B", "missing"),
        Every((of_pod, Compare("Owner.B.Namespace", "there"))),
    ]
    for term in terms:
        expected = [flow for flow in shown if compiled(term)(flow)]
        assert 0 < len(expected) < FLOWS, term
        same(named.ask(term=term), expected)
    named.names.asked = 0
    found = named.ask(term=Every((of_pod, address)))
    same(found, [flow for flow in shown if flow["Network"]["A"] == "10.0.0.3"])
    assert named.names.asked == 2 * len(found) > 0  # to choose them, and to show them
    sort = [flow["Owner"]["A"]["Name"] for flow in named.ask(sort="Owner.A.Name", limit=5)]
    assert sort == ["p0"] * 5


def test_of_all_flows_only_those_that_lost_packets_are_rendered(table: Table) -> None:
    table.fates.asked = 0
    found = table.ask(term=Compare("DropsAt", "there"), sort="Last", descending=True, limit=100)
    assert len(found) == FLOWS // 100
    assert table.fates.asked == len(found)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 7, FLOWS + 1])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Metric.ABBytes", lambda flow: flow["Metric"]["ABBytes"]),
        ("Metric.RTT", lambda flow: flow["Metric"].get("RTT")),
        ("Network.B", lambda flow: flow["Network"]["B"]),
        ("CommunityID", lambda flow: flow["CommunityID"]),
        ("TCPMetric.SynAckRTT", lambda _: None),
    ],
)
def test_order_and_limit(table: Table, key: str, value: Any, limit: int, descending: bool) -> None:
    flows = sorted(table.collector.flows(Query()), key=lambda flow: str(flow["UUID"]))
    there = sorted((flow for flow in flows if value(flow) is not None), key=value, reverse=descending)
    expected = [*there, *(flow for flow in flows if value(flow) is None)][: limit or None]
    found = table.ask(sort=key, descending=descending, limit=limit)
    assert [flow["UUID"] for flow in found] == [flow["UUID"] for flow in expected]


def test_fields_are_those_that_were_asked_for(table: Table) -> None:
    found = table.ask(fields=("UUID", "Metric", "ICMP"), limit=600)
    assert len(found) == 600
    assert all(flow.keys() == {"UUID", "Metric"} for flow in found)


def test_a_condition_that_cannot_be_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="takes 1 values, not 0"):
        table.ask(term=Compare("UUID", "lt"))


def test_what_was_counted_since_the_last_update_is_an_update_as_of_now(table: Table) -> None:
    now, question = time.time_ns(), FlowsQuestion(nodes=("tid-eth0",))
    found = list(table.live.shown(table.live.pending(question, 0, now, time.monotonic()), question))
    shown = {flow["UUID"]: flow for flow in table.ask(nodes=("tid-eth0",))}
    assert {flow["UUID"] for flow in found} == shown.keys()
    for flow in found:
        metric, update = flow["Metric"], flow["LastUpdateMetric"]
        assert {key: metric[key] for key in ("ABPackets", "ABBytes", "BAPackets", "BABytes")}.items() <= update.items()
        assert (update["Start"], update["Last"] >= now // 1_000_000) == (metric["Start"], True)
        assert shown[flow["UUID"]]["LastUpdateMetric"] is None  # the table itself has not turned its windows
    assert len(table.live.pending(FlowsQuestion(), now + 3600 * 10**9, now + 3600 * 10**9, time.monotonic())) == 0


def test_what_came_just_before_the_question_is_in_the_answer(table: Table) -> None:
    before = len(table.ask())
    for number in range(3):
        table.write(range(FLOWS + number, FLOWS + number + 1))
        assert len(table.ask()) == before + number + 1


def test_who_asked_before_a_reading_began_shares_it(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    drain = table.collector.drain
    monkeypatch.setattr(table.collector, "drain", lambda: (read.append(1), drain()))
    asked = time.monotonic()
    for _ in range(3):
        table.collector.drain_since(asked)
    assert len(read) == 1
