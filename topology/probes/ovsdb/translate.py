"""Rows of Open vSwitch's database → facts. Pure.

Interfaces that the kernel has, too, in the namespace of the host itself, are the kernel's nodes with more keys; others (patch
ports, tunnels, DPDK's) are nodes of our own, and belong to their bridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from skytrail.tid import ovs_tid
from topology.facts import EdgeFact, Fact, NodeFact

Row: TypeAlias = "Mapping[str, Any]"
"""A row's columns: scalars, lists of what there may be none or several of, and mappings; references are UUIDs."""

Tables: TypeAlias = "Mapping[str, Mapping[str, Row]]"
"""By table and UUID."""

DRIVER = "openvswitch"
PATCH = "patch"

_OF_KERNEL = frozenset({"", "system", "internal", "tap"})
"""Types of interfaces that are devices of the kernel's, of the same name."""

_DATAPATHS = ("ovs-system", "ovs-netdev")
"""Devices that stand for Open vSwitch itself, in the kernel and in user space."""

_TUNNEL = {"LocalIP": "local_ip", "RemoteIP": "remote_ip"}
_EGRESS = {"TunEgressIface": "tunnel_egress_iface", "TunEgressIfaceCarrier": "tunnel_egress_iface_carrier"}


def facts(tables: Tables, host_tid: str, devices: Mapping[str, str]) -> Iterator[Fact]:
    """What the rows say.

    Args:
        tables: Open_vSwitch, Bridge, Port, Interface.
        host_tid: of the host.
        devices: TIDs of the host's own devices, by name.
    """
    nodes = {
        uuid: (devices.get(row["name"], "") if row["type"] in _OF_KERNEL else "") or ovs_tid(host_tid, uuid)
        for uuid, row in tables["Interface"].items()
    }
    joined = frozenset(devices.values())
    for row in tables["Open_vSwitch"].values():
        version = {"Ovs": _said(Version=_one(row["ovs_version"]), DBVersion=_one(row["db_version"]))}
        yield from (NodeFact(devices[name], version, enriches=True) for name in _DATAPATHS if name in devices)
    for uuid, bridge in tables["Bridge"].items():
        tid = ovs_tid(host_tid, uuid)
        yield NodeFact(tid, bridge_metadata(uuid, bridge))
        yield EdgeFact(host_tid, tid, "ownership")
        for of_port in bridge["ports"]:
            yield from _port_facts(tables, tid, ovs_tid(host_tid, of_port), of_port, nodes, joined)
    yield from _pairs(tables["Interface"], nodes)


def _port_facts(
    tables: Tables, bridge: str, tid: str, uuid: str, nodes: Mapping[str, str], joined: frozenset[str]
) -> Iterator[Fact]:
    port = tables["Port"].get(uuid)
    if port is None:
        return
    yield NodeFact(tid, port_metadata(uuid, port))
    yield EdgeFact(bridge, tid, "ownership")
    yield EdgeFact(bridge, tid, "layer2")
    for of_interface in port["interfaces"]:
        interface = tables["Interface"].get(of_interface)
        if interface is None:
            continue
        node = nodes[of_interface]
        of_kernel = node in joined
        more = interface_metadata(of_interface, interface)
        if not of_kernel:
            yield EdgeFact(bridge, node, "ownership")
            more |= {"Type": interface["type"] or "system", "Name": interface["name"], "Driver": DRIVER}
            more |= _said(MAC=_one(interface["mac_in_use"]))
        yield NodeFact(node, more, enriches=of_kernel)
        yield EdgeFact(tid, node, "layer2")


def _pairs(interfaces: Mapping[str, Row], nodes: Mapping[str, str]) -> Iterator[Fact]:
    """Patch ports that name each other."""
    patches = {row["name"]: (uuid, row["options"].get("peer")) for uuid, row in interfaces.items() if row["type"] == PATCH}
    for name, (uuid, peer) in patches.items():
        if peer in patches and patches[peer][1] == name and name < peer:
            yield EdgeFact(nodes[uuid], nodes[patches[peer][0]], "layer2", {"Type": PATCH}, key=PATCH)


def bridge_metadata(uuid: str, row: Row) -> dict[str, Any]:
    """A bridge's keys."""
    own = _said(
        OtherConfig=dict(row["other_config"]),
        Protocols=sorted(row["protocols"]),
        DatapathType=row["datapath_type"],
        DatapathID=_one(row["datapath_id"]),
        FailMode=_one(row["fail_mode"]),
    )
    return {"Type": "ovsbridge", "Name": row["name"], "UUID": uuid, **_said(ExtID=dict(row["external_ids"]), Ovs=own)}


def port_metadata(uuid: str, row: Row) -> dict[str, Any]:
    """A port's keys. ``Vlans`` are its tag and trunks, as Skydive has them; ``Ovs`` tells them apart."""
    tag, trunks = list(row["tag"]), sorted(row["trunks"])
    own = _said(
        OtherConfig=dict(row["other_config"]),
        Tag=_one(tag),
        Trunks=trunks,
        CVlans=sorted(row["cvlans"]),
        VlanMode=_one(row["vlan_mode"]),
    )
    shown = _said(
        Vlans=[*tag, *trunks],
        BondMode=_one(row["bond_mode"]),
        LACP=_one(row["lacp"]),
        ExtID=dict(row["external_ids"]),
        Ovs=own,
    )
    return {"Type": "ovsport", "Name": row["name"], "UUID": uuid, **shown}


def interface_metadata(uuid: str, row: Row) -> dict[str, Any]:
    """An interface's keys, whoever has its node."""
    own = _said(
        Type=row["type"] or "system",
        Options=dict(row["options"]),
        OtherConfig=dict(row["other_config"]),
        Error=_one(row["error"]),
    )
    options, status = row["options"], row["status"]
    more = {
        "OfPort": _one(row["ofport"]),
        "ExtID": dict(row["external_ids"]),
        **{key: options.get(option) for key, option in _TUNNEL.items()},
        **{key: status.get(name) for key, name in _EGRESS.items()},
    }
    return {"UUID": uuid, "Ovs": own, **_said(**more)}


def _one(column: list[Any]) -> Any:  # noqa: ANN401 - a column's
    """What there may be none of."""
    return column[0] if column else None


def _said(**keys: Any) -> dict[str, Any]:  # noqa: ANN401 - columns'
    """Those that say something: a tag may be 0."""
    return {key: value for key, value in keys.items() if value is not None and value not in ("", [], {})}
