"""A question about a path → the path. Pure: the graph as it was at the moment is all that it looks at."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from skytrail.errors import UsageError
from topology.elements import Revision
from topology.path.devices import Address, Device, Namespace
from topology.path.network import Network
from topology.path.packets import PROTOCOLS, Packet
from topology.path.result import Hop, Narrowest, Path, Place
from topology.path.walk import Trip, Walker

_SHOWN = 5  # choices in an error


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks.

    Attributes:
        src: an address, or a node's Name; behind it, where several have it, ``@host`` or ``@namespace``. A node's TID or ID.
        dst: the same; an address may be one that nobody is known to have.
        port: the destination port; 0: not said.
        proto: the IP protocol's name.
        back: whether the way back is asked for, too.
    """

    src: str
    dst: str
    port: int = 0
    proto: str = "tcp"
    back: bool = True


@dataclass(frozen=True, slots=True)
class _End:
    namespace: Namespace | None
    device: Device | None
    address: Address | None


def find_path(revisions: Iterable[Revision], question: Question) -> Path:
    """The path at the moment that the revisions are of.

    Raises:
        UsageError: an end is none, or is not told clearly.
    """
    if question.proto not in PROTOCOLS:
        raise UsageError(f"proto: '{question.proto[:20]}' is not known: use {', '.join(PROTOCOLS)}")
    if not 0 <= question.port <= 65535:
        raise UsageError(f"port: {question.port} is none: 1 to 65535")
    network = Network(revisions)
    to = _end(network, "dst", question.dst, None)
    start = _end(network, "src", question.src, to.address)
    if start.namespace is None:
        raise UsageError(f"src: no interface in the graph has the address {question.src[:60]}")
    dst = to.address or _address_of(network, "dst", question.dst, to, start.address)
    src = start.address if start.address is not None and start.address.version == dst.version else None
    if start.address is not None and src is None:
        raise UsageError(f"src {start.address} and dst {dst} are not of the same IP version")
    packet = Packet(src, dst, PROTOCOLS[question.proto], question.port)
    path, trip = _walk(Walker(network), start, packet, to)
    if not question.back or trip.at is None or trip.packet.src is None:
        return path
    arrived = _End(trip.at, None, dst)
    back, _ = _walk(Walker(network), arrived, trip.packet.back, _End(start.namespace, None, trip.packet.src))
    return msgspec.structs.replace(path, back=back, same_back=_same(path.hops, back.hops) and path.end.kind == back.end.kind)


def _walk(walker: Walker, start: _End, packet: Packet, to: _End) -> tuple[Path, Trip]:
    assert start.namespace is not None, "it was checked"
    trip = walker.send(start.namespace, packet, bound_to=None)
    warnings = list(trip.warnings)
    if trip.at is not None and to.namespace is not None and trip.at is not to.namespace:
        warnings.append(f"{packet.dst} is also held in {trip.at}: it arrives there, not in {to.namespace}")
    warnings += _too_long(trip.hops)
    path = Path(
        _place(str(trip.packet.src or ""), start.namespace),
        _place(str(packet.dst), to.namespace),
        trip.hops,
        trip.end,
        _narrowest(trip.hops),
        tuple(dict.fromkeys(warnings)),
    )
    return path, trip


def _place(address: str, namespace: Namespace | None) -> Place:
    return Place(address) if namespace is None else Place(address, namespace.host, namespace.name, namespace.id)


def _end(network: Network, name: str, text: str, other: Address | None) -> _End:
    """What somebody means. Raises UsageError."""
    word, _, place = text.partition("@")
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        return _node(network, name, text, other)
    holders = {device.namespace.id: device for device in network.holders.get(address, ())}
    found = [one for one in holders.values() if not place or place in _names(one.namespace)]
    if place and not found:
        raise UsageError(f"{name}: {place[:60]} has no address {address}" + _choices(holders.values(), address))
    if len(found) > 1:
        raise UsageError(f"{name}: {len(found)} namespaces have the address {address}" + _choices(found, address))
    return _End(found[0].namespace, found[0], address) if found else _End(None, None, address)


def _names(namespace: Namespace) -> set[str]:
    """What may stand behind the ``@``."""
    full = f"{namespace.host}/{namespace.name}" if namespace.name else namespace.host
    return {namespace.name, full, namespace.tid, namespace.id} - {""}


