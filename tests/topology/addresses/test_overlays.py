"""Addresses in the networks of tunnels: each has its owner there apart from the same address elsewhere."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.addressgraph import H1, H2, Graph, cable, container, host, interface, k8s, link, netns, port, switch, tenant

from skytrail.addresses.book import Owner, network_of
from topology.addresses.entries import Entries
from topology.facts import Fact, NodeFact

RED, BLUE = network_of("vxlan", 42), network_of("vxlan", 43)


def own(name: str) -> Owner:
    return Owner("netns", name, host="h")


@pytest.fixture
def two(graph: Graph) -> Graph:
    """On each of two hosts a namespace of each of two tenants, who have the same addresses."""
    graph.tell(host(H1, "one"), host(H2, "two"))
    for vni, colour in ((42, "red"), (43, "blue")):
        graph.tell(*tenant(H1, vni, f"{colour}1", "10.0.0.1/24"), *tenant(H2, vni, f"{colour}2", "10.0.0.2/24"))
    return graph


def within(graph: Graph, *, at: str = H1, network: int = RED, address: str = "10.0.0.2") -> Owner | None:
    return graph.named(address, at, at, network=network)


def test_the_same_address_is_each_tenants_in_its_own_network(two: Graph) -> None:
    for at in (H1, H2):
        assert [within(two, at=at, network=one) for one in (RED, BLUE)] == [own("red2"), own("blue2")]
        assert [within(two, at=at, network=one, address="10.0.0.1") for one in (RED, BLUE)] == [own("red1"), own("blue1")]
    assert within(two, network=network_of("vxlan", 44)) is None  # another tenant's, of which nothing is known
    assert within(two, network=network_of("geneve", 42)) is None  # the same number of another kind
    assert within(two, network=0) is None  # beyond the tunnels nobody can tell


def test_who_is_in_no_tunnels_network_is_named_in_all(two: Graph) -> None:
    """Pods that are routed into a tunnel, as flannel and Calico do it."""
    pod = Owner("pod", "web-1", "shop", "one", cluster="c1")
    two.tell(k8s("pod", "web-1", IP="10.1.0.5", Node="one", Status="Running"))
    two.tell(*netns(f"{H1}/netns/cni", "cni"), *interface(f"{H1}/netns/cni", "eth0", "10.1.0.5/32"))
    assert within(two, at=H2, address="10.1.0.5") == within(two, at=H1, address="10.1.0.5") == pod
    two.tell(*interface(f"{H1}/netns/cni", "net1", "10.0.0.2/24"))  # the same as the tenants have
    assert within(two) == own("red2")
    assert within(two, network=network_of("vxlan", 44)) == own("cni")


def test_a_container_in_a_tunnels_network_is_named_by_its_own_name(two: Graph) -> None:
    two.tell(*container(f"{H1}/netns/red1", "web"))
    assert within(two, at=H2, address="10.0.0.1") == Owner("container", "web", host="h")


def test_who_leaves_the_network_is_no_more_in_it_and_was_before(two: Graph) -> None:
    minute = 60_000_000
    assert within(two) == own("red2")
    two.tell(gone=(port(f"{H2}/br42", f"{H2}/vred2"),), at=minute)
    assert two.named("10.0.0.2", H1, H1, network=RED) == own("red2")  # of the two the one that is in no tunnel's any more
    two.tell(port(f"{H2}/br43", f"{H2}/vred2"), at=2 * minute)
    assert two.named("10.0.0.2", H1, H1, network=RED) is None
    assert two.named("10.0.0.2", H1, H1, network=BLUE) is None  # two have it there
    assert two.named("10.0.0.2", H1, H1, at=minute // 2, network=RED) == own("red2")
    two.tell(*link(H2, "vx43", type_="vxlan", VXLAN={"ID": 42}), at=3 * minute)
    assert two.named("10.0.0.2", H1, H1, network=BLUE) is None
    two.tell(gone=interface(f"{H2}/netns/blue2", "eth0"), at=4 * minute)
    assert two.named("10.0.0.2", H1, H1, network=RED) == own("red2")


def test_a_namespace_that_was_made_for_a_container_is_its_from_the_beginning(graph: Graph) -> None:
    """Also where it came into the tunnel's network between."""
    minute, second = 60_000_000, 1_000_000
    place = f"{H1}/netns/red"
    graph.tell(host(H1, "one"), at=second)
    graph.named("10.0.0.1")
    graph.tell(*netns(place, "red"), *interface(place, "eth0", "10.0.0.1/24"), at=minute)
    graph.named("10.0.0.1")
    graph.tell(*tenant(H1, 42, "red", "10.0.0.1/24"), at=minute + second)
    graph.named("10.0.0.1")
    graph.tell(*container(place, "web"), at=minute + 2 * second)
    for at in (minute, minute + second, minute + 2 * second):
        for network in (RED, 0):
            assert graph.named("10.0.0.1", place, H1, at=at, network=network) == Owner("container", "web", host="h")


