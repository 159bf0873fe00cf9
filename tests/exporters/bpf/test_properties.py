"""What holds for every conversation, whatever carries it: identities, mirrors, and that nothing is lost silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import frames, identity
from support.capture import Captured
from support.frames import GRE, ICMP, ICMP6, SCTP, TCP, UDP, Tunnel
from support.identity import address
from support.lab import Lab
from support.needs import root

from exporters.bpf import layout
from exporters.bpf.libbpf import LibbpfLoader

pytestmark = pytest.mark.kernel

EXAMPLES = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
OTHER = 253  # for experiments (RFC 3692)


@dataclass(frozen=True)
class Talk:
    """A conversation.

    Attributes:
        ends: addresses of the two sides.
        proto: IP protocol.
        ports: of the two sides; ICMP: the identifier, twice.
        tunnels: what carries it, innermost first.
        links: VLAN tags and labels of the frame, outermost first.
        turns: of each packet: whether it goes back, bytes of payload, TCP flags, entropy of UDP tunnels, TTL.
        mirrored: the MACs have changed places.
    """

    ends: tuple[str, str]
    proto: int
    ports: tuple[int, int]
    tunnels: tuple[Tunnel, ...]
    links: tuple[Tunnel, ...]
    turns: tuple[tuple[bool, int, int, int, int], ...]
    mirrored: bool = False

    def swapped(self) -> Talk:
        """The same with all ends in each other's places, MACs and tunnels' too."""
        carried = tuple(tunnel.swapped() for tunnel in self.tunnels)
        return replace(self, ends=self.ends[::-1], ports=self.ports[::-1], tunnels=carried, mirrored=True)

    def packets(self) -> list[Captured]:
        """All packets."""
        return [Captured(self._frame(*turn), 1 + at) for at, turn in enumerate(self.turns)]

    def _frame(self, back: bool, size: int, flags: int, entropy: int, ttl: int) -> bytes:
        a, b = self.ends[::-1] if back else self.ends
        first, second = self.ports[::-1] if back else self.ports
        kind, packet = frames.ip(a, b, self.proto, self._transport(back, first, second, flags, bytes(size)), ttl=ttl)
        for tunnel in self.tunnels:
            kind, packet = frames.carry(tunnel.swapped() if back else tunnel, kind, packet, entropy)
        return frames.on_link(list(self.links), kind, packet, back=back != self.mirrored)

    def _transport(self, back: bool, first: int, second: int, flags: int, payload: bytes) -> bytes:
        if self.proto == TCP:
            return frames.tcp(first, second, flags, payload)
        if self.proto in (ICMP, ICMP6):
            return frames.echo(not back, self.ports[0], 1, payload, six=self.proto == ICMP6)
        makers = {UDP: frames.udp, SCTP: frames.sctp}
        return makers[self.proto](first, second, payload) if self.proto in makers else payload

    def tracking_id(self) -> str:
        """By the definition, worked out here."""
        if self.proto in (ICMP, ICMP6):
            return identity.echo_id(self.proto, *self.ends, request=True, identifier=self.ports[0])
        return identity.plain_id(self.proto, *self.ends, None if self.proto == OTHER else self.ports)


IP4 = st.ip_addresses(v=4).map(str)
IP6 = st.ip_addresses(v=6).map(str)
PAIRS = st.one_of(st.tuples(IP4, IP4), st.tuples(IP6, IP6))
PORTS = st.integers(0, 65535).filter(lambda port: port not in (4789, 8472, 6081))
TURN = st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 255))
TUNNEL_KINDS = ("vxlan", "geneve", "geneve-ip", "gre", "gre-key", "gretap", "gretap-key", "ip")


@st.composite
def tunnels(draw: st.DrawFn) -> Tunnel:
    kind = draw(st.sampled_from(TUNNEL_KINDS))
    bits = 32 if "key" in kind else 24
    return Tunnel(kind, draw(PAIRS), draw(st.integers(0, 2**bits - 1)))


@st.composite
def links(draw: st.DrawFn) -> tuple[Tunnel, ...]:
    tags = draw(st.lists(st.tuples(st.sampled_from(("vlan", "qinq")), st.integers(0, 4095)), max_size=4))
    found = [Tunnel(kind, number=number) for kind, number in tags]
    if draw(st.booleans()):
        found.append(Tunnel("mpls", number=draw(st.integers(16, 2**20 - 2))))
    return tuple(found)


@st.composite
def talks(draw: st.DrawFn, deepest: int = 3) -> Talk:
    ends = draw(PAIRS)
    proto = draw(st.sampled_from((TCP, UDP, SCTP, OTHER, ICMP if "." in ends[0] else ICMP6)))
    ports = draw(st.tuples(PORTS, PORTS))
    link = draw(links())
    room = deepest - any(tag.kind == "mpls" for tag in link)  # labels make a flow of their own
    carried = tuple(draw(st.lists(tunnels(), max_size=room)))
    return Talk(ends, proto, ports, carried, link, tuple(draw(st.lists(TURN, min_size=1, max_size=8))))


@pytest.fixture(scope="module")
def crowded() -> Iterator[Lab]:
    """Maps of 16 entries."""
    root()
    made = Lab(LibbpfLoader(), max_flows=16)
    yield made
    made.close()


def _no_new_connection(talk: Talk) -> Talk:
    """Without SYN, FIN, RST: no record ends, no second one begins."""
    return replace(talk, turns=tuple((back, size, flags & ~7, entropy, ttl) for back, size, flags, entropy, ttl in talk.turns))


@EXAMPLES
@given(talk=talks().map(_no_new_connection))
def test_a_conversation_has_one_tracking_id_in_any_tunnel(libbpf_lab: Lab, talk: Talk) -> None:
    libbpf_lab.begin()
    libbpf_lab.count(talk.packets())
    flows = libbpf_lab.flows()
    # one flow at each level, each with all packets: tunnels and labels know their conversations too
    assert len(flows) == 1 + len(talk.tunnels) + sum(link.kind == "mpls" for link in talk.links)
    assert {flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"] for flow in flows} == {len(talk.turns)}
    assert [flow["ParentUUID"] for flow in flows] == ["", *(flow["UUID"] for flow in flows[:-1])]
    innermost = flows[-1]
    assert innermost["TrackingID"] == talk.tracking_id()
    # the first packet's sender is A
    ends = talk.ends[::-1] if talk.turns[0][0] else talk.ends
    assert [address(innermost["Network"][side]) for side in "AB"] == [address(end) for end in ends]
    libbpf_lab.assert_nothing_lost_silently()


@EXAMPLES
@given(talk=talks())
def test_the_same_said_by_the_other_side_mirrors_the_record(libbpf_lab: Lab, talk: Talk) -> None:
    one, other = (_sorted(libbpf_lab, said) for said in (talk, talk.swapped()))
    if talk.ends[0] == talk.ends[1] or any(tunnel.ends[0] == tunnel.ends[1] for tunnel in talk.tunnels):
        return  # with itself: there is no other side
    assert len(one) == len(other)
    for (key, flow), (key_, flow_) in zip(one, other, strict=True):
        assert key["addr"].tolist() == key_["addr"].tolist()
        assert key["tags"] == key_["tags"]
        echo = talk.proto in (ICMP, ICMP6) and flow is one[-1][1]  # its ports are request and reply: they change sides
        assert key["port"].tolist() == key_["port"].tolist()[:: -1 if echo else 1]
        for name in ("dir", "merged", "ttl", "dscp", "tcp_flags", "syn_ttl", "fin", "rst"):
            assert flow[name].tolist() == flow_[name].tolist()[::-1], name
        assert flow["reversed"] != flow_["reversed"]
        assert {0: 0, 1: 2, 2: 1}[int(flow["initiator"])] == flow_["initiator"]
        for name in ("first", "last", "ended", "rtt_state", "expect", "fragments"):
            assert flow[name] == flow_[name], name
        assert flow["rtt"].tolist() == flow_["rtt"].tolist()


def _sorted(lab: Lab, talk: Talk) -> list[tuple[Any, Any]]:
    lab.begin()
    lab.count(talk.packets())
    lab.assert_nothing_lost_silently()
    snapshot = lab.snapshot()
    return list(zip(snapshot.keys.copy(), snapshot.flows.copy(), strict=True))


@EXAMPLES
@given(said=st.lists(talks(), min_size=1, max_size=12))
def test_what_the_hook_saw_is_flows_and_named_losses(crowded: Lab, said: list[Talk]) -> None:
    """With maps too small for what comes, in any order."""
    packets = [packet for talk in said for packet in talk.packets()]
    crowded.begin()
    crowded.count(packets)
    crowded.assert_nothing_lost_silently()
    tally = crowded.tally()
    assert tally["seen"]["skbs"].sum() == len(packets)
    assert tally["seen"]["bytes"].sum() == sum(len(packet.data) for packet in packets)


def test_a_map_that_overflows_names_the_reason(crowded: Lab) -> None:
    packets = [
        Captured(frames.ethernet(*frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(port, 9, b"x" * size))), 1)
        for port, size in zip(range(1000, 1200), np.random.default_rng(1).integers(0, 900, 200).tolist(), strict=True)
    ]
    crowded.begin()
    crowded.count(packets, gso=(0, 0))
    crowded.assert_nothing_lost_silently()
    lost = dict(zip(layout.LOST_REASONS, crowded.tally()["lost"]["skbs"].tolist(), strict=True))
    entries = len(crowded.snapshot().keys)
    assert entries == 16
    assert lost == {reason: 184 if reason == "map_full" else 0 for reason in layout.LOST_REASONS}


def test_an_inner_flow_goes_on_where_its_outer_one_found_no_room(crowded: Lab) -> None:
    """The IPv4 map is full; the inner flow is IPv6, in the other map: its parent has no name, its bytes are there."""
    full = [Captured(frames.ethernet(*frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(port, 9))), 1) for port in range(16)]
    inner = frames.ip6("fd00::1", "fd00::2", UDP, frames.udp(7, 8, b"payload"))
    sit = frames.ethernet(*frames.ip("10.9.0.1", "10.9.0.2", frames.IPV6, inner))
    crowded.begin()
    crowded.count([*full, Captured(sit, 2), Captured(sit, 3)])
    crowded.assert_nothing_lost_silently()
    snapshot = crowded.snapshot()
    lost = snapshot.keys["parent"] == layout.PARENT_LOST
    assert snapshot.flows["dir"][lost][:, 0].tolist() == [(2, 2 * len(inner))]
    assert crowded.tally()["lost"]["skbs"].tolist() == [2, 0, 0, 0, 0, 0]


@EXAMPLES
@given(key=st.integers(0, 2**32 - 1), ends=PAIRS)
def test_gre_keys_are_in_the_tracking_id(libbpf_lab: Lab, key: int, ends: tuple[str, str]) -> None:
    packets = [Captured(frames.ethernet(*frames.ip(*way, GRE, frames.gre(0, b"", key))), 1) for way in (ends, ends[::-1])]
    libbpf_lab.begin()
    libbpf_lab.count(packets)
    (flow,) = libbpf_lab.flows()
    assert flow["TrackingID"] == identity.gre_key_id(*ends, key)
    assert flow["Network"]["ID"] == key


@EXAMPLES
@given(port=st.sampled_from((4789, 6081)), vni=st.integers(0, 2**24 - 1), entropy=st.tuples(PORTS, PORTS), ends=PAIRS)
def test_a_udp_tunnel_is_one_flow_for_each_network(
    libbpf_lab: Lab, port: int, vni: int, entropy: tuple[int, int], ends: tuple[str, str]
) -> None:
    head = frames.vxlan(vni, b"") if port == 4789 else frames.geneve(vni, 0x6558, b"")
    ways = zip((ends, ends[::-1]), entropy, strict=True)
    packets = [Captured(frames.ethernet(*frames.ip(*way, UDP, frames.udp(source, port, head))), 1) for way, source in ways]
    libbpf_lab.begin()
    libbpf_lab.count(packets)
    (flow,) = libbpf_lab.flows()
    assert flow["TrackingID"] == identity.tunnel_id(*ends, port, vni)
    assert flow["Network"]["ID"] == vni
