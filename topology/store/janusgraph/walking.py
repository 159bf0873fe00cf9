"""Walks as JanusGraph's own traversals, by its indexes, with the conditions of time. Pure.

A walk begins where an index tells: at IDs, or at nodes that have a value at an indexed key. To go through everything is no
faster in JanusGraph than to read the log, so that is left to others.

What a vertex has now stands in current properties; what was so at a time is in those and in their twins. Only what is there has
declared keys; of a vertex of which only an edge tells it must be looked at. An edge is there with both its nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from gremlin_python.process.graph_traversal import GraphTraversal, GraphTraversalSource, __
from gremlin_python.process.traversal import P, TextP
from gremlin_python.statics import long

from topology.elements import FOREVER, Kind
from topology.store.janusgraph.schema import DECLARED, HISTORY, NODE, OTHER, RELATION, RELATIONS, Declared
from topology.store.traversal import (
    LABEL,
    UNRELATED,
    UNTYPED,
    Compare,
    Count,
    Dedup,
    Direction,
    Edges,
    Ends,
    Hop,
    Ids,
    Limit,
    Nodes,
    Scalar,
    WalkStep,
)

Part: TypeAlias = Callable[[Any], GraphTraversal]
"""Adds to a traversal, or begins one at the source."""

DOC = "doc"

_OPEN = long(FOREVER)
_LONG = 1 << 63
_OF_STATE = ("Host", "Origin")
_KEYS = {f"@{key.name}" if key.name in _OF_STATE else key.name: key for key in DECLARED}
_KEYS[LABEL] = _KEYS["Type"]
_COMMON = ("Host", "Type")  # values that many have
_ORDERS: dict[str, Callable[[Any], P]] = {"gt": P.gt, "gte": P.gte, "lt": P.lt, "lte": P.lte}
_PAIRS = {"between": ("gte", "lt"), "inside": ("gt", "lt"), "outside": ("lt", "gt")}
_TEXTS: dict[str, Callable[[Scalar], P]] = {
    "startingWith": TextP.starting_with, "endingWith": TextP.ending_with, "containing": TextP.containing,
}  # fmt: skip
_NOT_EMPTY: dict[str, Callable[[Sequence[str]], bool]] = {
    "eq": all, "within": all, "gt": lambda _: True, "gte": all, "between": lambda values: values[0] != "",
    "inside": lambda _: True, "startingWith": all, "endingWith": all, "containing": all,
}  # fmt: skip
"""Whether an empty text surely does not pass; of others it may."""


@dataclass(frozen=True, slots=True)
class Time:
    """When it is asked for.

    Attributes:
        when: µs since the epoch; None: now, which is what has no end.
    """

    when: int | None = None

    def of(self, steps: Any) -> GraphTraversal:  # noqa: ANN401 - a traversal or what begins one
        """Those edges, or properties, that hold."""
        if self.when is None:
            return steps.has("valid_to", _OPEN)
        return steps.has("valid_from", P.lte(long(self.when))).has("valid_to", P.gt(long(self.when)))

    def properties(self, steps: Any, key: str) -> GraphTraversal:  # noqa: ANN401
        """A vertex's properties of a key that hold."""
        if self.when is None:
            return steps.properties(key)
        return self.of(steps.properties(key, key + HISTORY))


@dataclass(slots=True)
class Route:
    """The leading steps of a walk as a traversal.

    Attributes:
        time: of it.
        odd: keys of which the declared ones tell not all.
        parts: of the traversal, in order.
        steps: how many steps of the walk these are.
        kind: of what comes; None: it was counted.
        alive: whether all that comes is there, so far as it is known.
    """

    time: Time
    odd: frozenset[str]
    parts: list[Part] = field(default_factory=list)
    steps: int = 0
    kind: Kind | None = None
    alive: bool = False

    def traversal(self, g: GraphTraversalSource) -> GraphTraversal:
        """It, begun at a source."""
        steps: Any = g
        for part in self.parts:
            steps = part(steps)
        return steps

    def living(self) -> None:
        """Leave only what is there."""
        if not self.alive:
            self.parts.append(lambda steps: _living(steps, self.time))
            self.alive = True


def route(steps: Sequence[WalkStep], time: Time, odd: Collection[str]) -> Route | None:
    """The longest leading part that can be told. None: there is none."""
    made = Route(time, frozenset(odd))
    if not steps or not _begin(made, steps):
        return None
    while made.steps < len(steps) and made.kind is not None:
        step = steps[made.steps]
        take = _TAKES.get(type(step))
        if take is None or not take(made, step):
            break
        made.steps += 1
    return made


