"""Who had an address at a moment, as seen from a place. Pure; for any thread.

An address alone proves little: many hosts have the same, and whoever may make a network namespace may give himself any. Whose
it is, is told by the nearest who has it: in the network namespace where it is seen, else on that host, else anywhere. Beyond
his own namespace nobody takes an address from a host, or from what a cluster says is its own. Where several are as near, nobody
is named. Within a tunnel an address is of whoever has it in that tunnel's network, else of one who is in none. Times are µs
since the epoch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

FOREVER = 2**63 - 1
POD, CONTAINER, SERVICE, HOST, NODE, NAMESPACE, SWITCH_PORT = KINDS = (
    *("pod", "container", "service", "host", "node", "netns", "ovsport"),
)
"""What owners are; of several in one place the first is told: a pod, and not the namespace that it is in."""

_RANK = {kind: rank for rank, kind in enumerate(KINDS)}
_MACHINES = frozenset({HOST, NODE})
_EARLY = 30_000_000  # µs: so much before it was seen an address may have been used: probes and clusters take their time
_KEPT = 900_000_000  # µs for which it is known who had an address: longer than a flow without packets lives


TUNNELS = {"vxlan": 1, "geneve": 2, "gre": 3}
"""Kinds of tunnels that have networks with numbers."""


def network_of(tunnel: str, number: int) -> int:
    """A tunnel's network as one number: its kind, and its VNI or key; 0: of no such tunnel."""
    kind = TUNNELS.get(tunnel, 0)
    return kind and kind << 32 | number & 0xFFFFFFFF


def tunnel_shown(network: int) -> tuple[str, int]:
    """The kind and the number of a tunnel's network."""
    return _KINDS_OF_TUNNELS[network >> 32], network & 0xFFFFFFFF


_KINDS_OF_TUNNELS = {number: kind for kind, number in TUNNELS.items()}


PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
"""Those that have ports, as flows and services name them."""


def port_of(protocol: int, port: int) -> int:
    """A port of an IP protocol as one number."""
    return protocol << 16 | port


class Owner(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Who has an address.

    Attributes:
        kind: one of :data:`KINDS`.
        name: its name.
        space: of a pod or a service: its Kubernetes namespace.
        host: name of the host that it is on; empty: on none, or not known.
        iface_id: of a switch's port: whose it is to who made it (``external_ids:iface-id``), as Neutron's port.
        vm: the machine behind it.
        cluster: that says so; empty: none does.
    """

    kind: str
    name: str
    space: str = ""
    host: str = ""
    iface_id: str = ""
    vm: str = ""
    cluster: str = ""

    @property
    def sure(self) -> bool:
        """Whether nobody but a cluster, or a host's root, can have made it up."""
        return self.kind == HOST or self.cluster != ""

    def shown(self) -> dict[str, str]:
        """As in a flow's JSON."""
        return {key: value for key, field in SHOWN.items() if (value := getattr(self, field))}


SHOWN = {
    "Kind": "kind",
    "Name": "name",
    "Namespace": "space",
    "Host": "host",
    "IfaceID": "iface_id",
    "VM": "vm",
    "Cluster": "cluster",
}
"""Keys of a flow's JSON, and fields of owners."""

Key: TypeAlias = "tuple[bytes, str, str, Owner, tuple[int, ...], tuple[int, ...], bool]"


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An address that somebody has.

    Attributes:
        address: its 4 or 16 bytes.
        place: TID of the network namespace (of the host: of its own one) that has it; empty: of none.
        host: TID of the host; empty: of none that is known.
        owner: who has it.
        since: when that began.
        networks: of tunnels (:func:`network_of`) that it has the address in; none: it is in no tunnel's.
        ports: that alone are its own (:func:`port_of`), where a host has the address, too; none: all.
        near: whether it is told of on its host alone: who made the namespace may have given it any address.
    """

    address: bytes
    place: str
    host: str
    owner: Owner
    since: int
    networks: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    near: bool = False

    @property
    def key(self) -> Key:
        """Tells it from others."""
        return self.address, self.place, self.host, self.owner, self.networks, self.ports, self.near


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the book.

    Attributes:
        put: entries that are there now.
        gone: entries that are there no more, ``since`` being when they ended.
        whole: ``put`` is all that there is.
    """

    put: tuple[Entry, ...] = ()
    gone: tuple[Entry, ...] = ()
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.put or self.gone or self.whole)


