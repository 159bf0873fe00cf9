"""The flow table on real maps, written as the kernel's program would; the clock is the test's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.needs import root

from exporters.bpf import layout, syscall
from exporters.bpf.libbpf import LibbpfLoader
from exporters.bpf.program import FlowProgram
from exporters.flows.applications import Applications
from exporters.flows.collector import FlowsCollector
from exporters.flows.points import Point, Points
from exporters.flows.query import Query
from exporters.flows.table import FlowTable, Growth, Rows, Timeouts
from exporters.flows.totals import Totals

pytestmark = pytest.mark.kernel

MAX_FLOWS = 2048
SECOND = 1_000_000_000


class Bench:
    """A program's maps, and a table that reads them."""

    def __init__(self) -> None:
        self.program = FlowProgram(LibbpfLoader(), max_flows=MAX_FLOWS, max_points=4)
        self.now = 1_000 * SECOND
        self.growth: list[Growth] = []
        self.ends: list[tuple[NDArray[np.intp], NDArray[np.uint64]]] = []
        points, applications = Points(zero=Point("test0", "", "a-tid")), Applications()
        self.totals = Totals(points, applications, time.time_ns())
        self.table = FlowTable(
            self.program, points, self.totals, Timeouts(update=10), lambda: self.now, lambda: 10**18, growth=(self,)
        )

    def grew(self, growth: Growth) -> None:
        self.growth.append(growth)

    def ended(self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows]) -> None:
        self.ends.append((slots, records(slots)["id"]))

    def write(self, ids: range | list[int], *, packets: int = 1, wide: bool = False, **fields: Any) -> None:
        """Set UDP flows by number: packets of 100 bytes, all in the key's first direction."""
        keys = np.zeros(len(ids), layout.KEY6 if wide else layout.KEY4)
        flows = np.zeros(len(ids), layout.FLOW)
        numbers = np.array(list(ids))
        keys["tags"] = 17 << 8
        keys["port"][:, 0], keys["port"][:, 1] = numbers % 60_000, 60_001 + numbers // 60_000
        keys["addr"][:, 1, 0] = 9
        flows["id"] = layout.FIRST_ID + numbers
        flows["dir"]["packets"][:, 0], flows["dir"]["bytes"][:, 0] = packets, packets * 100
        flows["first"] = flows["last"] = self.now
        flows["hooks"] = 1
        for name, value in fields.items():
            flows[name] = value
        syscall.map_update_batch(self.program._main.maps["flows6" if wide else "flows4"], keys, flows)

    def entries(self) -> int:
        return sum(len(part.flows) for part in self.program.entries())

    def counted(self, name: str) -> float:
        return sum(value for family in self.totals.families() if family.metric.name == name for _, value in family.samples)


@pytest.fixture
def bench() -> Iterator[Bench]:
    root()
    made = Bench()
    yield made
    made.program.close()


def test_growth_reaches_totals_and_listeners_once(bench: Bench) -> None:
    for packets in (1, 5, 5, 9):
        bench.write(range(300), packets=packets)
        bench.write(range(300, 400), packets=packets, wide=True)
        bench.table.drain()
        bench.now += SECOND

    assert bench.counted("skytrail_flow_packets_total") == 400 * 9
    assert bench.counted("skytrail_flow_bytes_total") == 400 * 900
    assert bench.counted("skytrail_flows_new_total") == 400
    assert sum(int(growth.packets.sum()) for growth in bench.growth) == 400 * 9
    assert sum(int(growth.bytes.sum()) for growth in bench.growth) == 400 * 900
    last = bench.growth[-1]
    rows = last.rows(np.arange(2))
    assert rows["id"].tolist() == last.flows["id"][:2].tolist()
    assert rows["identified"].all()
    assert last.records(last.slots)["id"].tolist() == last.flows["id"].tolist()


def test_outputs_get_the_sockets_of_ends_that_only_receive(bench: Bench) -> None:
    def ends(rows: Rows) -> NDArray[np.uint64]:
        return rows["flow"]["socket"] + np.array([0, 70], np.uint64)

    got: list[tuple[int, int]] = []
    collector = FlowsCollector(bench.program, Points(4), Applications(), Timeouts(), lambda: 10**18, ends=ends)
    collector.add_sink(lambda batch: got.extend(map(tuple, batch.rows["flow"]["socket"].tolist())))
    bench.write([1], socket=(5, 0))
    collector.drain()
    assert len(collector.flows(Query())) == 1
    collector.start()
    collector.stop()
    assert set(got) == {(5, 70)}


def test_a_listener_knows_a_flow_by_its_slot_until_it_ends(bench: Bench) -> None:
    """Random comings and goings: an id never has two slots, nor a slot two ids, before it is said that the first ended."""
    chance = np.random.default_rng(1)
    slot_of: dict[int, int] = {}
    begun = 0
    for _ in range(60):
        bench.write(range(begun, begun + 20))
        begun += 20
        bench.growth.clear()
        bench.ends.clear()
        bench.table.drain()
        for growth in bench.growth:
            for slot, number in zip(growth.slots.tolist(), growth.flows["id"].tolist(), strict=True):
                assert slot_of.setdefault(number, slot) == slot
        for slots, ids in bench.ends:
            assert [slot_of.pop(number) for number in ids.tolist()] == slots.tolist()
        assert len(set(slot_of.values())) == len(slot_of) == len(bench.table)
        bench.now += int(chance.integers(1, 40)) * SECOND
    assert len(slot_of) < begun


