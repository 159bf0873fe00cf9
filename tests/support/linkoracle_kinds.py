"""The rows by which linkoracle compares the data of each kind; see there."""

from __future__ import annotations

from support.linkoracle_masters import BOND, BOND_SLAVE, BRIDGE, OPTIONS, PORT
from support.linkoracle_rows import Data, Derived, Row, capitalised, end, hexed, key, named, of_two, range_

PROTOCOLS = {
    "any": "any",
    "ipip": "ipv4",
    "ip4ip6": "ipv4",
    "ipip6": "ipv4",
    "ip6ip": "ipv6",
    "ip6ip6": "ipv6",
    "mplsip": "mpls",
}

_VXLAN: tuple[Row, ...] = (
    ("ID", "id", int),
    ("Link", "link", "indexes"),
    ("TOS", "tos", hexed),
    ("Learning", "learning", bool),
    ("Ageing", "ageing", int),
    ("Limit", "limit", int),
    ("PortRange", "port_range", range_),
    ("Proxy", "proxy", bool),
    ("RSC", "rsc", bool),
    ("L2Miss", "l2miss", bool),
    ("L3Miss", "l3miss", bool),
    ("Port", "port", int),
    ("UDPChecksum", "udp_csum", bool),
    ("UDPZeroChecksum6Tx", "udp_zero_csum6_tx", bool),
    ("UDPZeroChecksum6Rx", "udp_zero_csum6_rx", bool),
    ("GBP", "gbp", bool),
    ("CollectMetadata", "external", bool),
    ("FlowLabel", "label", hexed),
    ("DF", "df", str),
    ("VNIFilter", "vnifilter", bool),
)

_GENEVE: tuple[Row, ...] = (
    ("ID", "id", int),
    ("TOS", "tos", hexed),
    ("Port", "port", int),
    ("CollectMetadata", "external", bool),
    ("UDPChecksum", "udp_csum", bool),
    ("UDPZeroChecksum6Tx", "udp_zero_csum6_tx", bool),
    ("UDPZeroChecksum6Rx", "udp_zero_csum6_rx", bool),
    ("FlowLabel", "label", hexed),
    ("DF", "df", str),
)

_TUNNEL: tuple[Row, ...] = (
    ("Link", "link", "indexes"),
    ("Local", "local", end),
    ("Remote", "remote", end),
    ("TTL", "ttl", int),
    ("FwMark", "fwmark", hexed),
    ("CollectMetadata", "external", bool),
)
_TUNNEL4: tuple[Row, ...] = (*_TUNNEL, ("TOS", "tos", hexed), ("PMTUDisc", "pmtudisc", bool))
_KEYS: tuple[Row, ...] = (("IKey", "ikey", key), ("OKey", "okey", key))
_ERSPAN: tuple[Row, ...] = (
    ("ErspanIndex", "erspan_index", int),
    ("ErspanVersion", "erspan_ver", int),
    ("ErspanDirection", "erspan_dir", str),
    ("ErspanHwID", "erspan_hwid", hexed),
)
_GRE: tuple[Row, ...] = (*_TUNNEL4, *_KEYS, *_ERSPAN, ("IgnoreDF", "ignore_df", bool))
_PROTO: tuple[Row, ...] = (("Proto", "proto", PROTOCOLS.__getitem__),)
_IP: tuple[Row, ...] = (*_TUNNEL4, *_PROTO)
_SIT: tuple[Row, ...] = (
    *_IP,
    ("6rdPrefix", "prefix", str),
    ("6rdPrefixLength", "prefixlen", int),
    ("6rdRelayPrefix", "relay_prefix", str),
    ("6rdRelayPrefixLength", "relay_prefixlen", int),
)
_TUNNEL6: tuple[Row, ...] = (
    *_TUNNEL,
    *_KEYS,
    *_ERSPAN,
    ("FlowLabel", "flowlabel", hexed),
    ("TrafficClass", "tclass", hexed),
    ("EncapLimit", "encap_limit", int),
)

