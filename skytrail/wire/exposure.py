"""Whether the wire may be used as the settings say: beyond loopback with mutual TLS alone."""

from __future__ import annotations

import ipaddress

from skytrail.errors import ListenError, UsageError
from skytrail.http.server import is_loopback, resolved
from skytrail.settings.tree import Settings
from skytrail.settings.values import parse_address

_TLS = "mutual TLS (wire.tls_cert, wire.tls_key, wire.tls_ca)"
_REMEDY = "'skytrail pki' makes the files; or give --insecure"


def check_wire(settings: Settings) -> None:
    """Refuse to be reached by agents beyond loopback without mutual TLS.

    Raises:
        ListenError: it is an address of that kind, or none at all.
    """
    listen = settings.hub.wire
    _, addresses = resolved(listen)
    if not (settings.wire.tls_cert or settings.http.insecure or is_loopback(addresses)):
        raise ListenError(f"will not listen on {listen} for agents without {_TLS}: {_REMEDY}")


def check_hubs(settings: Settings) -> None:
    """Refuse to tell a hub beyond loopback what this host is made of without mutual TLS. Names are not looked up.

    Raises:
        UsageError: there is such a hub.
    """
    if settings.wire.tls_cert or settings.http.insecure:
        return
    for hub in settings.agent.hubs:
        host, _ = parse_address(hub)
        if not is_here(host):
            raise UsageError(f"agent.hubs: will not talk to {hub} without {_TLS}: {_REMEDY}")


def is_here(host: str) -> bool:
    """Whether a name or address is that of loopback; no name is looked up."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
