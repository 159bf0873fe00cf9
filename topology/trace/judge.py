"""What agents told of a conversation → where it went and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise, starmap

import msgspec

from topology.trace.collect import Evidence
from topology.trace.copies import without_copies
from topology.trace.counts import comparable
from topology.trace.explain import Why, no_route, why, wrong_mac
from topology.trace.graph import TracedGraph
from topology.trace.losses import NO_SOCKET, Cause, Drop, Holds, Loss, Place, Vanishes, causes_of, happened, losses, unanswered
from topology.trace.order import in_order
from topology.trace.result import Cause as ShownCause
from topology.trace.result import Loss as ShownLoss
from topology.trace.result import Point, Process, Trace, Tunnel, Verdict, Way
from topology.trace.sightings import BACK, FORTH, End, Ends, Flow, Sighting, ends_of, sightings
from topology.trace.sightings import Tunnel as Carrier

_WAYS = ("forth", "back")
ACCEPT_QUEUE_FULL = "ACCEPT_QUEUE_FULL"
"""Ours, where the kernel tells none: it takes a SYN for consumed that a listener had no room for."""


_BEGINNING = 1000
"""ms after an agent's start within which a conversation that it saw may have begun before."""

_ANSWERED = frozenset({"ECHO", "TIMESTAMP", "INFO", "ADDRESS_MASK"})
"""Types of ICMP of which question and answer are one conversation."""

ZERO_WINDOW = "ZERO_WINDOW"
"""Ours: TCP's receiver has no room."""

_AGAIN = 2  # SYN-ACKs: the first one may be on its way still

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what a listener says

_BARE = 14 + 40 + 60
"""Bytes of Ethernet, IPv6 and TCP with its options: the longest segment without data."""

NO_ANSWER = "NO_ANSWER"
"""Ours: packets arrived, or left for where nobody looks, and none came back."""


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
    shown = _Shown(evidence.hosts, graph)
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
        _verdict(shown, ways, found, said, evidence, whole, errors, counted=counted),
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


class _Shown:
    """Words for places."""

    def __init__(self, hosts: Mapping[str, str], graph: TracedGraph) -> None:
        self._hosts, self.graph = hosts, graph

    def host(self, tid: str) -> str:
        return self._hosts.get(tid, tid)

    def place(self, host: str, namespace: str | None, interface: str = "") -> str:
        words = [self.host(host)]
        if namespace:
            words.append(namespace)
        if interface:
            words.append(interface)
        return " ".join(words)

    def point(self, one: Sighting) -> str:
        return self.place(one.host, one.namespace, one.interface)


def _way(shown: _Shown, path: Sequence[Sighting], way: int, found: Sequence[Loss], *, arrives: bool | None) -> Way:
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
            _loss_text(shown, loss, way),
        )
        for loss in found
    )
    return Way(tuple(points), told, arrives)


def _arrives(path: Sequence[Sighting], whole: Ends, way: int, graph: TracedGraph) -> bool | None:
    return graph.holds(path[-1].node, (whole.destination if way == FORTH else whole.source).address) if path else False


def _point(shown: _Shown, one: Sighting, way: int, before: Sighting | None, *, same: bool) -> Point:
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


def _cause(shown: _Shown, cause: Cause, way: int) -> ShownCause:
    place = cause.place
    return ShownCause(cause.reason, cause.packets[way], shown.host(place.host), place.namespace, place.interface, cause.outer)


def _packets(count: int) -> str:
    return {0: "packets", 1: "a packet"}.get(count, f"{count} packets")


def _where(shown: _Shown, loss: Loss) -> str:
    if loss.causes:
        place = loss.causes[0].place
        return f"in {shown.place(place.host, place.namespace, place.interface)}"
    if loss.after is None:
        return f"before {shown.point(loss.before)}" if loss.before else "before any capture point"
    if loss.before is None:
        return f"after {shown.point(loss.after)}"
    if loss.after.place == loss.before.place:
        return f"in {shown.place(*loss.after.place)} between {loss.after.interface} and {loss.before.interface}"
    return f"between {shown.point(loss.after)} and {shown.point(loss.before)}"


def _loss_text(shown: _Shown, loss: Loss, way: int) -> str:
    reasons = ", ".join(dict.fromkeys(cause.reason for cause in loss.causes)) or "the kernels say no reason"
    count = loss.packets or sum(cause.packets[way] for cause in loss.causes)
    return f"{_packets(count)} {_WAYS[way]} lost {_where(shown, loss)}: {reasons}"


