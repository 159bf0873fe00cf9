"""The language of flow filters: text to a tree of conditions, checked and never evaluated as code.

Two forms may be mixed. Words of pcap-filter(7): ``host``, ``net``, ``port``, ``portrange``, ``proto``, ``vlan``,
``ether host`` … with ``src``/``dst``, ``tcp``, ``ip6`` … before them; and comparisons of the flow JSON's fields:
``Metric.ABBytes>1000``, ``Application=DNS``, ``Interface~veth*``. As that page says, ``and`` and ``or`` have equal
precedence and associate left to right, ``not`` binds tightest, and a lone identifier takes the most recent qualifiers
(``port 80 or 443``). Differences, all on purpose: no name is looked up in DNS; ``port N-M`` is a range; ``proto tcp``
needs no backslash; ``vlan N`` is true of any tag of the stack and does not change what the words behind it mean;
``broadcast``, ``multicast``, ``mpls``, ``ether proto``, ``arp host`` and all that looks at a packet's bytes or length are not
there: a flow is no packet (``LayersPath~*MPLS*`` finds labels).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

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
from exporters.flows.records import TCP_MEASURES
from skytrail.errors import FilterError

MAX_LENGTH = 2000  # characters of a filter
MAX_DEPTH = 50  # of parentheses and negations
MAX_PATTERN = 200  # characters of a pattern after ``~``

# --- the words -----------------------------------------------------------------------------------------------------

_METRIC = ("ABPackets", "ABBytes", "BAPackets", "BABytes", "ABSkbs", "BASkbs", "Start", "Last", "RTT")
_TCP_METRIC = tuple(
    f"{way}{what}" for way in ("AB", "BA") for what in ("SynStart", "SynTTL", "FinStart", "RstStart", *TCP_MEASURES)
)
NUMBER_FIELDS = frozenset(
    ["Start", "Last", "RawPacketsCaptured", "MPLSLabel", "Sampling", "Link.ID", "ICMP.Number", "ICMP.Code", "ICMP.ID"]
    + [f"Network.{name}" for name in ("ID", "IPProtocol", "ATTL", "BTTL", "ADSCP", "BDSCP")]
    + ["Transport.A", "Transport.B", "Transport.ID", "Tunnel.ID", "IPMetric.Fragments", "IPMetric.FragmentErrors"]
    + [f"{layer}.{name}" for layer in ("Metric", "LastUpdateMetric") for name in _METRIC]
    + [f"TCPMetric.{name}" for name in (*_TCP_METRIC, "SynAckRTT")]
)
TEXT_FIELDS = frozenset(
    ["UUID", "ParentUUID", "TrackingID", "L3TrackingID", "NATTrackingID", "QuotedTrackingID", "CommunityID"]
    + ["NodeTID", "CaptureID", "LayersPath", "Application", "FinishType", "Initiator", "Interface", "Namespace"]
    + ["ICMP.Type", "Fragment"]
    + [f"{layer}.{name}" for layer in ("Link", "Network") for name in ("Protocol", "A", "B")]
    + ["Transport.Protocol", "Tunnel.Type"]
)
OPEN_FIELDS = ("TCPMetric", "Process", "Container", "Pod", "Unit", "K8s", "Owner")  # whose members are not all known here

_OTHER_END = {"src": "dst", "dst": "src"}
_KINDS = frozenset(["host", "net", "port", "portrange", "proto"])
_TRANSPORTS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_QUALIFIED_KINDS: dict[str | None, frozenset[str]] = {
    None: _KINDS,
    "ip": frozenset(["host", "net", "proto"]),
    "ip6": frozenset(["host", "net", "proto"]),
    "ether": frozenset(["host"]),
    **dict.fromkeys(_TRANSPORTS, frozenset(["port", "portrange"])),
}
_BARE: dict[str, Term] = {
    "ip": IsNetwork("IPV4"),
    "ip6": IsNetwork("IPV6"),
    "arp": IsNetwork("ARP"),
    "icmp": IsProtocol(1, "IPV4"),
    "icmp6": IsProtocol(58, "IPV6"),
    "tcp": IsProtocol(6, None),
    "udp": IsProtocol(17, None),
    "sctp": IsProtocol(132, None),
    "igmp": IsProtocol(2, "IPV4"),
    "esp": IsProtocol(50, None),
    "ah": IsProtocol(51, None),
    "pim": IsProtocol(103, None),
    "vrrp": IsProtocol(112, "IPV4"),
}
_WORDS = {*_BARE, *_KINDS, "src", "dst", "ether", "vlan", "and", "or", "not"}
_PROTOCOL_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "sctp": 132}

# --- tokens --------------------------------------------------------------------------------------------------------


class _Kind(Enum):
    OPEN = auto()
    CLOSE = auto()
    AND = auto()
    OR = auto()
    NOT = auto()
    OPERATOR = auto()
    WORD = auto()
    VALUE = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str
    column: int

    def __str__(self) -> str:
        return "the end" if self.kind is _Kind.END else repr(self.text)


_LEXEME = re.compile(
    r"(?P<OPEN>\()|(?P<CLOSE>\))|(?P<AND>&&)|(?P<OR>\|\|)|(?P<OPERATOR>>=|<=|!=|==|[=<>~])|(?P<NOT>!)"
    r"|(?P<WORD>[^\s()!&|=<>~'\"]+)"
)
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s()&|'\"]+")
_CONNECTIVES = {"and": _Kind.AND, "or": _Kind.OR, "not": _Kind.NOT}


def _tokens(text: str) -> Iterator[_Token]:
    """Cut ``text`` into tokens, an END at last. After an operator comes a value, quoted or up to the next space."""
    position = 0
    kind = _Kind.END
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        expects_value = kind is _Kind.OPERATOR
        found = (_VALUE if expects_value else _LEXEME).match(text, position)
        if found is None:
            expected = "a value, in quotes if it has spaces or brackets" if expects_value else "'&&', '||' or a word"
            _fail(position + 1, f"{text[position]!r} is not known here: expected {expected}")
        word = found.group()
        if expects_value:
            kind = _Kind.VALUE
            yield _Token(kind, word.strip(word[0]) if word[0] in "'\"" else word, position + 1)
        else:
            kind = _CONNECTIVES.get(word) or _Kind[found.lastgroup or "WORD"]
            yield _Token(kind, word, position + 1)
        position = found.end()
    yield _Token(_Kind.END, "", len(text) + 1)


def _fail(column: int, what: str) -> NoReturn:
    raise FilterError(f"filter, column {column}: {what}")


def _nearest(word: str, known: Collection[str]) -> str:
    """Give a hint at the known word nearest to ``word``; nothing if there is none or it is one itself."""
    if word in known:
        return ""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, 1, 0.6)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


# --- the parser ----------------------------------------------------------------------------------------------------


def parse_terms(text: str) -> Term | None:
    """Parse a filter; None for an empty one, which is true of every flow.

    Raises:
        FilterError: it does not parse, or is longer or deeper than allowed; names the column (from 1) and the remedy.
    """
    if len(text) > MAX_LENGTH:
        _fail(MAX_LENGTH + 1, f"the filter has {len(text)} characters: at most {MAX_LENGTH} are allowed")
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Qualifiers:
    protocol: str | None
    direction: Direction
    kind: str

    def __str__(self) -> str:
        direction = "" if self.direction is Direction.EITHER else f"{self.direction.value} "
        return f"{self.protocol + ' ' if self.protocol else ''}{direction}{self.kind}"


class _Parser:
    """Recursive descent over the tokens; recursion is bounded by :data:`MAX_DEPTH`."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._recent: _Qualifiers | None = None  # what a lone identifier takes

    def parse(self) -> Term | None:
        first = self._next
        if first.kind is _Kind.END:
            return None
        term = self._expression(0)
        after = self._take()
        if after.kind is not _Kind.END:
            _fail(after.column, f"expected 'and', 'or' or the end, found {after}{_nearest(after.text, _WORDS)}")
        return term

    def _take(self) -> _Token:
        token = self._next
        if token.kind is not _Kind.END:
            self._next = next(self._tokens)
        return token

    def _accept(self, words: Collection[str]) -> str | None:
        """Take the next token if it is one of ``words``."""
        return self._take().text if self._next.kind is _Kind.WORD and self._next.text in words else None

    def _expression(self, depth: int) -> Term:
        first = self._term(depth)
        rest = []
        while self._next.kind in {_Kind.AND, _Kind.OR}:
            is_and = self._take().kind is _Kind.AND
            rest.append((is_and, self._term(depth)))
        return Chain(first, tuple(rest)) if rest else first

    def _term(self, depth: int) -> Term:
        token = self._take()
        if depth > MAX_DEPTH:
            _fail(token.column, f"more than {MAX_DEPTH} levels of parentheses and 'not'")
        if token.kind is _Kind.NOT:
            return Not(self._term(depth + 1))
        if token.kind is _Kind.OPEN:
            inner = self._expression(depth + 1)
            if self._take().kind is not _Kind.CLOSE:
                _fail(token.column, "this '(' has no ')'")
            return inner
        if token.kind is not _Kind.WORD:
            _fail(token.column, f"expected a condition such as 'host 10.0.0.1' or 'Application=DNS', found {token}")
        if self._next.kind is _Kind.OPERATOR:
            self._recent = None
            return self._comparison(token)
        return self._primitive(token)

    def _comparison(self, field: _Token) -> Term:
        name, operator, value = field.text, self._take(), self._take()
        known = {*NUMBER_FIELDS, *TEXT_FIELDS}
        if name not in known and not name.startswith(tuple(f"{prefix}." for prefix in OPEN_FIELDS)):
            _fail(field.column, f"{name!r} is not a field of a flow{_nearest(name, known)}: expected e.g. Network.A")
        if value.kind is not _Kind.VALUE:
            _fail(value.column, f"expected a value after {operator}, found {value}")
        number = re.fullmatch(r"-?\d+(\.\d+)?", value.text)
        if operator.text[0] in "<>" and (number is None or name in TEXT_FIELDS):
            _fail(operator.column, f"{operator} compares numbers: {name}{operator.text}{value.text} does not")
        if name in NUMBER_FIELDS and operator.text != "~" and number is None:
            _fail(value.column, f"{name} is a number, not {value}")
        if operator.text == "~" and len(value.text) > MAX_PATTERN:
            _fail(value.column, f"a pattern may have at most {MAX_PATTERN} characters")
        return Compare(name, "=" if operator.text == "==" else operator.text, value.text)

    def _primitive(self, token: _Token) -> Term:
        if token.text == "vlan":
            self._recent = None
            return HasVlan(self._number(self._take(), 4095) if self._next.text[:1].isdigit() else None)
        if token.text in {*_QUALIFIED_KINDS, *_OTHER_END, *_KINDS}:
            return self._qualified(token)
        if token.text in _BARE:
            self._recent = None
            return _BARE[token.text]
        if self._recent is None:
            hint = _nearest(token.text, _WORDS)
            _fail(token.column, f"{token} is not known{hint}: expected host, net, port, proto, vlan, tcp, … or a field")
        return self._identified(self._recent, token)

    def _qualified(self, token: _Token) -> Term:
        """Parse ``[protocol] [direction] [kind] identifier``, or a protocol alone."""
        word: str | None = token.text
        protocol = None
        if word in _QUALIFIED_KINDS:
            protocol, word = word, self._accept({*_OTHER_END, *_KINDS})
        if word is None:
            self._recent = None
            if token.text not in _BARE or self._next.kind is _Kind.WORD:
                kinds = ", ".join(sorted(_QUALIFIED_KINDS[protocol]))
                found = f"{self._next}{_nearest(self._next.text, _WORDS)}"
                _fail(self._next.column, f"after {token} expected src, dst, {kinds}, found {found}")
            return _BARE[token.text]
        direction = Direction.EITHER
        kind: str | None = word
        if word in _OTHER_END:
            direction = self._direction(word)
            kind = self._accept(_KINDS)
        qualifiers = _Qualifiers(protocol, direction, kind or "host")
        wrong_way = qualifiers.kind == "proto" and direction is not Direction.EITHER
        if wrong_way or qualifiers.kind not in _QUALIFIED_KINDS[protocol]:
            _fail(token.column, f"'{qualifiers}' has no meaning: {qualifiers.kind!r} cannot be combined so")
        self._recent = qualifiers
        return self._identified(qualifiers, self._take())

    def _direction(self, word: str) -> Direction:
        """Parse the rest of ``src``, ``dst``, ``src or dst``, ``src and dst``."""
        joined = self._next.kind
        if joined not in {_Kind.AND, _Kind.OR}:
            return Direction(word)
        conjunction = self._take()
        if self._accept({_OTHER_END[word]}) is None:
            _fail(
                self._next.column,
                f"after '{word} {conjunction.text}' expected {_OTHER_END[word]!r}, found {self._next}",
            )
        return Direction.BOTH if joined is _Kind.AND else Direction.EITHER

    def _identified(self, qualifiers: _Qualifiers, token: _Token) -> Term:
        """Make the condition of an identifier, or of several in brackets, with its qualifiers."""
        return self._alternatives(qualifiers, token) if token.kind is _Kind.OPEN else self._single(qualifiers, token)

    def _single(self, qualifiers: _Qualifiers, token: _Token) -> Term:
        if token.kind is not _Kind.WORD:
            _fail(token.column, f"after '{qualifiers}' expected what to look for, found {token}")
        direction, protocol = qualifiers.direction, qualifiers.protocol
        match qualifiers.kind:
            case "host" if protocol == "ether":
                return HasMac(direction, _mac(token))
            case "host" | "net":
                network = _address(token) if qualifiers.kind == "host" else _network(self._with_mask(token))
                if protocol in {"ip", "ip6"} and network.version != (4 if protocol == "ip" else 6):
                    _fail(token.column, f"{token} is not an address of {protocol!r}")
                return InNetwork(direction, network)
            case "proto":
                network_name = {"ip": "IPV4", "ip6": "IPV6"}.get(protocol or "")
                return IsProtocol(self._protocol(token), network_name)
            case _:
                return self._ports(qualifiers, token)

    def _alternatives(self, qualifiers: _Qualifiers, opening: _Token) -> Term:
        """Parse ``80 or 443)``: identifiers that share the qualifiers before the bracket."""
        first = self._single(qualifiers, self._take())
        rest = []
        while self._next.kind in {_Kind.AND, _Kind.OR}:
            is_and = self._take().kind is _Kind.AND
            rest.append((is_and, self._single(qualifiers, self._take())))
        if self._take().kind is not _Kind.CLOSE:
            _fail(opening.column, "this '(' has no ')'")
        return Chain(first, tuple(rest))

    def _with_mask(self, token: _Token) -> _Token:
        """``10.0.0.0 mask 255.0.0.0`` as ``10.0.0.0/8``."""
        if self._accept({"mask"}) is None:
            return token
        mask = self._take()
        try:
            length = ipaddress.IPv4Network(f"0.0.0.0/{mask.text}").prefixlen
        except ValueError:
            length = -1
        if length < 0 or "." not in mask.text or str(ipaddress.IPv4Network(f"0.0.0.0/{length}").netmask) != mask.text:
            _fail(mask.column, f"expected a net mask such as 255.255.0.0, found {mask}")
        return _Token(_Kind.WORD, f"{token.text}/{length}", token.column)

    def _protocol(self, token: _Token) -> int:
        name = token.text.removeprefix("\\")
        if name[:1].isdigit():
            return self._number(token, 255)
        if name in _PROTOCOL_NUMBERS:
            return _PROTOCOL_NUMBERS[name]
        try:
            return socket.getprotobyname(name)
        except OSError:
            hint = _nearest(name, _PROTOCOL_NUMBERS)
            _fail(token.column, f"IP protocol {name!r} is not known{hint}: expected a number or a name of /etc/protocols")

    def _ports(self, qualifiers: _Qualifiers, token: _Token) -> Term:
        transports = frozenset([_TRANSPORTS[qualifiers.protocol]] if qualifiers.protocol else _TRANSPORTS.values())
        bounds = re.fullmatch(r"(\d+)-(\d+)", token.text)
        if bounds is not None:
            low, high = sorted(
                self._number(_Token(_Kind.WORD, bounds[group], token.column + bounds.start(group)), 65535) for group in (1, 2)
            )
        elif token.text[0].isdigit():
            low = high = self._number(token, 65535)
        else:
            low, transports = _service(token, transports)
            high = low
        return InPorts(qualifiers.direction, transports, low, high)

    def _number(self, token: _Token, largest: int) -> int:
        if re.fullmatch(r"\d{1,9}|0[xX][0-9a-fA-F]{1,8}", token.text) is None:
            _fail(token.column, f"expected a number, found {token}")
        value = int(token.text, 16 if token.text[:2] in {"0x", "0X"} else 10)
        if value > largest:
            _fail(token.column, f"{value} is too large: expected at most {largest}")
        return value


