"""Linkers with tables: facts in → edges out; and that taking changes one by one ends in what a fresh look gives."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from support.pathgraph import Graph, via

from topology.elements import FOREVER, Revision, State
from topology.facts import EdgeFact
from topology.linkers.interfaces import Interfaces
from topology.linkers.join import Join, Linker
from topology.linkers.neighbour import NEIGHBOUR
from topology.linkers.nexthop import NEXT_HOP
from topology.linkers.run import LINKERS
from topology.linkers.tunnel import TUNNEL

Json = dict[str, Any]


def edges(linker: Linker[Any], graph: Graph, relation: str = "") -> list[EdgeFact]:
    interfaces, join = Interfaces(), Join(linker)
    for one in graph.revisions:
        interfaces.take(one)
    join.take(interfaces.by_id, interfaces)
    return [one for one in join.edges if relation in ("", one.relation)]


def ends(linker: Linker[Any], graph: Graph, relation: str = "") -> list[tuple[str, str]]:
    return sorted((one.parent, one.child) for one in edges(linker, graph, relation))


def tunnelled(left: Json, right: Json, kind: str = "vxlan", **more: Json) -> Graph:
    """Two hosts, with one tunnel's end each; ``more``: further hosts of the same."""
    graph = Graph()
    for number, (name, data) in enumerate({"a": left, "b": right, **more}.items(), 1):
        host = graph.host(name)
        graph.device(host, "eth0", "device", data.pop("address", f"192.0.2.{number}/24"))
        graph.device(host, "t0", kind, **data)
    return graph


def vxlan(vni: int, remote: str = "", **more: Any) -> Json:
    return {"VXLAN": {"ID": vni, "Port": 4789, **({"Remote": remote} if remote else {}), **more}}


def gre(local: str, remote: str, **more: Any) -> Json:
    return {"Tunnel": {"Local": local, "Remote": remote, **more}}


A, B = "192.0.2.1", "192.0.2.2"
FIT = [("host/a/link/t0", "host/b/link/t0")]


@pytest.mark.parametrize(
    ("kind", "left", "right", "expected"),
    [
        ("vxlan", vxlan(7, B, Local=A), vxlan(7, A, Local=B), FIT),
        ("vxlan", vxlan(7, B), vxlan(7, A), FIT),  # their addresses are those of their hosts
        ("vxlan", vxlan(7, B), vxlan(8, A), []),
        ("vxlan", vxlan(7, B), vxlan(7, A, Port=8472), []),
        ("vxlan", vxlan(7, B), vxlan(7), []),  # only one sends to the other
        ("vxlan", vxlan(7, Group="239.1.1.1"), vxlan(7, Group="239.1.1.1"), FIT),
        ("vxlan", vxlan(7, Group="239.1.1.1"), vxlan(7, Group="239.1.1.2"), []),
        ("vxlan", {**vxlan(7), "FDB": [{"MAC": "00:00:00:00:00:00", "IP": B}]}, vxlan(7, A), FIT),
        (
            "vxlan",
            {**vxlan(0, CollectMetadata=True), "FDB": [{"MAC": "02:00:00:00:00:01", "IP": B, "VNI": 7}]},
            vxlan(7, A),
            FIT,
        ),
        ("geneve", {"Geneve": {"ID": 7, "Remote": B}}, {"Geneve": {"ID": 7, "Remote": A}}, FIT),
        ("geneve", {"Geneve": {"ID": 7, "Remote": B}}, {"Geneve": {"ID": 9, "Remote": A}}, []),
        ("gre", gre(A, B), gre(B, A), FIT),
        ("gre", gre(A, B, IKey=1, OKey=2), gre(B, A, IKey=2, OKey=1), FIT),
        ("gre", gre(A, B, IKey=1, OKey=1), gre(B, A, IKey=2, OKey=2), []),
        ("gre", gre(A, B, OKey=1), gre(B, A), []),
        ("ipip", gre(A, B), gre(B, A), FIT),
        ("sit", gre(A, B), gre(B, "192.0.2.3"), []),
    ],
)
def test_tunnels_whose_ends_fit(kind: str, left: Json, right: Json, expected: list[tuple[str, str]]) -> None:
    assert ends(TUNNEL, tunnelled({**left}, {**right}, kind), "tunnel") == expected


def switched(kind: str, *ends: tuple[str, str, Json]) -> Graph:
    """Hosts with an Open vSwitch each: (name, address, options of its tunnel)."""
    graph = Graph()
    for name, address, options in ends:
        host = graph.host(name)
        graph.device(host, "br-phy", "tun", f"{address}/24")
        bridge = graph.node(f"{host}/ovs/br", name, {"Type": "ovsbridge", "Name": "br-int", "UUID": "u"})
        graph.edge(host, bridge, "ownership")
        node = graph.node(f"{host}/ovs/t0", name, {"Type": kind, "Name": "t0", "UUID": "v", "Ovs": {"Options": options}})
        graph.edge(bridge, node, "ownership")
    return graph


