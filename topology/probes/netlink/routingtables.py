"""Skydive's ``RoutingTables`` of an interface, made of its routes: always the same list for the same routes."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from topology.probes.netlink.routedata import NextHop, Route

NO_INTERFACE = 0
"""The number that routes without an interface have in the place of one's ifindex."""

_UNICAST = "unicast"

Hop = tuple[int, tuple[int, int], NextHop]
"""Priority, the address as a number, the hop: in this order they are sorted."""


def routing_tables(routes: Iterable[Route], ifindex: int) -> list[dict[str, Any]]:
    """The tables with the routes that lead through an interface, or none; a multipath route with all its next hops.

    ``Src`` is the preferred source of the table's first route that has one, ``Protocol`` the number as in Skydive. Routes
    of one prefix and protocol stand together, their ``Priority`` with each next hop. ``MAC`` is filled in by who asks for
    the next hop of an address. ``Type`` says what a route is that is not unicast. Keys without a value are left out.
    """
    tables: dict[int, list[Route]] = defaultdict(list)
    for route in routes:
        if any(hop.ifindex == ifindex for hop in route.hops) or not (route.hops or ifindex):
            tables[route.table].append(route)
    return [_table(number, sorted(found, key=_order)) for number, found in sorted(tables.items())]


def _order(route: Route) -> tuple[Any, ...]:
    network, _, length = route.prefix.partition("/")
    return route.family, int(ipaddress.ip_address(network)), int(length), route.type, route.protocol, route.priority, route.hops


def _table(number: int, routes: list[Route]) -> dict[str, Any]:
    source = next((route.prefsrc for route in routes if route.prefsrc), "")
    hops: dict[tuple[str, int, str], set[Hop]] = defaultdict(set)
    for route in routes:
        through = route.hops or (NextHop(),)
        hops[route.type, route.protocol, route.prefix] |= {(route.priority, _numeric(hop.ip), hop) for hop in through}
    shown = [
        {
            "Protocol": protocol,
            "Prefix": prefix,
            **({} if type_ == _UNICAST else {"Type": type_}),
            "NextHops": [_hop(priority, hop) for priority, _, hop in sorted(found)],
        }
        for (type_, protocol, prefix), found in hops.items()
    ]
    return _said({"ID": number, "Src": source, "Routes": shown})


def _numeric(ip: str) -> tuple[int, int]:
    address = ipaddress.ip_address(ip) if ip else None
    return (address.version, int(address)) if address else (0, 0)


def _hop(priority: int, hop: NextHop) -> dict[str, Any]:
    weight = hop.weight if hop.weight > 1 else 0
    shown = {"Priority": priority, "IP": hop.ip, "IfIndex": hop.ifindex, "Weight": weight, "Labels": list(hop.labels)}
    return _said(shown)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
