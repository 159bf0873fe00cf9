"""Next hops: a gateway of an interface's routes, and the interface that has its address. Pure.

An address alone proves little, since many hosts have the same private ones: it is the one with the MAC of the neighbour entry;
without an entry the one in the same network, on the same host if one is there. Where two remain there is no edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from skytrail.tid import host_of
from topology.facts import EdgeFact
from topology.linkers.interfaces import Interface, Interfaces
from topology.linkers.join import Key, Linker
from topology.linkers.neighbour import NO_MAC
from topology.path.devices import parse_network
from topology.path.encapsulation import parse

_DEFAULTS = frozenset({"0.0.0.0/0", "::/0"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """An interface that has an address, or sends by it.

    Attributes:
        tid: of the interface.
        routes: that lead by the address; 0: it has the address itself.
        default: whether a default route is among them.
    """

    tid: str
    routes: int = 0
    default: bool = False


def read(interface: Interface, _: Interfaces) -> Iterator[tuple[Key, Evidence]]:
    """The interface's own addresses, with its MAC and with their networks; its gateways with what is known of each."""
    networks = {one: parse_network(f"{one}/{length}") for one, length in interface.addresses.items()}
    for address, network in networks.items():
        if interface.data.mac not in NO_MAC:
            yield (str(address), interface.data.mac), Evidence(interface.tid)
        yield (str(address), str(network)), Evidence(interface.tid)
    routes: Counter[str] = Counter()
    defaults = set()
    for table in interface.data.routing_tables:
        for route in table.routes:
            for gateway in {hop.ip for hop in route.next_hops if hop.ip and hop.if_index == interface.data.if_index}:
                routes[gateway] += 1
                if route.prefix in _DEFAULTS:
                    defaults.add(gateway)
    macs = {one.ip: one.mac for one in interface.data.neighbors if one.mac not in NO_MAC}
    for gateway, many in sorted(routes.items()):
        asked = parse(gateway)
        if asked is None:
            continue
        near = next((str(network) for network in networks.values() if network and asked in network), "")
        if known := macs.get(gateway) or near:
            yield (str(asked), known), Evidence(interface.tid, many, gateway in defaults)


def join(key: Key, evidence: list[Evidence]) -> Iterator[EdgeFact]:
    """From each interface that sends by the address to the one that has it."""
    holders = [one for one in evidence if not one.routes]
    for sender in evidence:
        if not sender.routes:
            continue
        others = [one for one in holders if one.tid != sender.tid]
        near = [one for one in others if host_of(one.tid) == host_of(sender.tid)] or others
        if len(near) == 1:
            said = {"Gateway": key[0], "Routes": sender.routes, **({"Default": True} if sender.default else {})}
            yield EdgeFact(sender.tid, near[0].tid, "nexthop", said, key=str(key[0]))


NEXT_HOP = Linker("nexthop", read, join)
