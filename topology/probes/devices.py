"""The kernel's devices as another probe knows them again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Device(NamedTuple):
    """A link.

    Attributes:
        namespace: its cookie.
        name: its name there.
        ifindex: its number there.
        mac: its link-layer address, as ``02:00:00:00:00:01``; empty: none.
        kind: ``veth``, ``tun`` …; empty for a physical one.
        tid: of its node.
    """

    namespace: int
    name: str
    ifindex: int
    mac: str
    kind: str
    tid: str


@dataclass(frozen=True, slots=True)
class Devices:
    """All links of the namespaces that are followed.

    Attributes:
        own: cookie of our own namespace.
        all: every link.
        owners: the TID of whom the links of a namespace belong to, by its cookie: of the host, if it is our own.
    """

    own: int
    all: tuple[Device, ...]
    owners: Mapping[int, str] = field(default_factory=dict)
