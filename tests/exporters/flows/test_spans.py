"""Spans of real flow records (frames through the kernel's parser), as the protobuf library reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support import frames, identity
from support.capture import Captured
from support.frames import ACK, FIN, SYN, Tunnel
from support.lab import Lab
from support.needs import root

from exporters.bpf.libbpf import LibbpfLoader
from exporters.conntrack.collector import Found
from exporters.conntrack.entries import DESTINATION_NAT, ENTRY, SOURCE_NAT
from exporters.conntrack.table import Translations
from exporters.flows.applications import Applications
from exporters.flows.ends import ends_of_flows, tracking_of_ends
from exporters.flows.points import Point, Points
from exporters.flows.spans import SpanBuilder
from exporters.flows.table import Batch, FlowTable, Timeouts
from exporters.flows.totals import Totals
from exporters.outputs.otlp.spans import encode_spans

pytestmark = pytest.mark.kernel

S = 1_000_000_000
START = 1_700_000_000 * S
HERE, THERE = "10.1.0.1", "10.2.0.2"
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    root()
    made = Lab(LibbpfLoader())
    yield made
    made.close()


class Flows:
    """Flows of packets at a new capture point, read by a table whose clock is the packets'."""

    def __init__(self, lab: Lab) -> None:
        lab.begin()
        self._lab, self.now = lab, START
        self.points, self.applications = Points(), Applications()
        self.points.all += [Point("eth7", "blue", "host/a/eth7")] * (lab.program.max_points - 1)
        totals = Totals(self.points, self.applications, 0)
        self.table = FlowTable(
            lab.program, self.points, totals, Timeouts(update=60), clock=lambda: self.now, offset=lambda: 0, grace_ns=-1
        )

    def count(self, *packets: bytes) -> None:
        """Packets a second apart."""
        for packet in packets:
            self._lab.count([Captured(packet, self.now)])
            self.now += S

    def spans(self, batch: Batch, **options: Any) -> list[Span]:
        built = SpanBuilder(self.points, self.applications, **options).build(batch)
        scope = InstrumentationScope(name="test").SerializeToString()
        request = ExportTraceServiceRequest.FromString(encode_spans(built, Resource().SerializeToString(), scope))
        return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]

    def finished(self, **options: Any) -> list[Span]:
        self.table.drain()
        return self.spans(self.table.finish(), **options)


def said(span: Span) -> dict[str, Any]:
    """Attributes as a dictionary."""

    def value(any_value: AnyValue) -> Any:
        return getattr(any_value, str(any_value.WhichOneof("value")))

    return {item.key: value(item.value) for item in span.attributes}


def tcp(back: bool, flags: int, payload: bytes = b"", *, seq: int = 0, ack: int = 0, ttl: int = 64) -> bytes:
    ports = (80, 40000) if back else (40000, 80)
    ends = (THERE, HERE) if back else (HERE, THERE)
    kind, packet = frames.ip(*ends, frames.TCP, frames.tcp(*ports, flags, payload, seq=seq, ack=ack), ttl=ttl)
    return frames.on_link([], kind, packet, back=back)


CONNECTION = (
    tcp(False, SYN, seq=1),
    tcp(True, SYN | ACK, seq=7, ack=2),
    tcp(False, ACK, seq=2, ack=8),
    tcp(False, ACK, b"x" * 100, seq=2, ack=8),
    tcp(False, ACK | FIN, seq=102, ack=8),
    tcp(True, ACK | FIN, seq=8, ack=103),
)


def span_id(uuid: str, window_start: int) -> bytes:
    """Design §4.1: 8 bytes of SHA-1 over UUID and the window's start."""
    return hashlib.sha1(f"{uuid}\0{window_start}".encode()).digest()[:8]


def test_connection_is_a_span_with_the_conventional_attributes(lab: Lab) -> None:
    flows = Flows(lab)
    flows.count(*CONNECTION)

    [span] = flows.finished(subnets={"10.1.0.0/16": "office", "10.0.0.0/8": "all"})

    tracking = identity.plain_id(identity.TCP, HERE, THERE, (40000, 80))
    about = said(span)
    uuid = about.pop("skytrail.flow.uuid")
    assert span.trace_id.hex() == tracking
    assert span.span_id == span_id(uuid, START)
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == ("flow ipv4 tcp", START, START + 5 * S)
    assert about == {
        "source.address": HERE,
        "source.port": 40000,
        "skytrail.source.subnet": "office",
        "destination.address": THERE,
        "destination.port": 80,
        "skytrail.destination.subnet": "all",
        "network.type": "ipv4",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "network.interface.name": "eth7",
        "skytrail.netns": "blue",
        "skytrail.flow.tracking_id": tracking,
        "skytrail.flow.node_tid": "host/a/eth7",
        "skytrail.link.source": MAC_A,
        "skytrail.link.destination": MAC_B,
        "skytrail.flow.packets": 4,
        "skytrail.flow.bytes": 4 * 54 + 100,
        "skytrail.flow.reverse.packets": 2,
        "skytrail.flow.reverse.bytes": 2 * 54,
        "skytrail.flow.initiator_known": True,
        "skytrail.flow.rtt": S,
        "skytrail.flow.syn_ack_rtt": S,
        "skytrail.tcp.smoothed_rtt": S * 7 // 8 + 2 * S // 8,  # of the SYN, and of the data two packets before its answer
        "skytrail.tcp.reverse.smoothed_rtt": S,
        "skytrail.tcp.flags": SYN | ACK | FIN,
        "skytrail.tcp.reverse.flags": SYN | ACK | FIN,
        "skytrail.flow.finish_type": "TCP_FIN",
    }
    assert not span.links


