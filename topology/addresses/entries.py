"""Elements → entries of the address book, one revision after the other. Pure.

An interface's address is its network namespace's; whose that is, its containers tell, or the pod that has the address on that
host. Pods, services and nodes of a cluster have theirs everywhere. A pod in its node's own namespace has none of its own. Of a
service are its cluster's addresses whole; of those from outside, which may be a host's, its ports.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from skytrail.addresses.book import (
    CONTAINER,
    HOST,
    NAMESPACE,
    NODE,
    POD,
    PROTOCOLS,
    SERVICE,
    Changes,
    Entry,
    Key,
    Owner,
    port_of,
)
from skytrail.tid import host_of
from topology.addresses.overlays import Overlays
from topology.addresses.switchports import SwitchPorts
from topology.addresses.usable import pack
from topology.elements import Kind, Revision, State
from topology.linkers.interfaces import Interface, Interfaces
from topology.path.network import OWNERS, EdgeKeys, read_state

K = TypeVar("K")

_OVER = frozenset({"Succeeded", "Failed"})
_JOINS = "container:"  # a container's network mode: it has another one's namespace
_CLUSTER = frozenset({POD, SERVICE, NODE})
_OF_SERVICES = frozenset({"kube-ipvs0", "nodelocaldns"})
"""Devices on which kube-proxy and NodeLocal DNSCache give services' addresses to every node: nobody has these."""


