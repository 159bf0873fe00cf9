"""What capture points saw of a conversation: flow records of many hosts, all turned the same way. Pure.

*Forth* is from who opened the conversation to who was asked, *back* the other way: at each point, whichever packet it saw
first, and before and after address translation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

Flow: TypeAlias = Mapping[str, Any]
"""A flow record's JSON."""


_EVERYBODY = ipaddress.ip_address("255.255.255.255")


class End(NamedTuple):
    """An endpoint; port 0: it has none."""

    address: str
    port: int

    @property
    def many(self) -> bool:
        """Whether it is a group's, or everybody's: there is no one place where packets for it arrive."""
        if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", self.address):
            return bool(int(self.address[:2], 16) & 1)
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            return True
        return address.is_multicast or address == _EVERYBODY

    def __str__(self) -> str:
        if not self.port:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Ends(NamedTuple):
    """Who opened a conversation, and who was asked."""

    source: End
    destination: End


class Ways(NamedTuple):
    """A number for each way."""

    forth: int
    back: int


FORTH, BACK = 0, 1
_NONE = Ways(0, 0)
_NAMES = ("AB", "BA")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What carried the conversation's packets at a capture point.

    Attributes:
        kind: ``VXLAN``, ``Geneve``, ``GRE`` …
        number: VNI or key.
        source: of the outer packets, forth.
        destination: of them.
        ttl: of them.
        tracking: of the outer conversation.
        macs: that the first outer packet was from and for, as if it went forth; empty: not known.
    """

    kind: str
    number: int
    source: str
    destination: str
    ttl: Ways
    tracking: str
    macs: tuple[str, str] = ("", "")

    def end(self, way: int) -> str:
        """Where the outer packets of a way go to."""
        return self.destination if way == FORTH else self.source

    def begin(self, way: int) -> str:
        """Where they come from."""
        return self.end(1 - way)


@dataclass(slots=True)
class Sighting:
    """A conversation at one capture point, in one tunnel or in none.

    Attributes:
        host: TID.
        namespace: label; empty: the host's own.
        interface: name.
        node: TID of the interface.
        tracking: ID, there: another one before than after an address translation.
        ends: as they were there.
        hooks: ``ingress``, ``egress``, ``both`` or nothing, forth and back.
        packets: segments.
        bytes: as on the wire.
        ttl: last seen; 0: not known.
        first: of the first packet, ns of the host's clock.
        start: ms since the epoch.
        last: ms since the epoch.
        rtt: ns, of the handshake or an echo: there to the one who was asked, and back; 0: not known.
        tunnel: that the packets were in; None: none.
        macs: that the first packet was from and for, as if it went forth; empty: not known.
        gone: TCP's packets that were missing when later ones came, and never did: by sequence numbers.
        drops: of the conversation on the whole host, by reason.
        records: the JSON of all.
    """

    host: str
    namespace: str
    interface: str
    node: str
    tracking: str
    ends: Ends
    hooks: tuple[str, str] = ("", "")
    packets: Ways = _NONE
    bytes: Ways = _NONE
    ttl: Ways = _NONE
    first: int = 0
    start: int = 0
    last: int = 0
    rtt: int = 0
    tunnel: Tunnel | None = None
    macs: tuple[str, str] = ("", "")
    gone: Ways = _NONE
    drops: dict[str, Ways] = field(default_factory=dict)
    records: list[Flow] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, str]:
        """Host and namespace."""
        return self.host, self.namespace

    def addresses(self, way: int) -> tuple[str, str]:
        """From and to of the packets of a way, as the network here sees them: in a tunnel the outer ones."""
        if self.tunnel:
            return self.tunnel.begin(way), self.tunnel.end(way)
        source, destination = self.ends if way == FORTH else self.ends[::-1]
        return source.address, destination.address

    def frame(self, way: int) -> tuple[str, str]:
        """MACs from and for that the first frame was, as if it went a way."""
        source, destination = self.tunnel.macs if self.tunnel else self.macs
        return (source, destination) if way == FORTH else (destination, source)

    def flags(self, way: int) -> set[str]:
        """TCP's flags seen on a way."""
        return {name for said in self._tcp(way, "Flags") for name in str(said).split("|")}

    def zero_windows(self, way: int) -> int:
        """How often TCP said on a way that it has no room for more."""
        return sum(map(int, self._tcp(way, "ZeroWindows")))

    def _tcp(self, way: int, key: str) -> Iterator[Any]:
        for record in self.records:
            same = ends_of(record).source == self.ends.source
            found = (record.get("TCPMetric") or {}).get(f"{_NAMES[way if same else 1 - way]}{key}")
            if found is not None:
                yield found


