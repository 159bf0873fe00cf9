"""Tables of packets, one conversation or oddity each: what the flows program must understand.

A table says what goes in, never what comes out: that is tshark's to say (:mod:`support.oracle`).
"""

from __future__ import annotations

from support.cases import icmp, link, network, transport, tunnel
from support.cases.base import Case, case

__all__ = ["ALL", "Case", "case"]

ALL: list[Case] = link.CASES + network.CASES + transport.CASES + icmp.CASES + tunnel.CASES
assert len({made.name for made in ALL}) == len(ALL)
