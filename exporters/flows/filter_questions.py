"""Filters on flows as conditions that a hub asks agents for. Pure.

What a filter says in words of pcap-filter(7) means the same there. Of one VLAN a hub cannot ask, and a pattern (``~``) is one
for texts only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

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
from skytrail.asking import terms as asked
from skytrail.errors import FilterError

_RELATIONS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_ADDRESSES = frozenset({"Network.A", "Network.B"})
_TRUTHS = {"true": True, "false": False}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def question_of(text: str) -> asked.Term | None:
    """The condition that a filter says; None: it is empty. Raises FilterError."""
    term = parse_terms(text)
    return None if term is None else _asked(term)


def _asked(term: Term) -> asked.Term:
    match term:
        case Chain():
            return _chain(term)
        case Not():
            return asked.Not(_asked(term.term))
        case InPorts():
            return _ports(term)
        case Compare():
            return _compare(term)
        case _:
            return _other(term)


def _chain(chain: Chain) -> asked.Term:
    """From the left; what is joined alike stands side by side, so that many do not nest."""
    found = _asked(chain.first)
    for is_and, other in chain.rest:
        join = asked.Every if is_and else asked.Either
        terms = found.terms if isinstance(found, asked.Every | asked.Either) and isinstance(found, join) else (found,)
        found = join((*terms, _asked(other)))
    return found


def _other(term: InNetwork | HasMac | IsProtocol | IsNetwork | HasVlan) -> asked.Term:
    if isinstance(term, InNetwork):
        network = str(term.network)
        return _ends("Network", term.direction, lambda key: asked.Compare(key, "range", (network,)))
    if isinstance(term, HasMac):
        mac = term.mac
        return _ends("Link", term.direction, lambda key: asked.Compare(key, "within", (mac,)))
    return _kind(term)


def _kind(term: IsProtocol | IsNetwork | HasVlan) -> asked.Term:
    if isinstance(term, HasVlan):
        if term.vlan is not None:
            raise FilterError(f"vlan {term.vlan}: a hub asks for any VLAN only: write vlan, or Link.ID={term.vlan}")
        return _layer("Dot1Q")
    if isinstance(term, IsNetwork):
        return _layer("ARP") if term.network == "ARP" else asked.Compare("Network.Protocol", "within", (term.network,))
    number = asked.Compare("Network.IPProtocol", "within", (term.number,))
    if term.network is None:
        return number
    return asked.Every((number, asked.Compare("Network.Protocol", "within", (term.network,))))


def _layer(name: str) -> asked.Term:
    return asked.Compare("LayersPath", "regex", (f"(.*/)?{name}(/.*)?",))


def _ends(layer: str, direction: Direction, of: Callable[[str], asked.Term]) -> asked.Term:
    match direction:
        case Direction.SOURCE:
            return of(f"{layer}.A")
        case Direction.DESTINATION:
            return of(f"{layer}.B")
        case Direction.EITHER:
            return asked.Either((of(f"{layer}.A"), of(f"{layer}.B")))
        case Direction.BOTH:
            return asked.Every((of(f"{layer}.A"), of(f"{layer}.B")))


def _ports(term: InPorts) -> asked.Term:
    def within(key: str) -> asked.Term:
        if term.low == term.high:
            return asked.Compare(key, "within", (term.low,))
        return asked.Every((asked.Compare(key, "gte", (term.low,)), asked.Compare(key, "lte", (term.high,))))

    protocols = asked.Compare("Transport.Protocol", "within", tuple(sorted(term.transports)))
    return asked.Every((protocols, _ends("Transport", term.direction, within)))


def _compare(term: Compare) -> asked.Term:
    if term.operator == "!=":
        return asked.Not(_equal(term.field, term.value))
    if term.operator == "=":
        return _equal(term.field, term.value)
    if term.operator == "~":
        return asked.Compare(term.field, "regex", (_pattern(term.value),))
    return asked.Compare(term.field, _RELATIONS[term.operator], (_number(term.value),))


def _equal(field: str, text: str) -> asked.Term:
    if field in _ADDRESSES and (network := _network(text)) is not None:
        return asked.Compare(field, "range", (network,))
    same: asked.Term = asked.Compare(field, "regex", (f"(?i){re.escape(text)}",))
    if not text:
        return asked.Either((same, asked.Compare(field, "missing")))
    if text.lower() in _TRUTHS:
        return asked.Either((same, asked.Compare(field, "within", (_TRUTHS[text.lower()],))))
    if _NUMBER.fullmatch(text):
        return asked.Either((same, asked.Compare(field, "within", (_number(text),))))
    return same


def _network(text: str) -> str | None:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        return None


def _number(text: str) -> float:
    return float(text) if "." in text else int(text)


def _pattern(glob: str) -> str:
    """A shell's pattern, of texts in any case, as a regular expression of RE2's."""
    made = ""
    for part in re.split(r"(\*|\?|\[[^\]]+\])", glob):
        made += {"*": ".*", "?": "."}.get(part) or (_choice(part) if part.startswith("[") else re.escape(part))
    return f"(?is){made}"


def _choice(part: str) -> str:
    inside = part[1:-1]
    chosen = re.sub(r"([\\^])", r"\\\1", inside.removeprefix("!"))
    return f"[^{chosen}]" if inside.startswith("!") else f"[{chosen}]"