def ends_of(flow: Flow) -> Ends:
    """A and B of a record."""
    network = flow.get("Network") or flow.get("Link") or {}
    transport = flow.get("Transport") or {}
    return Ends(
        End(str(network.get("A", "")), int(transport.get("A", 0))), End(str(network.get("B", "")), int(transport.get("B", 0)))
    )


def related(flows: Iterable[Flow]) -> set[str]:
    """Tracking IDs of the conversations that address translation makes of those of flows, or made them of."""
    return {
        str(other["TrackingID"])
        for flow in flows
        for other in (flow.get("NAT") or {}).values()
        if isinstance(other, Mapping) and other.get("TrackingID")
    }


def parents(flows: Iterable[Flow]) -> set[str]:
    """UUIDs of the records of tunnels that carried packets of flows."""
    return {str(flow["ParentUUID"]) for flow in flows if flow.get("ParentUUID")}


def orientations(flows: Sequence[Flow]) -> dict[str, Ends]:
    """Who opened each conversation, by tracking ID.

    By what the packets say (a SYN, an echo request); else by the address translation that joins it to one of which that is
    known; else it is who sent the packet that was seen first where both ways were seen, wherever that is: clocks differ.
    """
    found: dict[str, Ends] = {}
    for flow in flows:
        if flow.get("Initiator"):
            ends = ends_of(flow)
            found.setdefault(str(flow["TrackingID"]), ends if flow["Initiator"] == "A" else Ends(ends.destination, ends.source))
    for flow in sorted(flows, key=lambda one: (_goes_one_way(one), one.get("Start", 0), one.get("FirstMonotonic", 0))):
        found.setdefault(str(flow["TrackingID"]), _by_translation(flow, found) or ends_of(flow))
    return found


def _goes_one_way(flow: Flow) -> bool:
    metric = flow.get("Metric") or {}
    return not (metric.get("ABPackets") and metric.get("BAPackets"))


def _by_translation(flow: Flow, known: Mapping[str, Ends]) -> Ends | None:
    """Of the two ends that a translation leaves as it is, one says which way a record is."""
    ends = ends_of(flow)
    for other in (flow.get("NAT") or {}).values():
        turned = known.get(str(other.get("TrackingID")))
        if turned is None:
            continue
        if ends.source == turned.source or ends.destination == turned.destination:
            return ends
        if ends.source == turned.destination or ends.destination == turned.source:
            return Ends(ends.destination, ends.source)
    return None


def sightings(flows: Iterable[tuple[str, Flow]], carriers: Mapping[str, Flow], turned: Mapping[str, Ends]) -> list[Sighting]:
    """What was seen, one for each capture point and tunnel: records of one that followed each other are one.

    Args:
        flows: records of conversations, each with the TID of its host.
        carriers: records of tunnels, by UUID.
        turned: who opened each conversation, by tracking ID.
    """
    found: dict[tuple[str, ...], Sighting] = {}
    for host, flow in flows:
        carrier = carriers.get(str(flow.get("ParentUUID") or ""))
        tracking = str(flow["TrackingID"])
        key = host, str(flow["NodeTID"]), tracking, str(carrier["TrackingID"]) if carrier else str(flow.get("ParentUUID") or "")
        ends = turned[tracking]
        way = FORTH if ends_of(flow).source == ends.source else BACK
        seen = found.get(key)
        if seen is None:
            seen = found[key] = Sighting(host, str(flow["Namespace"]), str(flow["Interface"]), key[1], tracking, ends)
            seen.first, seen.start, seen.last = int(flow.get("FirstMonotonic", 0)), int(flow["Start"]), int(flow["Last"])
        _add(seen, flow, carrier, way)
    return list(found.values())


