from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import Any

import pytest
from support.linkoracle import dump, ip_json
from support.netlab import NETNS, Net

from skytrail.kernel.linkmessages import address_dump_request
from skytrail.kernel.netlink import NetlinkDecodeError, NsidTable, attribute
from topology.probes.netlink.addressdata import Address, decode_address

HEADER = struct.Struct("=BBBBI")
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
FLAGS = (
    "secondary",
    "temporary",
    "nodad",
    "dadfailed",
    "home",
    "deprecated",
    "mngtmpaddr",
    "noprefixroute",
    "autojoin",
    "stable-privacy",
)


def make(net: Net) -> str:
    netns = net.netns("a", ipv6=True)
    for command in (
        "link add name left type veth peer name right",
        "link set dev left up",
        "link set dev right up",
        "address add 10.1.0.1/24 dev left broadcast + label left:1",
        "address add 10.1.0.9/24 dev left noprefixroute",
        "address add 10.9.0.1 peer 10.9.0.2/32 dev left",
        "address add 169.254.1.1/16 dev right scope link metric 7",
        "address add 2001:db8::1/64 dev left nodad",
        "address add 2001:db8:1::1/64 dev left nodad mngtmpaddr valid_lft 1000 preferred_lft 0",
        "address add 2001:db8:2::1 peer 2001:db8:2::2/128 dev left nodad metric 77",
    ):
        net.ip(command, netns=netns)
    return netns


def shown(link: dict[str, Any], says: dict[str, Any]) -> Address:
    return Address(
        ifindex=link["ifindex"],
        family=FAMILIES[says["family"]],
        local=says["local"],
        prefix_length=says["prefixlen"],
        peer=says.get("address", ""),
        scope=says["scope"],
        flags=tuple(sorted([*(flag for flag in FLAGS if says.get(flag)), *([] if says.get("dynamic") else ["permanent"])])),
        label=says.get("label", ""),
        broadcast=says.get("broadcast", ""),
        metric=says.get("metric", 0),
    )


def comparable(one: Address) -> Address:
    """Flags sorted; without the protocol, which this ip does not know."""
    values = {name: getattr(one, name) for name in Address.__dataclass_fields__}
    return Address(**{**values, "flags": tuple(sorted(one.flags)), "protocol": ""})


def test_addresses_are_as_iproute2_shows_them(net: Net) -> None:
    netns = make(net)
    says = [shown(link, one) for link in ip_json(netns, "address") for one in link["addr_info"]]
    ours = [decode_address(raw) for raw in dump(netns, 22, address_dump_request(None))]
    assert Counter(comparable(one) for one in ours if one) == Counter(says)
    assert len(says) == len(ours)
    assert {one.cidr for one in ours if one} >= {"10.1.0.1/24", "10.9.0.1/32", "2001:db8:2::1/128", "127.0.0.1/8"}


def test_another_namespaces_addresses_are_asked_for_by_its_number(net: Net) -> None:
    netns = make(net)
    table = NsidTable()
    try:
        with (NETNS / netns).open() as namespace:
            nsid = table.assigned(namespace.fileno())
    finally:
        table.close()
    here = [decode_address(raw) for raw in dump("", 22, address_dump_request(nsid))]
    assert {one.cidr for one in here if one} >= {"10.1.0.1/24", "2001:db8::1/64"}


def test_who_set_an_address_is_told() -> None:
    body = attribute(1, bytes(15) + b"\1")
    known = decode_address(HEADER.pack(10, 128, 0x80, 254, 1) + body + attribute(11, b"\1"))
    daemon = decode_address(HEADER.pack(10, 128, 0x80, 254, 1) + body + attribute(11, b"\x2a"))
    assert known is not None
    assert daemon is not None
    assert (known.protocol, daemon.protocol) == ("kernel_lo", "42")


def test_what_passes_by_itself_makes_no_difference() -> None:
    body = attribute(1, bytes(15) + b"\1")
    lasting = HEADER.pack(10, 64, 0x80, 0, 3) + body + attribute(8, struct.pack("=I", 0x80)) + attribute(6, bytes(16))
    tentative = HEADER.pack(10, 64, 0xC4, 0, 3) + body + attribute(8, struct.pack("=I", 0xC4)) + attribute(6, b"\1" * 16)
    assert decode_address(lasting) == decode_address(tentative)


def test_the_first_flag_means_another_thing_for_ipv6() -> None:
    old = decode_address(HEADER.pack(2, 24, 0x1, 0, 3) + attribute(2, bytes([10, 0, 0, 1])))
    new = decode_address(HEADER.pack(10, 64, 0x1, 0, 3) + attribute(1, bytes(15) + b"\1"))
    assert old is not None
    assert new is not None
    assert (old.flags, new.flags) == (("secondary",), ("temporary",))


def test_a_message_without_an_address_is_none() -> None:
    assert decode_address(HEADER.pack(10, 128, 0, 0, 3) + attribute(7, bytes(16))) is None


@pytest.mark.parametrize(
    ("family", "length", "address"),
    [(2, 33, bytes(4)), (10, 129, bytes(16)), (2, 24, bytes(16)), (10, 24, bytes(4)), (9, 1, bytes(4))],
)
def test_what_is_no_address_of_its_family_is_refused(family: int, length: int, address: bytes) -> None:
    with pytest.raises(NetlinkDecodeError, match=f"no prefix of address family {family}"):
        decode_address(HEADER.pack(family, length, 0, 0, 3) + attribute(1, address))
