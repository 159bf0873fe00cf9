"""Follows a packet through a network: routes and links in turn, tunnels by following what they send likewise. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import msgspec

from topology.path import bridging, encapsulation, openvswitch, ovstunnels, proxying, switching
from topology.path.devices import BROADCAST, Address, Device, Namespace
from topology.path.network import PAIRS, Network
from topology.path.packets import Frame, Packet
from topology.path.result import Direction, End, Ending, Hop
from topology.path.routing import Chosen, Refused, Router

_MOST_STEPS = 50_000
_DEEPEST = 8  # tunnels in each other
_MOST_ROUTERS = 64  # the usual TTL
_MOST_SWITCHES = 2  # Open vSwitches on one link: that of the sender and that of the receiver
_PROBED = 16  # next hops of one route whose ways are looked at
_SWITCHED = "by Open vSwitch"
_ASSUMED = ", whose flows are not in the graph: assumed"
_NOT_FOR_US, _UNKNOWN, _HARD, _MISFIT = range(4)

Hops: TypeAlias = "tuple[Hop, ...]"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame is taken by an interface's namespace."""

    hops: Hops
    device: Device
    frame: Frame


@dataclass(frozen=True, slots=True)
class Lost:
    """A way that does not lead there.

    Attributes:
        hops: the interfaces.
        end: how it ends.
        rank: how much its reason says.
        misfit: the VLANs for which it ends, if that is why: it would lead there.
    """

    hops: Hops
    end: End
    rank: int
    misfit: openvswitch.Misfit | None = None


@dataclass(frozen=True, slots=True)
class Trip:
    """A packet's whole way.

    Attributes:
        hops: the interfaces.
        end: how it ends.
        at: the namespace where it arrives; None: it does not.
        packet: with the source that it left with.
        warnings: what may fail.
        misfit: the VLANs of Open vSwitch's ports for which it does not arrive, if that is why.
    """

    hops: Hops
    end: End
    at: Namespace | None
    packet: Packet
    warnings: tuple[str, ...] = ()
    misfit: openvswitch.Misfit | None = None


Way: TypeAlias = "Arrival | Lost"


def _ended(kind: Ending, reason: str, device: Device | None, namespace: Namespace) -> End:
    return End(kind, reason, namespace.host, namespace.name, device.name if device else "")


def _refused(route: Refused, device: Device | None, namespace: Namespace) -> End:
    return _ended("stops" if route.surely else "unknown", route.reason, device, namespace)


@dataclass(frozen=True, slots=True)
class _Around:
    """What is around a packet: how many tunnels, and the bytes of their headers.

    ``misfit``: VLANs that do not go together were passed over, to see whether the way would lead there.
    """

    depth: int = 0
    overhead: int = 0
    misfit: bool = False


