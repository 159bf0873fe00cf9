"""Steps that let some through: has, is, where, and, dedup, limit, simplePath."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, NULL_POINTER, WRONG_TYPE, TraversalError
from gremlin_api.interpreter import predicates
from gremlin_api.interpreter.chain import MISSING, Chain, Filter, Flow, Kept, Map, Step, state
from gremlin_api.interpreter.comparison import IncomparableError
from gremlin_api.interpreter.conditions import Condition, condition
from gremlin_api.interpreter.instructions import OF_VERTEX_PROPERTIES, Instruction
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.interpreter.projection import Projection, Ring
from gremlin_api.interpreter.scope import surely_scoped
from gremlin_api.interpreter.steps.family import Build, modulator_texts, scope_and_rest
from gremlin_api.interpreter.steps.local import LocalRange, items
from gremlin_api.interpreter.traverser import Traverser, path_of
from gremlin_api.interpreter.wheres import has_variables, where_traversal
from gremlin_api.language import syntax
from gremlin_api.language.syntax import Argument, EnumValue, Predicate, Traversal
from gremlin_api.values import BulkSet, Element, OrderedSet, Path, Property, Value, VertexProperty, hashable

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

_ID, _LABEL, _KEY, _VALUE = (EnumValue("T", name) for name in ("id", "label", "key", "value"))


class Has(Filter):
    """Lets through elements and properties that meet conditions.

    Attributes:
        conditions: which; a graph that finds by them may be asked in its place.
    """

    def __init__(self, conditions: Sequence[Condition], *, inner: bool) -> None:
        super().__init__("has", _meeting(conditions), inner=inner)
        self.conditions = conditions


def _meeting(conditions: Sequence[Condition]) -> Callable[[Traverser], bool]:
    def test(traverser: Traverser) -> bool:
        value = traverser.value
        if not isinstance(value, Element | Property):
            if value is None:
                raise TraversalError("has() does not take null", NULL_POINTER)
            raise TraversalError(f"has() takes elements and properties, not {java_text(value)}", WRONG_TYPE)
        return all(one.test(value) for one in conditions)

    return test


def _as_predicate(argument: Argument) -> Predicate:
    return argument if isinstance(argument, Predicate) else Predicate("eq", (argument,))


def _one_of(arguments: Sequence[Argument]) -> Predicate:
    if len(arguments) == 1:
        return _as_predicate(arguments[0])
    return Predicate("within", tuple(arguments))


def _has(builder: Builder, instruction: Instruction) -> Step:
    first, *rest = instruction.arguments
    if not rest:
        return Filter("has", builder.chain(_values(first), inner=True).test, inner=builder.inner)
    if len(rest) == 1 and isinstance(rest[0], Traversal) and rest[0].terminal is None:
        return _has_traversal(builder, first, rest[0])
    if len(rest) == 1:
        return _conditions(builder, (first, _as_predicate(rest[0])))
    return _conditions(builder, (_LABEL, Predicate("eq", (first,))), (rest[0], _as_predicate(rest[1])))


def _conditions(builder: Builder, *pairs: tuple[Argument, Predicate]) -> Step:
    made = [condition(builder.value(key), predicate, builder.predicate, builder.value) for key, predicate in pairs]
    return Has(made, inner=builder.inner)


def _values(key: Argument) -> Traversal:
    return Traversal((syntax.Step("values", (key,)),))


def _has_traversal(builder: Builder, key: Argument, traversal: Traversal) -> Step:
    if isinstance(key, EnumValue):
        if key.name not in ("id", "label"):
            raise TraversalError("has(T, traversal) takes T.id or T.label", ILLEGAL_ARGUMENT)
        first = syntax.Step(key.name)
    else:
        first = syntax.Step("values", (key,))
    return Filter("has", builder.chain(Traversal((first, *traversal.steps)), inner=True).test, inner=builder.inner)


def _has_not(builder: Builder, instruction: Instruction) -> Step:
    there = builder.chain(_values(instruction.arguments[0]), inner=True).test
    return Filter("hasNot", lambda traverser: not there(traverser), inner=builder.inner)


def _has_token(token: EnumValue) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        return _conditions(builder, (token, _one_of(instruction.arguments)))

    return build


def _has_id(builder: Builder, instruction: Instruction) -> Step:
    """Lists of IDs count as their items."""
    if isinstance(instruction.arguments[0], Predicate):
        return _conditions(builder, (_ID, instruction.arguments[0]))
    ids: list[Value] = []
    for argument in instruction.arguments:
        value = builder.value(argument)
        ids += value if isinstance(value, list | OrderedSet) else [value]
    return _conditions(builder, (_ID, Predicate("eq", (ids[0],)) if len(ids) == 1 else Predicate("within", tuple(ids))))


def _is(builder: Builder, instruction: Instruction) -> Step:
    passes = builder.predicate(_as_predicate(instruction.arguments[0]))
    return Filter("is", lambda traverser: passes(traverser.value), inner=builder.inner)


def _not(builder: Builder, instruction: Instruction) -> Step:
    chain = _inner(builder, instruction.arguments[0])
    return _nesting(Filter("not", lambda traverser: not chain.test(traverser), inner=builder.inner), chain)


def _filter(builder: Builder, instruction: Instruction) -> Step:
    (argument,) = instruction.arguments
    if isinstance(argument, Predicate):
        passes = builder.predicate(argument)
        return Filter("filter", lambda traverser: passes(traverser.value), inner=builder.inner)
    chain = _inner(builder, argument)
    return _nesting(Filter("filter", chain.test), chain)


def _nesting(step: Step, *chains: Chain) -> Step:
    step.nested = chains
    return step


def _inner(builder: Builder, traversal: Argument) -> Chain:
    assert isinstance(traversal, Traversal)
    return builder.chain(traversal, inner=True)


def _and(builder: Builder, instruction: Instruction) -> Step:
    chains = [_inner(builder, one) for one in instruction.arguments]

    def test(traverser: Traverser) -> bool:
        failure: IncomparableError | None = None
        for chain in chains:
            try:
                if not chain.test(traverser):
                    return False
            except IncomparableError as error:
                failure = error
        if failure is not None:
            raise failure
        return True

    return _nesting(Filter("and", test, inner=builder.inner), *chains)


def _or(builder: Builder, instruction: Instruction) -> Step:
    chains = [_inner(builder, one) for one in instruction.arguments]

    def test(traverser: Traverser) -> bool:
        failure: IncomparableError | None = None
        for chain in chains:
            try:
                if chain.test(traverser):
                    return True
            except IncomparableError as error:
                failure = error
        if failure is not None:
            raise failure
        return False

    return _nesting(Filter("or", test, inner=builder.inner), *chains)


def _where(builder: Builder, instruction: Instruction) -> Step:
    *start, last = instruction.arguments
    if isinstance(last, Traversal):
        if not has_variables(last):
            return _filter(builder, Instruction("filter", (last,)))
        return where_traversal(builder, last)
    assert isinstance(last, Predicate)
    return _where_predicate(builder, start[0] if start else None, last, builder.ring(instruction))


def _where_predicate(builder: Builder, start: Argument, predicate: Predicate, ring: Ring) -> Step:
    run = builder.run

    def test(traverser: Traverser) -> bool:
        looked = ring[0].at(traverser) if start is None else ring[0].of(surely_scoped(run, traverser, start))
        place = 0

        def filled(one: Predicate) -> Predicate | None:
            nonlocal place
            if one.name in _JOINING:
                parts = [filled(part) for part in one.arguments if isinstance(part, Predicate)]
                return None if None in parts else Predicate(one.name, tuple(parts))
            if one.name in _PAIRS:
                return filled(_paired(one))
            place += 1
            value = ring[place].of(surely_scoped(run, traverser, _label_of(one)))
            return None if value is MISSING else Predicate(one.name, (value,))

        said = filled(predicate)
        return looked is not MISSING and said is not None and _holds(builder, said, looked)

    return Filter("where", test, inner=builder.inner)


_JOINING = ("and", "or", "negate", "not")
_PAIRS = {"inside": ("and", "gt", "lt"), "outside": ("or", "lt", "gt"), "between": ("and", "gte", "lt")}


def _paired(predicate: Predicate) -> Predicate:
    join, first, second = _PAIRS[predicate.name]
    low, high = predicate.arguments
    return Predicate(join, (Predicate(first, (low,)), Predicate(second, (high,))))


def _label_of(predicate: Predicate) -> Argument:
    first = predicate.arguments[0] if predicate.arguments else None
    return first.items[0] if isinstance(first, syntax.ListValue) and first.items else first


def _holds(builder: Builder, predicate: Predicate, value: Value) -> bool:
    """Whether a value passes, where the predicate's own is told of a label: ``within`` takes a list or a set then."""
    if predicate.name in ("within", "without") and isinstance(value, Element | str):
        many: Value = predicate.arguments[0]
        if isinstance(many, BulkSet | OrderedSet):
            there = value in (many.counts if isinstance(many, BulkSet) else many)
            return there is (predicate.name == "within")
    if predicate.name in _JOINING:
        return builder.predicate(predicate)(value)
    return predicates.holds(predicate.name, predicate.arguments[0])(value)


