"""All objects of a cluster, and what they say as facts: what an object's change makes otherwise, and nothing else. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from skytrail.tid import cluster_tid
from topology.facts import Fact
from topology.probes.kubernetes import objects
from topology.probes.kubernetes.packing import unpack
from topology.probes.kubernetes.selectors import Members, Pair
from topology.probes.kubernetes.translate import cluster_fact, facts, pod_edges, selectable, selector

Name: TypeAlias = "tuple[str, str, str]"
"""Type, namespace, name."""

Unit: TypeAlias = "tuple[str, ...]"
"""What facts are of: an object by its UID, or who selects a pod and the pod."""

Said: TypeAlias = "tuple[tuple[str, bytes], ...]"
"""IDs of facts, and digests of them."""

CLUSTER = "cluster"
"""The kind whose facts are the cluster itself."""


@dataclass(slots=True)
class Difference:
    """What is otherwise of a kind: facts that are there, or are otherwise, and IDs of elements that are no more."""

    facts: dict[str, Fact] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


_encode_said = msgspec.json.Encoder(order="deterministic").encode
_DIGEST = 16  # bytes


class Inventory:
    """The objects. They are kept packed, and of what was said its digest: as objects of Python's both take ten times as much.

    Args:
        cluster: its name.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._objects: dict[str, tuple[str, bytes]] = {}  # UID → kind, object
        self._of_kind: dict[str, set[str]] = defaultdict(set)  # UIDs
        self._named: dict[Name, str] = {}  # UIDs
        self._seeking: dict[Name, set[str]] = defaultdict(set)  # name → UIDs of those that refer to it
        self._sought: dict[str, set[Name]] = {}
        self._looked_up: dict[str, set[str]] = defaultdict(set)  # kind → kinds of those that its edges lead to, or from
        self._members = Members()
        self._said: dict[str, dict[Unit, Said]] = defaultdict(dict)  # by kind
        self._dirty: dict[str, dict[Unit, None]] = defaultdict(dict, {CLUSTER: {(CLUSTER,): None}})  # by kind

    def uids(self, kind: str) -> Collection[str]:
        """Of all objects of a kind."""
        return self._of_kind[kind]

    def counts(self) -> dict[str, int]:
        """How many there are, by kind."""
        return {kind: len(uids) for kind, uids in list(self._of_kind.items()) if uids}

    def unknown(self, kind: str, unread: Collection[str]) -> tuple[str, ...]:
        """How TIDs begin of the objects that those of a kind are held against, of kinds that are not read."""
        return tuple(cluster_tid(self._cluster, one, "") for one in sorted(self._looked_up[kind].intersection(unread)))

    def touched(self, uid: str) -> bool:
        """Whether its facts are otherwise than was said."""
        return any((uid,) in some for some in self._dirty.values())

    def put(self, kind: str, packed: bytes) -> bool:
        """An object is there, and is so; whether it was otherwise before."""
        given = unpack(kind, packed)
        meta = given.metadata
        before, now = self._objects.get(meta.uid), (kind, packed)
        if before == now:
            return False
        if before is not None and before[0] != kind:  # no API server gives one UID to two
            self.remove(meta.uid)
            before = None
        self._objects[meta.uid] = now
        self._of_kind[kind].add(meta.uid)
        self._dirty[kind][meta.uid,] = None
        self._name((kind, meta.namespace, meta.name), meta.uid)
        if isinstance(given, objects.Pod):
            pairs = self._members.put_pod(meta.uid, meta.namespace, selectable(given))
        else:
            selects = selector(given)
            if selects is not None:
                self._looked_up[kind].add("pod")
            pairs = self._members.put_selector(meta.uid, meta.namespace, selects)
            if before is not None:  # what it says to those it selects may be otherwise
                pairs |= {(meta.uid, pod) for pod in self._members.pods(meta.uid)}
        self._select(pairs)
        return True

    def remove(self, uid: str) -> None:
        """An object is no more."""
        known = self._objects.get(uid)
        if known is None:
            return
        kind, packed = known
        meta = unpack(kind, packed).metadata
        put = self._members.put_pod if kind == "pod" else self._members.put_selector
        self._select(put(uid, "", None))
        del self._objects[uid]
        self._of_kind[kind].discard(uid)
        self._dirty[kind][uid,] = None
        name = kind, meta.namespace, meta.name
        if self._named.get(name) == uid:
            del self._named[name]
            self._look_again(name)

    def _name(self, name: Name, uid: str) -> None:
        if self._named.get(name) != uid:
            self._named[name] = uid
            self._look_again(name)

    def _look_again(self, name: Name) -> None:
        for uid in self._seeking.get(name, ()):
            if known := self._objects.get(uid):
                self._dirty[known[0]][uid,] = None

    def _select(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self._dirty[self._objects[pair[0]][0]][pair] = None

    def difference(self, kind: str) -> Difference:
        """What of a kind is otherwise than was said; from now on it is said."""
        found = Difference()
        for unit in self._dirty.pop(kind, ()):
            before = dict(self._said[kind].get(unit, ()))
            now = self._say(kind, unit)
            found.facts |= {fact.id: fact for fact, digest in now if before.get(fact.id) != digest}
            found.gone |= before.keys() - {fact.id for fact, _ in now}
        found.gone -= found.facts.keys()
        return found

    def all(self, kind: str) -> dict[str, Fact]:
        """All that is to be said of a kind; from now on it is said."""
        units = {**dict.fromkeys(self._said[kind]), **self._dirty.pop(kind, {})}
        return {fact.id: fact for unit in units for fact, _ in self._say(kind, unit)}

    def _say(self, kind: str, unit: Unit) -> list[tuple[Fact, bytes]]:
        """What a unit says now as one of a kind, and digests of that; it is kept that it was said."""
        said = [(fact, _digest(fact)) for fact in self._facts(kind, unit)]
        if said:
            self._said[kind][unit] = tuple((fact.id, digest) for fact, digest in said)
        else:
            self._said[kind].pop(unit, None)
        return said

    def _facts(self, kind: str, unit: Unit) -> Iterable[Fact]:
        if kind == CLUSTER:
            return [cluster_fact(self._cluster)]
        if len(unit) == 1:
            return self._of_object(kind, unit[0])
        who, pod = unit
        known = self._objects.get(who)
        if known is None or known[0] != kind or pod not in self._members.pods(who):
            return []
        return pod_edges(kind, unpack(kind, known[1]), pod, self._cluster)

    def _of_object(self, kind: str, uid: str) -> Collection[Fact]:
        for name in self._sought.pop(uid, ()):
            self._seeking[name].discard(uid)
            if not self._seeking[name]:
                del self._seeking[name]
        known = self._objects.get(uid)
        if known is None or known[0] != kind:
            return []
        sought: set[Name] = set()

        def find(type_: str, namespace: str, name: str) -> str | None:
            sought.add((type_, namespace, name))
            self._looked_up[kind].add(type_)
            found = self._named.get((type_, namespace, name))
            return cluster_tid(self._cluster, type_, found) if found else None

        said = {fact.id: fact for fact in facts(kind, unpack(kind, known[1]), self._cluster, find)}
        if sought:
            self._sought[uid] = sought
            for one in sought:
                self._seeking[one].add(uid)
        return said.values()


def _digest(fact: Fact) -> bytes:
    """Of what an element is: what its ID is made of needs none."""
    return blake2b(_encode_said(fact.metadata), digest_size=_DIGEST).digest()