@pytest.mark.parametrize(
    ("kind", "left", "right", "said"),
    [
        ("vxlan", {"remote_ip": B, "key": "7"}, {"remote_ip": A, "key": "0x7"}, {"Kind": "vxlan", "Port": 4789, "VNI": 7}),
        ("vxlan", {"remote_ip": B, "local_ip": A}, {"remote_ip": A, "key": "0"}, {"Kind": "vxlan", "Port": 4789, "VNI": 0}),
        ("vxlan", {"remote_ip": B, "dst_port": "8472"}, {"remote_ip": A}, None),
        ("vxlan", {"remote_ip": B, "key": "7"}, {"remote_ip": A, "key": "8"}, None),
        ("vxlan", {"remote_ip": B, "in_key": "7", "out_key": "8"}, {"remote_ip": A, "in_key": "8", "out_key": "7"},
         {"Kind": "vxlan", "Port": 4789, "Key": 8, "KeyBack": 7}),
        ("geneve", {"remote_ip": B, "key": "flow"}, {"remote_ip": A, "key": "flow"},
         {"Kind": "geneve", "Port": 6081, "Key": "flow"}),
        ("geneve", {"remote_ip": B, "key": "flow"}, {"remote_ip": A, "key": "7"}, {"Kind": "geneve", "Port": 6081, "VNI": 7}),
        ("vxlan", {"remote_ip": B}, {"remote_ip": A, "in_key": "flow"}, {"Kind": "vxlan", "Port": 4789, "VNI": 0}),
        ("vxlan", {"remote_ip": B, "key": "7"}, {"remote_ip": A, "in_key": "flow", "out_key": "8"}, None),
        ("gre", {"remote_ip": B, "key": "flow"}, {"remote_ip": A, "key": "7"}, {"Kind": "gretap", "Key": 7}),
        ("gre", {"remote_ip": B, "key": "flow"}, {"remote_ip": A}, None),
        ("geneve", {"remote_ip": B, "key": "flow"}, {"remote_ip": "flow", "key": "flow"},
         {"Kind": "geneve", "Port": 6081, "Key": "flow", "Remote": "flow"}),
        ("vxlan", {"remote_ip": B, "key": "7"}, {"remote_ip": "flow", "key": "flow"},
         {"Kind": "vxlan", "Port": 4789, "VNI": 7, "Remote": "flow"}),
        ("vxlan", {"remote_ip": B, "key": "7"}, {"remote_ip": "flow", "key": "8"}, None),
        ("vxlan", {"remote_ip": "flow", "key": "7"}, {"remote_ip": "flow", "key": "7"}, None),  # nobody says to whom
        ("gre", {"remote_ip": B}, {"remote_ip": A}, {"Kind": "gretap"}),
        ("gre", {"remote_ip": B, "key": "1"}, {"remote_ip": A, "key": "1"}, {"Kind": "gretap", "Key": 1}),
        ("gre", {"remote_ip": B, "key": "1"}, {"remote_ip": A}, None),
        ("gre", {"remote_ip": B}, {}, None),
        ("patch", {"peer": "x", "remote_ip": B}, {"peer": "y", "remote_ip": A}, None),
    ],
)  # fmt: skip
def test_tunnels_of_open_vswitch(kind: str, left: Json, right: Json, said: Json | None) -> None:
    found = edges(TUNNEL, switched(kind, ("a", A, left), ("b", B, right)), "tunnel")
    assert [one.metadata for one in found] == ([{**said, "Endpoints": [A, B]}] if said else [])
    assert [(one.parent, one.child) for one in found] == ([("host/a/ovs/t0", "host/b/ovs/t0")] if said else [])


def test_a_number_that_rules_give_is_that_of_each_end_that_no_other_fits() -> None:
    graph = switched("vxlan", ("a", A, {"remote_ip": B, "key": "flow"}))
    host = graph.host("b")
    graph.device(host, "eth0", "device", f"{B}/24")
    for number in (7, 8):
        graph.device(host, f"vx{number}", "vxlan", **vxlan(number, A))
    assert ends(TUNNEL, graph, "tunnel") == [("host/a/ovs/t0", f"host/b/link/vx{number}") for number in (7, 8)]
    fixed = {"Type": "vxlan", "Name": "t8", "UUID": "w", "Ovs": {"Options": {"remote_ip": B, "key": "8"}}}
    graph.edge("host/a/ovs/br", graph.node("host/a/ovs/t8", "a", fixed), "ownership")
    assert ends(TUNNEL, graph, "tunnel") == [("host/a/ovs/t0", "host/b/link/vx7"), ("host/a/ovs/t8", "host/b/link/vx8")]


