"""All objects of a cluster, and what they say as facts: what an object's change makes otherwise, and nothing else. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from skytrail.tid import cluster_tid
from topology.facts import Fact
from topology.probes.kubernetes import objects
from topology.probes.kubernetes.selectors import Members
from topology.probes.kubernetes.translate import cluster_fact, facts, pod_edges, selectable, selector

Name: TypeAlias = "tuple[str, str, str]"
"""Type, namespace, name."""

Unit: TypeAlias = "tuple[str, ...]"
"""What facts are of: an object by its UID, or who selects a pod and the pod."""

CLUSTER = "cluster"
"""The kind whose facts are the cluster itself."""


@dataclass(slots=True)
class Difference:
    """What is otherwise of a kind: facts that are there, or are otherwise, and IDs of elements that are no more."""

    facts: dict[str, Fact] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


class Inventory:
    """The objects.

    Args:
        cluster: its name.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._objects: dict[str, tuple[str, objects.Plain]] = {}  # UID → kind, object
        self._of_kind: dict[str, set[str]] = defaultdict(set)  # UIDs
        self._named: dict[Name, str] = {}  # UIDs
        self._seeking: dict[Name, set[str]] = defaultdict(set)  # name → UIDs of those that refer to it
        self._sought: dict[str, set[Name]] = {}
        self._members = Members()
        self._told: dict[Unit, tuple[str, dict[str, Fact]]] = {}  # kind, facts by ID
        self._dirty: dict[Unit, None] = {}
        fact = cluster_fact(cluster)
        self._told[(CLUSTER,)] = CLUSTER, {fact.id: fact}

    def uids(self, kind: str) -> Collection[str]:
        """Of all objects of a kind."""
        return self._of_kind[kind]

    def counts(self) -> dict[str, int]:
        """How many there are, by kind."""
        return {kind: len(uids) for kind, uids in list(self._of_kind.items()) if uids}

    def get(self, uid: str) -> objects.Plain | None:
        """The object."""
        known = self._objects.get(uid)
        return known[1] if known else None

    def touched(self, uid: str) -> bool:
        """Whether its facts are otherwise than at the last :meth:`differences`."""
        return (uid,) in self._dirty

    def put(self, kind: str, given: objects.Plain) -> bool:
        """An object is there, and is so; whether it was otherwise before."""
        meta = given.metadata
        before = self._objects.get(meta.uid)
        if before is not None and before == (kind, given):
            return False
        self._objects[meta.uid] = kind, given
        self._of_kind[kind].add(meta.uid)
        self._dirty[meta.uid,] = None
        self._name((kind, meta.namespace, meta.name), meta.uid)
        if isinstance(given, objects.Pod):
            pairs = self._members.put_pod(meta.uid, meta.namespace, selectable(given))
        else:
            pairs = self._members.put_selector(meta.uid, meta.namespace, selector(given))
            if before is not None:  # what it says to those it selects may be otherwise
                pairs |= {(meta.uid, pod) for pod in self._members.pods(meta.uid)}
        self._dirty |= dict.fromkeys(pairs)
        return True

    def remove(self, uid: str) -> None:
        """An object is no more."""
        known = self._objects.pop(uid, None)
        if known is None:
            return
        kind, given = known
        self._of_kind[kind].discard(uid)
        self._dirty[uid,] = None
        name = kind, given.metadata.namespace, given.metadata.name
        if self._named.get(name) == uid:
            del self._named[name]
            self._dirty |= {(other,): None for other in self._seeking.get(name, ())}
        put = self._members.put_pod if isinstance(given, objects.Pod) else self._members.put_selector
        self._dirty |= dict.fromkeys(put(uid, "", None))

    def _name(self, name: Name, uid: str) -> None:
        if self._named.get(name) != uid:
            self._named[name] = uid
            self._dirty |= {(other,): None for other in self._seeking.get(name, ())}

    def differences(self) -> dict[str, Difference]:
        """What is otherwise since the last call, by kind."""
        found: dict[str, Difference] = defaultdict(Difference)
        for unit in self._dirty:
            kind, now = self._facts(unit)
            said_kind, before = self._told.pop(unit, (kind, {}))
            kind = kind or said_kind
            if now:
                self._told[unit] = kind, now
            changed = {id_: fact for id_, fact in now.items() if before.get(id_) != fact}
            gone = before.keys() - now.keys()
            if changed or gone:
                found[kind].facts |= changed
                found[kind].gone |= gone
        self._dirty.clear()
        for one in found.values():
            one.gone -= one.facts.keys()
        return found

    def all(self, kind: str) -> dict[str, Fact]:
        """All that a kind says, as of the last :meth:`differences`."""
        return {id_: fact for said, some in self._told.values() if said == kind for id_, fact in some.items()}

    def _facts(self, unit: Unit) -> tuple[str, dict[str, Fact]]:
        """What a unit says now; of one that is not there any more no kind is known."""
        if len(unit) == 1:
            return self._of_object(unit[0])
        who, pod = unit
        known = self._objects.get(who)
        if known is None or pod not in self._members.pods(who):
            return "", {}
        return known[0], {fact.id: fact for fact in pod_edges(known[0], known[1], pod, self._cluster)}

    def _of_object(self, uid: str) -> tuple[str, dict[str, Fact]]:
        for name in self._sought.pop(uid, ()):
            self._seeking[name].discard(uid)
            if not self._seeking[name]:
                del self._seeking[name]
        known = self._objects.get(uid)
        if known is None:
            return "", {}
        kind, given = known
        sought: set[Name] = set()

        def find(type_: str, namespace: str, name: str) -> str | None:
            sought.add((type_, namespace, name))
            found = self._named.get((type_, namespace, name))
            return cluster_tid(self._cluster, type_, found) if found else None

        said = {fact.id: fact for fact in facts(kind, given, self._cluster, find)}
        if sought:
            self._sought[uid] = sought
            for one in sought:
                self._seeking[one].add(uid)
        return kind, said
