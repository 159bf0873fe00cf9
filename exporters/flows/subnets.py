"""Names of subnets (the setting ``subnets``): a bounded label for who talks to whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CACHE = 65536


class Subnets:
    """Longest-prefix match of addresses, each looked up once.

    Args:
        named: network (CIDR) → name; at most 255 different names.

    """

    def __init__(self, named: Mapping[str, str] | None = None) -> None:
        self.names: list[str] = ["", *dict.fromkeys((named or {}).values())]
        networks = [(ipaddress.ip_network(cidr), self.names.index(name)) for cidr, name in (named or {}).items()]
        self._networks = sorted(networks, key=lambda item: item[0].prefixlen, reverse=True)
        self._known: dict[bytes, int] = {}

    def numbers(
        self, family: NDArray[np.uint8] | int, addresses: NDArray[Any], network_layer: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Index into ``names`` of each address (uint8[n, 16], IPv4 in the first 4); 0 where it is in no named subnet."""
        result = np.zeros(len(addresses), np.uint8)
        if not self._networks or not len(addresses):
            return result
        packed = np.zeros((len(addresses), 17), np.uint8)
        packed[:, 0], packed[:, 1:] = family, addresses
        unique, inverse = np.unique(packed.view("V17").reshape(-1), return_inverse=True)
        found = np.array([self._number(value.tobytes()) for value in unique], np.uint8)
        result[network_layer] = found[inverse][network_layer]
        return result

    def _number(self, packed: bytes) -> int:
        number = self._known.get(packed)
        if number is None:
            address = ipaddress.ip_address(packed[1:5] if packed[0] == 4 else packed[1:])
            matches = (name for network, name in self._networks if network.version == address.version and address in network)
            number = next(matches, 0)
            if len(self._known) >= _CACHE:
                self._known.clear()
            self._known[packed] = number
        return number
