"""Copies of packets that a switch, or a tunnel, gave to all because it did not know whose they are: off the way. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topology.trace.sightings import Sighting

Asked = Callable[[Sighting], bool]


def without_copies(
    path: Sequence[Sighting],
    way: int,
    arrives: Asked,
    expected: Asked,
    holds: Callable[[str, str], bool | None],
    peer: Callable[[str], str],
) -> list[Sighting]:
    """The points of a way that lead to its end.

    A place (namespace) that packets came into and never left is the end, or a dead end. Dead ends are left out, and what leads
    only there, where the packets are known to have come to their end elsewhere. Where they did not, they vanished in one of the
    dead ends: that where they were expected.

    Args:
        path: points in order.
        way: which.
        arrives: whether a point is in the place that the packets are for.
        expected: whether the host of a point is one that the packets are for, or that is to hand them on.
        holds: whether the namespace of an interface (TID) has an address.
        peer: the other end of a pair of interfaces.
    """
    points = list(path)
    while True:
        dead = [one for one in _last_of_places(points) if one.hooks[way] == "ingress" and not arrives(one)]
        if not any(map(arrives, points)):
            if len(dead) < 2:
                return points
            dead.remove(max(dead, key=lambda one: (expected(one), points.index(one))))
        if not dead:
            return points
        gone = {one.place for one in dead}
        ports = {peer(one.node) for one in points if one.place in gone} - {""}
        nodes = {one.place: one.node for one in dead}
        kept = [
            one
            for one in points
            if one.place not in gone
            and not (one.node in ports and one.hooks[way] == "egress")
            and not (one.tunnel and any(holds(node, one.tunnel.end(way)) for node in nodes.values()))
        ]
        if len(kept) == len(points) or not kept:
            return points
        points = kept


def _last_of_places(points: Sequence[Sighting]) -> list[Sighting]:
    return list({one.place: one for one in points}.values())
