from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel.genetlink import GenericSocket
from skytrail.kernel.netlink import NetlinkDecodeError, attribute, integer_attribute
from topology.probes.ethtool.source import ethtool_family
from topology.probes.ethtool.translate import (
    NOTIFICATIONS,
    Query,
    decode_drvinfo,
    decode_feature_names,
    decode_ifindex,
    decode_reply,
    feature_names_request,
    queries,
    request,
)

NAMES = ("tx-a", "", "tx-c", *(f"f{bit}" for bit in range(3, 40)))
QUERIES = {query.command: query for query in queries(NAMES)}
FEATURES, LINKINFO, LINKMODES, LINKSTATE, RINGS, CHANNELS = 11, 2, 4, 6, 15, 17
FUZZED = st.sampled_from(sorted(QUERIES))


def bitset(size: int, *words: int) -> bytes:
    return attribute(4, integer_attribute(2, size) + attribute(4, struct.pack(f"={len(words)}I", *words)))


def real_answers() -> list[tuple[Query, bytes]]:
    """What this kernel answers to each query, and the names of its features."""
    with GenericSocket() as generic:
        family = ethtool_family().number
        names = decode_feature_names(generic.ask(family, 1, feature_names_request())[0].body)
        return [
            (query, answer.body)
            for query in queries(names)
            for answer in generic.ask(family, query.command, request(None), dump=True)
        ]


def real_feature_names() -> bytes:
    with GenericSocket() as generic:
        return generic.ask(ethtool_family().number, 1, feature_names_request())[0].body


@pytest.mark.parametrize(
    ("command", "body", "expected"),
    [
        (LINKMODES, attribute(2, b"\1") + attribute(5, struct.pack("=I", 100000)), {"AutoNeg": True, "Speed": 100000}),
        (LINKMODES, attribute(5, struct.pack("=I", 0xFFFFFFFF)) + attribute(6, b"\xff"), {}),
        (LINKMODES, attribute(5, struct.pack("=I", 0)) + attribute(6, b"\0"), {"Duplex": "half"}),
        (LINKMODES, attribute(5, struct.pack("=I", 0xFFFF)) + attribute(6, b"\1"), {"Duplex": "full"}),
        (LINKINFO, attribute(2, b"\5"), {"Port": "Direct Attach Copper"}),
        (LINKINFO, attribute(2, b"\x42"), {}),
        (LINKSTATE, attribute(2, b"\0"), {"LinkDetected": False}),
        (RINGS, attribute(2, struct.pack("=I", 8192)) + attribute(6, b"\1\0\0\0"), {"Rings": {"RxMax": 8192, "Rx": 1}}),
        (CHANNELS, attribute(5, b"\x40\0\0\0") + attribute(9, b"\4\0\0\0"), {"Channels": {"CombinedMax": 64, "Combined": 4}}),
        (CHANNELS, attribute(5, struct.pack("=I", 2**32 - 1)), {"Channels": {"CombinedMax": 2**32 - 1}}),
        (CHANNELS, b"", {}),
    ],
)
def test_each_answer_becomes_its_keys_and_the_unknown_is_left_out(command: int, body: bytes, expected: dict[str, Any]) -> None:
    header = attribute(1, integer_attribute(1, 7) + attribute(2, b"eth0\0"))
    assert decode_reply(QUERIES[command], header + body) == expected
    assert decode_ifindex(header + body) == 7


def test_features_are_named_by_their_bits() -> None:
    found = decode_reply(QUERIES[FEATURES], bitset(40, 0b101, 0x80))["Features"]
    assert [name for name, on in found.items() if on] == ["tx-a", "tx-c", "f39"]
    assert list(found) == [name for name in NAMES if name]


