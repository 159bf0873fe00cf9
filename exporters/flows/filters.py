"""Filters on flows: which flow records a user wants to see, in the words of pcap-filter(7) and by field.

The language is described in :mod:`exporters.flows.filter_parser`; here its conditions become closures over the flow's
JSON (a dict). As a flow is a conversation and not a packet, ``src`` is its end A and ``dst`` its end B. A condition on
what a flow does not have (ports of ICMP, addresses of ARP) is false.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporters.flows.filter_parser import parse_terms
from exporters.flows.filter_terms import (
    Chain,
    Compare,
    Direction,
    HasMac,
    HasVlan,
    InNetwork,
    InPorts,
    IsNetwork,
    IsProtocol,
    Not,
    Term,
)

Flow = Mapping[str, Any]
"""A flow record as its JSON has it: layers (``Link``, ``Network`` …) are dicts, absent or None where there are none."""

Predicate = Callable[[Flow], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was parsed; made by :func:`parse`."""

    text: str
    matches: Predicate = field(repr=False, compare=False)
    """Whether a flow is one of those wanted. Never raises on a flow of ours; safe from any thread."""


def parse(text: str) -> Filter:
    """Parse a filter. An empty one matches every flow.

    Raises:
        FilterError: it does not parse; names the column, what was expected and the nearest known word.
    """
    term = parse_terms(text)
    return Filter(text, _everything if term is None else _compile(term))


def _everything(_flow: Flow) -> bool:
    return True


def _compile(term: Term) -> Predicate:
    match term:
        case Chain():
            predicate = _chain(term)
        case Not():
            predicate = _not(term)
        case InNetwork():
            predicate = _in_network(term)
        case InPorts():
            predicate = _in_ports(term)
        case HasMac():
            predicate = _has_mac(term)
        case IsProtocol():
            predicate = _is_protocol(term)
        case IsNetwork():
            predicate = _is_network(term)
        case HasVlan():
            predicate = _has_vlan(term)
        case Compare():
            predicate = _compare(term)
    return predicate


def _chain(chain: Chain) -> Predicate:
    first = _compile(chain.first)
    rest = [(is_and, _compile(term)) for is_and, term in chain.rest]

    def matches(flow: Flow) -> bool:
        value = first(flow)
        for is_and, predicate in rest:
            if value is is_and:  # else the term cannot change the value: false and …, true or …
                value = predicate(flow)
        return value

    return matches


def _not(term: Not) -> Predicate:
    inner = _compile(term.term)
    return lambda flow: not inner(flow)


def _ends(layer: str, direction: Direction, test: Callable[[Any], bool]) -> Predicate:
    """Test end A, end B, one of them or both of a layer of the flow; false where there is no such layer."""
    match direction:
        case Direction.SOURCE:
            return lambda flow: (ends := flow.get(layer)) is not None and test(ends.get("A"))
        case Direction.DESTINATION:
            return lambda flow: (ends := flow.get(layer)) is not None and test(ends.get("B"))
        case Direction.EITHER:
            return lambda flow: (ends := flow.get(layer)) is not None and (test(ends.get("A")) or test(ends.get("B")))
        case Direction.BOTH:
            return lambda flow: (ends := flow.get(layer)) is not None and test(ends.get("A")) and test(ends.get("B"))


@functools.lru_cache(maxsize=65536)
def _address(text: str | None) -> tuple[int, int] | None:
    """Give (IP version, address as a number), None for what is no address. Flows repeat few addresses: cached."""
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        try:
            return version, int.from_bytes(socket.inet_pton(family, text or ""), "big")
        except (OSError, ValueError):  # ValueError: a NUL in the text
            continue
    return None


def _in_network(term: InNetwork) -> Predicate:
    version, low, mask = term.network.version, int(term.network.network_address), int(term.network.netmask)

    def within(text: str | None) -> bool:
        found = _address(text)
        return found is not None and found[0] == version and found[1] & mask == low

    return _ends("Network", term.direction, within)


def _in_ports(term: InPorts) -> Predicate:
    transports, low, high = term.transports, term.low, term.high
    within = _ends("Transport", term.direction, lambda port: port is not None and low <= port <= high)
    return lambda flow: within(flow) and flow["Transport"].get("Protocol") in transports


