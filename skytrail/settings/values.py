"""Values that people write as text: durations, sizes, addresses to listen on, patterns; each a pure function.

A function raises ValueError with the end of a sentence that begins with the key: "expected a duration such as 30s …".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from urllib.parse import urlsplit

from skytrail.kernel.capabilities import NUMBERS

_NUMBER_AND_UNIT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([A-Za-zµ\u03bc]+)", re.ASCII)  # as Go has it: .5h, 1.s, either mu
_PARTS = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SECONDS = {
    "": Decimal(1),
    "ns": Decimal("1e-9"),
    "µs": Decimal("1e-6"),
    "\u03bcs": Decimal("1e-6"),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}


def parse_duration(text: str) -> float:
    """Return seconds from ``30s``, ``5m``, ``100ms``, ``1h30m``, ``2d``, ``1.5`` (a bare number is seconds)."""
    one = _NUMBER_AND_UNIT.fullmatch(text)
    parts = [one.groups()] if one else _PART.findall(text) if _PARTS.fullmatch(text.strip()) else []
    if not parts or any(unit not in _SECONDS for _, unit in parts):
        raise ValueError(f"expected a duration such as 30s, 5m, 1h30m or 100ms, got {text!r}")
    return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Return the shortest exact text that :func:`parse_duration` reads back: 300 → ``5m``, 0.1 → ``100ms``."""
    exact = Decimal(repr(float(seconds)))
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count = exact / _SECONDS[unit]
        if count == count.to_integral_value() and (count != 0 or unit == "s"):
            return f"{int(count)}{unit}"
    return f"{exact:f}s"


def parse_size(text: str) -> int:
    """Return bytes from ``64MiB``, ``1GB``, ``65536``."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"expected a size such as 64MiB, 1GB or 65536, got {text!r}")
    return int(Decimal(match[1]) * _BYTES[match[2]])


def format_size(count: int) -> str:
    """Return the shortest exact text that :func:`parse_size` reads back: 67108864 → ``64MiB``."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return str(count)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``127.0.0.1:8081``, ``[::1]:8081``, ``name:0``; ``:8081`` has an empty host (all)."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host.partition("%")[0])  # a ValueError tells what is wrong with it
    elif ":" in host:
        raise ValueError(f"expected an IPv6 address in brackets, as [::1]:8081, got {text!r}")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"expected an address such as 127.0.0.1:8081 or [::1]:8081, got {text!r}")
    return host, int(port)


def check_address(value: str) -> None:
    """Refuse what :func:`parse_address` cannot read."""
    parse_address(value)


def check_advertised(value: str) -> None:
    """Refuse what nobody can dial; empty is none."""
    if value:
        host, port = parse_address(value)
        if not host or not port:
            raise ValueError(f"expected an address that others can dial, as hub1.example:8083, got {value!r}")


def check_addresses(values: Sequence[str]) -> None:
    """Refuse a list of which :func:`parse_address` cannot read one, or that has one twice."""
    for value in values:
        parse_address(value)
    if len(set(values)) < len(values):
        raise ValueError("an address stands there twice")


def check_capabilities(values: Sequence[str]) -> None:
    """Refuse a list of which one is no capability."""
    for value in values:
        if value != "all" and value not in NUMBERS:
            near = ", ".join(get_close_matches(value.lower().removeprefix("cap_"), NUMBERS, 1)) or "net_admin"
            raise ValueError(f"expected names of capabilities(7) without CAP_, as {near}, or all, got {value!r}")


def check_databases(values: Sequence[str]) -> None:
    """Refuse a list of which one is no remote of an OVSDB, or that has one twice."""
    for value in values:
        _check_database(value)
    if len(set(values)) < len(values):
        raise ValueError("a database stands there twice")


def _check_database(value: str) -> None:
    kind, _, where = value.partition(":")
    if kind == "unix" and where.startswith("/"):
        return
    if kind not in ("tcp", "ssl"):
        raise ValueError("expected unix:/PATH, tcp:HOST:PORT or ssl:HOST:PORT")
    parse_address(where)


_CLUSTER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


def check_clusters(clusters: Mapping[str, str]) -> None:
    """Refuse a name that is none, and a place that is neither ``in-cluster`` nor a file by its whole path."""
    for name, place in clusters.items():
        if _CLUSTER_NAME.fullmatch(name) is None:
            raise ValueError(f"expected a name of letters, digits, '.', '_' and '-', got {name!r}")
        if place != "in-cluster" and not place.startswith(("/", "~/")):
            raise ValueError(f"{name}: expected in-cluster, /PATH/OF/KUBECONFIG or /PATH#CONTEXT, got {place!r}")


def check_interfaces(patterns: Sequence[str]) -> None:
    """Refuse an empty list or pattern, and a regular expression that does not compile."""
    if not patterns:
        raise ValueError("expected at least one pattern; '*' means every interface")
    for pattern in patterns:
        body = pattern.removeprefix("!")
        if body.startswith("~"):
            try:
                re.compile(body[1:])
            except re.error as exc:
                raise ValueError(f"{pattern!r} is no regular expression: {exc}") from exc
        elif not body.removeprefix("type:"):
            raise ValueError(f"{pattern!r} names nothing: expected a glob, ~regex or type:kind after it")


_SUBNET_NAMES = 255


def check_subnets(subnets: Mapping[str, str]) -> None:
    """Refuse a key that is no CIDR network (host bits must be zero), an empty name, and more names than labels can be."""
    if len(set(subnets.values())) > _SUBNET_NAMES:
        raise ValueError(f"expected at most {_SUBNET_NAMES} different names, for each is a label of metrics")
    for cidr, name in subnets.items():
        try:
            ipaddress.ip_network(cidr)
        except ValueError as exc:
            raise ValueError(f"expected networks such as 10.1.0.0/16: {exc}") from exc
        if not name:
            raise ValueError(f"{cidr} has no name")


def check_endpoint(value: str) -> None:
    """Refuse a collector's endpoint that is neither a URL with http(s) nor host:port; never repeats the value."""
    scheme, separator, _ = value.partition("://")
    if separator and scheme not in {"http", "https"}:
        raise ValueError("expected a URL that begins with http:// or https://, or host:port")
    try:
        parts = urlsplit(value if separator else f"//{value}")
        named = bool(parts.hostname) and (separator or parts.port)
    except ValueError:  # a port that is no number, a bracket that does not close
        named = False
    if not named:
        raise ValueError("expected a URL such as http://127.0.0.1:4317, or host:port")
    if "@" in parts.netloc:
        raise ValueError("expected no user name or password in a URL; give them in otlp.headers (authorization)")
