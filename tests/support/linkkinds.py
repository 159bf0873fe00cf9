"""Links of every kind, as ``ip`` makes them: what the decoder of links is tested with, here and in the virtual machines."""

from __future__ import annotations

from collections.abc import Collection

from support.netlab import Net

LOWER = ("link add name low type veth peer name low2", "link set dev low up", "address add 192.0.2.1/24 dev low nodad")
"""What the others lie upon."""

HERE: dict[str, tuple[str, ...]] = {
    "bridge": (
        (
            "link add name brd type bridge stp_state 1 ageing_time 1234 forward_delay 700 hello_time 100 max_age 900"
            " priority 4096 mcast_snooping 0 group_fwd_mask 8 no_linklocal_learn 1 mcast_hash_max 512 nf_call_iptables 1"
        ),
        "link add name port type veth peer name port2",
        "link add name spare type veth peer name spare2",
        "link set dev spare master brd",
        "link set dev port master brd",
        (
            "link set dev port type bridge_slave hairpin on guard on root_block on learning off flood off isolated on cost 7"
            " priority 5 mcast_router 2 mcast_flood off bcast_flood off fastleave on proxy_arp on neigh_suppress on"
            " mcast_to_unicast on backup_port spare"
        ),
        "link set dev brd up",
    ),
    "vxlan": (
        (
            "link add name vx6 type vxlan id 9 remote 2001:db8::2 local 2001:db8::1 dstport 4789 ttl 3 tos 4 srcport 1000 2000"
            " nolearning proxy rsc l2miss l3miss ageing 100 maxaddress 50 udp6zerocsumtx udp6zerocsumrx gbp df set flowlabel 5"
        ),
        "link add name vxg type vxlan id 10 group 239.1.1.1 dev low dstport 4790 ttl inherit",
        "link add name vxr type vxlan id 11 remote 192.0.2.7 local 192.0.2.1 dev low dstport 4792 noudpcsum df inherit",
        "link add name vxe type vxlan external dstport 4791",
    ),
    "macvlan": (
        "link add name mv link low2 type macvlan mode vepa",
        "link add name ms link low2 type macvlan mode source",
        "link set dev ms type macvlan macaddr add 02:00:00:00:00:aa",
        "link set dev ms type macvlan macaddr add 02:00:00:00:00:bb",
    ),
    "macvtap": ("link add name mt link low2 type macvtap mode private",),
    "tun": ("tuntap add dev tn mode tun", "tuntap add dev tp mode tap multi_queue vnet_hdr pi user 33 group 34"),
    "ifb": ("link add name ib type ifb",),
    "device": (
        "link set dev low alias the-lower-one",
        "link property add dev low altname one altname two",
        "link set dev low txqueuelen 77 mtu 1400 promisc on",
        "link set dev low group 42",
    ),
}
"""Kind → commands, for the kinds that also small kernels have."""

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "dummy": ("link add name du type dummy",),
    "filtering bridge": (
        "link add name vbr type bridge vlan_filtering 1 vlan_default_pvid 5 vlan_protocol 802.1ad mcast_vlan_snooping 0",
        "link add name vbp type dummy",
        "link set dev vbp master vbr",
    ),
    "vlan": (
        "link add link low name vl type vlan id 77 protocol 802.1ad egress-qos-map 1:2 3:4 ingress-qos-map 5:6 gvrp on mvrp on",
        "link add link low name vq type vlan id 5 reorder_hdr off loose_binding on",
    ),
    "macvlan passthru": (
        "link add name mpl type dummy",
        "link add link mpl name mp type macvlan mode passthru nopromisc",
    ),
    "ipvlan": ("link add name ivl type dummy", "link add link ivl name iv type ipvlan mode l3s vepa"),
    "ipvtap": ("link add name itl type dummy", "link add link itl name it type ipvtap mode l2 private"),
    "bond": (
        (
            "link add name bo0 type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4 ad_actor_sys_prio 100"
            " ad_user_port_key 3 min_links 1 updelay 200 downdelay 300 ad_select bandwidth"
        ),
        (
            "link add name bo1 type bond mode active-backup arp_interval 60000 arp_ip_target 192.0.2.7,192.0.2.8"
            " arp_validate all arp_all_targets all primary_reselect better fail_over_mac active"
        ),
        "link add name bo2 type bond mode balance-alb tlb_dynamic_lb 0 resend_igmp 3 num_grat_arp 4 all_slaves_active 1",
        "link add name bp0 type dummy",
        "link add name bp1 type dummy",
        "link set dev bp0 master bo0",
        "link set dev bp1 master bo1",
        "link set dev bo0 up",
    ),
    "team": ("link add name te type team", "link add name tep type dummy", "link set dev tep master te"),
    "gre": (
        "link add name g1 type gre local 192.0.2.1 remote 192.0.2.2 key 7 csum seq ttl 9 tos 4 dev low",
        "link add name g8 type gre external",
    ),
    "gretap": (
        (
            "link add name g2 type gretap remote 192.0.2.2 local 192.0.2.1 ikey 1 okey 2 encap fou encap-sport auto"
            " encap-dport 5555 encap-csum fwmark 5"
        ),
        "link add name g9 type gretap remote 192.0.2.2 local 192.0.2.1 nopmtudisc ignore-df ikey 4",
    ),
    "erspan": (
        "link add name g3 type erspan local 192.0.2.1 remote 192.0.2.3 seq key 5 erspan_ver 1 erspan 123",
        "link add name g4 type erspan local 192.0.2.1 remote 192.0.2.4 seq key 6 erspan_ver 2 erspan_dir egress erspan_hwid 4",
    ),
    "ip6gre": (
        "link add name g5 type ip6gre local 2001:db8::1 remote 2001:db8::2 key 8 hoplimit 5 encaplimit 3 flowlabel 0x12",
    ),
    "ip6gretap": ("link add name g6 type ip6gretap local 2001:db8::1 remote 2001:db8::3 encaplimit none dscp inherit",),
    "ip6erspan": (
        (
            "link add name g7 type ip6erspan local 2001:db8::1 remote 2001:db8::4 seq key 9 erspan_ver 2 erspan_dir ingress"
            " erspan_hwid 5"
        ),
    ),
    "ipip": (
        "link add name i1 type ipip local 192.0.2.1 remote 192.0.2.9 ttl 7 mode ipip",
        "link add name i4 type ipip external",
    ),
    "sit": (
        "link add name i2 type sit local 192.0.2.1 remote 192.0.2.9 mode any dev low",
        "link add name i5 type sit local 192.0.2.1 isatap",
        "link add name i6 type sit local 192.0.2.3 ttl 64",
        "tunnel 6rd dev i6 6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8",
    ),
    "ip6tnl": (
        (
            "link add name i3 type ip6tnl local 2001:db8::1 remote 2001:db8::5 mode any tclass inherit dscp inherit"
            " allow-localremote"
        ),
    ),
    "vti": ("link add name v4 type vti local 192.0.2.1 remote 192.0.2.9 key 77",),
    "vti6": ("link add name v6 type vti6 local 2001:db8::1 remote 2001:db8::6 ikey 78 okey 79 dev low",),
    "xfrm": ("link add name xf type xfrm dev low if_id 42",),
    "geneve": (
        "link add name gn type geneve id 33 remote 192.0.2.5 dstport 6082 ttl 3 tos 5 df set udpcsum",
        "link add name gm type geneve id 34 remote 2001:db8::7 ttl inherit flowlabel 7 udp6zerocsumtx",
        "link add name ge type geneve external dstport 6083",
    ),
    "vrf": (
        "link add name vr type vrf table 1234",
        "link add name vrp type dummy",
        "link set dev vrp master vr",
    ),
    "gtp": ("link add name gt type gtp role sgsn hsize 512 restart_count 3",),
    "netkit": ("link add name nk type netkit",),
    "nlmon": ("link add name nm type nlmon",),
    "wireguard": ("link add name wg type wireguard",),
    "vcan": ("link add name vc type vcan",),
    "vxcan": ("link add name xc type vxcan peer name xd",),
    "macsec": (
        "link add link low name se type macsec port 3 cipher gcm-aes-256 encrypt on replay on window 32 validate check",
    ),
    "hsr": (
        "link add name hs1 type dummy",
        "link add name hs2 type dummy",
        "link add name hs type hsr slave1 hs1 slave2 hs2 supervision 69 version 1",
    ),
}
"""Kind → commands, for the kinds that need a distribution's kernel."""


MODULES = ("tun", "fou")
"""What no ``ip link add`` loads by itself."""


def make_links(net: Net, netns: str, *, everything: bool, without: Collection[str] = ()) -> None:
    """Make links of the kinds that every kernel of ours has, or also of all the others, but some (6.1 lacks hsr, netkit)."""
    if everything:
        net.run("", "modprobe", "-a", *MODULES)
    kinds = HERE | ELSEWHERE if everything else HERE
    for commands in (LOWER, *(commands for kind, commands in kinds.items() if kind not in without)):
        for command in commands:
            net.ip(command, netns=netns)
