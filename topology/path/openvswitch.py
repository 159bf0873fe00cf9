"""What an Open vSwitch does with a frame by the VLANs of its ports, which its database tells. Pure.

That is what the action NORMAL does; other OpenFlow rules are not known. Which port has learned a MAC is not known either: a
frame may leave by every port that its VLAN is let out of.

Sources: ovs-vswitchd.conf.db(5), "VLAN Configuration"; ofproto/ofproto-dpif-xlate.c.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from topology.path.devices import Address, Device
from topology.path.packets import Frame, Tags

BRIDGE, PORT, PATCH = "ovsbridge", "ovsport", "patch"
KINDS = frozenset({BRIDGE, PORT, PATCH})
"""Types of nodes that are read here."""


class VlanSettings(msgspec.Struct, frozen=True, gc=False, rename={"cvlans": "CVlans", "vlan_mode": "VlanMode"}):
    """A port's, as the database has them: what is not set is not there."""

    tag: int | None = msgspec.field(default=None, name="Tag")
    trunks: tuple[int, ...] = msgspec.field(default=(), name="Trunks")
    cvlans: tuple[int, ...] = ()
    vlan_mode: str = ""

    @property
    def mode(self) -> str:
        """What the settings make of a port."""
        return self.vlan_mode or ("trunk" if self.tag is None else "access")

    @property
    def native(self) -> int:
        """The VLAN of what comes in without a tag."""
        return 0 if self.mode == "trunk" else self.tag or 0

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.trunks)) or "all VLANs"
        if self.mode == "trunk":
            return f"trunk {listed}"
        if self.mode in _ONE_VLAN:
            return f"VLAN {self.native}"
        return f"native VLAN {self.native}, trunk {listed}"


_ONE_VLAN = frozenset({"access", "dot1q-tunnel"})


