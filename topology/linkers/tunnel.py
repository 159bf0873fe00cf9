"""Tunnels: two ends whose addresses, VNI or key, and port fit each other; and the interface that has an end's address. Pure.

A tunnel is there when each of its ends sends to the other: by the remote end that it was made with, or a forwarding entry.
Members of one multicast group know each other by that. What an end that takes its remote from each packet (``external``)
sends to is known by its forwarding entries alone. Ends whose numbers come from rules of OpenFlow fit each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from topology.facts import EdgeFact
from topology.linkers.interfaces import Interface, Interfaces
from topology.linkers.join import Key, Linker
from topology.path.devices import Address, Tunnel
from topology.path.encapsulation import DEFAULT_PORTS, parse

_MOST_LOCALS = 16  # addresses of a namespace that an end without one of its own may send from
_MOST_MEMBERS = 16  # of a multicast group: more are not linked each with each
OF_RULES = "flow"
"""In the place of a number that rules of OpenFlow give to each packet; as Open vSwitch has it."""

_GROUP = "group"
_UNDERLAY = "underlay"


@dataclass(frozen=True, slots=True)
class End:
    """One end, as one key sees it.

    Attributes:
        tid: of its interface.
        beneath: ID of the owner that its packets leave from.
        local: its address.
        ikey: the key that it takes; None: none.
        okey: the key that it sends.
    """

    tid: str
    beneath: str
    local: str
    ikey: int | None = None
    okey: int | None = None


def read(interface: Interface, interfaces: Interfaces) -> Iterator[tuple[Key, End]]:
    """Where an end sends to, from each address that it may send from."""
    tunnel = interface.data.tunnel_data
    beneath = interfaces.beneath(interface)
    if tunnel is None or not beneath:
        return
    kind = interface.data.type
    port = tunnel.port or DEFAULT_PORTS.get(kind, 0)
    local = parse(tunnel.local)
    found = _locals(tunnel, beneath, interfaces)
    for remote, label in sorted(_remotes(interface, tunnel), key=repr):
        for own in [local] if local else found:
            if own.version == remote.version and own != remote:
                pair = sorted([own, remote])
                yield (
                    (kind, port, label, str(pair[0]), str(pair[1])),
                    End(interface.tid, beneath, str(own), tunnel.ikey, tunnel.okey),
                )
    if group := parse(tunnel.group):
        yield (kind, port, tunnel.id, _GROUP, str(group)), End(interface.tid, beneath, str(local or ""))
    if local is not None:
        for holder in interfaces.of(beneath):
            if local in holder.addresses:
                yield (_UNDERLAY, interface.tid), End(holder.tid, beneath, str(local))


def join(key: Key, ends: list[End]) -> Iterator[EdgeFact]:
    """Ends that fit; of more than one pair of the same addresses it is not known which belong together."""
    if key[0] == _UNDERLAY:
        for holder in ends:
            yield EdgeFact(holder.tid, str(key[1]), _UNDERLAY, {"Address": holder.local})
        return
    kind, port, label, first, second = key
    said = {"Kind": kind, **({"Port": port} if port != 0 else {})}
    if label is not None:
        said["Key" if label == OF_RULES else "VNI"] = label
    if first == _GROUP:
        if len(ends) <= _MOST_MEMBERS:
            for one, other in itertools.combinations(sorted(ends, key=lambda end: end.tid), 2):
                if one.beneath != other.beneath:
                    yield EdgeFact(one.tid, other.tid, "tunnel", {**said, "Group": second})
        return
    left, right = ([end for end in ends if end.local == address] for address in (first, second))
    fitting = [(a, b) for a in left for b in right if (a.okey, b.okey) == (b.ikey, a.ikey)]
    by_keys = {
        (a.okey, b.okey): [pair for pair in fitting if (pair[0].okey, pair[1].okey) == (a.okey, b.okey)] for a, b in fitting
    }
    for (there, back), pairs in sorted(by_keys.items(), key=repr):
        if len(pairs) == 1:
            [(a, b)] = pairs
            keys = {} if there is None else {"Key": there} if there == back else {"Key": there, "KeyBack": back}
            yield EdgeFact(a.tid, b.tid, "tunnel", {**said, **keys, "Endpoints": [first, second]})


def _remotes(interface: Interface, tunnel: Tunnel) -> set[tuple[Address, int | str | None]]:
    """Unicast addresses that it sends to, and with which VNI."""
    found: set[tuple[Address, int | str | None]] = set()
    if (remote := parse(tunnel.remote)) is not None:
        found.add((remote, OF_RULES if tunnel.of_rules else tunnel.id))
    if interface.data.vxlan is not None:
        for entry in interface.data.fdb:
            address, label = parse(entry.ip), tunnel.id if entry.vni is None else entry.vni
            if address is not None and not address.is_multicast and label is not None:
                found.add((address, label))
    return found


def _locals(tunnel: Tunnel, beneath: str, interfaces: Interfaces) -> list[Address]:
    """Addresses that an end without one of its own may send from."""
    there = [one for one in interfaces.of(beneath) if not tunnel.link or one.data.if_index == tunnel.link]
    usable = (address for one in there for address in one.addresses if not (address.is_loopback or address.is_link_local))
    return sorted(usable, key=lambda address: (address.version, int(address)))[:_MOST_LOCALS]


TUNNEL = Linker("tunnel", read, join)
