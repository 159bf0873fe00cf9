"""Routes, rules, neighbours, forwarding entries, filters, counters of one namespace: dumps that a socket in it must ask for."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from skytrail.kernel.netlink import NLM_F_DUMP, RouteAsker
from skytrail.kernel.tcx import tcx_programs
from topology.probes.netlink.filterdata import (
    RTM_GETQDISC,
    RTM_GETTFILTER,
    decode_filter,
    decode_hooks,
    filter_dump_request,
    qdisc_dump_request,
)
from topology.probes.netlink.neighbourdata import (
    RTM_GETNEIGH,
    Neighbour,
    decode_neighbour,
    fdb_dump_request,
    neighbour_dump_request,
    neighbour_lists,
    proxy_dump_request,
)
from topology.probes.netlink.netconfdata import RTM_GETNETCONF, Conf, conf_dump_request, decode_conf, net_confs
from topology.probes.netlink.routedata import RTM_GETROUTE, Route, decode_route, route_dump_request
from topology.probes.netlink.routingtables import NO_INTERFACE, routing_tables
from topology.probes.netlink.ruledata import RTM_GETRULE, Rule, decode_rule, rule_dump_request
from topology.probes.netlink.statistics import RTM_GETSTATS, decode_statistics, statistics_dump_request
from topology.probes.netlink.vlandata import RTM_GETLINK, decode_vlans, vlan_dump_request

T = TypeVar("T")

MOST = 1000
"""Routes, or neighbours, of one interface that are shown: a list is one key, and a long one is written anew when it changes."""


@dataclass(slots=True)
class Tables:
    """What one namespace has, by interface where it belongs to one."""

    routes: dict[int, list[Route]] = field(default_factory=lambda: defaultdict(list))
    rules: list[Rule] = field(default_factory=list)
    neighbours: dict[int, list[Neighbour]] = field(default_factory=lambda: defaultdict(list))
    filters: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    vlans: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    counters: dict[int, dict[str, int]] = field(default_factory=dict)
    confs: dict[int, dict[str, Any]] = field(default_factory=dict)

    def metadata(self, ifindex: int) -> dict[str, Any]:
        """What is kept of an interface: ``RoutingTables``, ``TC``, ``NetConf`` …; ``Neighbors``, ``FDB`` without states."""
        found: dict[str, Any] = {}
        if conf := self.confs.get(ifindex):
            found["NetConf"] = conf
        if filters := self.filters.get(ifindex, [])[:MOST]:
            found["TC"] = filters
        if vlans := self.vlans.get(ifindex):
            found["BridgeVlans"] = vlans
        return found | self._routes(ifindex) | neighbour_lists(self.neighbours.get(ifindex, [])[:MOST], volatile=False)

    def nowhere(self) -> dict[str, Any]:
        """``RoutingTables`` of the namespace itself: its routes that lead through no interface (blackhole …)."""
        return self._routes(NO_INTERFACE)

    def _routes(self, ifindex: int) -> dict[str, Any]:
        routes = self.routes.get(ifindex, [])
        tables, more = routing_tables(routes[:MOST], ifindex), len(routes) - MOST
        return {**({"RoutingTables": tables} if tables else {}), **({"RoutesLeftOut": more} if more > 0 else {})}

    def states(self, ifindex: int) -> dict[str, Any]:
        """The same neighbours with their states of the moment."""
        return neighbour_lists(self.neighbours.get(ifindex, [])[:MOST])


def read_tables() -> Tables:
    """Read all of the calling thread's namespace.

    Raises:
        OSError: the kernel refuses, or does not answer within 5 s.
        NetlinkDecodeError: its answer is malformed.
    """
    tables = Tables()
    with RouteAsker() as asker:
        for route in _dump(asker, RTM_GETROUTE, route_dump_request(), decode_route):
            for ifindex in {hop.ifindex for hop in route.hops} or {NO_INTERFACE}:
                tables.routes[ifindex].append(route)
        tables.rules = list(_dump(asker, RTM_GETRULE, rule_dump_request(), decode_rule))
        for body in (neighbour_dump_request(), proxy_dump_request(), fdb_dump_request()):
            for neighbour in _dump(asker, RTM_GETNEIGH, body, decode_neighbour):
                tables.neighbours[neighbour.ifindex].append(neighbour)
        confs: list[Conf] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            confs += _dump(asker, RTM_GETNETCONF, conf_dump_request(family), decode_conf)
        tables.confs = net_confs(confs)
        hooks = list(_dump(asker, RTM_GETQDISC, qdisc_dump_request(), decode_hooks))
        for ifindex, parent, direction in [(ifindex, *hook) for ifindex, found in hooks for hook in found.items()]:
            for body in asker.request(RTM_GETTFILTER, NLM_F_DUMP, filter_dump_request(ifindex, parent)):
                tables.filters[ifindex] += decode_filter(body, direction)
        tables.vlans = dict(_dump(asker, RTM_GETLINK, vlan_dump_request(), decode_vlans))
        tables.counters = dict(_dump(asker, RTM_GETSTATS, statistics_dump_request(), decode_statistics))
    for ifindex in tables.counters:
        tables.filters[ifindex] += [
            {"Direction": direction, "Kind": "tcx", "ProgID": program} for direction, program in tcx_programs(ifindex)
        ]
    return tables


def _dump(asker: RouteAsker, kind: int, body: bytes, decode: Callable[[bytes], T | None]) -> Iterator[T]:
    return (one for one in map(decode, asker.request(kind, NLM_F_DUMP, body)) if one is not None)
