"""Which way a namespace sends a packet: rules of policy routing, tables, the longest prefix. Pure.

Sources: net/core/fib_rules.c, net/ipv4/fib_rules.c, net/ipv4/fib_trie.c, net/ipv4/fib_frontend.c, ip-rule(8).
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from topology.path.devices import Address, Device, Namespace, NextHop, Prefix, Rule, Table, parse_address, parse_network
from topology.path.packets import Packet

_LOCAL, _MAIN, _DEFAULT = 255, 254, 253
_NAMES = {_LOCAL: "local", _MAIN: "main", _DEFAULT: "default"}
_LOOPBACK = "lo"
_UNICAST = ""
_REFUSING = frozenset({"blackhole", "unreachable", "prohibit"})
_OURS = frozenset({"local", "broadcast", "anycast", "multicast"})
_FAMILIES = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_USUAL = tuple(
    Rule(family, priority, table=table)
    for family in _FAMILIES.values()
    for priority, table in ((0, _LOCAL), (32766, _MAIN), (32767, _DEFAULT))
)
"""Where the graph has no rules."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A route that was found.

    Attributes:
        prefix: its destination.
        table: its table's number.
        type: empty for unicast, else ``local``, ``broadcast``, ``blackhole`` …
        hops: where it leads, each with its interface.
        src: the address that packets of our own leave with; None: it says none.
        rule: that led to the table.
    """

    prefix: Prefix
    table: int
    type: str
    hops: tuple[tuple[NextHop, Device], ...]
    src: Address | None
    rule: Rule

    @property
    def ours(self) -> bool:
        """Whether the packet is for the namespace itself."""
        return self.type in _OURS

    def words(self, number: int = 0) -> str:
        """As ``ip route`` writes it, by way of one of its hops."""
        if not self.hops:
            return f"{self.type} {self.prefix}, table {table_name(self.table)}".lstrip()
        hop, device = self.hops[number]
        gateway = f" via {hop.ip}" if hop.ip else ""
        kind = f"{self.type} " if self.type else ""
        several = f" (next hop {number + 1} of {len(self.hops)})" if len(self.hops) > 1 else ""
        return f"{kind}{self.prefix}{gateway} dev {device.name}, table {table_name(self.table)}{several}"


@dataclass(frozen=True, slots=True)
class Refused:
    """No route, and why.

    Attributes:
        reason: in words.
        surely: not where the graph does not have all routes.
    """

    reason: str
    surely: bool = True


def table_name(number: int) -> str:
    """As ``ip`` calls it."""
    return _NAMES.get(number, str(number))


@dataclass(frozen=True, slots=True)
class _Row:
    prefix: Prefix
    type: str
    hop: NextHop
    device: Device | None
    src: Address | None


class Router:
    """Chooses routes in one namespace.

    Attributes:
        left_out: routes that are not in the graph because there are too many.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._rules = sorted(namespace.owner.rules or _USUAL, key=lambda rule: rule.priority)
        devices = namespace.devices.values()
        self.left_out = namespace.owner.routes_left_out + sum(one.data.routes_left_out for one in devices)

    @functools.cached_property
    def _tables(self) -> dict[int, list[_Row]]:
        found: dict[int, dict[_Row, None]] = {}
        devices = self._namespace.devices
        for device in devices.values():
            for table in device.data.routing_tables:
                src = parse_address(table.src)
                rows = found.setdefault(table.id, {})
                for prefix, type_, hop in _routes(table):
                    by = devices.get(hop.if_index)
                    own = src if by is device else None  # a multipath route stands at each of its interfaces
                    if by is device or hop.if_index not in devices:
                        rows[_Row(prefix, type_ or self._implied(table.id, prefix, device), hop, by, own)] = None
        for table in self._namespace.owner.routing_tables:
            rows = found.setdefault(table.id, {})
            for prefix, type_, hop in _routes(table):
                rows[_Row(prefix, type_ or "blackhole", hop, None, None)] = None
        return {number: list(rows) for number, rows in found.items()}

    @staticmethod
    def _implied(table: int, prefix: Prefix, device: Device) -> str:
        """What Skydive's tables leave open: in the table ``local`` no route is unicast."""
        if table != _LOCAL:
            return _UNICAST
        own = prefix.prefixlen < prefix.max_prefixlen or prefix.network_address in device.addresses
        return "local" if own else "broadcast"

    def choose(
        self, packet: Packet, came_by: Device | None = None, bound_to: Device | None = None, vrf: Device | None = None
    ) -> Chosen | Refused:
        """The route of a packet.

        Args:
            packet: what is sent.
            came_by: the interface that it came in by; None: it is sent from here.
            bound_to: the interface that it must leave by; None: any.
            vrf: that its sender or interface is in.
        """
        rules = [rule for rule in self._rules if rule.family == _FAMILIES[packet.dst.version]]
        at = 0
        while at < len(rules):
            rule = rules[at]
            at += 1
            if not _matches(rule, packet, came_by, bound_to, vrf):
                continue
            if rule.action == "goto":
                at = max(at, next((i for i, one in enumerate(rules) if one.priority >= rule.goto), len(rules)))
            elif rule.action in _REFUSING:
                return Refused(f"rule {rule.priority} says {rule.action}")
            elif rule.action == "lookup":
                table = vrf.data.vrf.table if rule.l3mdev and vrf is not None else rule.table
                found = self._look_up(table, packet.dst, bound_to, rule)
                if isinstance(found, Refused):
                    return found
                if found is not None and not _suppressed(found, rule):
                    return found
        more = f": {self.left_out} more routes are not in the graph" if self.left_out else ""
        return Refused(f"no route to {packet.dst}{more}", surely=not self.left_out)

    def _look_up(self, table: int, dst: Address, bound_to: Device | None, rule: Rule) -> Chosen | Refused | None:
        """The longest prefix, the lowest metric. None: the next rule is tried."""
        rows = [
            row
            for row in self._tables.get(table, ())
            if dst in row.prefix and (bound_to is None or row.device is bound_to or row.type)
        ]
        if not rows:
            return None
        first = min((-row.prefix.prefixlen, row.hop.priority) for row in rows)
        best = [row for row in rows if (-row.prefix.prefixlen, row.hop.priority) == first]
        prefix, type_ = best[0].prefix, best[0].type
        if type_ == "throw":
            return None
        if type_ in _REFUSING:
            return Refused(f"route {type_} {prefix}, table {table_name(table)}")
        hops = tuple((row.hop, row.device) for row in best if row.device is not None)
        src = next((row.src for row in best if row.src is not None), None)
        return Chosen(prefix, table, type_, hops, src, rule)

    def source(self, packet: Packet, route: Chosen) -> Address | None:
        """The address that a packet of the namespace's own leaves with, where its sender has chosen none."""
        if packet.src is not None:
            return packet.src
        if route.ours:
            return packet.dst
        version = packet.dst.version
        hop, device = route.hops[0] if route.hops else (NextHop(), None)
        own = [(one, length) for one, length in (device.addresses if device else {}).items() if one.version == version]
        target = parse_address(hop.ip) or packet.dst
        near = [one for one, length in own if target in (parse_network(f"{one}/{length}") or ())]
        # it is that of the table's first route that has one: of another route than this, where its network is not the target's
        said = route.src if route.src is not None and route.src.version == version else None
        if said is not None and (said in near or not near or (hop.ip and device and said not in device.addresses)):
            return said
        others = [one for other in self._namespace.devices.values() for one in other.addresses if one.version == version]
        return next(iter([*near, *(one for one, _ in own), *(one for one in others if not one.is_loopback)]), None)


