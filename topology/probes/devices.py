"""The kernel's devices as another probe knows them again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    own: int
    all: tuple[Device, ...]
