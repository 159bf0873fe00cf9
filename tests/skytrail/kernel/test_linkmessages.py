from __future__ import annotations

import contextlib
import itertools
import json
import struct
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel.linkmessages import Departure, Link, decode_departure, decode_link, dump_request
from skytrail.kernel.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NetlinkDecodeError,
    attribute,
    integer_attribute,
    message,
    messages,
    open_route_socket,
)

HEADER = struct.Struct("=BxHiII")


def payload(*parts: bytes, family: int = 0, ifindex: int = 5) -> bytes:
    return HEADER.pack(family, 1, ifindex, 0x1043, 0) + b"".join(parts)


def decode(raw: bytes) -> Link | None:
    return decode_link(raw, 0, len(raw), 9)


def dump() -> list[bytes]:
    """The payloads of a real dump of our own namespace."""
    found: list[bytes] = []
    with open_route_socket() as route:
        route.settimeout(5)
        route.send(message(18, NLM_F_REQUEST | NLM_F_DUMP, 1, dump_request(None)))
        while True:
            raw = route.recv(65536)
            for one in messages(raw, len(raw)):
                if one.kind != 16:
                    return found
                found.append(raw[one.start : one.end])


def test_every_link_of_this_host_is_decoded_as_iproute2_shows_it() -> None:
    shown = json.loads(subprocess.run(["ip", "-d", "-j", "link"], check=True, capture_output=True, text=True).stdout)
    links = {link.ifindex: link for link in map(decode, dump()) if link is not None}
    assert links
    for line in shown:
        link = links.get(line["ifindex"])
        if link is None:
            continue  # it came between the two looks: another test may make one
        assert (link.name, link.mtu, link.mac.hex(":")) == (line["ifname"], line["mtu"], line.get("address", ""))
        assert link.kind == line.get("linkinfo", {}).get("info_kind", "")
        assert link.up == ("UP" in line["flags"])
        assert link.bus == "/".join(filter(None, (line.get("parentbus"), line.get("parentdev"))))
        assert (link.arphrd == 772) == (line["link_type"] == "loopback")


def test_a_geneve_devices_port_is_read() -> None:
    data = attribute(2, attribute(5, struct.pack("!H", 6081)))
    link = decode(payload(attribute(3, b"g0\0"), attribute(18, attribute(1, b"geneve\0") + data)))
    assert link is not None
    assert (link.kind, link.tunnel_port) == ("geneve", 6081)


@pytest.mark.parametrize(("value", "attached"), [(0, False), (1, True), (2, True), (4, True)])
def test_an_xdp_program_is_seen(value: int, attached: bool) -> None:
    link = decode(payload(attribute(3, b"e\0"), attribute(43, attribute(2, bytes([value])))))
    assert link is not None
    assert link.xdp is attached


def test_a_name_that_is_no_utf8_keeps_its_bytes() -> None:
    link = decode(payload(attribute(3, b"e\xff\0")))
    assert link is not None
    assert link.name.encode("utf-8", "surrogateescape") == b"e\xff"


def test_a_bridges_word_about_its_port_is_not_taken_for_a_link() -> None:
    raw = payload(attribute(3, b"e\0"), family=7)
    assert decode(raw) is None
    assert decode_departure(raw, 0, len(raw)) is None


def test_a_wireless_event_is_not_taken_for_a_link() -> None:
    assert decode(payload(attribute(3, b"wlan0\0"), attribute(11, b"12345678"))) is None


def test_a_departure_says_where_to() -> None:
    moved = payload(integer_attribute(45, 3), integer_attribute(49, 12))
    gone = payload(attribute(3, b"e\0"))
    assert decode_departure(moved, 0, len(moved)) == Departure(5, 3, 12)
    assert decode_departure(gone, 0, len(gone)) == Departure(5, None, 5)


@given(st.binary(max_size=300))
def test_random_bytes_are_decoded_or_refused(raw: bytes) -> None:
    for decoder in (decode, lambda bytes_: decode_departure(bytes_, 0, len(bytes_))):
        with contextlib.suppress(NetlinkDecodeError):
            decoder(raw)


@given(st.data())
def test_a_real_message_with_flipped_bytes_is_decoded_or_refused(data: Any) -> None:
    raw = bytearray(data.draw(st.sampled_from(DUMPED)))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NetlinkDecodeError):
        decode(bytes(raw))


def test_a_real_message_cut_at_every_byte_is_decoded_or_refused() -> None:
    refused = 0
    for raw in DUMPED[:2]:
        for end in range(len(raw)):
            try:
                decode(raw[:end])
            except NetlinkDecodeError:
                refused += 1
    assert refused > 100


def test_deeply_nested_attributes_are_not_followed() -> None:
    nested = b""
    for _ in range(2000):
        nested = attribute(18, nested) if len(nested) < 60000 else nested
    link = decode(payload(attribute(3, b"e\0"), nested))
    assert link is not None
    assert link.kind == ""


DUMPED = list(itertools.islice(dump(), 8))