class Dedup(Step):
    """Lets each thing through once."""

    name = "dedup"
    moves = False
    gathers = True

    def __init__(self, builder: Builder, projection: Projection | None, labels: Sequence[Value]) -> None:
        super().__init__()
        self._run, self._projection, self._labels = builder.run, projection, labels

    @property
    def is_plain(self) -> bool:
        """Whether it is the things themselves that are told apart."""
        return self._projection is None and not self._labels

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """Each once."""
        seen: set[Hashable] = state(kept, self, set)
        for traverser in upstream:
            traverser.bulk = 1
            told = self._told(traverser)
            if told is MISSING or told in seen:
                continue
            self._run.hold()
            seen.add(told)
            yield traverser

    def _told(self, traverser: Traverser) -> Value:
        projection = self._projection
        if not self._labels:
            value = traverser.value if projection is None else projection.at(traverser)
            return value if value is MISSING else hashable(value)
        found = []
        for label in self._labels:
            value = surely_scoped(self._run, traverser, label)
            if projection is not None:
                value = projection.of(value)
            if value is MISSING:
                return MISSING
            found.append(hashable(value))
        return tuple(found)


def _dedup(builder: Builder, instruction: Instruction) -> Step:
    scope, labels = scope_and_rest(builder, instruction)
    if scope == "local":
        return Map("dedup", lambda value: OrderedSet(items(value)))
    by = instruction.by()
    return Dedup(builder, builder.projection(by[-1]) if by else None, list(dict.fromkeys(labels)))


