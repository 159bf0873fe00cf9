"""IP addresses of interfaces, decoded from RTM_NEWADDR and RTM_DELADDR.

Pure: bytes to values. Lifetimes are left out, and the flags that duplicate address detection sets for a moment
(tentative, optimistic): they pass by themselves. Sources: linux/if_addr.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from topology.probes.netlink.fields import Fields, filled, ip_text, prefix, set_bits, u8, u32, unpack
from topology.probes.netlink.routenames import SCOPES

_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_AF_INET6 = 10

_FLAGS = {
    0x1: "secondary",
    0x2: "nodad",
    0x8: "dadfailed",
    0x10: "home",
    0x20: "deprecated",
    0x80: "permanent",
    0x100: "mngtmpaddr",
    0x200: "noprefixroute",
    0x400: "autojoin",
    0x800: "stable-privacy",
}
"""IFA_F_*, without what is there only for a moment."""
_FLAGS6 = {**_FLAGS, 0x1: "temporary"}
"""For IPv6 the first one means a privacy address."""
_PROTOCOLS = {0: "", 1: "kernel_lo", 2: "kernel_ra", 3: "kernel_ll"}
"""IFAPROT_*."""

_ADDRESS = Fields(
    (1, "address", ip_text),  # IFA_ADDRESS: the other end of a point-to-point link, else the same as local
    (2, "local", ip_text),  # IFA_LOCAL: always for IPv4; for IPv6 only with a peer
    (3, "label", filled),  # IFA_LABEL
    (4, "broadcast", ip_text),  # IFA_BROADCAST
    (8, "flags", u32),  # IFA_FLAGS: the wider form of the header's
    (9, "metric", u32),  # IFA_RT_PRIORITY
    (11, "protocol", u8),  # IFA_PROTO
)


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address of an interface.

    Attributes:
        ifindex: the interface's number in its namespace.
        family: AF_INET or AF_INET6.
        local: the address itself.
        prefix_length: of the network that it is in; with a peer, of the peer's.
        peer: the other end of a point-to-point link; empty if there is none.
        scope: ``global``, ``site``, ``link``, ``host`` or a number.
        flags: names as ``ip`` shows them, those that last.
        label: IPv4's, usually the interface's name; else empty.
        broadcast: empty if there is none.
        metric: of the route that it brings; 0 for the kernel's choice.
        protocol: who set it (``kernel_ll`` …, a number of a daemon); empty if nobody said.
    """

    ifindex: int
    family: int
    local: str
    prefix_length: int
    peer: str = ""
    scope: str = "global"
    flags: tuple[str, ...] = ()
    label: str = ""
    broadcast: str = ""
    metric: int = 0
    protocol: str = ""

    @property
    def cidr(self) -> str:
        """Address and prefix length, as in Skydive's ``IPV4`` and ``IPV6``."""
        return f"{self.local}/{self.prefix_length}"


def decode_address(payload: bytes) -> Address | None:
    """Decode the payload of RTM_NEWADDR or RTM_DELADDR.

    Returns:
        None for a message without an address (an anycast or multicast group's).

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, length, flags, scope, ifindex = unpack(_IFADDRMSG, payload, "address message")
    found = _ADDRESS.read(payload, _IFADDRMSG.size)
    local = found.get("local") or found.get("address")
    if local is None:
        return None
    prefix(family, local, length)
    peer = found.get("address", local)
    protocol = found.get("protocol", 0)
    return Address(
        ifindex=ifindex,
        family=family,
        local=local,
        prefix_length=length,
        peer=peer if peer != local else "",
        scope=SCOPES.get(scope, str(scope)),
        flags=tuple(set_bits(found.get("flags", flags), _FLAGS6 if family == _AF_INET6 else _FLAGS)),
        label=found.get("label", ""),
        broadcast=found.get("broadcast", ""),
        metric=found.get("metric", 0),
        protocol=_PROTOCOLS.get(protocol, str(protocol)),
    )
