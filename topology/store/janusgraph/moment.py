"""The graph at one moment, asked of JanusGraph's own indexes: :class:`topology.store.traversal.Moment`.

A moment is what was committed when it was first asked, and no request may see more. So each tells the head's version after what
it found: if that is still the one from the beginning, nobody wrote between. If somebody did, what he wrote is looked at: while
all of it is of later times, conditions of time leave it out; else the graph is had from the log, as it was recorded by then.

Where nobody wrote since the question before, the first request needs no other that tells the head: it is taken for what it was
then, and if that was wrong, all is asked anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from gremlin_python.process.graph_traversal import GraphTraversal, GraphTraversalSource, __
from gremlin_python.process.traversal import Column, P, T

from topology.elements import FOREVER, Kind, Revision, decode_state
from topology.store.interface import StoreError
from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.histories import read_stamp
from topology.store.janusgraph.log import Head
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.walking import DOC, Route, Time, route
from topology.store.traversal import Compare, Listed, Nodes, Scalar, Test, Walked, WalkStep

_AT_ONCE = 256  # documents in one answer
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Later:
    """What was recorded after a moment was made.

    Attributes:
        head: now.
        entries: what was recorded.
        latest: the latest time of all that was recorded before, µs since the epoch.
    """

    head: Head
    entries: list[Entry]
    latest: int


class Records(Protocol):
    """What the log tells, whoever writes meanwhile. For any thread; raises StoreError."""

    def as_recorded(self, head: Head, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """The graph at a time, or some of its elements, as it was known when the head was read."""
        ...

    def later(self, head: Head) -> Later:
        """What was recorded since the head was read."""
        ...

    def newest_head(self) -> Head:
        """The head as it is."""
        ...

    def keep_head(self, head: Head) -> None:
        """Nobody wrote since the head was read: the next moment may begin with it."""
        ...


def tells(head: Head, when: int | None) -> bool:
    """Whether the elements' vertices tell what was at a time, or is now: all that is committed is there and not forgotten."""
    return head.odd is not None and head.applied == head.committed and (when is None or when >= head.forgotten)


_Work: TypeAlias = "Callable[[GraphTraversalSource, Time], GraphTraversal]"