class Element(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What the node of a bridge, a port or a patch port says."""

    name: str
    type: str
    ovs: VlanSettings = VlanSettings()


@dataclass(slots=True, eq=False)
class Port:
    """A port of a bridge.

    Attributes:
        name: its name.
        bridge: the bridge's name.
        vlans: its settings.
        ports: all ports of the bridge, itself too.
        devices: the kernel's interfaces that it is made of; none: a tunnel, a patch port, …
        peer: the port at the other end of a patch.
    """

    name: str
    bridge: str
    vlans: VlanSettings
    ports: list[Port]
    devices: list[Device] = field(default_factory=list)
    peer: Port | None = None

    def __str__(self) -> str:
        return f"port {self.name} of {self.bridge}"


@dataclass(frozen=True, slots=True)
class Misfit:
    """VLANs of two ports that a frame would have to pass do not go together.

    Attributes:
        odd: the port that has another one than the rest of its segment, as far as that can be told.
        other: the other port.
        certainty: 2: the rest of its segment says so; 1: that of the other port says so; 0: it is the one further on.
        vlan: of the frame where it came in; 0: it has no tag.
    """

    odd: Port
    other: Port
    certainty: int
    vlan: int

    @property
    def words(self) -> str:
        """Both ports and what they have; one, that does not take what comes in by it."""
        if self.odd is self.other:
            refused = f"of VLAN {self.vlan}" if self.vlan else "without a tag"
            return f"{self.odd} has {self.odd.vlans}, and takes no frames {refused}"
        odd, other = str(self.odd.vlans), str(self.other.vlans)
        if odd.startswith("VLAN ") and other.startswith("VLAN "):
            other = other.removeprefix("VLAN ")
        return f"{self.odd} has {odd}, port {self.other.name} has {other}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A port that a frame leaves by.

    Attributes:
        port: with devices of the kernel's.
        frame: as it leaves.
        vlan: that it is in; where it is not let through, the one that it came with.
        between: the ports that do not let it through: it would leave only if their VLANs were others; twice the port that does
            not take it. None: they do.
    """

    port: Port
    frame: Frame
    vlan: int
    between: tuple[Port, Port] | None = None


def ports(elements: Mapping[str, Element], layers: Iterable[tuple[str, str]], devices: Mapping[str, Device]) -> dict[str, Port]:
    """The ports that interfaces are in, by the interface's ID.

    Args:
        elements: bridges, ports and patch ports, by ID.
        layers: parents and children that ``layer2`` edges join.
        devices: interfaces by ID.
    """
    joined = [(parent, child) for parent, child in layers if parent in elements]
    of_bridge: dict[str, list[Port]] = {id_: [] for id_, one in elements.items() if one.type == BRIDGE}
    found: dict[str, Port] = {}
    for bridge, id_ in joined:
        port = elements.get(id_)
        if port is not None and port.type == PORT and bridge in of_bridge:
            found[id_] = Port(port.name, elements[bridge].name, port.ovs, of_bridge[bridge])
            of_bridge[bridge].append(found[id_])
    by_interface: dict[str, Port] = {}
    for id_, interface in joined:
        if id_ in found:
            by_interface[interface] = found[id_]
            if interface in devices:
                found[id_].devices.append(devices[interface])
    for left, right in joined:
        if left in by_interface and right in by_interface and elements[left].type == PATCH:
            one, other = by_interface[left], by_interface[right]
            one.peer, other.peer = other, one
    return by_interface


def reached(port: Port, frame: Frame) -> Iterator[Reached]:
    """Where a frame that came in by a port may leave; then, where it would if it were not for the VLANs of two ports."""
    found = list(_reached(port, frame, None, {id(port)}))
    yield from (one for one in found if one.between is None)
    yield from (one for one in found if one.between is not None)


def _reached(port: Port, frame: Frame, between: tuple[Port, Port] | None, passed: set[int]) -> Iterator[Reached]:
    vlan, tags = taken(port.vlans, frame.vlans)
    inner = replace(frame, vlans=tags)
    for to in sorted((one for one in port.ports if one is not port), key=lambda one: one.name):
        refused = between
        if vlan is None or not includes(to.vlans, vlan):
            if between is not None:  # two faults at once
                continue
            refused = (to, port) if vlan is not None else (port, port)
        # with other VLANs it might leave with a tag, or without
        leaving = [replace(inner, vlans=given(to.vlans, vlan or 0, tags)), *([inner] if refused is not between else [])]
        for out in dict.fromkeys(leaving):
            if to.peer is not None and id(to.peer) not in passed:
                yield from _reached(to.peer, out, refused, passed | {id(one) for one in (*to.ports, to.peer)})
            elif to.devices:
                yield Reached(to, out, vlan if vlan is not None else next(iter(frame.vlans), 0), refused)


def taken(vlans: VlanSettings, tags: Tags) -> tuple[int | None, Tags]:
    """The VLAN that a frame with these tags is in, and those it has inside; None: the port does not take it."""
    mode = vlans.mode
    if mode == "dot1q-tunnel":
        allowed = not vlans.cvlans or (tags[0] if tags else 0) in vlans.cvlans
        return (vlans.native if allowed else None), tags
    if not tags:
        return (vlans.native if includes(vlans, vlans.native) else None), tags
    if mode == "access":
        return None, tags[1:]
    return (tags[0] if includes(vlans, tags[0]) else None), tags[1:]


def includes(vlans: VlanSettings, vlan: int) -> bool:
    """Whether frames of a VLAN leave by the port."""
    if vlans.mode in _ONE_VLAN:
        return vlan == vlans.native
    return not vlans.trunks or vlan in vlans.trunks or (vlans.mode != "trunk" and vlan == vlans.native)


def given(vlans: VlanSettings, vlan: int, tags: Tags) -> Tags:
    """The tags of a frame of a VLAN, with these inside, as it leaves by a port."""
    bare = vlans.mode in _ONE_VLAN or vlan == 0 or (vlans.mode == "native-untagged" and vlan == vlans.native)
    return tags if bare else (vlan, *tags)


def misfit(
    found: Reached, peers: Mapping[str, Device], holders: Mapping[Address, list[Device]], of: Mapping[str, Port]
) -> Misfit:
    """Which of the two ports that do not go together is the odd one: that whose tag most others of its segment do not have.

    Args:
        found: with the ports.
        peers: the other end of a pair, by an interface's ID.
        holders: who has an address.
        of: ports by their interfaces' IDs.
    """
    assert found.between is not None
    to, port = found.between
    is_odd = {id(one): _odd(one, peers, holders, of) for one in found.between}
    for one, other in ((to, port), (port, to)):
        if is_odd[id(one)] and not is_odd[id(other)]:
            return Misfit(one, other, 2, found.vlan)
    for one, other in ((to, port), (port, to)):
        if is_odd[id(other)] is False and is_odd[id(one)] is None:
            return Misfit(one, other, 1, found.vlan)
    return Misfit(to, port, 0, found.vlan)


def _odd(
    port: Port, peers: Mapping[str, Device], holders: Mapping[Address, list[Device]], of: Mapping[str, Port]
) -> bool | None:
    """Whether most others of its segment have another tag; None: it has no tag, or there are no others, or no addresses."""
    ends = {id_: end for id_ in of if (end := peers.get(id_)) is not None}
    networks = {
        ipaddress.ip_network((address, length), strict=False)
        for device in port.devices
        for end in (device, peers.get(device.id))
        if end is not None
        for address, length in end.addresses.items()
        if not address.is_link_local
    }
    if not networks or port.vlans.mode not in _ONE_VLAN:
        return None
    within = {one.id for address, held in holders.items() if any(address in network for network in networks) for one in held}
    others = (one for id_, one in of.items() if one is not port and (id_ in within or (id_ in ends and ends[id_].id in within)))
    tags = Counter(one.vlans.native for one in others if one.vlans.mode in _ONE_VLAN)
    if not tags:
        return None
    [(_, count)] = tags.most_common(1)
    return count > tags[port.vlans.native]
