"""Who had an address at a moment, as seen from a place. Pure; for any thread.

An address alone proves little: many hosts have the same. Whose it is, is told by the nearest who has it: in the network
namespace where it is seen, else on that host, else anywhere; where several are as near, by the one that is of that host's own
cluster, else nobody is named. Within a tunnel an address is of whoever has it in that tunnel's network, else of one who is in
none. Times are µs since the epoch.
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


class Owner(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Who has an address.

    Attributes:
        kind: one of :data:`KINDS`.
        name: its name.
        space: of a pod or a service: its Kubernetes namespace.
        host: name of the host that it is on; empty: on none, or not known.
        iface_id: of a switch's port: whose it is to who made it (``external_ids:iface-id``), as Neutron's port.
        vm: the machine behind it.
        cluster: of what Kubernetes tells of: the name of the cluster.
    """

    kind: str
    name: str
    space: str = ""
    host: str = ""
    iface_id: str = ""
    vm: str = ""
    cluster: str = ""

    def shown(self) -> dict[str, str]:
        """As in a flow's JSON."""
        return {key: value for key, field in SHOWN.items() if (value := getattr(self, field))}


SHOWN = {
    "Kind": "kind", "Name": "name", "Namespace": "space", "Cluster": "cluster", "Host": "host", "IfaceID": "iface_id",
    "VM": "vm",
}  # fmt: skip
"""Keys of a flow's JSON, and fields of owners."""

Key: TypeAlias = "tuple[bytes, str, str, Owner, tuple[int, ...]]"


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An address that somebody has.

    Attributes:
        address: its 4 or 16 bytes.
        place: TID of the network namespace (of the host: of its own one) that has it; empty: of none.
        host: TID of the host; empty: of none that is known.
        owner: who has it.
        since: when that began.
        networks: of tunnels (:func:`network_of`) that it has the address in; none: it is in no tunnel's.
    """

    address: bytes
    place: str
    host: str
    owner: Owner
    since: int
    networks: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        """Tells it from others."""
        return self.address, self.place, self.host, self.owner, self.networks


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
    since: int
    until: int

    @property
    def key(self) -> tuple[str, str, Owner, tuple[int, ...]]:
        """Tells it from others of the same address."""
        return self[:4]


class Draft:
    """A whole book as it comes, part by part.

    Args:
        ahead: µs that the clock of who tells is ahead of ours.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self.held: dict[bytes, tuple[Held, ...]] = {}
        self.same: dict[Owner, Owner] = {}
        self.clusters: dict[str, set[str]] = {}

    def add(self, entries: Collection[Entry]) -> None:
        """Take in more."""
        _put(self.held, entries, self._ahead, self.same)
        _learn(self.clusters, entries)


def _put(into: dict[bytes, tuple[Held, ...]], entries: Iterable[Entry], ahead: int, same: dict[Owner, Owner]) -> None:
    """Add entries; one that is there already stays as it is. ``same``: of equal owners one is kept."""
    for entry in entries:
        held = into.get(entry.address, ())
        if any(one.until == FOREVER and one.key == entry.key[1:] for one in held):
            continue
        owner = same.get(entry.owner)
        if owner is None:
            kind, name, *others = msgspec.structs.astuple(entry.owner)
            owner = Owner(sys.intern(kind), name, *map(sys.intern, others))
            same[owner] = owner
        since = entry.since and entry.since - ahead
        kept = Held(entry.place, sys.intern(entry.host), owner, entry.networks, since, FOREVER)
        into[entry.address] = (*held, kept)


def _learn(clusters: dict[str, set[str]], entries: Iterable[Entry | Held]) -> None:
    """Of which clusters a host is, its node there tells, and pods on it."""
    for entry in entries:
        if entry.host and entry.owner.cluster:
            clusters.setdefault(entry.host, set()).add(entry.owner.cluster)


class Book:
    """Who has which address, and had it within the last quarter of an hour.

    Args:
        keeps: nothing is forgotten: the book of a time that is over.

    Attributes:
        version: another one after each change.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._held: dict[bytes, tuple[Held, ...]] = {}
        self._ended: set[bytes] = set()  # addresses of which something that is over is kept
        self._same: dict[Owner, Owner] = {}
        self._clusters: dict[str, set[str]] = {}  # names, by hosts' TIDs
        self._lock = threading.Lock()
        self._swept = 0
        self.version = 0

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
            _put(self._held, changes.put, ahead, self._same)
            _learn(self._clusters, changes.put)
            self._sweep(now)
            self.version += 1

    def replace(self, draft: Draft, now: int) -> None:
        """Have what a draft has; what it has not is over as of now."""
        with self._lock:
            there = draft.held
            for address, held in self._held.items():
                open_ = {one.key: one for one in held if one.until == FOREVER}
                fresh = tuple(open_.pop(one.key, one) for one in there.get(address, ()))  # since when, was known better
                left = [one for one in held if one.until != FOREVER]
                left += [one._replace(until=now) for one in open_.values()]
                there[address] = (*left, *fresh)
                if left:
                    self._ended.add(address)
            self._held, self._same, self._clusters = there, draft.same, draft.clusters
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
        if self._ended and self._clusters:
            clusters: dict[str, set[str]] = {}
            _learn(clusters, (one for held in self._held.values() for one in held if one.until == FOREVER))
            self._clusters = clusters
        if len(self._same) > 2 * len(self._held):
            self._same.clear()
        for address in list(self._ended):
            held = tuple(one for one in self._held[address] if one.until > now - _KEPT)
            if held:
                self._held[address] = held
            else:
                del self._held[address]
            if all(one.until == FOREVER for one in held):
                self._ended.discard(address)

    def find(self, address: bytes, place: str, host: str, at: int, network: int = 0) -> Owner | None:
        """Who had an address at a moment, or, if nobody had, who was first seen with it soon after; None: nobody that is known.

        Args:
            address: its 4 or 16 bytes.
            place: TID of the network namespace where it is seen.
            host: TID of that one's host.
            at: the moment.
            network: of the tunnel that it is seen in (:func:`network_of`); 0: in none.
        """
        held = self._held.get(address)
        if held is None:
            return None
        ours = self._clusters.get(host, ())
        if network:
            within = _at([one for one in held if network in one.networks], at)
            return _nearest(within or _at([one for one in held if not one.networks], at), place, host, ours)
        return _nearest(_at(held, at), place, host, ours)

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


def _nearest(there: list[Held], place: str, host: str, ours: Collection[str]) -> Owner | None:
    if len(there) == 1:
        return there[0].owner
    for near in (
        [one.owner for one in there if one.place == place],
        [one.owner for one in there if one.host == host],
        [one.owner for one in there],
    ):
        if near:
            return _only(near, ours)
    return None


def _only(owners: list[Owner], ours: Collection[str]) -> Owner | None:
    """The one that tells the most; of several the one that is of our clusters; None: there are several."""
    best = min(_RANK.get(one.kind, len(_RANK)) for one in owners)
    found = {one for one in owners if _RANK.get(one.kind, len(_RANK)) == best}
    if len(found) > 1:
        found = {one for one in found if one.cluster in ours}
    return found.pop() if len(found) == 1 else None
