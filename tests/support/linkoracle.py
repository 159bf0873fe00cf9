"""Judges link_metadata by what ``ip -j -d link`` says of the same links, field by field, all that it says.

A row is (our key, ip's key, conversion of ip's value); what both leave out, or call nothing, agrees. A key of ip's that no
row names fails the comparison, unless it stands in a table of what is left out on purpose.
"""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from skytrail.kernel.linkmessages import dump_request
from skytrail.kernel.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    error_number,
    message,
    messages,
    open_route_socket,
)
from support.linkoracle_kinds import DERIVED, LEFT_OUT, ROWS
from support.linkoracle_rows import Derived, Row
from support.netlab import in_netns
from topology.probes.netlink.linkdata import link_metadata

GENERIC_LEFT_OUT = frozenset(
    {
        # Compared below, in another way:
        "flags",
        "link",
        "link_index",
        "master",
        "linkinfo",
        "vfinfo_list",
        "xdp",
        "address",
        "permaddr",
        # Not in Metadata:
        "linkmode",
        "broadcast",
        "allmulti",
        "inet6_addr_gen_mode",
        "inet6_token",
        "gso_max_size",
        "gso_max_segs",
        "tso_max_size",
        "tso_max_segs",
        "gro_max_size",
        "event",
        "link_pointtopoint",
        "proto_down",
        "proto_down_reason",
    }
)

GENERIC: tuple[Row, ...] = (
    ("Name", "ifname", str),
    ("IfIndex", "ifindex", int),
    ("MTU", "mtu", int),
    ("Qdisc", "qdisc", str),
    ("State", "operstate", str),
    ("Group", "group", lambda value: 0 if value == "default" else int(value)),
    ("TxQueueLen", "txqlen", int),
    ("EncapType", "link_type", str),
    ("Promiscuity", "promiscuity", int),
    ("MinMTU", "min_mtu", int),
    ("MaxMTU", "max_mtu", int),
    ("NumTxQueues", "num_tx_queues", int),
    ("NumRxQueues", "num_rx_queues", int),
    ("Alias", "ifalias", str),
    ("AltNames", "altnames", list),
    ("PhysPortName", "phys_port_name", str),
    ("PhysPortID", "phys_port_id", str),
    ("PhysSwitchID", "phys_switch_id", str),
    ("LinkNetNsID", "link_netnsid", lambda value: value if value >= 0 else None),
    ("BusInfo", "parentdev", str),
    ("Bus", "parentbus", str),
)

UNSHOWN_FLAGS = {"M-DOWN"}
"""What ip adds to the flags although it is the lower device's state."""

ADDRESSED_BY_IP = {"ipip", "tunnel6", "sit", "gre", "gre6", "none"}

XDP_MODES, XDP_SEVERAL = {1: "drv", 2: "skb", 3: "hw"}, 4

VF_STATES = {"auto": 0, "enable": 1, "disable": 2}


def dump(netns: str, kind: int, body: bytes) -> list[bytes]:
    """The payloads of a real dump in a namespace; empty: our own."""

    def ask() -> list[bytes]:
        found: list[bytes] = []
        with open_route_socket() as route:
            route.settimeout(10)
            route.send(message(kind, NLM_F_REQUEST | NLM_F_DUMP, 1, body))
            while True:
                raw = route.recv(1 << 18)
                for one in messages(raw, len(raw)):
                    if one.kind in {NLMSG_DONE, NLMSG_ERROR}:
                        assert error_number(raw, one) == 0
                        return found
                    found.append(raw[one.start : one.end])

    return in_netns(netns, ask) if netns else ask()


