"""Whether the wire may be used as the settings say: beyond loopback with mutual TLS alone; and where it is reached."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from skytrail.errors import ListenError, UsageError
from skytrail.http.server import is_loopback, resolved
from skytrail.settings.tree import Settings
from skytrail.settings.values import parse_address

if TYPE_CHECKING:
    from skytrail.wire.peers import Other

_TLS = "mutual TLS (wire.tls_cert, wire.tls_key, wire.tls_ca)"
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what is listened on, not that it is
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


def advertised(settings: Settings, host: str, port: int) -> str:
    """Where other hubs reach this one.

    Args:
        settings: the effective ones.
        host: name of this host.
        port: that the wire listens on.
    """
    if settings.hub.advertise:
        return settings.hub.advertise
    listen, _ = parse_address(settings.hub.wire)
    reached = host if listen in _EVERYWHERE else listen
    return f"[{reached}]:{port}" if ":" in reached else f"{reached}:{port}"


def loopback(boot_id: str) -> str:
    """Name the network namespace of this process, among those of all hosts."""
    return f"{boot_id}/{Path('/proc/self/ns/net').stat().st_ino}"


def peer_refusal(settings: Settings, here: str, other: Other) -> str:
    """Why another hub of the graph is not asked, in a line that goes on after *which*; empty: it is.

    Args:
        settings: the effective ones.
        here: names the network namespace of this process.
        other: that hub.
    """
    if not other.address:
        return "is of a release that other hubs cannot ask: upgrade it"
    host, _ = parse_address(other.address)
    if is_here(host) and other.loopback != here:
        return "listens on its own loopback alone: set hub.wire or hub.advertise there"
    if not (settings.wire.tls_cert or settings.http.insecure or is_here(host)):
        return f"is not asked without {_TLS}: {_REMEDY}"
    return ""


def asking_refusal(settings: Settings, *, shared: bool) -> str:
    """Why other hubs may not ask this one's agents; empty: they may.

    Args:
        settings: the effective ones.
        shared: whether other hubs can have the same graph.
    """
    if not shared:
        return "this hub shares its graph with no other"
    if not settings.wire.tls_cert and (settings.http.token_file or settings.http.users_file):
        return f"this hub answers those alone who say who they are: set up {_TLS}"
    return ""


def is_here(host: str) -> bool:
    """Whether a name or address is that of loopback; no name is looked up."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
