"""What a trace asks of the graph of a moment. Pure."""

from __future__ import annotations

import ipaddress
from itertools import pairwise
from typing import NamedTuple

from topology.path.devices import Address, Device, parse_network
from topology.path.network import Network
from topology.path.packets import Packet
from topology.path.routing import Chosen, Refused
from topology.path.walk import Walker

_TAPS = frozenset({"macvtap", "ipvtap"})
"""What comes in by these is a program's, as a virtual machine's."""


class WrongVlan(NamedTuple):
    """Two ports of Open vSwitch whose VLANs do not go together.

    Attributes:
        place: host's name, namespace and interface of the odd one.
        words: for both.
        passed: host's name and namespace of all that packets pass before.
    """

    place: tuple[str, str, str]
    words: str
    passed: frozenset[tuple[str, str]]


class Stop(NamedTuple):
    """Where the way of a packet ends before it has arrived.

    Attributes:
        place: host's name, namespace and interface; empty where it has not come to one.
        words: why.
        nodes: TIDs of all interfaces on the way.
    """

    place: tuple[str, str, str]
    words: str
    nodes: frozenset[str]


class TracedGraph:
    """The network of a moment, asked by the TIDs that flows tell.

    Args:
        network: of the moment.
    """

    def __init__(self, network: Network) -> None:
        self._network, self._walker = network, Walker(network)
        self._devices = {device.tid: device for device in network.devices.values()}

    def holds(self, node: str, address: str) -> bool | None:
        """Whether the namespace of an interface (its TID) has an address; None: the interface is not in the graph."""
        device, parsed = self._devices.get(node), _parse(address)
        if device is None:
            return None
        if parsed is None:
            return device.data.mac == address
        return any(one.namespace is device.namespace for one in self._network.holders.get(parsed, ()))

    def known(self, address: str) -> bool:
        """Whether any interface of the graph has an address; a MAC is somebody's."""
        parsed = _parse(address)
        return parsed is None or bool(self._network.holders.get(parsed))

    def is_broadcast(self, address: str) -> bool:
        """Whether it is for all of a network that an interface of the graph is in."""
        parsed = _parse(address)
        own = (one for device in self._devices.values() for one in device.addresses.items()) if parsed else ()
        networks = (parse_network(f"{one}/{length}") for one, length in own if one.version == 4 and length < 31)
        return any(network is not None and network.broadcast_address == parsed for network in networks)

    def hosts_of(self, address: str) -> set[str]:
        """Names of the hosts that have an address."""
        parsed = _parse(address)
        return {one.namespace.host for one in self._network.holders.get(parsed, ())} if parsed else set()

    def is_host_of(self, node: str, address: str, mac: str) -> bool:
        """Whether an interface's host has, in whatever namespace, an address or a MAC."""
        device, parsed = self._devices.get(node), _parse(address)
        if device is None:
            return False
        held = [*(self._network.holders.get(parsed, ()) if parsed else ()), *self._network.by_mac.get(mac, ())]
        return any(one.namespace.host == device.namespace.host for one in held)

    def holder(self, address: str) -> tuple[str, str] | None:
        """Name of the host, and label of the namespace, that has an address; None: nobody, or several."""
        parsed = _parse(address)
        found = {one.namespace.id: one.namespace for one in self._network.holders.get(parsed, ())} if parsed else {}
        if len(found) != 1:
            return None
        (namespace,) = found.values()
        return namespace.host, namespace.name

    def type_of(self, node: str) -> str:
        """Type of an interface; empty: not known."""
        device = self._devices.get(node)
        return device.data.type if device else ""

    def mtu_of(self, node: str) -> int:
        """MTU of an interface; 0: not known."""
        device = self._devices.get(node)
        return device.data.mtu if device else 0

    def place_of(self, node: str) -> tuple[str, str, str] | None:
        """Host's name, namespace and name of an interface; None: it is not in the graph."""
        device = self._devices.get(node)
        return None if device is None else (device.namespace.host, device.namespace.name, device.name)

    def named(self, host: str, namespace: str, interface: str) -> str:
        """TID of an interface by the host's name, its namespace's and its own; empty: there is none."""
        found = self._network.named.get(interface, ())
        devices = (self._network.devices.get(one) for one in found)
        return next((one.tid for one in devices if one and (one.namespace.host, one.namespace.name) == (host, namespace)), "")

    def peer(self, node: str) -> str:
        """TID of the other end of a pair; empty: it is not one, or the end is not in the graph."""
        device = self._devices.get(node)
        other = self._network.peers.get(device.id) if device else None
        return other.tid if other else ""

    def hands_on(self, node: str, address: str, mac: str) -> bool:
        """Whether what an interface takes in for an address and a MAC is for one that stands on it and leads elsewhere.

        That is a macvlan, ipvlan or VLAN in another namespace, or a macvtap.
        """
        device, parsed = self._devices.get(node), _parse(address)
        if device is None:
            return False
        if device.data.type in _TAPS:
            return True
        holders = self._network.holders.get(parsed, ()) if parsed else ()
        inside = {one.namespace.id for one in holders}
        above = [one for one in self._above(device) if one.namespace is not device.namespace or one.data.type in _TAPS]
        return any(one.namespace.id in inside or (mac and mac != device.data.mac and one.data.mac == mac) for one in above)

    def _above(self, device: Device) -> list[Device]:
        """All that stands on an interface, or on what it is a member of."""
        found = [device, *([device.master] if device.master else [])]
        for one in found:  # it grows meanwhile
            found += [upper for upper in self._network.uppers.get(one.id, ()) if upper not in found]
        return found

    def opens_elsewhere(self, node: str, number: int) -> bool:
        """Whether what a tunnel brings to an interface is taken out by a device that was moved to another namespace."""
        device = self._devices.get(node)
        ends = [one for one in self._devices.values() if one.tunnel and one.tunnel.id == number] if device else []
        return any(self._network.beneath(one) is device.namespace is not one.namespace for one in ends if device)

    def next(self, node: str, source: str, destination: str) -> str:
        """TID of the interface that takes what an interface sends, by routes and links; empty: that is not known."""
        device, packet = self._devices.get(node), _packet(source, destination)
        if device is None or packet is None:
            return ""
        hops = self._walker.send(device.namespace, packet, bound_to=None).hops
        return next((after.tid for hop, after in pairwise(hops) if hop.tid == node), "")

    def has_mac(self, node: str, mac: str) -> bool:
        """Whether an interface of the same namespace has a MAC; any has none."""
        device = self._devices.get(node)
        return device is not None and (not mac or any(one.data.mac == mac for one in device.namespace.devices.values()))

    def tunnel_from(self, node: str) -> tuple[str, str, str] | None:
        """Of the end of a tunnel: the interface (TID) with its outer address, the kind, the address; None: it is none."""
        device = self._devices.get(node)
        tunnel = device.tunnel if device else None
        local = _parse(tunnel.local) if tunnel else None
        if device is None or local is None:
            return None
        beneath = self._network.beneath(device)
        found = (one for one in self._network.holders.get(local, ()) if one.namespace is beneath)
        return next(((one.tid, device.data.type, str(local)) for one in found), None)

    def number_of(self, node: str) -> int | None:
        """VNI, or key, of the end of a tunnel; None: it is none, or has no number of its own."""
        device = self._devices.get(node)
        return device.tunnel.id if device and device.tunnel else None

    def refuses(self, node: str, source: str, destination: str) -> str:
        """Why the routes of an interface's namespace lead a packet nowhere; empty: they lead on."""
        device, packet = self._devices.get(node), _packet(source, destination)
        if device is None or packet is None:
            return ""
        route = self._walker.router(device.namespace).choose(packet)
        return route.reason if isinstance(route, Refused) and route.surely else ""

    def stop(self, node: str, source: str, destination: str) -> Stop | None:
        """Where the way of a packet from its sender ends before it has arrived; None: it arrives, or the graph does not tell.

        Of several that have the source the sender is that in the namespace of an interface (its TID).
        """
        device, packet = self._devices.get(node), _packet(source, destination)
        if packet is None or packet.src is None:
            return None
        begin = {one.namespace.id: one.namespace for one in self._network.holders.get(packet.src, ())}
        if len(begin) > 1:
            begin = {id_: one for id_, one in begin.items() if device is not None and one is device.namespace}
        for namespace in begin.values():
            trip = self._walker.send(namespace, packet)
            if trip.end.kind == "stops":
                place = trip.end.host, trip.end.namespace, trip.end.interface
                return Stop(place, trip.end.reason, frozenset(hop.tid for hop in trip.hops))
        return None

    def wrong_mac(self, node: str, source: str, destination: str, macs: tuple[str, str]) -> str:
        """What is wrong with whom frames are sent to; empty: nothing, as far as the graph tells, or they are only handed on.

        Args:
            node: TID of the interface that sends them.
            source: of the packets.
            destination: of the packets.
            macs: that the frames are from and for.
        """
        device, target = self._devices.get(node), self._target(node, source, destination)
        if device is None or target is None or device.data.mac != macs[0] or not macs[1]:
            return ""
        entry = next((one.mac for one in device.data.neighbors if _parse(one.ip) == target), "")
        found = (
            self._walker.wrong_mac(device, target, mac) for mac in (macs[1], entry) if mac
        )  # packets tell of one way, the first one's
        return next(filter(None, found), "")

    def rivals(self, node: str, source: str, destination: str) -> list[str]:
        """Interfaces on the sender's network, in words, that have the same address as the one where packets came to it."""
        device, packet = self._devices.get(node), _packet(source, destination)
        if device is None or packet is None or packet.src is None or packet.dst not in device.addresses:
            return []
        held = self._network.holders.get(packet.dst, ())
        near = (one for one in held if packet.src in (parse_network(f"{packet.dst}/{one.addresses[packet.dst]}") or ()))
        return [str(one) for one in near if one.namespace is not device.namespace]

    def nobody(self, node: str, source: str, destination: str) -> str:
        """The address that a packet is handed to next, if no interface of the graph has it; else empty."""
        target = self._target(node, source, destination)
        return str(target) if target is not None and not self._network.holders.get(target) else ""

    def _target(self, node: str, source: str, destination: str) -> Address | None:
        """To whom an interface hands a packet: the gateway, or the receiver; None: it is not sent by it."""
        device, packet = self._devices.get(node), _packet(source, destination)
        if device is None or packet is None:
            return None
        route = self._walker.router(device.namespace).choose(packet)
        hops = route.hops if isinstance(route, Chosen) else ()
        return next((_parse(hop.ip) or packet.dst for hop, by in hops if by is device), None)

    def misfit(self, node: str, source: str, destination: str) -> WrongVlan | None:
        """The port of Open vSwitch that has the wrong VLAN on the way of a packet from its sender, or from an interface.

        None: the VLANs of all ports on the way go together.
        """
        device, packet = self._devices.get(node), _packet(source, destination)
        if packet is None or packet.src is None:
            return None
        begin = [one.namespace for one in self._network.holders.get(packet.src, ())]
        for namespace in dict.fromkeys((*begin, *([device.namespace] if device else ()))):
            trip = self._walker.send(namespace, packet)
            if trip.misfit is not None:
                passed = frozenset((hop.host, hop.namespace) for hop in trip.hops)
                return WrongVlan((trip.end.host, trip.end.namespace, trip.end.interface), trip.misfit.words, passed)
        return None

    def tunnels(self, number: int) -> list[tuple[str, str, str]]:
        """Host's name, namespace and name of the ends of tunnels with a VNI, or key."""
        found = (one for one in self._devices.values() if one.tunnel and one.tunnel.id == number)
        return [(one.namespace.host, one.namespace.name, one.name) for one in found]


def _parse(address: str) -> Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:  # a MAC
        return None


def _packet(source: str, destination: str) -> Packet | None:
    src, dst = _parse(source), _parse(destination)
    return None if src is None or dst is None else Packet(src, dst)
