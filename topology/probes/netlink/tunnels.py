"""Data of tunnels. Sources: linux/if_link.h, linux/if_tunnel.h, iproute2 (link_gre.c, link_iptnl.c, iplink_vxlan.c …).

Addresses that are unspecified, keys and limits that no flag makes valid are left out. A TTL or TOS is as the kernel gives
it: TTL 0 is the inner packet's, TOS 1 too. Times are in seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from topology.probes.netlink.fields import (
    Field,
    Fields,
    address,
    be16,
    be32,
    choice,
    flags,
    multicast,
    present,
    some,
    switch,
    u8,
    u16,
    u32,
    unicast,
    unpack,
)

_DF = {0: "unset", 1: "set", 2: "inherit"}
_ENCAPSULATIONS = {1: "fou", 2: "gue", 3: "mpls"}
_ENCAPSULATION_FLAGS = {0x1: "csum", 0x2: "csum6", 0x4: "remcsum"}
_GRE_FLAGS = {0x8000: "csum", 0x2000: "key", 0x1000: "seq"}
_PROTOCOLS = {0: "any", 4: "ipv4", 41: "ipv6", 137: "mpls"}
_ISATAP = {0x1: "isatap"}
_IGNORE_LIMIT = "ignore_encap_limit"
_FLAGS6 = {
    0x1: _IGNORE_LIMIT,
    0x2: "use_orig_tclass",
    0x4: "use_orig_flowlabel",
    0x8: "mip6_device",
    0x10: "rcv_dscp_copy",
    0x20: "use_orig_fwmark",
    0x40: "allow_local_remote",
}
"""IP6_TNL_F_* that are set by people; the rest are the kernel's own marks."""
_ERSPAN_DIRECTIONS = {0: "ingress", 1: "egress"}
_FLOW_LABEL = 0xFFFFF

_RANGE = struct.Struct("!HH")


def _port_range(value: bytes) -> list[int] | None:
    """Struct ifla_vxlan_port_range: lowest and highest source port; left out if it is not limited."""
    found = list(unpack(_RANGE, value, "VXLAN port range"))
    return found if any(found) else None


def _flow_label(value: bytes) -> int | None:
    return (be32(value) & _FLOW_LABEL) or None


def _traffic_class(value: bytes) -> int | None:
    """The bits above the flow label."""
    return (be32(value) >> 20 & 0xFF) or None


def _encapsulation(first: int) -> tuple[Field, ...]:
    """UDP around a tunnel: four attributes in a row, from ``first``."""
    return (
        (first, "UDPEncap", _encapsulation_type),  # type
        (first + 1, "UDPEncapFlags", flags(u16, _ENCAPSULATION_FLAGS)),  # flags
        (first + 2, "UDPEncapSrcPort", some(be16)),  # source port
        (first + 3, "UDPEncapDstPort", some(be16)),  # destination port
    )


def _encapsulation_type(value: bytes) -> str | None:
    code = u16(value)
    return _ENCAPSULATIONS.get(code, str(code)) if code else None


_MEANINGLESS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    ("IKey", lambda found: "key" not in found.get("IFlags", ())),
    ("OKey", lambda found: "key" not in found.get("OFlags", ())),
    ("EncapLimit", lambda found: _IGNORE_LIMIT in found.get("Flags", ())),
    ("UDPEncapFlags", lambda found: "UDPEncap" not in found),
    ("UDPEncapSrcPort", lambda found: "UDPEncap" not in found),
    ("UDPEncapDstPort", lambda found: "UDPEncap" not in found),
)
"""Keys that say nothing, and when."""


def _meaningful(found: dict[str, Any]) -> dict[str, Any]:
    idle = {key for key, is_idle in _MEANINGLESS if key in found and is_idle(found)}
    return {key: value for key, value in found.items() if key not in idle}


