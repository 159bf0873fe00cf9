"""Names of what a link message says in numbers. Sources: linux/if_arp.h, linux/if.h, RFC 2863, iproute2 (ll_types.c)."""

from __future__ import annotations

ENCAP_TYPES = {
    0: "netrom",
    1: "ether",
    2: "eether",
    3: "ax25",
    4: "pronet",
    5: "chaos",
    6: "ieee802",
    7: "arcnet",
    8: "atalk",
    15: "dlci",
    19: "atm",
    23: "metricom",
    24: "ieee1394",
    27: "eui64",
    32: "infiniband",
    256: "slip",
    257: "cslip",
    258: "slip6",
    259: "cslip6",
    260: "rsrvd",
    264: "adapt",
    270: "rose",
    271: "x25",
    272: "hwx25",
    280: "can",
    290: "mctp",
    512: "ppp",
    513: "hdlc",
    516: "lapb",
    517: "ddcmp",
    518: "rawhdlc",
    519: "rawip",
    768: "ipip",
    769: "tunnel6",
    770: "frad",
    771: "skip",
    772: "loopback",
    773: "ltalk",
    774: "fddi",
    775: "bif",
    776: "sit",
    777: "ip/ddp",
    778: "gre",
    779: "pimreg",
    780: "hippi",
    781: "ash",
    782: "econet",
    783: "irda",
    784: "fcpp",
    785: "fcal",
    786: "fcpl",
    787: "fcfb0",
    800: "tr",
    801: "ieee802.11",
    802: "ieee802.11/prism",
    803: "ieee802.11/radiotap",
    804: "ieee802.15.4",
    805: "ieee802.15.4/monitor",
    820: "phonet",
    821: "phonet_pipe",
    822: "caif",
    823: "gre6",
    824: "netlink",
    825: "6lowpan",
    826: "vsockmon",
    65534: "none",
    65535: "void",
}
"""ARPHRD_* → the name that ``ip`` prints as link type."""

WITHOUT_MAC = frozenset({768, 769, 776, 778, 823, 65534})
"""ARPHRD_* whose link-layer address is no MAC but the tunnel's own IP address: that stands in ``Tunnel.Local``."""

IFF_UP = 0x1
IFF_RUNNING = 0x40
NO_CARRIER = "NO-CARRIER"
"""How ``ip`` calls a link that is up but not running."""

LINK_FLAGS = {
    0x1: "UP",
    0x2: "BROADCAST",
    0x4: "DEBUG",
    0x8: "LOOPBACK",
    0x10: "POINTTOPOINT",
    0x20: "NOTRAILERS",
    0x80: "NOARP",
    0x100: "PROMISC",
    0x200: "ALLMULTI",
    0x400: "MASTER",
    0x800: "SLAVE",
    0x1000: "MULTICAST",
    0x2000: "PORTSEL",
    0x4000: "AUTOMEDIA",
    0x8000: "DYNAMIC",
    0x10000: "LOWER_UP",
    0x20000: "DORMANT",
    0x40000: "ECHO",
}
"""IFF_* → Skydive's name, where it has one (POINTTOPOINT), else that of ``ip``."""

OPERSTATES = {
    0: "UNKNOWN",
    1: "NOTPRESENT",
    2: "DOWN",
    3: "LOWERLAYERDOWN",
    4: "TESTING",
    5: "DORMANT",
    6: "UP",
}
"""IF_OPER_* of RFC 2863."""

XDP_DETACHED = 0
XDP_MULTI = "multi"
XDP_MODES = {1: "drv", 2: "skb", 3: "hw", 4: XDP_MULTI}
"""XDP_ATTACHED_*."""

ETHERTYPES = {0x8100: "802.1Q", 0x88A8: "802.1ad"}
"""Protocols of VLAN tags."""

PEERED = frozenset({"veth", "vxcan", "netkit"})
"""Kinds of two ends: their IFLA_LINK is the other end."""
