"""Rows of a database written by hand → facts."""

from __future__ import annotations

from typing import Any

import pytest

from topology.elements import Metadata, Part, State
from topology.facts import EdgeFact, Fact, NodeFact
from topology.probes.ovsdb.joining import Joined
from topology.probes.ovsdb.source import SCHEMA, Column
from topology.probes.ovsdb.translate import Row, Tables, Translator, bridge_metadata, interface_metadata, port_metadata

HOST = "host/h"
NOTHING: Tables = {table: {} for table in SCHEMA}
ALONE = Joined({})


def row(table: str, name: str, **more: Any) -> Row:
    """With all columns that are followed; what is not told is empty."""
    return {**{column: _empty(kind) for column, kind in SCHEMA[table].items()}, "name": name, **more}


def _empty(kind: Column) -> Any:
    if isinstance(kind, dict):
        return {} if "value" in kind else []
    return {"string": "", "boolean": False}[kind]


def bridge(**more: Any) -> Row:
    return row("Bridge", "br0", **more)


def port(name: str, *interfaces: str, **more: Any) -> Row:
    return row("Port", name, interfaces=list(interfaces), **more)


def interface(name: str, kind: str = "", **more: Any) -> Row:
    return row("Interface", name, type=kind, **more)


def tables(interfaces: dict[str, Row]) -> Tables:
    """A bridge with a port for each."""
    ports = {f"p-{uuid}": port(one["name"], uuid) for uuid, one in interfaces.items()}
    told = {"Open_vSwitch": {"o": row("Open_vSwitch", "", ovs_version=["3.1.0"])}, "Bridge": {"b": bridge(ports=list(ports))}}
    return {**NOTHING, **told, "Port": ports, "Interface": interfaces}


def made(found: Tables, joined: Joined = ALONE) -> list[Fact]:
    return list(Translator(HOST).facts(found, joined).values())


def nodes(found: Tables, joined: Joined = ALONE) -> dict[str, NodeFact]:
    return {fact.tid: fact for fact in made(found, joined) if isinstance(fact, NodeFact)}


def edges(found: Tables, joined: Joined = ALONE) -> set[tuple[str, str, str]]:
    return {(fact.parent, fact.child, fact.relation) for fact in made(found, joined) if isinstance(fact, EdgeFact)}


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ({}, {}),
        ({"tag": [0]}, {"Vlans": [0], "Ovs": {"Tag": 0}}),
        ({"trunks": [30, 20]}, {"Vlans": [20, 30], "Ovs": {"Trunks": [20, 30]}}),
        (
            {"tag": [5], "trunks": [6], "vlan_mode": ["native-tagged"], "cvlans": [7]},
            {"Vlans": [5, 6], "Ovs": {"Tag": 5, "Trunks": [6], "CVlans": [7], "VlanMode": "native-tagged"}},
        ),
        ({"bond_mode": ["balance-slb"], "lacp": ["active"]}, {"BondMode": "balance-slb", "LACP": "active"}),
        (
            {"external_ids": {"a": "b"}, "other_config": {"c": "d"}},
            {"ExtID": {"a": "b"}, "Ovs": {"OtherConfig": {"c": "d"}}},
        ),
    ],
)
def test_keys_of_a_port(columns: dict[str, Any], keys: Metadata) -> None:
    assert port_metadata(NOTHING, "u", port("p", **columns)) == {"Type": "ovsport", "Name": "p", "UUID": "u", **keys}


def test_keys_of_a_bridge() -> None:
    found = bridge(
        datapath_type="netdev",
        datapath_id=["01"],
        fail_mode=["secure"],
        protocols=["OpenFlow13", "OpenFlow10"],
        controller=["c2", "c1", "gone"],
        rstp_enable=True,
    )
    controllers: dict[str, Row] = {
        "c1": {"target": "tcp:10.0.0.1:6653", "is_connected": True, "role": ["master"]},
        "c2": {"target": "tcp:10.0.0.2:6653", "is_connected": False, "role": []},
    }
    own = {
        "DatapathType": "netdev",
        "DatapathID": "01",
        "FailMode": "secure",
        "Protocols": ["OpenFlow10", "OpenFlow13"],
        "RSTP": True,
        "Controllers": [
            {"Target": "tcp:10.0.0.1:6653", "IsConnected": True, "Role": "master"},
            {"Target": "tcp:10.0.0.2:6653", "IsConnected": False},
        ],
    }
    assert bridge_metadata({**NOTHING, "Controller": controllers}, "u", found) == {
        "Type": "ovsbridge",
        "Name": "br0",
        "UUID": "u",
        "Ovs": own,
    }