def _verdict(
    shown: _Shown,
    ways: Sequence[Sequence[Sighting]],
    found: Sequence[Sequence[Loss]],
    said: Sequence[Way],
    evidence: Evidence,
    ends: Ends,
    errors: Sequence[str],
    *,
    counted: bool,
) -> Verdict:
    if not any(ways) and not any(found):
        return Verdict("unknown", "no agent has seen such a conversation: 'skytrail path' says whether there is a way for it")
    silent = unanswered(*ways)
    bad = _refused(shown, found[FORTH], evidence, ends) or (_full(shown, evidence, ways[FORTH], ends) if silent else None)
    for way in (FORTH, BACK):
        bad = bad or (_lost(shown, found[way], ways, errors, ends) if found[way] else None)
    bad = bad or (_astray(shown, ways[FORTH]) if silent else _not_taken(shown, ways))
    if bad is not None:
        return msgspec.structs.replace(bad, text=bad.text + _held_twice(shown, ways[FORTH], ends))
    if silent:
        return _unanswered(shown, ways[FORTH][-1], ends.destination, errors, arrives=bool(said[FORTH].arrives))
    text = "no loss is seen; an end lies where no agent looks"
    if said[FORTH].arrives and said[BACK].arrives:
        text = (
            "every packet arrived, both ways"
            if counted
            else "packets arrive, both ways; not every point counted all of them, and each once"
        )
    return _slow(shown, ways, text) or Verdict("well", text)


def _slow(shown: _Shown, ways: Sequence[Sequence[Sighting]], text: str) -> Verdict | None:
    """All is well with packets, but an end says that it has no room for more: its program does not read."""
    for way, path in enumerate(ways):
        if path and (count := path[0].zero_windows(way)):
            one, name = path[0], path[0].ends[way].address
            text += f"; {name} said {_times(count)} that it has no room (zero window): its program reads too slowly"
            return Verdict("well", text, _WAYS[1 - way], shown.host(one.host), one.namespace, one.interface, ZERO_WINDOW)
    return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _unanswered(shown: _Shown, last: Sighting, destination: End, errors: Sequence[str], *, arrives: bool) -> Verdict:
    if destination.many or shown.graph.is_broadcast(destination.address) or _is_one_way(last.records[-1]):
        return Verdict("well", f"no loss is seen up to {shown.point(last)}; to such packets there is no answer")
    if arrives and (refused := no_route(last, BACK, shown.graph, shown.host(last.host), own=True)) is not None:
        text = f"packets arrive at {shown.point(last)}, and there is no way back: {refused.reason} {refused.words}"
        return Verdict("lost", text, "back", refused.host, refused.namespace, "", refused.reason)
    if arrives or last.hooks[FORTH] == "ingress":
        text = f"packets arrive at {shown.point(last)}, and nothing comes back"
    else:
        source, to = last.ends
        text = f"packets leave {shown.point(last)} as {source} → {to}, where no agent looks, and nothing comes back"
    text += f" ({errors[0]})" if errors else ""
    return Verdict("unanswered", text, "back", shown.host(last.host), last.namespace, last.interface, NO_ANSWER)


def _is_one_way(record: Flow) -> bool:
    """Whether what answers it, if anything does, is a conversation of its own, as with ARP and errors of ICMP."""
    return not record.get("Network") or (record.get("ICMP") or {}).get("Type", "ECHO") not in _ANSWERED


def _refused(shown: _Shown, found: Sequence[Loss], evidence: Evidence, ends: Ends) -> Verdict | None:
    for cause in (cause for loss in found for cause in loss.causes):
        if cause.reason == NO_SOCKET and not cause.outer:
            place = cause.place
            text = f"nothing listens on {ends.destination} in {shown.place(place.host, place.namespace)}: {cause.reason}"
            text += _elsewhere(evidence, place, ends.destination.port)
            return Verdict("refused", text, "forth", shown.host(place.host), place.namespace, place.interface, cause.reason)
    return None


def _elsewhere(evidence: Evidence, place: Place, port: int) -> str:
    """Who listens on the same port, by another address."""
    for host, one in evidence.sockets:
        there, address = (host, str(one.get("Namespace", ""))), str(one.get("LocalAddress"))
        if there == (place.host, place.namespace) and one.get("State") == "LISTEN" and int(one.get("LocalPort", 0)) == port:
            where = "by now" if address in _EVERYWHERE else f"on {End(address, port)} only"
            return f"; {one.get('Name') or 'a program'} listens {where}"
    return ""


