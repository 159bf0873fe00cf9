"""What clusters and hosts say of the same machines, pods and containers, kept up to date revision by revision. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from skytrail.tid import host_tid
from topology.elements import Kind, Revision, State
from topology.linkers.interfaces import Interface, Interfaces
from topology.path.network import read_state

_MANAGER = "k8s"


class _K8s(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """Keys that a cluster says."""

    node: str = ""
    ip: str = msgspec.field(default="", name="IP")
    ips: tuple[str, ...] = msgspec.field(default=(), name="IPs")
    host_network: bool = False
    hostname: str = ""
    host_id: str = msgspec.field(default="", name="HostID")
    internal_ip: str = msgspec.field(default="", name="InternalIP")
    internal_ips: tuple[str, ...] = msgspec.field(default=(), name="InternalIPs")
    container_id: str = msgspec.field(default="", name="ContainerID")


class _Runtime(msgspec.Struct, frozen=True, gc=False):
    """Keys that a container's runtime says."""

    id: str = msgspec.field(default="", name="ID")


class _Keys(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What a node says that may be one of ours."""

    type: str
    name: str = ""
    manager: str = ""
    cluster_name: str = ""
    state: str = ""
    k8s: _K8s = msgspec.field(default=_K8s(), name="K8s")
    container: _Runtime = _Runtime()


@dataclass(frozen=True, slots=True)
class Host:
    """A host with an agent, by its TID; its name."""

    tid: str
    name: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A node of a cluster.

    Attributes:
        tid: its own.
        cluster: its cluster's name.
        name: in the cluster.
        host_id: by its machine ID; an agent may have another one by its settings.
        names: that it has.
        addresses: that it has.
        host: TID of the host that it is; empty: none that we know.
    """

    tid: str
    cluster: str
    name: str
    host_id: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    host: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs in a network namespace of its own; ``host``: TID of the host that its node is."""

    tid: str
    cluster: str
    node: str
    addresses: tuple[str, ...]
    host: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """A container, as a cluster knows it or as its runtime does, by the runtime's ID."""

    tid: str
    container_id: str
    of_cluster: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """An interface, and the TID of its namespace; empty: of the host's own, or not known."""

    interface: Interface
    namespace: str


Workload: TypeAlias = "Host | Machine | Pod | Container | Placed"

_Node: TypeAlias = "tuple[str, str]"
"""A cluster, and the name of a node of it."""


class Workloads:
    """All of them, by ID.

    Args:
        interfaces: of the same revisions, taken before.
    """

    def __init__(self, interfaces: Interfaces) -> None:
        self._interfaces = interfaces
        self.by_id: dict[str, Workload] = {}
        self._since: dict[str, int] = {}  # as Interfaces has it
        self._hosts: dict[str, Host] = {}  # by ID
        self._machines: dict[_Node, set[str]] = defaultdict(set)  # IDs
        self._pods: dict[_Node, set[str]] = defaultdict(set)  # IDs
        self._namespaces: dict[str, str] = {}  # ID → TID
        self._host_of: dict[_Node, str] = {}  # TIDs
        self._stale = False  # which node is which host is to be looked at anew
        self._touched: set[str] = set()

    def take(self, revision: Revision, interfaces: Iterable[str]) -> None:
        """Note what an element is now; and the interfaces that are otherwise for that."""
        for id_ in interfaces:
            self._place(id_)
        if revision.id in self._interfaces.by_id or revision.updated_at < self._since.get(revision.id, 0):
            return
        state = revision.state
        if state is None or revision.deleted:
            self._since.pop(revision.id, None)
            self._forget(revision.id)
        elif state.kind is Kind.NODE:
            self._node(revision, state)

    def settle(self) -> set[str]:
        """IDs of what is otherwise since the last time."""
        if self._stale:
            self._stale = False
            self._find_hosts()
        touched, self._touched = self._touched, set()
        return touched

    def _node(self, revision: Revision, state: State) -> None:
        keys = read_state(state, _Keys)
        if keys is None:
            return
        self._since[revision.id] = revision.updated_at
        if keys.type == "netns":
            self._namespaces[revision.id] = state.tid
            for one in self._interfaces.of(revision.id):
                self._place(one.id)
            return
        self._forget(revision.id)
        if (made := self._made(keys, state.tid)) is not None:
            self._keep(revision.id, made)

    def _made(self, keys: _Keys, tid: str) -> Workload | None:
        k8s, of_cluster = keys.k8s, keys.manager == _MANAGER
        if keys.type == "host":
            return Host(tid, keys.name)
        if keys.type == "container":
            id_ = k8s.container_id if of_cluster else keys.container.id
            return Container(tid, id_, of_cluster) if id_ else None
        if not of_cluster:
            return None
        if keys.type == "node":
            names = tuple(dict.fromkeys(name for name in (keys.name, k8s.hostname) if name))
            addresses = k8s.internal_ips or _some(k8s.internal_ip)
            return Machine(tid, keys.cluster_name, keys.name, k8s.host_id, names, addresses)
        if keys.type == "pod" and keys.state == "UP" and k8s.node and not k8s.host_network:
            node = keys.cluster_name, k8s.node
            return Pod(tid, *node, k8s.ips or _some(k8s.ip), self._host_of.get(node, ""))
        return None

    def _keep(self, id_: str, made: Workload) -> None:
        self.by_id[id_] = made
        self._touched.add(id_)
        if isinstance(made, Host):
            self._hosts[id_] = made
            self._stale = True
        elif isinstance(made, Machine):
            self._machines[made.cluster, made.name].add(id_)
            self._stale = True
        elif isinstance(made, Pod):
            self._pods[made.cluster, made.node].add(id_)

    def _forget(self, id_: str) -> None:
        self._namespaces.pop(id_, None)
        before = self.by_id.pop(id_, None)
        if before is None:
            return
        self._touched.add(id_)
        if isinstance(before, Host):
            del self._hosts[id_]
            self._stale = True
        elif isinstance(before, Machine):
            _drop(self._machines, (before.cluster, before.name), id_)
            self._stale = True
        elif isinstance(before, Pod):
            _drop(self._pods, (before.cluster, before.node), id_)
        else:
            self._stale |= bool(_own(before))

    def _place(self, id_: str) -> None:
        interface, before = self._interfaces.by_id.get(id_), self.by_id.get(id_)
        if interface is None:
            if isinstance(before, Placed):
                self._forget(id_)
            return
        now = Placed(interface, self._namespaces.get(interface.owner, ""))
        if now == before:
            return
        self.by_id[id_] = now
        self._touched.add(id_)
        self._stale |= _own(before) != _own(now)

    def _find_hosts(self) -> None:
        """Which host each node is: by its machine, by its name, by its addresses, where only one host fits."""
        by_tid = {one.tid for one in self._hosts.values()}
        by_name: dict[str, set[str]] = defaultdict(set)
        by_address: dict[str, set[str]] = defaultdict(set)
        for id_, host in self._hosts.items():
            by_name[host.name].add(host.tid)
            for interface in self._interfaces.of(id_):
                for address in interface.addresses:
                    by_address[str(address)].add(host.tid)
        for node in self._host_of.keys() - self._machines.keys():
            self._at(node, "")
        for node, ids in self._machines.items():
            for id_ in ids:
                machine = self.by_id[id_]
                assert isinstance(machine, Machine), "its kind does not change"
                same = host_tid(machine.host_id) if machine.host_id else ""
                if same not in by_tid:
                    same = _only(machine.names, by_name) or _only(machine.addresses, by_address)
                if same != machine.host:
                    self.by_id[id_] = replace(machine, host=same)
                    self._touched.add(id_)
                self._at(node, same)

    def _at(self, node: _Node, host: str) -> None:
        """A node is that host; its pods are there, too."""
        if self._host_of.get(node, "") == host:
            return
        if host:
            self._host_of[node] = host
        else:
            del self._host_of[node]
        for id_ in self._pods.get(node, ()):
            pod = self.by_id[id_]
            assert isinstance(pod, Pod), "its kind does not change"
            self.by_id[id_] = replace(pod, host=host)
            self._touched.add(id_)


def _own(one: Workload | None) -> tuple[str, ...]:
    """Of an interface that may be of a host's own namespace: where it is, and its addresses."""
    if not isinstance(one, Placed) or one.namespace:
        return ()
    return (one.interface.owner, *map(str, one.interface.addresses))


def _drop(index: dict[_Node, set[str]], node: _Node, id_: str) -> None:
    index[node].discard(id_)
    if not index[node]:
        del index[node]


def _some(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def _only(keys: Collection[str], found: dict[str, set[str]]) -> str:
    """The one host that any of the keys leads to; empty: there is none, or there are several."""
    hosts = set().union(*(found.get(key, ()) for key in keys))
    return hosts.pop() if len(hosts) == 1 else ""
