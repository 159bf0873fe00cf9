"""The graph at a moment as a network: namespaces, their interfaces, and what these are joined to. Pure."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from topology.elements import Kind, Revision, State
from topology.path import openflow, openvswitch, ovstunnels
from topology.path.devices import Address, Data, Device, Namespace, Owner, parse_addresses

T = TypeVar("T")

OWNERS = frozenset({"host", "netns"})
"""Types of nodes that own interfaces."""

PAIRS = frozenset({"veth", "vxcan", "netkit"})
"""Kinds of interfaces whose ``layer2`` edge leads to their other end."""


class EdgeKeys(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What an edge is."""

    relation_type: str
    type: str = ""


class KindKeys(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What a node is. Interfaces have an ifindex."""

    type: str
    if_index: int | None = None


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_making = threading.Lock()


def _decoder_of(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Made by one thread: msgspec crashes where two look at a type for the first time at once."""
    found = _decoders.get(type_)
    if found is None:
        with _making:
            found = _decoders.setdefault(type_, msgspec.json.Decoder(type_))
    return found


def read_state(state: State, type_: type[T]) -> T | None:
    """What an element says; None: it is of another kind, or shape. For any thread."""
    decoder = _decoder_of(type_)
    try:
        if len(state.parts) == 1:
            (part,) = state.parts.values()
            return decoder.decode(part.raw)
        return msgspec.convert(state.metadata, type_)
    except msgspec.ValidationError:
        return None


@dataclass(slots=True)
class _Nodes:
    """What nodes say, by ID, until it is known whose they are."""

    interfaces: dict[str, tuple[State, Data]] = field(default_factory=dict)
    switched: dict[str, openvswitch.Element] = field(default_factory=dict)
    tunnels: dict[str, tuple[State, Data]] = field(default_factory=dict)
    rules: dict[str, openflow.Rule] = field(default_factory=dict)


class Network:
    """Built once of all revisions of a moment.

    Args:
        revisions: the graph.

    Attributes:
        namespaces: by the node's ID.
        devices: by the node's ID; tunnels' ends that only Open vSwitch has are of the namespace that their packets leave from.
        named: nodes' IDs by Name, TID and ID.
        holders: who has an address.
        by_mac: who has a MAC.
        peers: the other end of a pair, by ID.
        lowers: what a stacked device stands on, by ID.
        uppers: what stands on a device, by ID.
        switch_ports: ports of Open vSwitch that its database tells of, by their interfaces' IDs.
    """

    def __init__(self, revisions: Iterable[Revision]) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.devices: dict[str, Device] = {}
        self.named: dict[str, list[str]] = defaultdict(list)
        self.holders: dict[Address, list[Device]] = defaultdict(list)
        self.by_mac: dict[str, list[Device]] = defaultdict(list)
        self.peers: dict[str, Device] = {}
        self.lowers: dict[str, Device] = {}
        self.uppers: dict[str, list[Device]] = defaultdict(list)
        links: list[tuple[str, str, str]] = []
        nodes = _Nodes()
        owned: list[tuple[str, str]] = []
        layers: list[tuple[str, str]] = []
        for revision in revisions:
            state = revision.state
            if state is None:
                continue
            if state.kind is Kind.NODE:
                self._node(revision.id, state, nodes)
            elif (edge := read_state(state, EdgeKeys)) is not None:
                if edge.relation_type == "ownership":
                    owned.append((state.child, state.parent))
                elif edge.relation_type == "layer2" and edge.type not in ("", openvswitch.PATCH):
                    links.append((edge.type, state.parent, state.child))
                elif edge.relation_type == "layer2":
                    layers.append((state.parent, state.child))
        owners = {child: parent for child, parent in owned if parent in self.namespaces}
        for id_, (state, data) in nodes.interfaces.items():
            namespace = self.namespaces.get(owners.get(id_, ""))
            if namespace is not None:
                self._device(id_, state, data, namespace)
        bridges = {child: parent for child, parent in owned if parent in nodes.switched}
        self._tunnels(nodes.tunnels, {child: owners.get(parent, "") for child, parent in bridges.items()})
        for kind, parent, child in links:
            self._link(kind, self.devices.get(parent), self.devices.get(child))
        rules: dict[str, list[openflow.Rule]] = defaultdict(list)
        for id_, rule in nodes.rules.items():
            rules[bridges.get(id_, "")].append(rule)
        of_bridges = {bridge: openflow.Rules.of(found) for bridge, found in rules.items()}
        self.switch_ports = openvswitch.ports(nodes.switched, layers, self.devices, of_bridges)

    def _node(self, id_: str, state: State, nodes: _Nodes) -> None:
        kind = read_state(state, KindKeys)
        if kind is None:
            return
        if kind.type in OWNERS:
            owner = read_state(state, Owner)
            if owner is not None:
                self.namespaces[id_] = Namespace(id_, state.tid, state.host, owner)
                self._name(id_, owner.name, state.tid)
        elif kind.type in openvswitch.KINDS and (element := read_state(state, openvswitch.Element)) is not None:
            nodes.switched[id_] = element
        elif kind.type == openflow.TYPE and (rule := read_state(state, openflow.Rule)) is not None:
            nodes.rules[id_] = rule
        elif kind.if_index is None and kind.type in ovstunnels.KINDS and (tunnel := read_state(state, ovstunnels.Node)):
            nodes.tunnels[id_] = state, ovstunnels.tunnel_data(tunnel)
        elif kind.if_index is not None and (data := read_state(state, Data)) is not None:
            nodes.interfaces[id_] = state, data

    def _tunnels(self, found: dict[str, tuple[State, Data]], owners: dict[str, str]) -> None:
        """Tunnels' ends of Open vSwitch, by the owners of their bridges."""
        for id_, (state, data) in found.items():
            namespace = self.namespaces.get(owners.get(id_, ""))
            if namespace is not None:
                self.devices[id_] = Device(id_, state.tid, namespace, data, {})

    def _name(self, id_: str, *names: str) -> None:
        for name in dict.fromkeys((*names, id_)):
            if name:
                self.named[name].append(id_)

    def _device(self, id_: str, state: State, data: Data, namespace: Namespace) -> None:
        device = Device(id_, state.tid, namespace, data, dict(parse_addresses((*data.ipv4, *data.ipv6))))
        self.devices[id_] = namespace.devices[data.if_index] = device
        self._name(id_, data.name, state.tid)
        for address in device.addresses:
            self.holders[address].append(device)
        if data.mac:
            self.by_mac[data.mac].append(device)

    def _link(self, kind: str, parent: Device | None, child: Device | None) -> None:
        if parent is None or child is None:
            return
        if kind in PAIRS:
            self.peers[parent.id], self.peers[child.id] = child, parent
        elif child.data.type == kind:
            self.lowers[child.id] = parent
            self.uppers[parent.id].append(child)

    def beneath(self, device: Device) -> Namespace | None:
        """The namespace whose routes a tunnel's packets take: that it was made in. None: the graph does not tell."""
        data = device.data
        if data.link_netns_id is None:
            return device.namespace
        host = [one for one in self.namespaces.values() if one.host == device.namespace.host]
        return next((one for one in host if one.name == data.link_netns_name), None)