class _Pod(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    name: str = ""
    namespace: str = ""


class _Container(msgspec.Struct, frozen=True, gc=False, rename={"id_": "ID", "pod": "Pod", "mode": "NetworkMode"}):
    id_: str = ""
    pod: _Pod = _Pod()
    mode: str = ""


class _Port(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    port: int = 0
    protocol: str = "TCP"

    @property
    def number(self) -> int:
        """As in entries."""
        return port_of(PROTOCOLS.get(self.protocol, 0), self.port)


class _Object(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What is below ``K8s`` of those objects that have addresses."""

    name: str = ""
    namespace: str = ""
    node: str = ""
    hostname: str = ""
    status: str = ""
    host_network: bool = False
    ip: str = msgspec.field(name="IP", default="")
    ips: tuple[str, ...] = msgspec.field(name="IPs", default=())
    cluster_ip: str = msgspec.field(name="ClusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="ClusterIPs", default=())
    external_ip: str = msgspec.field(name="ExternalIP", default="")
    external_ips: tuple[str, ...] = msgspec.field(name="ExternalIPs", default=())
    internal_ip: str = msgspec.field(name="InternalIP", default="")
    internal_ips: tuple[str, ...] = msgspec.field(name="InternalIPs", default=())
    load_balancer: tuple[str, ...] = ()
    ports: tuple[_Port, ...] = ()

    @property
    def inside(self) -> frozenset[bytes]:
        """Addresses of the cluster's."""
        return _packed((self.ip, *self.ips, self.cluster_ip, *self.cluster_ips, self.internal_ip, *self.internal_ips))

    @property
    def outside(self) -> frozenset[bytes]:
        """Addresses that it is known by from outside."""
        return _packed((self.external_ip, *self.external_ips, *self.load_balancer)) - self.inside


class _Ovs(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What a switch says of an interface; of bridges and ports it says no Type."""

    type: str = ""


class _Node(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A node of the graph, as far as it may matter."""

    type: str
    name: str = ""
    manager: str = ""
    cluster_name: str = ""
    user: int = 0
    if_index: int | None = None
    container: _Container | None = None
    ovs: _Ovs = _Ovs()
    k8s: _Object | None = msgspec.field(name="K8s", default=None)


@dataclass(frozen=True, slots=True)
class _Place:
    """A network namespace.

    Attributes:
        tid: its TID.
        owner: it, as it is named.
        near: whether it is some user's, who may have given it any address.
    """

    tid: str
    owner: Owner
    near: bool = False


@dataclass(frozen=True, slots=True)
class _Inside:
    """A container in a network namespace. ``guest``: it joined another one's."""

    owner: Owner
    guest: bool


@dataclass(frozen=True, slots=True)
class _Claim:
    """Addresses that an object of a cluster says are its own, or that are known to be behind a port of a switch.

    Attributes:
        host: TID of its host; empty: that of the node which the owner names.
        outside: those of which it has some ports alone.
        ports: these.
    """

    owner: Owner
    addresses: frozenset[bytes]
    host: str = ""
    outside: frozenset[bytes] = frozenset()
    ports: tuple[int, ...] = ()


class Entries:
    """The book as it is after the revisions that came."""

    def __init__(self) -> None:
        self._interfaces = Interfaces()
        self._overlays = Overlays(self._interfaces)
        self._ports = SwitchPorts(self._interfaces)
        self._addresses: dict[str, frozenset[bytes]] = {}  # of each interface
        self._at: dict[bytes, set[str]] = defaultdict(set)  # interfaces that have an address
        self._places: dict[str, _Place] = {}
        self._hosts: dict[str, str] = {}  # TIDs of hosts by name; empty where several have it
        self._containers: dict[str, _Inside] = {}
        self._ownership: dict[str, tuple[str, str]] = {}  # edge → parent, child
        self._children: dict[str, set[str]] = defaultdict(set)
        self._parents: dict[str, set[str]] = defaultdict(set)
        self._claims: dict[str, _Claim] = {}
        self._claimed: dict[bytes, set[str]] = defaultdict(set)
        self._since: dict[str, int] = {}
        self._held: dict[bytes, dict[Key, Entry]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def current(self) -> Iterator[Entry]:
        """All that there are."""
        return (entry for of_one in self._held.values() for entry in of_one.values())

    def place(self, host: str, namespace: str) -> str:
        """The TID of a host's network namespace by its name; empty: there is none."""
        return next((one.tid for one in self._places.values() if one.owner.name == namespace and host_of(one.tid) == host), "")

    def load(self, revisions: Iterable[Revision]) -> None:
        """Take in all that there is, at the beginning: since when it is so, is when each was seen first."""
        for revision in revisions:
            self._note(revision)
        self._overlays.settle()
        for address in {*self._at, *self._claimed}:
            self._settle(address, 0)

    def take(self, revision: Revision) -> Changes:
        """Take in what an element is now."""
        if revision.updated_at < self._since.get(revision.id, 0):
            return Changes()  # it came late: what followed it is known
        self._since[revision.id] = revision.updated_at
        put: list[Entry] = []
        gone: list[Entry] = []
        touched = self._note(revision)
        for id_ in self._overlays.settle():
            claim = self._claims.get(id_)
            touched |= self._addresses.get(id_, frozenset()) | (claim.addresses if claim else frozenset())
        for address in touched:
            more, less = self._settle(address, revision.updated_at)
            put += more
            gone += less
        return Changes(tuple(put), tuple(gone))

    def _note(self, revision: Revision) -> set[bytes]:
        """Note it; gives the addresses whose owners may be others."""
        touched: set[bytes] = set()
        interfaces = self._interfaces.take(revision)
        for id_ in interfaces:
            touched |= self._interface(id_)
        state = None if revision.deleted else revision.state
        node = read_state(state, _Node) if state is not None and state.kind is Kind.NODE else None
        self._overlays.take(revision, interfaces, node.type if node else "")
        for id_ in self._ports.take(revision, interfaces, switched=node is not None and node.ovs.type != ""):
            port = self._ports.get(id_)
            touched |= self._claim(id_, _Claim(port.owner, self._ports.addresses(port), port.host) if port else None)
        if state is None:
            self._since.pop(revision.id, None)
            return touched | self._forget(revision.id)
        if state.kind is Kind.EDGE:
            return touched | self._edge(revision.id, state)
        return touched | (self._node(revision.id, state, node) if node is not None else set())

    def _interface(self, id_: str) -> set[bytes]:
        interface = self._interfaces.by_id.get(id_)
        before = self._addresses.pop(id_, frozenset())
        now = _usable(interface) if interface is not None else frozenset()
        for address in before - now:
            _discard(self._at, address, id_)
        for address in now:
            self._at[address].add(id_)
        if now:
            self._addresses[id_] = now
        return set(before | now)

    def _node(self, id_: str, state: State, node: _Node) -> set[bytes]:
        if node.type in OWNERS:
            kind = HOST if node.type == HOST else NAMESPACE
            return self._place(id_, _Place(state.tid, Owner(kind, node.name, host=state.host), node.user != 0))
        if node.container is not None and node.container.id_:
            pod = node.container.pod
            owner = (
                Owner(POD, pod.name, pod.namespace, state.host) if pod.name else Owner(CONTAINER, node.name, host=state.host)
            )
            return self._container(id_, _Inside(owner, node.container.mode.startswith(_JOINS)))
        if node.k8s is not None and node.type in _CLUSTER:
            return self._object(id_, node, node.k8s)
        return set()

    def _place(self, id_: str, place: _Place) -> set[bytes]:
        if self._places.get(id_) == place:
            return set()
        self._places[id_] = place
        return self._of_place(id_) | (self._name_hosts() if place.owner.kind == HOST else set())

    def _name_hosts(self) -> set[bytes]:
        """Learn anew which host has which name; gives the addresses of all that is on one."""
        self._hosts = {}
        for place in self._places.values():
            if place.owner.kind == HOST:
                self._hosts[place.owner.name] = "" if place.owner.name in self._hosts else place.tid
        return set(self._claimed)

    def _of_place(self, id_: str) -> set[bytes]:
        return {address for one in self._interfaces.of(id_) for address in self._addresses.get(one.id, ())}

    def _container(self, id_: str, told: _Inside) -> set[bytes]:
        if self._containers.get(id_) == told:
            return set()
        self._containers[id_] = told
        return self._around(id_)

    def _around(self, container: str) -> set[bytes]:
        """Addresses of the namespaces that a container is in."""
        return {address for place in self._parents.get(container, ()) for address in self._of_place(place)}

    def _object(self, id_: str, node: _Node, told: _Object) -> set[bytes]:
        own = not (told.host_network or (node.type == POD and told.status in _OVER))
        host = told.node if node.type == POD else told.hostname or told.name if node.type == NODE else ""
        owner = Owner(node.type, told.name or node.name, told.namespace, host, cluster=node.cluster_name)
        if node.type != SERVICE:
            return self._claim(id_, _Claim(owner, told.inside | told.outside if own else frozenset()))
        ports = tuple(sorted({port.number for port in told.ports}))
        outside = told.outside if ports else frozenset()
        return self._claim(id_, _Claim(owner, told.inside | outside, outside=outside, ports=ports))

    def _claim(self, id_: str, now: _Claim | None) -> set[bytes]:
        """Note what one says, or that it says nothing any more."""
        before = self._claims.pop(id_, None)
        if now is not None:
            self._claims[id_] = now
        if before == now:
            return set()
        for address in before.addresses if before else ():
            _discard(self._claimed, address, id_)
        for address in now.addresses if now else ():
            self._claimed[address].add(id_)
        return {address for claim in (before, now) if claim for address in claim.addresses}

    def _edge(self, id_: str, state: State) -> set[bytes]:
        keys = read_state(state, EdgeKeys)
        if keys is None or keys.relation_type != "ownership":
            return set()
        if id_ in self._ownership:
            return set()
        self._ownership[id_] = parent, child = sys.intern(state.parent), sys.intern(state.child)
        self._children[parent].add(child)
        self._parents[child].add(parent)
        return self._of_place(parent) if child in self._containers else set()

    def _forget(self, id_: str) -> set[bytes]:
        if (edge := self._ownership.pop(id_, None)) is not None:
            parent, child = edge
            _discard(self._children, parent, child)
            _discard(self._parents, child, parent)
            return self._of_place(parent) if child in self._containers else set()
        if self._containers.pop(id_, None) is not None:
            return self._around(id_)
        if (gone := self._places.pop(id_, None)) is not None:
            return self._of_place(id_) | (self._name_hosts() if gone.owner.kind == HOST else set())
        return self._claim(id_, None)

    def _settle(self, address: bytes, at: int) -> tuple[list[Entry], list[Entry]]:
        """Whose an address is by now: what is new of that, and what is over since then."""
        now = {entry.key: entry for entry in self._of_address(address, at)}
        before = self._held.get(address, {})
        put = [entry for key, entry in now.items() if key not in before]
        gone = [msgspec.structs.replace(entry, since=at) for key, entry in before.items() if key not in now]
        if now:
            self._held[address] = {key: before.get(key, entry) for key, entry in now.items()}
        elif before:
            del self._held[address]
        return put, gone

    def _of_address(self, address: bytes, at: int) -> Iterator[Entry]:
        claims = {id_: self._claims[id_] for id_ in self._claimed.get(address, ())}
        for id_, claim in claims.items():
            host = claim.host or self._hosts.get(claim.owner.host, "")
            ports = claim.ports if address in claim.outside else ()
            yield Entry(address, "", host, claim.owner, at, self._overlays.networks(id_), ports)
        for id_ in self._at.get(address, ()):
            interface = self._interfaces.by_id[id_]
            place = self._places.get(interface.owner)
            if place is not None:
                host = host_of(place.tid)
                owner = self._owner_of(interface.owner, host, claims.values())
                yield Entry(address, place.tid, host, owner, at, self._overlays.networks(id_), near=place.near)

    def _owner_of(self, id_: str, host: str, claims: Iterable[_Claim]) -> Owner:
        """Whose an address in a namespace is."""
        pods = [one.owner for one in claims if one.owner.kind == POD and self._hosts.get(one.owner.host, "") == host]
        if len(pods) == 1:
            return pods[0]
        place = self._places[id_].owner
        if place.kind == HOST:
            return place
        inside = {self._containers[child] for child in self._children.get(id_, ()) if child in self._containers}
        owners = {one.owner for one in inside if not one.guest} or {one.owner for one in inside}
        return _as_claimed(owners.pop(), claims) if len(owners) == 1 else place


def _as_claimed(owner: Owner, claims: Iterable[_Claim]) -> Owner:
    """A pod that its runtime tells of, as its cluster does: by another name of the host the two would be two pods."""
    told = owner.kind, owner.name, owner.space
    same = {one.owner for one in claims if (one.owner.kind, one.owner.name, one.owner.space) == told}
    return same.pop() if len(same) == 1 and owner.kind == POD else owner


def _usable(interface: Interface) -> frozenset[bytes]:
    return frozenset() if interface.data.name in _OF_SERVICES else _packed(map(str, interface.addresses))


def _packed(texts: Iterable[str]) -> frozenset[bytes]:
    """Those that can be somebody's."""
    return frozenset(packed for text in texts if (packed := pack(text)) is not None)


def _discard(sets: dict[K, set[str]], key: K, id_: str) -> None:
    there = sets[key]
    there.discard(id_)
    if not there:
        del sets[key]
