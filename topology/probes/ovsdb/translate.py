"""Rows of Open vSwitch's database → facts. Pure.

Interfaces that the kernel has, too, are the kernel's nodes with more keys; others (patch ports, tunnels, DPDK's) are nodes of
our own, and belong to their bridge. Mirrors are nodes between the ports that they copy from and to. Statistics, and what else
changes all the time, are not read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from skytrail.tid import ovs_tid
from topology.facts import EdgeFact, Fact, NodeFact
from topology.probes.ovsdb.joining import Joined, is_own

Row: TypeAlias = "Mapping[str, Any]"
"""A row's columns: scalars, lists of what there may be none or several of, and mappings; references are UUIDs."""

Tables: TypeAlias = "Mapping[str, Mapping[str, Row]]"
"""By table and UUID."""

DRIVER = "openvswitch"
PATCH = "patch"
MIRROR = "mirror"

_TUNNEL = {"LocalIP": "local_ip", "RemoteIP": "remote_ip"}
_EGRESS = {"TunEgressIface": "tunnel_egress_iface", "TunEgressIfaceCarrier": "tunnel_egress_iface_carrier"}
_SECRET = frozenset({"psk"})
"""Options whose values are nobody's to see: of IPsec's tunnels (ovs-vswitchd.conf.db(5))."""
_SPANNING = {"STP": ("status", "stp_state", "stp_role"), "RSTP": ("rstp_status", "rstp_port_state", "rstp_port_role")}
"""Key → column, and its keys of state and role."""

_SELECTS = {"in": "select_src_port", "out": "select_dst_port"}
"""What of a port is copied → column."""


class Translator:
    """Makes facts, and those of ports that are as they were not again: there may be thousands, of which one changes.

    Args:
        host_tid: of the host.
    """

    def __init__(self, host_tid: str) -> None:
        self._host_tid = host_tid
        self._made: dict[str, tuple[_Port, dict[str, Fact]]] = {}  # by a port's UUID

    def facts(self, tables: Tables, joined: Joined) -> dict[str, Fact]:
        """What the rows say, by element.

        Args:
            tables: those that are followed.
            joined: the kernel's devices among the interfaces.
        """
        made: dict[str, tuple[_Port, dict[str, Fact]]] = {}
        found: dict[str, Fact] = {}
        for fact in self._few(tables, joined):
            found[fact.id] = fact
        for bridge, row in tables["Bridge"].items():
            for uuid in row["ports"]:
                if (port := self._port(tables, joined, bridge, uuid)) is not None:
                    known = self._made.get(uuid)
                    if known is None or known[0] != port:
                        known = port, {fact.id: fact for fact in _port_facts(tables, uuid, port)}
                    made[uuid] = known
                    found |= known[1]
        self._made = made
        return found

    def _port(self, tables: Tables, joined: Joined, bridge: str, uuid: str) -> _Port | None:
        row = tables["Port"].get(uuid)
        if row is None:
            return None
        rows = [(one, interface) for one in row["interfaces"] if (interface := tables["Interface"].get(one)) is not None]
        interfaces = [(one, interface, joined.interfaces.get(one, "")) for one, interface in rows]
        return _Port(self._host_tid, ovs_tid(self._host_tid, bridge), row, interfaces)

    def _few(self, tables: Tables, joined: Joined) -> Iterator[Fact]:
        """The switch, its bridges, mirrors and patches."""
        host_tid = self._host_tid
        for row in tables["Open_vSwitch"].values():
            switch = switch_metadata(tables, row)
            yield from (NodeFact(tid, switch, enriches=True) for tid in joined.datapaths)
        for uuid, bridge in tables["Bridge"].items():
            tid = ovs_tid(host_tid, uuid)
            yield NodeFact(tid, bridge_metadata(tables, uuid, bridge))
            yield EdgeFact(joined.owner or host_tid, tid, "ownership")
            for of_mirror in bridge["mirrors"]:
                yield from _mirror_facts(tables, host_tid, tid, of_mirror)
        yield from _pairs(tables["Interface"], host_tid)