# --- identifiers ---------------------------------------------------------------------------------------------------


def _address(token: _Token) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if "/" in token.text:
        _fail(token.column, f"{token} is a network: write 'net {token.text}'")
    try:
        return ipaddress.ip_network(_no_zone(token.text))
    except ValueError:
        hint = f": write 'port {token.text}'" if token.text.isdigit() else " (names are not looked up)"
        _fail(token.column, f"expected an IPv4 or IPv6 address, found {token}{hint}")


def _network(token: _Token) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse CIDR, or an abbreviated IPv4 network number (``10``, ``172.16``) as pcap-filter has it."""
    base, slash, length = token.text.partition("/")
    parts = base.split(".")
    if ":" not in base and len(parts) <= 4 and all(part.isdecimal() for part in parts):
        length = length or str(8 * len(parts))
        base = ".".join(parts + ["0"] * (4 - len(parts)))
    text = f"{base}/{length}" if length else f"{base}{slash}"
    try:
        loose = ipaddress.ip_network(_no_zone(text), strict=False)
        if length and not length.isdecimal():
            raise ValueError(length)  # noqa: TRY301 - a net mask reads as a host mask too: neither is taken
    except ValueError:
        _fail(token.column, f"expected a network such as 10.0.0.0/8 or 2001:db8::/32, found {token}")
    if loose.network_address != ipaddress.ip_address(base):
        _fail(token.column, f"{token} has bits set behind its prefix: write 'net {loose}'")
    return loose


def _no_zone(text: str) -> str:
    """Refuse ``fe80::1%eth0``: a flow's addresses have no zone."""
    if "%" in text:
        raise ValueError(text)
    return text


def _mac(token: _Token) -> str:
    parts = re.split(r"[:-]", token.text)
    if len(parts) != 6 or any(re.fullmatch(r"[0-9a-fA-F]{1,2}", part) is None for part in parts):
        _fail(token.column, f"expected a MAC address such as 02:00:00:00:00:01, found {token}")
    return ":".join(part.lower().zfill(2) for part in parts)


def _service(token: _Token, transports: frozenset[str]) -> tuple[int, frozenset[str]]:
    """Look up a service; a name of one transport alone stands for that transport, as pcap-filter says."""
    ports = {}
    for transport in ("TCP", "UDP", "SCTP"):
        try:
            ports[transport] = socket.getservbyname(token.text, transport.lower())
        except OSError:
            continue
    having = [transport for transport in ports if transport in transports]
    if not having:
        _fail(token.column, f"service {token} is not in /etc/services: expected a name of it, a port or a range N-M")
    number = ports[having[0]]
    return number, transports if len(ports) > 1 else frozenset(having)
