from __future__ import annotations

import base64
import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.linkkinds import make_links
from support.linkoracle import compare_links, compare_recorded, dump
from support.netlab import NETNS, Net, in_netns

from skytrail.kernel.linkmessages import decode_link, dump_request
from skytrail.kernel.netlink import (
    NLM_F_REQUEST,
    NetlinkDecodeError,
    NsidTable,
    attribute,
    integer_attribute,
    message,
    messages,
    open_route_socket,
)
from topology.probes.netlink.linkdata import link_metadata

RTMGRP_LINK = 1
HEADER = struct.Struct("=BxHiII")
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded.jsonl").read_text().splitlines()]


def one_link(ifindex: int) -> bytes:
    """The body of a request for one link: that of a dump with the link's number in its header (struct ifinfomsg)."""
    body = dump_request(None, functions=True)
    return body[:4] + ifindex.to_bytes(4, sys.byteorder) + body[8:]


def payload(*parts: bytes, arphrd: int = 1, ifindex: int = 5, flags: int = 0x1043) -> bytes:
    return HEADER.pack(0, arphrd, ifindex, flags, 0) + attribute(3, b"e0\0") + b"".join(parts)


def of_kind(kind: str, *data: bytes, port: bool = False) -> dict[str, Any]:
    """What is made of a kind's data, or of a port's data of a master of that kind."""
    first = 4 if port else 1
    info = attribute(first, kind.encode() + b"\0") + attribute(first + 1, b"".join(data))
    return link_metadata(payload(attribute(18, info)))


def byte(number: int, value: int) -> bytes:
    return attribute(number, bytes([value]))


def links(netns: str) -> dict[str, dict[str, Any]]:
    return {metadata["Name"]: metadata for metadata in map(link_metadata, dump(netns, 18, dump_request(None, functions=True)))}


def test_links_of_all_kinds_of_this_kernel_are_as_iproute2_shows_them(net: Net) -> None:
    netns = net.netns("l", ipv6=True)
    make_links(net, netns, everything=False)
    found = compare_links(netns)
    kinds = {metadata["Type"] for metadata in found.values()}
    assert kinds == {"device", "veth", "bridge", "vxlan", "macvlan", "macvtap", "tun", "ifb"}
    assert found["port"]["BridgePort"]["State"] == "disabled"
    assert found["low"]["AltNames"] == ["one", "two"]
    assert found["vxg"]["VXLAN"]["TTLInherit"]


def test_links_that_a_distributions_kernel_had_are_as_iproute2_showed_them() -> None:
    payloads = [base64.b64decode(line["payload"]) for line in RECORDED]
    found = compare_recorded([line["shown"] for line in RECORDED], payloads)
    kinds = {metadata["Type"] for metadata in found.values()}
    assert kinds >= {"vlan", "ipvlan", "ipvtap", "bond", "team", "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"}
    assert kinds >= {"ipip", "sit", "ip6tnl", "vti", "vti6", "xfrm", "geneve", "vrf", "dummy", "wireguard", "macsec", "hsr"}
    assert kinds >= {"nlmon", "vcan", "vxcan"}


WRONG = {"MTU": 1, "MAC": "", "ParentIndex": 77, "LinkFlags": [], "Type": "x", "VXLAN": {}, "Vlan": 0, "Bond": {}, "Tunnel": {}}