_GRE: tuple[Field, ...] = (
    (1, "Link", some(u32)),  # IFLA_GRE_LINK: ifindex
    (2, "IFlags", flags(be16, _GRE_FLAGS)),  # IFLA_GRE_IFLAGS
    (3, "OFlags", flags(be16, _GRE_FLAGS)),  # IFLA_GRE_OFLAGS
    (4, "IKey", be32),  # IFLA_GRE_IKEY
    (5, "OKey", be32),  # IFLA_GRE_OKEY
    (6, "Local", address),  # IFLA_GRE_LOCAL
    (7, "Remote", address),  # IFLA_GRE_REMOTE
    (8, "TTL", u8),  # IFLA_GRE_TTL
    (9, "TOS", u8),  # IFLA_GRE_TOS
    (10, "PMTUDisc", switch()),  # IFLA_GRE_PMTUDISC
    (11, "EncapLimit", u8),  # IFLA_GRE_ENCAP_LIMIT
    (12, "FlowLabel", _flow_label),  # IFLA_GRE_FLOWINFO
    (12, "TrafficClass", _traffic_class),  # IFLA_GRE_FLOWINFO
    *_encapsulation(14),
    (18, "CollectMetadata", present),  # IFLA_GRE_COLLECT_METADATA
    (19, "IgnoreDF", switch()),  # IFLA_GRE_IGNORE_DF
    (20, "FwMark", some(u32)),  # IFLA_GRE_FWMARK
    (21, "ErspanIndex", u32),  # IFLA_GRE_ERSPAN_INDEX
    (22, "ErspanVersion", u8),  # IFLA_GRE_ERSPAN_VER
    (23, "ErspanDirection", choice(u8, _ERSPAN_DIRECTIONS)),  # IFLA_GRE_ERSPAN_DIR
    (24, "ErspanHwID", u16),  # IFLA_GRE_ERSPAN_HWID
)

_IPTUN: tuple[Field, ...] = (
    (1, "Link", some(u32)),  # IFLA_IPTUN_LINK: ifindex
    (2, "Local", address),  # IFLA_IPTUN_LOCAL
    (3, "Remote", address),  # IFLA_IPTUN_REMOTE
    (4, "TTL", u8),  # IFLA_IPTUN_TTL
    (5, "TOS", u8),  # IFLA_IPTUN_TOS
    (6, "EncapLimit", u8),  # IFLA_IPTUN_ENCAP_LIMIT
    (7, "FlowLabel", _flow_label),  # IFLA_IPTUN_FLOWINFO
    (7, "TrafficClass", _traffic_class),  # IFLA_IPTUN_FLOWINFO
    (9, "Proto", choice(u8, _PROTOCOLS)),  # IFLA_IPTUN_PROTO
    (10, "PMTUDisc", switch()),  # IFLA_IPTUN_PMTUDISC
    (11, "6rdPrefix", address),  # IFLA_IPTUN_6RD_PREFIX
    (12, "6rdRelayPrefix", address),  # IFLA_IPTUN_6RD_RELAY_PREFIX
    (13, "6rdPrefixLength", some(u16)),  # IFLA_IPTUN_6RD_PREFIXLEN
    (14, "6rdRelayPrefixLength", some(u16)),  # IFLA_IPTUN_6RD_RELAY_PREFIXLEN
    *_encapsulation(15),
    (19, "CollectMetadata", present),  # IFLA_IPTUN_COLLECT_METADATA
    (20, "FwMark", some(u32)),  # IFLA_IPTUN_FWMARK
)

GRE = Fields(*_GRE, shape=_meaningful)
IP6GRE = Fields(*_GRE, (13, "Flags", flags(u32, _FLAGS6)), shape=_meaningful)  # IFLA_GRE_FLAGS
IPIP = Fields(*_IPTUN, shape=_meaningful)
SIT = Fields(*_IPTUN, (8, "Flags", flags(u16, _ISATAP)), shape=_meaningful)  # IFLA_IPTUN_FLAGS
IP6TNL = Fields(*_IPTUN, (8, "Flags", flags(u32, _FLAGS6)), shape=_meaningful)  # IFLA_IPTUN_FLAGS

VTI = Fields(
    (1, "Link", some(u32)),  # IFLA_VTI_LINK: ifindex
    (2, "IKey", some(be32)),  # IFLA_VTI_IKEY
    (3, "OKey", some(be32)),  # IFLA_VTI_OKEY
    (4, "Local", address),  # IFLA_VTI_LOCAL
    (5, "Remote", address),  # IFLA_VTI_REMOTE
    (6, "FwMark", some(u32)),  # IFLA_VTI_FWMARK
)

