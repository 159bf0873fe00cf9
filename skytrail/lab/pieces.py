"""Lines of shell that plans share."""

from __future__ import annotations

from collections.abc import Mapping

from skytrail.lab.plan import Family, Translator

OFFLOADS = "tx off gso off tso off gro off"
"""Without them every packet is as long as the cable allows, and has the checksum that it has on a real one."""

QUIET = (
    "ip link set lo up",
    "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0",
    "for one in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$one; done",
    "sysctl -qw net.ipv6.conf.default.router_solicitations=0",
    "for one in /proc/sys/net/ipv6/conf/*/router_solicitations; do echo 0 >$one; done",
    "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0",
    "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
)
"""The same wherever the laboratory is built, whatever this machine has set."""

FORWARD = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"


def addresses(interface: str, given: Mapping[Family, str]) -> list[str]:
    """Lines that give an interface its addresses (with their lengths) and set it up."""
    lines = [f"ip address add {address} dev {interface}{' nodad' if family == 6 else ''}" for family, address in given.items()]
    return [*lines, f"ip link set {interface} up"]


def bridge(name: str, ports: tuple[str, ...] = ()) -> list[str]:
    """Lines that make a bridge."""
    made = [f"ip link add {name} type bridge forward_delay 0 mcast_snooping 0", f"ip link set {name} up"]
    return made + [f"ip link set {port} master {name} up" for port in ports]


def workload(name: str, given: Mapping[Family, str], gateway: Mapping[Family, str]) -> list[str]:
    """Lines that make a workload's namespace with ``eth0``, whose other end on the host bears its name."""
    inside = [*QUIET, *addresses("eth0", given)]
    inside += [f"ip{'' if family == 4 else ' -6'} route add default via {address}" for family, address in gateway.items()]
    return [
        f"ip netns add {name}",
        f"ip link add {name} type veth peer name eth0 netns {name}",
        f"ip link set {name} up",
        f"ip netns exec {name} sh -e -c '{'; '.join([*inside, f'ethtool -K eth0 {OFFLOADS} >/dev/null'])}'",
        f"ethtool -K {name} {OFFLOADS} >/dev/null",
    ]


def translating(translator: Translator) -> list[str]:
    """Lines that make its rules."""
    return [
        "nft add table inet nat",
        "nft add chain inet nat postrouting '{ type nat hook postrouting priority srcnat; }'",
        *(f"nft add rule inet nat postrouting {rule}" for rule in translator.rules),
    ]
