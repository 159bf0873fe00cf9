"""Neighbours and bridges' forwarding entries, decoded from RTM_NEWNEIGH and RTM_DELNEIGH, and Skydive's lists of them.

Pure: bytes to values. Ages and probe counts are left out. Sources: linux/neighbour.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from topology.probes.netlink.fields import ADDRESS_BITS, Fields, be16, ip_text, mac, set_bits, u8, u16, u32, unpack
from topology.probes.netlink.routenames import PROTOCOLS

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

AF_BRIDGE = 7

_NDMSG = struct.Struct("=BxxxiHBB")  # family, ifindex, state, flags, type

_STATES = {
    0x01: "NUD_INCOMPLETE",
    0x02: "NUD_REACHABLE",
    0x04: "NUD_STALE",
    0x08: "NUD_DELAY",
    0x10: "NUD_PROBE",
    0x20: "NUD_FAILED",
    0x40: "NUD_NOARP",
    0x80: "NUD_PERMANENT",
}
_NOARP = "NUD_NOARP"
LASTING = frozenset({_NOARP, "NUD_PERMANENT"})
"""States that the kernel never changes by itself."""

_PROXY = 0x08
_FLAGS = {
    0x01: "NTF_USE",
    0x02: "NTF_SELF",
    0x04: "NTF_MASTER",
    _PROXY: "NTF_PROXY",
    0x10: "NTF_EXT_LEARNED",
    0x20: "NTF_OFFLOADED",
    0x40: "NTF_STICKY",
    0x80: "NTF_ROUTER",
}
_EXTENDED_FLAGS = {0x1: "NTF_EXT_MANAGED", 0x2: "NTF_EXT_LOCKED"}
_SHOWN_WITHOUT_STATE = frozenset({"NTF_PROXY", "NTF_EXT_LEARNED"})

_NEIGHBOUR = Fields(
    (1, "ip", ip_text),  # NDA_DST
    (2, "mac", mac),  # NDA_LLADDR
    (5, "vlan", u16),  # NDA_VLAN
    (6, "port", be16),  # NDA_PORT
    (7, "vni", u32),  # NDA_VNI
    (8, "via", u32),  # NDA_IFINDEX
    (9, "master", u32),  # NDA_MASTER
    (11, "source_vni", u32),  # NDA_SRC_VNI
    (12, "protocol", u8),  # NDA_PROTOCOL
    (13, "nexthop_id", u32),  # NDA_NH_ID
    (15, "extended", u32),  # NDA_FLAGS_EXT
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour's address, or where a bridge or VXLAN device sends frames for a MAC.

    Attributes:
        family: AF_INET, AF_INET6; AF_BRIDGE for a forwarding entry.
        ifindex: the interface that it is behind.
        ip: the neighbour's; of a VXLAN device's entry the remote end's; else empty.
        mac: ``02:00:…``; empty while it is not known.
        states: NUD_*; none for an entry without one (proxy).
        flags: NTF_*.
        vlan: that the entry is for; None for none.
        vni: that a VXLAN device sends with, where it is not its own.
        source_vni: of a VXLAN device with several, the one that the entry is for.
        port: UDP port of the remote end, where it is not the device's own.
        via: ifindex that the remote end is reached by; 0 if routing decides.
        master: ifindex of the bridge; 0 if the entry is the interface's own.
        nexthop_id: of the group of remote ends; 0 if there is none.
        protocol: who made it, as ``ip`` shows it; empty if nobody said.
    """

    family: int
    ifindex: int
    ip: str = ""
    mac: str = ""
    states: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    vlan: int | None = None
    vni: int | None = None
    source_vni: int | None = None
    port: int = 0
    via: int = 0
    master: int = 0
    nexthop_id: int = 0
    protocol: str = ""


def neighbour_dump_request() -> bytes:
    """The body of RTM_GETNEIGH for all neighbours, IPv4 and IPv6 (of the socket's own namespace)."""
    return _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)


def proxy_dump_request() -> bytes:
    """The body of RTM_GETNEIGH for all addresses that are answered for (``ip neigh show proxy``), IPv4 and IPv6."""
    return _NDMSG.pack(socket.AF_UNSPEC, 0, 0, _PROXY, 0)


def fdb_dump_request() -> bytes:
    """The body of RTM_GETNEIGH for all forwarding entries (of the socket's own namespace)."""
    return _NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)


def decode_neighbour(payload: bytes) -> Neighbour | None:
    """Decode the payload of RTM_NEWNEIGH or RTM_DELNEIGH.

    Returns:
        None for a neighbour of another family than IP's or a bridge's.

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, ifindex, state, flags, _ = unpack(_NDMSG, payload, "neighbour message")
    if family not in ADDRESS_BITS and family != AF_BRIDGE:
        return None
    found = _NEIGHBOUR.read(payload, _NDMSG.size)
    extended = found.pop("extended", 0)
    protocol = found.pop("protocol", 0)
    return Neighbour(
        family=family,
        ifindex=ifindex,
        states=tuple(set_bits(state, _STATES)),
        flags=(*set_bits(flags, _FLAGS), *set_bits(extended, _EXTENDED_FLAGS)),
        protocol=PROTOCOLS.get(protocol, str(protocol)) if protocol else "",
        **found,
    )


def neighbour_lists(neighbours: Iterable[Neighbour], *, volatile: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Skydive's ``Neighbors`` and ``FDB`` of the interface whose neighbours these are, sorted; an empty one is left out.

    As ``ip neigh`` does, ``Neighbors`` passes over what needs no resolution (multicast, NUD_NOARP) or has no state.

    Args:
        neighbours: of one interface.
        volatile: with the states that the kernel changes by itself (reachable, stale …); without them only LASTING
            ones are shown, so that the lists change only when an entry comes, goes or gets another address.
    """
    lists: dict[str, list[Neighbour]] = {"Neighbors": [], "FDB": []}
    for one in neighbours:
        if one.family == AF_BRIDGE:
            lists["FDB"].append(one)
        elif _resolved(one):
            lists["Neighbors"].append(one)
    return {key: [_shown(one, volatile=volatile) for one in sorted(found, key=_order)] for key, found in lists.items() if found}


def _resolved(one: Neighbour) -> bool:
    return bool({*one.states} - {_NOARP} or _SHOWN_WITHOUT_STATE & {*one.flags})


def _order(one: Neighbour) -> tuple[Any, ...]:
    address = ipaddress.ip_address(one.ip) if one.ip else None
    numeric = (address.version, int(address)) if address else (0, 0)
    return one.ifindex, numeric, one.mac, one.vlan or 0, one.vni or 0, one.source_vni or 0, one.port, one.via, one.flags


def _shown(one: Neighbour, *, volatile: bool) -> dict[str, Any]:
    shown = {
        "MAC": one.mac,
        "IP": one.ip,
        "IfIndex": one.ifindex,
        "State": [state for state in one.states if volatile or state in LASTING],
        "Flags": list(one.flags),
        "Vlan": one.vlan,
        "VNI": one.vni,
    }
    return {key: value for key, value in shown.items() if value}
