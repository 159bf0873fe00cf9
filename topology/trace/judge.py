"""What agents told of a conversation → where it went and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise, starmap

from topology.trace.collect import Evidence
from topology.trace.copies import without_copies
from topology.trace.counts import comparable
from topology.trace.graph import TracedGraph
from topology.trace.losses import NO_SOCKET, Cause, Drop, Holds, Loss, Vanishes, causes_of, happened, losses
from topology.trace.order import in_order
from topology.trace.result import Cause as ShownCause
from topology.trace.result import Loss as ShownLoss
from topology.trace.result import Point, Process, Trace, Tunnel, Way
from topology.trace.sightings import BACK, FORTH, End, Ends, Flow, Sighting, ends_of, sightings
from topology.trace.sightings import Tunnel as Carrier
from topology.trace.verdict import verdict
from topology.trace.words import Shown, loss_text

_BEGINNING = 1000
"""ms after an agent's start within which a conversation that it saw may have begun before."""

_BARE = 14 + 40 + 60
"""Bytes of Ethernet, IPv6 and TCP with its options: the longest segment without data."""


def judged(tracking: str, evidence: Evidence, graph: TracedGraph, conversations: Sequence[str] = ()) -> Trace:
    """The trace of a conversation."""
    turned = evidence.turned
    carriers = {uuid: flow for uuid, (_, flow) in evidence.carriers.items()}
    seen = sightings(evidence.flows, carriers, turned)
    later = _later(seen, evidence, carriers)
    outer = _given_to_tunnels(evidence.outer, seen, graph)
    outer |= {one.tunnel.tracking: _outer_ends(one) for one in seen if one.tunnel}
    causes = causes_of(happened([*evidence.drops, *evidence.outer], seen, opened=_opened(evidence)), turned, outer)
    whole = _whole([flow for _, flow in evidence.flows], turned, tracking)
    begun = min((one.start for one in seen), default=0)
    since, gaps = _late(evidence, begun)
    late = {tid for tid, name in evidence.hosts.items() if name in since.keys() | gaps.keys()}
    ways, found, counted = [], [], True
    for way, target in ((FORTH, whole.destination.address), (BACK, whole.source.address)):
        path = _on_the_way(in_order(seen, way), way, target, graph)
        hosts = {one.host for one in path}
        counts = {id(one): later[id(one)][way] for one in path if id(one) in later}
        there = [
            cause for cause in causes if (cause.place.host in hosts or not path) and not _of_bystander(cause, target, graph)
        ]
        ways.append(path)
        holds, compared = _holds(graph, seen, target), comparable(way, late, evidence.until)
        vanishes = _vanishes(graph, way, target, holds, evidence.missing)
        found.append(losses(path, way, counts, there, holds, vanishes, compared))
        counted = counted and all(starmap(compared, pairwise(path)))
    if not any(found) and (kept := _kept_out(ways[FORTH], evidence.refused, graph)) is not None:
        found[BACK].append(kept)
    shown = Shown(evidence.hosts, graph)
    said = [_way(shown, ways[way], way, found[way], arrives=_arrives(ways[way], whole, way, graph)) for way in (FORTH, BACK)]
    first = ways[FORTH][0] if ways[FORTH] else ways[BACK][-1] if ways[BACK] else None
    last = ways[BACK][0] if ways[BACK] else ways[FORTH][-1] if ways[FORTH] else None
    errors = tuple(dict.fromkeys(_icmp_text(flow) for _, flow in evidence.errors))
    dropped = max((int(one["Last"]) for _, one in evidence.drops), default=0)
    return Trace(
        tracking,
        tuple(sorted(turned.keys() - {tracking})),
        _protocol(first, evidence),
        str(whole.source),
        str(whole.destination),
        _process(shown, first, FORTH),
        _process(shown, last, BACK),
        min((one.start for one in seen), default=dropped),
        max((one.last for one in seen), default=dropped),
        first.rtt or None if first else None,
        said[FORTH],
        said[BACK],
        errors,
        verdict(shown, ways, found, said, evidence, whole, errors, counted=counted),
        dict(evidence.missing),
        since,
        gaps,
        tuple(conversations),
    )


def _whole(flows: Sequence[Flow], turned: Mapping[str, Ends], tracking: str) -> Ends:
    """Who opened the conversation, before any translation, and who was asked, behind all of them."""
    made = {str(flow["TrackingID"]) for flow in flows if "From" in (flow.get("NAT") or {})}
    becomes = {str(flow["TrackingID"]) for flow in flows if "To" in (flow.get("NAT") or {})}
    own = turned.get(tracking, _NOBODY)
    source = next((ends.source for one, ends in turned.items() if one not in made), own.source)
    destination = next((ends.destination for one, ends in turned.items() if one not in becomes), own.destination)
    return Ends(source, destination)


