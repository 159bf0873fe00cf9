"""Answers questions about the flows that there are now: by columns first, so that only what may be asked for is rendered."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows.applications import Applications
from exporters.flows.collector import FlowsCollector
from exporters.flows.columns import FlowColumns, leaf_of
from exporters.flows.conditions import ORDERED, Column, bounds, ordered
from exporters.flows.names import KEY as OWNER
from exporters.flows.points import Point, Points
from exporters.flows.table import Rows, turn_window
from skytrail.asking.questions import FlowsQuestion
from skytrail.asking.terms import Test, compiled, keys_of, value_at

Flow = dict[str, Any]

PART_ROWS = 500
"""Flows of a part: about half a megabyte of JSON."""
_IDENTITIES = frozenset({"UUID", "TrackingID", "L3TrackingID"})


class LiveFlows:
    """The flow table, asked.

    Args:
        collector: has it.
        points: names of capture points.
        applications: names of applications.
    """

    def __init__(self, collector: FlowsCollector, points: Points, applications: Applications) -> None:
        self._collector, self._points, self._applications = collector, points, applications

    def answer(self, question: FlowsQuestion) -> Iterator[list[Flow]]:
        """Flows as of now, part by part. Raises UsageError: the condition says what cannot be."""
        asked = time.monotonic()
        test = compiled(question.term) if question.term else None
        self._collector.drain_since(asked)
        keys = {*keys_of(question.term), question.sort}
        by_column, first = False, question.sort is not None

        def pick(rows: Rows) -> NDArray[np.intp]:
            nonlocal by_column
            columns = self._columns(rows)
            maybe = self._may_be(rows, question, columns.column)
            places = np.flatnonzero(self._named(rows, question, maybe))
            if first:  # of equals those are told that the hub would put first
                high, low = rows["uuid"][places].view(">u8").T
                places = places[np.lexsort((low, high))]
            column = columns.column(question.sort) if question.sort else None
            by_column = isinstance(column, ORDERED)
            return ordered(places, column, descending=question.descending) if column and by_column else places

        ids = self._collector.table.choose(pick, identified=first or not _IDENTITIES.isdisjoint(keys))
        return finish(self._found(ids, test, question), question, sorted_already=by_column)

    def still(self) -> AbstractContextManager[object]:
        """Nothing is reported meanwhile: of a flow there is what was reported before, and its record now."""
        return self._collector.still()

    def rows(self, question: FlowsQuestion, end: int, asked: float) -> Rows:
        """Records of flows that began by ``end`` (ns since the epoch) and may meet what never changes of them.

        As of when that was ``asked`` (monotonic seconds), or later.
        """
        self._collector.drain_since(asked)

        def pick(rows: Rows) -> NDArray[np.intp]:
            columns = self._columns(rows)
            return np.flatnonzero(self._may_be(rows, question, columns.stable) & (rows["start"] <= end))

        ids = self._collector.table.choose(pick, identified=not _IDENTITIES.isdisjoint(keys_of(question.term)))
        return self._collector.foreign(self._collector.table.rows(ids))

    def pending(self, question: FlowsQuestion, begin: int, end: int, asked: float) -> Rows:
        """What flows have counted since their last update, as an update as of now, where its time touches a range (ns)."""
        rows = self.rows(question, end, asked)
        now = time.time_ns()
        grown = (rows["flow"]["dir"] != rows["reported"]).any(axis=1)
        rows = rows[grown & (rows["reported_at"] <= end)] if now >= begin else rows[:0]
        turn_window(rows, np.full(len(rows), now))
        return rows

    def shown(self, rows: Rows, question: FlowsQuestion) -> Iterator[Flow]:
        """Flow JSON of those records that may meet a question's condition."""
        maybe = self._may_be(rows, question, self._columns(rows).column)
        rows = rows[self._named(rows, question, maybe)]
        for at in range(0, len(rows), PART_ROWS):
            yield from self._collector.shown(rows[at : at + PART_ROWS])

    def _columns(self, rows: Rows) -> FlowColumns:
        lost = self._collector.dropped
        dropped = (lambda: lost(rows)) if lost else None
        return FlowColumns(leaf_of(rows), len(rows), self._points.all, self._applications, dropped=dropped)

    def _may_be(self, rows: Rows, question: FlowsQuestion, column: Callable[[str], Column | None]) -> NDArray[np.bool_]:
        maybe: NDArray[np.bool_] = bounds(question.term, column, len(rows)).maybe & (rows["id"] > 0)
        if question.nodes is not None:
            maybe &= of_nodes(self._points.all, question.nodes)[rows["point"]]
        return maybe

    def _named(self, rows: Rows, question: FlowsQuestion, maybe: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of some rows that may meet the condition, now that their owners are looked up, which the others' are not."""
        names = self._collector.names
        if names is None or all(key.partition(".")[0] != OWNER for key in keys_of(question.term)):
            return maybe
        owners = lambda: names.of(rows, maybe)  # noqa: E731 - it is asked if a column is
        columns = FlowColumns(leaf_of(rows), len(rows), self._points.all, self._applications, owners)
        return maybe & bounds(question.term, columns.column, len(rows)).maybe

    def _found(self, ids: NDArray[np.uint64], test: Test | None, question: FlowsQuestion) -> Iterator[Flow]:
        step = min(question.limit, PART_ROWS) if question.limit and test is None else PART_ROWS
        for at in range(0, len(ids), step):
            rows = self._collector.foreign(self._collector.table.rows(ids[at : at + step]))
            for flow in self._collector.shown(rows):
                if test is None or test(flow):
                    yield flow


def of_nodes(points: Sequence[Point], nodes: Collection[str]) -> NDArray[np.bool_]:
    """Which capture points are among those TIDs."""
    wanted = frozenset(nodes)
    return np.array([point.tid in wanted for point in points], np.bool_)


def finish(flows: Iterable[Flow], question: FlowsQuestion, *, sorted_already: bool) -> Iterator[list[Flow]]:
    """Order, limit and cut to the fields that were asked for; part by part."""
    if question.sort and not sorted_already:
        flows = _in_order(flows, question.sort, question.limit, descending=question.descending)
    part: list[Flow] = []
    for number, flow in enumerate(flows, 1):
        part.append(flow if question.fields is None else {key: flow[key] for key in question.fields if key in flow})
        last = number == question.limit
        if len(part) == PART_ROWS or last:
            yield part
            part = []
        if last:
            return
    if part:
        yield part


def _in_order(flows: Iterable[Flow], key: str, limit: int, *, descending: bool) -> Iterator[Flow]:
    """In order, equals by UUID, those that have nothing there last; of a limit some three times as many are held at once."""
    absent: list[Flow] = []

    def there() -> Iterator[tuple[tuple[bool, Any, int], Flow]]:
        for flow in flows:
            value, place = value_at(flow, key), _place(flow)
            if isinstance(value, (str, int, float)):
                yield (isinstance(value, str), value, -place if descending else place), flow
                continue
            absent.append(flow)
            if limit and len(absent) > 2 * limit + PART_ROWS:
                absent[:] = heapq.nsmallest(limit, absent, key=_place)

    def rank(one: tuple[tuple[bool, Any, int], Flow]) -> tuple[bool, Any, int]:
        return one[0]

    if limit:
        found = (heapq.nlargest if descending else heapq.nsmallest)(limit, there(), key=rank)
    else:
        found = sorted(there(), key=rank, reverse=descending)
    yield from (flow for _, flow in found)
    yield from sorted(absent, key=_place)


def _place(flow: Flow) -> int:
    """Its place among equals."""
    return int(flow["UUID"], 16)