class Range(Step):
    """Lets through from the ``low``-th to before the ``high``-th; -1: to the end. It asks for none that it does not need."""

    name = "range"
    moves = False
    gathers = True

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        if -1 not in (low, high) and low > high:
            raise TraversalError(f"[{low}, {high}] is no range", ILLEGAL_ARGUMENT)
        self.low, self.high = low, high

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """Those in the range."""
        low, high = self.low, self.high
        passed = state(kept, self, lambda: [0])
        if high != -1 and passed[0] >= high:
            next(upstream, None)  # what steps before have to do aside is done all the same
            return
        for traverser in upstream:
            count = passed[0]
            if count + traverser.bulk <= low:
                passed[0] = count + traverser.bulk
                continue
            skipped = max(low - count, 0)
            trimmed = max(count + traverser.bulk - high, 0) if high != -1 else 0
            left = traverser.bulk - skipped - trimmed
            passed[0] = count + skipped + left
            traverser.bulk = left
            yield traverser
            if high != -1 and passed[0] >= high:
                return


def _range(low_high: Callable[..., tuple[int, int]]) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        scope, numbers = scope_and_rest(builder, instruction)
        low, high = low_high(*map(int, numbers))
        if scope == "local":
            return LocalRange(instruction.name, low, high)
        return Range(low, high)

    return build