def test_keys_of_a_tunnel() -> None:
    found = interface(
        "vx",
        "vxlan",
        ofport=[3],
        error=["no route"],
        options={"remote_ip": "10.0.0.2", "local_ip": "10.0.0.1", "key": "7"},
        status={"tunnel_egress_iface": "eth0", "tunnel_egress_iface_carrier": "up", "driver_version": "1"},
    )
    assert interface_metadata("u", found, shared=True) == {
        "UUID": "u",
        "OfPort": 3,
        "LocalIP": "10.0.0.1",
        "RemoteIP": "10.0.0.2",
        "TunEgressIface": "eth0",
        "TunEgressIfaceCarrier": "up",
        "Ovs": {"Type": "vxlan", "Options": found["options"], "Error": "no route"},
    }


@pytest.mark.parametrize("shared", [True, False])
def test_the_key_of_an_ipsec_tunnel_is_never_told(shared: bool) -> None:
    found = interface("gre0", "gre", options={"remote_ip": "10.0.0.2", "psk": "swordfish"})
    assert interface_metadata("u", found, shared=shared)["Ovs"]["Options"] == {"remote_ip": "10.0.0.2"}


def test_an_interface_of_the_kernels_is_its_node_with_more_keys() -> None:
    found = tables({"i": interface("veth1", ofport=[1])})
    joined = Joined({"i": "dev/veth1"}, ("dev/ovs",))
    told = nodes(found, joined)
    assert told["dev/veth1"] == NodeFact("dev/veth1", {"UUID": "i", "OfPort": 1, "Ovs": {"Type": "system"}}, enriches=True)
    assert told["dev/ovs"] == NodeFact("dev/ovs", {"Ovs": {"Version": "3.1.0"}}, enriches=True)
    assert edges(found, joined) == {
        (HOST, f"{HOST}/ovs/b", "ownership"),
        (f"{HOST}/ovs/b", f"{HOST}/ovs/p-i", "ownership"),
        (f"{HOST}/ovs/b", f"{HOST}/ovs/p-i", "layer2"),
        (f"{HOST}/ovs/p-i", "dev/veth1", "layer2"),
    }


@pytest.mark.parametrize(("kind", "type_", "driver"), [("system", "veth", "veth"), ("internal", "internal", "openvswitch")])
def test_what_the_switch_made_is_what_the_switch_says_it_is(kind: str, type_: str, driver: str) -> None:
    [said] = [one for tid, one in nodes(tables({"i": interface("p", kind)}), Joined({"i": "dev/p"})).items() if tid == "dev/p"]
    kernels = Part.of({"Type": "veth", "Driver": "veth", "Name": "p"})
    for name in ("ovsdb", "ovsdb/tcp:192.0.2.1:6640"):
        state = State("h", "agent.h", {name: Part.of(said.metadata, enriches=said.enriches), "netlink": kernels})
        assert (state.metadata["Type"], state.metadata["Driver"], state.metadata["Name"]) == (type_, driver, "p")


@pytest.mark.parametrize("kind", ["patch", "vxlan", "dpdk", "internal"])
def test_another_one_is_a_node_of_its_own_below_its_bridge(kind: str) -> None:
    found = tables({"i": interface("x", kind, mac_in_use=["02:00:00:00:00:01"])})
    told = nodes(found)[f"{HOST}/ovs/i"]
    assert not told.enriches
    assert (told.metadata["Type"], told.metadata["Name"], told.metadata["Driver"]) == (kind, "x", "openvswitch")
    assert told.metadata["MAC"] == "02:00:00:00:00:01"
    assert (f"{HOST}/ovs/b", f"{HOST}/ovs/i", "ownership") in edges(found)


