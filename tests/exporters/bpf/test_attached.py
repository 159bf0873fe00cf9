"""The packet tests' frames once more, sent over a real veth pair, with the program attached in each way at both ends.

What BPF_PROG_TEST_RUN cannot show: tags that the kernel takes out of the packet on its way in, packets that the program may
not look into in place (socket filters), and both directions.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.cases import ALL, Case
from support.dissect import Dissected
from support.expected import expected_flows, judged
from support.lab import TUNNEL_PORTS, assert_balanced, flows_at, forget_fragments, snapshot, snapshot_at
from support.needs import root
from support.netlab import End, Net, in_netns, until

from exporters.bpf import layout
from exporters.bpf.attach import Attachment, attach_socket, attach_tc, attach_tcx
from exporters.bpf.program import FlowProgram, Loader

pytestmark = pytest.mark.kernel

SENDER, RECEIVER = 1, 2
INGRESS, EGRESS = 0, 1
CASES = [case for case in ALL if case.link == 1]


class Veth:
    """A veth pair without addresses, the program attached at both ends."""

    def __init__(self, loader: Loader, how: str, net: Net) -> None:
        self.how = how
        self.program = FlowProgram(loader, max_flows=1024, max_points=4)
        self.program.set_tunnel_ports(TUNNEL_PORTS)
        self._ends = [End(net.netns(name), net.name(f"v{name}"), "") for name in "ab"]
        net.veth(*self._ends, up=False)
        for end in self._ends:
            net.ip(f"link set {end.interface} mtu 9000 up", netns=end.netns)
        self._attached = [
            in_netns(end.netns, self._attach(point, net.link(end.netns, end.interface)["ifindex"]))
            for point, end in enumerate(self._ends, SENDER)
        ]
        self._socket = in_netns(self._ends[0].netns, self._open)

    def _attach(self, point: int, ifindex: int) -> Callable[[], Attachment]:
        def attach() -> Attachment:
            if self.how == "socket":
                entries = [self.program.entry(point, INGRESS, socket=True)]
                attached: Attachment = attach_socket(entries[0], ifindex, loopback=False)
            else:
                entries = [self.program.entry(point, direction) for direction in (INGRESS, EGRESS)]
                if self.how == "tcx":
                    attached = attach_tcx(*entries, ifindex, loopback=False)
                else:
                    attached = attach_tc(*entries, ifindex, owner=self.program.owner, loopback=False)
            for entry in entries:
                os.close(entry)
            return attached

        return attach

    def _open(self) -> socket.socket:
        sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sending.bind((self._ends[0].interface, 0))
        return sending

    def send(self, frames: list[bytes]) -> None:
        """Send frames on empty maps, and wait until both ends have seen them."""
        left = snapshot(self.program)
        self.program.delete_flows(left.keys, left.family)
        forget_fragments(self.program)
        for point in (SENDER, RECEIVER):
            self.program.set_point(point, layout.LINK_ETHERNET)
        for frame in frames:
            self._socket.send(frame)
        until(lambda: [int(seen["skbs"].sum()) for seen in self.seen()] == [len(frames)] * 2, 5.0, 0.001)

    def seen(self) -> list[Any]:
        """What both points have seen, by direction."""
        tallies = self.program.points()
        return [tallies[point]["seen"] for point in (SENDER, RECEIVER)]

    def close(self) -> None:
        """Detach."""
        self._socket.close()
        for attached, end in zip(self._attached, self._ends, strict=True):
            in_netns(end.netns, attached.close)
        self.program.close()


@pytest.fixture(scope="module", params=["tcx", "tc", "socket"])
def veth(loader: Loader, request: pytest.FixtureRequest) -> Iterator[Veth]:
    root()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # so that packets arrive in the order in which they are sent
    net = Net()
    try:
        made = Veth(loader, request.param, net)
        yield made
        made.close()
    finally:
        net.close()
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_ends_see_what_tshark_sees(veth: Veth, case: Case, dissections: dict[str, list[Dissected]]) -> None:
    sent = case.frames()
    veth.send(sent)
    expected = [_without_times(flow) for flow in expected_flows(case, dissections[case.name])]
    for point, direction in ((SENDER, EGRESS), (RECEIVER, INGRESS)):
        assert [_without_times(flow) for flow in judged(flows_at(veth.program, point))] == expected
        tally = veth.program.points()[point]
        assert_balanced(tally, snapshot_at(veth.program, point))
        assert tally["seen"]["skbs"][direction] == len(sent)
        assert tally["seen"]["skbs"][1 - direction] == 0
        assert int(tally["seen"]["bytes"].sum() + tally["header_bytes"]) == sum(map(len, sent))


def _without_times(flow: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flow.items() if key not in ("Start", "Last")}


def test_a_tag_was_stripped_on_the_way_in(veth: Veth) -> None:
    """So that the test above has shown what it is for."""
    case = next(case for case in CASES if case.name == "vlan-1-tags")
    veth.send(case.frames())
    tallies = veth.program.points()
    assert int(tallies[SENDER]["header_bytes"]) == 0
    assert int(tallies[RECEIVER]["header_bytes"]) == 4 * len(case.frames())
