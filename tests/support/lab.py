"""The flows program in this kernel, fed by BPF_PROG_TEST_RUN: each test has a capture point of its own."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout, syscall
from exporters.bpf.program import FlowProgram, Loader
from exporters.bpf.syscall import TestRun
from exporters.flows.applications import Applications
from exporters.flows.identify import quoted_by
from exporters.flows.points import Point, Points
from exporters.flows.records import Renderer
from exporters.flows.replay import LINK_TYPES, LONGEST, SHORTEST
from exporters.flows.table import FlowTable, Timeouts
from exporters.flows.totals import Totals
from support.capture import Captured

TUNNEL_PORTS = {"vxlan": frozenset({4789, 8472}), "geneve": frozenset({6081})}
MAX_POINTS = 512


@dataclass(frozen=True)
class Snapshot:
    """Entries of both flow maps: :data:`layout.KEY6`, :data:`layout.FLOW`, 4 or 6 for all others."""

    keys: NDArray[Any]
    flows: NDArray[Any]
    family: NDArray[np.uint8]


def snapshot(program: FlowProgram) -> Snapshot:
    """A copy of all entries."""
    keys, flows, family = np.zeros(0, layout.KEY6), np.zeros(0, layout.FLOW), np.zeros(0, np.uint8)
    for part in program.entries():
        count, wide = len(keys), part.wide_keys(np.arange(len(part.keys)))
        keys, before = np.zeros(count + len(wide), layout.KEY6), keys  # numpy's concatenate changes the byte order of ports
        keys[:count], keys[count:] = before, wide
        flows = np.concatenate([flows, part.flows])
        family = np.append(family, np.full(len(wide), part.family, np.uint8))
    return Snapshot(keys, flows, family)


class Lab:
    """A replay program and its maps.

    Args:
        loader: libbpf or bcc.
        max_flows: entries of each map.
    """

    def __init__(self, loader: Loader, max_flows: int = 65536) -> None:
        self.program = FlowProgram(loader, max_flows=max_flows, max_points=MAX_POINTS, replay=True)
        self.program.set_tunnel_ports(TUNNEL_PORTS)
        self._point = 0
        self._entries: list[int] = []
        self._runs: list[TestRun]  # ingress, egress

    def close(self) -> None:
        """Close programs and maps."""
        self._close_entries()
        self.program.close()

    def _close_entries(self) -> None:
        for entry in self._entries:
            os.close(entry)
        self._entries = []

    def begin(self) -> None:
        """Begin a new capture point, on empty maps."""
        found = snapshot(self.program)
        self.program.delete_flows(found.keys, found.family)
        self._close_entries()
        self._point += 1
        if self._point == MAX_POINTS:
            self._point = 1
            forget_fragments(self.program)
        self.program.set_point(self._point, layout.LINK_ETHERNET)
        self._entries = [self.program.entry(self._point, direction) for direction in (0, 1)]
        self._runs = [TestRun(entry, 4096) for entry in self._entries]

    def count(self, packets: Sequence[Captured], gso: tuple[int, int] = (0, 0), *, egress: bool = False) -> None:
        """Run the program on packets at the newest point; ``gso``: size and number of segments of each."""
        run = self._runs[egress]
        context, data = run.context, run.data
        struct.pack_into("=I", context, TestRun.GSO_SIZE, gso[0])
        struct.pack_into("=I", context, TestRun.GSO_SEGS, gso[1])
        for packet in packets:
            part = packet.data[:LONGEST]
            size = max(len(part), SHORTEST)
            data[:size] = part.ljust(size, b"\0")
            link = LINK_TYPES.get(packet.link, layout.LINK_OTHER)
            struct.pack_into("=IIII", context, TestRun.CB, link, packet.length or len(packet.data), len(part), self._point)
            struct.pack_into("=Q", context, TestRun.TSTAMP, packet.time_ns)
            assert run.run(size) in (-1, layout.REPLAY_CROWDED)  # TC_ACT_UNSPEC: the next program decides

    def snapshot(self) -> Snapshot:
        """The maps' entries of the newest point, in the order in which they began."""
        return snapshot_at(self.program, self._point)

    def flows(self) -> list[dict[str, Any]]:
        """Flow JSON of the newest point, in the order in which the flows began."""
        return flows_at(self.program, self._point)

    def tally(self) -> Any:
        """The newest point's counters."""
        return self.program.points()[self._point]

    def assert_nothing_lost_silently(self) -> None:
        """What the hook saw = outermost flows + named reasons: skbs, segments, bytes."""
        assert_balanced(self.tally(), self.snapshot())


def snapshot_at(program: FlowProgram, point: int) -> Snapshot:
    """The maps' entries of one point, in the order in which they began (on one processor)."""
    found = snapshot(program)
    mine = np.flatnonzero(found.keys["point"] == point)
    mine = mine[np.argsort(_number(found.flows["id"][mine]), kind="stable")]
    return Snapshot(found.keys[mine], found.flows[mine], found.family[mine])


def flows_at(program: FlowProgram, point: int) -> list[dict[str, Any]]:
    """Flow JSON of one point, in the order in which the flows began (on one processor)."""
    points, applications = Points(), Applications()
    points.all += [Point("test0", "", "a-tid")] * (program.max_points - 1)
    table = FlowTable(program, points, Totals(points, applications, 0), Timeouts(), clock=lambda: 0, offset=lambda: 0)
    table.drain()
    rows = table.rows()
    rows = rows[rows["key"]["point"] == point]
    rows = rows[np.argsort(_number(rows["id"]), kind="stable")]
    return Renderer(points, applications).render(rows, quoted=quoted_by(program, rows))


def _number(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The running number in a flow's id, without the CPU."""
    return np.asarray(ids & np.uint64(2**48 - 1))


def forget_fragments(program: FlowProgram) -> None:
    """Empty the map of first fragments, whose keys hold numbers of points that come again."""
    key, value = np.dtype("V64"), np.dtype("V16")
    descriptor = program._main.maps["fragments"]
    for keys in [keys.copy() for keys, _ in syscall.BatchReader(descriptor, key, value).read()]:
        syscall.map_delete_batch(descriptor, keys)


def assert_balanced(tally: Any, found: Snapshot) -> None:
    """Compare a point's counters with the flows that were counted there."""
    outermost: NDArray[Any] = found.flows[found.keys["parent"] == 0]
    lost, seen = tally["lost"], tally["seen"]
    segments = int(outermost["dir"]["packets"].sum())
    assert int(seen["skbs"].sum()) == segments - int(outermost["merged"].sum()) + int(lost["skbs"].sum())
    assert int(seen["segments"].sum()) == segments + int(lost["segments"].sum())
    on_wire = int(seen["bytes"].sum()) + int(tally["header_bytes"])
    assert on_wire == int(outermost["dir"]["bytes"].sum()) + int(lost["bytes"].sum())
