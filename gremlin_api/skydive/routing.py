"""Where a node's routing tables send an address. Pure. Source: Skydive's topology/probes/netlink, ``NextHop``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from skytrail.errors import UsageError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_TOLD = ("Priority", "IP", "MAC", "IfIndex")


def parse_address(text: str) -> Address:
    """An address. Raises UsageError."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise UsageError(f"NextHop takes an address as '10.0.0.1', not '{text}'") from error


def next_hop(metadata: Mapping[str, Any], address: Address) -> dict[str, Any] | None:
    """The next hop of the longest prefix, of these the one of the lowest priority; its MAC by ``Neighbors``. None: no route."""
    found = min(_hops(metadata, address), key=lambda one: (-one[0], one[1].get("Priority", 0)), default=None)
    if found is None:
        return None
    hop = {key: found[1][key] for key in _TOLD if found[1].get(key) is not None}
    if "MAC" not in hop:
        mac = _mac(metadata, hop.get("IP", str(address)))
        if mac is not None:
            hop["MAC"] = mac
    return hop


def _hops(metadata: Mapping[str, Any], address: Address) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for table in _maps(metadata.get("RoutingTables")):
        for route in _maps(table.get("Routes")):
            try:
                network = ipaddress.ip_network(str(route.get("Prefix")), strict=False)
            except ValueError:
                continue
            if address in network:
                for hop in _maps(route.get("NextHops")):
                    yield network.prefixlen, hop


def _mac(metadata: Mapping[str, Any], ip: str) -> str | None:
    found = (one.get("MAC") for one in _maps(metadata.get("Neighbors")) if one.get("IP") == ip)
    return next((mac for mac in found if isinstance(mac, str)), None)


def _maps(value: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()
