"""Routes, rules, neighbours, forwarding entries and counters of one namespace: dumps that a socket in it must ask for."""

from __future__ import annotations

import itertools
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from skytrail.kernel.netlink import (
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RECEIVE_BYTES,
    error_number,
    message,
    messages,
    open_route_socket,
)
from topology.probes.netlink.neighbourdata import (
    RTM_GETNEIGH,
    Neighbour,
    decode_neighbour,
    fdb_dump_request,
    neighbour_dump_request,
    neighbour_lists,
)
from topology.probes.netlink.routedata import RTM_GETROUTE, Route, decode_route, route_dump_request
from topology.probes.netlink.routingtables import routing_tables
from topology.probes.netlink.ruledata import RTM_GETRULE, Rule, decode_rule, rule_dump_request
from topology.probes.netlink.statistics import RTM_GETSTATS, decode_statistics, statistics_dump_request

T = TypeVar("T")

MOST = 1000
"""Routes, or neighbours, of one interface that are shown: a list is one key, and a long one is written anew when it changes."""

_TIMEOUT = 5.0
_TRIES = 3


@dataclass(slots=True)
class Tables:
    """What one namespace has, by interface where it belongs to one."""

    routes: dict[int, list[Route]] = field(default_factory=lambda: defaultdict(list))
    rules: list[Rule] = field(default_factory=list)
    neighbours: dict[int, list[Neighbour]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[int, dict[str, int]] = field(default_factory=dict)

    def metadata(self, ifindex: int) -> dict[str, Any]:
        """What is kept of an interface: ``RoutingTables``, ``Neighbors`` and ``FDB`` without states."""
        found: dict[str, Any] = {}
        routes = self.routes.get(ifindex, [])
        if tables := routing_tables(routes[:MOST], ifindex):
            found["RoutingTables"] = tables
        if len(routes) > MOST:
            found["RoutesLeftOut"] = len(routes) - MOST
        return found | neighbour_lists(self.neighbours.get(ifindex, [])[:MOST], volatile=False)

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
    with _Asker() as asker:
        for route in asker.dump(RTM_GETROUTE, route_dump_request(), decode_route):
            for ifindex in {hop.ifindex for hop in route.hops if hop.ifindex}:
                tables.routes[ifindex].append(route)
        tables.rules = list(asker.dump(RTM_GETRULE, rule_dump_request(), decode_rule))
        for body in (neighbour_dump_request(), fdb_dump_request()):
            for neighbour in asker.dump(RTM_GETNEIGH, body, decode_neighbour):
                tables.neighbours[neighbour.ifindex].append(neighbour)
        tables.counters = dict(asker.dump(RTM_GETSTATS, statistics_dump_request(), decode_statistics))
    return tables


class _Asker:
    """A route socket for dumps, one after the other."""

    def __enter__(self) -> Self:
        self._socket: socket.socket = open_route_socket()
        self._socket.settimeout(_TIMEOUT)
        self._sequence = itertools.count(1)
        self._buffer = bytearray(RECEIVE_BYTES)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes, decode: Callable[[bytes], T | None]) -> Iterator[T]:
        """All of a kind; asked again where it changed meanwhile."""
        payloads: list[bytes] = []
        for _ in range(_TRIES):
            payloads, interrupted = self._ask(kind, body)
            if not interrupted:
                break
        return (one for one in map(decode, payloads) if one is not None)

    def _ask(self, kind: int, body: bytes) -> tuple[list[bytes], bool]:
        payloads: list[bytes] = []
        sequence, interrupted = next(self._sequence), False
        self._socket.send(message(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, body))
        while True:
            length = self._socket.recv_into(self._buffer)
            for found in messages(self._buffer, length):
                if found.sequence != sequence:
                    continue  # the rest of an answer that was given up
                interrupted |= bool(found.flags & NLM_F_DUMP_INTR)
                if found.kind in {NLMSG_DONE, NLMSG_ERROR}:
                    if number := error_number(self._buffer, found):
                        raise OSError(number, os.strerror(number))
                    return payloads, interrupted
                payloads.append(bytes(self._buffer[found.start : found.end]))