def _routes(table: Table) -> Iterator[tuple[Prefix, str, NextHop]]:
    for route in table.routes:
        prefix = parse_network(route.prefix)
        if prefix is not None:
            for hop in route.next_hops or (NextHop(),):
                yield prefix, route.type, hop


def _within(address: Address | None, cidr: str) -> bool:
    if not cidr:
        return True
    network = parse_network(cidr)
    return address is not None and network is not None and address in network


def _matches(rule: Rule, packet: Packet, came_by: Device | None, bound_to: Device | None, vrf: Device | None) -> bool:
    """Marks, users and source ports are not known: a rule that asks for some is for others."""
    names_in = {came_by.name if came_by else _LOOPBACK} | ({vrf.name} if vrf and came_by else set())
    names_out = ({bound_to.name} if bound_to else set()) | ({vrf.name} if vrf and not came_by else set())
    met = (
        _within(packet.src, rule.src)
        and _within(packet.dst, rule.dst)
        and (not rule.iif or rule.iif in names_in)
        and (not rule.oif or rule.oif in names_out)
        and (rule.fwmark & (rule.fwmask or 0xFFFFFFFF)) == 0
        and not rule.tos
        and (not rule.l3mdev or vrf is not None)
        and not rule.uids
        and not rule.sports
        and (not rule.ip_protocol or rule.ip_protocol == packet.proto)
        and (not rule.dports or rule.dports[0] <= packet.port <= rule.dports[-1])
    )
    return met != rule.inverted


def _suppressed(found: Chosen, rule: Rule) -> bool:
    limit, group = rule.suppress_prefixlength, rule.suppress_ifgroup
    if limit is not None and found.prefix.prefixlen <= limit:
        return True
    return group is not None and any(device.data.group == group for _, device in found.hops)