class JanusGraphMoment:
    """A moment; for one thread at a time. Its methods raise StoreError.

    Args:
        connections: to the server.
        records: tell what is asked for where the vertices do not.
        head: of which :func:`tells` says yes.
        when: µs since the epoch; None: now.
        guessed: whether the head is as it once was, and may be another by now.
    """

    walks = True

    def __init__(
        self, connections: Connections, records: Records, head: Head, when: int | None, *, guessed: bool = False
    ) -> None:
        self._connections, self._records, self._head, self._guessed = connections, records, head, guessed
        self._when = FOREVER - 1 if when is None else when
        self._time = Time(when)
        self._mistaken = False  # the guess was wrong: while others write, guesses cost more than they save
        self._version = head.version
        self._odd = frozenset((head.odd or "").split())
        self._changed: set[str] = set()  # since
        self._listed: Listed | None = None

    def get(self, ids: Iterable[str]) -> list[Revision]:
        """The elements of these IDs that are there."""
        wanted = list(ids)
        found = {one.id: one for one in self._got(list(dict.fromkeys(wanted)))}
        return [found[id_] for id_ in wanted if id_ in found]

    def nodes(self) -> Iterator[Revision]:
        """All nodes."""
        return self._whole().nodes()

    def edges(self) -> Iterator[Revision]:
        """All edges."""
        return self._whole().edges()

    def edges_from(self, node: str) -> list[Revision]:
        """The edges whose parent it is."""
        found = self._ask(lambda g, time: time.of(g.V().has("uid", node).out_e()).values("edge_uid"))
        return self._whole().edges_from(node) if found is None else self._got(found)

    def edges_to(self, node: str) -> list[Revision]:
        """The edges whose child it is."""
        found = self._ask(lambda g, time: time.of(g.V().has("uid", node).in_e()).values("edge_uid"))
        return self._whole().edges_to(node) if found is None else self._got(found)

    def having(self, key: str, values: Collection[Scalar]) -> Collection[str] | None:
        """IDs of all nodes that have one of the values at a key."""
        steps = (Nodes((Compare(key, "within", tuple(values)),)),)
        if route(steps, self._time, self._odd) is None:
            return None
        return self._ask(lambda g, time: self._route(steps, time).traversal(g).values("uid"))

    def passing(self, key: str, test: Test) -> None:
        """No index gives all values."""

    def counted(self, key: str) -> None:
        """No index gives all values."""

    def count(self, kind: Kind) -> int:
        """How many nodes or edges there are."""
        return self._whole().count(kind)

    def walk(self, steps: Sequence[WalkStep]) -> Walked | None:
        """Answer the longest leading part of a walk: with one request where nodes come of it, or how many."""
        first = route(steps, self._time, self._odd)
        if first is None:
            return None
        if first.kind is None:
            counted = self._ask(lambda g, time: self._route(steps, time).traversal(g))
            return None if counted is None else Walked(first.steps, int(counted[0]))
        if first.kind is Kind.NODE:
            rows = self._ask(lambda g, time: _with_documents(self._route(steps, time).traversal(g), time))
            if rows is not None and len(rows) <= _AT_ONCE:
                times = {str(row["u"]): int(row["n"]) for row in rows}
                return Walked(first.steps, [(one, times[one.id]) for one in self._mended(rows)])
        by = "uid" if first.kind is Kind.NODE else "edge_uid"
        rows = self._ask(lambda g, time: _tallied(self._route(steps, time).traversal(g), by))
        if rows is None:
            return None
        times = {str(row["u"]): int(row["n"]) for row in rows}
        return Walked(first.steps, [(one, times[one.id]) for one in self._got(list(times))])

    def _route(self, steps: Sequence[WalkStep], time: Time) -> Route:
        made = route(steps, time, self._odd)
        assert made is not None  # whether there is one is not a matter of time
        return made

    def _got(self, ids: Sequence[str]) -> list[Revision]:
        """Elements, each once."""
        found: list[Revision] = []
        for at in range(0, len(ids), _AT_ONCE):
            part = ids[at : at + _AT_ONCE]
            rows = self._ask(lambda g, time, part=part: _documents(g.V().has("uid", P.within(*part)), time))  # type: ignore[misc]
            found += self._whole().get(part) if rows is None else self._mended(rows)
        return found

    def _mended(self, rows: Iterable[Mapping[str, Any]]) -> list[Revision]:
        """Revisions of rows; of what changed since, as they were known."""
        found = [_revision(row) for row in rows]
        changed = {one.id for one in found} & self._changed
        if not changed:
            return found
        then = {one.id: one for one in self._records.as_recorded(self._head, self._when, changed)}
        return [then.get(one.id, one) for one in found]

    def _whole(self) -> Listed:
        if self._listed is None:
            if self._guessed:
                self._begin(self._records.newest_head())
            self._listed = Listed(self._records.as_recorded(self._head, self._when))
        return self._listed

    def _begin(self, head: Head) -> bool:
        """Be what is committed by a head that is no guess; whether the vertices tell it, by the same indexes."""
        same = head.odd == self._head.odd
        self._head, self._version, self._guessed, self._mistaken = head, head.version, False, True
        return same and tells(head, self._time.when)

    def _ask(self, work: _Work) -> list[Any] | None:
        """What a traversal finds. None: it would see more than the moment has; from then on all is had from the log."""
        for _ in range(_TRIES):
            if self._listed is not None:
                return None
            answers = self._connections.read(lambda g: _closed(work(g, self._time), self._head.vertex).to_list())
            if not answers:
                raise StoreError("JanusGraph has lost the store's head: restore a backup of it")
            if answers[0]["version"] == self._version:
                if self._version == self._head.version and not self._mistaken:
                    self._records.keep_head(self._head)
                self._guessed = False
                found: list[Any] = answers[0]["rows"]
                return found
            if not (self._begin(self._records.newest_head()) if self._guessed else self._is_told_still()):
                break
        self._whole()
        return None

    def _is_told_still(self) -> bool:
        """Whether conditions of time leave out all that was recorded since; they do from now on."""
        later = self._records.later(self._head)
        when = later.latest if self._time.when is None else self._time.when
        if not tells(later.head, when) or any(one.at <= when for one in later.entries):
            return False
        self._time, self._version = Time(when), later.head.version
        self._changed.update(one.id for one in later.entries)
        return True


def _closed(rows: GraphTraversal, head: object) -> GraphTraversal:
    """All rows, and then the head's version."""
    return rows.fold().project("rows", "version").by().by(__.V(head).values("version"))


def _documents(vertices: GraphTraversal, time: Time) -> GraphTraversal:
    return (
        time.properties(vertices, DOC)
        .project("u", "d", "f", "t", "p")
        .by(__.element().values("uid"))
        .by(T.value)
        .by("valid_from")
        .by("valid_to")
        .by("stamp")
    )


def _with_documents(vertices: GraphTraversal, time: Time) -> GraphTraversal:
    """Each vertex once, and how often it came; one more than are had at once says that there may be more still."""
    each = vertices.group_count().unfold().as_("each").select(Column.keys)
    return (
        time.properties(each, DOC)
        .limit(_AT_ONCE + 1)
        .project("n", "u", "d", "f", "t", "p")
        .by(__.select("each").select(Column.values))
        .by(__.element().values("uid"))
        .by(T.value)
        .by("valid_from")
        .by("valid_to")
        .by("stamp")
    )


def _tallied(elements: GraphTraversal, by: str) -> GraphTraversal:
    return elements.group_count().by(by).unfold().project("n", "u").by(Column.values).by(Column.keys)


def _revision(row: Mapping[str, Any]) -> Revision:
    sequence, number, created, recorded, ends = read_stamp(row["p"])
    state = decode_state(row["d"].encode())
    return Revision(str(row["u"]), number, created, int(row["f"]), int(row["t"]), recorded, sequence, state, ends)
