"""Routes, decoded from RTM_NEWROUTE and RTM_DELROUTE.

Pure: bytes to values. What passes by itself (expiry, age, use counts, a next hop's carrier) is left out; routes that the
kernel cloned for its cache are none. Sources: linux/rtnetlink.h, linux/lwtunnel.h, linux/mpls_iptunnel.h, RFC 3032.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skytrail.kernel.netlink import NetlinkDecodeError
from topology.probes.netlink.fields import ADDRESS_BITS, Fields, ip_text, nested, prefix, u8, u16, u32, unpack
from topology.probes.netlink.routenames import ENCAPSULATIONS, MPLS, PROTOCOLS, ROUTE_PREFERENCES, ROUTE_TYPES, SCOPES

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 0x4
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_RTNEXTHOP = struct.Struct("=HBBi")  # len, flags, hops, ifindex
_FAMILY = struct.Struct("=H")
_LABEL = struct.Struct("!I")
_LABEL_BOTTOM = 0x100
_UNSPECIFIED = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - a prefix, no address to listen on


def _via(value: bytes) -> str | None:
    """Struct rtvia: a gateway of another family than the route's; left out if its family is none of IP."""
    (family,) = unpack(_FAMILY, value, "route's via")
    return ip_text(value[_FAMILY.size :]) if family in ADDRESS_BITS else None


def _labels(value: bytes) -> list[int]:
    """A label stack of RFC 3032, outermost first."""
    labels = []
    for offset in range(0, len(value), _LABEL.size):
        (entry,) = unpack(_LABEL, value[offset:], "MPLS label stack")
        labels.append(entry >> 12)
        if entry & _LABEL_BOTTOM:
            break
    return labels


_MPLS = Fields((1, "labels", _labels))  # MPLS_IPTUNNEL_DST
_METRICS = Fields(
    (2, "mtu", u32),  # RTAX_MTU
    (3, "window", u32),  # RTAX_WINDOW
    (7, "cwnd", u32),  # RTAX_CWND
    (8, "advmss", u32),  # RTAX_ADVMSS
    (9, "reordering", u32),  # RTAX_REORDERING
    (10, "hoplimit", u32),  # RTAX_HOPLIMIT
    (11, "initcwnd", u32),  # RTAX_INITCWND
    (14, "initrwnd", u32),  # RTAX_INITRWND
    (15, "quickack", u32),  # RTAX_QUICKACK
)
_HOP = Fields(
    (4, "ifindex", u32),  # RTA_OIF
    (5, "ip", ip_text),  # RTA_GATEWAY
    (18, "ip", _via),  # RTA_VIA
    (21, "encapsulation", u16),  # RTA_ENCAP_TYPE
)
_ENCAPSULATED = Fields((22, "mpls", nested(_MPLS)))  # RTA_ENCAP
_ROUTE = Fields(
    (1, "dst", ip_text),  # RTA_DST
    (2, "src", ip_text),  # RTA_SRC
    (6, "priority", u32),  # RTA_PRIORITY
    (7, "prefsrc", ip_text),  # RTA_PREFSRC
    (8, "metrics", nested(_METRICS)),  # RTA_METRICS
    (9, "multipath", lambda value: list(_multipath(value))),  # RTA_MULTIPATH
    (15, "table", u32),  # RTA_TABLE: the wider form of the header's
    (20, "preference", u8),  # RTA_PREF
    (30, "nexthop_id", u32),  # RTA_NH_ID
)