class Held(NamedTuple):
    """An entry in a book, and until when it holds."""

    place: str
    host: str
    owner: Owner
    networks: tuple[int, ...]
    ports: tuple[int, ...]
    near: bool
    since: int
    until: int

    @property
    def key(self) -> tuple[str, str, Owner, tuple[int, ...], tuple[int, ...], bool]:
        """Tells it from others of the same address."""
        return self[:6]


class Draft:
    """A whole book as it comes, part by part.

    Args:
        ahead: µs that the clock of who tells is ahead of ours.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self.pages = _Pages()

    def __len__(self) -> int:
        """Addresses."""
        return len(self.pages.held)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in more."""
        self.pages.put(entries, self._ahead)


class _Pages:
    """What is in a book.

    Attributes:
        held: by address.
        same: of equal owners one is kept.
        ports: that are somebody's alone, at whichever address.
        clusters: that hosts are of, by their TIDs: their nodes there tell, and pods on them.
    """

    def __init__(self) -> None:
        self.held: dict[bytes, tuple[Held, ...]] = {}
        self.same: dict[Owner, Owner] = {}
        self.ports: set[int] = set()
        self.clusters: dict[str, set[str]] = {}

    def put(self, entries: Iterable[Entry], ahead: int) -> None:
        """Add entries; one that is there already stays as it is."""
        for entry in entries:
            held = self.held.get(entry.address, ())
            if any(one.until == FOREVER and one.key == entry.key[1:] for one in held):
                continue
            owner = self.same.get(entry.owner)
            if owner is None:
                kind, name, *others = msgspec.structs.astuple(entry.owner)
                owner = Owner(sys.intern(kind), name, *map(sys.intern, others))
                self.same[owner] = owner
            since, host = entry.since and entry.since - ahead, sys.intern(entry.host)
            kept = Held(entry.place, host, owner, entry.networks, entry.ports, entry.near, since, FOREVER)
            self.held[entry.address] = (*held, kept)
            self.ports.update(entry.ports)
            _learn(self.clusters, host, owner)

    def learn_anew(self) -> None:
        """Which host is of which cluster, by what is there now."""
        clusters: dict[str, set[str]] = {}
        for held in self.held.values():
            for one in held:
                if one.until == FOREVER:
                    _learn(clusters, one.host, one.owner)
        self.clusters = clusters


def _learn(clusters: dict[str, set[str]], host: str, owner: Owner) -> None:
    if host and owner.cluster:
        clusters.setdefault(host, set()).add(owner.cluster)


