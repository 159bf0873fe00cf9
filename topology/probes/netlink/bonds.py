"""A bond's own data and its members'. Sources: linux/if_link.h (IFLA_BOND_*), linux/if_bonding.h, iproute2 (iplink_bond.c).

Names are the kernel's; those of a member's state are Skydive's. Times are in ms, lists of targets without empty places.
"""

from __future__ import annotations

from topology.probes.netlink.fields import Fields, address, choice, listed, mac, nested, s32, some, switch, u8, u16, u32

_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
_ARP_VALIDATE = ("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")
_HASH_POLICIES = ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")
_AD_SELECT = ("stable", "bandwidth", "count", "prio")


def _names(*names: str) -> dict[int, str]:
    return dict(enumerate(names))


BOND_MODE = Fields((1, "BondMode", choice(u8, _names(*_MODES))))  # IFLA_BOND_MODE

_AD_INFO = Fields(
    (1, "Aggregator", u16),  # IFLA_BOND_AD_INFO_AGGREGATOR
    (2, "NumPorts", u16),  # IFLA_BOND_AD_INFO_NUM_PORTS
    (3, "ActorKey", u16),  # IFLA_BOND_AD_INFO_ACTOR_KEY
    (4, "PartnerKey", u16),  # IFLA_BOND_AD_INFO_PARTNER_KEY
    (5, "PartnerMAC", mac),  # IFLA_BOND_AD_INFO_PARTNER_MAC
)

BOND = Fields(
    (2, "ActiveSlave", some(u32)),  # IFLA_BOND_ACTIVE_SLAVE: ifindex
    (3, "Miimon", u32),  # IFLA_BOND_MIIMON
    (4, "UpDelay", u32),  # IFLA_BOND_UPDELAY
    (5, "DownDelay", u32),  # IFLA_BOND_DOWNDELAY
    (6, "UseCarrier", switch()),  # IFLA_BOND_USE_CARRIER
    (7, "ArpInterval", u32),  # IFLA_BOND_ARP_INTERVAL
    (8, "ArpIPTargets", listed(address)),  # IFLA_BOND_ARP_IP_TARGET
    (9, "ArpValidate", choice(u32, _names(*_ARP_VALIDATE))),  # IFLA_BOND_ARP_VALIDATE
    (10, "ArpAllTargets", choice(u32, _names("any", "all"))),  # IFLA_BOND_ARP_ALL_TARGETS
    (11, "Primary", some(u32)),  # IFLA_BOND_PRIMARY: ifindex
    (12, "PrimaryReselect", choice(u8, _names("always", "better", "failure"))),  # IFLA_BOND_PRIMARY_RESELECT
    (13, "FailOverMAC", choice(u8, _names("none", "active", "follow"))),  # IFLA_BOND_FAIL_OVER_MAC
    (14, "XmitHashPolicy", choice(u8, _names(*_HASH_POLICIES))),  # IFLA_BOND_XMIT_HASH_POLICY
    (15, "ResendIGMP", u32),  # IFLA_BOND_RESEND_IGMP
    (16, "NumPeerNotif", u8),  # IFLA_BOND_NUM_PEER_NOTIF
    (17, "AllSlavesActive", switch()),  # IFLA_BOND_ALL_SLAVES_ACTIVE
    (18, "MinLinks", u32),  # IFLA_BOND_MIN_LINKS
    (19, "LpInterval", u32),  # IFLA_BOND_LP_INTERVAL
    (20, "PacketsPerSlave", u32),  # IFLA_BOND_PACKETS_PER_SLAVE
    (21, "LacpRate", choice(u8, _names("slow", "fast"))),  # IFLA_BOND_AD_LACP_RATE
    (22, "AdSelect", choice(u8, _names(*_AD_SELECT))),  # IFLA_BOND_AD_SELECT
    (23, "AdInfo", nested(_AD_INFO)),  # IFLA_BOND_AD_INFO
    (24, "AdActorSysPrio", u16),  # IFLA_BOND_AD_ACTOR_SYS_PRIO
    (25, "AdUserPortKey", u16),  # IFLA_BOND_AD_USER_PORT_KEY
    (26, "AdActorSystem", mac),  # IFLA_BOND_AD_ACTOR_SYSTEM
    (27, "TlbDynamicLb", switch()),  # IFLA_BOND_TLB_DYNAMIC_LB
    (28, "PeerNotifDelay", u32),  # IFLA_BOND_PEER_NOTIF_DELAY
    (29, "LacpActive", switch()),  # IFLA_BOND_AD_LACP_ACTIVE
    (30, "MissedMax", u8),  # IFLA_BOND_MISSED_MAX
    (31, "NsIP6Targets", listed(address)),  # IFLA_BOND_NS_IP6_TARGET
)


def _member(found: dict[str, object]) -> dict[str, object]:
    return {"Type": "bond", **found}


BOND_SLAVE = Fields(
    (1, "State", choice(u8, _names("ACTIVE", "BACKUP"))),  # IFLA_BOND_SLAVE_STATE
    (2, "MiiStatus", choice(u8, _names("UP", "GOING_DOWN", "DOWN", "GOING_BACK"))),  # IFLA_BOND_SLAVE_MII_STATUS
    (3, "LinkFailureCount", u32),  # IFLA_BOND_SLAVE_LINK_FAILURE_COUNT
    (4, "PermMAC", mac),  # IFLA_BOND_SLAVE_PERM_HWADDR
    (5, "QueueId", u16),  # IFLA_BOND_SLAVE_QUEUE_ID
    (6, "AggregatorId", u16),  # IFLA_BOND_SLAVE_AD_AGGREGATOR_ID
    (7, "AdActorOperPortState", u8),  # IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE
    (8, "AdPartnerOperPortState", u16),  # IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE
    (9, "Prio", s32),  # IFLA_BOND_SLAVE_PRIO
    shape=_member,
)
