"""Flow JSON's keys as columns: what :mod:`exporters.flows.records` would show there, by arrays.

What is not in the table is only known by rendering. The tests hold each against the rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.applications import Applications
from exporters.flows.conditions import Addresses, Column, Mask, Names, Numbers, Octets, Somewhere
from exporters.flows.names import KEY as OWNER
from exporters.flows.names import Names as Owners
from exporters.flows.points import Point
from exporters.flows.records import (
    ICMP,
    ICMP6,
    ICMP_TYPES,
    IDENTIFIED,
    TCP_MEASURES,
    TRANSPORT,
    AddressTexts,
    layers_path,
    mac_text,
)
from exporters.flows.table import ROW
from exporters.flows.totals import FINISHES
from exporters.sockets.shown import pack_address
from skytrail.addresses.book import TUNNELS

_MS = 1_000_000
_TCP = 6
_SIDES = {"A": 0, "B": 1}
_TRANSPORTS = list(TRANSPORT)
DROPS = frozenset({"Drops", "DropsAt"})
"""Keys of flows that lost packets alone."""

Leaf = Callable[[str], NDArray[Any]]
"""The values of all rows by the dotted name of a field of ``ROW`` (``flow.dir.packets``)."""


def leaf_of(rows: NDArray[Any]) -> Leaf:
    """Of records: views."""

    def leaf(name: str) -> NDArray[Any]:
        found = rows
        for part in name.split("."):
            found = found[part]
        return found

    return leaf


class FlowColumns:
    """The columns of some flows.

    Args:
        leaf: their fields.
        count: how many there are.
        points: capture points by the numbers that flows have.
        applications: names of applications.
        owners: gives who has the addresses of each, when that is asked for; None: that is only known by rendering.
        dropped: gives which may have lost packets; None: that is only known by rendering.
    """

    def __init__(
        self,
        leaf: Leaf,
        count: int,
        points: Sequence[Point],
        applications: Applications,
        owners: Callable[[], Owners] | None = None,
        dropped: Callable[[], Mask] | None = None,
    ) -> None:
        self.leaf, self.count, self.points, self.applications = leaf, count, points, applications
        self._find_owners, self._find_dropped = owners, dropped

    def column(self, key: str) -> Column | None:
        """What is at a key; None: that is not known."""
        made = _COLUMNS.get(key)
        if made:
            return made(self)
        if key.startswith("TCPMetric."):
            return Somewhere(self.transport & (self.proto == _TCP))
        first, *rest = key.split(".")
        if first == OWNER and self.owners:
            return _owner(rest, self.owners, self)
        if first in DROPS and self.dropped is not None:
            return Somewhere(self.dropped)
        return None

    def stable(self, key: str) -> Column | None:
        """The same, of what never changes as long as a flow lives."""
        return self.column(key) if key in STABLE else None

    @cached_property
    def kind(self) -> NDArray[np.uint8]:
        """``enum flow_kind``."""
        return (self._tags & layout.KIND_MASK).astype(np.uint8)

    @cached_property
    def proto(self) -> NDArray[np.uint8]:
        """IP protocols."""
        return (self._tags >> np.uint64(8) & np.uint64(0xFF)).astype(np.uint8)

    @cached_property
    def _tags(self) -> NDArray[np.uint64]:
        return np.ascontiguousarray(self.leaf("key.tags"))

    @cached_property
    def vlans(self) -> NDArray[np.uint64]:
        """``Link.ID``."""
        return np.asarray(self._tags >> np.uint64(16))

    @cached_property
    def a(self) -> NDArray[np.bool_]:
        """Whether A is the key's second end."""
        return np.asarray(self.leaf("flow.reversed") != 0)

    @cached_property
    def network(self) -> Mask:
        """Which have a network layer."""
        return np.asarray(self.kind != layout.KIND_LINK)

    @cached_property
    def four(self) -> Mask:
        """Which are IPv4."""
        return np.asarray(self.leaf("family") == 4)

    @cached_property
    def ethernet(self) -> Mask:
        """Which have ``Link``."""
        return np.asarray((self.leaf("flow.info") & layout.INFO_ETHERNET) > 0) | ~self.network

    @cached_property
    def transport(self) -> Mask:
        """Which have ``Transport``."""
        return np.asarray(self.network & (self.kind != layout.KIND_FRAGMENT) & np.isin(self.proto, _TRANSPORTS))

    @cached_property
    def icmp(self) -> Mask:
        """Which have ``ICMP``."""
        of = self.network & (self.kind != layout.KIND_FRAGMENT) & ((self.proto == ICMP) | (self.proto == ICMP6))
        ports = self.leaf("key.port")
        return np.asarray(of & ~((self.kind == layout.KIND_PLAIN) & (ports[:, 0] == 0) & (ports[:, 1] == 0)))

    @cached_property
    def icmp_type(self) -> NDArray[np.int64]:
        """The type of the first packet seen."""
        ports = self.leaf("key.port").astype(np.int64)
        second = self.a & (self.kind != layout.KIND_ONE_WAY)
        return np.where(second, ports[:, 1], ports[:, 0])

    @cached_property
    def network_id(self) -> NDArray[np.int64]:
        """``Network.ID``, or the MPLS label."""
        kinds = (layout.KIND_VXLAN, layout.KIND_GENEVE, layout.KIND_GRE_KEY, layout.KIND_LINK)
        return np.where(np.isin(self.kind, kinds), self.leaf("key.id"), 0).astype(np.int64)

    @cached_property
    def last(self) -> NDArray[np.int64]:
        """When the last packet was seen, ms since the epoch."""
        return (self.leaf("offset") + self.leaf("flow.last").astype(np.int64)) // _MS

    @cached_property
    def owners(self) -> Owners | None:
        """Who has the addresses of each."""
        return self._find_owners() if self._find_owners else None

    @cached_property
    def dropped(self) -> Mask | None:
        """Which may have lost packets."""
        return self._find_dropped() if self._find_dropped else None

    def of_side(self, name: str, side: int) -> NDArray[Any]:
        """Of a field with a value for each end or way of the key: A's, or B's."""
        return self.chosen(self.leaf(name), side)

    def chosen(self, both: NDArray[Any], side: int) -> NDArray[Any]:
        """The same of such values."""
        return np.where(self.a != bool(side), both[:, 1], both[:, 0])

    @cached_property
    def paths(self) -> tuple[NDArray[np.intp], list[str]]:
        """Which of the texts each flow's LayersPath is."""
        leaf, what = self.leaf, np.zeros(self.count, np.uint64)
        icmp6 = self.network & (self.proto == ICMP6)
        for values, bits in (
            *((self.kind, 4), (self.proto, 8), (leaf("flow.info"), 8), (leaf("flow.ext"), 8), (leaf("flow.vlans"), 8)),
            *((self.four, 1), (leaf("flow.ethertype"), 16), (np.where(icmp6, self.icmp_type, 0), 8)),
        ):
            what = what << np.uint64(bits) | values.astype(np.uint64) & np.uint64((1 << bits) - 1)
        _, first, which = np.unique(what, return_index=True, return_inverse=True)
        rows = np.zeros(len(first), ROW)
        rows["family"] = leaf("family")[first]
        for part, names in (("key", ("tags", "port")), ("flow", ("info", "ext", "vlans", "ethertype", "reversed"))):
            for name in names:
                rows[part][name] = leaf(f"{part}.{name}")[first]
        return which, [layers_path(row) for row in rows]