def test_who_asked_is_the_source_though_the_answer_was_seen_first(lab: Lab) -> None:
    flows = Flows(lab)
    flows.count(*CONNECTION[1:3])

    [span] = flows.finished()

    about = said(span)
    assert (about["source.address"], about["source.port"]) == (HERE, 40000)
    assert (about["skytrail.flow.packets"], about["skytrail.flow.reverse.packets"]) == (1, 1)
    # the link's ends are those of the first packet seen, which the server sent
    assert about["skytrail.link.source"] == MAC_B


def test_living_flow_has_a_span_for_each_window(lab: Lab) -> None:
    flows = Flows(lab)
    flows.count(*CONNECTION[:3])
    flows.table.drain()
    flows.now = START + 60 * S
    due = flows.table.drain()
    flows.count(CONNECTION[3])
    rest = flows.finished()
    [first], [second] = flows.spans(due), rest

    uuid = said(first)["skytrail.flow.uuid"]
    assert said(second)["skytrail.flow.uuid"] == uuid
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (START, START + 60 * S)
    assert second.start_time_unix_nano == first.end_time_unix_nano
    assert [span.span_id for span in (first, second)] == [span_id(uuid, START), span_id(uuid, START + 60 * S)]
    assert [said(span)["skytrail.flow.packets"] for span in (first, second)] == [2, 1]
    assert [said(span)["skytrail.flow.bytes"] for span in (first, second)] == [108, 154]
    assert "skytrail.flow.finish_type" not in said(first)


def carried(*tunnels: Tunnel) -> bytes:
    kind, packet = frames.ip(HERE, THERE, frames.UDP, frames.udp(5353, 53, b"?"))
    for tunnel in tunnels:
        kind, packet = frames.carry(tunnel, kind, packet, 50000)
    return frames.on_link([Tunnel("vlan", number=12)], kind, packet)


def test_tunnelled_flow_links_to_the_first_span_of_its_outer_flow(lab: Lab) -> None:
    flows = Flows(lab)
    vxlan, gre = Tunnel("vxlan", ("192.0.2.1", "192.0.2.2"), 10), Tunnel("gre-key", ("198.51.100.1", "198.51.100.2"), 7)
    flows.count(carried(vxlan, gre))

    by_id = {said(span)["skytrail.flow.tracking_id"]: span for span in flows.finished()}

    outermost = by_id[identity.gre_key_id(*gre.ends, 7)]
    middle = by_id[identity.tunnel_id(*vxlan.ends, 4789, 10)]
    inner = by_id[identity.plain_id(identity.UDP, HERE, THERE, (5353, 53))]
    assert len(by_id) == 3
    for span, outer in ((inner, middle), (middle, outermost)):
        [link] = span.links
        assert (link.trace_id, link.span_id) == (outer.trace_id, outer.span_id)
        assert said(span)["skytrail.flow.parent_uuid"] == said(outer)["skytrail.flow.uuid"]
    assert not outermost.links
    about = [
        (said(span).get("skytrail.tunnel.type"), said(span).get("skytrail.tunnel.id")) for span in (outermost, middle, inner)
    ]
    assert about == [("gre", 7), ("vxlan", 10), (None, None)]
    assert (said(outermost)["skytrail.vlan.ids"], said(inner).get("skytrail.vlan.ids")) == (12, None)


def test_trace_epoch_parts_long_conversations_and_keeps_the_tracking_id(lab: Lab) -> None:
    flows = Flows(lab)
    flows.count(*CONNECTION[:4])
    flows.table.drain()
    batch = flows.table.finish()

    def folded(shift: int) -> Span:
        moved = Batch(batch.rows.copy(), batch.ended, batch.now)
        moved.rows["previous_at"] += shift
        return flows.spans(moved, trace_epoch=3600 * S)[0]

    begin = START // (3600 * S) * 3600 * S - START
    one, same, next_hour = folded(begin), folded(begin + 3599 * S), folded(begin + 3600 * S)
    tracking = identity.plain_id(identity.TCP, HERE, THERE, (40000, 80))
    assert one.trace_id == same.trace_id
    assert len({one.trace_id, next_hour.trace_id, bytes.fromhex(tracking)}) == 3
    assert {said(span)["skytrail.flow.tracking_id"] for span in (one, next_hour)} == {tracking}


