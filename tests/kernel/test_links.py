"""Links of the kinds that need a distribution's kernel, from the netlink probe to the store, against iproute2.

Names with ``short`` belong to `make test`, those with ``long`` to `make kernels` alone. Neither of Debian's kernels is built
with netdevsim, so virtual functions are not here; nor is there an InfiniBand device to make a link of.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from support.graphoracle import namespaces_of
from support.linkkinds import make_links
from support.linkoracle import compare_metadata, ip_json
from support.netlab import Net, in_netns, until
from support.probelab import ProbeLab

from exporters.bpf.syscall import bpf, prog_load
from topology.shape import graph_json

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)

SETTLED_SECONDS = 60.0  # half of them until the next look: a link that is down changes unheard
LACKING = {"6.1": {"hsr", "netkit"}}
"""Series of the kernel → kinds that it is built without. Neither of them is built with amt, bareudp and netdevsim."""

UNLIKE = {"TID"}
"""What a start on an empty folder says otherwise than one that has seen the links being made."""

XDP_PROGRAM, XDP_ATTACHMENT, SKB_MODE, LINK_CREATE = 6, 37, 2, 28  # linux/bpf.h, linux/if_link.h
PASS = bytes.fromhex("b700000002000000 9500000000000000")  # r0 = XDP_PASS; exit

Json = dict[str, Any]
Links = dict[str, list[Json]]
"""Namespace → what ``ip -j -d link`` says."""

Place = tuple[str, int]
PAIRS = {"veth", "vxcan", "netkit"}
NUMBERED_BY_US, NUMBERED_BY_IP = {"LinkNetNsID", "BusInfo"}, {"link_netnsid", "parentdev"}
"""Each namespace numbers the others itself, edges are compared instead; ethtool has a bus of its own for tun and tap."""


def series() -> str:
    return ".".join(os.uname().release.split(".")[:2])


def shown_by_ip(prefix: str) -> Links:
    return {name: ip_json(name, "-d", "link", "show") for name in namespaces_of(prefix)}


def edges_by_ip(links: Links) -> set[tuple[Place, Place]]:
    """Parent and child of each edge between links; the ends of a pair are sorted."""
    edges = set()
    for netns, listing in links.items():
        indexes = {link["ifname"]: link["ifindex"] for link in listing}
        numbers = {one["nsid"]: one["name"] for one in ip_json(netns, "netns", "list-id")}
        for link in listing:
            place = (netns, link["ifindex"])
            if "master" in link:
                edges.add(((netns, indexes[link["master"]]), place))
            info = link.get("linkinfo", {})
            if info.get("info_kind") == "vxlan":  # elsewhere than its lower device it says its own number as its link's
                shown = info["info_data"].get("link", "")
                lower = indexes.get(shown) or int(shown.removeprefix("if") or 0)
            else:
                lower = link.get("link_index") or indexes.get(link.get("link") or "") or 0
            if lower:
                other = (numbers[link["link_netnsid"]] if "link_netnsid" in link else netns, lower)
                edges.add((min(other, place), max(other, place)) if info["info_kind"] in PAIRS else (other, place))
    return edges


def _but(one: Json, keys: Collection[str]) -> Json:
    return {key: value for key, value in one.items() if key not in keys}


def compare(lab: ProbeLab, links: Links, at: int | None = None, without: Collection[str] = ()) -> None:
    """The store's graph, now or at a moment (µs since the epoch), is what ip said; of some links only the edges."""
    graph = graph_json(lab.store.current() if at is None else lab.store.as_of(at))
    nodes = {node["ID"]: node["Metadata"] for node in graph["Nodes"]}
    owned = [edge for edge in graph["Edges"] if edge["Metadata"]["RelationType"] == "ownership"]
    places: dict[str, Place] = {
        edge["Child"]: (nodes[edge["Parent"]]["Name"], nodes[edge["Child"]]["IfIndex"])
        for edge in owned
        if nodes[edge["Parent"]]["Type"] == "netns" and nodes[edge["Parent"]]["Name"] in links
    }
    for netns, says in links.items():
        compare_metadata(
            [_but(link, NUMBERED_BY_IP) for link in says if link["ifname"] not in without],
            [
                _but(nodes[id_], NUMBERED_BY_US)
                for id_, place in places.items()
                if place[0] == netns and nodes[id_]["Name"] not in without
            ],
            {link["ifname"]: link["ifindex"] for link in says},
        )
    seen = set()
    for edge in graph["Edges"]:
        if edge["Metadata"]["RelationType"] == "layer2" and {edge["Parent"], edge["Child"]} <= places.keys():
            ends = places[edge["Parent"]], places[edge["Child"]]
            pair = nodes[edge["Child"]]["Type"] in PAIRS and edge["Metadata"].get("Type") in PAIRS
            seen.add((min(ends), max(ends)) if pair else ends)
    expected = edges_by_ip(links)
    assert seen == expected, f"only in the graph: {sorted(seen - expected)}; only iproute2: {sorted(expected - seen)}"


