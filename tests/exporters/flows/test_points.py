"""Numbers of capture points: none is given to another as long as a record refers to it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exporters.bpf import layout
from exporters.flows.points import UNKNOWN, Point, Points

MOST = 6
devices = st.sampled_from([f"tid{n}" for n in range(8)])


class PointsMachine(RuleBasedStateMachine):
    """Devices come and go; records refer to numbers until they are read out."""

    def __init__(self) -> None:
        super().__init__()
        self.points = Points(MOST)
        self.here: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.records: set[int] = set()

    @rule(tid=devices)
    def come(self, tid: str) -> None:
        if tid in self.here:
            return
        added = self.points.add(Point("eth", "", tid))
        if added is None:
            assert len(self.here) + len(self.left) == MOST - 1
            assert tid not in self.left
            return
        number, fresh = added
        assert fresh == (tid not in self.left)
        assert number == self.left.pop(tid, number)
        assert number not in {0, *self.here.values(), *self.left.values()}
        assert not fresh or number not in self.records
        self.here[tid] = number

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        tid = data.draw(st.sampled_from(sorted(self.here)))
        self.left[tid] = self.here.pop(tid)
        self.points.remove(self.left[tid])

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def flow_begins(self, data: st.DataObject) -> None:
        self.records.add(data.draw(st.sampled_from(sorted(self.here.values()))))

    @rule(data=st.data())
    def records_end(self, data: st.DataObject) -> None:
        self.records = set(data.draw(st.lists(st.sampled_from(sorted(self.records)), unique=True)) if self.records else [])
        done = {number for number in self.left.values() if number not in self.records}
        assert self.points.forget(self.points.gone - self.records) == done
        assert self.points.forget(set(self.here.values())) == set()
        self.left = {tid: number for tid, number in self.left.items() if number not in done}

    @invariant()
    def names_are_kept_as_long_as_they_are_needed(self) -> None:
        named = {**self.here, **self.left}
        assert {tid: self.points.all[number].tid for tid, number in named.items()} == {tid: tid for tid in named}
        assert set(self.points.present()) == {0, *named.values()}
        assert self.points.gone == set(self.left.values())


TestPoints = PointsMachine.TestCase
TestPoints.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_a_device_that_comes_back_with_another_link_layer_is_another_point() -> None:
    points = Points(MOST)
    assert points.add(Point("t0", "", "tid", layout.LINK_RAW)) == (1, True)
    points.remove(1)
    assert points.add(Point("t0", "", "tid", layout.LINK_ETHERNET)) == (2, True)
    assert points.add(Point("t0", "", "tid", layout.LINK_RAW)) == (1, False)


def test_a_capture_file_chooses_its_numbers() -> None:
    points = Points(3)
    points.put(2, Point("eth2", "", "file:x/2"))
    points.put(3, Point("eth3", "", "file:x/3"))
    assert [point.name for point in points.all] == ["", "", "eth2"]


def test_number_zero_is_the_capture_files() -> None:
    zero = Point("trace.pcap", "", "file:trace.pcap")
    points = Points(1, zero)
    assert points.all == [zero]
    assert points.add(Point("eth0", "", "tid")) is None
    assert Points().all == [UNKNOWN]
