"""Traversals that write: each of one shape whatever the number of rows, each one transaction.

The rows travel as lists of maps, in which ``mergeV`` finds each vertex by its ID: of the patterns of lab/janusgraph.md the
fastest, and a third faster than by an index. All begin with the gate: the head's version, which is written too. Its lock lets
only one transaction of all hubs through; another finds a later version and does nothing, or fails with a lock's error. So each
knows what it builds on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gremlin_python.process.graph_traversal import GraphTraversal, GraphTraversalSource, __
from gremlin_python.process.traversal import Cardinality, P, T
from gremlin_python.statics import long

from topology.elements import FOREVER, Kind
from topology.store.janusgraph.projection import Patch, Row, Rows, Values
from topology.store.janusgraph.schema import DECLARED, HISTORY

_OPEN = long(FOREVER)
_SINGLE, _LIST = Cardinality.single, Cardinality.list_
_DOC = "doc"
_DOC_WAS = _DOC + HISTORY
_DECLARED = tuple(name for key in DECLARED for name in (key.name, key.name + HISTORY))
_TWINS = (_DOC_WAS, *(key.name + HISTORY for key in DECLARED))
_CARDINALITY = {key.name: _LIST if key.several else _SINGLE for key in DECLARED}


def gate(g: GraphTraversalSource, head: object, version: int, sets: Mapping[str, int]) -> GraphTraversal:
    """The beginning: passes one head on if its version is that one, with the next version and these values set."""
    steps = g.V(head).has("version", long(version)).property(_SINGLE, "version", long(version + 1))
    for key, value in sets.items():
        steps = steps.property(_SINGLE, key, long(value))
    return steps


def with_owner(steps: GraphTraversal, owner: str) -> GraphTraversal:
    """Say who writes in several transactions."""
    return steps.property(_SINGLE, "owner", owner)


def with_odd(steps: GraphTraversal, odd: str) -> GraphTraversal:
    """Set which keys are odd."""
    return steps.property(_SINGLE, "odd", odd)


def with_lease(steps: GraphTraversal, vertex: object, lease: str) -> GraphTraversal:
    """Set a writer's lease."""
    return steps.side_effect(__.V(vertex).property(_SINGLE, "lease", lease))


def with_chunk(steps: GraphTraversal, vertex: object, chunk: tuple[str, str]) -> GraphTraversal:
    """Append to a page of the log."""
    return steps.side_effect(_chunk(__.V(vertex), chunk))


def with_page(steps: GraphTraversal, vertex: object, place: str, chunks: Iterable[tuple[str, str]]) -> GraphTraversal:
    """Write a page anew, whole; ``place`` says what is on it."""
    page = __.V(vertex).side_effect(__.properties("heads", "docs", "place").drop())
    if place:
        page = page.property(_SINGLE, "place", place)
    for chunk in chunks:
        page = _chunk(page, chunk)
    return steps.side_effect(page)


def with_place(steps: GraphTraversal, vertex: object, place: str) -> GraphTraversal:
    """Say what is on a page."""
    return steps.side_effect(__.V(vertex).property(_SINGLE, "place", place))


def without_page(steps: GraphTraversal, vertex: object) -> GraphTraversal:
    """Empty a page, so that nobody finds it."""
    return steps.side_effect(__.V(vertex).properties("heads", "docs", "place").drop())


def without_past(steps: GraphTraversal, given: Mapping[object, int], ids: list[str], limit: P) -> GraphTraversal:
    """Remove from elements what ended within a limit; ``given`` has the latest numbers, by vertex."""
    rows = [{"m": {T.id: vertex}, "g": long(number)} for vertex, number in given.items()]
    return (
        steps.side_effect(_each(rows).property(_SINGLE, "number", _of("g")))
        .side_effect(__.V(*given).properties(*_TWINS).has("valid_to", limit).drop())
        .side_effect(__.E().has("edge_uid", P.within(*ids)).has("valid_to", limit).drop())
    )


