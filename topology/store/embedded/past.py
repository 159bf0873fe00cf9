"""The graph at a moment in the past: by what elements ever had where that tells whom to look at, else as a whole.

What a moment was asked for it keeps. It is a moment in what was observed: a late change, or retention, may make it another one,
so who is about to write that lets the moments that are open have what they would lose.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from topology.elements import Kind, Revision
from topology.store.embedded import reading
from topology.store.embedded.had import Traces, leaves_trace, trace
from topology.store.embedded.index import Indexes, LiveMoment, has_one
from topology.store.embedded.reading import Ask
from topology.store.interface import Change
from topology.store.traversal import CHILD, PARENT, Listed, Moment, Scalar, Test, WalkStep

_MOST = 10_000
"""Elements that are looked at one by one: for more, all that was there is read."""


class Pasts:
    """The moments in the past that somebody has, and how to make one.

    Args:
        ask: reads the file.
        traces: of what elements had.
        indexes: of what is there now.
    """

    def __init__(self, ask: Ask, traces: Traces, indexes: Indexes) -> None:
        self.ask, self.traces, self.indexes = ask, traces, indexes
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[PastMoment] = weakref.WeakSet()
        self._changing: Sequence[Change] = ()

    def at(self, when: int, *, traced: bool) -> Moment:
        """The graph at a moment; ``traced``: whether all that is in the file left its traces. Raises StoreError."""
        moment = PastMoment(when, self)
        with self._lock:
            self._open.add(moment)
            changing = self._changing
        moment.keep(_before(changing, when), self.ask)
        return moment if traced else moment.whole()

    @contextlib.contextmanager
    def changing(self, database: sqlite3.Connection, changes: Sequence[Change]) -> Iterator[None]:
        """Around a transaction that changes what elements were from some times on.

        Moments from before see what was before, those that are made meanwhile may see either: but then always the same.

        Args:
            database: that sees what was before when it is entered.
            changes: their times and IDs.
        """
        with self._lock:
            self._changing = changes
            moments = list(self._open)
        try:
            for moment in moments:
                moment.keep(_before(changes, moment.when), lambda ask: ask(database))
            yield
        finally:
            with self._lock:
                self._changing = ()


def _before(changes: Iterable[Change], when: int) -> set[str]:
    return {one.id for one in changes if one.at <= when}


class PastMoment:
    """A moment in the past: :class:`topology.store.traversal.Moment`.

    What stays is what each element was. When a revision ended, and whether its element did, is told as it is known when it is
    first looked at.

    Args:
        when: µs since the epoch.
        pasts: that made it.

    Attributes:
        when: the moment.
    """

    walks = False

    def __init__(self, when: int, pasts: Pasts) -> None:
        self.when = when
        self._pasts = pasts
        self._kept: dict[str, Revision | None] = {}  # what the file says no more, by ID; None: it was not there
        self._seen: dict[str, Revision | None] = {}
        self._whole: Listed | None = None
        self._live: LiveMoment | None = None  # what is there now, mended, where little changed since
        self._is_known = False  # whether little did

    def keep(self, ids: Collection[str], ask: Ask) -> None:
        """Keep what the file says of elements, for it is going to say something else. Raises StoreError."""
        ids = [id_ for id_ in ids if id_ not in self._kept]
        if ids:
            there = {one.id: one for one in ask(lambda database: reading.as_of_ids(database, self.when, ids))}
            for id_ in ids:
                self._kept.setdefault(id_, there.get(id_))

    def get(self, ids: Iterable[str]) -> list[Revision]:
        """The elements of these IDs that are there."""
        whole = self._made()
        if whole is not None:
            return whole.get(ids)
        ids = list(ids)
        unseen = [id_ for id_ in ids if id_ not in self._seen]
        if unseen:
            there = self._mended(self._pasts.ask(lambda database: reading.as_of_ids(database, self.when, unseen)))
            self._seen.update((id_, there.get(id_)) for id_ in unseen)
        return [found for id_ in ids if (found := self._seen[id_]) is not None]

    def nodes(self) -> Iterator[Revision]:
        """All nodes."""
        return self.whole().nodes()

    def edges(self) -> Iterator[Revision]:
        """All edges."""
        return self.whole().edges()

    def edges_from(self, node: str) -> list[Revision]:
        """The edges whose parent it is."""
        whole = self._made()
        return self._edges(PARENT, node) if whole is None else whole.edges_from(node)

    def edges_to(self, node: str) -> list[Revision]:
        """The edges whose child it is."""
        whole = self._made()
        return self._edges(CHILD, node) if whole is None else whole.edges_to(node)

    def _edges(self, end: str, node: str) -> list[Revision]:
        found = self._candidates(end, [node], None)
        assert found is not None
        edges = [one for one in found if has_one(one, end, [node])]
        # Who asks for edges goes on to their ends: all of them with one question.
        self.get({id_ for one in edges if one.state is not None for id_ in (one.state.parent, one.state.child)})
        return edges

    def having(self, key: str, values: Collection[Scalar]) -> Collection[str] | None:
        """IDs of all nodes that have one of the values at a key. None: it is not a key of few, or they are many."""
        texts = [one for one in values if isinstance(one, str)]
        found = None
        if self._live is None and len(texts) == len(values) and all(leaves_trace(key, one) for one in texts):
            found = self._candidates(key, texts, _MOST)
        if found is not None:
            return [one.id for one in found if has_one(one, key, texts)]
        live = self._little_changed()
        return None if live is None else live.having(key, values)

    def passing(self, key: str, test: Test) -> Collection[str] | None:
        """IDs of all nodes of which a scalar value at a key passes a test. None: much has changed since."""
        live = self._little_changed()
        return None if live is None else live.passing(key, test)

    def counted(self, key: str) -> list[tuple[Scalar, int]] | None:
        """How many nodes have a value at a key, by value. None: much has changed since, or a node has several."""
        live = self._little_changed()
        return None if live is None else live.counted(key)

    def count(self, kind: Kind) -> int:
        """How many nodes there are, or edges with both their ends."""
        return self.whole().count(kind)

    def walk(self, steps: Sequence[WalkStep]) -> None:
        """Each step asks for little."""

    def whole(self) -> Moment:
        """All of it, made when it is first asked for. Raises StoreError."""
        made = self._little_changed() or self._whole
        if made is None:
            there = self._pasts.ask(lambda database: reading.as_of(database, self.when, None))
            made = self._whole = Listed(self._mended(there).values())
        return made

    def _made(self) -> Moment | None:
        return self._live or self._whole

    def _little_changed(self) -> LiveMoment | None:
        """What is there now, with what was otherwise then. None: that is too much. Raises StoreError."""
        if not self._is_known:
            live = self._pasts.indexes.moment()
            ids = self._pasts.ask(lambda database: reading.changed_since(database, self.when))
            if ids is not None:
                there = self._mended(self._pasts.ask(lambda database: reading.as_of_ids(database, self.when, ids)))
                self._pasts.indexes.put(live, {id_: there.get(id_) for id_ in ids} | self._kept)
                self._live = live
            self._is_known = True
        return self._live

    def _candidates(self, key: str, texts: Iterable[str], most: int | None) -> list[Revision] | None:
        """All that had a text at a key then, and others. None: they are more than ``most``."""
        wanted = {trace(key, one) for one in texts}
        lately = self._pasts.traces.lately(wanted)  # before the table: from here they go there
        found = self._pasts.ask(lambda database: _traced(database, self.when, wanted, lately, most))
        if found is None:
            return None
        there = self._mended(found)
        self._seen.update(there)
        return list(there.values())

    def _mended(self, found: Iterable[Revision]) -> dict[str, Revision]:
        """What the file says, and said of what was changed meanwhile, by ID."""
        there: Mapping[str, Revision | None] = {one.id: one for one in found} | self._kept
        return {id_: one for id_, one in there.items() if one is not None}


def _traced(
    database: sqlite3.Connection, when: int, traces: Iterable[int], lately: Iterable[int], most: int | None
) -> list[Revision] | None:
    elements = set(lately)
    for one in traces:
        first = one << 32
        rows = database.execute(
            "SELECT entry - :first FROM had WHERE entry BETWEEN :first AND :first + 4294967295 LIMIT :most",
            {"first": first, "most": -1 if most is None else most + 1},
        )
        elements.update(number for (number,) in rows)
        if most is not None and len(elements) > most:
            return None
    return reading.as_of_numbers(database, when, elements)