def test_tunnels_own_addresses_and_their_bridges_are_in_their_networks(graph: Graph) -> None:
    graph.tell(host(H1, "one"), *tenant(H1, 42, "red", "10.0.0.1/24"))
    bridge = link(H1, "br42", type_="bridge", IPV4=["10.0.0.254/24"])
    graph.tell(*bridge, *link(H1, "gnv", type_="geneve", Geneve={"ID": 7}, IPV4=["10.7.0.1/24"]))
    assert within(graph, address="10.0.0.254") == Owner("host", "one", host="h")
    graph.tell(host(H2, "two"), *interface(H2, "eth0", "10.0.0.254/24", "10.7.0.1/24"))
    assert within(graph, at=H2, address="10.0.0.254") == Owner("host", "one", host="h")
    assert within(graph, at=H2, address="10.7.0.1", network=network_of("geneve", 7)) == Owner("host", "one", host="h")
    assert within(graph, at=H2, address="10.7.0.1") == Owner("host", "two", host="h")


def test_a_tunnel_whose_numbers_come_packet_by_packet_has_no_network(graph: Graph) -> None:
    graph.tell(host(H1, "one"), *tenant(H1, 42, "red", "10.0.0.1/24"), *tenant(H1, 42, "other", "10.0.0.1/24"))
    assert within(graph, address="10.0.0.1") is None
    graph.tell(*link(H1, "vx42", type_="vxlan", VXLAN={"ID": 0, "CollectMetadata": True}))
    assert {entry.networks for entry in graph.follow().current()} == {()}


VLANS: list[tuple[str, dict[str, Any], bool]] = [
    ("access", {"BridgeVlans": [{"ID": 10, "PVID": True, "Untagged": True}]}, True),
    ("another", {"BridgeVlans": [{"ID": 20, "PVID": True, "Untagged": True}]}, False),
    ("trunk", {"BridgeVlans": [{"ID": 1, "End": 100}]}, False),
]


@pytest.mark.parametrize(("name", "keys", "expected"), VLANS, ids=[one[0] for one in VLANS])
def test_through_a_bridge_with_vlans_it_is_who_is_in_the_tunnels_vlan(
    graph: Graph, name: str, keys: dict[str, Any], expected: bool
) -> None:
    access = {"BridgeVlans": [{"ID": 10, "PVID": True, "Untagged": True}]}
    graph.tell(host(H1, "one"), *tenant(H1, 42, name, "10.0.0.1/24"))
    graph.tell(*link(H1, "br42", type_="bridge", Bridge={"VlanFiltering": True}))
    graph.tell(*link(H1, "vx42", type_="vxlan", VXLAN={"ID": 42}, **access), *link(H1, f"v{name}", **keys))
    place = f"{H1}/netns/{name}"
    tagged = (
        *link(place, "eth0.10", type_="vlan", Vlan=10, IPV4=["10.0.9.1/24"]),
        cable(f"{place}/eth0", f"{place}/eth0.10", "vlan"),
    )
    graph.tell(*tagged)
    networks = {entry.address[2]: entry.networks for entry in graph.follow().current()}
    assert networks == {0: (RED,) if expected else (), 9: (RED,) if name == "trunk" else ()}