def with_rows(steps: GraphTraversal, rows: Rows) -> GraphTraversal:
    """Change the elements' vertices and edges."""
    if rows.anew:
        steps = steps.side_effect(__.V(*rows.anew).properties(_DOC, *_DECLARED).drop())
    for patch in rows.patches:
        steps = _patch(steps, patch)
    if rows.replaced:
        steps = steps.side_effect(_current(_ended(_each(rows.replaced))))
    if rows.ended:
        steps = steps.side_effect(_ended(_each(rows.ended)))
    if rows.current:
        steps = steps.side_effect(_current(_each(rows.current)))
    if rows.past:
        steps = steps.side_effect(_each(rows.past).property(_LIST, _DOC_WAS, _of("v"), *_meta(_of("t"), "f", "p")))
    if rows.gone:
        steps = steps.side_effect(__.V(*rows.gone).properties(_DOC).drop())
    for key, values in rows.values.items():
        steps = _values(steps, key, values)
    for at, ids in rows.closed.items():
        steps = steps.side_effect(__.E().has("edge_uid", P.within(*ids)).has("valid_to", _OPEN).property("valid_to", long(at)))
    if rows.edges:
        steps = steps.side_effect(_edges(rows.edges))
    return steps


def _chunk(page: GraphTraversal, chunk: tuple[str, str]) -> GraphTraversal:
    entries, documents = chunk
    return page.property(_LIST, "heads", entries).property(_LIST, "docs", documents)


def _of(key: str) -> GraphTraversal:
    return __.select("r").select(key)


def _each(rows: list[Row]) -> GraphTraversal:
    """The vertex of each row."""
    return __.constant(rows).unfold().as_("r").merge_v(_of("m"))


def _meta(to: object, begins: str, stamp: str) -> tuple[object, ...]:
    return ("valid_from", _of(begins), "valid_to", to, "stamp", _of(stamp))


def _ended(steps: GraphTraversal) -> GraphTraversal:
    return steps.property(_LIST, _DOC_WAS, __.values(_DOC), *_meta(_of("c"), "F", "P"))


def _current(steps: GraphTraversal) -> GraphTraversal:
    return steps.property(_SINGLE, _DOC, _of("v"), *_meta(_OPEN, "f", "p"))


def _values(steps: GraphTraversal, key: str, values: Values) -> GraphTraversal:
    twin, cardinality = key + HISTORY, _CARDINALITY[key]
    current = (key, _of("v"), "valid_from", _of("f"), "valid_to", _OPEN)
    if values.replaced:
        steps = steps.side_effect(_moved(_each(values.replaced), key, twin).property(cardinality, *current))
    if values.ended:
        steps = steps.side_effect(_moved(_each(values.ended), key, twin).side_effect(__.properties(key).drop()))
    if values.current:
        steps = steps.side_effect(_each(values.current).property(cardinality, *current))
    if values.past:
        steps = steps.side_effect(
            _each(values.past).property(_LIST, twin, _of("v"), "valid_from", _of("f"), "valid_to", _of("t"))
        )
    return steps


def _moved(steps: GraphTraversal, key: str, twin: str) -> GraphTraversal:
    if _CARDINALITY[key] is _SINGLE:
        begins = __.properties(key).values("valid_from")
        return steps.property(_LIST, twin, __.values(key), "valid_from", begins, "valid_to", _of("c"))
    value, begins = __.select("x").value(), __.select("x").values("valid_from")
    return steps.as_("v").side_effect(
        __.properties(key).as_("x").select("v").property(_LIST, twin, value, "valid_from", begins, "valid_to", _of("c"))
    )


def _edges(rows: list[Row]) -> GraphTraversal:
    return (
        __.constant(rows)
        .unfold()
        .as_("r")
        .merge_v(_of("o"))
        .as_("o")
        .merge_v(_of("i"))
        .as_("i")
        .add_e(_of("l"))
        .from_("o")
        .to("i")
        .property("edge_uid", _of("u"))
        .property("RelationType", _of("R"))
        .property("valid_from", _of("f"))
        .property("valid_to", _of("t"))
        .property("sequence", _of("s"))
        .property(_DOC, _of("v"))
    )


def _patch(steps: GraphTraversal, patch: Patch) -> GraphTraversal:
    to, sequence = long(patch.to), long(patch.sequence)
    steps = steps.side_effect(
        __.V(patch.vertex)
        .properties(_DOC_WAS)
        .has("valid_from", long(patch.at))
        .has("stamp", P.within(*patch.old_stamps))
        .property("valid_to", to)
        .property("stamp", patch.stamp)
    )
    if patch.kind is Kind.EDGE:
        steps = steps.side_effect(__.E().has("edge_uid", patch.id).has("sequence", sequence).property("valid_to", to))
    return steps