def test_packet_that_was_half_counted_is_read_again(bench: Bench) -> None:
    """The program adds a packet first, then its bytes, then what the packet tells."""
    bench.write([1], packets=3)
    bench.table.drain()
    torn = [(bench.now, 4, 300, 0), (bench.now, 4, 400, 7)]
    for last, packets, size, ttl in torn:
        bench.now += SECOND // 100
        counts = np.zeros((1, 2), layout.COUNTS)
        counts["packets"][0, 0], counts["bytes"][0, 0] = packets, size
        bench.write([1], dir=counts, last=last, ttl=(ttl, 0))
        bench.table.drain()

    [row] = bench.table.rows()
    assert row["flow"]["ttl"].tolist() == [7, 0]
    assert row["flow"]["dir"]["bytes"].tolist() == [400, 0]
    assert bench.counted("skytrail_flow_bytes_total") == 400


def test_idle_flow_is_marked_read_once_more_and_deleted(bench: Bench) -> None:
    bench.write(range(10))
    bench.table.drain()
    bench.now += 31 * SECOND
    bench.table.drain()
    assert bench.table.closing == 10
    bench.write(range(10), packets=2, state=layout.CLOSING, last=bench.now)  # what came until it was marked
    bench.now += SECOND

    batch = bench.table.drain()

    assert batch.ended.tolist() == [True] * 10
    assert (len(bench.table), bench.entries()) == (0, 0)
    assert bench.counted("skytrail_flow_packets_total") == 20
    assert bench.counted("skytrail_flows_ended_total") == 10


def test_flow_closed_by_a_new_syn_waits_for_who_still_counts_on_it(bench: Bench) -> None:
    bench.write([5])
    bench.table.drain()
    bench.write([5], packets=2, state=layout.CLOSING)
    bench.now += SECOND
    assert not bench.table.drain().ended.any()
    bench.write([5], packets=3, state=layout.CLOSING)
    bench.now += SECOND

    batch = bench.table.drain()

    assert batch.ended.tolist() == [True]
    assert batch.rows["flow"]["dir"]["packets"].tolist() == [[3, 0]]
    assert bench.counted("skytrail_flow_packets_total") == 3


def test_full_map_keeps_room_by_ending_what_was_idle_longest(bench: Bench) -> None:
    bench.write(range(1000), last=bench.now - 20 * SECOND)
    bench.write(range(1000, 2000))
    bench.table.drain()
    # 2,000 came at once: half of the map is to be free when the next come
    assert bench.table.closing == 2000 - MAX_FLOWS // 2
    bench.now += SECOND
    bench.table.drain()

    left = set((bench.table.rows()["id"] - layout.FIRST_ID).tolist())
    assert len(left) == bench.entries() == MAX_FLOWS // 2
    assert left >= set(range(1000, 2000))
    assert bench.table.counters.evicted == 976
    assert bench.counted("skytrail_flow_packets_total") == 2000


def test_update_is_due_only_for_what_grew(bench: Bench) -> None:
    updates = []
    for packets, grown in ((1, [0, 1, 2, 3]), (5, [1, 2]), (5, [])):
        bench.write(grown, packets=packets)
        bench.table.drain()
        bench.now += 10 * SECOND
        updates.append(bench.table.drain())

    assert [sorted((batch.rows["id"] - layout.FIRST_ID).tolist()) for batch in updates] == [[0, 1, 2, 3], [1, 2], []]
    bench.write([3], packets=9)
    assert (bench.table.drain().rows["id"] - layout.FIRST_ID).tolist() == [3]  # long due
    second = updates[1].rows
    assert second["previous"]["packets"][:, 0].tolist() == [1, 1]
    assert second["reported"]["packets"][:, 0].tolist() == [5, 5]
    assert set(second["previous_at"].tolist()) == {updates[0].now}
    assert set(second["reported_at"].tolist()) == {updates[1].now}


def test_order_and_rows_of_flows_that_went_meanwhile(bench: Bench) -> None:
    for number in range(6):
        bench.write([number], packets=number + 1)
    bench.table.drain()
    ids = bench.table.order(lambda rows: rows["flow"]["dir"]["packets"].sum(axis=1))
    assert (ids - layout.FIRST_ID).tolist() == [5, 4, 3, 2, 1, 0]
    bench.now += 31 * SECOND
    bench.write([0, 3], packets=50)
    for _ in range(2):
        bench.table.drain()
        bench.now += SECOND

    assert (bench.table.rows(ids)["id"] - layout.FIRST_ID).tolist() == [3, 0]
    assert bench.table.points_in_use() == {0}
    assert bench.table.active() == [(0, 2, 2)]  # point, UDP, flows
    assert bench.table.sizes() == (2, 0)
