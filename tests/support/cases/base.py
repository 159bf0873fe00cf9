"""What a case is, and who talks in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ETHERNET, RAW, COOKED, COOKED2, NULL, LOOP = 1, 101, 113, 276, 0, 108

A_MAC, B_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
A4, B4, C4, D4 = "10.0.0.1", "10.0.0.2", "192.168.7.1", "192.168.7.2"
A6, B6, C6, D6 = "2001:db8::1", "2001:db8::2", "fd00:7::1", "fd00:7::2"


@dataclass(frozen=True)
class Case:
    """Packets of one capture point.

    Attributes:
        name: of the test.
        packets: scapy packets or bytes, in order, a millisecond apart.
        link: LINKTYPE_ number.
        flows: at most this many flows deep (the program's bound, where tshark sees more).
        unread: names of tshark's protocols that the program does not look into in this case (the reason stands beside it).
    """

    name: str
    packets: tuple[Any, ...]
    link: int = ETHERNET
    flows: int = 4
    unread: frozenset[str] = frozenset()

    def frames(self) -> list[bytes]:
        """The packets as bytes."""
        return [bytes(packet) for packet in self.packets]


def case(name: str, *packets: Any, link: int = ETHERNET, flows: int = 4, unread: str = "") -> Case:
    """Make a :class:`Case`."""
    return Case(name, packets, link, flows, frozenset(unread.split()))