def test_a_tunnel_of_open_vswitch_leads_to_one_of_the_kernels_too() -> None:
    graph = switched("vxlan", ("a", A, {"remote_ip": B, "key": "7", "local_ip": A}))
    host = graph.host("b")
    graph.device(host, "eth0", "device", f"{B}/24")
    graph.device(host, "vx7", "vxlan", **vxlan(7, A))
    assert ends(TUNNEL, graph, "tunnel") == [("host/a/ovs/t0", "host/b/link/vx7")]
    assert ends(TUNNEL, graph, "underlay") == [("host/a/link/br-phy", "host/a/ovs/t0")]


def test_a_tunnel_says_what_it_is() -> None:
    [edge] = edges(TUNNEL, tunnelled(vxlan(7, B, Local=A), vxlan(7, A, Local=B)), "tunnel")
    assert edge.metadata == {"Kind": "vxlan", "Port": 4789, "VNI": 7, "Endpoints": [A, B]}


def test_the_interface_with_a_tunnels_address_is_its_underlay() -> None:
    graph = tunnelled(vxlan(7, B, Local=A), vxlan(7, A))
    assert ends(TUNNEL, graph, "underlay") == [("host/a/link/eth0", "host/a/link/t0")]


def test_two_sites_with_the_same_addresses_are_not_mixed_up() -> None:
    more = {"c": {**vxlan(7, B), "address": f"{A}/24"}, "d": {**vxlan(7, A), "address": f"{B}/24"}}
    assert ends(TUNNEL, tunnelled(vxlan(7, B), vxlan(7, A), "vxlan", **more), "tunnel") == []


def neighbours(entry: Json, **more: Json) -> Graph:
    """Host a has an entry; b, and more hosts, have interfaces."""
    graph = Graph()
    graph.device(graph.host("a"), "eth0", "device", "10.0.0.1/24", MAC="02:00:00:00:00:0a", Neighbors=[entry])
    for name, data in more.items():
        host = graph.host(name)
        for device, words in data.items():
            graph.device(host, device, "device", *words.get("ip", []), MAC=words["mac"])
    return graph


MAC = "02:00:00:00:00:0b"
ENTRY = {"IP": "10.0.0.2", "MAC": MAC}


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({"b": {"eth0": {"ip": ["10.0.0.2/24"], "mac": MAC}}}, ["b/link/eth0"]),
        ({"b": {"eth0": {"mac": MAC}}}, ["b/link/eth0"]),  # the address is on another interface
        ({"b": {"eth0": {"mac": MAC}, "br0": {"ip": ["10.0.0.2/24"], "mac": MAC}}}, ["b/link/br0"]),
        ({"b": {"eth0": {"mac": MAC}, "br0": {"mac": MAC}}}, []),
        ({"b": {"eth0": {"ip": ["10.0.0.2/24"], "mac": "02:00:00:00:00:0c"}}}, []),
        ({"b": {"eth0": {"ip": ["10.0.0.2/24"], "mac": MAC}}, "c": {"eth0": {"ip": ["10.0.0.2/24"], "mac": MAC}}}, []),
        ({"b": {"v0": {"ip": ["10.0.0.3/24"], "mac": MAC}}, "c": {"v0": {"ip": ["10.0.0.2/24"], "mac": MAC}}}, ["c/link/v0"]),
    ],
)
def test_a_neighbour_is_the_interface_with_mac_and_address(hosts: dict[str, Json], expected: list[str]) -> None:
    found = ends(NEIGHBOUR, neighbours(ENTRY, **hosts))
    assert found == [("host/a/link/eth0", f"host/{one}") for one in expected]


def test_both_sides_that_know_each_other_are_one_edge() -> None:
    graph = neighbours(ENTRY)
    back = [{"IP": "10.0.0.1", "MAC": "02:00:00:00:00:0a"}]
    graph.device(graph.host("b"), "eth0", "device", "10.0.0.2/24", MAC=MAC, Neighbors=back)
    assert ends(NEIGHBOUR, graph) == [("host/a/link/eth0", "host/b/link/eth0")]


def test_neighbours_on_one_host_are_no_news() -> None:
    graph = Graph()
    host = graph.host("a")
    graph.device(host, "docker0", "bridge", "172.17.0.1/16", Neighbors=[ENTRY])
    graph.device(graph.netns(host, "c"), "eth0", "veth", "10.0.0.2/24", MAC=MAC)
    graph.device(graph.netns(graph.host("b"), "c"), "eth0", "veth", "10.0.0.2/24", MAC=MAC)  # its twin elsewhere
    assert ends(NEIGHBOUR, graph) == []


