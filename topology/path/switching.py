"""Ports of Open vSwitch, by what netlink alone tells: which there are, not what it does between them. Pure.

With the kernel's datapath ports have its device (``ovs-system``) as master; with the one in user space (``ovs-netdev``) they
have no master, and are in promiscuous mode, since its program asks for all frames.
"""

from __future__ import annotations

from topology.path.devices import Device

DATAPATH = "openvswitch"
"""Type of the kernel's datapath and, where no database tells more, of its internal ports."""

INTERNAL = frozenset({DATAPATH, "internal", "tap"})
"""Types of ports by which the host itself is at the switch."""

_USER_SPACE = "ovs-netdev"
_NO_PORTS = INTERNAL | {"tun"}


def fellow_ports(device: Device) -> list[Device] | None:
    """The other ports of the switches of a port's datapath; None: it is no port of Open vSwitch."""
    ports = _kernel_ports(device) if device.master is not None else _user_ports(device)
    return None if ports is None else sorted((one for one in ports if one is not device), key=lambda one: one.data.if_index)


def _kernel_ports(device: Device) -> list[Device] | None:
    master = device.master
    return list(master.ports) if master is not None and master.data.type == DATAPATH else None


def _user_ports(device: Device) -> list[Device] | None:
    there = device.namespace.devices.values()
    if not _is_user_port(device) or all(one.name != _USER_SPACE for one in there):
        return None
    return [one for one in there if _is_user_port(one)]


def _is_user_port(device: Device) -> bool:
    return device.master is None and device.data.type not in _NO_PORTS and "PROMISC" in (device.data.link_flags or ())
