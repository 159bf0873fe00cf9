"""What a question about a path is answered with: hops and how it ends, also as JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Direction: TypeAlias = Literal["out", "in", "through"]
"""Of a packet at an interface; ``through``: a bridge hands it from port to port, and does not see it itself."""

Ending: TypeAlias = Literal["arrives", "stops", "unknown"]
"""It arrives; the graph says that it cannot pass; the graph does not tell further."""

_KEYS = {"tid": "TID", "id": "ID", "mtu": "MTU"}


def _key(name: str) -> str:
    return _KEYS.get(name) or "".join(word.capitalize() for word in name.split("_"))


class Hop(msgspec.Struct, frozen=True, rename=_key):
    """One interface that the packets pass.

    Attributes:
        host: Name of the host.
        namespace: its name; empty for the host's own.
        interface: its name.
        id: of its node.
        tid: of its node.
        kind: its Type.
        direction: of the packets.
        decision: what sent them on, or here.
        depth: tunnels around the packet here.
        vlans: tags on the frame, the outermost first.
        mtu: of the interface, bytes; 0: not known.
        room: what of it is left for the packet itself, without the headers of tunnels around it; None: not known.
        state: of the interface.
        routed: whether a router, or the sender, chose the interface: it can say that a packet is too long.
        guessed: the graph does not say that packets go here: a bridge floods, a switch or cable is not in the graph.
        asked: no packet comes here, only the question who has the next hop's address: nobody answers it.
    """

    host: str
    namespace: str
    interface: str
    id: str
    tid: str
    kind: str
    direction: Direction
    decision: str = ""
    depth: int = 0
    vlans: tuple[int, ...] = ()
    mtu: int = 0
    room: int | None = None
    state: str = ""
    routed: bool = False
    guessed: bool = False
    asked: bool = False


class End(msgspec.Struct, frozen=True, rename=_key):
    """How a path ends.

    Attributes:
        kind: arrives, stops, unknown.
        reason: in one line.
        host: where.
        namespace: where.
        interface: where; empty where it has not come to one.
    """

    kind: Ending
    reason: str
    host: str = ""
    namespace: str = ""
    interface: str = ""


class Place(msgspec.Struct, frozen=True, rename=_key):
    """An end that was asked for. ``namespace`` and ``host`` are empty for an address that nobody is known to hold."""

    address: str
    host: str = ""
    namespace: str = ""
    id: str = ""


class Narrowest(msgspec.Struct, frozen=True, rename=_key):
    """The longest IP packet that passes, bytes, and the interface that allows no longer one."""

    mtu: int
    host: str
    namespace: str
    interface: str


class Path(msgspec.Struct, frozen=True, rename=_key):
    """The way from one place to another.

    Attributes:
        source: where it begins.
        destination: where it is to end.
        hops: the interfaces, in order.
        end: how it ends.
        narrowest: None where no MTU is known.
        warnings: what may fail on the way though the path as a whole goes on.
        back: the way back; None where there is none to tell of.
        same_back: whether that leads by the same interfaces.
    """

    source: Place
    destination: Place
    hops: tuple[Hop, ...]
    end: End
    narrowest: Narrowest | None = None
    warnings: tuple[str, ...] = ()
    back: Path | None = None
    same_back: bool = False