class Walker:
    """Walks one network. Bounded in steps, whatever the graph says.

    Args:
        network: the graph.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._routers: dict[str, Router] = {}
        self._steps = 0
        self._onward: dict[tuple[str, Packet, _Around], Trip] = {}
        self._uplinks: list[Device] | None = None
        self._tunnel_ends: dict[str, list[Device]] | None = None

    def router(self, namespace: Namespace) -> Router:
        """The routes of a namespace."""
        found = self._routers.get(namespace.id)
        if found is None:
            found = self._routers[namespace.id] = Router(namespace)
        return found

    # packets

    def send(self, namespace: Namespace, packet: Packet, around: _Around = _Around(), bound_to: Device | None = None) -> Trip:
        """Follow a packet that a namespace itself sends.

        Args:
            namespace: where it begins.
            packet: what is sent; without a source it gets the one that the kernel would choose.
            around: the tunnels that it is to be the outside of.
            bound_to: the interface that it must leave by.
        """
        vrf = _vrf_of(bound_to)
        route = self.router(namespace).choose(packet, bound_to=None if vrf is bound_to else bound_to, vrf=vrf)
        if isinstance(route, Refused):
            return Trip((), _refused(route, None, namespace), None, packet)
        packet = replace(packet, src=self.router(namespace).source(packet, route))
        if route.ours:
            loopback = namespace.devices.get(1)
            ways: tuple[tuple[Direction, str], ...] = (("out", f"route {route.words()}"), ("in", ""))
            hops = tuple(_hop(loopback, way, why, around) for way, why in ways) if loopback else ()
            return Trip(hops, _ended("arrives", f"{packet.dst} is held here", loopback, namespace), namespace, packet)
        return self._transmit(namespace, packet, route, around, ())

    def _transmit(
        self, namespace: Namespace, packet: Packet, route: Chosen, around: _Around, seen: tuple[tuple[str, Packet], ...]
    ) -> Trip:
        """By one of a route's next hops; of several the first that leads there, with a warning of those that do not."""
        trips = [self._by_hop(packet, route, number, around, seen) for number in range(min(len(route.hops), _PROBED))]
        if not trips:
            return Trip((), _ended("stops", f"route {route.words()} leads nowhere", None, namespace), None, packet)
        best = next((trip for trip in trips if trip.at is not None), trips[0])
        failing = [
            f"{namespace}: route {route.words(number)} does not lead there: {trip.end.reason} ({_place(trip.end)})"
            for number, trip in enumerate(trips)
            if trip.at is None and trip is not best
        ]
        more = self.router(namespace).left_out
        if more and route.prefix.prefixlen < route.prefix.max_prefixlen:
            failing.append(f"{namespace}: {more} more routes are not in the graph: one of them may lead elsewhere")
        return replace(best, warnings=(*failing, *best.warnings))

    def _by_hop(
        self, packet: Packet, route: Chosen, number: int, around: _Around, seen: tuple[tuple[str, Packet], ...]
    ) -> Trip:
        hop, device = route.hops[number]
        target = _parse(hop.ip) or packet.dst
        first = _hop(device, "out", f"route {route.words(number)}", around, routed=True)
        way, warnings = self._over_link(device, Frame(packet, target, sender=device.data.mac), (first,), around)
        if isinstance(way, Lost):
            return Trip(way.hops, way.end, None, packet, warnings, way.misfit)
        here = way.device.id, packet, around  # ways of equal cost part and meet again: each is followed once
        onward = self._onward.get(here) or self._receive(way.device, packet, around, seen)
        if onward.at is not None:
            self._onward[here] = onward
        return replace(onward, hops=(*way.hops, *onward.hops), warnings=(*warnings, *onward.warnings))

    def _receive(self, device: Device, packet: Packet, around: _Around, seen: tuple[tuple[str, Packet], ...]) -> Trip:
        """A namespace takes a packet that came in by a device: it is for itself, or it is forwarded."""
        namespace = device.namespace
        route = self._taken(device, packet, seen)
        if isinstance(route, Refused):
            return Trip((), _refused(route, device, namespace), None, packet)
        if route.ours:
            return Trip((), _ended("arrives", f"{packet.dst} is held here", device, namespace), namespace, packet)
        return self._transmit(namespace, packet, route, around, (*seen, (device.id, packet)))

    def _taken(self, device: Device, packet: Packet, seen: tuple[tuple[str, Packet], ...]) -> Chosen | Refused:
        """Where a packet that came in by a device goes to."""
        router, vrf = self.router(device.namespace), _vrf_of(device)
        if (device.id, packet) in seen:
            return Refused("the packet goes round in a loop")
        if len(seen) > _MOST_ROUTERS:
            return Refused(f"more than {_MOST_ROUTERS} routers: its TTL ends")
        if refused := self._filtered(device, packet, router, vrf):
            return Refused(refused)
        route = router.choose(packet, came_by=device, vrf=vrf)
        if isinstance(route, Chosen) and not route.ours and not device.data.net_conf.of(packet.dst).forwarding:
            return Refused(f"IPv{packet.dst.version} forwarding is off, and {packet.dst} is not its own")
        return route

    def _filtered(self, device: Device, packet: Packet, router: Router, vrf: Device | None) -> str:
        """Why a packet's source is refused; empty: it is not."""
        mode = device.data.net_conf.ipv4.rp_filter
        if packet.src is None or packet.src.version != 4 or not mode:
            return ""
        back = router.choose(packet.back, vrf=vrf)
        if isinstance(back, Refused):
            return f"rp_filter is {mode}: there is no route back to {packet.src}"
        if mode == "strict" and not back.ours and all(by is not device for _, by in back.hops):
            return f"rp_filter is strict: the route back to {packet.src} is {back.words()}"
        return ""

    # frames

    def _over_link(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> tuple[Way, tuple[str, ...]]:
        """To the next hop: by the neighbour entry's MAC, or that of whoever would answer."""
        if device.failure:
            return _lost(device, device.failure, hops), ()
        if not _has_macs(device):
            return self._chosen(list(self._emit(device, frame, hops, around)), device, frame)
        known = next((one.mac for one in device.data.neighbors if one.mac and _parse(one.ip) == frame.target), "")
        wrong = self.wrong_mac(device, frame.target, known) if known else ""
        if not known:
            asked = self._chosen(list(self._emit(device, replace(frame, mac=BROADCAST), hops, around)), device, frame)[0]
            if isinstance(asked, Lost):
                before = len(hops) - 1
                only = (msgspec.structs.replace(hop, asked=True) for hop in asked.hops[before:])
                return replace(asked, hops=(*asked.hops[:before], *only)), ()
            known = asked.device.data.mac
        ways = list(self._emit(device, replace(frame, mac=known), hops, around))
        way, warnings = self._chosen(ways, device, replace(frame, mac=known))
        if isinstance(way, Arrival):
            return self._proxied(way), (*warnings, *([f"{device}: {wrong}"] if wrong else ()))
        return (replace(way, end=_ended(way.end.kind, wrong, device, device.namespace)) if wrong else way), warnings

    def wrong_mac(self, device: Device, target: Address, mac: str) -> str:
        """What is wrong with the MAC that a device sends to what is for an address; empty: it is of those who answer for it."""
        holders = [one for one in self._network.holders.get(target, ()) if one.namespace is not device.namespace]
        owners, meant = self._network.by_mac.get(mac, []), {one.namespace.id for one in holders}
        if not holders or any(one.namespace.id in meant or self.answers_for(one, target) for one in owners):
            return ""
        whose = f"{owners[0]} has" if owners else "no interface of the graph has"
        return f"what is for {target} is sent to {mac}, which {whose}; {holders[0]} has {target}, and {holders[0].data.mac}"

    def answers_for(self, device: Device, target: Address) -> bool:
        """Whether a device answers who has an address that others have."""
        return proxying.answers(device, self.router(device.namespace), target, _vrf_of(device))

    def _answers(self, way: Arrival, frame: Frame) -> bool:
        """Whether who took the frame has the next hop's address, or answers for it; on a way that is assumed, the interface."""
        assumed = _assumptions(way.hops)
        has = frame.target in way.device.addresses if assumed else way.device.namespace.holds(frame.target)
        return has or self.answers_for(way.device, frame.target)

    def _proxied(self, way: Arrival) -> Arrival:
        """It is said where somebody takes the frame who only answers for the next hop's address."""
        device, target = way.device, way.frame.target
        if device.namespace.holds(target) or not self.answers_for(device, target):
            return way
        last = way.hops[-1]
        said = _joined(last.decision, f"answers for {target} ({'proxy ARP' if target.version == 4 else 'proxy NDP'})")
        return replace(way, hops=(*way.hops[:-1], msgspec.structs.replace(last, decision=said)))

    def _chosen(self, ways: list[Way], device: Device, frame: Frame) -> tuple[Way, tuple[str, ...]]:
        """The way that leads to the next hop; else the one that says most of why none does."""
        arrived = [way for way in ways if isinstance(way, Arrival)]
        hearing = [way for way in arrived if frame.mac or not _is_deaf(way.device, frame.target)]
        meant = [way for way in hearing if self._answers(way, frame)] or (arrived if frame.mac and not frame.asks else [])
        if not _has_macs(device):
            meant = arrived
        if meant:
            meant.sort(key=lambda way: _doubt(way, frame))
            ends = {way.device.id: way.device for way in meant}
            warnings = () if len(ends) == 1 else (f"{frame.target} is answered for by {' and '.join(map(str, ends.values()))}",)
            return meant[0], warnings
        deaf = next((way for way in arrived if not frame.mac and _is_deaf(way.device, frame.target)), None)
        if deaf is not None:
            return _lost(deaf.device, f"has {frame.target}, and answers no ARP: it is set to NOARP", deaf.hops), ()
        lost = [way for way in ways if isinstance(way, Lost)]
        best = max(lost, key=_worth, default=None)
        if best is not None and best.rank > _NOT_FOR_US:
            return best, ()
        who = f"{frame.target} has no neighbour entry at {device.name}, and" if not frame.mac else f"{frame.mac}:"
        hops = best.hops if best is not None and len(lost) == 1 else _until(device, ways)
        return _lost(device, f"{who} nobody on this link answers for {frame.target}", hops), ()

    def _emit(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """A device, whose hop is the last one, sends a frame."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            yield _lost(device, f"the search ended after {_MOST_STEPS} steps", hops, kind="unknown")
            return
        if device.failure:
            yield _lost(device, device.failure, hops)
            return
        yield from self._SENDERS.get(device.data.type, Walker._to_uplink)(self, device, frame, hops, around)

    def _next(
        self, device: Device, frame: Frame, hops: Hops, around: _Around, why: str, *, guessed: bool = False
    ) -> Iterator[Way]:
        """The same frame is handed to another device to be sent."""
        if _passed(hops, device, "out", frame, around):
            yield _lost(device, "the frame goes round in a loop", hops)
            return
        hop = _hop(device, "out", why, around, frame.vlans, guessed=guessed)
        yield from self._emit(device, frame, (*hops, hop), around)

    def _to_peer(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        peer = self._network.peers.get(device.id)
        if peer is None:
            yield from self._to_uplink(device, frame, hops, around)
        else:
            yield from self._take(peer, frame, hops, around, "")

    def _to_vlan(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        lower = self._network.lowers.get(device.id)
        if lower is None:
            yield _lost(device, "the device that it stands on is not in the graph", hops, kind="unknown")
        else:
            yield from self._next(lower, frame.tagged(device.data.vlan), hops, around, f"VLAN {device.data.vlan} tagged")

    def _to_lower(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """A macvlan's siblings in bridge mode, an ipvlan's siblings; then the lower device."""
        lower = self._network.lowers.get(device.id)
        if lower is None:
            yield _lost(device, "the device that it stands on is not in the graph", hops, kind="unknown")
            return
        for other in self._network.uppers[lower.id]:
            if other is device or other.data.type != device.data.type:
                continue
            if _takes_from_sibling(device, other, frame):
                yield from self._take(other, frame, hops, around, f"on the same {lower.name}")
                if not frame.asks:
                    return
        yield from self._next(lower, frame, hops, around, f"lower device of {device.name}")

    def _to_members(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """A bond, or team, sends by one of its members; which one may depend on a hash."""
        members = sorted(device.ports, key=lambda one: one.data.if_index)
        able = [one for one in members if not one.failure and _is_active(device, one)]
        if not able:
            yield _lost(device, "none of its members is active" if members else "has no members", hops)
            return
        mode = device.data.bond_mode or device.data.type
        why = f"active member ({mode})" if len(able) == 1 else f"member 1 of {len(able)} by hash ({mode})"
        yield from self._next(able[0], frame, hops, around, why)

    def _to_bridge(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        yield from self._bridged(device, None, frame, hops, around)

    def _bridged(self, bridge: Device, port: Device | None, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        if bridge.failure and port is not None and "UP" not in (bridge.data.link_flags or ("UP",)):
            yield _lost(bridge, bridge.failure, hops)
            return
        found = bridging.forward(bridge, port, frame)
        if not found:
            yield _lost(bridge, "the bridge has no other port", hops)
        for one in found:
            if isinstance(one, bridging.Dropped):
                yield _lost(one.device, one.reason, hops)
            elif one.device is bridge:
                yield from self._take(bridge, one.frame, hops, around, one.why)
            elif port is None:
                yield from self._next(one.device, one.frame, hops, around, one.why, guessed=one.flooded)
            else:
                through = _hop(bridge, "through", one.why, around, one.frame.vlans)
                yield from self._next(one.device, one.frame, (*hops, through), around, "", guessed=one.flooded)

    def _to_nowhere(self, device: Device, _: Frame, hops: Hops, __: _Around) -> Iterator[Way]:
        yield _lost(device, _ENDS[device.data.type], hops, kind="stops" if device.data.type == "dummy" else "unknown")

    def _to_uplink(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """Out of what is known: over a switch that is not in the graph, to whoever of those behind such takes it."""
        hosts = {one.namespace.host for one in self._takers(frame)}
        found: list[Way] = []
        for other in self._links_outside():
            if other is not device and other.namespace.host in hosts and not other.failure:
                ways = self._take(other, frame, hops, around, "over a link that is not in the graph", guessed=True)
                found += [way for way in ways if isinstance(way, Arrival) and (not frame.asks or self._answers(way, frame))]
        yield from found
        if not found:
            who = f"{frame.target}" + (f" ({frame.mac})" if frame.mac and not frame.asks else "")
            yield _lost(device, f"nothing is known beyond: {who} is not found in the graph", hops, kind="unknown")

    def _takers(self, frame: Frame) -> list[Device]:
        """Those that have its MAC, or answer for the address that it asks for."""
        if not frame.asks:
            return self._network.by_mac.get(frame.mac, [])
        return [*self._network.holders.get(frame.target, ()), *self._proxies(frame.target)]

    def _proxies(self, target: Address) -> list[Device]:
        """Interfaces to what is not in the graph that answer for an address of others."""
        return [one for one in self._links_outside() if self.answers_for(one, target)]

    def _links_outside(self) -> list[Device]:
        """Interfaces that lead to what is not in the graph."""
        if self._uplinks is None:
            network = self._network
            self._uplinks = [one for one in network.devices.values() if _leads_outside(one, network)]
        return self._uplinks

    def _to_ipvlan(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        lower = self._network.lowers.get(device.id)
        if lower is None or device.data.ipvlan_mode in ("", "l2"):
            yield from self._to_lower(device, frame, hops, around)
            return
        siblings = [one for one in self._network.uppers[lower.id] if frame.packet.dst in one.addresses]
        if siblings:
            yield from self._take(siblings[0], replace(frame, mac=""), hops, around, f"on the same {lower.name}")
            return
        yield from self._as_packet(lower.namespace, frame.packet, lower, hops, around)

    def _as_packet(self, namespace: Namespace, packet: Packet, by: Device, hops: Hops, around: _Around) -> Iterator[Way]:
        """An ipvlan of mode l3: the namespace of its lower device routes, bound to that device."""
        route = self.router(namespace).choose(packet, bound_to=by)
        if isinstance(route, Refused):
            yield _lost(by, f"ipvlan in mode l3: {route.reason}", hops, kind="stops" if route.surely else "unknown")
            return
        if not route.hops:
            yield _lost(by, f"ipvlan in mode l3: route {route.words()} leads nowhere", hops)
            return
        hop, device = route.hops[0]
        first = _hop(device, "out", f"route {route.words()}", around, routed=True)
        way, _ = self._over_link(device, Frame(packet, _parse(hop.ip) or packet.dst), (*hops, first), around)
        yield way

    def _likely(self, ports: list[Device], frame: Frame) -> list[Device]:
        """Of ports that lead to bridges those behind which the sender was heard, or which know the receiver, if there are any.

        So a frame does not change to a VLAN that it is not in: those of the switch are not in the graph.
        """
        bridged = {one.id: peer for one in ports if (peer := self._network.peers.get(one.id)) is not None and peer.master}
        heard = {id_ for id_, peer in bridged.items() if _has_learned([peer], frame.sender)}
        known = {id_ for id_, peer in bridged.items() if peer.master and _has_learned(peer.master.ports, frame.mac)}
        likely = heard or known
        return [one for one in ports if not likely or one.id in likely or one.id not in bridged]

    def _into_tunnel(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        tunnel, beneath = device.tunnel, self._network.beneath(device)
        if tunnel is None or tunnel.collect_metadata:
            yield _lost(device, "where it sends is said by each route or program, not by the device", hops, kind="unknown")
            return
        if beneath is None:
            yield _lost(device, "the namespace that its packets leave from is not in the graph", hops, kind="unknown")
            return
        if around.depth >= _DEEPEST:
            yield _lost(device, f"more than {_DEEPEST} tunnels in each other", hops)
            return
        remotes = encapsulation.remotes(device, tunnel, frame)
        for remote in remotes:
            yield from self._to_remote(device, beneath, remote, frame, hops, around, guessed=len(remotes) > 1)
        if remotes:
            return
        flooded = encapsulation.group(tunnel)
        if flooded is not None:
            yield from self._to_group(device, beneath, flooded, frame, hops, around)
        elif tunnel.remote == ovstunnels.OF_RULES:
            yield from self._to_senders(device, beneath, frame, hops, around)
        else:
            yield _lost(device, f"has no remote end for {frame.mac or frame.target}: no FDB entry, no default one", hops)

    def _to_remote(
        self,
        device: Device,
        beneath: Namespace,
        remote: encapsulation.Remote,
        frame: Frame,
        hops: Hops,
        around: _Around,
        *,
        guessed: bool,
    ) -> Iterator[Way]:
        tunnel, kind = device.tunnel, device.data.type
        assert tunnel is not None, "it is a tunnel's end"
        label, port = encapsulation.label_words(kind, remote.label), encapsulation.port(device, tunnel)
        more = encapsulation.overhead(device, tunnel, remote.address, len(frame.vlans))
        outside = _Around(around.depth + 1, around.overhead + more, around.misfit)
        said = " ".join(word for word in (kind, label, f"to {remote.address} ({remote.why})") if word)
        sent = (*hops[:-1], msgspec.structs.replace(hops[-1], decision=_joined(hops[-1].decision, said)))
        proto = encapsulation.KINDS[kind].proto
        outer = Packet(_parse(tunnel.local), remote.address, proto, port)
        trip = self.send(beneath, outer, outside, beneath.devices.get(tunnel.link) if tunnel.link else None)
        way = (*sent, *trip.hops)
        if trip.at is None:
            rank = _MISFIT if trip.misfit else _HARD if trip.end.kind == "stops" else _UNKNOWN
            yield Lost(way, trip.end, rank, trip.misfit)
            return
        src = trip.packet.src
        here = self._tunnels().get(trip.at.id, [])
        ends = [one for one in here if encapsulation.takes(one, kind, remote, port, src)]
        if not ends:
            yield Lost(way, _ended("stops", _no_end(here, kind, label, port, src), None, trip.at), _HARD)
        for end in sorted(ends, key=encapsulation.rank)[:1]:
            said = f"out of {kind}" + (f" {label}" if label else "")
            yield from self._take(end, frame, way, around, said, guessed=guessed)

    def _to_group(
        self, device: Device, beneath: Namespace, group: Address, frame: Frame, hops: Hops, around: _Around
    ) -> Iterator[Way]:
        """A VXLAN that floods to a multicast group: all others of the same group and VNI hear it."""
        tunnel = device.tunnel
        assert tunnel is not None, "it is a tunnel's end"
        others = [
            one
            for ends in self._tunnels().values()
            for one in ends
            if one is not device and one.data.vxlan and one.data.vxlan.id == tunnel.id and one.data.vxlan.group == tunnel.group
        ]
        label = encapsulation.label_words(device.data.type, tunnel.id)
        for one in others:
            local = self._underlay_address(one, group.version)
            if local is not None:
                said = encapsulation.Remote(local, tunnel.id, f"a member of {group}")
                yield from self._to_remote(device, beneath, said, frame, hops, around, guessed=True)
        if not others:
            yield _lost(device, f"no other VXLAN device is known with {label} in the group {group}", hops, kind="unknown")

    def _to_senders(self, device: Device, beneath: Namespace, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """Rules of OpenFlow say to whom: likely those that send to it."""
        others = [
            (one, remote)
            for ends in self._tunnels().values()
            for one in ends
            if one is not device and one.tunnel and (remote := _parse(one.tunnel.remote)) and beneath.holds(remote)
        ]
        tunnel = device.tunnel
        assert tunnel is not None, "it is a tunnel's end"
        for one, remote in others:
            local = self._sends_from(one, remote) if one.data.type == device.data.type else None
            if local is not None:
                label = encapsulation.sent(device, tunnel)
                said = encapsulation.Remote(local, label, "who sends here", tunnel.out_of_rules)
                yield from self._to_remote(device, beneath, said, frame, hops, around, guessed=True)
        yield _lost(device, "where it sends is said by rules of OpenFlow", hops, kind="unknown")

    def _tunnels(self) -> dict[str, list[Device]]:
        """Ends of tunnels, by the ID of the namespace that their packets come into."""
        if self._tunnel_ends is None:
            self._tunnel_ends = {}
            for one in self._network.devices.values():
                beneath = self._network.beneath(one) if one.tunnel is not None else None
                if beneath is not None:
                    self._tunnel_ends.setdefault(beneath.id, []).append(one)
        return self._tunnel_ends

    def _underlay_address(self, device: Device, version: int) -> Address | None:
        """The address that a tunnel's packets leave with, where the graph tells one."""
        tunnel, beneath = device.tunnel, self._network.beneath(device)
        assert tunnel is not None, "it is a tunnel's end"
        if (local := _parse(tunnel.local)) is not None:
            return local
        lower = beneath.devices.get(tunnel.link) if beneath is not None else None
        own = lower.addresses if lower is not None else {}
        return next((one for one in own if one.version == version and not one.is_link_local), None)

    def _sends_from(self, device: Device, remote: Address) -> Address | None:
        """The address that a tunnel's packets to a remote end leave with."""
        tunnel, beneath = device.tunnel, self._network.beneath(device)
        assert tunnel is not None, "it is a tunnel's end"
        local = _parse(tunnel.local)
        if beneath is None or local is not None:
            return local
        packet, router = Packet(None, remote, encapsulation.KINDS[device.data.type].proto), self.router(beneath)
        route = router.choose(packet)
        return None if isinstance(route, Refused) or route.ours else router.source(packet, route)

    def _take(
        self, device: Device, frame: Frame, hops: Hops, around: _Around, why: str, *, guessed: bool = False
    ) -> Iterator[Way]:
        """A frame comes in by a device."""
        if (lost := self._not_taken(device, frame, hops, around)) is not None:
            yield lost
            return
        hops = (*hops, _hop(device, "in", why, around, frame.vlans, guessed=guessed))
        uppers = self._network.uppers.get(device.id, [])
        if frame.vlans:
            tagged = [one for one in uppers if one.data.type == "vlan" and one.data.vlan == frame.vlans[0]]
            if tagged:
                yield from self._take(tagged[0], frame.untagged(), hops, around, f"VLAN {frame.vlans[0]}")
                return
        ports = switching.fellow_ports(device)
        if ports is not None or device.id in self._network.switch_ports:
            yield from self._switched(device, ports or [], frame, hops, around)
            return
        master = device.master
        receive = self._RECEIVERS.get(master.data.type) if master else None
        if master is not None and receive is not None:
            yield from receive(self, device, master, frame, hops, around)
            return
        if frame.vlans:
            yield _lost(device, f"no device takes VLAN {frame.vlans[0]} here", hops)
            return
        yield from self._to_uppers(device, uppers, frame, hops, around)

    def _not_taken(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Lost | None:
        """Why a frame does not come in by a device; None: it does."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            return _lost(device, f"the search ended after {_MOST_STEPS} steps", hops, kind="unknown")
        if _passed(hops, device, "in", frame, around):
            return _lost(device, "the frame goes round in a loop", hops)
        return _lost(device, device.failure, hops) if device.failure else None  # it sees nothing

    def _to_uppers(self, device: Device, uppers: list[Device], frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """A macvlan's or ipvlan's part of what comes in; else it is the device's own, if the MAC says so."""
        for upper in uppers:
            if _takes_from_lower(upper, frame):
                yield from self._take(upper, frame, hops, around, "")
                if not frame.asks:
                    return
        if not frame.mac or frame.asks or frame.mac == device.data.mac or not device.data.mac:
            yield Arrival(hops, device, frame)
        else:
            yield _lost(device, f"takes no frames for {frame.mac}: its MAC is {device.data.mac}", hops, rank=_NOT_FOR_US)

    def _in_bridge(self, device: Device, master: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        yield from self._bridged(master, device, frame, hops, around)

    def _in_bond(self, device: Device, master: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        if not _is_active(master, device):
            yield _lost(device, f"is no active member of {master.name}", hops)
        else:
            yield from self._take(master, frame, hops, around, "")

    def _to_switch(self, device: Device, frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """By an internal port into Open vSwitch."""
        yield from self._switched(device, switching.fellow_ports(device) or [], frame, hops, around)

    def _switched(self, device: Device, ports: list[Device], frame: Frame, hops: Hops, around: _Around) -> Iterator[Way]:
        """Open vSwitch: it is taken to hand frames to whichever port leads there, unless rules that are known say otherwise."""
        more, entered = _switches(hops, around.depth) < _MOST_SWITCHES, self._network.switch_ports.get(device.id)
        if more and entered is not None:
            found = self._nearest_first(openvswitch.reached(entered, frame), frame)
            yield from self._by_vlans(found, device, frame, hops, around)
            if any(one.surely for one in found):
                return
        elif more:
            for port in self._likely(ports, frame):
                yield from self._out_of_switch(port, frame, hops, around, f"{_SWITCHED}{_ASSUMED}")
        yield _lost(device, "what Open vSwitch does with it is not in the graph", hops, kind="unknown")

    def _by_vlans(
        self, found: list[openvswitch.Reached], device: Device, frame: Frame, hops: Hops, around: _Around
    ) -> Iterator[Way]:
        """By the ports that its VLAN is let out of; where none leads there, those that would if their VLANs were others."""
        arrived = False
        for one in found:
            if one.dropped:
                if one.between is None:
                    yield _dropped(one, device, hops)
                continue
            to = next((each for each in one.port.devices if not each.failure), one.port.devices[0])  # of a bond
            if arrived and (one.between is not None or _is_of_switch(to)):
                continue
            if one.between is not None and around.misfit:
                return
            inside = around if one.between is None else replace(around, misfit=True)
            for way in self._out_of_switch(to, one.frame, hops, inside, _passing(one), guessed=not one.surely):
                there = isinstance(way, Arrival) and self._answers(way, frame)
                arrived = arrived or there
                if one.between is None:
                    yield way
                elif there:
                    yield self._misfit(one, hops, to.namespace)

    def _nearest_first(self, found: Iterable[openvswitch.Reached], frame: Frame) -> list[openvswitch.Reached]:
        """Ports by which it may leave; tunnels last, for each is a way of its own, and there may be hundreds.

        Of these first those to hosts where somebody takes it.
        """
        hosts = {one.namespace.host for one in self._takers(frame)}

        def distance(one: openvswitch.Reached) -> tuple[bool, int]:
            ends = [each for each in one.port.devices if _is_of_switch(each)]
            there = {
                holder.namespace.host
                for end in ends
                if end.tunnel and (remote := _parse(end.tunnel.remote)) is not None
                for holder in self._network.holders.get(remote, ())
            }
            return one.between is not None, bool(ends) and 1 + (not there & hosts)

        return sorted(found, key=distance)

    def _misfit(self, reached: openvswitch.Reached, hops: Hops, namespace: Namespace) -> Lost:
        network = self._network
        found = openvswitch.misfit(reached, network.peers, network.holders, network.switch_ports)
        return Lost(hops, End("stops", found.words, namespace.host, namespace.name, found.odd.name), _MISFIT, found)

    def _out_of_switch(
        self, port: Device, frame: Frame, hops: Hops, around: _Around, why: str, *, guessed: bool = True
    ) -> Iterator[Way]:
        """A frame leaves Open vSwitch by a port; by an internal one it comes to the host."""
        if port.data.type not in switching.INTERNAL:
            yield from self._next(port, frame, hops, around, why, guessed=guessed)
        elif not _passed(hops, port, "in", frame, around):
            hop = _hop(port, "in", why, around, frame.vlans, guessed=guessed)
            yield from self._to_uppers(port, [], frame, (*hops, hop), around)

    _Sender: TypeAlias = "Callable[[Walker, Device, Frame, Hops, _Around], Iterator[Way]]"
    _Receiver: TypeAlias = "Callable[[Walker, Device, Device, Frame, Hops, _Around], Iterator[Way]]"

    _SENDERS: ClassVar[dict[str, _Sender]] = {
        **dict.fromkeys(PAIRS, _to_peer),
        **dict.fromkeys(encapsulation.KINDS, _into_tunnel),
        **dict.fromkeys(("dummy", "tun", "wireguard", "xfrm", "ppp", "gtp", "nlmon"), _to_nowhere),
        "vlan": _to_vlan,
        "macvlan": _to_lower,
        "macvtap": _to_lower,
        "ipvlan": _to_ipvlan,
        "ipvtap": _to_ipvlan,
        "bond": _to_members,
        "team": _to_members,
        "bridge": _to_bridge,
        **dict.fromkeys(switching.INTERNAL, _to_switch),
    }
    """What each kind of interface does with what is sent by it; others lead outside."""

    _RECEIVERS: ClassVar[dict[str, _Receiver]] = {
        "bridge": _in_bridge,
        "bond": _in_bond,
        "team": _in_bond,
    }
    """What becomes of a frame that comes in by a port, by the kind of its master; others leave it to the port."""


_ENDS = {
    "dummy": "a dummy throws away what it is given",
    "tun": "a program takes what is sent here: nothing is known beyond",
    "wireguard": "its peers are not in the graph",
    "xfrm": "IPsec's policies are not in the graph",
    "ppp": "nothing is known beyond",
    "gtp": "nothing is known beyond",
    "nlmon": "it only shows netlink messages",
}


def _hop(
    device: Device,
    direction: Direction,
    decision: str,
    around: _Around,
    vlans: tuple[int, ...] = (),
    *,
    routed: bool = False,
    guessed: bool = False,
) -> Hop:
    data, namespace = device.data, device.namespace
    return Hop(
        namespace.host,
        namespace.name,
        data.name,
        device.id,
        device.tid,
        data.type,
        direction,
        decision,
        around.depth,
        vlans,
        data.mtu,
        data.mtu - around.overhead if data.mtu and direction != "through" else None,
        data.state,
        routed,
        guessed,
    )


def _lost(device: Device, reason: str, hops: Hops, *, kind: Ending = "stops", rank: int | None = None) -> Lost:
    said = _HARD if kind == "stops" else _UNKNOWN
    return Lost(hops, _ended(kind, reason, device, device.namespace), said if rank is None else rank)


def _worth(way: Lost) -> tuple[int, int, int]:
    """How much it says: of VLANs that do not go together those that are surely so, and the first on the way."""
    if way.misfit is not None:
        return way.rank, way.misfit.certainty, -len(way.hops)
    return way.rank, 0, len(way.hops)


def _doubt(way: Arrival, frame: Frame) -> tuple[bool, int, int]:
    """Of several ways to the next hop the one with the least counts: who has the address answers, rather than its neighbour."""
    return frame.target not in way.device.addresses, sum(hop.guessed for hop in way.hops), len(way.hops)


def _is_of_switch(device: Device) -> bool:
    """Whether only Open vSwitch has it: a tunnel's end."""
    return not device.data.if_index


def _has_learned(ports: Iterable[Device], mac: str) -> bool:
    return bool(mac) and any(entry.mac == mac for port in ports for entry in port.data.fdb)


def _assumptions(hops: Hops) -> int:
    """How often a frame was taken to pass Open vSwitch."""
    return sum(_ASSUMED in hop.decision for hop in hops)


def _switches(hops: Hops, depth: int) -> int:
    """How often a frame passed Open vSwitch, within so many tunnels."""
    return sum(hop.decision.startswith(_SWITCHED) and hop.depth == depth for hop in hops)


def _passing(reached: openvswitch.Reached) -> str:
    """Why a frame leaves Open vSwitch by a port."""
    vlan = f" in VLAN {reached.vlan}" if reached.vlan else ""
    said = f": {reached.words}" if reached.words else ""
    return f"{_SWITCHED}{vlan} of {reached.port.bridge}{said}{_ASSUMED if reached.assumed else ''}"


def _dropped(reached: openvswitch.Reached, device: Device, hops: Hops) -> Lost:
    """Rules drop a frame; one that was flooded to them may go on elsewhere."""
    (bridge, decision), namespace = reached.decisions[-1], device.namespace
    kind: Ending = "stops" if reached.surely else "unknown"
    end = End(kind, f"rule {decision.rule} of {bridge} drops it", namespace.host, namespace.name, reached.port.name)
    return Lost(hops, end, _HARD if reached.surely else _UNKNOWN)


def _until(device: Device, ways: list[Way]) -> Hops:
    """The hops up to where the device sent."""
    for way in ways:
        ids = [hop.id for hop in way.hops]
        if device.id in ids:
            return way.hops[: len(ids) - ids[::-1].index(device.id)]
    return ()


def _no_end(here: list[Device], kind: str, label: str, port: int, src: Address | None) -> str:
    """Why what a tunnel brings is taken by nobody, with what is there instead."""
    there = [
        " ".join(word for word in (encapsulation.device_label(one), f"({one.name})") if word)
        for one in here
        if one.data.type == kind
    ]
    has = f"it has {', '.join(there)}" if there else f"it has no {kind} device"
    what = " ".join(word for word in (kind, label, f"port {port}" if port else "") if word)
    return f"nothing takes {what} from {src} there: {has}"


def _passed(hops: Hops, device: Device, direction: Direction, frame: Frame, around: _Around) -> bool:
    here = device.id, direction, frame.vlans, around.depth
    return any((hop.id, hop.direction, hop.vlans, hop.depth) == here for hop in hops)


def _place(end: End) -> str:
    return " ".join(word for word in (end.interface, end.namespace, end.host) if word)


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _parse(text: str) -> Address | None:
    return encapsulation.parse(text)


def _vrf_of(device: Device | None) -> Device | None:
    if device is None:
        return None
    if device.data.type == "vrf":
        return device
    master = device.master
    return master if master is not None and master.data.type == "vrf" else None


def _has_macs(device: Device) -> bool:
    """Whether neighbours are asked for by it."""
    flags = device.data.link_flags or ()
    return bool(device.data.mac) and "NOARP" not in flags


def _is_deaf(device: Device, target: Address) -> bool:
    """Whether it answers nobody who asks for an address."""
    return target.version == 4 and "NOARP" in (device.data.link_flags or ())


def _is_active(bond: Device, member: Device) -> bool:
    chosen = bond.data.bond.active_slave
    return member.data.bond_slave.mii_status == "UP" and (not chosen or chosen == member.data.if_index)


def _takes_from_sibling(device: Device, other: Device, frame: Frame) -> bool:
    if device.data.type in ("ipvlan", "ipvtap"):
        return frame.target in other.addresses
    return device.data.macvlan_mode == other.data.macvlan_mode == "bridge" and (frame.asks or frame.mac == other.data.mac)


def _takes_from_lower(upper: Device, frame: Frame) -> bool:
    kind = upper.data.type
    if kind in ("ipvlan", "ipvtap"):
        return (frame.target if frame.asks else frame.packet.dst) in upper.addresses
    return kind in ("macvlan", "macvtap") and (frame.asks or frame.mac == upper.data.mac)


def _leads_outside(device: Device, network: Network) -> bool:
    kind = device.data.type
    if kind in PAIRS:
        return device.id not in network.peers
    return kind not in _KNOWN_ENDS and "LOOPBACK" not in (device.data.link_flags or ()) and bool(device.data.mac)


_KNOWN_ENDS = frozenset(Walker._SENDERS)  # noqa: SLF001 - the same module's