def _on_the_way(path: Sequence[Sighting], way: int, target: str, graph: TracedGraph) -> list[Sighting]:
    return without_copies(
        path,
        way,
        lambda one: bool(graph.holds(one.node, target)),
        lambda one: graph.is_host_of(one.node, target, one.macs[1 - way]),
        graph.holds,
        graph.peer,
    )


_NOBODY = Ends(End("", 0), End("", 0))


def _outer_ends(one: Sighting) -> Ends:
    assert one.tunnel
    return Ends(End(one.tunnel.source, 0), End(one.tunnel.destination, 0))


def _given_to_tunnels(drops: Sequence[tuple[str, Drop]], seen: Sequence[Sighting], graph: TracedGraph) -> dict[str, Ends]:
    """The ends, forth, of what a tunnel's end that saw the conversation gave to its host, which dropped it."""
    found: dict[str, Ends] = {}
    for host, one in drops:
        ends, number = ends_of(one), one["Network"].get("ID")
        for sighting in seen:
            if sighting.host != host or graph.number_of(sighting.node) != number:
                continue
            local = (graph.tunnel_from(sighting.node) or ("", "", ""))[2]
            if local in (ends.source.address, ends.destination.address):
                from_here = (sighting.hooks[FORTH] == "egress") == (local == ends.source.address)
                found[str(one["TrackingID"])] = ends if from_here else Ends(ends.destination, ends.source)
    return found


def _holds(graph: TracedGraph, seen: Sequence[Sighting], target: str) -> Holds:
    nodes: dict[tuple[str, str], list[str]] = {}
    for one in seen:
        nodes.setdefault(one.place, []).append(one.node)

    def holds(host: str, namespace: str) -> bool | None:
        told = {graph.holds(node, target) for node in nodes.get((host, namespace), ())} - {None}
        return True in told if told else None

    return holds


def _vanishes(graph: TracedGraph, way: int, target: str, holds: Holds, missing: Collection[str]) -> Vanishes:
    """Where nobody looks further on, or who does cannot be asked, nothing is known to vanish."""

    def vanishes(last: Sighting) -> bool:
        if End(target, 0).many or holds(last.host, last.namespace) is not False:
            return False
        if last.hooks[way] == "ingress":
            return not graph.is_broadcast(target) and not _handed_on(graph, last, way)
        given = bool(graph.holds(graph.peer(last.node), target))  # to a namespace that is not looked at
        return not given and graph.known(target) and graph.hosts_of(target).isdisjoint(missing)

    return vanishes


def _handed_on(graph: TracedGraph, last: Sighting, way: int) -> bool:
    """Whether what came in goes on to a namespace, or a program, where nobody looks."""
    if last.tunnel:
        return graph.opens_elsewhere(last.node, last.tunnel.number)
    return graph.hands_on(last.node, last.addresses(way)[1], last.macs[1 - way])


def _kept_out(forth: Sequence[Sighting], refused: Mapping[str, int], graph: TracedGraph) -> Loss | None:
    """What an interface did not take from its cable, which no kernel that is asked tells of: TCP's data that never came.

    The last one forth leads to where nobody looks, takes less than others, refused something, and let only bare headers in.
    """
    last = forth[-1] if forth else None
    if last is None or last.hooks[FORTH] != "egress" or not refused.get(last.node):
        return None
    behind = max((graph.mtu_of(one.node) for one in forth if one.tunnel is None), default=0)
    bare = 0 < last.bytes[BACK] <= _BARE * last.packets[BACK] and any("TCPMetric" in one for one in last.records)
    return Loss(BACK, None, last, 0, ()) if bare and graph.mtu_of(last.node) < behind else None


def _of_bystander(cause: Cause, target: str, graph: TracedGraph) -> bool:
    """Of what is for many, those who do not listen lose nothing."""
    return cause.reason == NO_SOCKET and (End(target, 0).many or graph.is_broadcast(target))


def _late(evidence: Evidence, begun: int) -> tuple[dict[str, int], dict[str, list[tuple[int, int]]]]:
    """From when on hosts remember, and times in which no agent ran there, as far as the conversation was there before."""
    since = {host: since for host, since in evidence.since.items() if since > begun - _BEGINNING}
    return since, {host: sorted(gaps) for host, gaps in evidence.gaps.items() if any(end >= begun for _, end in gaps)}


def _opened(evidence: Evidence) -> bool:
    """Whether somebody answered a SYN."""
    flags = ((flow.get("TCPMetric") or {}).get(f"{way}Flags", "") for _, flow in evidence.flows for way in ("AB", "BA"))
    return any({"SYN", "ACK"} <= set(str(one).split("|")) for one in flags) and any(
        (flow.get("TCPMetric") or {}).get("SynAckRTT") for _, flow in evidence.flows
    )


