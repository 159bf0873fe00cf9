"""A bridge's own data and its ports'. Sources: linux/if_link.h (IFLA_BR_*, IFLA_BRPORT_*), linux/if_bridge.h.

Times are in seconds (the kernel gives 1/100 s). Timers, topology changes that are under way, counts of entries and
memberships, and the address of the momentary querier change by themselves and are left out.
"""

from __future__ import annotations

import struct

from topology.probes.netlink.fields import Fields, be16, choice, divided, flags, mac, some, switch, u8, u16, u32, u64, unpack
from topology.probes.netlink.linknames import ETHERTYPES

_PORT_STATES = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
_ROUTER_MODES = {0: "never", 1: "auto", 2: "permanent", 3: "temporary"}
_OPTIONS = {0x1: "no_linklocal_learn", 0x2: "mcast_vlan_snooping", 0x4: "mst_enabled"}

_ID = struct.Struct("=2s6s")
_seconds32 = divided(u32, 100)
_seconds64 = divided(u64, 100)


def _bridge_id(value: bytes) -> str:
    """Struct ifla_bridge_id: priority, then MAC, ``8000.02:00:…``."""
    priority, mac_address = unpack(_ID, value, "bridge's identity")
    return f"{priority.hex()}.{mac_address.hex(':')}"


BRIDGE = Fields(
    (1, "ForwardDelay", _seconds32),  # IFLA_BR_FORWARD_DELAY
    (2, "HelloTime", _seconds32),  # IFLA_BR_HELLO_TIME
    (3, "MaxAge", _seconds32),  # IFLA_BR_MAX_AGE
    (4, "AgeingTime", _seconds32),  # IFLA_BR_AGEING_TIME
    (5, "STPState", u32),  # IFLA_BR_STP_STATE: 0 off, 1 in the kernel, 2 by a daemon
    (6, "Priority", u16),  # IFLA_BR_PRIORITY
    (7, "VlanFiltering", switch()),  # IFLA_BR_VLAN_FILTERING
    (8, "VlanProtocol", choice(be16, ETHERTYPES)),  # IFLA_BR_VLAN_PROTOCOL
    (9, "GroupFwdMask", u16),  # IFLA_BR_GROUP_FWD_MASK
    (10, "RootID", _bridge_id),  # IFLA_BR_ROOT_ID
    (11, "BridgeID", _bridge_id),  # IFLA_BR_BRIDGE_ID
    (12, "RootPort", u16),  # IFLA_BR_ROOT_PORT
    (13, "RootPathCost", u32),  # IFLA_BR_ROOT_PATH_COST
    (20, "GroupAddr", mac),  # IFLA_BR_GROUP_ADDR
    (22, "McastRouter", choice(u8, _ROUTER_MODES)),  # IFLA_BR_MCAST_ROUTER
    (23, "McastSnooping", switch()),  # IFLA_BR_MCAST_SNOOPING
    (24, "McastQueryUseIfAddr", switch()),  # IFLA_BR_MCAST_QUERY_USE_IFADDR
    (25, "McastQuerier", switch()),  # IFLA_BR_MCAST_QUERIER
    (27, "McastHashMax", u32),  # IFLA_BR_MCAST_HASH_MAX
    (28, "McastLastMemberCount", u32),  # IFLA_BR_MCAST_LAST_MEMBER_CNT
    (29, "McastStartupQueryCount", u32),  # IFLA_BR_MCAST_STARTUP_QUERY_CNT
    (30, "McastLastMemberInterval", _seconds64),  # IFLA_BR_MCAST_LAST_MEMBER_INTVL
    (31, "McastMembershipInterval", _seconds64),  # IFLA_BR_MCAST_MEMBERSHIP_INTVL
    (32, "McastQuerierInterval", _seconds64),  # IFLA_BR_MCAST_QUERIER_INTVL
    (33, "McastQueryInterval", _seconds64),  # IFLA_BR_MCAST_QUERY_INTVL
    (34, "McastQueryResponseInterval", _seconds64),  # IFLA_BR_MCAST_QUERY_RESPONSE_INTVL
    (35, "McastStartupQueryInterval", _seconds64),  # IFLA_BR_MCAST_STARTUP_QUERY_INTVL
    (36, "NfCallIptables", switch()),  # IFLA_BR_NF_CALL_IPTABLES
    (37, "NfCallIp6tables", switch()),  # IFLA_BR_NF_CALL_IP6TABLES
    (38, "NfCallArptables", switch()),  # IFLA_BR_NF_CALL_ARPTABLES
    (39, "VlanDefaultPVID", u16),  # IFLA_BR_VLAN_DEFAULT_PVID
    (41, "VlanStatsEnabled", switch()),  # IFLA_BR_VLAN_STATS_ENABLED
    (42, "McastStatsEnabled", switch()),  # IFLA_BR_MCAST_STATS_ENABLED
    (43, "McastIGMPVersion", u8),  # IFLA_BR_MCAST_IGMP_VERSION
    (44, "McastMLDVersion", u8),  # IFLA_BR_MCAST_MLD_VERSION
    (45, "VlanStatsPerPort", switch()),  # IFLA_BR_VLAN_STATS_PER_PORT
    (46, "Options", flags(u32, _OPTIONS)),  # IFLA_BR_MULTI_BOOLOPT: struct br_boolopt_multi: optval, optmask
)

