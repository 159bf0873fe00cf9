"""Paths over graphs written by hand: what real namespaces are not asked for, and words of questions and answers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pathgraph import Graph, via

from skytrail.errors import UsageError
from topology.elements import FOREVER, Part, Revision, State
from topology.path.find import Question, find_path
from topology.path.result import Path


def two(more: dict[str, Any] | None = None, **left: Any) -> Graph:
    """Hosts a and b, joined by a veth pair."""
    graph = Graph()
    one = graph.device(graph.host("a"), "eth0", "veth", "10.0.0.1/24", **left)
    other = graph.device(graph.host("b"), "eth0", "veth", "10.0.0.2/24", **(more or {}))
    graph.pair(one, other)
    return graph


def path(graph: Graph, src: str = "10.0.0.1", dst: str = "10.0.0.2", **more: Any) -> Path:
    return find_path(graph.revisions, Question(src, dst, **more))


def names(found: Path) -> list[str]:
    return [f"{hop.host}/{hop.interface} {hop.direction}" for hop in found.hops]


def test_neighbours_on_one_link() -> None:
    found = path(two())
    assert names(found) == ["a/eth0 out", "b/eth0 in"]
    assert (found.end.kind, found.end.host, found.same_back) == ("arrives", "b", True)


@pytest.mark.parametrize("flags", [["BROADCAST"], ["UP", "NO-CARRIER"]])
def test_a_link_that_is_down_ends_it(flags: list[str]) -> None:
    found = path(two({"LinkFlags": flags}))
    assert (found.end.kind, found.end.host, found.end.interface) == ("stops", "b", "eth0")
    assert found.hops[-1].asked


def test_an_mtu_that_nobody_tells_of_is_a_warning() -> None:
    found = path(two({"MTU": 1400}))
    assert (found.narrowest and found.narrowest.mtu, found.narrowest and found.narrowest.host) == (1400, "b")
    assert found.warnings == (
        "packets of more than 1400 bytes do not pass eth0 b, up to 1500 are sent: nobody tells the sender",
    )


def bridged(left: dict[str, Any], right: dict[str, Any], **bridge: Any) -> Graph:
    """Hosts a and b at two ports of a bridge of the host s."""
    graph = Graph()
    switch = graph.host("s")
    graph.device(switch, "br0", "bridge", **bridge)
    for name, address, port in (("a", "10.0.0.1/24", left), ("b", "10.0.0.2/24", right)):
        end = graph.device(graph.host(name), "eth0", "veth", address)
        graph.pair(graph.device(switch, f"p{name}", MasterIndex=2, **port), end)
    return graph


VLAN10 = {"BridgeVlans": [{"ID": 10, "PVID": True, "Untagged": True}]}
VLAN20 = {"BridgeVlans": [{"ID": 20, "PVID": True, "Untagged": True}]}
FILTERING = {"Bridge": {"VlanFiltering": True}}


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (VLAN10, VLAN10, ""),
        (VLAN10, VLAN20, "VLAN 10 is not allowed at the port: it has VLAN 20"),
        (VLAN10, {"BridgeVlans": [{"ID": 1, "End": 30}]}, "no device takes VLAN 10 here"),
        ({}, VLAN10, "untagged frames are not taken: the port has no PVID, only no VLAN"),
        ({**VLAN10, "BridgePort": {"State": "blocking"}}, VLAN10, "the bridge port is blocking (STP)"),
        (VLAN10, {**VLAN10, "BridgePort": {"State": "learning"}}, "the bridge port is learning (STP)"),
        (
            {**VLAN10, "BridgePort": {"Isolated": True}},
            {**VLAN10, "BridgePort": {"Isolated": True}},
            "both bridge ports are isolated",
        ),
    ],
)
def test_what_a_bridge_lets_through(left: dict[str, Any], right: dict[str, Any], reason: str) -> None:
    found = path(bridged(left, right, **FILTERING))
    assert found.end.kind == ("stops" if reason else "arrives")
    assert reason in found.end.reason


def test_a_forwarding_entry_that_is_wrong_leads_astray() -> None:
    graph = Graph()
    switch = graph.host("s")
    graph.device(switch, "br0", "bridge")
    for number, name in enumerate("abc"):
        end = graph.device(graph.host(name), "eth0", "veth", f"10.0.0.{number + 1}/24", MAC=f"02:00:00:00:00:0{number}")
        fdb = [{"MAC": "02:00:00:00:00:01", "Flags": ["NTF_MASTER"]}] if name == "c" else []
        graph.pair(graph.device(switch, f"p{name}", MasterIndex=2, FDB=fdb), end)
    found = path(graph)
    assert found.end.kind == "stops"
    assert names(found)[-1] == "c/eth0 in"
    assert found.end.reason.startswith("02:00:00:00:00:01: nobody on this link answers")


def test_hosts_whose_link_is_not_in_the_graph_meet_over_it() -> None:
    graph = Graph()
    for number, name in enumerate("ab"):
        graph.device(graph.host(name), "eth0", "device", f"10.0.0.{number + 1}/24")
    graph.device(graph.host("c"), "eth0", "device", "10.0.0.3/24")
    found = path(graph)
    assert names(found) == ["a/eth0 out", "b/eth0 in"]
    assert found.hops[1].decision == "over a link that is not in the graph"


def test_beyond_a_gateway_that_nobody_knows_nothing_is_known() -> None:
    graph = Graph()
    graph.device(graph.host("a"), "eth0", "device", "10.0.0.1/24", routes=[via("0.0.0.0/0", "10.0.0.254")])
    found = path(graph, dst="203.0.113.9")
    assert (found.end.kind, found.end.interface) == ("unknown", "eth0")
    assert "10.0.0.254" in found.end.reason


def test_routers_that_send_to_each_other_are_a_loop() -> None:
    found = path(two({"routes": [via("0.0.0.0/0", "10.0.0.1")]}, routes=[via("0.0.0.0/0", "10.0.0.2")]), dst="203.0.113.9")
    assert (found.end.kind, found.end.reason) == ("stops", "the packet goes round in a loop")


def test_of_several_next_hops_those_that_fail_are_told() -> None:
    graph = Graph()
    a, b = graph.host("a"), graph.host("b")
    for number in range(2):
        routes = [{"Prefix": "10.9.0.9/32", "NextHops": [{"IP": f"10.0.{one}.2", "IfIndex": 2 + one} for one in range(2)]}]
        one = graph.device(a, f"eth{number}", "veth", f"10.0.{number}.1/24", routes=routes)
        flags = {"LinkFlags": ["BROADCAST"]} if number else {}
        graph.pair(one, graph.device(b, f"eth{number}", "veth", f"10.0.{number}.2/24", **flags))
    graph.device(b, "lo1", "dummy", "10.9.0.9/32")
    found = path(graph, src="10.0.0.1", dst="10.9.0.9")
    assert found.end.kind == "arrives"
    assert found.hops[0].decision == "route 10.9.0.9/32 via 10.0.0.2 dev eth0, table main (next hop 1 of 2)"
    [warning] = found.warnings
    assert "next hop 2 of 2) does not lead there: is down" in warning


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("10.0.0.1", "nobody", "dst: 'nobody' is no address, and no host, namespace or interface of the graph has that name"),
        ("10.0.0.9", "10.0.0.2", "src: no interface in the graph has the address 10.0.0.9"),
        ("10.0.0.1", "10.0.0.2@a", "dst: a has no address 10.0.0.2: say 10.0.0.2@b"),
        ("eth0", "10.0.0.2", "src: 2 nodes are named 'eth0': say which by its TID: host/a/link/eth0, host/b/link/eth0"),
        ("10.0.0.1", "2001:db8::1", "src 10.0.0.1 and dst 2001:db8::1 are not of the same IP version"),
    ],
)
def test_ends_that_are_not_clear_are_one_clear_error(src: str, dst: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        path(two(), src, dst)
    assert str(caught.value) == reason


def test_an_address_that_several_have_needs_a_place() -> None:
    graph = two()
    graph.device(graph.host("c"), "eth0", "device", "10.0.0.1/24")
    with pytest.raises(UsageError, match=r"2 namespaces have the address 10\.0\.0\.1: say 10\.0\.0\.1@a, 10\.0\.0\.1@c"):
        path(graph)
    assert path(graph, src="10.0.0.1@a").end.kind == "arrives"


@pytest.mark.parametrize("src", ["a", "host/a/link/eth0", "host/a", "10.0.0.1@a", "eth0@a"])
def test_ends_are_named_in_many_ways(src: str) -> None:
    assert path(two(), src, "host/b/link/eth0").source.address == "10.0.0.1"


def test_as_json_it_has_our_keys() -> None:
    shown = json.loads(msgspec.json.encode(path(two())))
    assert shown["Hops"][0] | {"ID": ""} == {
        "Host": "a",
        "Namespace": "",
        "Interface": "eth0",
        "ID": "",
        "TID": "host/a/link/eth0",
        "Kind": "veth",
        "Direction": "out",
        "Decision": "route 10.0.0.0/24 dev eth0, table main",
        "Depth": 0,
        "Vlans": [],
        "MTU": 1500,
        "Room": 1500,
        "State": "UP",
        "Routed": True,
        "Guessed": False,
        "Asked": False,
    }
    assert shown["SameBack"] is True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["10.0.0.1/24", "10.0.0.2", "x", "bridge", "vxlan", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ID", "Routes", "Prefix", "MAC"]), inner),
    max_leaves=6,
)
RULES = st.fixed_dictionaries(
    {"Family": st.just(2)},
    optional={
        "Src": st.sampled_from(["x", "10.0.0.0/24", "::/0", "10.0.0.0/99"]),
        "Action": st.sampled_from(["goto", "lookup", "nop", "", "prohibit"]),
        "Goto": st.integers(-1, 5),
        "Priority": st.integers(-1, 5),
        "Table": st.sampled_from([254, 255, 7]),
        "Dports": st.lists(st.integers(), max_size=3),
    },
)
KEYS = ["MAC", "MTU", "LinkFlags", "IPV4", "MasterIndex", "RoutingTables", "Neighbors", "FDB", "VXLAN", "BridgeVlans", "Type"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["10.0.0.2", "10.0.0.9"]), st.lists(RULES))
def test_whatever_an_element_says_there_is_a_path_or_one_clear_error(
    more: dict[str, Any], dst: str, rules: list[dict[str, Any]]
) -> None:
    graph = two()
    damaged = []
    for one in graph.revisions:
        state = one.state
        if state is not None and state.tid.endswith("/link/eth0"):
            part = Part.of({**state.metadata, **more})
            state = State(state.host, state.origin, {"netlink": part}, state.tid)
        elif state is not None and state.tid == "host/a":
            part = Part.of({**state.metadata, "Rules": rules})
            state = State(state.host, state.origin, {"netlink": part}, state.tid)
        damaged.append(Revision(one.id, 1, 1, 1, FOREVER, 1, 1, state))
    try:
        found = find_path(damaged, Question("10.0.0.1", dst))
    except UsageError:
        return
    assert found.end.reason


def switched(host: str, graph: Graph, *ports: dict[str, Any]) -> list[str]:
    """Ports of an Open vSwitch in user space."""
    flags = {"LinkFlags": ["UP", "LOWER_UP", "PROMISC"]}
    graph.device(host, "ovs-netdev", "tun", LinkFlags=["PROMISC"])
    return [graph.device(host, f"p{number}", "veth", **flags, **port) for number, port in enumerate(ports)]


def test_open_vswitch_is_passed_with_a_word_of_doubt() -> None:
    graph = Graph()
    ports = switched(graph.host("s"), graph, {}, {}, {})
    for number, port in enumerate(ports):
        graph.pair(port, graph.device(graph.host("abc"[number]), "eth0", "veth", f"10.0.0.{number + 1}/24"))
    found = path(graph)
    assert names(found) == ["a/eth0 out", "s/p0 in", "s/p1 out", "b/eth0 in"]
    assert [hop.guessed for hop in found.hops] == [False, False, True, False]
    lost = path(graph, dst="10.0.0.9")
    assert (lost.end.kind, lost.end.reason) == ("unknown", "what Open vSwitch does with it is not in the graph")


@pytest.mark.parametrize("internal", ["openvswitch", "internal"])
def test_ports_of_the_kernels_open_vswitch_are_those_of_its_datapath(internal: str) -> None:
    graph = Graph()
    switch = graph.host("s")
    graph.device(switch, "ovs-system", "openvswitch")
    for name, address in (("a", "10.0.0.1/24"), ("b", "10.0.0.2/24")):
        port = graph.device(switch, f"p{name}", "veth", MasterIndex=2)
        graph.pair(port, graph.device(graph.host(name), "eth0", "veth", address))
    graph.device(switch, "br-int", internal, "10.0.0.3/24", MasterIndex=2)
    assert names(path(graph)) == ["a/eth0 out", "s/pa in", "s/pb out", "b/eth0 in"]
    assert names(path(graph, dst="10.0.0.3")) == ["a/eth0 out", "s/pa in", "s/br-int in"]
    assert names(path(graph, src="10.0.0.3")) == ["s/br-int out", "s/pb out", "b/eth0 in"]


def test_of_several_ways_the_one_that_is_guessed_least_counts() -> None:
    graph = Graph()
    switch, bridges = graph.host("s"), graph.host("t")
    one, two, three = switched(switch, graph, {}, {}, {})
    target = graph.device(graph.host("b"), "eth0", "veth", "10.0.0.2/24")
    graph.pair(one, graph.device(graph.host("a"), "eth0", "veth", "10.0.0.1/24"))
    bridge = graph.device(bridges, "br0", "bridge")
    assert bridge
    index = graph.index(bridges)
    known = [{"MAC": graph.mac(target), "Flags": ["NTF_MASTER"]}]
    for port, far in ((two, "q0"), (three, "q1")):
        graph.pair(port, graph.device(bridges, far, "veth", MasterIndex=index))
    graph.pair(graph.device(bridges, "q2", "veth", MasterIndex=index, FDB=known), target)
    found = path(graph)
    assert names(found)[-3:] == ["t/br0 through", "t/q2 out", "b/eth0 in"]
    assert sum(hop.guessed for hop in found.hops) == 1


def test_the_source_is_of_the_network_that_packets_leave_for() -> None:
    graph = Graph()
    routes = [{"Prefix": prefix, "NextHops": [{"IfIndex": 2}]} for prefix in ("192.168.77.0/24", "203.0.113.0/24")]
    main = {"ID": 254, "Src": "192.168.77.1", "Routes": routes}  # Src is the first route's
    local = {"ID": 255, "Routes": [{"Prefix": "203.0.113.11/32", "Type": "local", "NextHops": [{"IfIndex": 2}]}]}
    one = graph.device(graph.host("a"), "eth0", "veth", "192.168.77.1/24", "203.0.113.11/24", RoutingTables=[main, local])
    graph.pair(one, graph.device(graph.host("b"), "eth0", "veth", "203.0.113.2/24"))
    found = path(graph, "a", "203.0.113.2")
    assert (found.source.address, found.back and found.back.end.kind) == ("203.0.113.11", "arrives")


def test_a_source_of_another_interface_is_what_the_route_says() -> None:
    graph = Graph()
    host = graph.host("a")
    graph.device(host, "lo0", "dummy", "10.255.0.1/32")
    main = {"ID": 254, "Src": "10.255.0.1", "Routes": [{"Prefix": "0.0.0.0/0", "NextHops": [{"IfIndex": 3, "IP": "10.0.0.2"}]}]}
    one = graph.device(host, "eth0", "veth", "10.0.0.1/24", RoutingTables=[main])
    graph.pair(one, graph.device(graph.host("b"), "eth0", "veth", "10.0.0.2/24"))
    assert path(graph, "a", "10.9.0.1").source.address == "10.255.0.1"


def test_a_route_by_an_interface_that_is_not_in_the_graph_leads_nowhere() -> None:
    graph = Graph()
    route = {"Prefix": "10.9.0.0/16", "NextHops": [{"IfIndex": 99, "IP": "10.0.0.254"}]}
    graph.device(graph.host("a"), "eth0", "device", "10.0.0.1/24", routes=[route])
    found = path(graph, "a", "10.9.1.1")
    assert (found.end.kind, found.end.reason) == ("stops", "route 10.9.0.0/16, table main leads nowhere")


def test_a_host_is_meant_by_the_address_that_it_has_alone() -> None:
    graph = Graph()
    ends = []
    for name, address in (("web", "10.0.0.1/24"), ("db", "10.0.0.2/24")):
        host = graph.host(name)
        graph.device(host, "docker0", "bridge", "172.17.0.1/16")
        ends.append(graph.device(host, "eth0", "veth", address))
    graph.pair(*ends)
    found = path(graph, "web", "db")
    assert (found.destination.address, found.end.kind, found.warnings) == ("10.0.0.2", "arrives", ())


def test_a_host_is_meant_by_the_interface_that_leads_on() -> None:
    graph = Graph()
    host = graph.host("db")
    graph.device(host, "docker0", "bridge", "172.17.0.1/16")
    other = graph.device(host, "eth0", "veth", "10.0.0.2/24", routes=[via("0.0.0.0/0", "10.0.0.254")])
    graph.pair(graph.device(graph.host("web"), "eth0", "veth", "10.0.0.1/24"), other)
    assert path(graph, "web", "db").destination.address == "10.0.0.2"


def test_ways_of_equal_cost_that_meet_again_are_each_followed_once() -> None:
    """Six stages of eight parallel routers: a quarter of a million ways there, and as many back."""
    graph, stages, there, back = Graph(), 6, "172.16.2.1/32", "172.16.1.1/32"
    routers = [graph.host(f"r{stage}") for stage in range(stages + 1)]
    for owner, address in ((routers[0], back), (routers[-1], there)):
        graph.device(owner, "stub", "dummy", address)
    for stage, one in itertools.product(range(stages), range(8)):
        net, middle = f"10.{stage}.{one}", graph.host(f"m{stage}-{one}")
        left = graph.device(routers[stage], f"out{one}", "veth", f"{net}.1/30", routes=[via(there, f"{net}.2")])
        near = graph.device(middle, "near", "veth", f"{net}.2/30", routes=[via(back, f"{net}.1")])
        far = graph.device(middle, "far", "veth", f"{net}.5/30", routes=[via(there, f"{net}.6")])
        right = graph.device(routers[stage + 1], f"in{one}", "veth", f"{net}.6/30", routes=[via(back, f"{net}.5")])
        graph.pair(left, near)
        graph.pair(far, right)
    found = path(graph, "172.16.1.1", "172.16.2.1")
    assert (found.end.kind, found.back and found.back.end.kind, found.warnings) == ("arrives", "arrives", ())


def test_routes_that_are_not_in_the_graph_are_warned_of() -> None:
    graph = two(routes=[via("10.9.0.0/16", "10.0.0.2")], RoutesLeftOut=4200)
    warning = "a: 4200 more routes are not in the graph: one of them may lead elsewhere"
    assert warning in path(graph, dst="10.9.0.9").warnings
    assert path(two(routes=[via("10.9.0.0/16", "10.0.0.2")]), dst="10.9.0.9").warnings == ()
    found = path(graph, dst="192.0.2.1")
    assert (found.end.kind, found.end.reason) == ("unknown", "no route to 192.0.2.1: 4200 more routes are not in the graph")
    exact = two(routes=[{"Prefix": "10.0.0.2/32", "NextHops": [{}]}], RoutesLeftOut=4200)
    assert path(exact).warnings == ()


def test_a_neighbour_entry_with_another_s_mac_is_named() -> None:
    nobody = two(Neighbors=[{"IP": "10.0.0.2", "MAC": "02:de:ad:00:00:01"}])
    found = path(nobody)
    assert (found.end.kind, found.end.host, found.end.interface) == ("stops", "a", "eth0")
    assert found.end.reason.startswith(
        "what is for 10.0.0.2 is sent to 02:de:ad:00:00:01, which no interface of the graph has; eth0 in b has"
    )
    right = two(Neighbors=[{"IP": "10.0.0.2", "MAC": nobody.mac("host/b/link/eth0")}])
    assert path(right).end.kind == "arrives"


def test_who_answers_no_arp_is_named() -> None:
    deaf = {"LinkFlags": ["UP", "LOWER_UP", "NOARP"]}
    found = path(two(deaf))
    assert (found.end.kind, found.end.host) == ("stops", "b")
    assert found.end.reason == "has 10.0.0.2, and answers no ARP: it is set to NOARP"
