"""What a fault is, and what may suffer from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from skytrail.lab.plan import Command, Family, Hop, Place, Plan, Way

Proto = Literal["tcp", "udp", "icmp"]
Direction = Literal["there", "back", "both"]
Effect = Literal["dead", "large", "lossy"]

PORTS: dict[Proto, int] = {"tcp": 80, "udp": 53, "icmp": 0}
FAMILIES: tuple[Family, ...] = (4, 6)
PROTOS: tuple[Proto, ...] = ("tcp", "udp", "icmp")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question from one workload to another, and its answer."""

    source: str
    destination: str
    proto: Proto
    family: Family

    @property
    def port(self) -> int:
        """Of the destination; 0: ICMP has none."""
        return PORTS[self.proto]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, with the commands that make it and undo it.

    Attributes:
        kind: one of ten.
        place: where the commands of it run, and where packets vanish.
        interface: there, as far as it belongs to one; else empty.
        direction: of the victim's packets that suffer.
        victim: an exchange that suffers.
        effect: it is dead, or so only for packets of full size, or loses some.
        why: in words.
    """

    kind: str
    place: Place
    interface: str
    direction: Direction
    victim: Exchange
    effect: Effect
    why: str
    do: tuple[Command, ...]
    undo: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Leg:
    """One hop that an exchange's packets take in one direction."""

    exchange: Exchange
    direction: Literal["there", "back"]
    way: Way
    hop: Hop

    @property
    def addresses(self) -> tuple[str, str]:
        """Source and destination of the packets here."""
        if self.hop.outer and self.way.tunnel:
            return self.way.tunnel.source, self.way.tunnel.destination
        return self.way.source.address[self.exchange.family], self.way.destination.address[self.exchange.family]

    @property
    def family(self) -> Family:
        """Of the packets here."""
        return self.way.tunnel.family if self.hop.outer and self.way.tunnel else self.exchange.family


def exchanges(plan: Plan) -> Iterator[Exchange]:
    """All that there may be: of workloads on different nodes, and with the outside."""
    for way, proto, family in product(plan.ways, PROTOS, FAMILIES):
        if way.source.netns:  # nobody outside knows the way in
            yield Exchange(way.source.name, way.destination.name, proto, family)


def legs(plan: Plan) -> Iterator[Leg]:
    """Every hop of every exchange, where an agent looks."""
    for exchange in exchanges(plan):
        for direction in ("there", "back"):
            names = (exchange.source, exchange.destination)
            way = plan.way(*(names if direction == "there" else names[::-1]))
            for hop in way.hops:
                if plan.node(hop.place.node).agent:
                    yield Leg(exchange, direction, way, hop)


def control(plan: Plan, fault: Fault) -> Exchange:
    """An exchange that does not come by the fault's node at all."""
    for way in plan.ways:
        if way.source.netns:
            back = plan.way(way.destination.name, way.source.name)
            if fault.place.node not in {hop.place.node for hop in (*way.hops, *back.hops)}:
                return Exchange(way.source.name, way.destination.name, fault.victim.proto, fault.victim.family)
    raise AssertionError("every node has somebody who does not need it")