_MACVLAN: tuple[Row, ...] = (("MacvlanMode", "mode", str), ("MacvlanSources", "macaddr_data", list))
_MACVLAN_FLAGS: tuple[Row, ...] = (("MacvlanFlags", "nopromisc", lambda value: ["nopromisc"] if value else None),)
_IPVLAN: tuple[Row, ...] = (("IPVlanMode", "mode", str),)

ROWS: dict[str, tuple[str, tuple[Row, ...]]] = {
    "bridge": ("Bridge", BRIDGE),
    "port of bridge": ("BridgePort", PORT),
    "bond": ("Bond", BOND),
    "port of bond": ("BondSlave", BOND_SLAVE),
    "vxlan": ("VXLAN", _VXLAN),
    "geneve": ("Geneve", _GENEVE),
    "gre": ("Tunnel", _GRE),
    "gretap": ("Tunnel", _GRE),
    "erspan": ("Tunnel", _GRE),
    "ip6gre": ("Tunnel", _TUNNEL6),
    "ip6gretap": ("Tunnel", _TUNNEL6),
    "ip6erspan": ("Tunnel", _TUNNEL6),
    "ipip": ("Tunnel", _IP),
    "sit": ("Tunnel", _SIT),
    "ip6tnl": ("Tunnel", (*_TUNNEL6, *_PROTO)),
    "vti": ("Tunnel", (*_TUNNEL, *_KEYS)),
    "vti6": ("Tunnel", (*_TUNNEL, *_KEYS)),
    "xfrm": ("Xfrm", (("ID", "if_id", hexed),)),
    "vlan": (
        "",
        (
            ("Vlan", "id", int),
            ("VlanProtocol", "protocol", str),
            ("VlanFlags", "flags", list),
            ("VlanEgressQos", "egress_qos", capitalised),
            ("VlanIngressQos", "ingress_qos", capitalised),
        ),
    ),
    "macvlan": ("", (*_MACVLAN, *_MACVLAN_FLAGS)),
    "macvtap": ("", _MACVLAN),
    "ipvlan": ("", _IPVLAN),
    "ipvtap": ("", _IPVLAN),
    "vrf": ("VRF", (("Table", "table", int),)),
    "port of vrf": ("VRFPort", (("Table", "table", int),)),
    "tun": (
        "Tun",
        (
            ("Type", "type", str),
            ("PI", "pi", bool),
            ("VnetHeader", "vnet_hdr", bool),
            ("MultiQueue", "multi_queue", bool),
            ("Persist", "persist", bool),
            ("NumQueues", "numqueues", int),
            ("NumDisabledQueues", "numdisabled", int),
            ("Owner", "user", "users"),
            ("Group", "group", "groups"),
        ),
    ),
    "gtp": ("GTP", (("HashSize", "hsize", int), ("Role", "role", str), ("RestartCount", "restart_count", int))),
    "macsec": (
        "MACsec",
        (
            ("SCI", "sci", str),
            ("ICVLength", "icv_len", int),
            ("CipherSuite", "cipher_suite", str),
            ("Window", "window", int),
            ("Encrypt", "encrypt", bool),
            ("Protect", "protect", bool),
            ("IncludeSCI", "inc_sci", bool),
            ("EndStation", "es", bool),
            ("SingleCopyBroadcast", "scb", bool),
            ("ReplayProtect", "replay_protect", bool),
            ("Validation", "validation", str),
            ("Offload", "offload", str),
        ),
    ),
    "hsr": (
        "HSR",
        (
            ("Slave1", "slave1", "indexes"),
            ("Slave2", "slave2", "indexes"),
            ("SupervisionAddr", "supervision_addr", str),
            ("Protocol", "proto", lambda value: ("hsr", "prp")[value]),
        ),
    ),
}
"""Kind → where its data stands in Metadata, and the rows; "port of" a kind for the data of its master."""


def _gre_flags(ours: str, letter: str) -> Derived:
    return named(ours, {f"{letter}csum": "csum", f"{letter}key": "key", f"{letter}seq": "seq"})


def _encapsulation(data: Data) -> str | None:
    found = data.get("encap", {}).get("type")
    return None if found == "none" else found


