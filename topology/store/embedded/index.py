"""Which elements have which value, of those that are there now; and moments that stay as they are while others write.

An index of a key is made when the key is first asked for, and brought up to date by the next question: writers only note what
they changed, and where that becomes more than there is, all indexes are let go of. A moment keeps what each element was that
changed since; what an index tells is mended by that.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from topology.elements import FOREVER, Kind, Revision, State, decode_state
from topology.store.embedded.writing import Live
from topology.store.traversal import CHILD, LABEL, PARENT, Scalar, Test, WalkStep, label_of, values_at

Value: TypeAlias = "Scalar | tuple[bool]"
"""A value as an index has it: truth values are no numbers."""

_LEAST = 10_000  # changed elements that are noted, however few there are

_FEW = 8  # IDs that a list holds: beyond, a set

_SPECIAL: dict[str, Callable[[State], str]] = {
    PARENT: lambda state: state.parent,
    CHILD: lambda state: state.child,
    "@Host": lambda state: state.host,
    "@Origin": lambda state: state.origin,
    "TID": lambda state: state.tid,
}
"""Keys that are no metadata."""

_OF_EDGES = (PARENT, CHILD)


Before: TypeAlias = "dict[str, Live | Revision | None]"
"""What elements were, by ID; None: they were not there."""


def _state_of(there: Live | Revision) -> State:
    if isinstance(there, Live):
        return decode_state(there.data)
    assert there.state is not None
    return there.state


def _told(value: Scalar) -> Value:
    return (value,) if isinstance(value, bool) else value


def _plain(value: Value) -> Scalar:
    return value[0] if isinstance(value, tuple) else value


def _values(state: State, metadata: Callable[[], Mapping[str, Any]], key: str) -> set[Value]:
    """The scalar values that an element has at a key, as an index has them."""
    if (state.kind is Kind.EDGE) != (key in _OF_EDGES):
        return set()
    if key == LABEL:
        return {label_of(metadata())}
    special = _SPECIAL.get(key)
    if special is not None:
        value = special(state)
        return {value} if value or key.startswith("@") else set()
    return {_told(one) for one in values_at(metadata(), key) if isinstance(one, str | int | float)}


class _Decoded:
    """A state, decoded so far as it is looked at."""

    __slots__ = ("_metadata", "state")

    def __init__(self, there: Live | Revision) -> None:
        self.state = _state_of(there)
        self._metadata: Mapping[str, Any] | None = None

    def metadata(self) -> Mapping[str, Any]:
        if self._metadata is None:
            self._metadata = self.state.metadata
        return self._metadata

    def values(self, key: str) -> set[Value]:
        return _values(self.state, self.metadata, key)


def has_one(there: Live | Revision, key: str, values: Iterable[Scalar]) -> bool:
    """Whether an element has one of the values at a key (:data:`PARENT` and :data:`CHILD` of edges, others of nodes)."""
    return not _Decoded(there).values(key).isdisjoint(map(_told, values))


class _Index:
    """Of one key: IDs by value."""

    __slots__ = ("elements", "ids", "several")

    def __init__(self) -> None:
        self.ids: dict[Value, str | list[str] | set[str]] = {}
        self.elements = 0  # that have a value
        self.several = 0  # elements with more than one value

    def add(self, id_: str, values: set[Value]) -> None:
        self.elements += 1
        self.several += len(values) > 1
        for value in values:
            there = self.ids.setdefault(value, id_)
            if isinstance(there, set):
                there.add(id_)
            elif isinstance(there, list):
                there.append(id_)
                if len(there) > _FEW:
                    self.ids[value] = set(there)
            elif there != id_:
                self.ids[value] = [there, id_]

    def remove(self, id_: str, values: set[Value]) -> None:
        self.elements -= 1
        self.several -= len(values) > 1
        for value in values:
            there = self.ids[value]
            if isinstance(there, str):
                del self.ids[value]
                continue
            there.remove(id_)
            if not there:
                del self.ids[value]

    def of(self, value: Value) -> Collection[str]:
        there = self.ids.get(value, ())
        return (there,) if isinstance(there, str) else there

    def sizes(self) -> dict[Value, int]:
        return {value: 1 if isinstance(there, str) else len(there) for value, there in self.ids.items()}


class Indexes:
    """The indexes of what is there now.

    Args:
        live: by ID; written under the lock.
        lock: held while it is written or looked at.
    """

    def __init__(self, live: Mapping[str, Live], lock: threading.Lock) -> None:
        self._live, self._lock = live, lock
        self._making = threading.Lock()
        self._indexes: dict[str, _Index] = {}
        self._dirty: dict[str, Live | None] = {}  # what they were when the indexes were brought up to date
        self._made: dict[str, Live | None] | None = None  # the same since a new index was begun
        self._loose: set[str] | None = None  # edges of which an end is not there; kept with the indexes of both ends
        self._moments: weakref.WeakSet[LiveMoment] = weakref.WeakSet()

    def changed(self, id_: str, before: Live | None) -> None:
        """Note that an element was that and will be something else. Under the lock."""
        if self._indexes:
            self._dirty.setdefault(id_, before)
            if len(self._dirty) > max(_LEAST, len(self._live)):
                self._indexes.clear()
                self._loose = None
                self._dirty.clear()
        if self._made is not None:
            self._made.setdefault(id_, before)
        for moment in self._moments:
            moment.before.setdefault(id_, before)

    def moment(self) -> LiveMoment:
        """What is there now, to stay."""
        moment = LiveMoment(self)
        with self._lock:
            self._moments.add(moment)
        return moment

    def put(self, moment: LiveMoment, before: Mapping[str, Revision | None]) -> None:
        """Say what elements were at a moment in the past: those that have changed since it."""
        with self._lock:
            moment.before.update(before)

    def live(self, ids: Iterable[str], before: Before) -> list[Live | Revision]:
        """The elements as a moment has them."""
        with self._lock:
            found = [before[id_] if id_ in before else self._live.get(id_) for id_ in ids]
        return [one for one in found if one is not None]

    def everything(self, before: Before) -> list[Live | Revision]:
        """All elements as a moment has them."""
        with self._lock:
            if not before:
                return list[Live | Revision](self._live.values())
            found: list[Live | Revision] = [one for one in self._live.values() if one.id not in before]
            return found + [one for one in before.values() if one is not None]

    def of(self, key: str, values: Iterable[Value], before: Before) -> list[str]:
        """IDs of those that have one of the values."""
        wanted = set(values)
        found: set[str] = set()
        with self._index(key) as index:
            for value in wanted:
                found.update(index.of(value))
            changed = dict(before)
        return self._mended(found, changed, lambda one: not wanted.isdisjoint(one.values(key)))

    def passing(self, key: str, test: Test, before: Before) -> list[str]:
        """IDs of those of which a value passes."""
        with self._index(key) as index:
            values = list(index.ids)
        wanted = {value for value in values if test(_plain(value))}
        found = self.of(key, wanted, {})
        with self._lock:
            changed = dict(before)
        return self._mended(set(found), changed, lambda one: any(test(_plain(value)) for value in one.values(key)))

    def counted(self, key: str, before: Before) -> list[tuple[Scalar, int]] | None:
        """How many have each value; None: one has several."""
        with self._index(key) as index:
            sizes, several, changed = index.sizes(), index.several, dict(before)
            after = {id_: self._live.get(id_) for id_ in changed}
        for id_, was in changed.items():
            for live, sign in ((after[id_], -1), (was, 1)):
                values = _Decoded(live).values(key) if live is not None else set()
                several += sign * (len(values) > 1)
                for value in values:
                    sizes[value] = sizes.get(value, 0) + sign
        if several:
            return None
        return [(_plain(value), many) for value, many in sizes.items() if many]

    def count(self, kind: Kind, before: Before) -> int:
        """How many nodes there are, or edges with both their ends."""
        return self._edges(before) if kind is Kind.EDGE else self._nodes(before)

    def _nodes(self, before: Before) -> int:
        with self._index(PARENT) as index:
            changed = {id_: (was, self._live.get(id_)) for id_, was in before.items()}
            nodes = len(self._live) - index.elements
        for was, now in changed.values():
            nodes += _is_node(was) - _is_node(now)
        return nodes

    def _edges(self, before: Before) -> int:
        with self._ends() as loose:
            edges = self._indexes[PARENT].elements - len(loose)
            then: Before = dict(before)
            for id_, was in before.items():
                if (was is None) != (id_ not in self._live):  # a node: its edges may have lacked it then, or lack it now
                    for edge in self._edges_at(id_):
                        then.setdefault(edge, self._live[edge])
            now = [self._live[id_] for id_ in then if id_ in self._live and id_ not in loose]
        edges -= sum(map(_is_edge, now))
        states = [state for was in then.values() if was is not None and (state := _state_of(was)).kind is Kind.EDGE]
        there = {one.id for one in self.live({end for state in states for end in _ends_of(state)}, before)}
        return edges + sum(there.issuperset(_ends_of(state)) for state in states)

    def _edges_at(self, node: str) -> Iterator[str]:
        """The edges of a node as the indexes of both ends have it; one to itself twice. Under the lock."""
        return itertools.chain(self._indexes[PARENT].of(node), self._indexes[CHILD].of(node))

    @contextlib.contextmanager
    def _ends(self) -> Iterator[set[str]]:
        """The edges of which an end is not there, the indexes of both ends up to date, under the lock."""
        while True:
            with self._index(PARENT):
                if CHILD in self._indexes:
                    if self._loose is None:
                        gone = {end for key in _OF_EDGES for end in self._indexes[key].ids if end not in self._live}
                        self._loose = {edge for end in gone for edge in self._edges_at(str(end))}
                    yield self._loose
                    return
            self._make(CHILD)

    def _mended(self, found: set[str], changed: Before, passes: Callable[[_Decoded], bool]) -> list[str]:
        for id_, was in changed.items():
            if was is not None and passes(_Decoded(was)):
                found.add(id_)
            else:
                found.discard(id_)
        return list(found)

    def _catch_up(self) -> None:
        """Bring all indexes up to date. Under the lock."""
        now = {id_: _moved(self._indexes, id_, before, self._live.get(id_)) for id_, before in self._dirty.items()}
        if self._loose is not None:
            self._loosen(self._loose, now)
        self._dirty.clear()

    def _loosen(self, loose: set[str], changed: Mapping[str, State | None]) -> None:
        """Bring up to date which edges lack an end, after changes. Under the lock."""
        edges = {id_ for id_, now in changed.items() if now is not None and now.kind is Kind.EDGE}
        for id_, now in changed.items():
            loose.discard(id_)
            if (self._dirty[id_] is None) != (now is None):
                edges.update(self._edges_at(id_))
        for edge in edges:
            if self._live.keys() >= set(_ends_of(changed.get(edge) or _state_of(self._live[edge]))):
                loose.discard(edge)
            else:
                loose.add(edge)

    @contextlib.contextmanager
    def _index(self, key: str) -> Iterator[_Index]:
        """The index of a key, up to date, under the lock; made where there is none."""
        while True:
            with self._lock:
                index = self._indexes.get(key)
                if index is not None:
                    self._catch_up()
                    yield index
                    return
            self._make(key)

    def _make(self, key: str) -> None:
        with self._making:
            if key in self._indexes:
                return
            index = _Index()
            with self._lock:
                self._made = {}
                there = list(self._live.values())
            try:
                for live in there:
                    values = _Decoded(live).values(key)
                    if values:
                        index.add(live.id, values)
                with self._lock:
                    self._catch_up()
                    for id_, before in self._made.items():
                        _moved({key: index}, id_, before, self._live.get(id_))
                    self._indexes[key] = index
            finally:
                self._made = None


def _is_edge(there: Live | Revision | None) -> bool:
    return there is not None and _state_of(there).kind is Kind.EDGE


def _is_node(there: Live | Revision | None) -> bool:
    return there is not None and _state_of(there).kind is Kind.NODE


def _ends_of(edge: State) -> tuple[str, str]:
    return edge.parent, edge.child


def _moved(indexes: Mapping[str, _Index], id_: str, before: Live | None, now: Live | None) -> State | None:
    """Bring indexes up to date about an element; returns what it is now."""
    old = None if before is None else _Decoded(before)
    new = None if now is None else _Decoded(now)
    for key, index in indexes.items():
        had = old.values(key) if old is not None else set()
        has = new.values(key) if new is not None else set()
        if had != has:
            if had:
                index.remove(id_, had)
            if has:
                index.add(id_, has)
    return None if new is None else new.state


class LiveMoment:
    """What is there now, or was a little ago, to stay: :class:`topology.store.traversal.Moment`.

    Attributes:
        before: what each element was that changed since.
    """

    walks = False

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self.before: Before = {}

    def get(self, ids: Iterable[str]) -> list[Revision]:
        """The elements of these IDs that are there."""
        return [revision_of(one) for one in self._indexes.live(ids, self.before)]

    def nodes(self) -> Iterator[Revision]:
        """All nodes."""
        return self._of(Kind.NODE)

    def edges(self) -> Iterator[Revision]:
        """All edges."""
        return self._of(Kind.EDGE)

    def _of(self, kind: Kind) -> Iterator[Revision]:
        for live in self._indexes.everything(self.before):
            revision = revision_of(live)
            if revision.state is not None and revision.state.kind is kind:
                yield revision

    def edges_from(self, node: str) -> list[Revision]:
        """The edges whose parent it is."""
        return self.get(self._indexes.of(PARENT, (node,), self.before))

    def edges_to(self, node: str) -> list[Revision]:
        """The edges whose child it is."""
        return self.get(self._indexes.of(CHILD, (node,), self.before))

    def having(self, key: str, values: Collection[Scalar]) -> Collection[str]:
        """IDs of all nodes that have one of the values at a key."""
        return self._indexes.of(key, map(_told, values), self.before)

    def passing(self, key: str, test: Test) -> Collection[str]:
        """IDs of all nodes of which a scalar value at a key passes a test."""
        return self._indexes.passing(key, test, self.before)

    def counted(self, key: str) -> list[tuple[Scalar, int]] | None:
        """How many nodes have a value at a key, by value."""
        return self._indexes.counted(key, self.before)

    def count(self, kind: Kind) -> int:
        """How many nodes there are, or edges with both their ends."""
        return self._indexes.count(kind, self.before)

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """All is here: a step at a time is as fast."""


def revision_of(live: Live | Revision) -> Revision:
    """The revision of an element. Raises msgspec.MsgspecError for a damaged one."""
    if isinstance(live, Revision):
        return live
    state = decode_state(live.data)
    return Revision(live.id, live.number, live.created, live.begins, FOREVER, live.recorded, live.sequence, state)