@dataclass(frozen=True, slots=True, order=True)
class NextHop:
    """Where a route leads to.

    Attributes:
        ip: the gateway, also of another family than the route's; empty on a directly attached network.
        ifindex: the interface that it is reached by; 0 if none is (blackhole).
        weight: of a route with several, at least 1.
        onlink: the gateway is taken to be on the link whatever its address.
        encapsulation: ``mpls``, ``ip``, ``seg6`` …; empty if there is none.
        labels: of MPLS, outermost first.
    """

    ip: str = ""
    ifindex: int = 0
    weight: int = 1
    onlink: bool = False
    encapsulation: str = ""
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a routing table.

    Attributes:
        family: AF_INET or AF_INET6.
        table: its number: 254 main, 255 local …
        prefix: the destination, ``0.0.0.0/0`` or ``::/0`` for a default route.
        protocol: RTPROT_*, who made it; its name is ``protocol_name``.
        scope: ``global``, ``link``, ``host`` …
        type: ``unicast``, ``local``, ``broadcast``, ``blackhole`` …
        tos: that it is for; 0 for any.
        source_prefix: that packets must come from (IPv6 subtrees); empty for any.
        prefsrc: the address that packets of our own leave with; empty if none is set.
        priority: its metric, the lower the better.
        hops: where it leads to; several for multipath.
        nexthop_id: of the next-hop object that it uses; 0 if none.
        preference: ``low`` or ``high`` as a router announced it; empty for medium.
        metrics: names as ``ip`` shows them and values: ``mtu``, ``advmss``, ``hoplimit`` …
    """

    family: int
    table: int
    prefix: str
    protocol: int
    scope: str
    type: str
    tos: int = 0
    source_prefix: str = ""
    prefsrc: str = ""
    priority: int = 0
    hops: tuple[NextHop, ...] = ()
    nexthop_id: int = 0
    preference: str = ""
    metrics: tuple[tuple[str, int], ...] = ()

    @property
    def protocol_name(self) -> str:
        """Who made it, as ``ip`` shows it; a number without a name as text."""
        return PROTOCOLS.get(self.protocol, str(self.protocol))


def route_dump_request(family: int = socket.AF_UNSPEC) -> bytes:
    """The body of RTM_GETROUTE for all routes of all tables (of the socket's own namespace)."""
    return _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_route(payload: bytes) -> Route | None:
    """Decode the payload of RTM_NEWROUTE or RTM_DELROUTE.

    Returns:
        None for a clone in the kernel's cache, and for a route of another family than IP's (MPLS, multicast routing).

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, dst_len, src_len, tos, table, protocol, scope, kind, flags = unpack(_RTMSG, payload, "route message")
    if family not in ADDRESS_BITS or flags & _RTM_F_CLONED:
        return None
    found = _ROUTE.read(payload, _RTMSG.size)
    single = _hop(payload[_RTMSG.size :], flags)
    return Route(
        family=family,
        table=found.get("table", table),
        prefix=prefix(family, found.get("dst", _UNSPECIFIED[family]), dst_len),
        protocol=protocol,
        scope=SCOPES.get(scope, str(scope)),
        type=ROUTE_TYPES.get(kind, str(kind)),
        tos=tos,
        source_prefix=prefix(family, found["src"], src_len) if "src" in found else "",
        prefsrc=found.get("prefsrc", ""),
        priority=found.get("priority", 0),
        hops=tuple(found.get("multipath", ())) or ((single,) if single != NextHop() else ()),
        nexthop_id=found.get("nexthop_id", 0),
        preference=ROUTE_PREFERENCES.get(found.get("preference", 0), ""),
        metrics=tuple(found.get("metrics", {}).items()),
    )


def _hop(attributes: bytes, flags: int, **others: int) -> NextHop:
    """A next hop from its attributes and RTNH_F_*."""
    found: dict[str, Any] = _HOP.read(attributes)
    encapsulation = ENCAPSULATIONS.get(found.get("encapsulation", 0), "other")
    labels = _ENCAPSULATED.read(attributes).get("mpls", {}).get("labels", ()) if encapsulation == MPLS else ()
    return NextHop(
        ip=found.get("ip", ""),
        ifindex=others.get("ifindex", found.get("ifindex", 0)),
        weight=others.get("weight", 1),
        onlink=bool(flags & _RTNH_F_ONLINK),
        encapsulation=encapsulation,
        labels=tuple(labels),
    )


def _multipath(value: bytes) -> Iterator[NextHop]:
    """An array of struct rtnexthop, each with attributes."""
    offset = 0
    while len(value) - offset >= _RTNEXTHOP.size:
        size, flags, hops, ifindex = _RTNEXTHOP.unpack_from(value, offset)
        if size < _RTNEXTHOP.size or size > len(value) - offset:
            raise NetlinkDecodeError(f"next hop at byte {offset} says {size} bytes, {len(value) - offset} are there")
        yield _hop(value[offset + _RTNEXTHOP.size : offset + size], flags, ifindex=ifindex, weight=hops + 1)
        offset += (size + 3) & ~3
