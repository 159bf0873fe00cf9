"""What became of a conversation, in a word, a place and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from topology.trace.collect import Evidence
from topology.trace.explain import Why, no_route, why, wrong_mac
from topology.trace.losses import NO_SOCKET, Loss, Place, unanswered
from topology.trace.result import Verdict, Way
from topology.trace.sightings import BACK, FORTH, End, Ends, Flow, Sighting
from topology.trace.words import WAYS, Shown, loss_text

ACCEPT_QUEUE_FULL = "ACCEPT_QUEUE_FULL"
"""Ours, where the kernel tells none: it takes a SYN for consumed that a listener had no room for."""

NO_ANSWER = "NO_ANSWER"
"""Ours: packets arrived, or left for where nobody looks, and none came back."""

ZERO_WINDOW = "ZERO_WINDOW"
"""Ours: TCP's receiver has no room."""

_AGAIN = 2  # SYN-ACKs: the first one may be on its way still

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what a listener says

_ANSWERED = frozenset({"ECHO", "TIMESTAMP", "INFO", "ADDRESS_MASK"})
"""Types of ICMP of which question and answer are one conversation."""


def verdict(
    shown: Shown,
    ways: Sequence[Sequence[Sighting]],
    found: Sequence[Sequence[Loss]],
    said: Sequence[Way],
    evidence: Evidence,
    ends: Ends,
    errors: Sequence[str],
    *,
    counted: bool,
) -> Verdict:
    """The verdict.

    Args:
        shown: words for places.
        ways: the capture points forth and back, in order.
        found: what was lost on each.
        said: the same as they are shown.
        evidence: what agents told.
        ends: who opened the conversation, and who was asked.
        errors: of ICMP about it, in words.
        counted: whether every point counted all of it.
    """
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


def _slow(shown: Shown, ways: Sequence[Sequence[Sighting]], text: str) -> Verdict | None:
    """All is well with packets, but an end says that it has no room for more: its program does not read."""
    for way, path in enumerate(ways):
        if path and (count := path[0].zero_windows(way)):
            one, name = path[0], path[0].ends[way].address
            text += f"; {name} said {_times(count)} that it has no room (zero window): its program reads too slowly"
            return Verdict("well", text, WAYS[1 - way], shown.host(one.host), one.namespace, one.interface, ZERO_WINDOW)
    return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _unanswered(shown: Shown, last: Sighting, destination: End, errors: Sequence[str], *, arrives: bool) -> Verdict:
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


def _refused(shown: Shown, found: Sequence[Loss], evidence: Evidence, ends: Ends) -> Verdict | None:
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


def _full(shown: Shown, evidence: Evidence, forth: Sequence[Sighting], ends: Ends) -> Verdict | None:
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


def _held_twice(shown: Shown, forth: Sequence[Sighting], ends: Ends) -> str:
    """Who else of the sender's neighbours has the address that packets came to."""
    others = shown.graph.rivals(forth[-1].node, ends.source.address, ends.destination.address) if forth else []
    return f"; {ends.destination.address} is also that of {' and '.join(others)}" if others else ""


def _astray(shown: Shown, forth: Sequence[Sighting]) -> Verdict | None:
    """Packets are sent to a wrong MAC: who they are for may see them, and does not take them."""
    found = wrong_mac(FORTH, forth, shown.graph)
    if found is None:
        return None
    text = f"packets forth go astray; {_reason_text(found)}"
    return Verdict("lost", text, "forth", found.host, found.namespace, found.interface, found.reason)


def _not_taken(shown: Shown, ways: Sequence[Sequence[Sighting]]) -> Verdict | None:
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
    shown: Shown, found: Sequence[Loss], ways: Sequence[Sequence[Sighting]], errors: Sequence[str], ends: Ends
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
    said = loss_text(shown, loss, way)
    node = after.node if after else shown.graph.named(host, namespace or "", interface)
    found_out = why(loss, shown.graph, host, ways, ends, node)
    if found_out is not None:
        text = f"{said}; {_reason_text(found_out)}"
        return Verdict("lost", text, WAYS[way], found_out.host, found_out.namespace, found_out.interface, found_out.reason)
    text = said + (f" ({errors[0]})" if errors else "")
    return Verdict("lost", text, WAYS[way], host, namespace, interface, cause.reason if cause else "")
