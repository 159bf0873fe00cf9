"""Which interfaces of Open vSwitch are which devices of the kernel's. Pure.

A switch may be in another namespace than we are: it is where most of its interfaces' names, numbers and MACs are. There a name
is enough. An internal port that was moved into another namespace is known by its name and kind, if there is but one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.probes.devices import Device, Devices
    from topology.probes.ovsdb.translate import Row

_OF_KERNEL = frozenset({"", "system", "internal", "tap"})
"""Types of interfaces that are devices of the kernel's, of the same name."""

_OWN = frozenset({"internal", "tap"})
"""Those that the switch has made itself: they may be moved into another namespace."""

_KINDS = frozenset({"openvswitch", "tun"})
"""The kernel's kinds of these, by its own datapath and by that in user space."""

_DATAPATHS = ("ovs-system", "ovs-netdev")
"""Devices that stand for Open vSwitch itself, in the kernel and in user space."""


def of_kernel(kind: str) -> bool:
    """Whether an interface of that type is, as a rule, a device of the kernel's."""
    return kind in _OF_KERNEL


def is_own(kind: str) -> bool:
    """Whether an interface of that type is a device of the kernel's that the switch has made."""
    return kind in _OWN


@dataclass(frozen=True, slots=True)
class Joined:
    """What was found.

    Attributes:
        interfaces: the TID of the kernel's device, by an interface's UUID.
        datapaths: TIDs of the devices that stand for Open vSwitch itself.
        owner: TID of the host, or of the namespace, that the switch is in; empty: nothing tells.
    """

    interfaces: Mapping[str, str]
    datapaths: tuple[str, ...] = ()
    owner: str = ""


class Joining:
    """Remembers where the switch is.

    Args:
        near: whether the switch is in our own namespace as long as nothing tells: its database is reached by a local socket.
    """

    def __init__(self, *, near: bool) -> None:
        self._near = near
        self._home: int | None = None

    def join(self, interfaces: Mapping[str, Row], devices: Devices) -> Joined:
        """Find the devices of a database's interfaces."""
        home = self._find_home(interfaces, devices)
        at_home = {device.name: device for device in devices.all if device.namespace == home}
        away: dict[str, list[Device]] = {}
        for device in devices.all:
            if device.namespace != home and device.kind in _KINDS:
                away.setdefault(device.name, []).append(device)
        found: dict[str, str] = {}
        for uuid, row in interfaces.items():
            if not of_kernel(row["type"]):
                continue
            if row["name"] in at_home:
                found[uuid] = at_home[row["name"]].tid
            elif is_own(row["type"]) and _is_there(row):
                moved = [one for one in away.get(row["name"], ()) if row["mac_in_use"] in ([], [one.mac])]
                if len(moved) == 1:
                    found[uuid] = moved[0].tid
        datapaths = tuple(at_home[name].tid for name in _DATAPATHS if name in at_home)
        return Joined(found, datapaths, devices.owners.get(home, "") if home is not None else "")

    def _find_home(self, interfaces: Mapping[str, Row], devices: Devices) -> int | None:
        marks = {(row["name"], *row["ifindex"], *row["mac_in_use"]) for row in interfaces.values() if of_kernel(row["type"])}
        found = Counter(one.namespace for one in devices.all if (one.name, one.ifindex, one.mac) in marks)
        if found:
            self._home = max(found, key=lambda cookie: (found[cookie], cookie == self._home, cookie == devices.own, -cookie))
        return devices.own if self._home is None and self._near else self._home


def _is_there(row: Row) -> bool:
    """Whether the switch has made the interface: before that another's of the same name may be meant."""
    return bool(row["ofport"]) and row["ofport"][0] > 0