def _choices(devices: Iterable[Device], address: Address) -> str:
    names = [f"{address}@{one.namespace.host}" + (f"/{one.namespace.name}" if one.namespace.name else "") for one in devices]
    return f": say {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}" if names else ""


def _node(network: Network, name: str, text: str, other: Address | None) -> _End:
    """A node by Name (of a namespace rather than of an interface), TID or ID."""
    word, _, place = text.partition("@")
    ids = [id_ for id_ in network.named.get(word, []) if not place or place in _places(network, id_)]
    if not ids:
        raise UsageError(f"{name}: '{text[:60]}' is no address, and no host, namespace or interface of the graph has that name")
    owners = [id_ for id_ in ids if id_ in network.namespaces]
    ids = owners if len(owners) == 1 else ids
    if len(ids) > 1:
        tids = [tid for id_ in ids if (tid := _tid(network, id_))]
        raise UsageError(f"{name}: {len(ids)} nodes are named '{text[:60]}': say which by its TID: {', '.join(tids[:_SHOWN])}")
    device = network.devices.get(ids[0])
    if device is None:
        return _End(network.namespaces[ids[0]], None, None)
    addresses = _usable(device.addresses, other)
    return _End(device.namespace, device, addresses[0] if addresses else None)


def _places(network: Network, id_: str) -> set[str]:
    """What may stand behind the ``@`` of a node's name: its namespace, its host."""
    device = network.devices.get(id_)
    namespace = device.namespace if device is not None else network.namespaces[id_]
    return {*_names(namespace), namespace.host}


def _tid(network: Network, id_: str) -> str:
    found = network.devices.get(id_) or network.namespaces.get(id_)
    return found.tid if found is not None else ""


def _usable(addresses: Iterable[Address], other: Address | None) -> Sequence[Address]:
    """Those that others can reach, of the other end's version, or IPv4 first."""
    found = [one for one in addresses if not one.is_loopback and not one.is_link_local]
    return sorted((one for one in found if other is None or one.version == other.version), key=lambda one: one.version)


def _address_of(network: Network, name: str, text: str, end: _End, other: Address | None) -> Address:
    """The address of a node that was named: rather one that nobody else has, of what leads on. Raises UsageError."""
    devices = [end.device] if end.device else list(end.namespace.devices.values()) if end.namespace else []
    found = [(one, device) for device in devices for one in _usable(device.addresses, other)]
    if not found:
        raise UsageError(f"{name}: {text[:60]} has no address that could be reached")

    def doubt(one: tuple[Address, Device]) -> tuple[int, bool, bool]:
        address, device = one
        shared = any(holder.namespace is not device.namespace for holder in network.holders[address])
        return address.version, shared, not _leads_on(device)

    return min(found, key=doubt)[0]


def _leads_on(device: Device) -> bool:
    """Whether a route by a gateway leads through it."""
    return any(hop.ip for table in device.data.routing_tables for route in table.routes for hop in route.next_hops)


def _narrowest(hops: Sequence[Hop]) -> Narrowest | None:
    known = [hop for hop in hops if hop.room is not None]
    least = min(known, key=lambda hop: hop.room or 0, default=None)
    return None if least is None else Narrowest(least.room or 0, least.host, least.namespace, least.interface)


def _too_long(hops: Sequence[Hop]) -> Iterable[str]:
    """Where packets that the sender, or a router, takes to be short enough are too long further on the same link."""
    allowed: int | None = None
    for hop in hops:
        if hop.room is None:
            continue
        if hop.routed and hop.depth == 0:
            allowed = hop.room
        elif allowed is not None and hop.room < allowed:
            place = " ".join(word for word in (hop.interface, hop.namespace, hop.host) if word)
            fate = "they are split, or dropped, around the tunnel" if hop.depth else "nobody tells the sender"
            yield f"packets of more than {hop.room} bytes do not pass {place}, up to {allowed} are sent: {fate}"
            allowed = hop.room


def _same(there: Sequence[Hop], back: Sequence[Hop]) -> bool:
    return [hop.id for hop in there] == [hop.id for hop in reversed(back)]
