"""Tunnels: two ends whose addresses, VNI or key, and port fit each other; and the interface that has an end's address. Pure.

A tunnel is there when each of its ends sends to the other: by the remote end that it was made with, or a forwarding entry.
Members of one multicast group know each other by that. What an end that takes its remote from each packet (``external``)
sends to is known by its forwarding entries alone. Where rules of OpenFlow give the number, it fits any that the other end has;
where they give the address, too, those that send to that end are known, and not whom it sends to.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from topology.facts import EdgeFact
from topology.linkers.interfaces import Interface, Interfaces
from topology.linkers.join import Key, Linker
from topology.path.devices import Address, Tunnel
from topology.path.encapsulation import DEFAULT_PORTS, parse
from topology.path.ovstunnels import OF_RULES

_MOST_LOCALS = 16  # addresses of a namespace that an end without one of its own may send from
_MOST_MEMBERS = 16  # of a multicast group: more are not linked each with each
_GROUP = "group"
_ANY, _TO = "any", "to"
"""In the place of the number: ends whose numbers may come from rules; who sends to an end whose addresses do."""

_UNDERLAY = "underlay"


Number: TypeAlias = "int | str | None"


@dataclass(frozen=True, slots=True)
class End:
    """One end, as one key sees it.

    Attributes:
        tid: of its interface.
        beneath: ID of the owner that its packets leave from.
        local: its address.
        ikey: the key that it takes; None: none; "flow": any.
        okey: the key that it sends.
        takes_all: from whom it takes, and to whom it sends, rules say.
    """

    tid: str
    beneath: str
    local: str
    ikey: Number = None
    okey: Number = None
    takes_all: bool = False


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
    yield from _of_rules(interface, tunnel, beneath, [local] if local else found, (kind, port))
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
    if first == _GROUP:
        yield from _join_group({**said, "VNI": label}, str(second), ends)
    elif label == _TO:
        yield from _join_takers(said, str(first), ends)
    else:
        if label not in (None, _ANY):
            said["VNI"] = label
        left, right = ([end for end in ends if end.local == address] for address in (first, second))
        fitting = [(a, b) for a in left for b in right if _fit(a, b)]
        by_keys: dict[tuple[Number, Number], list[tuple[End, End]]] = {}
        for a, b in _only_of_rules(fitting) if label == _ANY else fitting:
            by_keys.setdefault((_agreed(a.okey, b.ikey), _agreed(b.okey, a.ikey)), []).append((a, b))
        for (there, back), pairs in sorted(by_keys.items(), key=repr):
            if len(pairs) == 1:
                [(a, b)] = pairs
                yield EdgeFact(a.tid, b.tid, "tunnel", {**said, **_numbers(kind, there, back), "Endpoints": [first, second]})


def _join_group(said: dict[str, Any], group: str, ends: list[End]) -> Iterator[EdgeFact]:
    if len(ends) <= _MOST_MEMBERS:
        for one, other in itertools.combinations(sorted(ends, key=lambda end: end.tid), 2):
            if one.beneath != other.beneath:
                yield EdgeFact(one.tid, other.tid, "tunnel", {**said, "Group": group})


def _join_takers(said: dict[str, Any], address: str, ends: list[End]) -> Iterator[EdgeFact]:
    """Those that send to an end to which rules say from whom it takes, with that."""
    senders = {end.tid: end for end in sorted(ends, key=lambda end: end.local, reverse=True) if not end.takes_all}
    takers = [end for end in ends if end.takes_all]
    for taker in takers if len({end.beneath for end in takers}) == 1 else ():  # else it is not known whose the address is
        for sender in senders.values():
            if sender.beneath != taker.beneath and _fit(sender, taker):
                there, back = _agreed(sender.okey, taker.ikey), _agreed(taker.okey, sender.ikey)
                numbers = _numbers(said["Kind"], there, back)
                more = {"Endpoints": [sender.local, address], "Remote": OF_RULES}
                yield EdgeFact(sender.tid, taker.tid, "tunnel", {**said, **numbers, **more})


def _fit(one: End, other: End) -> bool:
    return all(
        sent == taken or (OF_RULES in (sent, taken) and None not in (sent, taken))
        for sent, taken in ((one.okey, other.ikey), (other.okey, one.ikey))
    )


def _agreed(sent: Number, taken: Number) -> Number:
    """The number of packets from one end to the other."""
    return taken if sent == OF_RULES else sent


def _only_of_rules(fitting: list[tuple[End, End]]) -> list[tuple[End, End]]:
    """Pairs of which one end's number comes from rules, but of ends that fit each other without: these take the packets."""
    fixed = {end for pair in fitting for end in pair if not any(OF_RULES in (one.ikey, one.okey) for one in pair)}
    return [(a, b) for a, b in fitting if a not in fixed and b not in fixed]


def _numbers(kind: Hashable, there: Number, back: Number) -> dict[str, Number]:
    """As an edge says them."""
    if there is None:
        return {}
    if there != back:
        return {"Key": there, "KeyBack": back}
    return {"VNI" if kind in DEFAULT_PORTS and there != OF_RULES else "Key": there}


def _of_rules(
    interface: Interface, tunnel: Tunnel, beneath: str, locals_: list[Address], place: tuple[str, int]
) -> Iterator[tuple[Key, End]]:
    """What an end with one remote end, or with one that rules give, is to those whose numbers, or addresses, rules give."""
    remote, takes_all = parse(tunnel.remote), tunnel.remote == OF_RULES
    ikey = OF_RULES if tunnel.in_of_rules else tunnel.ikey if tunnel.id is None else tunnel.id
    okey = OF_RULES if tunnel.out_of_rules else tunnel.okey if tunnel.id is None else tunnel.id
    for own in locals_ if remote is not None or takes_all else ():
        end = End(interface.tid, beneath, str(own), ikey, okey, takes_all)
        if takes_all:
            yield (*place, _TO, str(own), ""), end
        elif remote is not None and own.version == remote.version and own != remote:
            yield (*place, _ANY, *map(str, sorted([own, remote]))), end
            yield (*place, _TO, str(remote), ""), end


def _remotes(interface: Interface, tunnel: Tunnel) -> set[tuple[Address, int | None]]:
    """Unicast addresses that it sends to, and with which VNI, if rules do not say that."""
    found: set[tuple[Address, int | None]] = set()
    if (remote := parse(tunnel.remote)) is not None and not (tunnel.in_of_rules or tunnel.out_of_rules):
        found.add((remote, tunnel.id))
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