def test_bits_beyond_the_names_or_the_size_are_left_out() -> None:
    assert len(decode_reply(QUERIES[FEATURES], bitset(64, 0xFFFFFFFF, 0xFFFFFFFF))["Features"]) == len(NAMES) - 1
    assert decode_reply(QUERIES[FEATURES], bitset(3, 0xFFFFFFFF))["Features"] == {"tx-a": True, "tx-c": True}


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (FEATURES, bitset(33, 1)),
        (FEATURES, attribute(4, integer_attribute(2, 8))),
        (FEATURES, attribute(4, integer_attribute(2, 8) + attribute(4, b"\1\2\3"))),
        (LINKMODES, attribute(5, b"\1\2")),
        (LINKMODES, attribute(6, b"")),
        (RINGS, b"\x09\0\2\0\1\0\0\0"),
    ],
)
def test_a_lie_about_lengths_is_refused(command: int, body: bytes) -> None:
    with pytest.raises(NetlinkDecodeError):
        decode_reply(QUERIES[command], body)


def test_a_message_about_no_interface_is_refused() -> None:
    for body in (b"", attribute(1, b""), attribute(2, integer_attribute(1, 7))):
        with pytest.raises(NetlinkDecodeError, match="no interface"):
            decode_ifindex(body)


def drvinfo(*texts: bytes) -> bytes:
    return struct.pack("=I32s32s32s32s64x", 3, *texts)


def test_the_driver_is_named_and_its_fillers_are_left_out() -> None:
    assert decode_drvinfo(drvinfo(b"ixgbe", b"5.1.0-k", b"0x800006da", b"0000:01:00.0")) == {
        "Driver": "ixgbe",
        "DriverVersion": "5.1.0-k",
        "FirmwareVersion": "0x800006da",
        "BusInfo": "0000:01:00.0",
    }
    assert decode_drvinfo(drvinfo(b"bridge", b"2.3", b"N/A", b"N/A")) == {"Driver": "bridge", "DriverVersion": "2.3"}
    assert decode_drvinfo(drvinfo(b"x" * 32, b" \0", b"\xff\xfe", b"")) == {"Driver": "x" * 32, "FirmwareVersion": "��"}
    with pytest.raises(NetlinkDecodeError, match="195 bytes"):
        decode_drvinfo(bytes(195))


def test_the_names_of_features_are_bounded() -> None:
    def strings(*numbers: int) -> bytes:
        each = b"".join(attribute(1, integer_attribute(1, number) + attribute(2, b"f\0")) for number in numbers)
        return attribute(2, attribute(1, integer_attribute(1, 4) + attribute(3, each)))

    assert decode_feature_names(strings(2, 0)) == ("f", "", "f")
    assert decode_feature_names(strings()) == ()
    for number in (1024, 2**31 - 1, -1):
        with pytest.raises(NetlinkDecodeError, match="number"):
            decode_feature_names(strings(0, number))


def test_all_that_is_read_is_heard_of_but_the_carrier() -> None:
    assert {query.command for query in QUERIES.values() if query.notification not in NOTIFICATIONS} == {LINKSTATE}


@given(FUZZED, st.binary(max_size=300))
def test_random_bytes_are_decoded_or_refused(command: int, raw: bytes) -> None:
    for decode in (lambda body: decode_reply(QUERIES[command], body), decode_ifindex, decode_feature_names, decode_drvinfo):
        with contextlib.suppress(NetlinkDecodeError):
            decode(raw)


@given(st.data())
def test_a_real_answer_with_flipped_bytes_is_decoded_or_refused(data: Any) -> None:
    query, body = data.draw(st.sampled_from(ANSWERED))
    raw = flipped(data, body)
    for decode in (lambda changed: decode_reply(query, changed), decode_ifindex):
        with contextlib.suppress(NetlinkDecodeError):
            decode(raw)


@given(st.data())
def test_real_feature_names_with_flipped_bytes_are_decoded_or_refused(data: Any) -> None:
    with contextlib.suppress(NetlinkDecodeError):
        assert len(decode_feature_names(flipped(data, STRINGS))) <= 1024


def flipped(data: Any, body: bytes) -> bytes:
    raw = bytearray(body)
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    return bytes(raw)


def test_a_real_answer_cut_at_every_byte_is_decoded_or_refused() -> None:
    refused = 0
    for query, body in ANSWERED:
        for end in range(len(body)):
            try:
                decode_ifindex(body[:end])
                decode_reply(query, body[:end])
            except NetlinkDecodeError:
                refused += 1
    assert refused > 100


ANSWERED = real_answers()
STRINGS = real_feature_names()
