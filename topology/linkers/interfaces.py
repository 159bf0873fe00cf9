"""Interfaces and their owners as the graph has them now, kept up to date one revision after the other. No I/O."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from skytrail.tid import host_of
from topology.elements import Kind, Revision, State
from topology.path import ovstunnels
from topology.path.devices import Address, Data, Owner, parse_addresses
from topology.path.network import OWNERS, EdgeKeys, KindKeys, read_state


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface.

    Attributes:
        id: of its node.
        tid: of its node.
        data: what its node says.
        owner: ID of the node of the namespace or host that it is in, or of its bridge of Open vSwitch; empty while that is not
            known.
    """

    id: str
    tid: str
    data: Data
    owner: str = ""

    @property
    def host(self) -> str:
        """TID of its host."""
        return host_of(self.tid)

    @property
    def addresses(self) -> dict[Address, int]:
        """And the length of their prefixes."""
        return dict(parse_addresses((*self.data.ipv4, *self.data.ipv6)))


@dataclass(slots=True)
class _Place:
    """What an owner has."""

    host: str = ""
    name: str = ""
    interfaces: set[str] = field(default_factory=set)


class Interfaces:
    """All of them, by ID."""

    def __init__(self) -> None:
        self.by_id: dict[str, Interface] = {}
        self._since: dict[str, int] = {}  # of each element: when its latest state that came here began
        self._owners: dict[str, _Place] = {}
        self._ownership: dict[str, tuple[str, str]] = {}  # edge → owner, interface
        self._owner_of: dict[str, str] = {}
        self._tunnels: dict[str, set[str]] = {}  # host's TID → its tunnels' ends

    def take(self, revision: Revision) -> set[str]:
        """Note what an element is now; gives the interfaces whose evidence may be otherwise."""
        if revision.updated_at < self._since.get(revision.id, 0):
            return set()  # it came late: what followed it is known
        state = revision.state
        if state is None or revision.deleted:
            self._since.pop(revision.id, None)
            return self._forget(revision.id)
        self._since[revision.id] = revision.updated_at
        return self._edge(revision.id, state) if state.kind is Kind.EDGE else self._node(revision.id, state)

    def of(self, owner: str) -> Iterator[Interface]:
        """Those of a namespace."""
        place = self._owners.get(owner)
        ids = sorted(place.interfaces) if place else ()
        return (self.by_id[id_] for id_ in ids if id_ in self.by_id)

    def beneath(self, interface: Interface) -> str:
        """ID of the owner whose routes a tunnel's packets take; empty: the graph does not tell."""
        data = interface.data
        if not data.if_index:  # a bridge of Open vSwitch has it, and is itself somebody's
            return self._owner_of.get(interface.owner, "")
        if data.link_netns_id is None:
            return interface.owner
        host = interface.host
        return next((id_ for id_, one in self._owners.items() if one.host == host and one.name == data.link_netns_name), "")

    def _node(self, id_: str, state: State) -> set[str]:
        kind = read_state(state, KindKeys)
        if kind is None:
            return set()
        if kind.type in OWNERS:
            owner = read_state(state, Owner)
            place = self._owners.setdefault(id_, _Place())
            before = place.host, place.name
            place.host, place.name = host_of(state.tid), owner.name if owner and owner.type != "host" else ""
            return set() if (place.host, place.name) == before else set(self._tunnels.get(place.host, ()))
        data = read_state(state, Data) if kind.if_index is not None else _tunnel(kind.type, state)
        if data is None:
            return self._forget(id_)
        return self._put(Interface(id_, state.tid, data, self._owner_of.get(id_, "")))

    def _edge(self, id_: str, state: State) -> set[str]:
        edge = read_state(state, EdgeKeys)
        if edge is None or edge.relation_type != "ownership":
            return set()
        owner, child = map(sys.intern, (state.parent, state.child))
        self._ownership[id_] = owner, child
        self._owner_of[child] = owner
        self._owners.setdefault(owner, _Place()).interfaces.add(child)
        known = self.by_id.get(child)
        if known is not None:
            return self._put(Interface(known.id, known.tid, known.data, owner))
        return {one.id for one in self.of(child)}  # a bridge of Open vSwitch: its tunnels are somewhere else now

    def _put(self, interface: Interface) -> set[str]:
        before = self.by_id.get(interface.id)
        self.by_id[interface.id] = interface
        tunnels = self._tunnels.setdefault(interface.host, set())
        if interface.data.tunnel_data is not None:
            tunnels.add(interface.id)
        moved = before is None or (before.data.ipv4, before.data.ipv6, before.owner) != (
            interface.data.ipv4,
            interface.data.ipv6,
            interface.owner,
        )
        return {interface.id} | (tunnels if moved else set())

    def _forget(self, id_: str) -> set[str]:
        edge = self._ownership.pop(id_, None)
        if edge is not None:
            owner, child = edge
            if (place := self._owners.get(owner)) is not None:
                place.interfaces.discard(child)
                self._drop(owner, place)
            if self._owner_of.get(child) == owner:
                del self._owner_of[child]
            known = self.by_id.get(child)
            if known is not None:
                return self._put(Interface(known.id, known.tid, known.data))
            return {one.id for one in self.of(child)}
        if (place := self._owners.get(id_)) is not None:
            tunnels = set(self._tunnels.get(place.host, ()))
            place.host = place.name = ""
            self._drop(id_, place)
            return tunnels
        interface = self.by_id.pop(id_, None)
        if interface is None:
            return set()
        tunnels = self._tunnels.get(interface.host, set())
        tunnels.discard(id_)
        return {id_, *tunnels}

    def _drop(self, owner: str, place: _Place) -> None:
        """Forget an owner of whom nothing is known any more."""
        if not place.host and not place.interfaces:
            del self._owners[owner]


def _tunnel(kind: str, state: State) -> Data | None:
    """One that only Open vSwitch has; None: the node is something else."""
    node = read_state(state, ovstunnels.Node) if kind in ovstunnels.KINDS else None
    return None if node is None else ovstunnels.tunnel_data(node)
