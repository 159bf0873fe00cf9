"""Who answers for an address that others have: proxy ARP, proxy NDP. Pure.

Sources: net/ipv4/arp.c (arp_process, arp_fwd_proxy), net/ipv6/ndisc.c (ndisc_recv_ns), ip-neighbour(8).
"""

from __future__ import annotations

from topology.path.devices import Address, Device, parse_address
from topology.path.packets import Packet
from topology.path.routing import Chosen, Router

_PROXY = "NTF_PROXY"


def answers(device: Device, router: Router, target: Address, vrf: Device | None) -> bool:
    """Whether a device answers who has an address that its namespace does not have.

    Args:
        device: that hears the question.
        router: of its namespace.
        target: the address.
        vrf: that the device is in.
    """
    named = any(_PROXY in one.flags and parse_address(one.ip) == target for one in device.data.neighbors)
    settings = device.data.net_conf.of(target)
    if not (named or settings.proxy_neigh) or not settings.forwarding:
        return False
    if target.version == 6:
        return named and settings.proxy_neigh
    route = router.choose(Packet(None, target), came_by=device, vrf=vrf)
    return isinstance(route, Chosen) and not route.type and bool(route.hops) and route.hops[0][1] is not device
