"""What a namespace's sysctls make of packets that interfaces take in: forwarding, reverse path filter, answers for others.

From RTM_NEWNETCONF.

Pure: bytes to values. Sources: linux/netconf.h, net/ipv4/devinet.c, include/linux/inetdevice.h (which of ``all`` and the
interface's own value counts), net/ipv6/ip6_output.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from topology.probes.netlink.fields import Fields, s32, switch, unpack

RTM_GETNETCONF = 82

_ALL = -1  # NETCONFA_IFINDEX_ALL
_DEFAULT = -2
_NAMES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_RP_FILTERS = {1: "strict", 2: "loose"}
_FAMILY = struct.Struct("=Bxxx")  # struct netconfmsg, padded
_FIELDS = Fields(
    (1, "ifindex", s32),  # NETCONFA_IFINDEX
    (2, "forwarding", switch(s32)),  # NETCONFA_FORWARDING
    (3, "rp_filter", s32),  # NETCONFA_RP_FILTER
    (5, "proxy_neigh", switch(s32)),  # NETCONFA_PROXY_NEIGH
)


@dataclass(frozen=True, slots=True)
class Conf:
    """What one interface is set to, or ``all`` (-1), or those that are made (-2)."""

    family: int
    ifindex: int
    forwarding: bool = False
    rp_filter: int = 0
    proxy_neigh: bool = False


def conf_dump_request(family: int) -> bytes:
    """The body of RTM_GETNETCONF for all interfaces (of the socket's own namespace)."""
    return _FAMILY.pack(family)


def decode_conf(payload: bytes) -> Conf | None:
    """Decode the payload of RTM_NEWNETCONF.

    Returns:
        None for another family than IP's.

    Raises:
        NetlinkDecodeError: malformed.
    """
    (family,) = unpack(_FAMILY, payload, "netconf message")
    found = _FIELDS.read(payload, _FAMILY.size)
    return Conf(family, **found) if family in _NAMES and "ifindex" in found else None


def net_confs(confs: Iterable[Conf]) -> dict[int, dict[str, Any]]:
    """``NetConf`` of each interface, by ifindex: what holds for it, of its own settings and those for all.

    Of the filter's modes the stricter-numbered one holds, of IPv6's forwarding that of all. ``ProxyNeigh`` is proxy_arp, or
    IPv6's proxy_ndp.
    """
    known = {(one.family, one.ifindex): one for one in confs}
    found: dict[int, dict[str, Any]] = {}
    for (family, ifindex), one in sorted(known.items()):
        if ifindex in (_ALL, _DEFAULT):
            continue
        every = known.get((family, _ALL), one)
        forwarding = one.forwarding if family == socket.AF_INET else every.forwarding
        mode = _RP_FILTERS.get(max(one.rp_filter, every.rp_filter))
        proxy = one.proxy_neigh or every.proxy_neigh
        shown = {"Forwarding": forwarding, **({"RPFilter": mode} if mode else {}), **({"ProxyNeigh": True} if proxy else {})}
        found.setdefault(ifindex, {})[_NAMES[socket.AddressFamily(family)]] = shown
    return found