def settled(lab: ProbeLab, without: Collection[str] = ()) -> tuple[int, Links]:
    """Wait until the graph is what ip says: a moment, and what it said then."""

    def equal() -> tuple[int, Links]:
        links = shown_by_ip(lab.net.prefix)
        compare(lab, links, without=without)
        return lab.clock(), links

    return until(equal, SETTLED_SECONDS, every=0.3)


def test_short_every_kind_is_told_of_as_iproute2_does(net: Net, tmp_path: Path) -> None:
    make_links(net, net.netns("a", ipv6=True), everything=True, without=LACKING.get(series(), set()))
    lab = ProbeLab(net, tmp_path)
    try:
        settled(lab)
    finally:
        lab.close()


def facts(lab: ProbeLab) -> dict[tuple[str, str, str], Any]:
    """What Metadata says of the test's links, by namespace, link and key."""
    graph = graph_json(lab.store.current())
    nodes = {node["ID"]: node["Metadata"] for node in graph["Nodes"]}
    owned = [edge for edge in graph["Edges"] if edge["Metadata"]["RelationType"] == "ownership"]
    pairs = [(nodes[edge["Parent"]], nodes[edge["Child"]]) for edge in owned]
    return {
        (parent["Name"], child["Name"], key): value
        for parent, child in pairs
        if parent["Type"] == "netns" and parent["Name"].startswith(lab.net.prefix)
        for key, value in child.items()
        if key not in UNLIKE
    }


def test_long_every_kind_is_told_of_as_it_is_made_and_by_a_fresh_start_alike(net: Net, tmp_path: Path) -> None:
    netns = net.netns("a", ipv6=True)
    lab = ProbeLab(net, tmp_path / "as-made")
    try:
        make_links(net, netns, everything=True, without=LACKING.get(series(), set()))
        settled(lab)
        fresh = ProbeLab(net, tmp_path / "fresh")
        try:
            settled(fresh)

            def alike() -> bool:
                made, found = facts(lab), facts(fresh)
                unlike = [place for place in made.keys() | found.keys() if made.get(place) != found.get(place)]
                assert not unlike, [f"{place}: as made {made.get(place)!r}, fresh {found.get(place)!r}" for place in unlike]
                return True

            until(alike, SETTLED_SECONDS, every=0.3)
        finally:
            fresh.close()
    finally:
        lab.close()


def attach_xdp(netns: str, ifindex: int) -> int:
    """Attach a program to an interface by a BPF link, until the descriptor that it gives is closed; the kernel tells nobody."""
    program = prog_load(XDP_PROGRAM, ctypes.create_string_buffer(PASS, len(PASS)), "pass")
    try:
        attr = struct.pack("=IIII", program, ifindex, XDP_ATTACHMENT, SKB_MODE)
        return in_netns(netns, lambda: bpf(LINK_CREATE, ctypes.create_string_buffer(attr, 64)))
    finally:
        os.close(program)


def test_long_xdp_programs_are_on_their_links_while_they_are_attached(net: Net, tmp_path: Path) -> None:
    netns = net.netns("a")
    net.ip("link add name x0 type dummy", netns=netns)
    lab = ProbeLab(net, tmp_path)
    try:
        without = settled(lab)
        link = attach_xdp(netns, net.link(netns, "x0")["ifindex"])
        try:
            attached = settled(lab)
        finally:
            os.close(link)
        after = settled(lab)
        (shown,) = (one for one in attached[1][netns] if one["ifname"] == "x0")
        assert shown["xdp"]["prog"]["id"]
        for moment, links in (without, attached, after):
            compare(lab, links, moment)
    finally:
        lab.close()