def _simple(*, wanted: bool) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        start, end = modulator_texts(builder, instruction)
        ring = builder.ring(instruction)

        def test(traverser: Traverser) -> bool:
            path = sub_path(path_of(traverser.trail), start, end)
            told = ring.all_of(path.objects)
            return told is not None and (len({hashable(one) for one in told}) == len(told)) is wanted

        return Filter(instruction.name, test, inner=builder.inner)

    return build


def sub_path(path: Path, start: str | None, end: str | None) -> Path:
    """The part from the last place of one label to the last of another. Raises TraversalError where there is none."""
    if start is None and end is None:
        return path
    first = _last_of(path, start, 0)
    last = _last_of(path, end, len(path.objects) - 1)
    if first > last:
        raise TraversalError(f"the path has '{start}' after '{end}'", ILLEGAL_ARGUMENT)
    return Path(path.objects[first : last + 1], path.labels[first : last + 1])


def _last_of(path: Path, label: str | None, default: int) -> int:
    if label is None:
        return default
    found = [place for place, labels in enumerate(path.labels) if label in labels]
    if not found:
        raise TraversalError(f"the path has no '{label}'", ILLEGAL_ARGUMENT)
    return found[-1]


def _coin(builder: Builder, instruction: Instruction) -> Step:
    probability = float(builder.value(instruction.arguments[0]))
    chance = builder.run.random

    def test(traverser: Traverser) -> bool:
        many = traverser.bulk
        if many < 100:
            traverser.bulk = sum(probability >= chance.random() for _ in range(many))
        else:
            traverser.bulk = int(probability * many + 0.5)
        return traverser.bulk > 0

    return Filter("coin", test, inner=builder.inner)


class TimeLimit(Step):
    """Lets all through, until so many ms after the first."""

    name = "timeLimit"
    moves = False

    def __init__(self, milliseconds: int) -> None:
        super().__init__()
        self._seconds = milliseconds / 1000

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """Those that come in time."""
        until = state(kept, self, list[float])
        for traverser in upstream:
            if not until:
                until.append(time.monotonic() + self._seconds)
            if time.monotonic() >= until[0]:
                return
            yield traverser


def _quantified(*, every: bool) -> Build:
    """``all`` and ``any``: of the items of a list."""

    def build(builder: Builder, instruction: Instruction) -> Step:
        (said,) = instruction.arguments
        assert isinstance(said, Predicate)
        passes = builder.predicate(said)

        def test(traverser: Traverser) -> bool:
            if not isinstance(traverser.value, list | OrderedSet | BulkSet | Path):
                return False
            items = traverser.value.objects if isinstance(traverser.value, Path) else traverser.value
            failure: IncomparableError | None = None
            for item in items:
                try:
                    if passes(item) is not every:
                        return not every
                except IncomparableError as error:
                    failure = error
            if failure is not None:
                raise failure
            return every

        return Filter(instruction.name, test, inner=builder.inner)

    return build


def _of_vertex_properties(builder: Builder, instruction: Instruction) -> Step:
    chain = _inner(builder, instruction.arguments[0])
    return Filter("filter", lambda traverser: not isinstance(traverser.value, VertexProperty) or chain.test(traverser))


def _none(_: Builder, __: Instruction) -> Step:
    return Filter("none", lambda _: False)


STEPS: dict[str, Build] = {
    OF_VERTEX_PROPERTIES: _of_vertex_properties,
    "has": _has,
    "hasNot": _has_not,
    "hasId": _has_id,
    "hasLabel": _has_token(_LABEL),
    "hasKey": _has_token(_KEY),
    "hasValue": _has_token(_VALUE),
    "is": _is,
    "not": _not,
    "filter": _filter,
    "and": _and,
    "or": _or,
    "where": _where,
    "dedup": _dedup,
    "limit": _range(lambda high: (0, high)),
    "skip": _range(lambda low: (low, -1)),
    "range": _range(lambda low, high: (low, high)),
    "simplePath": _simple(wanted=True),
    "cyclicPath": _simple(wanted=False),
    "coin": _coin,
    "timeLimit": lambda builder, instruction: TimeLimit(builder.value(instruction.arguments[0])),
    "all": _quantified(every=True),
    "any": _quantified(every=False),
    "none": _none,
}
