"""Missing, late and repeated segments, zero windows, smoothed RTT: frames whose story is known."""

from __future__ import annotations

from typing import Any

import pytest
from support import frames
from support.capture import Captured
from support.frames import ACK, FIN, RST, SYN
from support.lab import Lab

pytestmark = pytest.mark.kernel

MS = 1_000_000
BEGIN = 4_294_967_290  # sequence numbers wrap soon after
Segment = tuple[int, bytes]
"""Sequence number behind BEGIN, payload."""


def told(lab: Lab, *packets: tuple[bool, int, int, int, int, bytes, int], six: bool = False) -> dict[str, Any]:
    """What the flow of packets (back, ms, flags, seq, ack, payload, window) says."""
    ends = ("2001:db8::1", "2001:db8::2") if six else ("10.0.0.1", "10.0.0.2")
    lab.begin()
    for back, at, flags, seq, ack, payload, window in packets:
        ports = (80, 40000) if back else (40000, 80)
        segment = bytearray(frames.tcp(*ports, flags, payload, seq=seq % 2**32, ack=ack % 2**32))
        segment[14:16] = window.to_bytes(2, "big")
        kind, packet = frames.ip(*(ends[::-1] if back else ends), frames.TCP, bytes(segment))
        frame = frames.on_link([], kind, packet, back=back)
        lab.count([Captured(frame.ljust(60, b"\0"), at * MS + 1)])  # with the padding that a link adds
    lab.assert_nothing_lost_silently()
    (flow,) = lab.flows()
    measured = ("SmoothedRTT", "SegmentSkipped", "SegmentOutOfOrder", "SegmentRepeated", "ZeroWindows")
    return {key: value for key, value in flow["TCPMetric"].items() if key[2:] in measured}


def data(seq: int, payload: bytes, at: int = 0) -> tuple[bool, int, int, int, int, bytes, int]:
    return (False, at, ACK, BEGIN + seq, 1, payload, 500)


def ack(number: int, at: int = 0, window: int = 500) -> tuple[bool, int, int, int, int, bytes, int]:
    return (True, at, ACK, 1, BEGIN + number, b"", window)


ORDERS = [
    # in order, over the wrap
    ([(0, b"abcd"), (4, b"efgh"), (8, b"i")], {}),
    # the second one later: it was missing, then it came
    ([(0, b"abcd"), (8, b"i"), (4, b"efgh"), (9, b"j")], {"ABSegmentSkipped": 1, "ABSegmentOutOfOrder": 1}),
    # what was missing comes in two parts, the later one first
    ([(0, b"ab"), (6, b"gh"), (4, b"ef"), (2, b"cd"), (8, b"i")], {"ABSegmentSkipped": 1, "ABSegmentOutOfOrder": 2}),
    # … and once more: then it is a repetition
    ([(0, b"ab"), (4, b"ef"), (2, b"cd"), (2, b"cd")],
     {"ABSegmentSkipped": 1, "ABSegmentOutOfOrder": 1, "ABSegmentRepeated": 1}),
    # it never comes
    ([(0, b"ab"), (4, b"ef"), (6, b"gh")], {"ABSegmentSkipped": 1}),
    # sent again whole, and with more behind it: what is behind is expected then
    ([(0, b"ab"), (0, b"ab"), (0, b"abcd"), (4, b"ef")], {"ABSegmentRepeated": 2}),
    # two gaps: of the older one nothing is remembered
    ([(0, b"a"), (2, b"c"), (4, b"e"), (3, b"d"), (1, b"b")],
     {"ABSegmentSkipped": 2, "ABSegmentOutOfOrder": 1, "ABSegmentRepeated": 1}),
]  # fmt: skip


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(("segments", "expected"), ORDERS)
def test_missing_late_and_repeated_segments(lab: Lab, segments: list[Segment], expected: dict[str, int], six: bool) -> None:
    assert told(lab, *(data(seq, payload) for seq, payload in segments), six=six) == expected


def test_acknowledgements_and_padding_are_no_segments(lab: Lab) -> None:
    """A keep-alive, a window probe: a number below the next one, and nothing in it."""
    found = told(lab, data(0, b"ab"), ack(2, 5), data(1, b"", 6), ack(2, 6), data(2, b"cd", 7), ack(4, 12))
    assert found == {"ABSmoothedRTT": 5 * MS}


