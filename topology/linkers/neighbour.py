"""Neighbours on other hosts: an entry (IP, MAC) of one host's interface, and the interface of another that has them. Pure.

A MAC alone proves little: bridges have that of a port, virtual routers share one, containers of all hosts have the same. So
the interface with the IP is preferred; where two remain there is no edge. States of entries do not matter here: they change
all the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from skytrail.tid import host_of
from topology.facts import EdgeFact
from topology.linkers.interfaces import Interface, Interfaces
from topology.linkers.join import Key, Linker
from topology.path.encapsulation import parse

NO_MAC = frozenset({"", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an interface says of a MAC.

    Attributes:
        tid: of the interface.
        ips: that it has, if the MAC is its own; else the one that it looks for at the MAC.
        own: whether the MAC is its own.
    """

    tid: str
    ips: frozenset[str]
    own: bool


def read(interface: Interface, _: Interfaces) -> Iterator[tuple[Key, Evidence]]:
    """The interface's own MAC, and those of its neighbours."""
    if interface.data.mac not in NO_MAC:
        yield (interface.data.mac,), Evidence(interface.tid, frozenset(map(str, interface.addresses)), own=True)
    for entry in interface.data.neighbors:
        address = parse(entry.ip)
        if address is not None and entry.mac not in NO_MAC and entry.mac != interface.data.mac:
            yield (entry.mac,), Evidence(interface.tid, frozenset([str(address)]), own=False)


def join(_: Key, evidence: list[Evidence]) -> Iterator[EdgeFact]:
    """One edge for each pair of interfaces of two hosts, whichever looks for the other; the parent's TID is the lesser."""
    everybody, of_ip = _Holders(), defaultdict[str, _Holders](_Holders)
    for one in evidence:
        if one.own:
            for holders in (everybody, *(of_ip[ip] for ip in one.ips)):
                holders.add(one)
    for seeker in evidence:
        if not seeker.own:
            (ip,) = seeker.ips
            holder = (of_ip.get(ip) or everybody).meant_by(seeker)
            if holder is not None and host_of(holder.tid) != host_of(seeker.tid):
                parent, child = sorted([holder.tid, seeker.tid])
                yield EdgeFact(parent, child, "neighbour")


class _Holders:
    """Interfaces with one MAC: of containers, thousands may have the same."""

    def __init__(self) -> None:
        self._all: list[Evidence] = []
        self._of_host: dict[str, list[Evidence]] = {}

    def add(self, one: Evidence) -> None:
        self._all.append(one)
        self._of_host.setdefault(host_of(one.tid), []).append(one)

    def meant_by(self, seeker: Evidence) -> Evidence | None:
        """The one on the same host, if there are some; None: it is not clear."""
        near = self._of_host.get(host_of(seeker.tid)) or self._all
        return near[0] if len(near) == 1 else None


NEIGHBOUR = Linker("neighbour", read, join)
