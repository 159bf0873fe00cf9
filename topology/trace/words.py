"""Words for places and losses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from topology.trace.graph import TracedGraph
from topology.trace.losses import Loss
from topology.trace.sightings import Sighting

WAYS = ("forth", "back")


class Shown:
    """Words for places.

    Args:
        hosts: names by TID.
        graph: of the moment.
    """

    def __init__(self, hosts: Mapping[str, str], graph: TracedGraph) -> None:
        self._hosts, self.graph = hosts, graph

    def host(self, tid: str) -> str:
        """A host's name; its TID, where that is not known."""
        return self._hosts.get(tid, tid)

    def place(self, host: str, namespace: str | None, interface: str = "") -> str:
        """A host (TID), a namespace and an interface, as far as they are known."""
        words = [self.host(host)]
        if namespace:
            words.append(namespace)
        if interface:
            words.append(interface)
        return " ".join(words)

    def point(self, one: Sighting) -> str:
        """Where a conversation was seen."""
        return self.place(one.host, one.namespace, one.interface)


def _packets(count: int) -> str:
    return {0: "packets", 1: "a packet"}.get(count, f"{count} packets")


def _where(shown: Shown, loss: Loss) -> str:
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


def loss_text(shown: Shown, loss: Loss, way: int) -> str:
    """How many packets were lost where, and what the kernels say of it."""
    reasons = ", ".join(dict.fromkeys(cause.reason for cause in loss.causes)) or "the kernels say no reason"
    count = loss.packets or sum(cause.packets[way] for cause in loss.causes)
    return f"{_packets(count)} {WAYS[way]} lost {_where(shown, loss)}: {reasons}"