def test_flow_without_network_layer_and_without_ports(lab: Lab) -> None:
    flows = Flows(lab)
    flows.count(frames.ethernet(0x88CC, b"\0" * 40), frames.ethernet(*frames.ip("2001:db8::1", "2001:db8::2", 89, b"\0" * 30)))

    link, ospf = flows.finished()

    assert (link.name, ospf.name) == ("flow other", "flow ipv6 ospf")
    assert not [key for key in said(link) if key.startswith(("source", "destination", "network.t", "network.p"))]
    assert said(ospf)["source.address"] == "2001:db8::1"
    assert not [key for key in said(ospf) if key.endswith(".port") or key.startswith("skytrail.tcp")]


def test_error_names_the_conversation_that_it_quotes(lab: Lab) -> None:
    quoted = frames.ip4(HERE, THERE, frames.UDP, frames.udp(5353, 53, b"?"))
    error = frames.ip4(THERE, HERE, frames.ICMP, b"\3\3\0\0\0\0\0\0" + quoted)
    flows = Flows(lab)
    flows.count(frames.ethernet(frames.ETH_IP, error))

    [span] = flows.finished(program=lab.program)

    expected = identity.plain_id(identity.UDP, HERE, THERE, (5353, 53))
    assert said(span)["skytrail.flow.quoted_tracking_id"] == expected
    assert "skytrail.flow.sampling" not in said(span)


def test_translated_conversation_links_to_what_it_becomes(lab: Lab) -> None:
    entry = np.zeros(1, ENTRY)
    for name, ends in (("original", ((HERE, 40000), (THERE, 80))), ("translated", (("192.0.2.1", 1234), ("10.9.9.9", 8080)))):
        for side, (address, port) in enumerate(ends):
            entry[name]["addr"][0, side, :4] = list(identity.address(address))
            entry[name]["port"][0, side] = port
    entry["family"], entry["proto"], entry["kinds"] = 4, identity.TCP, SOURCE_NAT | DESTINATION_NAT
    table = Translations(10)
    table.add(entry, 1)

    def translations(keys: NDArray[Any], family: NDArray[np.uint8], times: NDArray[np.uint64]) -> Found:
        flow, rows = table.find(ends_of_flows(keys, family), times.astype(np.int64))
        return Found(flow, rows, tracking_of_ends(rows["other"]))

    flows = Flows(lab)
    kind, after = frames.ip("192.0.2.1", "10.9.9.9", frames.TCP, frames.tcp(1234, 8080, SYN))
    flows.count(*CONNECTION, frames.ethernet(kind, after), frames.ethernet(0x88CC, b"\0" * 40))

    before, became, other = flows.finished(translations=translations)

    for span, there, way in ((before, became, "to"), (became, before, "from")):
        [link] = span.links
        assert link.trace_id == there.trace_id
        assert any(link.span_id)
        assert said(span)[f"skytrail.nat.{way}.tracking_id"] == there.trace_id.hex()
        assert said(span)[f"skytrail.nat.{way}.kind"] == "snat+dnat"
        [about] = link.attributes
        assert (about.key, about.value.string_value) == ("skytrail.link.kind", f"nat {way}")
    assert not other.links
    assert not [key for key in said(other) if ".nat." in key]


def test_addresses_of_many_flows_stay_with_their_flows(lab: Lab) -> None:
    flows = Flows(lab)
    ends = [(f"10.{n % 7}.0.{n}", f"2001:db8::{n:x}", n) for n in range(1, 60)]
    packets: list[bytes] = []
    for four, six, n in ends:
        packets.append(frames.ethernet(*frames.ip(four, "10.9.9.9", frames.UDP, frames.udp(1000 + n, 9))))
        packets.append(frames.ethernet(*frames.ip(six, "2001:db8::ffff", frames.TCP, frames.tcp(2000 + n, 9, SYN))))
    flows.count(*packets)

    sources = {(said(span)["source.address"], said(span)["source.port"]) for span in flows.finished()}

    assert sources == {(four, 1000 + n) for four, _, n in ends} | {(six, 2000 + n) for _, six, n in ends}


def test_no_records_make_no_spans(lab: Lab) -> None:
    flows = Flows(lab)
    flows.table.drain()
    assert flows.finished() == []


def test_transport_is_in_the_name(lab: Lab) -> None:
    flows = Flows(lab)
    for proto, payload in ((frames.SCTP, frames.sctp(1, 2)), (frames.ICMP, frames.echo(True, 5))):
        flows.count(frames.ethernet(*frames.ip(HERE, THERE, proto, payload)))

    assert [span.name for span in flows.finished()] == ["flow ipv4 sctp", "flow ipv4 icmp"]
