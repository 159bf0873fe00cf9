"""What travels: packets, and frames that carry them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeAlias

from topology.path.devices import BROADCAST, Address

PROTOCOLS = {"icmp": 1, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "icmp6": 58, "sctp": 132}
"""Names of IP protocols and their numbers."""

Tags: TypeAlias = "tuple[int, ...]"
"""VLANs of a frame's tags, the outermost first."""


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet, as far as routing looks at it.

    Attributes:
        src: None while the sender has not chosen it.
        proto: its IP protocol's number; 0: not said.
        port: its destination port; 0: not said.
    """

    src: Address | None
    dst: Address
    proto: int = 0
    port: int = 0

    @property
    def back(self) -> Self:
        """What answers it. Raises AssertionError if it has no source."""
        assert self.src is not None, "a packet without a source has no answer"
        return replace(self, src=self.dst, dst=self.src, port=0)


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet on a link.

    Attributes:
        packet: inside.
        target: the address of the next hop: whom the frame is for.
        mac: where to; the broadcast address asks who has ``target``; empty on links without MACs.
        vlans: its tags, the outermost first.
        sender: MAC of the interface that sent it; empty: not known.
    """

    packet: Packet
    target: Address
    mac: str = ""
    vlans: Tags = ()
    sender: str = ""

    @property
    def asks(self) -> bool:
        """Whether it only asks who has the next hop's address."""
        return self.mac == BROADCAST

    def tagged(self, vlan: int) -> Self:
        """With one tag more."""
        return replace(self, vlans=(vlan, *self.vlans))

    def untagged(self) -> Self:
        """With one tag less."""
        return replace(self, vlans=self.vlans[1:])
