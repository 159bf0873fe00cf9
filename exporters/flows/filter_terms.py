"""The tree that a flow filter is parsed to: conditions on one flow, without any text or code of the user's."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which end of the flow a condition is about: A is the source, B the destination."""

    EITHER = "src or dst"
    SOURCE = "src"
    DESTINATION = "dst"
    BOTH = "src and dst"


@dataclass(frozen=True, slots=True)
class InNetwork:
    """An address is in ``network`` (of one address for ``host``)."""

    direction: Direction
    network: ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class InPorts:
    """A port of one of ``transports`` (``TCP``, ``UDP``, ``SCTP``) is within [low, high]."""

    direction: Direction
    transports: frozenset[str]
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class HasMac:
    """A link address is ``mac`` (lower case, with colons)."""

    direction: Direction
    mac: str


@dataclass(frozen=True, slots=True)
class IsProtocol:
    """The IP protocol is ``number``, over ``network`` (``IPV4`` or ``IPV6``; None: any)."""

    number: int
    network: str | None


@dataclass(frozen=True, slots=True)
class IsNetwork:
    """The network layer is ``network``: ``IPV4``, ``IPV6`` or ``ARP``."""

    network: str


@dataclass(frozen=True, slots=True)
class HasVlan:
    """A VLAN tag with ``vlan`` is there (None: any tag)."""

    vlan: int | None


@dataclass(frozen=True, slots=True)
class Compare:
    """``field`` (a dotted name) stands in relation ``operator`` (``= != > >= < <= ~``) to ``value``."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    """The term is false."""

    term: Term


@dataclass(frozen=True, slots=True)
class Chain:
    """Terms joined left to right; each of ``rest`` says whether it is joined by *and* (else *or*)."""

    first: Term
    rest: tuple[tuple[bool, Term], ...]


Term = InNetwork | InPorts | HasMac | IsProtocol | IsNetwork | HasVlan | Compare | Not | Chain
