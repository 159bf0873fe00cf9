"""What an Open vSwitch does with a frame by the VLANs of its ports, which its database tells. Pure.

That is what the action NORMAL does; where OpenFlow rules are in the graph, the simple ones are followed (``openflow``). Which
port has learned a MAC is not known: a frame may leave by every port that its VLAN is let out of.

Sources: ovs-vswitchd.conf.db(5), "VLAN Configuration"; ofproto/ofproto-dpif-xlate.c.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from topology.path.devices import Address, Device
from topology.path.openflow import Decision, Rules
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
    of_port: int = 0


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
        numbers: those that OpenFlow knows its interfaces by.
        rules: of OpenFlow, of the bridge, as far as they are in the graph.
    """

    name: str
    bridge: str
    vlans: VlanSettings
    ports: list[Port]
    devices: list[Device] = field(default_factory=list)
    peer: Port | None = None
    numbers: frozenset[int] = frozenset()
    rules: Rules = field(default_factory=Rules)

    def decide(self, frame: Frame) -> Decision | None:
        """What rules do with a frame that comes in by it; None: they are not known, or do too much."""
        return self.rules.decide(self.numbers, frame)

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
        decisions: of rules of OpenFlow that are known, each with the name of its bridge; of the last bridge it may be that
            they drop the frame, which then came there by the port.
        assumed: whether there are bridges whose rules are not known.
    """

    port: Port
    frame: Frame
    vlan: int
    between: tuple[Port, Port] | None = None
    decisions: tuple[tuple[str, Decision], ...] = ()
    assumed: bool = True

    @property
    def dropped(self) -> bool:
        """Whether rules drop it."""
        return bool(self.decisions) and self.decisions[-1][1].drops

    @property
    def words(self) -> str:
        """What the rules do, one after the other."""
        return ", ".join(f"rule {one.rule} {_does(one)}" for _, one in self.decisions)

    @property
    def surely(self) -> bool:
        """Whether rules alone say so: nothing was flooded."""
        return not self.assumed and not any(one.normal for _, one in self.decisions)


def _does(decision: Decision) -> str:
    if decision.drops:
        return "drops it"
    return "NORMAL" if decision.normal else "outputs it"


def ports(
    elements: Mapping[str, Element],
    layers: Iterable[tuple[str, str]],
    devices: Mapping[str, Device],
    rules: Mapping[str, Rules] | None = None,
) -> dict[str, Port]:
    """The ports that interfaces are in, by the interface's ID.

    Args:
        elements: bridges, ports and patch ports, by ID.
        layers: parents and children that ``layer2`` edges join.
        devices: interfaces by ID.
        rules: of OpenFlow, by the bridge's ID.
    """
    joined = [(parent, child) for parent, child in layers if parent in elements]
    of_bridge: dict[str, list[Port]] = {id_: [] for id_, one in elements.items() if one.type == BRIDGE}
    found: dict[str, Port] = {}
    for bridge, id_ in joined:
        port = elements.get(id_)
        if port is not None and port.type == PORT and bridge in of_bridge:
            found[id_] = Port(port.name, elements[bridge].name, port.ovs, of_bridge[bridge])
            found[id_].rules = (rules or {}).get(bridge, found[id_].rules)
            of_bridge[bridge].append(found[id_])
    by_interface: dict[str, Port] = {}
    for id_, interface in joined:
        if id_ in found:
            by_interface[interface] = found[id_]
            if interface in devices:
                found[id_].devices.append(devices[interface])
            number = devices[interface].data.of_port if interface in devices else _of_port(elements.get(interface))
            found[id_].numbers |= {number} if number > 0 else set()
    for left, right in joined:
        if left in by_interface and right in by_interface and elements[left].type == PATCH:
            one, other = by_interface[left], by_interface[right]
            one.peer, other.peer = other, one
    return by_interface


def _of_port(element: Element | None) -> int:
    return element.of_port if element is not None else 0


def reached(port: Port, frame: Frame) -> Iterator[Reached]:
    """Where a frame that came in by a port may leave; then, where it would if it were not for the VLANs of two ports."""
    found = list(_entered(port, frame, _Way(None, frozenset({id(port)}), (), False)))
    yield from (one for one in found if one.between is None)
    yield from (one for one in found if one.between is not None)


class _Way(NamedTuple):
    """How a frame came to a bridge: as :class:`Reached` has it, and the ports that it passed."""

    between: tuple[Port, Port] | None
    passed: frozenset[int]
    decisions: tuple[tuple[str, Decision], ...]
    assumed: bool


def _entered(port: Port, frame: Frame, way: _Way) -> Iterator[Reached]:
    """A frame comes into a bridge by a port."""
    decision = port.decide(frame)
    if decision is None:
        yield from _switched(port, frame, way._replace(assumed=True))
        return
    way = way._replace(decisions=(*way.decisions, (port.bridge, decision)))
    if decision.normal:
        yield from _switched(port, frame, way)
    elif decision.drops:
        yield Reached(port, frame, 0, way.between, way.decisions, way.assumed)
    for to in port.ports:
        if to.numbers & set(decision.ports):
            yield from _left(to, frame, next(iter(frame.vlans), 0), way)


def _switched(port: Port, frame: Frame, way: _Way) -> Iterator[Reached]:
    """By its VLAN."""
    vlan, tags = taken(port.vlans, frame.vlans)
    inner = replace(frame, vlans=tags)
    for to in sorted((one for one in port.ports if one is not port), key=lambda one: one.name):
        refused = way.between
        if vlan is None or not includes(to.vlans, vlan):
            if way.between is not None:  # two faults at once
                continue
            refused = (to, port) if vlan is not None else (port, port)
        # with other VLANs it might leave with a tag, or without
        leaving = [replace(inner, vlans=given(to.vlans, vlan or 0, tags)), *([inner] if refused is not way.between else [])]
        for out in dict.fromkeys(leaving):
            shown = vlan if vlan is not None else next(iter(frame.vlans), 0)
            yield from _left(to, out, shown, way._replace(between=refused))


def _left(to: Port, frame: Frame, vlan: int, way: _Way) -> Iterator[Reached]:
    """A frame leaves a bridge by a port: a patch leads into another one."""
    if to.peer is not None and id(to.peer) not in way.passed:
        passed = way.passed | {id(one) for one in (*to.ports, to.peer)}
        yield from _entered(to.peer, frame, way._replace(passed=passed))
    elif to.devices:
        yield Reached(to, frame, vlan, way.between, way.decisions, way.assumed)


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