@pytest.mark.parametrize(("back", "joined"), [("pa", True), ("other", False), (None, False)])
def test_patch_ports_that_name_each_other_are_joined_once(back: str | None, joined: bool) -> None:
    options = {"peer": back} if back else {}
    found = tables({"a": interface("pa", "patch", options={"peer": "pb"}), "b": interface("pb", "patch", options=options)})
    pairs = [one for one in made(found) if isinstance(one, EdgeFact) and one.metadata == {"Type": "patch"}]
    assert [(one.parent, one.child) for one in pairs] == ([(f"{HOST}/ovs/a", f"{HOST}/ovs/b")] if joined else [])


def test_a_port_that_another_change_has_taken_away_is_passed_over() -> None:
    found: Tables = {**NOTHING, "Bridge": {"b": bridge(ports=["gone"], mirrors=["gone"])}}
    assert set(nodes(found)) == {f"{HOST}/ovs/b"}


def test_a_mirror_stands_between_the_ports_that_it_copies_from_and_to() -> None:
    found = tables({"a": interface("a"), "b": interface("b")})
    mirror = row("Mirror", "m", select_src_port=["p-a"], select_dst_port=["p-a", "gone"], output_port=["p-b"], snaplen=[99])
    told: Tables = {**found, "Mirror": {"m": mirror}, "Bridge": {"b": bridge(ports=["p-a", "p-b"], mirrors=["m"])}}
    own = f"{HOST}/ovs/m"
    assert nodes(told)[own].metadata == {"Type": "ovsmirror", "Name": "m", "UUID": "m", "Ovs": {"Snaplen": 99}}
    mirrored = [one for one in made(told) if isinstance(one, EdgeFact) and one.relation == "mirror"]
    assert [(one.parent, one.child, one.metadata.get("Direction")) for one in mirrored] == [
        (f"{HOST}/ovs/p-a", own, "in"),
        (f"{HOST}/ovs/p-a", own, "out"),
        (own, f"{HOST}/ovs/p-b", None),
    ]


@pytest.mark.parametrize(
    ("mac", "member"), [([], None), (["02:00:00:00:00:02"], "m2"), (["00:00:00:00:00:00"], None), (["02:00:00:00:00:07"], None)]
)
def test_the_active_member_of_a_bond_is_named(mac: list[str], member: str | None) -> None:
    macs = {"i1": ["02:00:00:00:00:01"], "i2": ["02:00:00:00:00:02"], "i3": ["02:00:00:00:00:07"], "i4": ["02:00:00:00:00:07"]}
    found = tables({uuid: interface(f"m{uuid[1:]}", mac_in_use=one) for uuid, one in macs.items()})
    told = port_metadata(found, "u", port("bond", *macs, bond_active_slave=mac))
    assert told.get("Ovs", {}).get("ActiveMember") == member


def test_what_is_as_it_was_is_not_made_again_and_what_is_not_is() -> None:
    translator, found = Translator(HOST), tables({"a": interface("a"), "b": interface("b", "vxlan")})
    first = translator.facts(found, ALONE)
    changes: list[tuple[Tables, Joined]] = [
        ({**found, "Interface": {**found["Interface"], "b": interface("b", "vxlan", ofport=[7])}}, ALONE),
        ({**found, "Port": {**found["Port"], "p-a": port("a", "a", tag=[7])}}, ALONE),
        (found, Joined({"a": "dev/a"})),
        (found, Joined({}, owner="ns")),
        ({**found, "Bridge": {"b": bridge(ports=["p-b"])}}, ALONE),
        ({**found, "Bridge": {"c": bridge(ports=["p-a", "p-b"])}}, ALONE),
        (found, ALONE),
    ]
    for told, joined in changes:
        assert translator.facts(told, joined) == Translator(HOST).facts(told, joined)
    again = translator.facts(found, ALONE)
    assert again == first
    same = translator.facts(found, ALONE)
    ports = [id_ for id_, fact in same.items() if isinstance(fact, NodeFact) and fact.metadata["Type"] == "ovsport"]
    assert [same[id_] is again[id_] for id_ in ports] == [True, True]
