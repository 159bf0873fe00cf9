from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Any

from support.linkoracle import dump, ip_json
from support.netlab import Net

from skytrail.kernel.netlink import attribute, integer_attribute
from topology.probes.netlink.neighbourdata import (
    AF_BRIDGE,
    Neighbour,
    decode_neighbour,
    fdb_dump_request,
    neighbour_dump_request,
    neighbour_lists,
)

HEADER = struct.Struct("=BxxxiHBB")
COMMANDS = (
    "link add name left type veth peer name right",
    "link add name brd type bridge",
    "link set dev right master brd",
    "link set dev left up",
    "link set dev right up",
    "link set dev brd up",
    "address add 10.1.0.1/24 dev left",
    "address add 2001:db8::1/64 dev left nodad",
    "link add name vx type vxlan id 9 dstport 4789 remote 10.1.0.3",
    "link set dev vx up",
    "neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev left",
    "neigh add 10.1.0.60 lladdr 02:00:00:00:00:07 dev left nud noarp",
    "neigh add 2001:db8::5 lladdr 02:00:00:00:00:06 dev left nud stale router extern_learn",
    "neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev left nud permanent protocol 42",
)
FDB = (
    "fdb add 02:00:00:00:00:0a dev right master static",
    "fdb add 02:00:00:00:00:0b dev right master dynamic sticky",
    "fdb append 02:00:00:00:00:08 dev vx dst 10.1.0.8 vni 77 port 4790 via left",
    "fdb append 02:00:00:00:00:0c dev vx dst 2001:db8::c",
)


def make(net: Net) -> tuple[str, dict[str, int]]:
    netns = net.netns("n", ipv6=True)
    for command in COMMANDS:
        net.ip(command, netns=netns)
    for command in FDB[:3]:
        net.run(netns, "bridge", *command.split())
    return netns, {link["ifname"]: link["ifindex"] for link in ip_json(netns, "link")}


def decoded(netns: str, body: bytes) -> list[Neighbour]:
    return [one for raw in dump(netns, 30, body) if (one := decode_neighbour(raw))]


def test_neighbours_are_as_iproute2_shows_them(net: Net) -> None:
    netns, indexes = make(net)
    ours = [one for one in decoded(netns, neighbour_dump_request()) if one.ifindex == indexes["left"] and one.mac[:2] == "02"]
    says = {one["dst"]: one for one in ip_json(netns, "neigh", "show", "dev", "left", "nud", "all")}
    assert {"10.1.0.5", "10.1.0.60", "2001:db8::5", "10.1.0.9"} <= {one.ip for one in ours}
    for one in ours:
        line = says[one.ip]
        assert one.mac == line["lladdr"]
        assert one.states == tuple(f"NUD_{state}" for state in line["state"])
        assert ("NTF_ROUTER" in one.flags) == ("router" in line)
        assert ("NTF_EXT_LEARNED" in one.flags) == ("extern_learn" in line)
        assert one.protocol == str(line.get("protocol", ""))


def test_forwarding_entries_are_as_bridge_shows_them(net: Net) -> None:
    netns, indexes = make(net)
    names = {ifindex: name for name, ifindex in indexes.items()}
    ours = {
        (
            names[one.ifindex],
            one.mac,
            names.get(one.master, ""),
            one.ip,
            one.vni,
            one.port,
            names.get(one.via, ""),
            one.vlan,
            "NUD_PERMANENT" in one.states,
            "NTF_SELF" in one.flags,
            "NTF_STICKY" in one.flags,
        )
        for one in decoded(netns, fdb_dump_request())
    }
    says = {
        (
            one["ifname"],
            one["mac"],
            one.get("master", ""),
            one.get("dst", ""),
            one.get("vni"),
            one.get("port", 0),
            one.get("viaIf", ""),
            one.get("vlan"),
            one.get("state") == "permanent",
            "self" in one["flags"],
            "sticky" in one["flags"],
        )
        for one in ip_json(netns, "-d", "fdb", "show", program="bridge")
    }
    assert ours == says
    assert len(says) > 8