def _full(shown: _Shown, evidence: Evidence, forth: Sequence[Sighting], ends: Ends) -> Verdict | None:
    """A listener, where the packets are for, whose accept queue has no more room."""
    holder = shown.graph.holder(ends.destination.address)
    arrived = [one.place for one in forth[-1:] if shown.graph.holds(one.node, ends.destination.address)]
    for host, one in evidence.sockets:
        if one.get("State") != "LISTEN" or int(one.get("LocalPort", 0)) != ends.destination.port:
            continue
        place = host, str(one.get("Namespace", ""))
        if place not in arrived and (shown.host(host), place[1]) != holder:
            continue
        waiting, most = int(one.get("ReceiveQueue", 0)), int(one.get("SendQueue", 0))
        if waiting > most and str(one.get("LocalAddress")) in _EVERYWHERE | {ends.destination.address}:
            namespace = str(one.get("Namespace", ""))
            name = str(one.get("Name") or "the program")
            text = (
                f"{name} in {shown.place(host, namespace)} does not accept what connects to {ends.destination}: "
                f"{waiting} connections wait, {most} may"
            )
            return Verdict("lost", text, "forth", shown.host(host), namespace, "", ACCEPT_QUEUE_FULL)
    return None


def _held_twice(shown: _Shown, forth: Sequence[Sighting], ends: Ends) -> str:
    """Who else of the sender's neighbours has the address that packets came to."""
    others = shown.graph.rivals(forth[-1].node, ends.source.address, ends.destination.address) if forth else []
    return f"; {ends.destination.address} is also that of {' and '.join(others)}" if others else ""


def _astray(shown: _Shown, forth: Sequence[Sighting]) -> Verdict | None:
    """Packets are sent to a wrong MAC: who they are for may see them, and does not take them."""
    found = wrong_mac(FORTH, forth, shown.graph)
    if found is None:
        return None
    text = f"packets forth go astray; {_reason_text(found)}"
    return Verdict("lost", text, "forth", found.host, found.namespace, found.interface, found.reason)


def _not_taken(shown: _Shown, ways: Sequence[Sequence[Sighting]]) -> Verdict | None:
    """SYN-ACKs come back to who asked, and are not answered."""
    if not all(ways):
        return None
    first, last = ways[FORTH][0], ways[BACK][-1]
    opened = "ACK" in first.flags(FORTH) or not {"SYN", "ACK"} <= first.flags(BACK)
    if opened or last.packets[BACK] < _AGAIN or last.hooks[BACK] != "ingress":
        return None
    text = f"SYN-ACKs come back to {shown.point(last)}, and are not taken there"
    return Verdict("unanswered", text, "forth", shown.host(last.host), last.namespace, last.interface, NO_ANSWER)


def _reason_text(found: Why) -> str:
    return f"{found.reason} in {' '.join(word for word in found[1:4] if word)}: {found.words}"


def _lost(
    shown: _Shown, found: Sequence[Loss], ways: Sequence[Sequence[Sighting]], errors: Sequence[str], ends: Ends
) -> Verdict:
    loss = next((one for one in found if one.causes), found[0])
    way = loss.way
    cause = max(loss.causes, key=lambda one: one.packets[way], default=None)
    after = loss.after
    host, namespace, interface = "", None, ""
    if cause is not None:
        host, namespace, interface = shown.host(cause.place.host), cause.place.namespace, cause.place.interface
    elif (near := after or loss.before) is not None:
        host, namespace, interface = shown.host(near.host), near.namespace, near.interface
    said = _loss_text(shown, loss, way)
    node = after.node if after else shown.graph.named(host, namespace or "", interface)
    found_out = why(loss, shown.graph, host, ways, ends, node)
    if found_out is not None:
        text = f"{said}; {_reason_text(found_out)}"
        return Verdict("lost", text, _WAYS[way], found_out.host, found_out.namespace, found_out.interface, found_out.reason)
    text = said + (f" ({errors[0]})" if errors else "")
    return Verdict("lost", text, _WAYS[way], host, namespace, interface, cause.reason if cause else "")


def _icmp_text(flow: Flow) -> str:
    icmp, ends = flow.get("ICMP") or {}, ends_of(flow)
    kind = str(icmp.get("Type", "")).replace("_", " ").lower()
    return (
        f"{ends.source.address} said to {ends.destination.address}: {kind}, type {icmp.get('Number')} code {icmp.get('Code')}"
    )


def _process(shown: _Shown, one: Sighting | None, way: int) -> Process:
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