def _begin(made: Route, steps: Sequence[WalkStep]) -> bool:
    first, second = steps[0], steps[1] if len(steps) > 1 else None
    if not isinstance(first, Nodes | Edges):
        return False
    ids = second.ids if isinstance(second, Ids) else None
    made.steps = 1 if ids is None else 2
    if isinstance(first, Edges):
        return ids is not None and _begin_at_edges(made, first, ids)
    conditions = _conditions(first.where, made)
    if conditions is None:
        return False
    made.kind = Kind.NODE
    if ids is not None:
        made.parts.append(lambda g: g.V().has("uid", _one_of(ids)).has_label(NODE))
    else:
        conditions = _begin_at_values(made, conditions)
        if conditions is None:
            return False
    _meet(made, conditions)
    return True


def _begin_at_values(made: Route, conditions: list[_Condition]) -> list[_Condition] | None:
    """Begin at what an index tells; returns the conditions that it does not, or not surely. None: none does."""
    equal = [one for one in conditions if one.equal]
    indexed = sorted((one for one in equal if one.key.indexed), key=lambda one: one.key.name in _COMMON)
    if not indexed:
        return None
    if made.time.when is not None:
        name, test = indexed[0].key.name, indexed[0].test
        made.parts.append(lambda g: g.union(__.V().has(name, test), __.V().has(name + HISTORY, test)).dedup())
        return conditions

    def begun(g: GraphTraversalSource) -> GraphTraversal:
        steps = g.V()
        for one in indexed:
            steps = steps.has(one.key.name, one.test)
        return steps.dedup() if any(one.key.several for one in indexed) else steps  # found by each of their values

    made.parts.append(begun)
    made.alive = True
    return [one for one in conditions if one not in indexed]


def _begin_at_edges(made: Route, first: Edges, ids: Sequence[str]) -> bool:
    tests = _edge_tests(first.where, made)
    if tests is None:
        return False
    made.kind, made.alive = Kind.EDGE, True
    made.parts.append(lambda g: made.time.of(g.E().has("edge_uid", _one_of(ids))))
    made.parts.append(lambda steps: _of_relation(steps, tests))
    made.parts.append(lambda steps: _living(_living(steps, made.time, __.out_v()), made.time, __.in_v()))
    return True


@dataclass(frozen=True, slots=True)
class _Condition:
    key: Declared
    test: P
    equal: bool


def _conditions(where: Iterable[Compare], made: Route) -> list[_Condition] | None:
    """Of nodes. None: one cannot be told."""
    found = []
    for one in where:
        key = _KEYS.get(one.key)
        test = predicate(key.kind, one) if key is not None and key.name not in made.odd else None
        if key is None or test is None or (one.key.startswith("@") and not _is_declared(one)):
            return None
        found.append(_Condition(key, test, one.operator in ("eq", "within")))
    return found


def _meet(made: Route, conditions: Sequence[_Condition]) -> None:
    for one in conditions:
        made.parts.append(partial(_meeting, time=made.time, one=one))
        made.alive = True


def _meeting(steps: GraphTraversal, time: Time, one: _Condition) -> GraphTraversal:
    return steps.filter_(time.properties(__.start(), one.key.name).value().is_(one.test))


def _is_declared(one: Compare) -> bool:
    """Whether only properties can tell who passes: no host or origin that is empty, no label of nodes without a Type."""
    if one.key == LABEL:
        return one.operator in ("eq", "within") and not {UNTYPED, ""} & {*one.values}
    surely = _NOT_EMPTY.get(one.operator)
    return surely is not None and surely([value for value in one.values if isinstance(value, str)])


def _edge_tests(where: Iterable[Compare], made: Route) -> list[P] | None:
    tests = []
    for one in where:
        test = predicate(str, one) if one.key == RELATION and RELATION not in made.odd else None
        if test is None:
            return None
        tests.append(test)
    return tests


def _of_relation(steps: GraphTraversal, tests: Sequence[P]) -> GraphTraversal:
    for test in tests:
        steps = steps.filter_(__.values(RELATION).is_(P.neq("")).is_(test))
    return steps


def _living(steps: GraphTraversal, time: Time, whose: GraphTraversal | None = None) -> GraphTraversal:
    return steps.filter_(time.properties(__.start() if whose is None else whose, DOC))


def _hop(made: Route, step: Hop) -> bool:
    if made.kind is not Kind.NODE:
        return False
    tests = _edge_tests(step.where, made) if step.to_edges else []
    conditions = [] if step.to_edges else _conditions(step.where, made)
    relations = [one for one in step.relations if one]
    if tests is None or conditions is None or bool(relations) != bool(step.relations):
        return False
    made.living()
    made.parts.append(lambda steps: _along(steps, made.time, step, relations, tests))
    if step.to_edges:
        made.kind = Kind.EDGE
    else:
        made.alive = False
        _meet(made, conditions)
    return True