# Names of LayersPath that tell the IP protocol of a flow which has no Transport.
_LAYER_OF_PROTOCOL = {
    1: "ICMPv4",
    2: "IGMP",
    47: "GRE",
    50: "IPSecESP",
    51: "IPSecAH",
    58: "ICMPv6",
    89: "OSPF",
    112: "VRRP",
}
_TRANSPORT_OF_PROTOCOL = {6: "TCP", 17: "UDP", 132: "SCTP"}


def _has_mac(term: HasMac) -> Predicate:
    mac = term.mac
    return _ends("Link", term.direction, lambda text: text is not None and text.lower() == mac)


def _is_protocol(term: IsProtocol) -> Predicate:
    number, over = term.number, term.network
    transport, layer = _TRANSPORT_OF_PROTOCOL.get(number), _LAYER_OF_PROTOCOL.get(number)

    def matches(flow: Flow) -> bool:
        network = flow.get("Network")
        if not network or (over is not None and network.get("Protocol") != over):
            return False
        told = network.get("IPProtocol")
        if told is not None:
            return bool(told == number)
        if transport is not None:
            ports = flow.get("Transport")
            return ports is not None and ports.get("Protocol") == transport
        return layer is not None and layer in _layers(flow)

    return matches


def _layers(flow: Flow) -> list[str]:
    path: str = flow.get("LayersPath") or ""
    return path.split("/")


def _is_network(term: IsNetwork) -> Predicate:
    if term.network == "ARP":
        return lambda flow: "ARP" in _layers(flow)
    wanted = term.network
    return lambda flow: (network := flow.get("Network")) is not None and network.get("Protocol") == wanted


def _has_vlan(term: HasVlan) -> Predicate:
    """Look at the stack that ``Link.ID`` holds, 12 bits a tag, outermost lowest; LayersPath says how many there are."""
    wanted = term.vlan

    def matches(flow: Flow) -> bool:
        stack = (flow.get("Link") or {}).get("ID") or 0
        tags = max(_layers(flow).count("Dot1Q"), (stack.bit_length() + 11) // 12)
        if wanted is None:
            return tags > 0
        return any(stack >> 12 * index & 0xFFF == wanted for index in range(tags))

    return matches


def _compare(term: Compare) -> Predicate:
    value_of = _value_of(term.field)
    test = _test(term)

    def matches(flow: Flow) -> bool:
        return test(value_of(flow))

    return matches


def _value_of(name: str) -> Callable[[Flow], Any]:
    """Make the reader of a field with a dotted name; None where a part of it is missing."""
    *layers, last = name.split(".")

    def nested(flow: Flow) -> Any:  # noqa: ANN401 - JSON: text, number, boolean, list or nothing
        part: Any = flow
        for layer in layers:
            part = part.get(layer)
            if not isinstance(part, Mapping):
                return None
        return part.get(last)

    return nested


def _test(term: Compare) -> Callable[[Any], bool]:
    """Make the test of a value. Text is compared without regard to case; what is missing equals the empty text."""
    text = term.value.casefold()
    number = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
    exact = int(text) if number is not None and "." not in text else number
    match term.operator:
        case "~":
            pattern = re.compile(fnmatch.translate(text))
            return lambda value: pattern.match(_text(value)) is not None
        case "=" | "!=":
            address = _address(text) if term.field in {"Network.A", "Network.B"} else None
            equal = _equality(text, exact, address)
            return equal if term.operator == "=" else lambda value: not equal(value)
        case operator:
            return _ordering(operator, exact if exact is not None else 0)


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return "" if value is None else str(value).casefold()


def _equality(text: str, number: float | None, address: tuple[int, int] | None) -> Callable[[Any], bool]:
    def equal(value: Any) -> bool:  # noqa: ANN401 - JSON
        if address is not None:
            return _address(value) == address
        if number is not None and isinstance(value, int | float):
            return value == number
        return _text(value) == text

    return equal


def _ordering(operator: str, number: float) -> Callable[[Any], bool]:
    def compare(value: Any) -> bool:  # noqa: ANN401 - JSON
        if not isinstance(value, int | float):
            return False
        if operator[0] == ">":
            return value > number or (value == number and operator == ">=")
        return value < number or (value == number and operator == "<=")

    return compare
