"""What is known of all links of a host, and which others each of them points at. No I/O.

A link points at another by (namespace, ifindex): its master, and its lower device or peer. The other may come later, or be
told of only from its own side (the end of a veth pair that is made first is announced without its peer).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from skytrail.kernel.linkmessages import Link
from skytrail.kernel.linktable import LinkKey
from skytrail.kernel.netlink import NetlinkDecodeError
from topology.probes.netlink.addressdata import Address
from topology.probes.netlink.linkdata import link_metadata

_PAIRS = frozenset({"veth", "vxcan", "netkit"})
"""Kinds whose ``link`` is the other end of a pair, not a lower device."""

AddressKey = tuple[int, str, int]
"""Family, address, prefix length."""


@dataclass(slots=True)
class HostLink:
    """One link.

    Attributes:
        link: as the kernel told last.
        tid: its topology ID.
        addresses: its IP addresses.
        ethtool: what ethtool says of it.
        other: number of its peer or lower device, in the namespace that ``link.link_nsid`` says; None: it has none.
        port: what its bridge told of it since; empty: what the link itself says holds.
        functions: its virtual functions (SR-IOV), as they were told last.
        tables: its routes and neighbours.
        volatile: its counters, and the states of its neighbours.
    """

    link: Link
    tid: str
    addresses: dict[AddressKey, Address] = field(default_factory=dict)
    ethtool: dict[str, Any] = field(default_factory=dict)
    other: int | None = None
    port: dict[str, Any] = field(default_factory=dict)
    functions: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    volatile: dict[str, Any] = field(default_factory=dict)


class HostLinks:
    """All links by key, and who points at whom.

    Args:
        cookie_of: the namespace behind a number of ours; None: one that is not followed.
    """

    def __init__(self, cookie_of: Callable[[int], int | None]) -> None:
        self._cookie_of = cookie_of
        self.by_key: dict[LinkKey, HostLink] = {}
        self._in: dict[int, set[LinkKey]] = {}  # by namespace
        self._pointed: dict[LinkKey, set[LinkKey]] = {}  # target → who points at it
        self._points_at: dict[LinkKey, set[LinkKey]] = {}

    def put(self, link: Link, tid: str) -> HostLink:
        """A link is there, or is otherwise."""
        key = (link.cookie, link.ifindex)
        known = self.by_key.get(key)
        if known is None:
            known = self.by_key[key] = HostLink(link, tid)
            self._in.setdefault(link.cookie, set()).add(key)
        known.link, known.tid, known.port, known.other = link, tid, {}, _other(link)
        known.functions = _functions(link) or known.functions if link.functions else []
        self._point(key, {target for target in (self.master(link), self.other(known)) if target})
        return known

    def move(self, old: LinkKey, new: LinkKey) -> None:
        """A link is in another namespace, and lost its addresses on the way."""
        known = self.remove(old)
        if known is not None:
            known.addresses.clear()
            known.tables.clear()
            self.by_key[new] = known
            self._in.setdefault(new[0], set()).add(new)

    def remove(self, key: LinkKey) -> HostLink | None:
        """A link is gone."""
        self._point(key, set())
        known = self.by_key.pop(key, None)
        if known is not None:
            self._in[key[0]].discard(key)
            if not self._in[key[0]]:
                del self._in[key[0]]
        return known

    def of(self, cookie: int) -> list[LinkKey]:
        """The links of a namespace."""
        return list(self._in.get(cookie, ()))

    def around(self, keys: Iterable[LinkKey]) -> dict[LinkKey, None]:
        """These and all that point at them, or that they point at: whose edges may be otherwise now."""
        found: dict[LinkKey, None] = {}
        for key in keys:
            found[key] = None
            for other in sorted(self._pointed.get(key, set()) | self._points_at.get(key, set())):
                found[other] = None
        return found

    def master(self, link: Link) -> LinkKey | None:
        """The bridge, bond … that it is a port of."""
        return (link.cookie, link.master) if link.master else None

    def other(self, known: HostLink) -> LinkKey | None:
        """Its peer or lower device; None where that is in a namespace that is not followed, too."""
        link = known.link
        cookie = link.cookie if link.link_nsid is None else self._cookie_of(link.link_nsid)
        if not known.other or cookie is None:
            return None
        target = (cookie, known.other)
        return None if target == (link.cookie, link.ifindex) else target  # gre0 and its like point at themselves

    def peer(self, key: LinkKey) -> LinkKey | None:
        """The other end of a pair, told by either end."""
        known = self.by_key.get(key)
        if known is None or known.link.kind not in _PAIRS:
            return None
        own = self.other(known)
        if own in self.by_key and self.by_key[own].link.kind == known.link.kind:
            return own
        for other in sorted(self._pointed.get(key, ())):
            theirs = self.by_key.get(other)
            if theirs and theirs.link.kind == known.link.kind and self.other(theirs) == key:
                return other
        return None

    def lower(self, key: LinkKey) -> LinkKey | None:
        """The device that it stands on, if that is known."""
        known = self.by_key[key]
        target = None if known.link.kind in _PAIRS else self.other(known)
        return target if target in self.by_key else None

    def _point(self, key: LinkKey, targets: set[LinkKey]) -> None:
        for target in self._points_at.pop(key, set()) - targets:
            self._pointed[target].discard(key)
            if not self._pointed[target]:
                del self._pointed[target]
        for target in targets:
            self._pointed.setdefault(target, set()).add(key)
        if targets:
            self._points_at[key] = targets


def _functions(link: Link) -> list[dict[str, Any]]:
    with contextlib.suppress(NetlinkDecodeError):
        return list(link_metadata(link.raw).get("Vfs", ()))
    return []


def _other(link: Link) -> int | None:
    if link.kind == "vxlan":  # says it among its own data
        with contextlib.suppress(NetlinkDecodeError):
            lower: int | None = link_metadata(link.raw).get("VXLAN", {}).get("Link")
            return lower
    return link.link
