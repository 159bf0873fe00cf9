"""Metadata of an interface, decoded from RTM_NEWLINK: Skydive's keys, and each kind's own data under keys in its style.

Pure: bytes to values. Sources: linux/if_link.h, linux/rtnetlink.h. Counters, carrier changes and timers are left out: they
change without anybody having changed anything. ``Driver``, ``Speed`` and ``Features`` come from ethtool, addresses from
their own messages.
"""

from __future__ import annotations

import struct
from typing import Any

from skytrail.kernel.netlink import NetlinkDecodeError, attributes
from topology.probes.netlink.bridges import BRIDGE_PORT
from topology.probes.netlink.fields import (
    Fields,
    choice,
    filled,
    hexadecimal,
    listed,
    mac,
    s32,
    set_bits,
    some,
    text,
    u8,
    u32,
    unpack,
)
from topology.probes.netlink.kinds import KINDS, PORT_KINDS, Section
from topology.probes.netlink.linknames import (
    ENCAP_TYPES,
    IFF_RUNNING,
    IFF_UP,
    LINK_FLAGS,
    NO_CARRIER,
    OPERSTATES,
    PEERED,
    WITHOUT_MAC,
    XDP_DETACHED,
    XDP_MODES,
    XDP_MULTI,
)
from topology.probes.netlink.virtualfunctions import virtual_functions

_IFLA_ADDRESS = 1
_IFLA_LINKINFO = 18
_IFLA_VFINFO_LIST = 22
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INFO_SLAVE_KIND = 4
_IFLA_INFO_SLAVE_DATA = 5

_AF_BRIDGE = 7
_IFINFOMSG = struct.Struct("=BxHiII")  # family, ARPHRD type, index, flags, change
_INFO = frozenset({_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA})
_PLAIN = "device"
"""Skydive's type of a link without a kind: physical, loopback."""


def _nsid(value: bytes) -> int | None:
    """A namespace's number; left out where the kernel has none for it (NETNSA_NSID_NOT_ASSIGNED)."""
    found = s32(value)
    return found if found >= 0 else None


_XDP = Fields(
    (4, "ProgID", some(u32)),  # IFLA_XDP_PROG_ID
    (5, "DrvProgID", some(u32)),  # IFLA_XDP_DRV_PROG_ID
    (6, "SkbProgID", some(u32)),  # IFLA_XDP_SKB_PROG_ID
    (7, "HwProgID", some(u32)),  # IFLA_XDP_HW_PROG_ID
)
_XDP_ATTACHED = Fields((2, "Mode", u8))  # IFLA_XDP_ATTACHED


def _xdp(value: bytes) -> dict[str, Any] | None:
    """How programs are attached and which; the programs of each mode where there are several."""
    attached = _XDP_ATTACHED.read(value).get("Mode", XDP_DETACHED)
    if attached == XDP_DETACHED:
        return None
    mode = XDP_MODES.get(attached, str(attached))
    found = _XDP.read(value)
    programs = found if mode == XDP_MULTI else {key: found[key] for key in found if key == "ProgID"}
    return {"Mode": mode, **programs}


_LINK = Fields(
    (_IFLA_ADDRESS, "MAC", mac),
    (3, "Name", filled),  # IFLA_IFNAME
    (4, "MTU", u32),  # IFLA_MTU: bytes
    (5, "ParentIndex", some(u32)),  # IFLA_LINK
    (6, "Qdisc", filled),  # IFLA_QDISC
    (10, "MasterIndex", some(u32)),  # IFLA_MASTER
    (13, "TxQueueLen", u32),  # IFLA_TXQLEN: packets
    (16, "State", choice(u8, OPERSTATES)),  # IFLA_OPERSTATE
    (20, "Alias", filled),  # IFLA_IFALIAS
    (_IFLA_VFINFO_LIST, "Vfs", virtual_functions),
    (27, "Group", u32),  # IFLA_GROUP
    (30, "Promiscuity", u32),  # IFLA_PROMISCUITY
    (31, "NumTxQueues", u32),  # IFLA_NUM_TX_QUEUES
    (32, "NumRxQueues", u32),  # IFLA_NUM_RX_QUEUES
    (34, "PhysPortID", hexadecimal),  # IFLA_PHYS_PORT_ID
    (36, "PhysSwitchID", hexadecimal),  # IFLA_PHYS_SWITCH_ID
    (37, "LinkNetNsID", _nsid),  # IFLA_LINK_NETNSID
    (38, "PhysPortName", filled),  # IFLA_PHYS_PORT_NAME
    (43, "XDP", _xdp),  # IFLA_XDP
    (50, "MinMTU", u32),  # IFLA_MIN_MTU: bytes
    (51, "MaxMTU", u32),  # IFLA_MAX_MTU: bytes, 0 without bound
    (52, "AltNames", listed(text)),  # IFLA_PROP_LIST
    (54, "PermMAC", mac),  # IFLA_PERM_ADDRESS
    (56, "BusInfo", filled),  # IFLA_PARENT_DEV_NAME
    (57, "Bus", filled),  # IFLA_PARENT_DEV_BUS_NAME
)


