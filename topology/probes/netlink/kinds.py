"""Which data each kind of link has, and where in Metadata it stands.

Sources: linux/if_link.h, linux/can/netlink.h, linux/if_vlan.h; kinds without a row (dummy, ifb, nlmon, wireguard, team,
netdevsim …) have no data of their own here. What moves by itself (sequence numbers, keys in rotation, error counters) is
left out.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from topology.probes.netlink.bonds import BOND, BOND_MODE, BOND_SLAVE
from topology.probes.netlink.bridges import BRIDGE, BRIDGE_PORT
from topology.probes.netlink.fields import (
    Fields,
    be16,
    choice,
    divided,
    flags,
    hexadecimal,
    listed,
    mac,
    s32,
    set_bits,
    some,
    switch,
    u8,
    u16,
    u32,
    u64,
    unpack,
)
from topology.probes.netlink.linknames import ETHERTYPES
from topology.probes.netlink.tunnels import GENEVE, GRE, IP6GRE, IP6TNL, IPIP, SIT, VTI, VXLAN, XFRM


class Section(NamedTuple):
    """A part of Metadata that a kind's data gives.

    Attributes:
        key: where the values stand; empty: at the top level.
        fields: the table of the attributes.
    """

    key: str
    fields: Fields


_VLAN_FLAGS = {0x1: "REORDER_HDR", 0x2: "GVRP", 0x4: "LOOSE_BINDING", 0x8: "MVRP", 0x10: "BRIDGE_BINDING"}
_MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
_MACVLAN_FLAGS = {0x1: "nopromisc", 0x2: "nodst"}
_IPVLAN_FLAGS = {0x1: "private", 0x2: "vepa"}
_CAN_STATES = ("ERROR-ACTIVE", "ERROR-WARNING", "ERROR-PASSIVE", "BUS-OFF", "STOPPED", "SLEEPING")
_CAN_MODES = {
    0x1: "LOOPBACK",
    0x2: "LISTEN-ONLY",
    0x4: "TRIPLE-SAMPLING",
    0x8: "ONE-SHOT",
    0x10: "BERR-REPORTING",
    0x20: "FD",
    0x40: "PRESUME-ACK",
    0x80: "FD-NON-ISO",
    0x100: "CC-LEN8-DLC",
    0x200: "TDC-AUTO",
    0x400: "TDC-MANUAL",
}
_CIPHERS = {
    0x0080020001000001: "GCM-AES-128",  # also under its first number:
    0x0080C20001000001: "GCM-AES-128",
    0x0080C20001000002: "GCM-AES-256",
    0x0080C20001000003: "GCM-AES-XPN-128",
    0x0080C20001000004: "GCM-AES-XPN-256",
}

_PAIR = struct.Struct("=II")


def _quality(value: bytes) -> dict[str, int]:
    """Struct ifla_vlan_qos_mapping."""
    found = unpack(_PAIR, value, "VLAN priority mapping")
    return {"From": found[0], "To": found[1]}


def _can_modes(value: bytes) -> list[str] | None:
    """Struct can_ctrlmode: mask, flags."""
    return set_bits(unpack(_PAIR, value, "CAN modes")[1], _CAN_MODES) or None


def _bitrate(value: bytes) -> int | None:
    """The first number of struct can_bittiming: bit/s."""
    return u32(value) or None


def _sample_point(value: bytes) -> float | None:
    """The second number of struct can_bittiming, there in thousandths."""
    found = unpack(_PAIR, value, "CAN bit timing")
    return found[1] / 1000 if found[0] else None


_VLAN = Fields(
    (1, "Vlan", u16),  # IFLA_VLAN_ID
    (2, "VlanFlags", flags(u32, _VLAN_FLAGS)),  # IFLA_VLAN_FLAGS: struct ifla_vlan_flags: flags, mask
    (3, "VlanEgressQos", listed(_quality)),  # IFLA_VLAN_EGRESS_QOS
    (4, "VlanIngressQos", listed(_quality)),  # IFLA_VLAN_INGRESS_QOS
    (5, "VlanProtocol", choice(be16, ETHERTYPES)),  # IFLA_VLAN_PROTOCOL
)
_MACVLAN = Fields(
    (1, "MacvlanMode", choice(u32, _MACVLAN_MODES)),  # IFLA_MACVLAN_MODE
    (2, "MacvlanFlags", flags(u16, _MACVLAN_FLAGS)),  # IFLA_MACVLAN_FLAGS
    (5, "MacvlanSources", listed(mac)),  # IFLA_MACVLAN_MACADDR_DATA
)
_IPVLAN = Fields(
    (1, "IPVlanMode", choice(u16, {0: "l2", 1: "l3", 2: "l3s"})),  # IFLA_IPVLAN_MODE
    (2, "IPVlanFlags", flags(u16, _IPVLAN_FLAGS)),  # IFLA_IPVLAN_FLAGS
)
_VRF = Fields((1, "Table", u32))  # IFLA_VRF_TABLE
_VRF_PORT = Fields((1, "Table", u32))  # IFLA_VRF_PORT_TABLE
_TUN = Fields(
    (1, "Owner", u32),  # IFLA_TUN_OWNER: user id
    (2, "Group", u32),  # IFLA_TUN_GROUP: group id
    (3, "Type", choice(u8, {1: "tun", 2: "tap"})),  # IFLA_TUN_TYPE
    (4, "PI", switch()),  # IFLA_TUN_PI
    (5, "VnetHeader", switch()),  # IFLA_TUN_VNET_HDR
    (6, "Persist", switch()),  # IFLA_TUN_PERSIST
    (7, "MultiQueue", switch()),  # IFLA_TUN_MULTI_QUEUE
    (8, "NumQueues", u32),  # IFLA_TUN_NUM_QUEUES
    (9, "NumDisabledQueues", u32),  # IFLA_TUN_NUM_DISABLED_QUEUES
)
_CAN = Fields(
    (1, "Bitrate", _bitrate),  # IFLA_CAN_BITTIMING
    (1, "SamplePoint", _sample_point),  # IFLA_CAN_BITTIMING
    (3, "Clock", some(u32)),  # IFLA_CAN_CLOCK: Hz
    (4, "State", choice(u32, dict(enumerate(_CAN_STATES)))),  # IFLA_CAN_STATE
    (5, "Modes", _can_modes),  # IFLA_CAN_CTRLMODE
    (6, "RestartDelay", divided(u32, 1000)),  # IFLA_CAN_RESTART_MS: seconds
    (9, "DataBitrate", _bitrate),  # IFLA_CAN_DATA_BITTIMING
    (9, "DataSamplePoint", _sample_point),  # IFLA_CAN_DATA_BITTIMING
    (11, "Termination", u16),  # IFLA_CAN_TERMINATION: ohm
)
_IPOIB = Fields(
    (1, "PKey", u16),  # IFLA_IPOIB_PKEY
    (2, "Mode", choice(u16, {0: "datagram", 1: "connected"})),  # IFLA_IPOIB_MODE
    (3, "Umcast", switch(u16)),  # IFLA_IPOIB_UMCAST
)
_HSR = Fields(
    (1, "Slave1", some(u32)),  # IFLA_HSR_SLAVE1: ifindex
    (2, "Slave2", some(u32)),  # IFLA_HSR_SLAVE2: ifindex
    (4, "SupervisionAddr", mac),  # IFLA_HSR_SUPERVISION_ADDR
    (6, "Version", u8),  # IFLA_HSR_VERSION
    (7, "Protocol", choice(u8, {0: "hsr", 1: "prp"})),  # IFLA_HSR_PROTOCOL
    (8, "Interlink", some(u32)),  # IFLA_HSR_INTERLINK: ifindex
)
_GTP = Fields(
    (3, "HashSize", u32),  # IFLA_GTP_PDP_HASHSIZE: buckets
    (4, "Role", choice(u32, {0: "ggsn", 1: "sgsn"})),  # IFLA_GTP_ROLE
    (6, "RestartCount", u8),  # IFLA_GTP_RESTART_COUNT
)
_MACSEC = Fields(
    (1, "SCI", hexadecimal),  # IFLA_MACSEC_SCI
    (3, "ICVLength", u8),  # IFLA_MACSEC_ICV_LEN
    (4, "CipherSuite", choice(u64, _CIPHERS)),  # IFLA_MACSEC_CIPHER_SUITE
    (5, "Window", s32),  # IFLA_MACSEC_WINDOW
    (7, "Encrypt", switch()),  # IFLA_MACSEC_ENCRYPT
    (8, "Protect", switch()),  # IFLA_MACSEC_PROTECT
    (9, "IncludeSCI", switch()),  # IFLA_MACSEC_INC_SCI
    (10, "EndStation", switch()),  # IFLA_MACSEC_ES
    (11, "SingleCopyBroadcast", switch()),  # IFLA_MACSEC_SCB
    (12, "ReplayProtect", switch()),  # IFLA_MACSEC_REPLAY_PROTECT
    (13, "Validation", choice(u8, {0: "disabled", 1: "check", 2: "strict"})),  # IFLA_MACSEC_VALIDATION
    (15, "Offload", choice(u8, {0: "off", 1: "phy", 2: "mac"})),  # IFLA_MACSEC_OFFLOAD
)

KINDS: dict[str, tuple[Section, ...]] = {
    "bond": (Section("", BOND_MODE), Section("Bond", BOND)),
    "bridge": (Section("Bridge", BRIDGE),),
    "can": (Section("CAN", _CAN),),
    "erspan": (Section("Tunnel", GRE),),
    "geneve": (Section("Geneve", GENEVE),),
    "gre": (Section("Tunnel", GRE),),
    "gretap": (Section("Tunnel", GRE),),
    "gtp": (Section("GTP", _GTP),),
    "hsr": (Section("HSR", _HSR),),
    "ip6erspan": (Section("Tunnel", IP6GRE),),
    "ip6gre": (Section("Tunnel", IP6GRE),),
    "ip6gretap": (Section("Tunnel", IP6GRE),),
    "ip6tnl": (Section("Tunnel", IP6TNL),),
    "ipip": (Section("Tunnel", IPIP),),
    "ipoib": (Section("IPoIB", _IPOIB),),
    "ipvlan": (Section("", _IPVLAN),),
    "ipvtap": (Section("", _IPVLAN),),
    "macsec": (Section("MACsec", _MACSEC),),
    "macvlan": (Section("", _MACVLAN),),
    "macvtap": (Section("", _MACVLAN),),
    "sit": (Section("Tunnel", SIT),),
    "tun": (Section("Tun", _TUN),),
    "vlan": (Section("", _VLAN),),
    "vrf": (Section("VRF", _VRF),),
    "vti": (Section("Tunnel", VTI),),
    "vti6": (Section("Tunnel", VTI),),
    "vxlan": (Section("VXLAN", VXLAN),),
    "xfrm": (Section("Xfrm", XFRM),),
}
"""IFLA_INFO_KIND → what IFLA_INFO_DATA gives."""

PORT_KINDS: dict[str, tuple[Section, ...]] = {
    "bond": (Section("BondSlave", BOND_SLAVE),),
    "bridge": (Section("BridgePort", BRIDGE_PORT),),
    "vrf": (Section("VRFPort", _VRF_PORT),),
}
"""IFLA_INFO_SLAVE_KIND → what IFLA_INFO_SLAVE_DATA gives."""
