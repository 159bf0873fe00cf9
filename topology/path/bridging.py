"""What a bridge does with a frame: VLANs, port states, forwarding entries. Pure.

Sources: net/bridge/br_input.c, br_forward.c, br_vlan.c, br_fdb.c; bridge(8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from topology.path.devices import Device, Vlans
from topology.path.packets import Frame, Tags

_FORWARDING = "forwarding"
_LOCAL = "NUD_PERMANENT"
_SELF = "NTF_SELF"
_MASTER = "NTF_MASTER"


@dataclass(frozen=True, slots=True)
class Onward:
    """A port that the bridge sends a frame to; the bridge itself, where it is handed up.

    Attributes:
        device: the port, or the bridge.
        frame: with the tags that it has there.
        why: what sent it there.
        flooded: whether it goes there because the bridge does not know where to.
    """

    device: Device
    frame: Frame
    why: str
    flooded: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """Where, and why, a frame does not go on."""

    device: Device
    reason: str


def forward(bridge: Device, port: Device | None, frame: Frame) -> list[Onward | Dropped]:
    """Where a frame goes to.

    Args:
        bridge: that does it.
        port: that the frame came in by; None: the bridge itself sends it.
        frame: as it came in.
    """
    entered = port or bridge
    if port is not None and (state := port.data.bridge_port.state) != _FORWARDING:
        return [Dropped(port, f"the bridge port is {state} (STP)")]
    filtering = bridge.data.bridge.vlan_filtering
    vlan, tags = taken(entered.data.bridge_vlans, frame.vlans) if filtering else (0, frame.vlans)
    inner = replace(frame, vlans=tags)
    if vlan is None:
        return [Dropped(entered, _not_taken(entered, frame))]
    if frame.asks:
        return [*_flood(bridge, port, inner, vlan, "flooded"), *_up(bridge, port, inner, vlan, "a broadcast")]
    entry_ports = list(_known(bridge, frame.mac, vlan))
    if port is not None and (frame.mac == bridge.data.mac or any(local for _, local in entry_ports)):
        return list(_up(bridge, port, inner, vlan, "the MAC is the bridge's own"))
    words = f"FDB entry {frame.mac}" + (f" VLAN {vlan}" if vlan else "")
    for to, _ in entry_ports:
        return [_egress(bridge, port, to, inner, vlan, words)]
    return list(_flood(bridge, port, inner, vlan, f"no FDB entry for {frame.mac}: flooded"))


def taken(vlans: tuple[Vlans, ...], tags: Tags) -> tuple[int | None, Tags]:
    """The VLAN that a frame with these tags is in, and those it has inside; None: the port does not let it in."""
    if not tags:
        return next((one.id for one in vlans if one.pvid), None), tags
    return (tags[0] if _member(vlans, tags[0]) else None), tags[1:]


def given(vlans: tuple[Vlans, ...], vlan: int, tags: Tags) -> Tags | None:
    """The tags of a frame of a VLAN, with these inside, as it leaves by a port; None: it does not."""
    member = _member(vlans, vlan)
    return None if member is None else tags if member.untagged else (vlan, *tags)


def _member(vlans: tuple[Vlans, ...], vlan: int) -> Vlans | None:
    return next((one for one in vlans if one.id <= vlan <= max(one.end, one.id)), None)


def _not_taken(device: Device, frame: Frame) -> str:
    if frame.vlans:
        return f"VLAN {frame.vlans[0]} is not allowed at the port: it has {_listed(device.data.bridge_vlans)}"
    return f"untagged frames are not taken: the port has no PVID, only {_listed(device.data.bridge_vlans)}"


def _listed(vlans: tuple[Vlans, ...]) -> str:
    shown = ", ".join(f"{one.id}-{one.end}" if one.end else str(one.id) for one in vlans)
    return f"VLAN {shown}" if shown else "no VLAN"


def _known(bridge: Device, mac: str, vlan: int) -> Iterator[tuple[Device, bool]]:
    """Ports that have a forwarding entry for the MAC, and whether it says that the MAC is the bridge's own."""
    for port in (*bridge.ports, bridge):
        for entry in port.data.fdb:
            of_bridge = _MASTER in entry.flags or _SELF not in entry.flags
            if of_bridge and entry.mac == mac and entry.vlan == vlan:
                yield port, _LOCAL in entry.state


def _up(bridge: Device, port: Device | None, frame: Frame, vlan: int, why: str) -> Iterator[Onward | Dropped]:
    if port is None:
        return
    if not bridge.data.bridge.vlan_filtering:
        yield Onward(bridge, frame, why)
        return
    tags = given(bridge.data.bridge_vlans, vlan, frame.vlans)
    if tags is None:
        yield Dropped(bridge, f"VLAN {vlan} is not allowed at the bridge itself: it has {_listed(bridge.data.bridge_vlans)}")
    else:
        yield Onward(bridge, replace(frame, vlans=tags), why)


def _flood(bridge: Device, port: Device | None, frame: Frame, vlan: int, why: str) -> Iterator[Onward | Dropped]:
    ports = sorted((one for one in bridge.ports if one is not port), key=lambda one: one.data.if_index)
    for to in ports:
        settings = to.data.bridge_port
        if settings.broadcast_flood if frame.asks else settings.unicast_flood:
            one = _egress(bridge, port, to, frame, vlan, why if len(ports) == 1 else f"{why} to {len(ports)} ports")
            yield replace(one, flooded=len(ports) > 1) if isinstance(one, Onward) else one


def _egress(bridge: Device, port: Device | None, to: Device, frame: Frame, vlan: int, why: str) -> Onward | Dropped:
    settings = to.data.bridge_port
    if to is port and not settings.hairpin:
        return Dropped(to, f"{why} leads back to the port that it came in by (no hairpin)")
    if settings.state != _FORWARDING:
        return Dropped(to, f"the bridge port is {settings.state} (STP)")
    if port is not None and port.data.bridge_port.isolated and settings.isolated:
        return Dropped(to, "both bridge ports are isolated")
    if not bridge.data.bridge.vlan_filtering:
        return Onward(to, frame, why)
    tags = given(to.data.bridge_vlans, vlan, frame.vlans)
    if tags is None:
        return Dropped(to, f"VLAN {vlan} is not allowed at the port: it has {_listed(to.data.bridge_vlans)}")
    return Onward(to, replace(frame, vlans=tags), why)
