"""Rows of a database written by hand → facts."""

from __future__ import annotations

from typing import Any

import pytest

from topology.elements import Metadata
from topology.facts import EdgeFact, NodeFact
from topology.probes.ovsdb.translate import Row, Tables, bridge_metadata, facts, interface_metadata, port_metadata

HOST = "host/h"


def bridge(**more: Any) -> Row:
    empty = {"ports": [], "datapath_type": "", "datapath_id": [], "fail_mode": [], "protocols": []}
    return {"name": "br0", **empty, "external_ids": {}, "other_config": {}, **more}


def port(name: str, *interfaces: str, **more: Any) -> Row:
    empty: dict[str, Any] = {key: [] for key in ("tag", "trunks", "cvlans", "vlan_mode", "bond_mode", "lacp")}
    return {"name": name, "interfaces": list(interfaces), **empty, "external_ids": {}, "other_config": {}, **more}


def interface(name: str, kind: str = "", **more: Any) -> Row:
    empty: dict[str, Any] = {"ofport": [], "mac_in_use": [], "error": []}
    maps: dict[str, Any] = {key: {} for key in ("options", "status", "external_ids", "other_config")}
    return {"name": name, "type": kind, **empty, **maps, **more}


def tables(interfaces: dict[str, Row]) -> Tables:
    """A bridge with a port for each."""
    ports = {f"p-{uuid}": port(row["name"], uuid) for uuid, row in interfaces.items()}
    version: Row = {"ovs_version": ["3.1.0"], "db_version": []}
    return {"Open_vSwitch": {"o": version}, "Bridge": {"b": bridge(ports=list(ports))}, "Port": ports, "Interface": interfaces}


def nodes(found: Tables, devices: dict[str, str]) -> dict[str, NodeFact]:
    return {fact.tid: fact for fact in facts(found, HOST, devices) if isinstance(fact, NodeFact)}


def edges(found: Tables, devices: dict[str, str]) -> set[tuple[str, str, str]]:
    return {(fact.parent, fact.child, fact.relation) for fact in facts(found, HOST, devices) if isinstance(fact, EdgeFact)}


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
    assert port_metadata("u", port("p", **columns)) == {"Type": "ovsport", "Name": "p", "UUID": "u", **keys}


def test_keys_of_a_bridge() -> None:
    row = bridge(datapath_type="netdev", datapath_id=["01"], fail_mode=["secure"], protocols=["OpenFlow13", "OpenFlow10"])
    own = {"DatapathType": "netdev", "DatapathID": "01", "FailMode": "secure", "Protocols": ["OpenFlow10", "OpenFlow13"]}
    assert bridge_metadata("u", row) == {"Type": "ovsbridge", "Name": "br0", "UUID": "u", "Ovs": own}


def test_keys_of_a_tunnel() -> None:
    row = interface(
        "vx",
        "vxlan",
        ofport=[3],
        error=["no route"],
        options={"remote_ip": "10.0.0.2", "local_ip": "10.0.0.1", "key": "7"},
        status={"tunnel_egress_iface": "eth0", "tunnel_egress_iface_carrier": "up", "driver_version": "1"},
    )
    assert interface_metadata("u", row) == {
        "UUID": "u",
        "OfPort": 3,
        "LocalIP": "10.0.0.1",
        "RemoteIP": "10.0.0.2",
        "TunEgressIface": "eth0",
        "TunEgressIfaceCarrier": "up",
        "Ovs": {"Type": "vxlan", "Options": row["options"], "Error": "no route"},
    }


def test_an_interface_of_the_kernels_is_its_node_with_more_keys() -> None:
    found = tables({"i": interface("veth1", ofport=[1])})
    devices = {"veth1": "dev/veth1", "ovs-netdev": "dev/ovs"}
    told = nodes(found, devices)
    assert told["dev/veth1"] == NodeFact("dev/veth1", {"UUID": "i", "OfPort": 1, "Ovs": {"Type": "system"}}, enriches=True)
    assert told["dev/ovs"] == NodeFact("dev/ovs", {"Ovs": {"Version": "3.1.0"}}, enriches=True)
    assert edges(found, devices) == {
        (HOST, f"{HOST}/ovs/b", "ownership"),
        (f"{HOST}/ovs/b", f"{HOST}/ovs/p-i", "ownership"),
        (f"{HOST}/ovs/b", f"{HOST}/ovs/p-i", "layer2"),
        (f"{HOST}/ovs/p-i", "dev/veth1", "layer2"),
    }


@pytest.mark.parametrize("kind", ["patch", "vxlan", "dpdk", "internal"])
def test_another_one_is_a_node_of_its_own_below_its_bridge(kind: str) -> None:
    found = tables({"i": interface("x", kind, mac_in_use=["02:00:00:00:00:01"])})
    devices = {} if kind == "internal" else {"x": "dev/x"}  # a device of that name is another thing
    told = nodes(found, devices)[f"{HOST}/ovs/i"]
    assert not told.enriches
    assert (told.metadata["Type"], told.metadata["Name"], told.metadata["Driver"]) == (kind, "x", "openvswitch")
    assert told.metadata["MAC"] == "02:00:00:00:00:01"
    assert (f"{HOST}/ovs/b", f"{HOST}/ovs/i", "ownership") in edges(found, devices)


@pytest.mark.parametrize(("back", "joined"), [("pa", True), ("other", False), (None, False)])
def test_patch_ports_that_name_each_other_are_joined_once(back: str | None, joined: bool) -> None:
    options = {"peer": back} if back else {}
    found = tables({"a": interface("pa", "patch", options={"peer": "pb"}), "b": interface("pb", "patch", options=options)})
    pairs = [one for one in facts(found, HOST, {}) if isinstance(one, EdgeFact) and one.metadata == {"Type": "patch"}]
    assert [(one.parent, one.child) for one in pairs] == ([(f"{HOST}/ovs/a", f"{HOST}/ovs/b")] if joined else [])


def test_a_port_that_another_change_has_taken_away_is_passed_over() -> None:
    found: Tables = {"Open_vSwitch": {}, "Bridge": {"b": bridge(ports=["gone"])}, "Port": {}, "Interface": {}}
    assert set(nodes(found, {})) == {f"{HOST}/ovs/b"}
