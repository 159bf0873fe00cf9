"""A map without room: what finds no flow, or no inner one, has a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import frames
from support.capture import Captured
from support.frames import IPV6, UDP
from support.lab import Lab
from support.needs import root

from exporters.bpf import layout
from exporters.bpf.libbpf import LibbpfLoader

pytestmark = pytest.mark.kernel

ROOM, CONVERSATIONS = 1024, 3000


@pytest.fixture
def small() -> Iterator[Lab]:
    root()
    made = Lab(LibbpfLoader(), max_flows=ROOM)
    yield made
    made.close()


def in_sit(number: int) -> bytes:
    inner = frames.ip6("2001:db8::1", "2001:db8::2", UDP, frames.udp(10_000 + number, 9, b"x"))
    return frames.ethernet(frames.ETH_IP, frames.ip4("10.0.0.1", "10.0.0.2", IPV6, inner))


def test_inner_flows_that_find_no_room_are_counted(small: Lab) -> None:
    small.begin()
    small.count([Captured(in_sit(number), 1) for number in range(CONVERSATIONS)])
    tally, flows = small.tally(), small.flows()
    assert not tally["lost"]["segments"].any()
    [outer] = [flow for flow in flows if not flow["ParentUUID"]]
    assert outer["Metric"]["ABPackets"] == CONVERSATIONS
    inner = sum(flow["Metric"]["ABPackets"] for flow in flows if flow["ParentUUID"])
    lost = dict(zip(layout.LOST_REASONS, tally["inner_lost"].tolist(), strict=True))
    assert lost.pop("map_full") == CONVERSATIONS - inner > 0
    assert not any(lost.values())


def test_outer_flows_that_find_no_room_take_their_inner_ones_along(small: Lab) -> None:
    small.begin()
    outer = [frames.ethernet(*frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(n + 1, 9, b"x"))) for n in range(CONVERSATIONS)]
    small.count([Captured(frame, 1) for frame in outer])
    small.count([Captured(in_sit(1), 1)])
    tally = small.tally()
    lost = tally["lost"]["segments"][layout.LOST_REASONS.index("map_full")]
    assert lost == CONVERSATIONS + 1 - ROOM
    small.assert_nothing_lost_silently()
