"""Which tunnels' networks (by VNI or key) each interface is in, kept up to date one revision after the other. No I/O.

A tunnel's network is what its frames reach without being routed: through bridges, switches and bonds, across pairs and patches,
up to interfaces that stand on others, by the VLANs that ports let through. A tunnel whose numbers come packet by packet, from
rules or routes, is in none.

Frames go into a host's interfaces (``_IN``: they were received there) and out of them; within a bridge they are in a VLAN.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from skytrail.addresses.book import network_of
from topology.elements import Kind, Revision, State
from topology.linkers.interfaces import Interface, Interfaces
from topology.path import bridging, openvswitch
from topology.path.devices import Vlans
from topology.path.network import PAIRS, EdgeKeys, read_state
from topology.path.openvswitch import BRIDGE, PATCH, PORT
from topology.path.packets import Tags
from topology.path.switching import INTERNAL

_NETWORKS = {"vxlan": "vxlan", "geneve": "geneve", "gretap": "gre", "ip6gretap": "gre"}
"""Types of interfaces → whose networks they are in."""

_BONDS = frozenset({"bond", "team"})
_SHARING = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
"""Types of interfaces that get frames of the one that they stand on."""

_VLAN = "vlan"
_IN, _OUT = -2, -1
_Place: TypeAlias = "tuple[int, str, Tags]"
"""In, out, or in which VLAN of a bridge; where; with which tags."""
_Part: TypeAlias = "tuple[str, int]"
"""A host's TID, and a network: what the host's tunnels of that network reach together."""


@dataclass(frozen=True, slots=True)
class _Device:
    """What of an interface frames depend on."""

    host: str
    type: str
    vlan: int
    filtering: bool
    vlans: tuple[Vlans, ...]
    network: int

    @property
    def part(self) -> _Part:
        """Of a tunnel: what it is in."""
        return self.host, self.network


@dataclass(frozen=True, slots=True)
class _Join:
    """An edge, as one of its ends sees it.

    Attributes:
        other: the other end.
        kind: its Type.
        above: whether the other is the parent.
    """

    other: str
    kind: str
    above: bool


class Overlays:
    """All of them.

    Args:
        interfaces: of the same revisions, taken before.
    """

    def __init__(self, interfaces: Interfaces) -> None:
        self._interfaces = interfaces
        self._devices: dict[str, _Device] = {}
        self._switches: dict[str, openvswitch.Element] = {}  # bridges, ports and patches
        self._edges: dict[str, tuple[str, str]] = {}
        self._joins: dict[str, dict[str, _Join]] = defaultdict(dict)  # by end and edge
        self._tunnels: dict[_Part, set[str]] = defaultdict(set)
        self._met: dict[str, set[_Part]] = defaultdict(set)  # who was looked at → for which parts
        self._looked: dict[_Part, set[str]] = {}  # the same, by part
        self._inside: dict[_Part, frozenset[str]] = {}
        self._networks: dict[str, tuple[int, ...]] = {}
        self._stale: set[_Part] = set()

    def networks(self, id_: str) -> tuple[int, ...]:
        """Of tunnels (:func:`skytrail.addresses.book.network_of`) that an interface's own frames are in."""
        return self._networks.get(id_, ())

    def take(self, revision: Revision, interfaces: Iterable[str], kind: str) -> None:
        """Note what an element is now, of which Type a node is, and the interfaces that are otherwise for that."""
        for id_ in interfaces:
            self._device(id_)
        state = None if revision.deleted else revision.state
        if state is None:
            self._forget(revision.id)
        elif state.kind is Kind.EDGE:
            self._edge(revision.id, state)
        elif kind in openvswitch.KINDS:
            self._switch(revision.id, state)

    def settle(self) -> set[str]:
        """Who is in other networks since the last time."""
        touched: set[str] = set()
        for part in self._stale:
            touched |= self._inside.pop(part, frozenset())
            for met in self._looked.pop(part, ()):
                self._met[met].discard(part)
                if not self._met[met]:
                    del self._met[met]
            if tunnels := self._tunnels.get(part):
                self._inside[part], self._looked[part] = self._spread(tunnels)
                for met in self._looked[part]:
                    self._met[met].add(part)
                touched |= self._inside[part]
        self._stale.clear()
        return {id_ for id_ in touched if self._renumber(id_)}

    def _renumber(self, id_: str) -> bool:
        """Learn anew which networks one is in; whether they are others."""
        now = tuple(sorted({part[1] for part in self._met.get(id_, ()) if id_ in self._inside[part]}))
        before = self._networks.pop(id_, ())
        if now:
            self._networks[id_] = now
        return now != before

    def _device(self, id_: str) -> None:
        interface = self._interfaces.by_id.get(id_)
        now, before = _read(interface) if interface else None, self._devices.get(id_)
        if now == before:
            return
        if before is not None:
            del self._devices[id_]
            if before.part in self._tunnels:
                self._tunnels[before.part].discard(id_)
                if not self._tunnels[before.part]:
                    del self._tunnels[before.part]
        if now is not None:
            self._devices[id_] = now
            if now.network:
                self._tunnels[now.part].add(id_)
                self._stale.add(now.part)
        self._touch(id_)

    def _touch(self, id_: str) -> None:
        """What it lets through may be otherwise."""
        self._stale |= self._met.get(id_, set())

    def _edge(self, id_: str, state: State) -> None:
        keys = read_state(state, EdgeKeys)
        if id_ in self._edges or keys is None or keys.relation_type != "layer2":
            return
        self._edges[id_] = state.parent, state.child
        self._joins[state.parent][id_] = _Join(state.child, keys.type, above=False)
        self._joins[state.child][id_] = _Join(state.parent, keys.type, above=True)
        self._touch(state.parent)
        self._touch(state.child)

    def _switch(self, id_: str, state: State) -> None:
        element = read_state(state, openvswitch.Element)
        if element is not None and self._switches.get(id_) != element:
            self._switches[id_] = element
            self._touch(id_)

    def _forget(self, id_: str) -> None:
        if (ends := self._edges.pop(id_, None)) is not None:
            for end in ends:
                self._touch(end)
                self._joins[end].pop(id_, None)
                if not self._joins[end]:
                    del self._joins[end]
        elif self._switches.pop(id_, None) is not None:
            self._touch(id_)

    def _spread(self, tunnels: Iterable[str]) -> tuple[frozenset[str], set[str]]:
        """Who gets tunnels' frames without tags; and who was looked at for that."""
        inside, looked = set[str](), set(tunnels)
        todo: list[_Place] = [(_IN, tunnel, ()) for tunnel in tunnels]
        seen = set(todo)
        while todo:
            way, id_, tags = todo.pop()
            if way < 0 and not tags:
                inside.add(id_)
            looked |= {join.other for join in self._joined(id_)}
            fresh = set(self._onward(way, id_, tags)) - seen
            seen |= fresh
            todo += fresh
        return frozenset(inside), looked

    def _joined(self, id_: str) -> Iterable[_Join]:
        return self._joins.get(id_, {}).values()

    def _onward(self, way: int, id_: str, tags: Tags) -> Iterator[_Place]:
        if way == _IN:
            return self._into(id_, tags)
        return self._out_of(id_, tags) if way == _OUT else self._across(id_, way, tags)

    def _into(self, id_: str, tags: Tags) -> Iterator[_Place]:
        """Where what an interface, or a port of a switch, has received goes to."""
        port = self._switches.get(id_)
        for join in self._joined(id_):
            if not join.above or join.kind:
                continue
            above = self._devices.get(join.other)
            if port is not None and port.type == PORT:
                vlan, inner = openvswitch.taken(port.ovs, tags)
                if vlan is not None and self._is(join.other, BRIDGE):
                    yield vlan, join.other, inner
            elif self._is(join.other, PORT) or (above is not None and above.type in _BONDS):
                yield _IN, join.other, tags
            elif above is not None and above.type == "bridge":
                own = self._devices.get(id_)
                taken = bridging.taken(own.vlans if own else (), tags) if above.filtering else (0, tags)
                if taken[0] is not None:
                    yield taken[0], join.other, taken[1]
        yield from self._up(id_, tags)

    def _is(self, id_: str, kind: str) -> bool:
        element = self._switches.get(id_)
        return element is not None and element.type == kind

    def _up(self, id_: str, tags: Tags) -> Iterator[_Place]:
        """To interfaces that stand on one."""
        for join in self._joined(id_):
            upper = self._devices.get(join.other)
            if join.above or upper is None or upper.type != join.kind:
                continue
            if upper.type == _VLAN and tags and upper.vlan == tags[0]:
                yield _IN, join.other, tags[1:]
            elif upper.type in _SHARING:
                yield _IN, join.other, tags

    def _out_of(self, id_: str, tags: Tags) -> Iterator[_Place]:
        """Where what leaves by an interface, or a port of a switch, goes to."""
        device = self._devices.get(id_)
        if device is not None and device.type in INTERNAL:
            yield from self._up(id_, tags)
        for join in self._joined(id_):
            if join.kind in PAIRS or (join.kind == PATCH and self._is(id_, PATCH)):
                yield _IN, join.other, tags
            elif device is None or device.type in _BONDS:
                if not join.above and not join.kind:
                    yield _OUT, join.other, tags
            elif join.above and join.kind == device.type and join.kind in (_VLAN, *_SHARING):
                yield _OUT, join.other, (device.vlan, *tags) if join.kind == _VLAN else tags

    def _across(self, id_: str, vlan: int, tags: Tags) -> Iterator[_Place]:
        """Where what is in a VLAN of a bridge goes to."""
        bridge = self._devices.get(id_)
        ports = [join.other for join in self._joined(id_) if not join.above and not join.kind]
        if bridge is None:
            for port in ports:
                element = self._switches.get(port)
                if element is not None and openvswitch.includes(element.ovs, vlan):
                    yield _OUT, port, openvswitch.given(element.ovs, vlan, tags)
            return
        for way, one in ((_IN, id_), *((_OUT, port) for port in ports)):
            device = self._devices.get(one)
            leaving = bridging.given(device.vlans, vlan, tags) if bridge.filtering and device else tags
            if device is not None and leaving is not None:
                yield way, one, leaving


def _read(interface: Interface) -> _Device:
    data = interface.data
    tunnel, network = data.tunnel_data, 0
    if tunnel is not None and data.type in _NETWORKS and not (tunnel.collect_metadata or tunnel.in_of_rules):
        number = tunnel.id if tunnel.id is not None else tunnel.ikey
        network = network_of(_NETWORKS[data.type], number) if number is not None else 0
    return _Device(interface.host, data.type, data.vlan, data.bridge.vlan_filtering, data.bridge_vlans, network)
