"""Ports of a switch as owners: by the addresses, or the MAC, that who made them wrote down."""

from __future__ import annotations

from typing import Any

from support.addressgraph import H1, H2, Graph, host, interface, k8s, link, netns, switch

from skytrail.addresses.book import Owner, network_of
from topology.facts import NodeFact

MAC = "fa:16:3e:00:00:01"


def tap(graph: Graph, name: str = "tap1", at: str = H1, **ids: str) -> None:
    """A machine's interface on the host, with these external_ids."""
    told: dict[str, Any] = {"ExtID": {key.replace("_", "-"): value for key, value in ids.items()}} if ids else {}
    graph.tell(*link(at, name, type_="tuntap", UUID=f"{name}-uuid", Ovs={"Type": "system"}, **told))


def test_what_was_written_down_of_a_port_names_what_is_behind_it(graph: Graph) -> None:
    graph.tell(host(H1, "one"))
    tap(graph, attached_mac=MAC, iface_id="port-1", vm_uuid="vm-1", ip_address="10.2.0.5, fd02::5/64 nonsense")
    port = Owner("ovsport", "tap1", "", "h", "port-1", "vm-1")
    assert graph.named("10.2.0.5", H2, H2) == graph.named("fd02::5", H1, H1) == port
    assert port.shown() == {"Kind": "ovsport", "Name": "tap1", "Host": "h", "IfaceID": "port-1", "VM": "vm-1"}
    tap(graph, ip_address="10.2.0.6")
    assert graph.named("10.2.0.5") is None
    assert graph.named("10.2.0.6") == Owner("ovsport", "tap1", "", "h")
    tap(graph, iface_id="port-1")
    assert graph.named("10.2.0.6") is None
    tap(graph, ip_address="10.2.0.6")
    graph.tell(gone=(NodeFact(f"{H1}/tap1", {"Type": "tuntap"}),))
    assert graph.named("10.2.0.6") is None


def test_a_neighbour_with_a_ports_mac_is_behind_it(graph: Graph) -> None:
    def near(at: str, *addresses: str) -> None:
        neighbours = [{"IP": one, "MAC": MAC} for one in addresses]
        graph.tell(*link(at, "br-int", type_="openvswitch", Neighbors=neighbours))

    graph.tell(host(H1, "one"), host(H2, "two"))
    near(H1, "10.2.0.5", "fe80::1")
    tap(graph, attached_mac=MAC.upper(), iface_id="port-1")
    port = Owner("ovsport", "tap1", "", "h", "port-1")
    assert graph.named("10.2.0.5") == port
    near(H1, "10.2.0.6")
    near(H2, "10.2.0.7")  # another host's neighbour of the same MAC is behind no port of this one
    assert [graph.named(f"10.2.0.{at}") for at in (5, 6, 7)] == [None, port, None]
    tap(graph, name="tap2", attached_mac=MAC)  # two ports: nobody can tell which
    assert graph.named("10.2.0.6") is None
    graph.tell(gone=(NodeFact(f"{H1}/tap1", {"Type": "tuntap"}),))
    assert graph.named("10.2.0.6") == Owner("ovsport", "tap2", "", "h")
    graph.tell(gone=link(H1, "br-int"))
    assert graph.named("10.2.0.6") is None


def test_whoever_has_the_address_himself_comes_before_the_port_that_he_is_behind(graph: Graph) -> None:
    graph.tell(host(H1, "one"))
    tap(graph, ip_address="10.2.0.5")
    graph.tell(*netns(f"{H1}/netns/a", "a"), *interface(f"{H1}/netns/a", "eth0", "10.2.0.5/24"))
    assert {graph.named("10.2.0.5", at, at.split("/netns")[0]) for at in (H1, H2, f"{H1}/netns/a")} == {
        Owner("netns", "a", host="h")
    }
    graph.tell(k8s("pod", "web-1", IP="10.2.0.5", Node="one", Status="Running"))
    assert graph.named("10.2.0.5") == Owner("pod", "web-1", "shop", "one", cluster="c1")


def test_an_address_behind_a_port_is_in_the_network_that_the_port_is_in(graph: Graph) -> None:
    graph.tell(host(H1, "one"))
    for name, vni in (("tap1", 42), ("tap2", 43)):
        tap(graph, name=name, ip_address="10.2.0.5")
        tunnel = f"{H1}/vx{vni}"
        options = {"Type": "vxlan", "Options": {"key": str(vni)}}
        graph.tell(NodeFact(tunnel, {"Type": "vxlan", "Name": f"vx{vni}", "Ovs": options}))
        graph.tell(*switch(H1, f"br{vni}", {f"{H1}/{name}": {}, tunnel: {}}))
    found = [graph.named("10.2.0.5", H2, H2, network=network_of("vxlan", vni)) for vni in (42, 43)]
    assert found == [Owner("ovsport", name, "", "h") for name in ("tap1", "tap2")]
    assert graph.named("10.2.0.5", H2, H2) is None


def test_an_internal_port_is_the_namespaces_that_it_was_moved_into(graph: Graph) -> None:
    graph.tell(host(H1, "one"), *netns(f"{H1}/netns/a", "a"))
    inner = link(f"{H1}/netns/a", "int0", type_="internal", Ovs={"Type": "internal"}, UUID="u", IPV4=["10.2.0.5/24"])
    graph.tell(*inner)
    assert graph.named("10.2.0.5") == Owner("netns", "a", host="h")
