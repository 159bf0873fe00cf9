"""Names of subnets, against ipaddress."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporters.flows.subnets import Subnets


def packed(addresses: list[Any]) -> tuple[Any, Any]:
    family = np.array([address.version for address in addresses], np.uint8)
    raw = np.zeros((len(addresses), 16), np.uint8)
    for row, address in enumerate(addresses):
        raw[row, : len(address.packed)] = list(address.packed)
    return family, raw


# few bits, so that networks nest and addresses fall into them
fours = st.integers(0, 255).map(lambda number: ipaddress.IPv4Address(0x0A000000 | number << 20 | number))
sixes = st.integers(0, 255).map(lambda number: ipaddress.IPv6Address(0x0A00_0000 << 96 | number << 116 | number))
networks = st.tuples(fours | sixes, st.integers(0, 128)).map(
    lambda drawn: str(ipaddress.ip_network((drawn[0], min(drawn[1], drawn[0].max_prefixlen)), strict=False))
)


@given(st.dictionaries(networks, st.sampled_from(["office", "lab", "dmz"])), st.lists(fours | sixes), st.data())
def test_longest_prefix_names_an_address(named: dict[str, str], addresses: list[Any], data: st.DataObject) -> None:
    subnets = Subnets(named)
    layered = np.array([data.draw(st.booleans()) for _ in addresses], np.bool_)

    found = subnets.numbers(*packed(addresses), layered)

    for address, has_network, number in zip(addresses, layered.tolist(), found.tolist(), strict=True):
        around = [network for network in map(ipaddress.ip_network, named) if address in network]
        longest = max(around, key=lambda network: network.prefixlen, default=None)
        expected = named[str(longest)] if longest is not None and has_network else ""
        assert subnets.names[number] == expected


def test_there_may_be_255_names() -> None:
    subnets = Subnets({f"10.{n // 256}.{n % 256}.0/24": f"rack {n % 255}" for n in range(1000)})
    addresses = [ipaddress.ip_address(f"10.{n // 256}.{n % 256}.9") for n in range(1000)]

    found = subnets.numbers(*packed(addresses), np.ones(1000, np.bool_))

    assert [subnets.names[number] for number in found.tolist()] == [f"rack {n % 255}" for n in range(1000)]
