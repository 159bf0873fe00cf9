"""Why packets vanished where the kernel says no reason, or where its reason is another's fault: by the graph. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from topology.trace.graph import TracedGraph
from topology.trace.losses import NO_SOCKET, SAYS_NOTHING, Cause, Loss
from topology.trace.sightings import BACK, FORTH, End, Ends, Sighting

NO_SUCH_NETWORK = "VXLAN_VNI_NOT_FOUND"
"""The kernel's, of a VNI that it has no device for."""

NO_WAY_OUT = "NO_TX_TARGET"
"""The kernel's, of a tunnel or bridge that knows no receiver for a frame."""

MTU, NO_ROUTE, VNI, VLAN, NOT_TRANSLATED = "MTU", "NO_ROUTE", "VNI", "VLAN", "NOT_TRANSLATED"
"""Ours: too long for the next interface; routes that lead nowhere; a tunnel's end with a number that no other one has; ports of
Open vSwitch whose VLANs do not go together; an answer that reached the translator and was not translated back."""

WRONG_MAC, NO_WAY, NO_NEIGHBOUR = "WRONG_MAC", "NO_WAY", "NO_NEIGHBOUR"
"""Ours: frames are sent to a MAC that is not the next hop's; by the graph the way ends, as ``skytrail path`` says it; nobody
has the address that is asked for."""

_NEIGHBOUR = frozenset({"NEIGH_FAILED", "NEIGH_QUEUEFULL", "NEIGH_DEAD"})
"""The kernel's: nobody answered who has the next hop's address."""

_VAGUE = _NEIGHBOUR | {SAYS_NOTHING, NO_WAY_OUT, "IP_INADDRERRORS", "IP_INHDR", "DEV_READY", "OTHERHOST"}
"""The kernel's, of which the graph may say why: it has no way, a TTL has ended, an interface is down, a MAC is another's."""

_ETHERNET = 14
_OVERHEAD = {"vxlan": (36, 56), "geneve": (36, 56), "gre": (24, 44), "gretap": (24, 44)}
"""Bytes of IP and what is behind it before the inner frame, over IPv4 and IPv6, by the kind of tunnel."""


class Why(NamedTuple):
    """A reason, and where it lies.

    Attributes:
        reason: the kernel's word, or ours; empty: not known.
        host: Name.
        namespace: label.
        interface: name; empty: none in particular.
        words: what there is to say of it; empty: the reason says it all.
    """

    reason: str
    host: str
    namespace: str
    interface: str
    words: str = ""


def why(
    loss: Loss, graph: TracedGraph, name: str, ways: Sequence[Sequence[Sighting]], ends: Ends, node: str = ""
) -> Why | None:
    """What explains a loss better than its first cause; None: nothing does.

    Args:
        loss: what vanished.
        graph: as of then.
        name: of the host where it vanished.
        ways: the points forth and back, in order.
        ends: of the conversation, forth.
        node: TID of the interface where it vanished before anybody saw it; empty: not known.
    """
    forth, path = ways[FORTH], ways[loss.way]
    reasons = {cause.reason for cause in loss.causes} - {SAYS_NOTHING}
    after = loss.after
    if after is None:
        return (
            _too_long_before(loss, graph, path)
            or _wrong_vlan(loss, graph, name, path)
            or (_stopped(loss, graph, name, ends, node) if reasons <= _VAGUE else None)
        )
    if NO_SUCH_NETWORK in reasons and after.tunnel:
        return _odd_number(loss.way, after, graph, name)
    translated = {(one.place, other.tracking) for one, other in pairwise(forth) if one.tracking != other.tracking}
    if loss.way == BACK and reasons <= {NO_SOCKET} and (after.place, after.tracking) in translated:
        return Why(
            NOT_TRANSLATED, name, after.namespace, after.interface, f"the answer to {_end(after, BACK)} is not translated back"
        )
    if reasons - _VAGUE:
        return _wrong_vlan(loss, graph, name, path)
    return (
        wrong_mac(loss.way, path, graph)
        or _too_long(loss, graph)
        or _wrong_vlan(loss, graph, name, path)
        or no_route(after, loss.way, graph, name)
        or _stopped(loss, graph, name, ends, after.node)
    )


def wrong_mac(way: int, path: Sequence[Sighting], graph: TracedGraph) -> Why | None:
    """The first interface of a way that sends frames to who is not the next hop."""
    for one in path:
        place = graph.place_of(one.node)
        if place is None or one.hooks[way] == "ingress":
            continue
        if words := graph.wrong_mac(one.node, *one.addresses(way), one.frame(way)):
            return Why(WRONG_MAC, *place, words)
    return None


def _stopped(loss: Loss, graph: TracedGraph, name: str, ends: Ends, node: str) -> Why | None:
    """Where, by the graph, the way ends: there where packets vanished, or where nobody answers who has the next address."""
    source, destination = (end.address for end in (ends if loss.way == FORTH else ends[::-1]))
    here = loss.after.addresses(loss.way) if loss.after else (source, destination)
    found, reasons = graph.stop(node, *here), {cause.reason for cause in loss.causes}
    asked = loss.after is None or bool(reasons & _NEIGHBOUR)
    near = {(name, cause.place.namespace) for cause in loss.causes}
    near |= {place[:2] for one in (loss.after, loss.before) if one and (place := graph.place_of(one.node))}
    beyond = loss.before is None and found is not None and node in found.nodes
    if found is not None and (asked or beyond or found.place[:2] in near):
        return Why(NO_WAY, *found.place, found.words)
    if found is not None or not asked:
        return None
    there = (graph.named(name, cause.place.namespace or "", cause.place.interface) for cause in loss.causes)
    for one in dict.fromkeys((*there, node)):
        place = graph.place_of(one)
        if place and (nobody := graph.nobody(one, source, destination)):
            return Why(NO_NEIGHBOUR, *place, f"no interface of the graph has {nobody}")
    return None