Made = Callable[[FlowColumns], Column]


def _point(attribute: str, columns: FlowColumns) -> Column:
    return Names(columns.leaf("point"), [getattr(point, attribute) for point in columns.points])


def _words(octets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    wide = octets.view(">u8")
    return wide[:, 0], wide[:, 1]


def _id(field: str, *, of_network: bool, may_lack: bool, columns: FlowColumns) -> Column:
    octets = columns.leaf(field)
    empty = ~columns.network if of_network else None
    high, low = _words(octets)
    if empty is not None:
        high, low = np.where(empty, 0, high), np.where(empty, 0, low)

    def pack(text: str) -> tuple[int, ...] | None:
        number = id_number(text)
        if not text and (of_network or may_lack):
            number = 0
        elif number == 0 and (of_network or may_lack):
            number = None
        return None if number is None else (number >> 64, number & 0xFFFFFFFFFFFFFFFF)

    def text(at: int) -> str:
        raw = octets[at].tobytes()
        lacks = (empty is not None and empty[at]) or (may_lack and not any(raw))
        return "" if lacks else raw.hex()

    return Octets((high, low), pack, text)


def id_number(text: str) -> int | None:
    """32 lower-case hex digits as a number; None: it is no such text."""
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        return None
    return int(text, 16)


def _address(side: int, columns: FlowColumns) -> Column:
    texts = AddressTexts()
    both, family = columns.leaf("key.addr"), columns.leaf("family")
    words = both.view(">u8")
    chosen = columns.a != bool(side)
    high, low = (np.where(chosen, words[:, 1, part], words[:, 0, part]) for part in (0, 1))

    def text(at: int) -> str:
        return texts.text(int(family[at]), both[at, int(chosen[at])].tobytes())

    return Addresses(family, high, low, _packed_address, text, columns.network)


def _packed_address(text: str) -> tuple[int, ...] | None:
    packed = pack_address(text)
    if packed is None:
        return None
    family, raw = packed
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"), family


def _mac(place: int, columns: FlowColumns) -> Column:
    octets = columns.leaf("flow.mac")[:, place : place + 6]
    high, low = octets[:, :4].view(">u4")[:, 0], octets[:, 4:].view(">u2")[:, 0]

    def pack(text: str) -> tuple[int, ...] | None:
        digits = text.replace(":", "")
        if len(digits) != 12 or not set(digits) <= set("0123456789abcdef") or mac_text(bytes.fromhex(digits)) != text:
            return None
        return int(digits[:8], 16), int(digits[8:], 16)

    return Octets((high, low), pack, lambda at: mac_text(octets[at].tobytes()), columns.ethernet)


def _port(side: int, columns: FlowColumns) -> Column:
    ports = columns.leaf("key.port")
    second = (columns.a & (columns.kind == layout.KIND_PLAIN)) != bool(side)
    return Numbers(np.where(second, ports[:, 1], ports[:, 0]).astype(np.int64), columns.transport)


def _layers(columns: FlowColumns) -> Column:
    return Names(*columns.paths)


def _application(columns: FlowColumns) -> Column:
    ports = columns.leaf("key.port")
    numbers = columns.applications.numbers(columns.proto, ports[:, 0].astype(np.uint16), ports[:, 1].astype(np.uint16))
    codes, paths = columns.paths
    names = columns.applications.names
    codes = np.where(numbers > 0, numbers, len(names) + codes)
    return Names(codes, [*names, *(path.rsplit("/", 1)[-1] for path in paths)])


def _coded(values: NDArray[Any], texts: dict[int, str], other: str | None, present: Mask) -> Column:
    """Texts by number; those of other numbers are ``other``, or none."""
    unique, which = np.unique(values, return_inverse=True)
    found = [texts.get(number, other) for number in unique.tolist()]
    codes = np.array([at if text is not None else -1 for at, text in enumerate(found)], np.int64)
    return Names(np.where(present, codes[which], -1), [text or "" for text in found])


def _initiator(columns: FlowColumns) -> Column:
    who = columns.leaf("flow.initiator")
    a = (who == 1) == ~columns.a
    return Names(np.where(who == 0, -1, np.where(a, 0, 1)), ["A", "B"])


def _finish(columns: FlowColumns) -> Column:
    reset, closed = columns.leaf("flow.rst").any(axis=1), columns.leaf("flow.fin").all(axis=1)
    ended = columns.leaf("flow.ended") > 0
    return Names(np.where(ended, np.select([reset, closed], [2, 1], 0), len(FINISHES)), [*FINISHES, "NOT_FINISHED"])


def _icmp_type(columns: FlowColumns) -> Column:
    texts = {proto << 8 | number: text for (proto, number), text in ICMP_TYPES.items()}
    return _coded(columns.proto.astype(np.int64) << 8 | columns.icmp_type, texts, "UNKNOWN", columns.icmp)


def _icmp_id(columns: FlowColumns) -> Column:
    identified = (columns.proto == ICMP) & np.isin(columns.icmp_type, list(IDENTIFIED))
    return Numbers(np.where(identified, columns.leaf("flow.expect"), columns.leaf("key.id")), columns.icmp)


def _counts(what: str, side: int, columns: FlowColumns) -> Column:
    return Numbers(columns.of_side(f"flow.dir.{what}", side))


def _skbs(side: int, columns: FlowColumns) -> Column:
    packets, merged = (columns.of_side(name, side).astype(np.int64) for name in ("flow.dir.packets", "flow.merged"))
    return Numbers(packets - merged)


def _grown(what: str, side: int, columns: FlowColumns) -> Column:
    now, then = (columns.of_side(f"{of}.{what}", side).astype(np.int64) for of in ("reported", "previous"))
    return Numbers(now - then, _reported(columns))


def _reported(columns: FlowColumns) -> Mask:
    counted = columns.leaf("reported.packets").any(axis=1)
    return np.asarray((columns.leaf("reported_at") != columns.leaf("start")) | counted)


def _rtt(columns: FlowColumns) -> NDArray[Any]:
    return columns.leaf("flow.rtt")[:, 0]


def _of_network(field: str, side: int, columns: FlowColumns) -> Column:
    return Numbers(columns.of_side(field, side), columns.network)


def _measure(field: str, side: int, columns: FlowColumns) -> Column:
    values = columns.of_side(field, side)
    return Numbers(values, (values > 0) & columns.transport & (columns.proto == _TCP))


def _fixed(text: str, mask: Callable[[FlowColumns], Mask], columns: FlowColumns) -> Column:
    return Names(np.where(mask(columns), 0, -1), [text])


def _fragments(columns: FlowColumns) -> Column:
    values = columns.leaf("flow.fragments")
    return Numbers(values, (values > 0) & columns.network)


def _mpls(columns: FlowColumns) -> Column:
    return Numbers(columns.network_id, ~columns.network & (columns.network_id > 0))


def _tunnel(columns: FlowColumns) -> Column:
    names = {number: name for name, number in TUNNELS.items()}
    kinds = (columns.leaf("tunnel") >> np.uint64(32)).astype(np.int64)
    return _coded(kinds, names, None, kinds > 0)


def _owner(path: Sequence[str], owners: Owners, columns: FlowColumns) -> Column:
    """What is at a key of ``Owner``: texts are behind the side and the name."""
    codes, of_code = owners
    if not path:
        return Somewhere(np.asarray((codes > 0).any(axis=1)))
    if path[0] not in _SIDES or len(path) > 2:
        return Names(np.full(columns.count, -1), [])
    which = columns.chosen(codes, _SIDES[path[0]])
    if len(path) == 1:
        return Somewhere(which > 0)
    texts = [owner.shown().get(path[1]) for owner in of_code]
    places = np.array([-1 if text is None else at for at, text in enumerate(texts)], np.int64)
    return Names(places[which], [text or "" for text in texts])


_STABLE: dict[str, Made] = {
    "UUID": lambda columns: _id("uuid", of_network=False, may_lack=False, columns=columns),
    "TrackingID": lambda columns: _id("tracking", of_network=False, may_lack=False, columns=columns),
    "L3TrackingID": lambda columns: _id("tracking", of_network=True, may_lack=False, columns=columns),
    "ParentUUID": lambda columns: _id("parent_uuid", of_network=False, may_lack=True, columns=columns),
    "Tunnel.Type": _tunnel,
    "Tunnel.ID": lambda columns: Numbers(
        (columns.leaf("tunnel") & np.uint64(0xFFFFFFFF)).astype(np.int64), columns.leaf("tunnel") > 0
    ),
    "NodeTID": partial(_point, "tid"),
    "LayersPath": _layers,
    "Application": _application,
    "Start": lambda columns: Numbers(columns.leaf("start") // _MS),
    "Metric.Start": lambda columns: Numbers(columns.leaf("start") // _MS),
    "Link.Protocol": partial(_fixed, "ETHERNET", lambda columns: columns.ethernet),
    "Link.A": partial(_mac, 6),
    "Link.B": partial(_mac, 0),
    "Link.ID": lambda columns: Numbers(columns.vlans, columns.ethernet),
    "MPLSLabel": _mpls,
    "Network.Protocol": lambda columns: Names(np.where(columns.network, np.where(columns.four, 0, 1), -1), ["IPV4", "IPV6"]),
    "Network.ID": lambda columns: Numbers(columns.network_id, columns.network),
    "Network.IPProtocol": lambda columns: Numbers(columns.proto.astype(np.int64), columns.network),
    "Transport.Protocol": lambda columns: _coded(columns.proto, TRANSPORT, None, columns.transport),
    "Transport.ID": lambda columns: Numbers(np.zeros(columns.count, np.int64), columns.transport),
    **{f"Network.{name}": partial(_address, side) for name, side in _SIDES.items()},
    **{f"Transport.{name}": partial(_port, side) for name, side in _SIDES.items()},
    "ICMP.Type": _icmp_type,
    "ICMP.Number": lambda columns: Numbers(columns.icmp_type, columns.icmp),
    "ICMP.ID": _icmp_id,
}

STABLE = frozenset(_STABLE)
"""Keys at which a flow has the same as long as it lives."""

_COLUMNS: dict[str, Made] = {
    **_STABLE,
    "Interface": partial(_point, "name"),
    "Namespace": partial(_point, "namespace"),
    "Last": lambda columns: Numbers(columns.last),
    "Initiator": _initiator,
    "FinishType": _finish,
    "ICMP.Code": lambda columns: Numbers(columns.leaf("flow.icmp_code").astype(np.int64), columns.icmp),
    "IPMetric.Fragments": _fragments,
    "Metric.Last": lambda columns: Numbers(columns.last),
    "Metric.RTT": lambda columns: Numbers(_rtt(columns), _rtt(columns) > 0),
    "LastUpdateMetric.Start": lambda columns: Numbers(columns.leaf("previous_at") // _MS, _reported(columns)),
    "LastUpdateMetric.Last": lambda columns: Numbers(columns.leaf("reported_at") // _MS, _reported(columns)),
    "LastUpdateMetric.RTT": lambda columns: Numbers(_rtt(columns), (_rtt(columns) > 0) & _reported(columns)),
    **{
        f"{metric}.{way}{what.capitalize()}": partial(made, what, side)
        for metric, made in (("Metric", _counts), ("LastUpdateMetric", _grown))
        for way, side in (("AB", 0), ("BA", 1))
        for what in ("packets", "bytes")
    },
    **{f"Metric.{way}Skbs": partial(_skbs, side) for way, side in (("AB", 0), ("BA", 1))},
    **{
        f"Network.{name}{what.upper()}": partial(_of_network, f"flow.{what}", side)
        for name, side in _SIDES.items()
        for what in ("ttl", "dscp")
    },
    **{
        f"TCPMetric.{way}{name}": partial(_measure, f"flow.{field}", side)
        for way, side in (("AB", 0), ("BA", 1))
        for name, field in TCP_MEASURES.items()
    },
}
