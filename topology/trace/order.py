"""In which order capture points saw a packet. Pure.

On one host its clock tells: each record has the time of its first packet. Between hosts no clock is trusted. There the packet
tells: a router takes one from its TTL, one within the tunnel's network from the tunnel's; and the nearer a point is to
who was asked, the shorter the round trip from there. A host's points are cut where a packet left it and came back (by a TTL
that fell meanwhile): these *visits* are what is ordered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from topology.trace.sightings import BACK, FORTH, Sighting

_ORIGIN, _BEFORE, _INSIDE, _BEHIND, _END = range(5)
"""Of a visit: the packet begins there; it is not in a tunnel, or goes into one; it is in one; it leaves one; it ends there."""


def in_order(seen: Iterable[Sighting], way: int) -> list[Sighting]:
    """Those that saw packets of one way, in the order in which these passed."""
    there = [one for one in seen if one.packets[way]]
    visits = [visit for host in _by_host(there) for visit in _visits(host, way)]
    visits.sort(key=lambda visit: _rank(visit, way))
    return [one for visit in visits for one in visit]


def _by_host(seen: Iterable[Sighting]) -> Iterable[list[Sighting]]:
    hosts: dict[str, list[Sighting]] = {}
    for one in seen:
        hosts.setdefault(one.host, []).append(one)
    return hosts.values()


def _visits(seen: Sequence[Sighting], way: int) -> list[list[Sighting]]:
    """A host's points in order, cut where the packet was elsewhere meanwhile.

    The first packet at a point went forth wherever any did: where points saw both ways the way back is the way forth reversed.
    """
    forth = sorted(seen, key=lambda one: (one.packets[FORTH] == 0, one.first))
    ordered = forth if way == FORTH else _backwards(forth)
    found: list[list[Sighting]] = []
    for one in ordered:
        if found and not _left(found[-1][-1], one, way):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _backwards(forth: Sequence[Sighting]) -> list[Sighting]:
    """Points that only the way back had find their place among those that both ways had by TTL, or as the way in."""
    both = [one for one in reversed(forth) if one.packets[FORTH]]
    for one in sorted((one for one in forth if not one.packets[FORTH]), key=lambda one: one.first):
        both.insert(next((place for place, other in enumerate(both) if _is_before(one, other, BACK)), len(both)), one)
    return both


def _is_before(one: Sighting, other: Sighting, way: int) -> bool:
    """Whether a packet passed one point of a host before another, by what it says itself."""
    ours, theirs = _ttl(one, way), _ttl(other, way)
    if bool(one.tunnel) is bool(other.tunnel) and ours != theirs:
        return 0 < theirs < ours
    return one.hooks[way] == "ingress" and other.hooks[way] != "ingress"


def _ttl(one: Sighting, way: int) -> int:
    """What routers on the way count down."""
    return one.tunnel.ttl[way] if one.tunnel else one.ttl[way]


def _left(one: Sighting, other: Sighting, way: int) -> bool:
    """Whether between two points of a host a packet was on another."""
    if one.hooks[way] == "ingress" or other.hooks[way] == "egress":
        return False
    return bool(one.tunnel) is bool(other.tunnel) and _ttl(other, way) < _ttl(one, way)


def _rank(visit: Sequence[Sighting], way: int) -> tuple[int, int, int, int]:
    first, last = visit[0], visit[-1]
    rtt = first.rtt if way == FORTH else -first.rtt
    return -first.ttl[way], _part(first, last, way), -(first.tunnel.ttl[way] if first.tunnel else 0), -rtt


def _part(first: Sighting, last: Sighting, way: int) -> int:
    """Of the way between two routers, of which the packet's own TTL tells nothing."""
    if first.hooks[way] != "ingress":
        return _ORIGIN
    if last.hooks[way] == "ingress":
        return _END
    if not first.tunnel:
        return _BEFORE
    return _INSIDE if last.tunnel else _BEHIND
