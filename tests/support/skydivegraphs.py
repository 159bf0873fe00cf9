"""Graphs of a fixed history for Skydive's dialect, and its answers about them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from gremlin_api.graphs.ranges import RangeGraph
from gremlin_api.graphs.topology import TopologyGraph
from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import plain
from topology.elements import FOREVER, Part, Revision, State
from topology.store.traversal import Listed

NOW = 1_000_000_000
"""ms since the epoch: when questions are asked."""


def node(id_: str, metadata: dict[str, Any], *, begin: int = 0, end: int | None = None, number: int = 1) -> Revision:
    """A revision of a node; times in ms."""
    return _revision(id_, State("host1", "agent.host1", {"p": Part.of(metadata)}), begin, end, number)


def edge(
    id_: str, parent: str, child: str, metadata: dict[str, Any], *, begin: int = 0, end: int | None = None, number: int = 1
) -> Revision:
    """A revision of an edge; times in ms."""
    state = State("host1", "agent.host1", {"p": Part.of(metadata)}, parent=parent, child=child)
    return _revision(id_, state, begin, end, number)


def _revision(id_: str, state: State, begin: int, end: int | None, number: int) -> Revision:
    ended = FOREVER if end is None else end * 1000
    return Revision(id_, number, begin * 1000, begin * 1000, ended, begin * 1000, number, state)


class FixedGraphs:
    """What the revisions of a list tell of any time."""

    def __init__(self, revisions: Iterable[Revision]) -> None:
        self._revisions = list(revisions)

    def clock(self) -> int:
        return NOW * 1000

    def as_of(self, when: int | None) -> TopologyGraph:
        at = self.clock() if when is None else when
        return TopologyGraph(Listed(one for one in self._revisions if one.updated_at <= at < one.archived_at))

    def during(self, begin: int, end: int, each: Callable[[], object]) -> RangeGraph:
        found = [one for one in self._revisions if one.updated_at <= end and one.archived_at > begin]
        for _ in found:
            each()
        return RangeGraph(found, each=each)


def answer(revisions: Iterable[Revision], query: str) -> Any:
    """The answer to a query, as values of JSON."""
    return plain(SkydiveAnswerer(FixedGraphs(revisions)).answer(query, threading.Event()))


def ids(found: Iterable[dict[str, Any]]) -> list[str]:
    """IDs of elements."""
    return [one["ID"] for one in found]
