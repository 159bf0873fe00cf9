"""What rules of OpenFlow do with a frame, as far as they are simple, and in the graph (``topology.ovsdb.openflow``). Pure.

A rule of which it cannot be told whether it takes the frame, or what it does, leaves all open: others may come after it. So
does a table without a rule for the frame, since the graph may not have all of them.

Sources: ovs-fields(7), ovs-actions(7).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from topology.path.packets import PROTOCOLS, Frame

TYPE = "ofrule"
LOCAL = 65534
"""Number of the port that the bridge itself is."""

_PORTS = {"LOCAL": LOCAL}
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_SOLICITATION = 135
_DEEPEST = 64  # tables that one leads to after the other
_PRESENT = 0x1000  # of a tag, in vlan_tci

Verdict: TypeAlias = "bool | None"
"""Whether a rule takes a frame; None: that cannot be told."""


class Filter(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What a field of the frame must be; without a value a word for several, as ``tcp``."""

    type: str
    value: str = ""
    mask: str = ""


class Rule(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What the node of a rule says."""

    name: str
    table: int
    priority: int
    filters: tuple[Filter, ...] = ()
    actions: tuple[str, ...] = ()
    write_actions: tuple[str, ...] = ()
    goto_table: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a frame.

    Attributes:
        rule: that says so, as ``ovs-ofctl`` takes it.
        normal: it is switched by its VLAN and MAC.
        ports: numbers of the ports that it leaves by as it is; none, and not ``normal``: it is dropped.
    """

    rule: str
    normal: bool = False
    ports: tuple[int, ...] = ()

    @property
    def drops(self) -> bool:
        """Whether nothing of it goes on."""
        return not self.normal and not self.ports


@dataclass(slots=True)
class Rules:
    """Those of a bridge, by table, the highest priority first."""

    tables: dict[int, list[Rule]] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Rules:
        """Put in order."""
        made = cls()
        for rule in sorted(rules, key=lambda one: -one.priority):
            made.tables.setdefault(rule.table, []).append(rule)
        return made

    def decide(self, in_ports: frozenset[int], frame: Frame) -> Decision | None:
        """What becomes of a frame that came in by a port, which may have several numbers; None: that cannot be told."""
        table: int | None = 0
        for _ in range(_DEEPEST):
            rule = None if table is None else self._rule(table, in_ports, frame)
            if rule is None:
                return None
            found = _done(rule, in_ports)
            if isinstance(found, Decision):
                return found
            table = found
        return None

    def _rule(self, table: int, in_ports: frozenset[int], frame: Frame) -> Rule | None:
        for rule in self.tables.get(table, ()):
            verdict = _takes(rule, in_ports, frame)
            if verdict is None:
                return None
            if verdict:
                return rule
        return None


def _done(rule: Rule, in_ports: frozenset[int]) -> Decision | int | None:
    """What a rule does; the number of a table: that one says so; None: more than is read here."""
    actions = [one for one in rule.actions if not _is_beside(one)]
    if rule.write_actions or len(actions) != len(set(actions)):
        return None
    if rule.goto_table is not None:
        return rule.goto_table if not actions else None
    if not actions or actions == ["drop"]:
        return Decision(rule.name)
    if actions == ["NORMAL"]:
        return Decision(rule.name, normal=True)
    if len(actions) == 1 and actions[0].startswith("resubmit(,") and actions[0][10:-1].isdecimal():
        return int(actions[0][10:-1])
    ports = [_port(one.removeprefix("output:")) for one in actions]
    known = tuple(one for one in ports if one is not None and one not in in_ports)  # never back by the port that it came by
    return Decision(rule.name, ports=known) if None not in ports else None


def _is_beside(action: str) -> bool:
    """Whether it changes nothing of the frame: a register, what a tunnel puts around it."""
    target = action.rpartition("->")[2]
    return action.startswith(("set_field:", "load:")) and target.startswith(("tun_", "reg", "NXM_NX_TUN_", "NXM_NX_REG"))


def _port(word: str) -> int | None:
    return _PORTS.get(word, int(word) if word.isdecimal() else None)


def _takes(rule: Rule, in_ports: frozenset[int], frame: Frame) -> Verdict:
    found: Verdict = True
    for one in rule.filters:
        verdict = _in_port(one, in_ports) if one.type == "in_port" else _meets(one, frame)
        if verdict is False:
            return False
        found = found and verdict
    return found


def _in_port(one: Filter, in_ports: frozenset[int]) -> Verdict:
    port = _port(one.value)
    if port is None or not in_ports:
        return None
    return (True if len(in_ports) == 1 else None) if port in in_ports else False


def _meets(one: Filter, frame: Frame) -> Verdict:
    if one.type in _WORDS:
        return not one.value and _is(frame, *_WORDS[one.type])
    read = _FIELDS.get(one.type)
    if read is None:
        return None
    try:
        return read(one, frame)
    except ValueError:
        return None


def _is(frame: Frame, ethertype: int, proto: int | None) -> bool:
    return _ethertype(frame) == ethertype and (proto is None or _proto(frame) == proto)


def _ethertype(frame: Frame) -> int:
    if frame.packet.dst.version == 6:
        return _IPV6
    return _ARP if frame.asks else _IPV4


def _proto(frame: Frame) -> int:
    return PROTOCOLS["icmp6"] if frame.asks else frame.packet.proto


_WORDS: Mapping[str, tuple[int, int | None]] = {
    "arp": (_ARP, None),
    "ip": (_IPV4, None),
    "ipv6": (_IPV6, None),
    **{name: (_IPV4, PROTOCOLS[name]) for name in ("icmp", "tcp", "udp", "sctp")},
    **{f"{name}6": (_IPV6, PROTOCOLS[name]) for name in ("tcp", "udp", "sctp")},
    "icmp6": (_IPV6, PROTOCOLS["icmp6"]),
}
"""Words for what is in a frame → EtherType and protocol."""


def _number(one: Filter, value: int, width: int) -> bool:
    mask = int(one.mask, 0) if one.mask else (1 << width) - 1
    return value & mask == int(one.value, 0) & mask


def _mac(one: Filter, mac: str) -> Verdict:
    if not mac:
        return None
    value, mask, own = (int((text or "ff:ff:ff:ff:ff:ff").replace(":", ""), 16) for text in (one.value, one.mask, mac))
    return own & mask == value & mask


def _mac_to(one: Filter, frame: Frame) -> Verdict:
    return None if frame.asks and frame.packet.dst.version == 6 else _mac(one, frame.mac)  # IPv6 asks a group


def _address(version: int, *, to: bool) -> Callable[[Filter, Frame], Verdict]:
    def read(one: Filter, frame: Frame) -> Verdict:
        if _ethertype(frame) != (_IPV4 if version == 4 else _IPV6):
            return False
        address = frame.packet.dst if to else frame.packet.src
        if address is None or frame.asks:
            return None
        return address in ipaddress.ip_network(f"{one.value}/{one.mask}" if one.mask else one.value, strict=False)

    return read


def _port_to(one: Filter, frame: Frame) -> Verdict:
    return _number(one, frame.packet.port, 16) if frame.packet.port and not frame.asks else None


def _asked(one: Filter, frame: Frame) -> Verdict:
    if _ethertype(frame) != _ARP:
        return False
    return frame.target in ipaddress.ip_network(f"{one.value}/{one.mask}" if one.mask else one.value, strict=False)


def _tag(frame: Frame) -> int:
    return frame.vlans[0] if frame.vlans else 0xFFFF


def _tci(one: Filter, frame: Frame) -> bool:
    return _number(one, _PRESENT | frame.vlans[0] if frame.vlans else 0, 16)


def _type_of_icmp6(one: Filter, frame: Frame) -> Verdict:
    return _number(one, _SOLICITATION, 8) if frame.asks else None


_FIELDS: Mapping[str, Callable[[Filter, Frame], Verdict]] = {
    "dl_src": lambda one, frame: _mac(one, frame.sender),
    "dl_dst": _mac_to,
    "dl_type": lambda one, frame: _number(one, _ethertype(frame), 16),
    "dl_vlan": lambda one, frame: _number(one, _tag(frame), 16),
    "vlan_tci": _tci,
    "nw_src": _address(4, to=False),
    "nw_dst": _address(4, to=True),
    "ipv6_src": _address(6, to=False),
    "ipv6_dst": _address(6, to=True),
    "arp_tpa": _asked,
    "nw_proto": lambda one, frame: None if _ethertype(frame) == _ARP else _number(one, _proto(frame), 8),
    "tp_dst": _port_to,
    "icmp_type": _type_of_icmp6,
}
"""A field → whether a frame has it so."""