def _too_long_before(loss: Loss, graph: TracedGraph, path: Sequence[Sighting]) -> Why | None:
    """The first interface that is looked at takes less than the next one: what is longer never came in."""
    first = loss.before
    behind = [graph.mtu_of(one.node) for one in path if one is not first and one.tunnel is None]
    place = graph.place_of(first.node) if first else None
    if first is None or place is None or not 0 < graph.mtu_of(first.node) < max(behind, default=0):
        return None
    return Why(MTU, *place, f"{place[2]} takes no more than {graph.mtu_of(first.node)} bytes, what is behind it more")


def _end(one: Sighting, way: int) -> End:
    return one.ends.destination if way == FORTH else one.ends.source


def _odd_number(way: int, after: Sighting, graph: TracedGraph, name: str) -> Why | None:
    """The sender's tunnel, where nobody else has its number; else it is the receiver's that is another."""
    assert after.tunnel
    number = after.tunnel.number
    sender = graph.holder(after.tunnel.begin(way))
    others = [one for one in graph.tunnels(number) if sender is None or one[0] != sender[0]]
    if sender is None or others:
        return None
    mine = next((one for one in graph.tunnels(number) if one[0] == sender[0]), (*sender, ""))
    return Why(VNI, *mine, f"nobody else has a tunnel with the number {number}, and {name} drops it")


def _too_long(loss: Loss, graph: TracedGraph) -> Why | None:
    """An interface that takes only shorter packets than those that are missing."""
    after, before, way = loss.after, loss.before, loss.way
    assert after
    packets = after.packets[way] - (before.packets[way] if before else 0)
    length = (after.bytes[way] - (before.bytes[way] if before else 0)) / max(packets, 1) - _ETHERNET
    source, destination = _end(after, 1 - way).address, _end(after, way).address
    if after.tunnel:
        length += _around(after.tunnel.kind, after.tunnel.source)
        source, destination = after.tunnel.begin(way), after.tunnel.end(way)
    elif (local := graph.tunnel_from(after.node)) is not None:  # it is to go into a tunnel there
        node, kind, address = local
        mtu, place, whole = graph.mtu_of(node), graph.place_of(node), length + _around(kind, address)
        if mtu and place and whole > mtu:
            return Why(MTU, *place, f"{place[2]} takes no more than {mtu} bytes, and {whole:.0f} were to be sent")
    told = [_node_of(cause, graph, after) for cause in loss.causes]
    nodes = [*told, *map(graph.peer, told), after.node, graph.peer(after.node), before.node if before else ""]
    for node in (*nodes, graph.next(after.node, source, destination)):
        mtu, place = graph.mtu_of(node), graph.place_of(node)
        if node and mtu and place and length > mtu:
            return Why(MTU, *place, f"{place[2]} takes no more than {mtu} bytes, and {length:.0f} were sent")
    return None


def _wrong_vlan(loss: Loss, graph: TracedGraph, name: str, path: Sequence[Sighting]) -> Why | None:
    """Open vSwitch, which tells no kernel what it drops, lets the packets through by no port that leads there.

    What the kernel says counts for more, unless it is of a place where the packets have no business: they are in another VLAN.
    """
    one, way = loss.after or next(iter(path), None), loss.way
    found = graph.misfit(one.node, _end(one, 1 - way).address, _end(one, way).address) if one else None
    if found is None:
        return None
    said = [cause for cause in loss.causes if cause.reason != SAYS_NOTHING]
    strayed = (cause.reason == NO_WAY_OUT or (name, cause.place.namespace) not in found.passed for cause in said)
    return Why(VLAN, *found.place, found.words) if all(strayed) else None


def _around(kind: str, address: str) -> int:
    """Bytes that a tunnel puts around an IP packet that came in an Ethernet frame, without its own Ethernet header."""
    overhead = _OVERHEAD.get(kind.lower())
    return 0 if overhead is None else _ETHERNET + overhead[":" in address]


def _node_of(cause: Cause, graph: TracedGraph, near: Sighting) -> str:
    place = graph.place_of(near.node)
    if place is None or cause.place.host != near.host or cause.place.namespace is None:
        return ""
    return graph.named(place[0], cause.place.namespace, cause.place.interface)


def no_route(one: Sighting, way: int, graph: TracedGraph, name: str, *, own: bool = False) -> Why | None:
    """Routes of a point's namespace that lead nowhere, of what it is to send on a way; ``own``: as its sender."""
    source, destination = _end(one, 1 - way).address, _end(one, way).address
    if one.tunnel:
        source, destination = one.tunnel.begin(way), one.tunnel.end(way)
    elif not own and not graph.has_mac(one.node, one.macs[1 - way]):  # it is bridged here
        return None
    refused = graph.refuses(one.node, source, destination)
    return Why(NO_ROUTE, name, one.namespace, "", f"to {destination}: {refused}") if refused else None
