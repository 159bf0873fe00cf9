"""Rules of policy routing, decoded from RTM_NEWRULE and RTM_DELRULE.

Pure: bytes to values. Sources: linux/fib_rules.h, iproute2 (iprule.c).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from topology.probes.netlink.fields import ADDRESS_BITS, Fields, filled, ip_text, prefix, s32, switch, u8, u32, unpack
from topology.probes.netlink.routenames import PROTOCOLS, RULE_ACTIONS

RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34

_FIB_RULE_INVERT = 0x2
_HEADER = struct.Struct("=BBBBBxxBI")  # struct fib_rule_hdr: family, dst_len, src_len, tos, table, action, flags
_UIDS = struct.Struct("=II")
_PORTS = struct.Struct("=HH")


def _uids(value: bytes) -> list[int]:
    return list(unpack(_UIDS, value, "rule's users"))


def _ports(value: bytes) -> list[int]:
    return list(unpack(_PORTS, value, "rule's ports"))


def _limit(value: bytes) -> int | None:
    """A bound of suppression; left out if it is -1, none."""
    found = s32(value)
    return found if found >= 0 else None


_RULE = Fields(
    (1, "dst", ip_text),  # FRA_DST
    (2, "src", ip_text),  # FRA_SRC
    (3, "iif", filled),  # FRA_IIFNAME
    (4, "goto", u32),  # FRA_GOTO
    (6, "priority", u32),  # FRA_PRIORITY
    (10, "fwmark", u32),  # FRA_FWMARK
    (13, "suppress_ifgroup", _limit),  # FRA_SUPPRESS_IFGROUP
    (14, "suppress_prefixlength", _limit),  # FRA_SUPPRESS_PREFIXLEN
    (15, "table", u32),  # FRA_TABLE: the wider form of the header's
    (16, "fwmask", u32),  # FRA_FWMASK
    (17, "oif", filled),  # FRA_OIFNAME
    (19, "l3mdev", switch()),  # FRA_L3MDEV
    (20, "uids", _uids),  # FRA_UID_RANGE
    (21, "protocol", u8),  # FRA_PROTOCOL
    (22, "ip_protocol", u8),  # FRA_IP_PROTO
    (23, "sports", _ports),  # FRA_SPORT_RANGE
    (24, "dports", _ports),  # FRA_DPORT_RANGE
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that chooses a routing table, or another fate, for packets.

    Attributes:
        family: AF_INET or AF_INET6.
        priority: rules are tried from the lowest.
        action: ``lookup``, ``goto``, ``nop``, ``blackhole``, ``unreachable``, ``prohibit``.
        table: to look up; 0 for another action, and for an L3 master device's.
        src: that packets must come from, as CIDR; empty for any.
        dst: that they must go to; empty for any.
        inverted: it holds for the packets that do not match.
        iif: name of the interface that they come in by; empty for any.
        oif: name of the interface that they are bound to; empty for any.
        fwmark: that they bear, under ``fwmask``.
        fwmask: 0 if the mark does not matter.
        tos: that they bear; 0 for any.
        goto: the priority of the rule to go on with; 0 for another action.
        suppress_prefixlength: routes of this length or shorter do not count; None: all do.
        suppress_ifgroup: routes through interfaces of this group do not count; None: all do.
        l3mdev: the table is that of the VRF that the packet's interface is in.
        uids: users from, to; empty for any.
        ip_protocol: TCP, UDP … as number; 0 for any.
        sports: source ports from, to; empty for any.
        dports: destination ports from, to; empty for any.
        protocol: who made it, as ``ip`` shows it; empty if nobody said.
    """

    family: int
    priority: int
    action: str
    table: int = 0
    src: str = ""
    dst: str = ""
    inverted: bool = False
    iif: str = ""
    oif: str = ""
    fwmark: int = 0
    fwmask: int = 0
    tos: int = 0
    goto: int = 0
    suppress_prefixlength: int | None = None
    suppress_ifgroup: int | None = None
    l3mdev: bool = False
    uids: tuple[int, ...] = ()
    ip_protocol: int = 0
    sports: tuple[int, ...] = ()
    dports: tuple[int, ...] = ()
    protocol: str = ""


def rule_dump_request(family: int = socket.AF_UNSPEC) -> bytes:
    """The body of RTM_GETRULE for all rules (of the socket's own namespace)."""
    return _HEADER.pack(family, 0, 0, 0, 0, 0, 0)


def decode_rule(payload: bytes) -> Rule | None:
    """Decode the payload of RTM_NEWRULE or RTM_DELRULE.

    Returns:
        None for a rule of another family than IP's (multicast routing).

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, dst_len, src_len, tos, table, action, flags = unpack(_HEADER, payload, "rule message")
    if family not in ADDRESS_BITS:
        return None
    found = _RULE.read(payload, _HEADER.size)
    protocol = found.get("protocol", 0)
    return Rule(
        family=family,
        priority=found.get("priority", 0),
        action=RULE_ACTIONS.get(action, str(action)),
        table=found.get("table", table),
        src=prefix(family, found["src"], src_len) if "src" in found else "",
        dst=prefix(family, found["dst"], dst_len) if "dst" in found else "",
        inverted=bool(flags & _FIB_RULE_INVERT),
        iif=found.get("iif", ""),
        oif=found.get("oif", ""),
        fwmark=found.get("fwmark", 0),
        fwmask=found.get("fwmask", 0),
        tos=tos,
        goto=found.get("goto", 0),
        suppress_prefixlength=found.get("suppress_prefixlength"),
        suppress_ifgroup=found.get("suppress_ifgroup"),
        l3mdev=found.get("l3mdev", False),
        uids=tuple(found.get("uids", ())),
        ip_protocol=found.get("ip_protocol", 0),
        sports=tuple(found.get("sports", ())),
        dports=tuple(found.get("dports", ())),
        protocol=PROTOCOLS.get(protocol, str(protocol)) if protocol else "",
    )
