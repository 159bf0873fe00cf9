"""Where packets of a conversation vanish, and why. Pure.

Two kinds of evidence are joined: between one capture point and the next fewer packets are counted; and the kernel told that it
dropped packets of the conversation, with its reason and the place. A count is of the first look, the one that is held against
it, further on, of a second look after it: what was on its way meanwhile is not taken for lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

from topology.trace.counts import Comparable
from topology.trace.sightings import BACK, FORTH, Ends, Sighting, Ways, ends_of

Drop: TypeAlias = Mapping[str, Any]
"""What happened to a conversation, as an agent tells it (``skytrail.asking.questions.DropsQuestion``)."""

Holds: TypeAlias = Callable[[str, str], bool | None]
"""Whether a namespace of a host (TID, label) has the address that packets are for; None: the graph does not have the place."""

Vanishes: TypeAlias = Callable[[Sighting], bool]
"""Whether what a point saw last of all should have been seen once more."""


_SLACK = 50  # ms between two clocks of a host that are not read at once


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happened: as near as it is known.

    Attributes:
        host: TID.
        namespace: label; None: not known.
        interface: name; empty: not known, or none.
    """

    host: str
    namespace: str | None
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the kernel dropped packets of a conversation, and where; of a tunnel's, where ``outer``."""

    reason: str
    place: Place
    packets: Ways
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets that vanished.

    Attributes:
        way: forth or back.
        after: the last capture point that saw them; None: none did.
        before: the next one, which saw fewer, or, being the first, saw that some were missing; None: none did.
        packets: how many are missing; 0: that is not to be told from counts.
        causes: what the kernel says of it there; none: nothing.
    """

    way: int
    after: Sighting | None
    before: Sighting | None
    packets: int
    causes: tuple[Cause, ...]


_OF_ENDS = frozenset({"TCP_FLAGS", "TCP_RESET", "TCP_CLOSE", "TCP_FASTOPEN", "TCP_INVALID_SYN", "TCP_INVALID_SEQUENCE",
    "TCP_INVALID_END_SEQUENCE", "TCP_INVALID_ACK_SEQUENCE", "TCP_OLD_DATA", "TCP_OLD_SEQUENCE", "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK", "TCP_ACK_UNSENT_DATA", "TCP_ABORT_ON_DATA", "TCP_ABORT_ON_CLOSE", "TCP_ABORT_ON_LINGER",
    "TCP_ABORT_ON_MEMORY", "TCP_OVERWINDOW", "TCP_OFOMERGE", "TCP_DISORDER"})  # fmt: skip
"""Reasons of an end's TCP for a segment that came too late, twice or behind a reset: it arrived, and was not needed."""

SAYS_NOTHING = "NOT_SPECIFIED"
"""The kernel's word for a place in it that gives no reason."""

NO_SOCKET = "NO_SOCKET"
"""Nobody listens there; once a connection was open the same as those."""


def happened(drops: Iterable[tuple[str, Drop]], seen: Iterable[Sighting], *, opened: bool) -> list[tuple[str, Drop]]:
    """What of what happened is a loss of this conversation: not what was before it, nor what an end had no need of.

    Args:
        drops: each with the TID of its host.
        seen: the conversation's sightings: what a host says of time is held against the same host's.
        opened: whether a connection was.
    """
    begun: dict[str, int] = {}
    for one in seen:
        begun[one.host] = min(begun.get(one.host, one.start), one.start)
    ends = _OF_ENDS | {NO_SOCKET} if opened else _OF_ENDS
    return [
        (host, one)
        for host, one in drops
        if one["What"] == "Drop" and one["Reason"] not in ends and int(one["Last"]) >= begun.get(host, 0) - _SLACK
    ]