class _Port(NamedTuple):
    """All that a port's facts are made of.

    Attributes:
        host: TID of the host.
        bridge: TID of its bridge.
        row: its own.
        interfaces: UUID, row, and the TID of the kernel's device; empty: the kernel has none.
    """

    host: str
    bridge: str
    row: Row
    interfaces: list[tuple[str, Row, str]]


def _port_facts(tables: Tables, uuid: str, port: _Port) -> Iterator[Fact]:
    tid = ovs_tid(port.host, uuid)
    yield NodeFact(tid, port_metadata(tables, uuid, port.row))
    yield EdgeFact(port.bridge, tid, "ownership")
    yield EdgeFact(port.bridge, tid, "layer2")
    for of_interface, interface, device in port.interfaces:
        node = device or ovs_tid(port.host, of_interface)
        yield NodeFact(node, interface_metadata(of_interface, interface, shared=bool(device)), enriches=bool(device))
        if not device:
            yield EdgeFact(port.bridge, node, "ownership")
        yield EdgeFact(tid, node, "layer2")


def _mirror_facts(tables: Tables, host_tid: str, bridge: str, uuid: str) -> Iterator[Fact]:
    """A mirror, the ports that it copies from, and the one that it copies to."""
    mirror = tables["Mirror"].get(uuid)
    if mirror is None:
        return
    tid, ports = ovs_tid(host_tid, uuid), tables["Port"]
    yield NodeFact(tid, mirror_metadata(uuid, mirror))
    yield EdgeFact(bridge, tid, "ownership")
    for direction, column in _SELECTS.items():
        for port in mirror[column]:
            if port in ports:
                yield EdgeFact(ovs_tid(host_tid, port), tid, MIRROR, {"Direction": direction}, key=direction)
    for port in mirror["output_port"]:
        if port in ports:
            yield EdgeFact(tid, ovs_tid(host_tid, port), MIRROR)


def _pairs(interfaces: Mapping[str, Row], host_tid: str) -> Iterator[Fact]:
    """Patch ports that name each other."""
    patches = {row["name"]: (uuid, row["options"].get("peer")) for uuid, row in interfaces.items() if row["type"] == PATCH}
    for name, (uuid, peer) in patches.items():
        if peer in patches and patches[peer][1] == name and name < peer:
            ends = ovs_tid(host_tid, uuid), ovs_tid(host_tid, patches[peer][0])
            yield EdgeFact(*ends, "layer2", {"Type": PATCH}, key=PATCH)


def switch_metadata(tables: Tables, row: Row) -> dict[str, Any]:
    """What is said of the whole switch."""
    managers = [tables["Manager"][one] for one in row["manager_options"] if one in tables["Manager"]]
    own = _said(
        Version=_one(row["ovs_version"]),
        DBVersion=_one(row["db_version"]),
        Managers=[{"Target": one["target"], "IsConnected": one["is_connected"]} for one in sorted(managers, key=_target)],
        OtherConfig=dict(row["other_config"]),
    )
    return {"Ovs": own, **_said(ExtID=dict(row["external_ids"]))}


def bridge_metadata(tables: Tables, uuid: str, row: Row) -> dict[str, Any]:
    """A bridge's keys."""
    controllers = [tables["Controller"][one] for one in row["controller"] if one in tables["Controller"]]
    own = _said(
        OtherConfig=dict(row["other_config"]),
        Protocols=sorted(row["protocols"]),
        DatapathType=row["datapath_type"],
        DatapathID=_one(row["datapath_id"]),
        FailMode=_one(row["fail_mode"]),
        Controllers=[_controller(one) for one in sorted(controllers, key=_target)],
        STP=row["stp_enable"] or None,
        RSTP=row["rstp_enable"] or None,
        McastSnooping=row["mcast_snooping_enable"] or None,
        FloodVlans=sorted(row["flood_vlans"]),
    )
    return {"Type": "ovsbridge", "Name": row["name"], "UUID": uuid, **_said(ExtID=dict(row["external_ids"]), Ovs=own)}