@pytest.mark.parametrize("key", WRONG)
def test_the_oracle_tells_when_something_is_wrong(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(raw: bytes) -> dict[str, Any]:
        found = link_metadata(raw)
        return {**found, key: WRONG[key]} if key in found else found

    monkeypatch.setattr("support.linkoracle.link_metadata", spoiled)
    with pytest.raises(AssertionError, match=key):
        compare_recorded([line["shown"] for line in RECORDED], [base64.b64decode(line["payload"]) for line in RECORDED])


def test_a_peer_in_another_namespace_is_named_by_that_namespaces_number(net: Net) -> None:
    left, right = net.pair()
    (one,) = (metadata for metadata in links(left.netns).values() if metadata["Type"] == "veth")
    assert one["PeerIfIndex"] == links(right.netns)[right.interface]["IfIndex"]
    assert one["LinkNetNsID"] == net.link(left.netns, left.interface)["link_netnsid"]


def test_another_namespaces_links_are_asked_for_by_its_number(net: Net) -> None:
    netns = net.netns("n")
    net.ip("link add name only type ifb", netns=netns)
    table = NsidTable()
    try:
        with (NETNS / netns).open() as namespace:
            nsid = table.assigned(namespace.fileno())
    finally:
        table.close()
    asked = [link_metadata(raw) for raw in dump("", 18, dump_request(nsid, functions=True))]
    assert {metadata["Name"] for metadata in asked} == {"lo", "only"}


UNTOLD = {
    "port2": {"ParentIndex", "PeerIfIndex"},  # the first end of a pair is announced before it has a peer
    "spare2": {"ParentIndex", "PeerIfIndex"},
    "low2": {"ParentIndex", "PeerIfIndex"},
    "port": {"BridgePort"},  # a port's settings are told by AF_BRIDGE messages
    "spare": {"BridgePort"},
    "ms": {"MacvlanSources"},  # nothing tells of these
    "tn": {"Tun"},
    "tp": {"Tun"},
}


def test_an_event_says_the_same_as_an_answer_but_for_what_no_event_tells(net: Net) -> None:
    netns = net.netns("e", ipv6=True)
    last: dict[str, dict[str, Any]] = {}
    with in_netns(netns, lambda: open_route_socket(RTMGRP_LINK)) as route:
        route.settimeout(5)
        make_links(net, netns, everything=False)
        net.ip("link add name theend type ifb", netns=netns)
        while "theend" not in last:
            raw = route.recv(1 << 18)
            for one in messages(raw, len(raw)):
                if one.kind == 16 and decode_link(raw, one.start, one.end, 0):
                    metadata = link_metadata(raw[one.start : one.end])
                    last[metadata["Name"]] = metadata
    now = links(netns)
    assert set(now) - set(last) == {"lo"}
    for name, told in last.items():
        different = {key for key in told.keys() | now[name].keys() if told.get(key) != now[name].get(key)}
        assert different <= UNTOLD.get(name, set()), name


def test_one_link_is_asked_for(net: Net) -> None:
    netns = net.netns("o")
    net.ip("link add name veone type veth peer name vetwo", netns=netns)
    expected = links(netns)["vetwo"]
    with in_netns(netns, open_route_socket) as route:
        route.settimeout(5)
        route.send(message(18, NLM_F_REQUEST, 1, one_link(expected["IfIndex"])))
        raw = route.recv(1 << 16)
    (one,) = messages(raw, len(raw))
    assert link_metadata(raw[one.start : one.end]) == expected


def test_nothing_changes_by_itself(net: Net) -> None:
    netns = net.netns("q", ipv6=True)
    net.ip("link add name brd type bridge stp_state 1 forward_delay 200", netns=netns)
    net.ip("link add name port type veth peer name port2", netns=netns)
    for name in ("port", "port2", "brd"):
        net.ip(f"link set dev {name} up", netns=netns)
    net.ip("link set dev port master brd", netns=netns)
    deadline = time.monotonic() + 30
    while links(netns)["port"]["BridgePort"]["State"] != "forwarding":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = links(netns)
    net.run(netns, "ping", "-6", "-c", "3", "-i", "0.1", "ff02::1%port2", check=False)
    assert links(netns) == before


def test_virtual_functions_are_read() -> None:
    one = b"".join(
        (
            attribute(1, struct.pack("=I32s", 3, bytes.fromhex("020000000099"))),
            attribute(2, struct.pack("=III", 3, 12, 5)),
            attribute(3, struct.pack("=II", 3, 1000)),
            attribute(4, struct.pack("=II", 3, 1)),
            attribute(5, struct.pack("=II", 3, 2)),
            attribute(6, struct.pack("=III", 3, 100, 1000)),
            attribute(7, struct.pack("=II", 3, 0)),
            attribute(8, bytes(80)),
            attribute(9, struct.pack("=II", 3, 0)),
        )
    )
    unknown = attribute(1, struct.pack("=I32s", 4, b"")) + attribute(4, struct.pack("=II", 4, 0xFFFFFFFF))
    functions = attribute(22, attribute(1, one) + attribute(1, unknown))
    assert link_metadata(payload(functions))["Vfs"] == [
        {
            "ID": 3,
            "MAC": "02:00:00:00:00:99",
            "Vlan": 12,
            "Qos": 5,
            "TxRate": 1000,
            "MinTxRate": 100,
            "Spoofchk": True,
            "LinkState": 2,
            "Trust": False,
        },
        {"ID": 4, "MAC": "00:00:00:00:00:00"},
    ]


@pytest.mark.parametrize(
    ("attached", "expected"),
    [
        ([byte(2, 0)], None),
        ([byte(2, 1), integer_attribute(4, 7), integer_attribute(5, 7)], {"Mode": "drv", "ProgID": 7}),
        ([byte(2, 2), integer_attribute(4, 8), integer_attribute(6, 8)], {"Mode": "skb", "ProgID": 8}),
        ([byte(2, 3), integer_attribute(4, 9), integer_attribute(7, 9)], {"Mode": "hw", "ProgID": 9}),
        (
            [byte(2, 4), integer_attribute(5, 7), integer_attribute(6, 8)],
            {"Mode": "multi", "DrvProgID": 7, "SkbProgID": 8},
        ),
    ],
)
def test_xdp_programs_are_named(attached: list[bytes], expected: dict[str, Any] | None) -> None:
    assert link_metadata(payload(attribute(43, b"".join(attached)))).get("XDP") == expected


def test_what_a_physical_device_says_is_read() -> None:
    found = link_metadata(
        payload(
            attribute(34, bytes.fromhex("0011223344556677")),
            attribute(36, bytes.fromhex("aabb")),
            attribute(38, b"p0\0"),
            attribute(54, bytes.fromhex("020000000001")),
            attribute(56, b"0000:01:00.0\0"),
            attribute(57, b"pci\0"),
        )
    )
    assert (found["PhysPortID"], found["PhysSwitchID"], found["PhysPortName"]) == ("0011223344556677", "aabb", "p0")
    assert (found["PermMAC"], found["BusInfo"], found["Bus"]) == ("02:00:00:00:00:01", "0000:01:00.0", "pci")
    assert (found["Type"], found["EncapType"], found["LinkFlags"]) == ("device", "ether", ["UP", "BROADCAST", "MULTICAST"])


def test_can_is_read() -> None:
    timing = struct.pack("=8I", 500000, 875, 125, 6, 7, 2, 1, 10)
    fast = struct.pack("=8I", 2000000, 750, 125, 1, 1, 1, 1, 1)
    found = of_kind(
        "can",
        attribute(1, timing),
        integer_attribute(3, 80000000),
        integer_attribute(4, 1),
        attribute(5, struct.pack("=II", 0x3F, 0x21)),
        integer_attribute(6, 100),
        attribute(8, struct.pack("=HH", 3, 4)),
        attribute(9, fast),
        attribute(11, struct.pack("=H", 120)),
    )
    assert found["CAN"] == {
        "Bitrate": 500000,
        "SamplePoint": 0.875,
        "Clock": 80000000,
        "State": "ERROR-WARNING",
        "Modes": ["LOOPBACK", "FD"],
        "RestartDelay": 0.1,
        "DataBitrate": 2000000,
        "DataSamplePoint": 0.75,
        "Termination": 120,
    }


def test_a_can_bus_without_timing_has_no_rate() -> None:
    assert of_kind("can", attribute(1, bytes(32)), integer_attribute(4, 4))["CAN"] == {"State": "STOPPED"}


def test_ipoib_is_read() -> None:
    found = of_kind("ipoib", *(attribute(number, struct.pack("=H", value)) for number, value in ((1, 0x8001), (2, 1), (3, 0))))
    assert found["IPoIB"] == {"PKey": 0x8001, "Mode": "connected", "Umcast": False}


def test_a_bonds_ipv6_targets_and_slaves_are_read() -> None:
    targets = attribute(0, bytes.fromhex("20010db8000000000000000000000001")) + attribute(1, bytes(16))
    found = of_kind("bond", byte(1, 1), integer_attribute(2, 7), integer_attribute(11, 8), attribute(31, targets))
    assert found["BondMode"] == "active-backup"
    assert found["Bond"] == {"ActiveSlave": 7, "Primary": 8, "NsIP6Targets": ["2001:db8::1"]}


def test_a_prp_device_is_told_from_hsr() -> None:
    assert of_kind("hsr", byte(7, 1), integer_attribute(8, 9))["HSR"] == {"Protocol": "prp", "Interlink": 9}


def test_a_value_without_a_name_stays_a_number_and_unknown_things_are_passed_over() -> None:
    found = of_kind("macvlan", integer_attribute(1, 64), attribute(99, b"x"))
    assert found["MacvlanMode"] == "64"
    port = of_kind("surprise", attribute(1, b"x"), port=True)
    assert (of_kind("surprise", attribute(1, b"x"))["Type"], port["Type"]) == ("surprise", "device")
    assert link_metadata(payload(arphrd=12345))["EncapType"] == "12345"
    assert link_metadata(payload(byte(16, 77)))["State"] == "77"


def test_a_name_that_is_no_utf8_can_be_written_as_json() -> None:
    found = link_metadata(HEADER.pack(0, 1, 5, 0, 0) + attribute(3, b"e\xff\0"))
    assert found["Name"] == "e\\xff"
    json.dumps(found).encode("utf-8")


def test_a_namespace_without_a_number_is_left_out() -> None:
    assert "LinkNetNsID" not in link_metadata(payload(integer_attribute(37, -1)))
    assert link_metadata(payload(integer_attribute(37, 0)))["LinkNetNsID"] == 0


def test_a_link_without_a_name_is_refused() -> None:
    with pytest.raises(NetlinkDecodeError, match="ifindex 5 has no name"):
        link_metadata(HEADER.pack(0, 1, 5, 0, 0))