_PORT_MESSAGE = Fields((12, "BridgePort", BRIDGE_PORT.read))  # IFLA_PROTINFO


def port_metadata(payload: bytes) -> tuple[int, dict[str, Any]] | None:
    """What a bridge tells of a port of its own, in an RTM_NEWLINK of family AF_BRIDGE: ifindex, ``BridgePort``.

    Returns:
        None for a message of another family.

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, _, ifindex, *_ = unpack(_IFINFOMSG, payload, "link message")
    if family != _AF_BRIDGE:
        return None
    return ifindex, _PORT_MESSAGE.read(payload, _IFINFOMSG.size).get("BridgePort", {})


def link_metadata(payload: bytes) -> dict[str, Any]:
    """Metadata of the interface that an RTM_NEWLINK's payload describes as a whole (``decode_link`` says whether it does).

    Keys without a value are left out. ``LinkNetNsID`` is as in the message: a dump numbers as the socket's namespace
    does, an event as the link's namespace does. Events say less than the answers to the requests here: ``Vfs`` is never
    in them, the first end of a veth pair is announced before it has a peer and not again, a port's settings come as
    AF_BRIDGE messages, and a tun device's owner or a macvlan's sources change without one.

    Raises:
        NetlinkDecodeError: malformed, or without a name.
    """
    _, arphrd, ifindex, flags, _ = unpack(_IFINFOMSG, payload, "link message")
    found = _LINK.read(payload, _IFINFOMSG.size)
    if "Name" not in found:
        raise NetlinkDecodeError(f"link message of ifindex {ifindex} has no name")
    if arphrd in WITHOUT_MAC:
        found.pop("MAC", None)
        found.pop("PermMAC", None)
    spans = attributes(payload, _IFINFOMSG.size, len(payload), {_IFLA_LINKINFO})
    first, end = spans.get(_IFLA_LINKINFO, (0, 0))
    kind, data = _link_info(payload[first:end])
    if kind in PEERED and "ParentIndex" in found:
        found["PeerIfIndex"] = found["ParentIndex"]
    return {
        **found,
        "Type": kind or _PLAIN,
        "EncapType": ENCAP_TYPES.get(arphrd, str(arphrd)),
        "IfIndex": ifindex,
        "LinkFlags": _flags(flags),
        **data,
    }


def _flags(flags: int) -> list[str]:
    names = set_bits(flags, LINK_FLAGS)
    return [*names, NO_CARRIER] if flags & (IFF_UP | IFF_RUNNING) == IFF_UP else names


def _link_info(info: bytes) -> tuple[str, dict[str, Any]]:
    """The kind, and the data of the link's own kind and of its master's."""
    spans = attributes(info, 0, len(info), _INFO)
    parts = {number: info[first:end] for number, (first, end) in spans.items()}
    kind = text(parts.get(_IFLA_INFO_KIND, b""))
    port_kind = text(parts.get(_IFLA_INFO_SLAVE_KIND, b""))
    own = _sections(KINDS.get(kind, ()), parts.get(_IFLA_INFO_DATA, b""))
    return kind, own | _sections(PORT_KINDS.get(port_kind, ()), parts.get(_IFLA_INFO_SLAVE_DATA, b""))


def _sections(sections: tuple[Section, ...], data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, fields in sections:
        values = fields.read(data)
        if key and values:
            found[key] = values
        elif not key:
            found |= values
    return found
