"""A namespace with routes, rules and neighbours of all sorts, and what ``ip -N`` says of them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.netlab import Net

COMMANDS = (
    "link add name left type veth peer name right",
    "link set dev left up",
    "link set dev right up",
    "address add 10.1.0.1/24 dev left",
    "address add 2001:db8::1/64 dev left nodad",
    "route add 10.5.0.0/16 via 10.1.0.254 dev left proto 42 metric 20 mtu 1300 advmss 1200 hoplimit 9 src 10.1.0.1",
    "route add 10.5.0.0/16 tos 0x10 dev left",
    "route add default via 10.1.0.253 metric 5",
    "route add 10.6.0.0/16 nexthop via 10.1.0.2 dev left weight 3 nexthop via 10.1.0.3 dev left onlink",
    "route add 10.7.0.0/16 via inet6 fe80::1 dev left table 1000",
    "route add blackhole 10.8.0.0/16",
    "route add throw 10.9.0.0/16 table 99999",
    "nexthop add id 5 via 10.1.0.77 dev left",
    "route add 10.10.0.0/16 nhid 5",
    "route add unreachable 2001:db8:8::/48",
    "route add 2001:db8:5::/48 nexthop via 2001:db8::2 dev left weight 2 nexthop via 2001:db8::3 dev left",
    "route add 2001:db8:6::/48 from 2001:db8::/64 dev left",
    "-6 route add default via fe80::5 dev right pref high",
    "rule add from 10.0.0.0/8 to 10.2.0.0/16 iif left fwmark 0x5/0xff table 1000 priority 100 suppress_prefixlength 0 tos 0x10",
    "rule add not oif right priority 101 goto 32766",
    "rule add priority 102 ipproto tcp sport 10-20 dport 80 uidrange 1-5 table 99999 protocol 42",
    "rule add priority 103 blackhole from 10.3.0.0/24",
    "rule add priority 104 l3mdev",
    "rule add priority 106 lookup 9 suppress_ifgroup 42",
    "-6 rule add from 2001:db8::/32 priority 105 prohibit",
)


def make_routes(net: Net) -> tuple[str, dict[str, int]]:
    """The namespace, and the numbers of its links."""
    netns = net.netns("r", ipv6=True)
    for command in COMMANDS:
        net.ip(command, netns=netns)
    return netns, {link["ifname"]: link["ifindex"] for link in numeric_json(netns, "link")}


def numeric_json(netns: str, *words: str) -> list[dict[str, Any]]:
    """What ``ip -N -j`` says in a namespace, names left as numbers."""
    done = subprocess.run(["ip", "-n", netns, "-N", "-j", *words], check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found
