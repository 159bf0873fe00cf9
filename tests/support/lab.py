"""The flows program in this kernel, fed by BPF_PROG_TEST_RUN: each test has a capture point of its own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram, Loader, Snapshot, point_tag
from exporters.bpf.syscall import TestRun
from exporters.flows.applications import Applications
from exporters.flows.identify import quoted_tracking_id
from exporters.flows.points import Point, Points
from exporters.flows.records import Renderer
from exporters.flows.replay import LINK_TYPES, LONGEST, SHORTEST
from exporters.flows.table import FlowTable, Timeouts
from exporters.flows.totals import Totals
from support.capture import Captured

TUNNEL_PORTS = {"vxlan": frozenset({4789, 8472}), "geneve": frozenset({6081})}


class Lab:
    """A replay program and its maps.

    Args:
        loader: libbpf or bcc.
        max_flows: entries of each map.
    """

    def __init__(self, loader: Loader, max_flows: int = 65536) -> None:
        self.program = FlowProgram(loader, max_flows=max_flows, point_slots=8192, replay=True)
        self.program.set_tunnel_ports(TUNNEL_PORTS)
        self._run = self.program.test_run(4096)
        self._point = 0

    def close(self) -> None:
        """Close programs and maps."""
        self.program.close()

    def point(self) -> int:
        """A new capture point, on empty maps."""
        snapshot = self.program.snapshot()
        self.program.delete_flows(snapshot.keys, snapshot.family)
        self.program.remove_point(0, self._point)
        self._point += 1
        assert self.program.add_point(0, self._point, layout.LINK_ETHERNET)
        return self._point

    def count(self, packets: Sequence[Captured], gso: tuple[int, int] = (0, 0)) -> None:
        """Run the program on packets at the newest point; ``gso``: size and number of segments of each."""
        context, data = self._run.context, self._run.data
        struct.pack_into("=I", context, TestRun.GSO_SIZE, gso[0])
        struct.pack_into("=I", context, TestRun.GSO_SEGS, gso[1])
        for packet in packets:
            part = packet.data[:LONGEST]
            size = max(len(part), SHORTEST)
            data[:size] = part.ljust(size, b"\0")
            link = LINK_TYPES.get(packet.link, layout.LINK_OTHER)
            length = packet.length or len(packet.data)
            struct.pack_into("=IIII", context, TestRun.CB, link, length, len(part), self._point)
            struct.pack_into("=Q", context, TestRun.TSTAMP, packet.time_ns)
            assert self._run.run(size) == -1  # TC_ACT_UNSPEC: the next program decides

    def snapshot(self) -> Snapshot:
        """The maps' entries of the newest point, in the order in which they began."""
        found = self.program.snapshot()
        mine = np.flatnonzero(found.keys["ifindex"] == self._point)
        mine = mine[np.argsort(found.flows["id"][mine] & np.uint64(2**48 - 1), kind="stable")]
        return Snapshot(found.keys[mine], found.flows[mine], found.family[mine])

    def flows(self) -> list[dict[str, Any]]:
        """Flow JSON of the newest point, in the order in which the flows began."""
        points, applications = Points(), Applications()
        points.put(Point(0, self._point, "test0", "", "a-tid"))
        table = FlowTable(
            self.program, points, Totals(points, applications, 0), Timeouts(), clock=lambda: 0, offset=lambda: 0
        )
        table.drain()
        rows = table.rows()
        rows = rows[rows["key"]["ifindex"] == self._point]
        rows = rows[np.argsort(rows["id"] & np.uint64(2**48 - 1), kind="stable")]
        quotes = {number: quoted_tracking_id(quote) for number, quote in self.program.quotes(rows["id"]).items()}
        return Renderer(points, applications).render(rows, quoted=quotes)

    def tally(self) -> Any:  # noqa: ANN401 - one record of layout.POINT
        """The newest point's counters."""
        points = self.program.points()
        return points[points["tag"] == point_tag(0, self._point)][0]

    def assert_nothing_lost_silently(self) -> None:
        """What the hook saw = outermost flows + named reasons: skbs, segments, bytes."""
        assert_balanced(self.tally(), self.snapshot())


def assert_balanced(tally: Any, snapshot: Snapshot) -> None:  # noqa: ANN401 - one record of layout.POINT
    """Compare a point's counters with the flows that were counted there."""
    outermost: NDArray[Any] = snapshot.flows[snapshot.keys["parent"] == 0]
    lost, seen = tally["lost"], tally["seen"]
    segments = int(outermost["dir"]["packets"].sum())
    assert int(seen["skbs"].sum()) == segments - int(outermost["merged"].sum()) + int(lost["skbs"].sum())
    assert int(seen["segments"].sum()) == segments + int(lost["segments"].sum())
    on_wire = int(seen["bytes"].sum()) + int(tally["header_bytes"])
    assert on_wire == int(outermost["dir"]["bytes"].sum()) + int(lost["bytes"].sum())
