"""Graphs of a store: the topology now, as of any moment, and over ranges of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gremlin_api.graphs.ranges import RangeGraph
from gremlin_api.graphs.topology import Shown, TopologyGraph
from skytrail.moments import parse_moment, parse_period
from topology.elements import Revision
from topology.store.interface import Store
from topology.store.traversal import Listed


class StoredGraphs:
    """The topology of a store, now and at any moment.

    Args:
        store: that has it.
        shown: what is shown beside it now.
        clock: µs since the epoch.
        catch_up: called before an answer about now: returns when what was there to be seen is in the store, or soon.
    """

    def __init__(
        self, store: Store, shown: Shown, clock: Callable[[], int], catch_up: Callable[[], object] = lambda: None
    ) -> None:
        self._store, self._shown, self.clock, self._catch_up = store, shown, clock, catch_up

    def view(self, at: str | None, each: Callable[[], object]) -> TopologyGraph:
        """The graph at a moment; None: now; of a period, each element as it was last in it. Raises UsageError, StoreError."""
        if at is not None and "/" in at:
            now = self.clock()
            begin, end = parse_period(at, now)
            if end >= now:
                self._catch_up()
            return TopologyGraph(Listed(_watched(self._store.between(begin, end), each)))
        return self.as_of(None if at is None else parse_moment(at, self.clock()))

    def as_of(self, when: int | None) -> TopologyGraph:
        """The graph at a moment, µs since the epoch; None: now. Raises StoreError."""
        if when is not None and when < self.clock():
            return TopologyGraph(self._store.moment(when))
        self._catch_up()
        return TopologyGraph(self._store.moment(), self._shown)

    def during(self, begin: int, end: int, each: Callable[[], object]) -> RangeGraph:
        """All revisions of a range of time, µs since the epoch; ``each`` is called for every one. Raises StoreError."""
        now = self.clock()
        if end >= now:
            self._catch_up()
        return RangeGraph(_watched(self._store.between(begin, end), each), self._shown if end >= now else None, each)


def _watched(revisions: Iterable[Revision], each: Callable[[], object]) -> Iterator[Revision]:
    for one in revisions:
        each()
        yield one
