"""What a trace asks of the graph of a moment. Pure."""

from __future__ import annotations

import ipaddress

from topology.path.network import Network


class TracedGraph:
    """The network of a moment, asked by the TIDs that flows tell.

    Args:
        network: of the moment.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._devices = {device.tid: device for device in network.devices.values()}

    def holds(self, node: str, address: str) -> bool | None:
        """Whether the namespace of an interface (its TID) has an address; None: the interface is not in the graph."""
        device = self._devices.get(node)
        if device is None:
            return None
        try:
            holders = self._network.holders.get(ipaddress.ip_address(address), ())
        except ValueError:  # a MAC
            return device.data.mac == address
        return any(one.namespace is device.namespace for one in holders)

    def known(self, address: str) -> bool:
        """Whether any interface of the graph has an address; a MAC is somebody's."""
        try:
            return bool(self._network.holders.get(ipaddress.ip_address(address)))
        except ValueError:
            return True

    def type_of(self, node: str) -> str:
        """Type of an interface; empty: not known."""
        device = self._devices.get(node)
        return device.data.type if device else ""