def _along(steps: GraphTraversal, time: Time, hop: Hop, relations: Sequence[str], tests: Sequence[P]) -> GraphTraversal:
    if hop.direction is Direction.BOTH:  # both() gives an edge from a node to itself once
        return steps.union(*(_one_way(__.start(), time, hop, way, relations, tests) for way in (Direction.OUT, Direction.IN)))
    return _one_way(steps, time, hop, hop.direction, relations, tests)


def _one_way(
    steps: GraphTraversal, time: Time, hop: Hop, way: Direction, relations: Sequence[str], tests: Sequence[P]
) -> GraphTraversal:
    known = [one for one in relations if one in RELATIONS]
    labels = known if len(known) == len(relations) else [*known, OTHER]
    steps = time.of(steps.out_e(*labels) if way is Direction.OUT else steps.in_e(*labels))
    if len(labels) > len(known):
        steps = steps.has(RELATION, P.within(*relations, *([""] if UNRELATED in relations else [])))
    steps = _of_relation(steps, tests)
    other = __.in_v() if way is Direction.OUT else __.out_v()
    if hop.to_edges:
        return _living(steps, time, other)
    return steps.in_v() if way is Direction.OUT else steps.out_v()


def _ends(made: Route, step: Ends) -> bool:
    conditions = _conditions(step.where, made)
    if made.kind is not Kind.EDGE or conditions is None:
        return False
    made.parts.append(_ENDS[step.direction])
    made.kind = Kind.NODE
    _meet(made, conditions)
    return True


_ENDS: dict[Direction, Part] = {
    Direction.OUT: lambda steps: steps.out_v(),
    Direction.IN: lambda steps: steps.in_v(),
    Direction.BOTH: lambda steps: steps.union(__.out_v(), __.in_v()),
}


def _of_ids(made: Route, step: Ids) -> bool:
    key = "uid" if made.kind is Kind.NODE else "edge_uid"
    made.parts.append(lambda steps: steps.has(key, _one_of(step.ids)))
    return True


def _count(made: Route, _: Count) -> bool:
    made.living()
    made.parts.append(lambda steps: steps.count())
    made.kind = None
    return True


def _limit(made: Route, step: Limit) -> bool:
    made.living()
    made.parts.append(lambda steps: steps.limit(long(step.many)))
    return True


def _dedup(made: Route, _: Dedup) -> bool:
    made.parts.append(lambda steps: steps.dedup())
    return True


_TAKES: dict[type, Callable[[Route, Any], bool]] = {
    Hop: _hop, Ends: _ends, Ids: _of_ids, Count: _count, Limit: _limit, Dedup: _dedup,
}  # fmt: skip


def predicate(kind: type, one: Compare) -> P | None:
    """A comparison with values that are all of a kind, texts or whole numbers. None: it cannot be told, or none can pass."""
    values = [value for value in one.values if _is_alike(kind, value)]
    if one.operator in ("eq", "within", "neq", "without"):
        return _equality(one, values)
    if len(values) < len(one.values):
        return None  # what is of another kind is in no order with them
    if one.operator in _TEXTS:
        return _TEXTS[one.operator](values[0]) if kind is str and len(values) == 1 else None
    return _ordered(one.operator, values)


def _ordered(operator: str, values: Sequence[Scalar]) -> P | None:
    names = _PAIRS.get(operator, (operator,) if operator in _ORDERS else ())
    if not names or len(names) != len(values):
        return None
    bounds = [bound for name, value in zip(names, values, strict=True) if (bound := _order(name, value)) is not None]
    if len(bounds) < len(names):
        return None
    if len(names) == 1:
        return bounds[0]
    return bounds[0].or_(bounds[1]) if operator == "outside" else bounds[0].and_(bounds[1])


def _is_alike(kind: type, value: Scalar) -> bool:
    if kind is str or isinstance(value, str):
        return kind is str and isinstance(value, str)
    return not isinstance(value, bool) and math.isfinite(value)


def _equality(one: Compare, values: Iterable[Any]) -> P | None:
    """What is of another kind is equal to none."""
    if one.operator in ("eq", "neq") and len(one.values) != 1:
        return None
    exact = [value if isinstance(value, str) else long(value) for value in values if isinstance(value, str) or _is_long(value)]
    if one.operator in ("neq", "without"):
        return P.without(*exact)
    return _one_of(exact) if exact else None


def _one_of(values: Sequence[Any]) -> P:
    return P.eq(values[0]) if len(values) == 1 else P.within(*values)


def _is_long(value: float) -> bool:
    return value == int(value) and -_LONG <= value < _LONG


def _order(name: str, value: Any) -> P | None:  # noqa: ANN401 - a text or a number
    """Between whole numbers and a broken one, as between them and the next whole one."""
    if isinstance(value, str):
        return _ORDERS[name](value)
    whole = math.floor(value) if name in ("gt", "lte") else math.ceil(value)
    return _ORDERS[name](long(whole)) if -_LONG <= whole < _LONG else None
