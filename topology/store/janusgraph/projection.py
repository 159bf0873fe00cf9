"""What a batch changes of the elements' vertices and edges, as rows for :mod:`write`. Pure.

What holds now stands in the current property, and moves to the ``_was`` twin when it ends: that costs the same however long the
history is. An element with a late change gets patches of its own, and its declared keys are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gremlin_python.process.traversal import T
from gremlin_python.statics import long

from topology.elements import FOREVER, Kind
from topology.store.janusgraph.histories import stamp, stamps
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.schema import DECLARED, OTHER, RELATION, RELATIONS
from topology.store.janusgraph.timeline import Step, Work

Row = dict[str, Any]
"""Keys: m which vertex, c when what is current ends, v value or document, f and t from and to, p stamp; in capitals: of what
ends. Never r: that is the row itself in :mod:`write`."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A revision that is in the history already got another end, or another life."""

    vertex: object
    id: str
    kind: Kind
    at: int
    sequence: int
    to: int
    old_stamps: tuple[str, ...]
    stamp: str


@dataclass(slots=True)
class Values:
    """Rows of one declared key: ``replaced`` current values, ``ended`` ones, new ``current`` ones, ``past`` ones."""

    replaced: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    current: list[Row] = field(default_factory=list)
    past: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Rows:
    """All that one transaction changes.

    Attributes:
        anew: vertices with late changes: what is now, and all values of declared keys, are removed first.
        patches: of their histories.
        replaced: current documents that move to the history, and what takes their place.
        ended: current documents that move to the history.
        gone: vertices of elements that are no more.
        current: documents that hold now.
        past: documents that held; empty ones mark deletions.
        values: by declared key.
        closed: IDs of edges to close, by the time.
        edges: edges to add.
    """

    anew: list[object] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    gone: list[object] = field(default_factory=list)
    current: list[Row] = field(default_factory=list)
    past: list[Row] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    closed: dict[int, list[str]] = field(default_factory=dict)
    edges: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Span:
    value: Any
    begins: int
    ends: int


def project(works: Iterable[Work], vertices: Mapping[str, object]) -> Rows:
    """The rows for some elements; ``vertices`` has theirs and those of their edges' ends."""
    rows = Rows()
    for work in works:
        (_late if work.late else _append)(rows, work, vertices)
    return rows


def _append(rows: Rows, work: Work, vertices: Mapping[str, object]) -> None:
    vertex, which = vertices[work.id], _which(vertices, work.id)
    new = [one for one in work.steps if one.entry.sequence in work.new]
    before = work.before[-1] if work.before and not work.before[-1].entry.gone else None
    first, last = new[0].entry, new[-1]
    rows.past.extend(which | _document(one) for one in new[:-1])
    if last.entry.gone:
        rows.gone.append(vertex)
    if before is None:
        (rows.past if last.entry.gone else rows.current).append(which | _document(last))
    else:
        ended = work.steps[len(work.before) - 1].entry
        old = {"c": long(first.at), "F": long(ended.at), "P": stamp(ended)}
        if last.entry.gone:
            rows.ended.append(which | old)
            rows.past.append(which | _document(last))
        else:
            rows.replaced.append(which | old | _document(last))
    if last.kind is Kind.EDGE:
        if before is not None:
            rows.closed.setdefault(first.at, []).append(work.id)
        for one in new:
            _edge(rows, one, vertices)
        return
    relevant = new if before is None else [work.steps[len(work.before) - 1], *new]
    for key in DECLARED:
        spans = _spans(relevant, key.name)
        if before is None or key.name not in before.values:
            _spread(rows, key.name, which, spans)
        elif spans[0].ends != FOREVER:
            _replace(rows.values.setdefault(key.name, Values()), which, spans)
            _spread(rows, key.name, which, spans)


def _replace(values: Values, which: Row, spans: list[_Span]) -> None:
    """The current value ends: the first of the spans; the last may take its place."""
    row = which | {"c": long(spans.pop(0).ends)}
    if spans and spans[-1].ends == FOREVER and not isinstance(spans[-1].value, list):
        last = spans.pop()
        values.replaced.append(row | {"v": last.value, "f": long(last.begins)})
    else:
        values.ended.append(row)


def _late(rows: Rows, work: Work, vertices: Mapping[str, object]) -> None:
    vertex, which, tail = vertices[work.id], _which(vertices, work.id), work.tail
    old = {one.entry.sequence: one.entry for one in work.before}
    rows.anew.append(vertex)
    for one in work.steps:
        entry, before = one.entry, old.get(one.entry.sequence)
        if before is None:
            _edge(rows, one, vertices)
        elif before.to != entry.to and one.kind is Kind.EDGE and not entry.gone:
            rows.patches.append(_patch(vertex, one, before))
        if one is tail:
            rows.current.append(which | _document(one))
        elif before is None or (before.to == FOREVER and not entry.gone):
            rows.past.append(which | _document(one))
        elif (before.to, before.created, before.ends) != (entry.to, entry.created, entry.ends) and not entry.gone:
            rows.patches.append(_patch(vertex, one, before))
    if work.steps[-1].kind is Kind.NODE:
        for key in DECLARED:
            _spread(rows, key.name, which, _spans(work.steps, key.name))


def _spans(steps: Iterable[Step], key: str) -> list[_Span]:
    """The values of a declared key and when they held, equal neighbours as one."""
    spans: list[_Span] = []
    for one in steps:
        entry, value = one.entry, one.values.get(key)
        if value is None or (entry.at == entry.to and spans):
            continue
        if spans and spans[-1].value == value and spans[-1].ends == entry.at:
            spans[-1].ends = entry.to
        else:
            spans.append(_Span(value, entry.at, entry.to))
    return spans


def _spread(rows: Rows, key: str, which: Row, spans: Iterable[_Span]) -> None:
    """A list's items each have a property."""
    for span in spans:
        values = rows.values.setdefault(key, Values())
        for item in span.value if isinstance(span.value, list) else (span.value,):
            row = which | {"v": item, "f": long(span.begins), "t": long(span.ends)}
            (values.current if span.ends == FOREVER else values.past).append(row)


def _which(vertices: Mapping[str, object], id_: str) -> Row:
    return {"m": {T.id: vertices[id_]}}


def _patch(vertex: object, one: Step, before: Entry) -> Patch:
    entry = one.entry
    return Patch(vertex, entry.id, one.kind, entry.at, entry.sequence, entry.to, stamps(before), stamp(entry))


def _document(one: Step) -> Row:
    entry = one.entry
    return {
        "v": (one.document or b"").decode(),
        "f": long(entry.at),
        "t": long(entry.at if entry.gone else entry.to),
        "p": stamp(entry),
    }


def _edge(rows: Rows, one: Step, vertices: Mapping[str, object]) -> None:
    state, entry = one.state, one.entry
    if one.kind is Kind.NODE or state is None:
        return
    relation = str(state.metadata.get(RELATION) or "")
    ends = {"o": {T.id: vertices[state.parent]}, "i": {T.id: vertices[state.child]}}
    label = relation if relation in RELATIONS else OTHER
    rows.edges.append(_document(one) | ends | {"u": entry.id, "R": relation, "l": label, "s": long(entry.sequence)})