def test_through_a_switch_it_is_who_is_in_the_tunnels_vlan_also_beyond_a_patch(graph: Graph) -> None:
    graph.tell(host(H1, "one"))
    places = {}
    for name, own_port in (("same", {"Tag": 10}), ("other", {"Tag": 20}), ("beyond", {"Tag": 10})):
        place, outer = f"{H1}/netns/{name}", f"{H1}/v{name}"
        address = {"same": 1, "other": 2, "beyond": 3}[name]
        graph.tell(*netns(place, name), *interface(place, "eth0", f"10.0.{address}.1/24"), *link(H1, f"v{name}"))
        graph.tell(cable(outer, f"{place}/eth0"))
        places[name] = outer, own_port
    tunnel = f"{H1}/gnv"
    graph.tell(NodeFact(tunnel, {"Type": "geneve", "Name": "gnv", "Ovs": {"Type": "geneve", "Options": {"key": "7"}}}))
    for name in ("left", "right"):
        graph.tell(NodeFact(f"{H1}/{name}", {"Type": "patch", "Name": name, "Ovs": {"Type": "patch"}}))
    graph.tell(cable(f"{H1}/left", f"{H1}/right", "patch"))
    internal = f"{H1}/int0"
    graph.tell(*link(H1, "int0", type_="internal", Ovs={"Type": "internal"}, IPV4=["10.0.4.1/24"]))
    graph.tell(*switch(H1, "br-int", {tunnel: {"Tag": 10}, places["same"][0]: places["same"][1], f"{H1}/left": {}}))
    graph.tell(*switch(H1, "br-ex", {f"{H1}/right": {}, places["beyond"][0]: {"Tag": 10}, places["other"][0]: {"Tag": 20}}))
    graph.tell(*switch(H1, "br-int", {internal: {"Tag": 10}}))
    seven = network_of("geneve", 7)
    networks = {entry.address[2]: entry.networks for entry in graph.follow().current()}
    assert networks == {1: (seven,), 2: (), 3: (seven,), 4: (seven,)}
    graph.tell(NodeFact(f"{places['other'][0]}/port", {"Type": "ovsport", "Name": "vother", "Ovs": {"Tag": 10}}))
    assert {entry.address[2]: entry.networks for entry in graph.follow().current()}[2] == (seven,)


def test_one_by_one_is_as_all_at_once(graph: Graph) -> None:
    """Random links that come, go and change: networks that follow from the feed are those of the graph read anew."""
    chance = random.Random(11)
    there: dict[str, Fact] = {}
    graph.tell(host(H1, "n1"))
    ends = [f"{H1}/netns/{number}" for number in range(4)]
    named = 0
    for step in range(90):
        place, number = chance.choice(ends), chance.randrange(3)
        inner, outer, bridge = f"{place}/eth0", f"{H1}/v{place[-1]}", f"{H1}/br{number}"
        vlans = [{"ID": chance.choice((1, 2)), "PVID": True, "Untagged": True}]
        pick = chance.choice(
            [
                (*netns(place, "n"), *interface(place, "eth0", f"10.0.0.{place[-1]}/24")),
                link(H1, f"v{place[-1]}", BridgeVlans=vlans),
                link(H1, f"br{number}", type_="bridge", Bridge={"VlanFiltering": chance.random() < 0.3}, BridgeVlans=vlans),
                link(H1, f"vx{number}", type_="vxlan", VXLAN={"ID": 40 + chance.randrange(2)}, BridgeVlans=vlans),
                (port(bridge, outer),),
                (port(bridge, f"{H1}/vx{chance.randrange(3)}"),),
                (cable(outer, inner),),
                switch(H1, f"ovs{number}", {outer: {"Tag": chance.choice((0, 5))}, f"{H1}/vx{number}": {"Tag": 5}}),
            ]
        )
        facts = {fact.id: fact for fact in pick}
        gone = {id_: there[id_] for id_ in chance.sample(sorted(there), min(len(there), chance.choice((0, 0, 1))))}
        there = {id_: fact for id_, fact in (there | facts).items() if id_ not in gone}
        graph.tell(*(fact for id_, fact in facts.items() if id_ not in gone), gone=tuple(gone.values()))
        if step % 3 == 0:
            anew = Entries()
            anew.load(graph.store.current())
            expected = {entry.key for entry in anew.current()}
            assert {entry.key for entry in graph.follow().current()} == expected
            named += any(key[4] for key in expected)
    assert named > 10