CHANGES: dict[str, tuple[str, ...]] = {
    "members join": ("-n {a} link set dev d0 master bo", "-n {a} link set dev d1 master bo"),
    "the bond is up": ("-n {a} link set dev bo up",),
    "another active member": ("-n {a} link set dev bo type bond active_slave d1",),
    "a member leaves": ("-n {a} link set dev d0 nomaster",),
    "it joins a VRF": ("-n {a} link set dev d0 master vr",),
    "vlan elsewhere": ("-n {a} link set dev vl netns {b}",),
    "macvlan elsewhere": ("-n {a} link set dev mv netns {b}",),
    "ipvlan elsewhere": ("-n {a} link set dev iv netns {b}",),
    "vxlan elsewhere": ("-n {a} link set dev vx netns {b}",),
    "another remote": ("-n {a} link set dev gr type gre remote 192.0.2.9 local 192.0.2.1",),
    "another name": ("-n {a} link set dev gr name gr-new",),
    "vlan back": ("-n {b} link set dev vl netns {a}",),
    "tunnel deleted": ("-n {a} link del gr-new",),
    "the lower device deleted": ("-n {a} link del d2",),
}
"""In this order, from what ``START`` makes; {a}, {b}: the namespaces."""

START = (
    *(f"link add name d{number} type dummy" for number in range(3)),
    "link add name bo type bond mode active-backup miimon 100",
    "link add name vr type vrf table 77",
    "link add link d2 name vl type vlan id 7",
    "link add link d2 name mv type macvlan mode bridge",
    "link add name vx type vxlan id 9 dev d2 remote 192.0.2.5 dstport 4789",
    "link add name d3 type dummy",
    "link add link d3 name iv type ipvlan mode l2",
    "link add name gr type gre local 192.0.2.1 remote 192.0.2.2",
)


def test_long_changes_of_bonds_vlans_and_tunnels_are_kept_at_each_moment(net: Net, tmp_path: Path) -> None:
    a, b = net.netns("a"), net.netns("b")
    lab = ProbeLab(net, tmp_path)
    moments = []
    try:
        for command in START:
            net.ip(command, netns=a)
        moments.append(("start", *settled(lab)))
        for words, commands in CHANGES.items():
            for command in commands:
                net.ip(command.format(a=a, b=b))
            moments.append((words, *settled(lab)))
        for words, moment, links in moments:
            try:
                compare(lab, links, moment)
            except AssertionError as error:
                raise AssertionError(f"at the moment after {words!r}: {error}") from error
    finally:
        lab.close()


def test_long_vlans_of_a_bridge_are_those_that_bridge_shows(net: Net, tmp_path: Path) -> None:
    netns = net.netns("a")
    net.ip("link add name br type bridge vlan_filtering 1 vlan_default_pvid 5", netns=netns)
    for number in range(2):
        net.ip(f"link add name p{number} type dummy", netns=netns)
        net.ip(f"link set dev p{number} master br", netns=netns)
    lab = ProbeLab(net, tmp_path)

    def equal() -> bool:
        said = json.loads(net.run(netns, "bridge", "-j", "vlan", "show"))
        expected = {
            port["ifname"]: {
                one["vlan"]: {"PVID": "PVID" in one.get("flags", ()), "Untagged": "Egress Untagged" in one.get("flags", ())}
                for one in port["vlans"]
            }
            for port in said
        }
        states = [one.state.metadata for one in lab.store.current() if one.state and one.state.tid]
        shown = {
            metadata["Name"]: {
                number: {mark: one.get(mark, False) for mark in ("PVID", "Untagged")}
                for one in metadata["BridgeVlans"]
                for number in range(one["ID"], one.get("End", one["ID"]) + 1)
            }
            for metadata in states
            if "BridgeVlans" in metadata
        }
        assert shown == expected
        return bool(expected)

    try:
        until(equal, SETTLED_SECONDS, every=0.3)
        for command in ("add dev p0 vid 10-20", "add dev p1 vid 30 pvid untagged", "del dev p0 vid 5"):
            net.run(netns, "bridge", "vlan", *command.split())
        until(equal, SETTLED_SECONDS, every=0.3)
        assert len(json.loads(net.run(netns, "bridge", "-j", "vlan", "show", "dev", "p1"))[0]["vlans"]) == 2
    finally:
        lab.close()
