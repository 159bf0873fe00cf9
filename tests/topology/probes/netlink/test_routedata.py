from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import Any

import pytest
from support.linkoracle import dump
from support.netlab import Net
from support.routelab import make_routes, numeric_json

from skytrail.kernel.netlink import NetlinkDecodeError, attribute, integer_attribute
from topology.probes.netlink.routedata import NextHop, Route, decode_route, route_dump_request
from topology.probes.netlink.routenames import ROUTE_PREFERENCES, ROUTE_TYPES, SCOPES

HEADER = struct.Struct("=8BI")


def header(family: int = 2, length: int = 24, kind: int = 1, flags: int = 0) -> bytes:
    return HEADER.pack(family, length, 0, 0, 254, 3, 0, kind, flags)


def hop(says: dict[str, Any], indexes: dict[str, int]) -> NextHop:
    gateway = says.get("gateway") or says.get("via", {}).get("host", "")
    return NextHop(gateway, indexes.get(says.get("dev", ""), 0), says.get("weight", 1), "onlink" in says["flags"])


def shown(says: dict[str, Any], indexes: dict[str, int]) -> Route:
    family = socket.AF_INET6 if "pref" in says else socket.AF_INET
    bits = 128 if family == socket.AF_INET6 else 32
    whole = {"default": "::/0" if bits == 128 else "0.0.0.0/0"}
    destination = whole.get(says["dst"], says["dst"])
    hops = tuple(hop(one, indexes) for one in says.get("nexthops", [says]))
    return Route(
        family=family,
        table=int(says["table"]),
        prefix=destination if "/" in destination else f"{destination}/{bits}",
        protocol=int(says["protocol"]),
        scope=SCOPES[int(says["scope"])],
        type=ROUTE_TYPES[int(says["type"])],
        tos=int(says.get("tos", "0"), 16),
        source_prefix=says.get("from", ""),
        prefsrc=says.get("prefsrc", ""),
        priority=says.get("metric", 0),
        hops=() if hops == (NextHop(),) else hops,
        nexthop_id=says.get("nhid", 0),
        preference="" if says.get("pref", "medium") == "medium" else says["pref"],
        metrics=tuple(says.get("metrics", [{}])[0].items()),
    )


def test_routes_of_all_tables_are_as_iproute2_shows_them(net: Net) -> None:
    netns, indexes = make_routes(net)
    says = [shown(one, indexes) for one in numeric_json(netns, "-d", "route", "show", "table", "all")]
    ours = [decode_route(raw) for raw in dump(netns, 26, route_dump_request())]
    assert len(says) > 20
    assert Counter(ours) == Counter(says)


def test_one_familys_routes_are_asked_for(net: Net) -> None:
    netns, _ = make_routes(net)
    found = [decode_route(raw) for raw in dump(netns, 26, route_dump_request(socket.AF_INET6))]
    assert {one.family for one in found if one} == {socket.AF_INET6}


def test_a_protocol_has_its_name() -> None:
    found = decode_route(header() + attribute(1, bytes([10, 0, 0, 0])))
    assert found is not None
    assert found.protocol_name == "boot"
    assert Route(2, 254, "10.0.0.0/24", 77, "global", "unicast").protocol_name == "77"


def test_mpls_labels_are_read_outermost_first() -> None:
    labels = struct.pack("!II", 100 << 12 | 64, 200 << 12 | 0x100 | 64)
    encapsulated = attribute(21, struct.pack("=H", 1)) + attribute(22 | 0x8000, attribute(1, labels) + attribute(2, b"\x40"))
    single = decode_route(header() + integer_attribute(4, 7) + attribute(5, bytes([10, 0, 0, 9])) + encapsulated)
    assert single is not None
    assert single.hops == (NextHop("10.0.0.9", 7, encapsulation="mpls", labels=(100, 200)),)
    part = attribute(5, bytes([10, 0, 0, 8])) + encapsulated
    several = decode_route(header() + attribute(9, struct.pack("=HBBi", 8 + len(part), 0, 2, 7) + part))
    assert several is not None
    assert several.hops == (NextHop("10.0.0.8", 7, weight=3, encapsulation="mpls", labels=(100, 200)),)


@pytest.mark.parametrize(("number", "name"), [(2, "ip"), (5, "seg6"), (8, "rpl"), (99, "other")])
def test_other_encapsulations_are_named(number: int, name: str) -> None:
    found = decode_route(
        header() + integer_attribute(4, 7) + attribute(21, struct.pack("=H", number)) + attribute(22, b"\1\2\3")
    )
    assert found is not None
    assert found.hops[0].encapsulation == name


def test_clones_and_other_families_are_no_routes() -> None:
    assert decode_route(header(flags=0x200)) is None
    assert decode_route(header(family=28)) is None
    assert decode_route(header(family=128)) is None


def test_ages_and_carrier_make_no_difference() -> None:
    first = decode_route(header(10, 64) + attribute(1, bytes(16)) + integer_attribute(4, 7) + attribute(12, bytes(32)))
    second = decode_route(
        header(10, 64, flags=0x10) + attribute(1, bytes(16)) + integer_attribute(4, 7) + attribute(23, bytes(4))
    )
    assert first == second


def test_preferences_are_told() -> None:
    for number, name in ((0, ""), (1, "high"), (3, "low")):
        found = decode_route(header(10, 0) + attribute(20, bytes([number])))
        assert found is not None
        assert found.preference == name
    assert set(ROUTE_PREFERENCES) == {1, 3}


@pytest.mark.parametrize("size", [0, 7, 17, 65535])
def test_a_next_hop_of_an_impossible_length_is_refused(size: int) -> None:
    with pytest.raises(NetlinkDecodeError, match="next hop at byte 0"):
        decode_route(header() + attribute(9, struct.pack("=HBBi", size, 0, 0, 7) + bytes(8)))