_ENCAP = frozenset({"encap"})
_UDP: tuple[Derived, ...] = (
    ("UDPEncap", _ENCAP, _encapsulation),
    (
        "UDPEncapFlags",
        _ENCAP,
        lambda data: sorted(name for name in ("csum", "csum6", "remcsum") if data.get("encap", {}).get(name)),
    ),
    ("UDPEncapSrcPort", _ENCAP, lambda data: data.get("encap", {}).get("sport")),
    ("UDPEncapDstPort", _ENCAP, lambda data: data.get("encap", {}).get("dport")),
)
_FLAGS6 = named(
    "Flags",
    {
        "ip6_tnl_f_ign_encap_limit": "ignore_encap_limit",
        "ip6_tnl_f_use_orig_tclass": "use_orig_tclass",
        "ip6_tnl_f_use_orig_flowlabel": "use_orig_flowlabel",
        "ip6_tnl_f_mip6_dev": "mip6_device",
        "ip6_tnl_f_rcv_dscp_copy": "rcv_dscp_copy",
        "ip6_tnl_f_use_orig_fwmark": "use_orig_fwmark",
        "ip6_tnl_f_allow_local_remote": "allow_local_remote",
    },
)
_GRE_DERIVED: tuple[Derived, ...] = (*_UDP, _gre_flags("IFlags", "i"), _gre_flags("OFlags", "o"))
_TTL: Derived = ("TTL", frozenset({"ttl"}), lambda data: data["ttl"] if isinstance(data.get("ttl"), int) else None)
_IPVLAN_FLAGS = named("IPVlanFlags", {"private": "private", "vepa": "vepa"})

DERIVED: dict[str, tuple[Derived, ...]] = {
    "bridge": (named("Options", OPTIONS),),
    "bond": (("ArpValidate", frozenset({"arp_validate"}), lambda data: data.get("arp_validate") or "none"),),
    "vxlan": (
        _TTL,
        of_two("Remote", "remote", "remote6"),
        of_two("Group", "group", "group6"),
        of_two("Local", "local", "local6"),
    ),
    "geneve": (_TTL, of_two("Remote", "remote", "remote6")),
    "gre": _GRE_DERIVED,
    "gretap": _GRE_DERIVED,
    "erspan": _GRE_DERIVED,
    "ip6gre": (*_GRE_DERIVED, _FLAGS6),
    "ip6gretap": (*_GRE_DERIVED, _FLAGS6),
    "ip6erspan": (*_GRE_DERIVED, _FLAGS6),
    "ip6tnl": (*_UDP, _FLAGS6),
    "ipip": _UDP,
    "sit": (*_UDP, named("Flags", {"isatap": "isatap"})),
    "ipvlan": (_IPVLAN_FLAGS,),
    "ipvtap": (_IPVLAN_FLAGS,),
}
"""Kind → what ip says in another form than ours."""

LEFT_OUT: dict[str, frozenset[str]] = {
    "bridge": frozenset(
        {
            "topology_change",
            "topology_change_detected",
            "hello_timer",
            "tcn_timer",
            "topology_change_timer",
            "gc_timer",
            "mcast_hash_elasticity",  # the kernel ignores it since 4.20
            "mcast_querier_ipv4_addr",
            "mcast_querier_ipv6_addr",
        }
    ),
    "port of bridge": frozenset(
        {
            "hold_timer",
            "message_age_timer",
            "forward_delay_timer",
            "topology_change_ack",
            "config_pending",
            "group_fwd_mask_str",
        }
    ),
    "bond": frozenset({"mode"}),  # BondMode at the top level: compared in another way
    "port of bond": frozenset({"ad_actor_oper_port_state_str", "ad_partner_oper_port_state_str"}),
    "macvlan": frozenset({"bcqueuelen", "usedbcqueuelen", "macaddr_count"}),
    "macvtap": frozenset({"bcqueuelen", "usedbcqueuelen", "macaddr_count"}),
    "hsr": frozenset({"seq_nr"}),
    "ipvlan": frozenset({"bridge"}),  # neither private nor vepa
    "macsec": frozenset({"encoding_sa"}),  # keys in rotation
}
"""Kind → what Metadata leaves out: it moves by itself, or says the same again."""
