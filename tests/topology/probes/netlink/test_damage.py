"""Damaged messages are decoded or refused with NetlinkDecodeError, never anything else."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrail.kernel.netlink import NetlinkDecodeError, attribute
from topology.probes.netlink.addressdata import decode_address
from topology.probes.netlink.kinds import KINDS, PORT_KINDS
from topology.probes.netlink.linkdata import link_metadata
from topology.probes.netlink.neighbourdata import decode_neighbour, neighbour_lists
from topology.probes.netlink.routedata import decode_route
from topology.probes.netlink.routingtables import routing_tables
from topology.probes.netlink.ruledata import decode_rule

RECORDED = [
    base64.b64decode(json.loads(line)["payload"])
    for line in (Path(__file__).parent / "recorded.jsonl").read_text().splitlines()
]
HOP = struct.pack("=HBBi", 16, 0, 1, 3) + attribute(5, bytes(4))
ROUTE = struct.pack("=8BI", 2, 24, 0, 0, 254, 3, 0, 1, 0) + b"".join(
    (attribute(1, bytes([10, 0, 0, 0])), attribute(8, attribute(2, bytes(4))), attribute(9, HOP + HOP), attribute(22, bytes(8)))
)
RULE = (
    struct.pack("=8BI", 2, 24, 8, 0, 254, 0, 0, 1, 0)
    + attribute(1, bytes(4))
    + attribute(2, bytes(4))
    + attribute(20, bytes(8))
)
ADDRESS = struct.pack("=4BI", 10, 64, 0, 0, 3) + attribute(1, bytes(15) + b"\1") + attribute(8, bytes(4))
NEIGHBOUR = struct.pack("=BxxxiHBB", 2, 3, 2, 0, 1) + attribute(1, bytes(4)) + attribute(2, bytes(6)) + attribute(5, bytes(2))


def link(raw: bytes) -> None:
    json.dumps(link_metadata(raw)).encode("utf-8")


def route(raw: bytes) -> None:
    found = decode_route(raw)
    if found:
        for hop in found.hops:
            routing_tables([found], hop.ifindex)


def neighbour(raw: bytes) -> None:
    found = decode_neighbour(raw)
    if found:
        neighbour_lists([found, found])


DECODERS: list[tuple[Callable[[bytes], Any], list[bytes]]] = [
    (link, RECORDED),
    (decode_address, [ADDRESS]),
    (route, [ROUTE]),
    (decode_rule, [RULE]),
    (neighbour, [NEIGHBOUR]),
]
every_decoder = pytest.mark.parametrize(("decode", "whole"), DECODERS, ids=[decode.__name__ for decode, _ in DECODERS])


@every_decoder
def test_whole_messages_are_decoded(decode: Callable[[bytes], Any], whole: list[bytes]) -> None:
    for raw in whole:
        decode(raw)


@every_decoder
def test_messages_cut_at_every_byte_are_decoded_or_refused(decode: Callable[[bytes], Any], whole: list[bytes]) -> None:
    refused = 0
    for raw in whole[::7]:
        for end in range(len(raw)):
            try:
                decode(raw[:end])
            except NetlinkDecodeError:
                refused += 1
    assert refused > 10


@every_decoder
@given(data=st.data())
@settings(deadline=1000)
def test_messages_with_flipped_bytes_are_decoded_or_refused(
    decode: Callable[[bytes], Any], whole: list[bytes], data: Any
) -> None:
    raw = bytearray(data.draw(st.sampled_from(whole)))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NetlinkDecodeError):
        decode(bytes(raw))


@every_decoder
@given(raw=st.binary(max_size=400))
def test_random_bytes_are_decoded_or_refused(decode: Callable[[bytes], Any], whole: list[bytes], raw: bytes) -> None:
    with contextlib.suppress(NetlinkDecodeError):
        decode(raw)


@every_decoder
@given(
    attributes=st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=40)), max_size=8), family=st.sampled_from([2, 7, 10])
)
def test_attributes_with_random_contents_are_decoded_or_refused(
    decode: Callable[[bytes], Any], whole: list[bytes], attributes: list[tuple[int, bytes]], family: int
) -> None:
    size = 8 if decode is decode_address else 16 if decode is link else 12
    header = bytes([family]) + whole[0][1:size]
    with contextlib.suppress(NetlinkDecodeError):
        decode(header + b"".join(attribute(number, value) for number, value in attributes))


@given(
    kind=st.sampled_from(sorted(KINDS) + sorted(PORT_KINDS)),
    data=st.lists(st.tuples(st.integers(0, 50), st.binary(max_size=40)), max_size=6),
    port=st.booleans(),
)
def test_a_kinds_random_data_is_decoded_or_refused(kind: str, data: list[tuple[int, bytes]], port: bool) -> None:
    first = 4 if port else 1
    packed = b"".join(attribute(number, value) for number, value in data)
    info = attribute(first, kind.encode()) + attribute(first + 1, packed)
    with contextlib.suppress(NetlinkDecodeError):
        link(bytes(16) + attribute(3, b"e") + attribute(18, info))


@pytest.mark.parametrize("number", [18, 22, 43, 52])
def test_attributes_nested_deeply_are_not_followed(number: int) -> None:
    nested = b""
    for _ in range(2000):
        nested = attribute(number, nested) if len(nested) < 60000 else nested
    with contextlib.suppress(NetlinkDecodeError):
        link(bytes(16) + attribute(3, b"e") + nested)