def _add(seen: Sighting, flow: Flow, carrier: Flow | None, way: int) -> None:
    metric, network = flow.get("Metric") or {}, flow.get("Network") or {}
    hooks, here = flow.get("Seen") or {}, str(flow["UUID"])
    if any(str(one["UUID"]) == here for one in seen.records):
        return
    seen.records.append(flow)
    seen.packets = _sum(seen.packets, _ways(metric, "Packets", way))
    seen.bytes = _sum(seen.bytes, _ways(metric, "Bytes", way))
    seen.ttl = _known(Ways(*(int(network.get(f"{side}TTL", 0)) for side in _turned("AB", way))), seen.ttl)
    forth, back = (str(hooks.get(name, "")) for name in _turned(_NAMES, way))
    seen.hooks = _both(seen.hooks[FORTH], forth), _both(seen.hooks[BACK], back)
    seen.first = min(seen.first, int(flow.get("FirstMonotonic", 0)))
    seen.start, seen.last = min(seen.start, int(flow["Start"])), max(seen.last, int(flow["Last"]))
    seen.rtt = seen.rtt or int(metric.get("RTT", 0))
    seen.gone = _sum(seen.gone, Ways(*(_gone(flow.get("TCPMetric") or {}, name) for name in _turned(_NAMES, way))))
    for reason, counts in (flow.get("Drops") or {}).items():
        # of the whole host: each of its records says the same
        seen.drops[reason] = Ways(*(int(counts.get(name, 0)) for name in _turned(_NAMES, way)))
    if not any(seen.macs):
        seen.macs = _macs(flow, "AB" if way == FORTH else "BA")
    if carrier is not None and seen.tunnel is None:
        seen.tunnel = _tunnel(carrier, seen.hooks)


def _tunnel(carrier: Flow, hooks: tuple[str, str]) -> Tunnel:
    """The carrier's record may be turned another way than the conversation's: where both went in or out tells."""
    network = carrier.get("Network") or {}
    first, second = "AB" if _turned_alike(carrier.get("Seen") or {}, hooks) else "BA"
    return Tunnel(
        str(carrier.get("LayersPath", "")).rsplit("/", 1)[-1],
        int(network.get("ID", 0)),
        str(network.get(first, "")),
        str(network.get(second, "")),
        Ways(int(network.get(f"{first}TTL", 0)), int(network.get(f"{second}TTL", 0))),
        str(carrier["TrackingID"]),
        _macs(carrier, first + second),
    )


def _macs(flow: Flow, sides: str) -> tuple[str, str]:
    link = flow.get("Link") or {}
    source, destination = (str(link.get(side, "")) for side in sides)
    return source, destination


def _gone(tcp: Mapping[str, Any], name: str) -> int:
    """What was skipped and did not come later: as what was missing, or as if it came again."""
    skipped, late, again = (int(tcp.get(f"{name}Segment{what}", 0)) for what in ("Skipped", "OutOfOrder", "Repeated"))
    return max(0, skipped - late - again)


def _turned_alike(theirs: Mapping[str, str], hooks: tuple[str, str]) -> bool:
    """Whether the carrier's A is at the end where the conversation's source is."""
    for way, hook in enumerate(hooks):
        names = [name for name in _NAMES if hook and theirs.get(name) == hook]
        if len(names) == 1:
            return names[0] == _NAMES[way]
    return True


def _turned(names: Sequence[str], way: int) -> Sequence[str]:
    return names if way == FORTH else names[::-1]


def _ways(metric: Mapping[str, Any], what: str, way: int) -> Ways:
    return Ways(*(int(metric.get(f"{name}{what}", 0)) for name in _turned(_NAMES, way)))


def _sum(one: Ways, other: Ways) -> Ways:
    return Ways(one.forth + other.forth, one.back + other.back)


def _known(one: Ways, other: Ways) -> Ways:
    return Ways(one.forth or other.forth, one.back or other.back)


def _both(one: str, other: str) -> str:
    if not one or not other or one == other:
        return one or other
    return "both"