def causes_of(drops: Iterable[tuple[str, Drop]], turned: Mapping[str, Ends], carriers: Mapping[str, Ends]) -> list[Cause]:
    """Drops turned as the conversation is.

    Args:
        drops: each with the TID of its host.
        turned: who opened each conversation, by tracking ID.
        carriers: the ends of tunnels, forth, by tracking ID.
    """
    found = []
    for host, one in drops:
        tracking, said = str(one["TrackingID"]), ends_of(one)
        ends = turned.get(tracking)
        carrier = carriers.get(tracking)
        if ends is not None:
            same = said.source == ends.source
        elif carrier is not None:  # the port of its source is each packet's own
            same = said.source.address == carrier.source.address
        else:
            continue
        counts = Ways(int(one["AB"]), int(one["BA"]))
        place = Place(host, one.get("Namespace"), str(one.get("Interface", "")))
        found.append(Cause(str(one["Reason"]), place, counts if same else Ways(counts.back, counts.forth), ends is None))
    return found


def losses(
    path: Sequence[Sighting],
    way: int,
    later: Mapping[int, int],
    causes: Sequence[Cause],
    holds: Holds,
    vanishes: Vanishes,
    comparable: Comparable,
) -> list[Loss]:
    """What vanished on one way, in the order of the way.

    Args:
        path: the capture points in order.
        way: which.
        later: packets that the second look counted, by the ``id()`` of the sighting; for those that are not in it the same.
        causes: what the kernel dropped.
        holds: whether a place is where the packets are for.
        vanishes: whether what the last point saw is lost.
        comparable: whether the counts of two points tell anything.
    """
    found: list[Loss] = []
    if path and path[0].hooks[way] == "ingress" and path[0].gone[way]:
        found.append(Loss(way, None, path[0], path[0].gone[way], ()))
    left = [cause for cause in causes if cause.packets[way]]
    for one, other in pairwise(path):
        missing = one.packets[way] - later.get(id(other), other.packets[way]) if comparable(one, other) else 0
        here = [cause for cause in left if _between(cause, one, other)]
        if missing > 0:
            found.append(Loss(way, one, other, missing, _near(here, one)))
            left = [cause for cause in left if cause not in here]
    if path:
        last = path[-1]
        if vanishes(last):
            here = [cause for cause in left if cause.place.host == last.host]
            found.append(Loss(way, last, None, last.packets[way], _near(here, last)))
            left = [cause for cause in left if cause not in here]
    for cause in left:
        if cause.outer:  # that may have been any conversation's in the tunnel
            continue
        place = cause.place
        if cause.reason == SAYS_NOTHING and holds(place.host, place.namespace or ""):
            continue  # it arrived: so ends a SYN that comes once more, and the like
        after = _last_before(path, cause)
        found.append(Loss(way, after, None, cause.packets[way], (cause,)))
    return found


def _near(causes: Sequence[Cause], after: Sighting) -> tuple[Cause, ...]:
    """Of a tunnel's drops the interface is that of whichever conversation's came last: not this one's."""
    here = Place(after.host, after.namespace, after.interface)
    return tuple(
        replace(cause, place=here) if cause.outer and (cause.place.host, cause.place.namespace) == after.place else cause
        for cause in causes
    )


def _between(cause: Cause, one: Sighting, other: Sighting) -> bool:
    """Whether a drop lies between two points: where the packet was after the first, and before the second."""
    host, namespace = cause.place.host, cause.place.namespace
    return any(host == end.host and namespace in (None, end.namespace) for end in (one, other))


def _last_before(path: Sequence[Sighting], cause: Cause) -> Sighting | None:
    """The last point of the drop's namespace, or of its host."""
    there = [one for one in path if one.host == cause.place.host]
    same = [one for one in there if one.namespace == cause.place.namespace]
    found = same or there
    return found[-1] if found else None


def unanswered(forth: Sequence[Sighting], back: Sequence[Sighting]) -> bool:
    """Whether packets went forth and none came back."""
    return any(one.packets[FORTH] for one in forth) and not any(one.packets[BACK] for one in back)
