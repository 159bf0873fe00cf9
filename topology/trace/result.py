"""What a trace is answered with, as data and as JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["well", "lost", "refused", "unanswered", "unknown"]
"""All packets arrived, both ways; some vanished; the one asked said no; nothing came back, and nobody says why; too little is
known."""

_KEYS = {"tid": "TID", "rtt": "RTT", "ttl": "TTL", "tracking_id": "TrackingID", "icmp": "ICMP"}


def _key(name: str) -> str:
    return _KEYS.get(name) or "".join(word.capitalize() for word in name.split("_"))


class Tunnel(msgspec.Struct, frozen=True, rename=_key):
    """What carried packets: kind, VNI or key, the outer addresses and the outer TTL of this way."""

    kind: str
    number: int
    source: str
    destination: str
    ttl: int
    tracking_id: str


class Point(msgspec.Struct, frozen=True, rename=_key):
    """A capture point on the way.

    Attributes:
        host: Name.
        namespace: label; empty: the host's own.
        interface: name.
        tid: of the interface.
        type: of the interface, by the graph; empty: not known.
        hook: ``ingress``, ``egress`` or ``both``.
        packets: of this way.
        bytes: of this way.
        ttl: of the packet there.
        tracking_id: of the conversation there: translated, it is another one.
        source: ``address:port`` there, of this way.
        destination: the same.
        tunnel: that the packets were in; None: none.
        since: ns since the point before on the same host, by its clock; None: not known.
        round_trip: ns of the handshake's round trip between the host before and here; None: not known.
    """

    host: str
    namespace: str
    interface: str
    tid: str
    type: str
    hook: str
    packets: int
    bytes: int
    ttl: int
    tracking_id: str
    source: str
    destination: str
    tunnel: Tunnel | None = None
    since: int | None = None
    round_trip: int | None = None


class Cause(msgspec.Struct, frozen=True, rename=_key):
    """Why packets were dropped, in the kernel's word, and where."""

    reason: str
    packets: int
    host: str
    namespace: str | None
    interface: str
    of_tunnel: bool = False


class Loss(msgspec.Struct, frozen=True, rename=_key):
    """Packets that vanished on a way.

    Attributes:
        packets: how many; 0: not known.
        after: place of the last point that saw them among the way's points; None: none did.
        before: place of the next one; None: none saw them.
        causes: what the kernel says.
        text: all that in a line.
    """

    packets: int
    after: int | None
    before: int | None
    causes: tuple[Cause, ...]
    text: str


class Way(msgspec.Struct, frozen=True, rename=_key):
    """One way of the conversation: its points in order, what vanished, and whether packets got to the end (None: not known)."""

    points: tuple[Point, ...]
    losses: tuple[Loss, ...]
    arrives: bool | None


class Process(msgspec.Struct, frozen=True, rename=_key):
    """Whose an end is, as far as it is known."""

    host: str = ""
    name: str = ""
    pid: int = 0
    container: str = ""
    pod: str = ""


class Verdict(msgspec.Struct, frozen=True, rename=_key):
    """What there is to say first.

    Attributes:
        kind: see :data:`Kind`.
        text: in a line.
        way: ``forth``, ``back`` or nothing.
        host: where; empty: nowhere, or not known.
        namespace: where; None: not known.
        interface: where.
        reason: the kernel's word, or ours for what has none of its; empty: none.
    """

    kind: Kind
    text: str
    way: str = ""
    host: str = ""
    namespace: str | None = None
    interface: str = ""
    reason: str = ""


class Trace(msgspec.Struct, frozen=True, rename=_key):
    """Where a conversation went.

    Attributes:
        tracking_id: that was asked for.
        others: tracking IDs of what address translation makes of it.
        protocol: of its packets.
        source: who opened it: ``address:port``, before any translation.
        destination: who was asked, as that one knew it.
        client: whose the source is.
        server: whose the destination is.
        start: ms since the epoch.
        last: ms since the epoch.
        rtt: ns, as it was next to the source; None: not known.
        forth: the way to who was asked.
        back: the way from there.
        icmp: what routers and hosts said of it, in lines.
        verdict: what there is to say first.
        missing: who did not answer, and why.
        since: from when on a host remembers, ms, where that is later than what was asked about.
        gaps: times, ms, in which no agent ran on a host while the conversation may have.
        conversations: tracking IDs of others that the question was about too, the latest first.
    """

    tracking_id: str
    others: tuple[str, ...]
    protocol: str
    source: str
    destination: str
    client: Process
    server: Process
    start: int
    last: int
    rtt: int | None
    forth: Way
    back: Way
    icmp: tuple[str, ...]
    verdict: Verdict
    missing: dict[str, str]
    since: dict[str, int]
    gaps: dict[str, list[tuple[int, int]]]
    conversations: tuple[str, ...] = ()