def test_handshake_and_farewell_count_as_a_byte_each(lab: Lab) -> None:
    packets = [
        (False, 0, SYN, BEGIN, 0, b"", 500),
        (True, 7, SYN | ACK, 70, BEGIN + 1, b"", 500),
        (False, 9, ACK, BEGIN + 1, 71, b"", 500),
        (False, 9, ACK, BEGIN + 1, 71, b"ab", 500),
        (False, 9, ACK | FIN, BEGIN + 3, 71, b"c", 500),
        (True, 11, ACK | FIN, 71, BEGIN + 5, b"", 500),
        (False, 12, ACK, BEGIN + 5, 72, b"", 500),
    ]
    found = told(lab, *packets)
    assert found == {"ABSmoothedRTT": 7 * MS * 7 // 8 + 2 * MS // 8, "BASmoothedRTT": 2 * MS * 7 // 8 + 1 * MS // 8}
    # a SYN and a FIN that are sent again
    again = [packets[0], *packets[:5], packets[4], *packets[5:]]
    assert told(lab, *again) == {
        "ABSegmentRepeated": 2,
        "BASmoothedRTT": found["BASmoothedRTT"],
    }


def test_smoothed_rtt_is_that_of_rfc_6298(lab: Lab) -> None:
    took = [40, 40, 80, 8, 200, 40]
    packets, at, seq, smoothed = [], 0, 0, 0.0
    for number, ms in enumerate(took):
        packets += [data(seq, b"xx", at), data(seq + 2, b"yy", at + 1), ack(seq + 1, at + 2), ack(seq + 4, at + ms)]
        smoothed = ms if number == 0 else smoothed * 7 / 8 + ms / 8
        at, seq = at + ms + 5, seq + 4
    found = told(lab, *packets)
    assert found.keys() == {"ABSmoothedRTT"}
    assert found["ABSmoothedRTT"] == pytest.approx(smoothed * MS, abs=100)


def test_what_was_sent_twice_is_not_timed(lab: Lab) -> None:
    """Karn's rule: which of them is acknowledged, nobody knows."""
    assert told(lab, data(0, b"ab", 0), data(0, b"ab", 300), ack(2, 340)) == {"ABSegmentRepeated": 1}
    # the next one is timed again
    found = told(lab, data(0, b"ab", 0), data(0, b"ab", 300), ack(2, 340), data(2, b"cd", 400), ack(4, 420))
    assert found == {"ABSegmentRepeated": 1, "ABSmoothedRTT": 20 * MS}


def test_what_waits_for_a_missing_segment_is_not_timed(lab: Lab) -> None:
    """Its acknowledgement comes when the missing one has: that is the sender's patience, and no round trip."""
    found = told(lab, data(0, b"ab", 0), ack(2, 1), data(4, b"ef", 10), data(2, b"cd", 310), ack(6, 311))
    assert found == {"ABSmoothedRTT": MS, "ABSegmentSkipped": 1, "ABSegmentOutOfOrder": 1}


@pytest.mark.parametrize("begin", [1000, BEGIN - 1000])
def test_a_new_connection_on_a_flow_that_did_not_end_begins_anew(lab: Lab, begin: int) -> None:
    """Its numbers have nothing to do with those of the one before, which one end forgot."""
    again = [
        (False, 5, SYN, begin, 0, b"", 500),
        (True, 6, SYN | ACK, 50_000, begin + 1, b"", 500),
        (False, 7, ACK, begin + 1, 50_001, b"ab", 500),
        (True, 8, ACK, 50_001, begin + 3, b"yz", 500),
    ]
    before = [data(0, b"abcd"), (True, 1, ACK, 1, BEGIN + 4, b"uvwxyz", 500)]
    found = told(lab, *before, *again)
    assert not {key for key in found if "Segment" in key}


def test_zero_windows_are_the_receivers(lab: Lab) -> None:
    reset = (True, 3, RST | ACK, 1, BEGIN + 2, b"", 0)
    assert told(lab, data(0, b"ab"), ack(2, window=0), ack(2, window=0), ack(2), reset) == {
        "BAZeroWindows": 2,
        "ABSmoothedRTT": 1,
    }
    assert told(lab, (False, 0, SYN, BEGIN, 0, b"", 0)) == {}


def test_a_super_packet_is_one_packet_with_all_its_bytes(lab: Lab) -> None:
    payload = bytes(3000)
    kind, packet = frames.ip("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(40000, 80, ACK, payload, seq=10))
    after, more = frames.ip("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(40000, 80, ACK, b"x", seq=3010))
    lab.begin()
    lab.count([Captured(frames.on_link([], kind, packet), 1)], gso=(1000, 3))
    lab.count([Captured(frames.on_link([], after, more), 2)])
    (flow,) = lab.flows()
    assert flow["Metric"]["ABPackets"] == 4
    assert not {key for key in flow["TCPMetric"] if "Segment" in key}


def test_what_goes_out_where_it_came_in_has_not_been_repeated(lab: Lab) -> None:
    """A router with one arm; each packet passes both hooks of one interface."""
    lab.begin()
    for at, (back, seq, ack_, payload, window) in enumerate(
        [(False, 10, 1, b"ab", 500), (True, 1, 12, b"", 0), (False, 12, 1, b"cd", 500), (True, 1, 14, b"", 500)]
    ):
        ports, ends = ((80, 40000), ("10.0.0.2", "10.0.0.1")) if back else ((40000, 80), ("10.0.0.1", "10.0.0.2"))
        segment = bytearray(frames.tcp(*ports, ACK, payload, seq=seq, ack=ack_))
        segment[14:16] = window.to_bytes(2, "big")
        kind, packet = frames.ip(*ends, frames.TCP, bytes(segment))
        for egress in (False, True):
            lab.count([Captured(frames.on_link([], kind, packet), at * MS + 1 + egress)], egress=egress)
    (flow,) = lab.flows()
    assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (4, 4)
    assert not {key for key in flow["TCPMetric"] if "Segment" in key}
    assert flow["TCPMetric"]["ABSmoothedRTT"] == MS
    assert flow["TCPMetric"]["BAZeroWindows"] == 1


def test_a_fragment_tells_nothing(lab: Lab) -> None:
    whole = frames.tcp(40000, 80, ACK, bytes(1000), seq=10)
    lab.begin()
    kind, packet_ = frames.ip("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(40000, 80, ACK, b"x", seq=9))
    lab.count([Captured(frames.on_link([], kind, packet_), 1)])
    for part, offset, more in ((whole[:800], 0, True), (whole[800:], 100, False)):
        packet = bytearray(frames.ip4("10.0.0.1", "10.0.0.2", frames.TCP, part))
        packet[4:8] = (7).to_bytes(2, "big") + (offset | 0x2000 * more).to_bytes(2, "big")
        lab.count([Captured(frames.on_link([], frames.ETH_IP, bytes(packet)), 1)])
    kind, packet_ = frames.ip("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(40000, 80, ACK, b"x", seq=1010))
    lab.count([Captured(frames.on_link([], kind, packet_), 1)])
    (flow,) = lab.flows()
    assert not {key for key in flow["TCPMetric"] if "Segment" in key}