class Book:
    """Who has which address, and had it within the last quarter of an hour.

    Args:
        keeps: nothing is forgotten: the book of a time that is over.

    Attributes:
        version: another one after each change.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._pages = _Pages()
        self._ended: set[bytes] = set()  # addresses of which something that is over is kept
        self._lock = threading.Lock()
        self._swept = 0
        self.version = 0

    @property
    def _held(self) -> dict[bytes, tuple[Held, ...]]:
        return self._pages.held

    @property
    def ports(self) -> list[int]:
        """Those (:func:`port_of`) by which :meth:`find` may tell another one."""
        with self._lock:
            return sorted(self._pages.ports)

    def __len__(self) -> int:
        """Addresses."""
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self._held)

    def __contains__(self, address: bytes) -> bool:
        return address in self._held

    def apply(self, changes: Changes, now: int, ahead: int = 0) -> None:
        """Take in changes.

        Args:
            changes: as they follow each other.
            now: by our clock.
            ahead: µs that the clock of who tells is ahead of ours.
        """
        if changes.whole:
            draft = Draft(ahead)
            draft.add(changes.put)
            self.replace(draft, now)
            return
        with self._lock:
            for entry in changes.gone:
                self._end(entry, entry.since - ahead)
            self._pages.put(changes.put, ahead)
            self._sweep(now)
            self.version += 1

    def replace(self, draft: Draft, now: int) -> None:
        """Have what a draft has; what it has not is over as of now."""
        with self._lock:
            there = draft.pages.held
            for address, held in self._held.items():
                open_ = {one.key: one for one in held if one.until == FOREVER}
                fresh = tuple(open_.pop(one.key, one) for one in there.get(address, ()))  # since when, was known better
                left = [one for one in held if one.until != FOREVER]
                left += [one._replace(until=now) for one in open_.values()]
                there[address] = (*left, *fresh)
                if left:
                    self._ended.add(address)
            draft.pages.ports |= self._pages.ports
            self._pages = draft.pages
            self._sweep(now)
            self.version += 1

    def _end(self, entry: Entry, at: int) -> None:
        held = self._held.get(entry.address)
        if held is None:
            return
        ends = entry.key[1:]
        self._held[entry.address] = tuple(
            one._replace(until=at) if one.until == FOREVER and one.key == ends else one for one in held
        )
        self._ended.add(entry.address)

    def _sweep(self, now: int) -> None:
        """Forget what has been over for long."""
        if self._keeps or 0 <= now - self._swept < _KEPT // 15:  # less than 0: a clock was set back
            return
        self._swept = now
        if self._ended and self._pages.clusters:
            self._pages.learn_anew()
        if len(self._pages.same) > 2 * len(self._held):
            self._pages.same.clear()
        for address in list(self._ended):
            held = tuple(one for one in self._held[address] if one.until > now - _KEPT)
            if held:
                self._held[address] = held
            else:
                del self._held[address]
            if all(one.until == FOREVER for one in held):
                self._ended.discard(address)

    def find(self, address: bytes, place: str, host: str, at: int, network: int = 0, port: int = 0) -> Owner | None:
        """Who had an address at a moment, or, if nobody had, who was first seen with it soon after; None: nobody that is known.

        Args:
            address: its 4 or 16 bytes.
            place: TID of the network namespace where it is seen.
            host: TID of that one's host.
            at: the moment.
            network: of the tunnel that it is seen in (:func:`network_of`); 0: in none.
            port: that it is seen with (:func:`port_of`); 0: with none.
        """
        pages = self._pages
        held = pages.held.get(address)
        if held is None:
            return None
        if network:
            within = _at([one for one in held if network in one.networks], at)
            there = within or _at([one for one in held if not one.networks], at)
        else:
            there = _at(held, at)
        return _nearest(_by_port(there, port), place, host, pages.clusters.get(host, ()))

    def owners(self) -> Iterator[tuple[bytes, set[Owner]]]:
        """Each address, and who has or had it."""
        for address, held in self._held.items():
            yield address, {one.owner for one in held}

    def settled(self, address: bytes, begin: int, end: int) -> bool:
        """Whether who has an address is the same from a moment to another."""
        held = self._held.get(address, ())
        return not any(begin < at <= end for one in held for at in (one.since - _EARLY, one.since, one.until))


def _at(held: Sequence[Held], at: int) -> list[Held]:
    there = [one for one in held if one.since <= at < one.until]
    if not there:
        first = min((one.since for one in held if at < one.since <= at + _EARLY), default=None)
        there = [one for one in held if one.since == first]
    return [better for one in there for better in _made_for(one, held, one.since)]


def _made_for(one: Held, held: Sequence[Held], began: int) -> list[Held]:
    """A namespace that was soon a container's or a pod's was made for it: that is told of a moment after it began to send."""
    if one.owner.kind != NAMESPACE or one.until - began > _EARLY:
        return [one]
    later = [next_ for next_ in held if next_.place == one.place and next_.since == one.until < next_.until]
    return [better for next_ in later for better in _made_for(next_, held, began)] or [one]


def _by_port(there: list[Held], port: int) -> list[Held]:
    """A service has its ports alone of an address that is a host's, too."""
    whole = [one for one in there if not one.ports]
    served = [one for one in there if port in one.ports]
    if served:
        return [*served, *(one for one in whole if one.owner.kind not in _MACHINES)]
    return whole if any(one.owner.sure for one in whole) else there


def _nearest(there: list[Held], place: str, host: str, ours: Collection[str]) -> Owner | None:
    there = [one for one in there if not one.near or one.host == host]
    sure = [one for one in there if one.owner.sure]
    for near in (
        [one for one in there if place and one.place == place],
        [one for one in sure if host and one.host == host],
        _of_clusters(sure, ours),
        [one for one in there if host and one.host == host],
        sure,
        there,
    ):
        if near:
            return _only([one.owner for one in near], ours)
    return None


def _of_clusters(sure: list[Held], ours: Collection[str]) -> list[Held]:
    """What clusters say is their own, and their nodes' hosts."""
    own = [one for one in sure if one.owner.cluster in ours]
    nodes = {one.host for one in own if one.host}
    return [*own, *(one for one in sure if one.owner.kind == HOST and one.host in nodes)]


def _only(owners: list[Owner], ours: Collection[str]) -> Owner | None:
    """The one that tells the most; of several the one that is of our clusters; None: there are several."""
    best = min(_RANK.get(one.kind, len(_RANK)) for one in owners)
    found = {one for one in owners if _RANK.get(one.kind, len(_RANK)) == best}
    if len(found) > 1:
        found = {one for one in found if one.cluster in ours}
    return found.pop() if len(found) == 1 else None