XFRM = Fields(
    (1, "Link", some(u32)),  # IFLA_XFRM_LINK: ifindex
    (2, "ID", u32),  # IFLA_XFRM_IF_ID
    (3, "CollectMetadata", present),  # IFLA_XFRM_COLLECT_METADATA
)

VXLAN = Fields(
    (1, "ID", u32),  # IFLA_VXLAN_ID
    (2, "Remote", unicast),  # IFLA_VXLAN_GROUP
    (2, "Group", multicast),  # IFLA_VXLAN_GROUP
    (3, "Link", some(u32)),  # IFLA_VXLAN_LINK: ifindex
    (4, "Local", address),  # IFLA_VXLAN_LOCAL
    (5, "TTL", u8),  # IFLA_VXLAN_TTL
    (6, "TOS", u8),  # IFLA_VXLAN_TOS
    (7, "Learning", switch()),  # IFLA_VXLAN_LEARNING
    (8, "Ageing", u32),  # IFLA_VXLAN_AGEING
    (9, "Limit", some(u32)),  # IFLA_VXLAN_LIMIT: entries, 0 without limit
    (10, "PortRange", _port_range),  # IFLA_VXLAN_PORT_RANGE
    (11, "Proxy", switch()),  # IFLA_VXLAN_PROXY
    (12, "RSC", switch()),  # IFLA_VXLAN_RSC
    (13, "L2Miss", switch()),  # IFLA_VXLAN_L2MISS
    (14, "L3Miss", switch()),  # IFLA_VXLAN_L3MISS
    (15, "Port", be16),  # IFLA_VXLAN_PORT
    (16, "Remote", unicast),  # IFLA_VXLAN_GROUP6
    (16, "Group", multicast),  # IFLA_VXLAN_GROUP6
    (17, "Local", address),  # IFLA_VXLAN_LOCAL6
    (18, "UDPChecksum", switch()),  # IFLA_VXLAN_UDP_CSUM
    (19, "UDPZeroChecksum6Tx", switch()),  # IFLA_VXLAN_UDP_ZERO_CSUM6_TX
    (20, "UDPZeroChecksum6Rx", switch()),  # IFLA_VXLAN_UDP_ZERO_CSUM6_RX
    (21, "RemoteChecksumTx", switch()),  # IFLA_VXLAN_REMCSUM_TX
    (22, "RemoteChecksumRx", switch()),  # IFLA_VXLAN_REMCSUM_RX
    (23, "GBP", present),  # IFLA_VXLAN_GBP
    (25, "CollectMetadata", switch()),  # IFLA_VXLAN_COLLECT_METADATA
    (26, "FlowLabel", _flow_label),  # IFLA_VXLAN_LABEL
    (27, "GPE", present),  # IFLA_VXLAN_GPE
    (28, "TTLInherit", switch()),  # IFLA_VXLAN_TTL_INHERIT
    (29, "DF", choice(u8, _DF)),  # IFLA_VXLAN_DF
    (30, "VNIFilter", switch()),  # IFLA_VXLAN_VNIFILTER
)

GENEVE = Fields(
    (1, "ID", u32),  # IFLA_GENEVE_ID
    (2, "Remote", address),  # IFLA_GENEVE_REMOTE
    (3, "TTL", u8),  # IFLA_GENEVE_TTL
    (4, "TOS", u8),  # IFLA_GENEVE_TOS
    (5, "Port", be16),  # IFLA_GENEVE_PORT
    (6, "CollectMetadata", present),  # IFLA_GENEVE_COLLECT_METADATA
    (7, "Remote", address),  # IFLA_GENEVE_REMOTE6
    (8, "UDPChecksum", switch()),  # IFLA_GENEVE_UDP_CSUM
    (9, "UDPZeroChecksum6Tx", switch()),  # IFLA_GENEVE_UDP_ZERO_CSUM6_TX
    (10, "UDPZeroChecksum6Rx", switch()),  # IFLA_GENEVE_UDP_ZERO_CSUM6_RX
    (11, "FlowLabel", _flow_label),  # IFLA_GENEVE_LABEL
    (12, "TTLInherit", switch()),  # IFLA_GENEVE_TTL_INHERIT
    (13, "DF", choice(u8, _DF)),  # IFLA_GENEVE_DF
    (14, "InnerProtoInherit", present),  # IFLA_GENEVE_INNER_PROTO_INHERIT
)