BRIDGE_PORT = Fields(
    (1, "State", choice(u8, _PORT_STATES)),  # IFLA_BRPORT_STATE
    (2, "Priority", u16),  # IFLA_BRPORT_PRIORITY
    (3, "Cost", u32),  # IFLA_BRPORT_COST
    (4, "Hairpin", switch()),  # IFLA_BRPORT_MODE
    (5, "Guard", switch()),  # IFLA_BRPORT_GUARD
    (6, "RootBlock", switch()),  # IFLA_BRPORT_PROTECT
    (7, "FastLeave", switch()),  # IFLA_BRPORT_FAST_LEAVE
    (8, "Learning", switch()),  # IFLA_BRPORT_LEARNING
    (9, "UnicastFlood", switch()),  # IFLA_BRPORT_UNICAST_FLOOD
    (10, "ProxyARP", switch()),  # IFLA_BRPORT_PROXYARP
    (12, "ProxyARPWifi", switch()),  # IFLA_BRPORT_PROXYARP_WIFI
    (13, "DesignatedRoot", _bridge_id),  # IFLA_BRPORT_ROOT_ID
    (14, "DesignatedBridge", _bridge_id),  # IFLA_BRPORT_BRIDGE_ID
    (15, "DesignatedPort", u16),  # IFLA_BRPORT_DESIGNATED_PORT
    (16, "DesignatedCost", u16),  # IFLA_BRPORT_DESIGNATED_COST
    (17, "PortID", u16),  # IFLA_BRPORT_ID
    (18, "PortNo", u16),  # IFLA_BRPORT_NO
    (25, "McastRouter", choice(u8, _ROUTER_MODES)),  # IFLA_BRPORT_MULTICAST_ROUTER
    (27, "McastFlood", switch()),  # IFLA_BRPORT_MCAST_FLOOD
    (28, "McastToUnicast", switch()),  # IFLA_BRPORT_MCAST_TO_UCAST
    (29, "VlanTunnel", switch()),  # IFLA_BRPORT_VLAN_TUNNEL
    (30, "BroadcastFlood", switch()),  # IFLA_BRPORT_BCAST_FLOOD
    (31, "GroupFwdMask", u16),  # IFLA_BRPORT_GROUP_FWD_MASK
    (32, "NeighSuppress", switch()),  # IFLA_BRPORT_NEIGH_SUPPRESS
    (33, "Isolated", switch()),  # IFLA_BRPORT_ISOLATED
    (34, "BackupPort", some(u32)),  # IFLA_BRPORT_BACKUP_PORT: ifindex
    (37, "McastHostsLimit", u32),  # IFLA_BRPORT_MCAST_EHT_HOSTS_LIMIT
    (39, "Locked", switch()),  # IFLA_BRPORT_LOCKED
)