def _controller(row: Row) -> dict[str, Any]:
    return {"Target": row["target"], "IsConnected": row["is_connected"], **_said(Role=_one(row["role"]))}


def _target(row: Row) -> str:
    return str(row["target"])


def port_metadata(tables: Tables, uuid: str, row: Row) -> dict[str, Any]:
    """A port's keys. ``Vlans`` are its tag and trunks, as Skydive has them; ``Ovs`` tells them apart."""
    tag, trunks = list(row["tag"]), sorted(row["trunks"])
    own = _said(
        OtherConfig=dict(row["other_config"]),
        Tag=_one(tag),
        Trunks=trunks,
        CVlans=sorted(row["cvlans"]),
        VlanMode=_one(row["vlan_mode"]),
        ActiveMember=_active_member(tables, row),
        **{
            key: _said(State=row[column].get(state), Role=row[column].get(role))
            for key, (column, state, role) in _SPANNING.items()
        },
    )
    shown = _said(
        Vlans=[*tag, *trunks],
        BondMode=_one(row["bond_mode"]),
        LACP=_one(row["lacp"]),
        ExtID=dict(row["external_ids"]),
        Ovs=own,
    )
    return {"Type": "ovsport", "Name": row["name"], "UUID": uuid, **shown}


def _active_member(tables: Tables, row: Row) -> str | None:
    """The name of a bond's interface that sends, by its MAC; None: there is none, or several have that."""
    mac = row["bond_active_slave"]
    members = (one for uuid in row["interfaces"] if (one := tables["Interface"].get(uuid)))
    names = [one["name"] for one in members if mac and one["mac_in_use"] == mac]
    return names[0] if len(names) == 1 else None


def interface_metadata(uuid: str, row: Row, *, shared: bool) -> dict[str, Any]:
    """An interface's keys; ``shared``: beside the kernel's, whose Type and Driver are those of what the switch did not make."""
    own = _said(
        Type=row["type"] or "system",
        Options={key: value for key, value in row["options"].items() if key not in _SECRET},
        OtherConfig=dict(row["other_config"]),
        Error=_one(row["error"]),
        LACPCurrent=_one(row["lacp_current"]),
    )
    options, status = row["options"], row["status"]
    more = {
        "OfPort": _one(row["ofport"]),
        "ExtID": dict(row["external_ids"]),
        **{key: options.get(option) for key, option in _TUNNEL.items()},
        **{key: status.get(name) for key, name in _EGRESS.items()},
    }
    if shared:
        kind = {"Type": row["type"], "Driver": DRIVER} if is_own(row["type"]) else {}
        return {"UUID": uuid, "Ovs": own, **kind, **_said(**more)}
    own |= _said(AdminState=_upper(row["admin_state"]))
    more |= {"MAC": _one(row["mac_in_use"]), "State": _upper(row["link_state"]), "MTU": _one(row["mtu"])}
    kind = {"Type": row["type"] or "system", "Name": row["name"], "Driver": DRIVER}
    return {"UUID": uuid, "Ovs": own, **kind, **_said(**more)}


def mirror_metadata(uuid: str, row: Row) -> dict[str, Any]:
    """A mirror's keys; its ports are edges."""
    own = _said(
        SelectAll=row["select_all"] or None,
        SelectVlans=sorted(row["select_vlan"]),
        OutputVlan=_one(row["output_vlan"]),
        Snaplen=_one(row["snaplen"]),
    )
    return {"Type": "ovsmirror", "Name": row["name"], "UUID": uuid, **_said(ExtID=dict(row["external_ids"]), Ovs=own)}


def _upper(column: list[str]) -> str | None:
    return column[0].upper() if column else None


def _one(column: list[Any]) -> Any:  # noqa: ANN401 - a column's
    """What there may be none of."""
    return column[0] if column else None


def _said(**keys: Any) -> dict[str, Any]:  # noqa: ANN401 - columns'
    """Those that say something: a tag may be 0."""
    return {key: value for key, value in keys.items() if value is not None and value not in ("", [], {})}