def ip_json(netns: str, *words: str, program: str = "ip") -> list[dict[str, Any]]:
    """What ``ip -j`` or ``bridge -j`` says in a namespace."""
    where = ["-n", netns] if netns else []
    done = subprocess.run([program, *where, "-j", *words], check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [one for one in found if one]


def compare_links(netns: str) -> dict[str, Mapping[str, Any]]:
    """Compare all links of a namespace in which nothing changes meanwhile; gives our Metadata by name.

    Raises:
        AssertionError: something differs; says all that does.
    """
    return compare_recorded(ip_json(netns, "-d", "link", "show"), dump(netns, 18, dump_request(None, functions=True)))


def compare_recorded(says: list[dict[str, Any]], payloads: list[bytes]) -> dict[str, Mapping[str, Any]]:
    """The same for what ip said and the kernel answered at some time.

    Raises:
        AssertionError: something differs; says all that does.
    """
    return compare_metadata(says, [link_metadata(raw) for raw in payloads])


def compare_metadata(
    says: list[dict[str, Any]], metadata: Iterable[Mapping[str, Any]], indexes: dict[str, int] | None = None
) -> dict[str, Mapping[str, Any]]:
    """The same for Metadata from anywhere, a graph's nodes for one; what it has beside is not looked at.

    Args:
        says: what ip said.
        metadata: of the same links.
        indexes: ifindex by name of all that these may point at; None: they point at each other.

    Raises:
        AssertionError: something differs; says all that does.
    """
    shown = {link["ifindex"]: link for link in says}
    ours = {one["IfIndex"]: one for one in metadata}
    assert sorted(shown) == sorted(ours)
    indexes = indexes or {link["ifname"]: ifindex for ifindex, link in shown.items()}
    wrong = [
        f"{link['ifname']} ({ours[ifindex]['Type']}): {line}"
        for ifindex, link in shown.items()
        for line in [*_generic(ours[ifindex], link, indexes), *_kind(ours[ifindex], link.get("linkinfo", {}), indexes)]
    ]
    assert not wrong, "\n".join(wrong)
    return {one["Name"]: one for one in ours.values()}


def _generic(ours: Mapping[str, Any], link: dict[str, Any], indexes: dict[str, int]) -> list[str]:
    flags = {"POINTTOPOINT" if flag == "POINTOPOINT" else flag for flag in link["flags"]} - UNSHOWN_FLAGS
    lower = indexes.get(link.get("link", ""), link.get("link_index"))
    address = link.get("address") if ours["EncapType"] not in ADDRESSED_BY_IP else None
    pairs = [
        ("LinkFlags", set(ours["LinkFlags"]), flags),
        ("ParentIndex", ours.get("ParentIndex"), lower),
        ("PeerIfIndex", ours.get("PeerIfIndex"), lower if ours["Type"] in {"veth", "vxcan", "netkit"} else None),
        ("MasterIndex", ours.get("MasterIndex"), indexes.get(link.get("master", ""))),
        ("MAC", ours.get("MAC"), address),
        ("PermMAC", ours.get("PermMAC") if _differs(ours) else None, None if address is None else link.get("permaddr")),
        ("Type", ours["Type"], link.get("linkinfo", {}).get("info_kind", "device")),
        ("XDP", ours.get("XDP"), _programs(link.get("xdp"))),
        ("Vfs", ours.get("Vfs"), [_function(one) for one in link.get("vfinfo_list", [])]),
    ]
    return [*_differences(pairs), *_rows(GENERIC, GENERIC_LEFT_OUT, ours, link, indexes)]


def _programs(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    """XDP programs; each mode's own where there are several."""
    if shown is None:
        return None
    several = shown["mode"] == XDP_SEVERAL
    attached = {XDP_MODES[one["mode"]]: one["prog"]["id"] for one in shown["attached"]}
    if several:
        return {"Mode": "multi", **{f"{mode.capitalize()}ProgID": number for mode, number in attached.items()}}
    return {"Mode": XDP_MODES[shown["mode"]], "ProgID": attached[XDP_MODES[shown["mode"]]]}


def _differs(ours: Mapping[str, Any]) -> bool:
    """Ip prints the permanent address only where it is another one than the present."""
    return ours.get("PermMAC") != ours.get("MAC")


def _function(shown: dict[str, Any]) -> dict[str, Any]:
    vlan = shown.get("vlan_list", [{}])[0]
    return {
        "ID": shown["vf"],
        "MAC": shown["address"],
        "Vlan": vlan.get("vlan", 0),
        "Qos": vlan.get("qos", 0),
        "TxRate": shown.get("rate", {}).get("max_tx", shown.get("tx_rate", 0)),
        "MinTxRate": shown.get("rate", {}).get("min_tx", 0),
        "Spoofchk": shown["spoofchk"],
        "LinkState": VF_STATES[shown["link_state"]],
        "Trust": shown["trust"],
    }


def _kind(ours: Mapping[str, Any], info: dict[str, Any], indexes: dict[str, int]) -> list[str]:
    wrong = _differences([("BondMode", ours.get("BondMode"), info.get("info_data", {}).get("mode"))] if "Bond" in ours else [])
    for kind_key, data_key in (("info_kind", "info_data"), ("info_slave_kind", "info_slave_data")):
        kind = f"{'port of ' if 'slave' in kind_key else ''}{info.get(kind_key, '')}"
        section, rows = ROWS.get(kind, ("", ()))
        values = ours.get(section, {}) if section else ours
        data = info.get(data_key, {})
        derived = DERIVED.get(kind, ())
        consumed = LEFT_OUT.get(kind, frozenset()).union(*(theirs for _, theirs, _ in derived))
        found = [*_rows(rows, consumed, values, data, indexes), *_derived(derived, values, data)]
        wrong += [f"{section}.{line}" for line in found]
    return wrong


def _derived(derived: tuple[Derived, ...], ours: Mapping[str, Any], shown: dict[str, Any]) -> list[str]:
    pairs = [(key, ours.get(key), says(shown)) for key, _, says in derived]
    return _differences([(key, sorted(value) if isinstance(value, list) else value, theirs) for key, value, theirs in pairs])


def _rows(
    rows: tuple[Row, ...],
    left_out: frozenset[str],
    ours: Mapping[str, Any],
    shown: dict[str, Any],
    indexes: dict[str, int],
) -> list[str]:

    def index(name: str) -> int:
        """ip looks for a name where the link is, and says if<ifindex> if there is none."""
        return indexes[name] if name in indexes else int(name.removeprefix("if"))

    tables = {"indexes": index, "users": _users, "groups": _groups}
    pairs = []
    for key, theirs, convert in rows:
        value = shown.get(theirs)
        converted = tables[convert] if isinstance(convert, str) else convert
        pairs.append((key, ours.get(key), None if value is None else converted(value)))
    unknown = set(shown) - left_out - {theirs for _, theirs, _ in rows}
    return [*_differences(pairs), *(f"ip says {key} = {shown[key]!r}, no row names it" for key in sorted(unknown))]


def _users(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _groups(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _differences(pairs: list[tuple[str, Any, Any]]) -> list[str]:
    return [f"{key} is {ours!r}, ip says {theirs!r}" for key, ours, theirs in pairs if (ours or None) != (theirs or None)]