def lists(neighbours: Iterable[Neighbour], *, volatile: bool = True) -> dict[str, list[dict[str, Any]]]:
    return neighbour_lists(neighbours, volatile=volatile)


NEIGHBOURS = [
    Neighbour(socket.AF_INET, 3, "10.1.0.20", "02:00:00:00:00:14", ("NUD_REACHABLE",)),
    Neighbour(socket.AF_INET, 3, "10.1.0.3", "02:00:00:00:00:03", ("NUD_PERMANENT",), ("NTF_ROUTER",)),
    Neighbour(socket.AF_INET6, 3, "fe80::1", "02:00:00:00:00:01", ("NUD_STALE",)),
    Neighbour(socket.AF_INET, 3, "224.0.0.22", "01:00:5e:00:00:16", ("NUD_NOARP",)),
    Neighbour(socket.AF_INET, 3, "10.1.0.6", flags=("NTF_PROXY",)),
    Neighbour(socket.AF_INET, 3, "10.1.0.7"),
    Neighbour(AF_BRIDGE, 3, "", "02:00:00:00:00:09", ("NUD_NOARP",), ("NTF_MASTER",), vlan=7, master=9),
    Neighbour(AF_BRIDGE, 3, "10.1.0.8", "02:00:00:00:00:08", ("NUD_REACHABLE",), ("NTF_SELF",), vni=77),
]


def test_the_lists_have_skydives_shape() -> None:
    assert lists(NEIGHBOURS) == {
        "Neighbors": [
            {"MAC": "02:00:00:00:00:03", "IP": "10.1.0.3", "IfIndex": 3, "State": ["NUD_PERMANENT"], "Flags": ["NTF_ROUTER"]},
            {"IP": "10.1.0.6", "IfIndex": 3, "Flags": ["NTF_PROXY"]},
            {"MAC": "02:00:00:00:00:14", "IP": "10.1.0.20", "IfIndex": 3, "State": ["NUD_REACHABLE"]},
            {"MAC": "02:00:00:00:00:01", "IP": "fe80::1", "IfIndex": 3, "State": ["NUD_STALE"]},
        ],
        "FDB": [
            {"MAC": "02:00:00:00:00:09", "IfIndex": 3, "State": ["NUD_NOARP"], "Flags": ["NTF_MASTER"], "Vlan": 7},
            {
                "MAC": "02:00:00:00:00:08",
                "IP": "10.1.0.8",
                "IfIndex": 3,
                "State": ["NUD_REACHABLE"],
                "Flags": ["NTF_SELF"],
                "VNI": 77,
            },
        ],
    }


def test_without_volatile_states_only_lasting_ones_are_shown() -> None:
    shown = lists(NEIGHBOURS, volatile=False)
    assert [one.get("State") for one in shown["Neighbors"]] == [["NUD_PERMANENT"], None, None, None]
    assert [one.get("State") for one in shown["FDB"]] == [["NUD_NOARP"], None]


def test_the_order_makes_no_difference_and_nothing_gives_nothing() -> None:
    assert lists(reversed(NEIGHBOURS)) == lists(NEIGHBOURS)
    assert lists([]) == {}


def test_ages_make_no_difference_and_extended_flags_are_read() -> None:
    head = HEADER.pack(2, 3, 2, 0x10, 1) + attribute(1, bytes([10, 0, 0, 1])) + attribute(2, bytes(6))
    young = head + attribute(3, bytes(16)) + integer_attribute(4, 1) + integer_attribute(15, 1)
    old = head + attribute(3, b"\1" * 16) + integer_attribute(4, 7) + integer_attribute(15, 1)
    assert decode_neighbour(young) == decode_neighbour(old)
    found = decode_neighbour(old)
    assert found is not None
    assert found.flags == ("NTF_EXT_LEARNED", "NTF_EXT_MANAGED")


def test_other_families_are_no_neighbours() -> None:
    assert decode_neighbour(HEADER.pack(12, 3, 2, 0, 1)) is None