def _later(seen: Sequence[Sighting], evidence: Evidence, carriers: Mapping[str, Flow]) -> dict[int, tuple[int, int]]:
    """Packets at the second look."""
    again = {_key(one): one for one in sightings(evidence.later, carriers, evidence.turned)} if evidence.later else {}
    return {
        id(one): (max(other.packets.forth, one.packets.forth), max(other.packets.back, one.packets.back))
        for one in seen
        if (other := again.get(_key(one))) is not None
    }


def _key(one: Sighting) -> tuple[str, ...]:
    return one.host, one.node, one.tracking, one.tunnel.tracking if one.tunnel else ""


def _protocol(first: Sighting | None, evidence: Evidence) -> str:
    record = first.records[-1] if first else next((one for _, one in evidence.drops), {})
    transport = record.get("Transport")
    return str(transport["Protocol"]) if transport else str(record.get("LayersPath", "")).rsplit("/", 1)[-1]


def _way(shown: Shown, path: Sequence[Sighting], way: int, found: Sequence[Loss], *, arrives: bool | None) -> Way:
    numbers = {id(one): number for number, one in enumerate(path)}
    lost = {id(loss.before) for loss in found}
    points = [
        _point(shown, one, way, before, same=id(one) not in lost) for one, before in zip(path, [None, *path], strict=False)
    ]
    told = tuple(
        ShownLoss(
            loss.packets,
            numbers[id(loss.after)] if loss.after else None,
            numbers[id(loss.before)] if loss.before else None,
            tuple(_cause(shown, cause, way) for cause in loss.causes),
            loss_text(shown, loss, way),
        )
        for loss in found
    )
    return Way(tuple(points), told, arrives)


def _arrives(path: Sequence[Sighting], whole: Ends, way: int, graph: TracedGraph) -> bool | None:
    return graph.holds(path[-1].node, (whole.destination if way == FORTH else whole.source).address) if path else False


def _point(shown: Shown, one: Sighting, way: int, before: Sighting | None, *, same: bool) -> Point:
    """``same``: what was seen first here was so before, too."""
    source, destination = one.ends if way == FORTH else one.ends[::-1]
    tunnel = one.tunnel
    since = round_trip = None
    if before is not None and before.host == one.host:
        # the first packet went forth: of the way back there is no time of its own
        if way == FORTH and same and 0 < before.first <= one.first:
            since = one.first - before.first
    elif before is not None and before.rtt and one.rtt:
        nearer = before.rtt - one.rtt if way == FORTH else one.rtt - before.rtt
        round_trip = nearer if nearer >= 0 else None  # of a SYN that came twice, and the like
    return Point(
        shown.host(one.host),
        one.namespace,
        one.interface,
        one.node,
        shown.graph.type_of(one.node),
        one.hooks[way],
        one.packets[way],
        one.bytes[way],
        one.ttl[way],
        one.tracking,
        str(source),
        str(destination),
        _carrier(tunnel, way) if tunnel else None,
        since,
        round_trip,
    )


def _carrier(tunnel: Carrier, way: int) -> Tunnel:
    source, destination = (tunnel.source, tunnel.destination) if way == FORTH else (tunnel.destination, tunnel.source)
    return Tunnel(tunnel.kind, tunnel.number, source, destination, tunnel.ttl[way], tunnel.tracking)


def _cause(shown: Shown, cause: Cause, way: int) -> ShownCause:
    place = cause.place
    return ShownCause(cause.reason, cause.packets[way], shown.host(place.host), place.namespace, place.interface, cause.outer)


def _icmp_text(flow: Flow) -> str:
    icmp, ends = flow.get("ICMP") or {}, ends_of(flow)
    kind = str(icmp.get("Type", "")).replace("_", " ").lower()
    return (
        f"{ends.source.address} said to {ends.destination.address}: {kind}, type {icmp.get('Number')} code {icmp.get('Code')}"
    )


def _process(shown: Shown, one: Sighting | None, way: int) -> Process:
    """Whose an end is: of the record that knows."""
    if one is None:
        return Process()
    for record in reversed(one.records):
        turned = ends_of(record).source == one.ends.source
        side = "A" if turned == (way == FORTH) else "B"
        told = (record.get("Process") or {}).get(side)
        if told:
            container, pod = ((record.get(key) or {}).get(side) or {} for key in ("Container", "Pod"))
            return Process(
                shown.host(one.host),
                str(told.get("Name", "")),
                int(told.get("Pid", 0)),
                str(container.get("Name", "")),
                "/".join(str(pod[key]) for key in ("Namespace", "Name") if pod.get(key)),
            )
    return Process(shown.host(one.host))