def routed(*, entry: bool, twin: bool = False, far: bool = False) -> Graph:
    graph = Graph()
    routes = [via("0.0.0.0/0", "10.0.0.254"), via("10.9.0.0/16", "10.0.0.254"), via("10.8.0.0/16", "10.0.0.253")]
    known = [{"IP": "10.0.0.254", "MAC": MAC}] if entry else []
    graph.device(graph.host("a"), "eth0", "device", "10.0.0.1/24", routes=routes, Neighbors=known)
    graph.device(graph.host("gw"), "eth0", "device", "10.0.0.254/16" if far else "10.0.0.254/24", MAC=MAC)
    if twin:
        graph.device(graph.host("other"), "eth0", "device", "10.0.0.254/24")
    return graph


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (routed(entry=True), True),
        (routed(entry=False), True),
        (routed(entry=True, twin=True), True),
        (routed(entry=False, twin=True), False),
        (routed(entry=True, far=True), True),
        (routed(entry=False, far=True), False),
    ],
)
def test_a_next_hop_is_the_interface_with_the_gateways_address(graph: Graph, found: bool) -> None:
    said = {"Gateway": "10.0.0.254", "Routes": 2, "Default": True}
    expected = [("host/a/link/eth0", "host/gw/link/eth0", said)] if found else []
    assert [(one.parent, one.child, one.metadata) for one in edges(NEXT_HOP, graph)] == expected


def beneath() -> Graph:
    """Two hosts with a tunnel's end each, whose packets leave from another namespace."""
    graph = Graph()
    for name, own, other in (("e", A, B), ("f", B, A)):
        host = graph.host(name)
        graph.device(graph.netns(host, "under"), "eth0", "device", f"{own}/24")
        graph.device(host, "t0", "vxlan", **vxlan(9, other, Local=own), LinkNetNsID=0, LinkNetNsName="under")
    return graph


def test_a_namespace_may_get_its_name_after_its_tunnel_was_seen() -> None:
    interfaces, join = Interfaces(), Join(TUNNEL)
    for one in sorted(beneath().revisions, key=lambda one: one.state is not None and "netns" in one.state.tid.split("/")[-2:]):
        join.take(interfaces.take(one), interfaces)
    assert sorted(one.relation for one in join.edges) == ["tunnel", "underlay", "underlay"]


def test_namespaces_that_are_gone_are_forgotten() -> None:
    interfaces, graph = Interfaces(), beneath()
    for one in graph.revisions:
        interfaces.take(one)
    for one in graph.revisions:
        interfaces.take(msgspec.structs.replace(one, updated_at=2, state=None))
    assert (interfaces.by_id, vars(interfaces)["_owners"]) == ({}, {})


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", sorted(LINKERS))
def test_changes_in_any_order_end_in_what_a_fresh_look_gives(name: str, seed: int) -> None:
    draw = random.Random(seed)
    graph = tunnelled(vxlan(7, B, Local=A), vxlan(7, A), c=vxlan(7, A), d=vxlan(8, B, Local="192.0.2.4"))
    more = neighbours(ENTRY, b={"eth0": {"ip": ["10.0.0.2/24"], "mac": MAC}}, c={"eth0": {"ip": ["10.0.0.2/24"], "mac": MAC}})
    further = routed(entry=bool(seed % 2), twin=True)
    switches = switched("vxlan", ("e", A, {"remote_ip": B}), ("f", B, {"remote_ip": A, "local_ip": B}))
    graphs = (graph, more, further, beneath(), switches)
    known = {one.id: one for each in graphs for one in each.revisions}
    interfaces, join, there = Interfaces(), Join(LINKERS[name]), dict[str, Revision]()
    said: dict[str, EdgeFact] = {}
    for number in range(2, 200):
        id_ = draw.choice(sorted(known))
        state: State | None = None if id_ in there and draw.random() < 0.5 else known[id_].state
        now = Revision(id_, number, 1, number, FOREVER, number, number, state)
        touched = interfaces.take(now)
        outcome = join.take(touched, interfaces)
        for gone in outcome.gone:
            del said[gone]
        said |= {fact.id: fact for fact in outcome.facts}
        there.pop(id_, None)
        if state is not None:
            there[id_] = now
    fresh, again = Interfaces(), Join(LINKERS[name])
    for one in there.values():
        fresh.take(one)
    again.take(fresh.by_id, fresh)
    assert said == {fact.id: fact for fact in again.edges} == {fact.id: fact for fact in join.edges}
