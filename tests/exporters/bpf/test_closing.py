"""Closing and deleting flows while packets come: nothing is lost between reading and deleting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support import frames
from support.frames import ACK, TCP, UDP
from support.lab import assert_balanced, snapshot

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram, Loader
from exporters.bpf.syscall import TestRun

pytestmark = pytest.mark.kernel

POINT = 1
SECONDS = 3.0


@pytest.fixture(scope="module")
def loaded(loader: Loader) -> Iterator[FlowProgram]:
    made = FlowProgram(loader, max_flows=4096, max_points=8)
    made.set_tunnel_ports({"vxlan": frozenset({4789})})
    yield made
    made.close()


@pytest.fixture
def program(loaded: FlowProgram) -> FlowProgram:
    """With empty maps, its capture point at zero."""
    left = snapshot(loaded)
    loaded.delete_flows(left.keys, left.family)
    loaded.set_point(POINT, layout.LINK_ETHERNET)
    return loaded


def _frames() -> list[bytes]:
    """Flows of both maps, one in a tunnel: few, so that the processors meet on them."""
    inner = frames.ethernet(*frames.ip("192.168.7.1", "192.168.7.2", TCP, frames.tcp(1, 2, ACK, b"inner")))
    plain = [frames.ip("10.0.0.1", "10.0.0.2", TCP, frames.tcp(50000, port, ACK)) for port in range(8080, 8084)]
    plain.append(frames.ip("2001:db8::1", "2001:db8::2", UDP, frames.udp(50000, 9, b"six")))
    plain.append(frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(50000, 4789, frames.vxlan(9, inner))))
    return [frames.ethernet(*packet) for packet in plain]


class Sender(threading.Thread):
    """Runs the program on one processor until it is told to stop; counts what it sent."""

    def __init__(self, entry: int, processor: int, sent: list[bytes]) -> None:
        super().__init__()
        self._entry, self._processor, self._sent = entry, processor, sent
        self.stop = threading.Event()
        self.packets = self.bytes = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            os.sched_setaffinity(0, {self._processor})
            run = TestRun(self._entry, 4096)
            while not self.stop.is_set():
                for frame in self._sent:
                    run.data[: len(frame)] = frame
                    run.run(len(frame), repeat=200)
                    self.packets += 200
                    self.bytes += 200 * len(frame)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


def test_closing_loses_nothing_while_all_processors_count(program: FlowProgram) -> None:
    entry = program.entry(POINT, 0)
    senders = [Sender(entry, processor, _frames()) for processor in sorted(os.sched_getaffinity(0))]
    for sender in senders:
        sender.start()
    final = np.zeros(2, np.int64)
    rounds = deleted = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = snapshot(program)
        live = found.flows["state"] == layout.LIVE
        program.close_flows(found.keys[live], found.flows["id"][live], found.family[live])
        last = snapshot(program)
        closed = last.flows["state"] == layout.CLOSING
        final += _outermost(last.keys[closed], last.flows[closed])
        program.delete_flows(last.keys[closed], last.family[closed])
        rounds += 1
        deleted += int(closed.sum())
    for sender in senders:
        sender.stop.set()
    for sender in senders:
        sender.join(30)
        assert sender.error is None
    os.close(entry)
    assert rounds > 20
    assert deleted > 100
    rest = snapshot(program)
    tally = program.points()[POINT]
    lost = tally["lost"]
    sent = [sum(sender.packets for sender in senders), sum(sender.bytes for sender in senders)]
    assert [int(tally["seen"]["skbs"].sum()), int(tally["seen"]["bytes"].sum())] == sent
    counted = final + _outermost(rest.keys, rest.flows)
    assert (counted + np.array([int(lost["segments"].sum()), int(lost["bytes"].sum())], np.uint64)).tolist() == sent
    # another record of a key takes what comes while one is closed: a reason is needed only where all are
    reasons = dict(zip(layout.LOST_REASONS, lost["skbs"].tolist(), strict=True))
    assert reasons.pop("closing") < sent[0] / 100
    assert not any(reasons.values())


def _outermost(keys: np.ndarray, flows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]  # records
    counts = flows["dir"][keys["parent"] == 0]
    return np.array([counts["packets"].sum(), counts["bytes"].sum()], np.int64)


def _send(program: FlowProgram, frame: bytes, times: int = 1) -> None:
    entry = program.entry(POINT, 0)
    run = TestRun(entry, 4096)
    run.data[: len(frame)] = frame
    run.run(len(frame), repeat=times)
    os.close(entry)


def test_a_closing_flow_takes_no_more_packets(program: FlowProgram) -> None:
    frame = _frames()[0]
    _send(program, frame, 3)
    first = snapshot(program)
    program.close_flows(first.keys, first.flows["id"], first.family)
    _send(program, frame, 4)
    both = snapshot(program)
    states = dict(zip(both.flows["state"].tolist(), both.flows["dir"]["packets"][:, 0].tolist(), strict=True))
    assert states == {layout.CLOSING: 3, layout.LIVE: 4}
    assert len({int(tags) & ~layout.KIND_RECORD for tags in both.keys["tags"]}) == 1
    assert_balanced(program.points()[POINT], both)


def test_deleting_the_closed_entry_leaves_its_second_alone(program: FlowProgram) -> None:
    frame = _frames()[0]
    for _ in range(4):
        _send(program, frame, 2)
        live = snapshot(program)
        chosen = live.flows["state"] == layout.LIVE
        program.close_flows(live.keys[chosen], live.flows["id"][chosen], live.family[chosen])
        _send(program, frame, 5)
        found = snapshot(program)
        closed = found.flows["state"] == layout.CLOSING
        assert (int(closed.sum()), len(closed)) == (1, 2)
        program.delete_flows(found.keys[closed], found.family[closed])
        assert snapshot(program).flows["state"].tolist() == [layout.LIVE]


def test_packets_with_all_records_closing_have_a_reason(program: FlowProgram) -> None:
    frame = _frames()[0]
    for _ in range(layout.RECORDS):
        _send(program, frame)
        found = snapshot(program)
        program.close_flows(found.keys, found.flows["id"], found.family)
    _send(program, frame, 7)
    tally = program.points()[POINT]
    assert tally["lost"]["skbs"][layout.LOST_REASONS.index("closing")] == 7
    assert_balanced(tally, snapshot(program))


def test_closing_names_the_record_not_the_key(program: FlowProgram) -> None:
    """A request for a record that is gone must not close the one that has its key now."""
    frame = _frames()[0]
    _send(program, frame)
    old = snapshot(program)
    program.close_flows(old.keys, old.flows["id"], old.family)
    program.delete_flows(old.keys, old.family)
    _send(program, frame)
    program.close_flows(old.keys, old.flows["id"], old.family)
    assert snapshot(program).flows["state"].tolist() == [layout.LIVE]


def test_more_flows_than_one_batch_are_closed_and_deleted(program: FlowProgram) -> None:
    count = 3000
    for family in (4, 6):
        ends = ("10.0.0.1", "10.0.0.2") if family == 4 else ("2001:db8::1", "2001:db8::2")
        entry = program.entry(POINT, 1)
        run = TestRun(entry, 4096)
        for port in range(count):
            frame = frames.ethernet(*frames.ip(*ends, UDP, frames.udp(port, 7)))
            run.data[: len(frame)] = frame
            run.run(len(frame))
        os.close(entry)
    found = snapshot(program)
    assert len(found.keys) == 2 * count > layout.CLOSE_BATCH
    program.close_flows(found.keys, found.flows["id"], found.family)
    closed = snapshot(program)
    assert (closed.flows["state"] == layout.CLOSING).all()
    program.delete_flows(closed.keys, closed.family)
    assert len(snapshot(program).keys) == 0
