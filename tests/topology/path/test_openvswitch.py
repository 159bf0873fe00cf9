"""Paths through Open vSwitch by the VLANs of its ports, over graphs written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from support.pathgraph import Graph, Switched, switched_fabric

from topology.path.find import Question, find_path
from topology.path.result import Path

Vlans = dict[str, Any]
ALL: Vlans = {}


def path(graph: Graph, src: str = "10.0.0.1", dst: str = "10.0.0.2") -> Path:
    return find_path(graph.revisions, Question(src, dst))


def names(found: Path) -> list[str]:
    return [hop.interface for hop in found.hops]


def one_switch(left: Vlans, right: Vlans) -> Graph:
    graph = Switched()
    switch = graph.switch("s")
    graph.workload(switch, "a", left, "10.0.0.1/24")
    graph.workload(switch, "b", right, "10.0.0.2/24")
    return graph


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (ALL, ALL),
        ({"Tag": 10}, {"Tag": 10}),
        ({"Tag": 10}, {"Tag": 10, "Trunks": [20], "VlanMode": "native-untagged"}),
        ({"Tag": 0}, ALL),
        ({"Tag": 7, "VlanMode": "dot1q-tunnel"}, {"Tag": 7}),
        ({"Trunks": [0, 5]}, ALL),
    ],
)
def test_ports_whose_vlans_go_together_lead_to_each_other(left: Vlans, right: Vlans) -> None:
    found = path(one_switch(left, right))
    assert (names(found), found.end.kind) == (["eth0", "a", "b", "eth0"], "arrives")
    assert [hop.interface for hop in found.hops if hop.guessed] == ["b"]  # OpenFlow may do something else


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        ({"Tag": 10}, {"Tag": 77}, "port b of br-int has VLAN 77, port a has 10"),
        (
            {"Tag": 10},
            {"Tag": 10, "VlanMode": "trunk", "Trunks": [20, 30]},
            "port b of br-int has trunk 20, 30, port a has VLAN 10",
        ),
        (ALL, {"Tag": 5, "VlanMode": "dot1q-tunnel"}, "port b of br-int has VLAN 5, port a has trunk all VLANs"),
        ({"Trunks": [20]}, ALL, "port a of br-int has trunk 20, and takes no frames without a tag"),
    ],
)
def test_a_way_that_vlans_do_not_let_through_ends_there_and_says_so(left: Vlans, right: Vlans, reason: str) -> None:
    found = path(one_switch(left, right))
    assert (found.end.kind, found.end.reason) == ("stops", reason)
    assert (found.end.host, found.end.namespace, names(found)) == ("s", "", ["eth0", "a"])


def test_an_internal_port_in_user_space_is_the_hosts_own_interface() -> None:
    graph = Switched()
    switch = graph.switch("s")
    graph.workload(switch, "a", {"Tag": 10}, "10.0.0.1/24")
    graph.port(switch, "br-int", {"Tag": 10}, "10.0.0.2/24", kind="internal")
    assert names(path(graph)) == ["eth0", "a", "br-int"]
    assert names(path(graph, "10.0.0.2", "10.0.0.1")) == ["br-int", "a", "eth0"]


@pytest.mark.parametrize(("tag", "reason"), [(10, ""), (20, "port pa of br-int has VLAN 20, port a has 10")])
def test_patch_ports_lead_to_another_bridge(tag: int, reason: str) -> None:
    graph = Switched()
    switch = graph.switch("s")
    other = graph.node(f"{switch}/other", "s", {"Type": "ovsbridge", "Name": "br-ex"})
    graph.workload(switch, "a", {"Tag": 10}, "10.0.0.1/24")
    graph.edge(
        graph.patch(switch, f"{switch}/ovs", "pa", {"Tag": tag}), graph.patch(switch, other, "pb", ALL), "layer2", Type="patch"
    )
    inside = graph.device(graph.netns(switch, "b"), "eth0", "veth", "10.0.0.2/24")
    device = graph.device(switch, "b", "veth", Ovs={"Type": "system"})
    graph._port(switch, "b", ALL, device, other)
    graph.pair(inside, device)
    found = path(graph)
    assert (found.end.kind, names(found)) == (("stops", ["eth0", "a"]) if reason else ("arrives", ["eth0", "a", "b", "eth0"]))
    assert not reason or found.end.reason == reason


def test_vlans_of_two_patch_ports_that_do_not_go_together() -> None:
    """A bridge that has no port but those to its neighbours: nothing of it is an interface of the kernel's."""
    graph = Switched()
    switch = graph.switch("s")
    middle, other = (graph.node(f"{switch}/{name}", "s", {"Type": "ovsbridge", "Name": name}) for name in ("br-mid", "br-ex"))
    graph.workload(switch, "a", ALL, "10.0.0.1/24")
    for left, right in (
        (("pa", f"{switch}/ovs", ALL), ("pb", middle, {"Tag": 10})),
        (("pc", middle, {"Tag": 20}), ("pd", other, ALL)),
    ):
        ends = [graph.patch(switch, bridge, name, vlans) for name, bridge, vlans in (left, right)]
        graph.edge(*ends, "layer2", Type="patch")
    inside = graph.device(graph.netns(switch, "b"), "eth0", "veth", "10.0.0.2/24")
    device = graph.device(switch, "b", "veth", Ovs={"Type": "system"})
    graph._port(switch, "b", ALL, device, other)
    graph.pair(inside, device)
    found = path(graph)
    assert (found.end.kind, found.end.reason) == ("stops", "port pc of br-mid has VLAN 20, port pb has 10")


def test_tenants_are_kept_apart_between_switches() -> None:
    graph = switched_fabric()
    assert names(path(graph, "10.0.10.1", "10.0.10.2")) == ["eth0", "red1", "t10x2", "t10", "red2", "eth0"]
    assert names(path(graph, "10.0.20.3", "10.0.20.1")) == ["eth0", "blue3", "t20", "t20x3", "blue1", "eth0"]


@pytest.mark.parametrize("source", [1, 2])
@pytest.mark.parametrize(
    ("port", "wrong", "host", "name", "reason"),
    [
        ("red2", 77, "h2", "red2", "port red2 of br-int has VLAN 77, port t10 has 10"),
        ("red2", 20, "h2", "red2", "port red2 of br-int has VLAN 20, port t10 has 10"),
        ("red1", 20, "h1", "red1", "port red1 of br-int has VLAN 20, port t10x2 has 10"),
        ("t10h2", 20, "h2", "t10", "port t10 of br-int has VLAN 20, port red2 has 10"),
        ("t10x2", 99, "h1", "t10x2", "port t10x2 of br-int has VLAN 99, port red1 has 10"),
    ],
)
def test_the_port_that_is_not_as_the_rest_of_its_segment_is_named(
    port: str, wrong: int, host: str, name: str, reason: str, source: int
) -> None:
    found = path(switched_fabric(**{port: wrong}), f"10.0.10.{source}", f"10.0.10.{3 - source}")
    assert (found.end.kind, found.end.host, found.end.interface, found.end.reason) == ("stops", host, name, reason)
