"""Who may do what over HTTP: the role that each route needs. The one place where that stands.

``read`` asks for what is known; ``capture`` also sees packets themselves; ``admin`` also changes rules, forgets hosts, sees
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from types import MappingProxyType

SOCKET = "WEBSOCKET"
"""Stands for a method where a WebSocket is opened."""

ROLE = "skytrail.role"
"""Key of an ASGI scope's: the :class:`Role` of who asks."""


class Role(IntEnum):
    """What somebody may do; each may do what those before it may."""

    READ = 1
    CAPTURE = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


NAMES: Mapping[str, Role] = MappingProxyType({str(role): role for role in Role})

OPEN = "/healthz"
"""The one path where nobody is asked who it is."""

_GET = {"GET": Role.READ}
_ASK = {**_GET, "POST": Role.READ}
_RULES = {**_GET, "POST": Role.ADMIN}
_RULE = {**_GET, "DELETE": Role.ADMIN}

ROUTES: Mapping[str, Mapping[str, Role]] = MappingProxyType(
    {
        "/": _ASK,
        "/api": _GET,
        "/api/config/<path:key>": {"GET": Role.ADMIN},
        "/api/edgerule": _RULES,
        "/api/edgerule/<id_>": _RULE,
        "/api/noderule": _RULES,
        "/api/noderule/<id_>": _RULE,
        "/api/openapi.json": _GET,
        "/api/status": _GET,
        "/api/topology": _ASK,
        "/api/v1/complete": _ASK,
        "/api/v1/diff": _GET,
        "/api/v1/flows": _GET,
        "/api/v1/graph": _GET,
        "/api/v1/hosts/<path:host>": {"DELETE": Role.ADMIN},
        "/api/v1/path": _GET,
        "/api/v1/sockets": _GET,
        "/api/v1/trace": _GET,
        "/api/v1/trace/<path:tracking>": _GET,
        "/gremlin": {**_ASK, SOCKET: Role.READ},
        "/metrics": _GET,
        "/readyz": _GET,
        "/ws/subscriber": {SOCKET: Role.READ},
    }
)
"""By path, as Flask writes it, and method. What does not stand here needs ``admin``."""

STEPS: Mapping[str, Role] = MappingProxyType({"RawPackets": Role.CAPTURE})
"""Steps of a query that need more than their route: they show packets themselves."""

_PART = re.compile(r"<(?:(path):)?\w+>")
_LIKE = {"HEAD": "GET"}


def _pattern(rule: str) -> re.Pattern[str]:
    pieces = (re.escape(rule[begin:end]) + what for begin, end, what in _pieces(rule))
    return re.compile("".join(pieces))


def _pieces(rule: str) -> Iterator[tuple[int, int, str]]:
    at = 0
    for part in _PART.finditer(rule):
        yield at, part.start(), ".+" if part[1] else "[^/]+"
        at = part.end()
    yield at, len(rule), ""


_VARYING = tuple((_pattern(rule), methods) for rule, methods in ROUTES.items() if "<" in rule)


def needed(method: str, path: str) -> Role:
    """The role that a request needs. What a path may be asked is harmless to tell."""
    methods = ROUTES.get(path)
    if methods is None:
        methods = next((methods for pattern, methods in _VARYING if pattern.fullmatch(path)), {})
    if method == "OPTIONS" and methods:
        return Role.READ
    return methods.get(_LIKE.get(method, method), Role.ADMIN)
