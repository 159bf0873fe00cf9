"""Steps that wait for all before they give anything: order, tail, count, sum, fold, group, tree, cap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from gremlin_api.errors import ILLEGAL_ARGUMENT, ILLEGAL_STATE, UNSUPPORTED, TraversalError
from gremlin_api.interpreter import arithmetic
from gremlin_api.interpreter.chain import MISSING, Chain, Flow, Kept, Step, state
from gremlin_api.interpreter.chain import Map as MapStep
from gremlin_api.interpreter.comparison import order_key
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.projection import IDENTITY, Projection, Ring
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps import local
from gremlin_api.interpreter.steps.family import Build, scope_and_rest
from gremlin_api.interpreter.traverser import NO_LABELS, Gathered, TrackingTraverser, Traverser, path_of
from gremlin_api.language import syntax
from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import Long
from gremlin_api.values import Map, Tree, Value, hashable

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

T = TypeVar("T")


class Reduce(Step):
    """Makes one value of all.

    Args:
        reduce: gives the value of all that comes.
        always: whether there is a value where nothing came.

    Attributes:
        key: the property whose values ``groupCount`` counts; None: it is another step, or counts something else.
    """

    reduces = True

    def __init__(self, builder: Builder, name: str, reduce: Callable[[Flow], Value], *, always: bool) -> None:
        super().__init__()
        self.name, self._reduce, self.always = name, reduce, always
        self._run, self._tracking = builder.run, builder.tracking
        self.key: str | None = None

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """The one value."""
        waves = state(kept, self, lambda: [0])
        waves[0] += 1
        came = False

        def noticed() -> Flow:
            nonlocal came
            for traverser in upstream:
                came = True
                self._run.tick()
                yield traverser

        value = self._reduce(noticed())
        if came or (self.always and waves[0] == 1):
            yield begun(self._run, value, tracking=self._tracking)


def begun(run: Run, value: Value, *, tracking: bool) -> Traverser:
    """A traverser that begins at a value, with a path of its own."""
    if tracking:
        return TrackingTraverser(value, 1, (None, value, NO_LABELS), run.sack)
    return Traverser(value, 1, None, run.sack)


def _scoped_reduce(
    reduce: Callable[[Flow], Value], of_items: Callable[[Sequence[Value]], Value], *, always: bool = False
) -> Build:
    """A step of a scope: all traversers, or the items of each."""

    def build(builder: Builder, instruction: Instruction) -> Step:
        scope, _ = scope_and_rest(builder, instruction)
        if scope == "local":
            return local.reduced(instruction.name, of_items)
        return Reduce(builder, instruction.name, reduce, always=always)

    return build


def _counted(flow: Flow) -> Value:
    return Long(sum(traverser.bulk for traverser in flow))


def _count(builder: Builder, instruction: Instruction) -> Step:
    scope, _ = scope_and_rest(builder, instruction)
    if scope == "local":
        return MapStep("count", local.count)
    return Reduce(builder, "count", _counted, always=True)


def _total(flow: Flow) -> Value:
    found: Value = None
    for traverser in flow:
        value = arithmetic.multiply(traverser.value, Long(traverser.bulk)) if traverser.value is not None else None
        found = value if found is None else arithmetic.add(found, value)
    return found


def _mean(flow: Flow) -> Value:
    total: Value = None
    many = 0
    for traverser in flow:
        if traverser.value is not None:
            value = arithmetic.multiply(traverser.value, Long(traverser.bulk))
            total = value if total is None else arithmetic.add(total, value)
            many += traverser.bulk
    return arithmetic.mean_of(total, many) if many else None


def _extreme(better: Callable[[Value, Value], Value]) -> Callable[[Flow], Value]:
    def reduce(flow: Flow) -> Value:
        found: Value = MISSING
        for traverser in flow:
            found = traverser.value if found is MISSING else better(found, traverser.value)
        return found

    return reduce


def _fold(builder: Builder, instruction: Instruction) -> Step:
    run = builder.run
    if not instruction.arguments:
        return Reduce(builder, "fold", lambda flow: _all_values(run, flow), always=True)
    seed, named = map(builder.value, instruction.arguments)
    operator = arithmetic.OPERATORS[named.name]

    def reduce(flow: Flow) -> Value:
        found = list(seed) if isinstance(seed, list) else seed
        for traverser in flow:
            for _ in range(traverser.bulk):
                found = operator(found, [traverser.value] if isinstance(seed, list) else traverser.value)
        return found

    return Reduce(builder, "fold", reduce, always=True)


def _all_values(run: Run, flow: Flow) -> Value:
    found: list[Value] = []
    for traverser in flow:
        run.hold(traverser.bulk)
        found.extend([traverser.value] * traverser.bulk)
    return found


class Barrier(Step):
    """Waits for all, or so many, and lets them go; those that are the same have become one."""

    name = "barrier"
    moves = False

    def __init__(self, run: Run, size: int | None = None, work: Callable[[list[Traverser]], None] | None = None) -> None:
        super().__init__()
        self._run, self._size, self._work = run, size, work

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same, later."""
        run = self._run
        while True:
            held = Gathered(run.merge) if run.bulk else None
            several: list[Traverser] = []
            for traverser in upstream:
                run.hold()
                if held is None:
                    several.append(traverser)
                else:
                    held.add(traverser)
                if self._size is not None and len(several if held is None else held) >= self._size:
                    break
            if held is not None:
                several = list(held.take())
            if not several:
                return
            if self._work is not None:
                self._work(several)
            run.hold(-len(several))
            yield from several


def _barrier(builder: Builder, instruction: Instruction) -> Step:
    if not instruction.arguments:
        return Barrier(builder.run)
    value = builder.value(instruction.arguments[0])
    if isinstance(value, EnumValue):
        return Barrier(builder.run, work=_normalize_sacks)
    return Barrier(builder.run, int(value))


def _normalize_sacks(several: list[Traverser]) -> None:
    """Each sack becomes its part of all sacks' sum (SackFunctions.Barrier.normSack)."""
    if any(one.sack is None for one in several):
        raise TraversalError("barrier(normSack) takes traversers with a sack: begin with g.withSack(…)", UNSUPPORTED)
    parts = [arithmetic.multiply(one.sack, Long(one.bulk)) for one in several]
    total: Value = 0.0
    for part in parts:
        total = arithmetic.add(total, part)
    for one, part in zip(several, parts, strict=True):
        one.sack = arithmetic.divide(part, total)


class Order(Step):
    """Sorts."""

    name = "order"
    moves = False
    gathers = True

    def __init__(self, run: Run, comparators: Sequence[tuple[Projection, str]]) -> None:
        super().__init__()
        self._run = run
        self._comparators = _effective(comparators)

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same, in order; those of which one of the projections has nothing are left out."""
        rows: list[tuple[Traverser, list[Value]]] = []
        for traverser in upstream:
            told = [projection.at(traverser) for projection, _ in self._comparators]
            if MISSING not in told:
                self._run.hold()
                rows.append((traverser, told))
        yield from _sorted(self._run, rows, self._comparators)


def _effective(comparators: Sequence[tuple[Projection, str]]) -> list[tuple[Projection, str]]:
    if not comparators:
        return [(IDENTITY, "asc")]
    if comparators[-1][1] == "shuffle":
        return list(comparators)
    return [one for one in comparators if one[1] != "shuffle"]


def _sorted(run: Run, rows: list[tuple[T, list[Value]]], comparators: Sequence[tuple[Projection, str]]) -> Iterator[T]:
    if comparators[-1][1] == "shuffle":
        run.random.shuffle(rows)
    else:
        for place, (_, how) in reversed(list(enumerate(comparators))):
            key = order_key([told[place] for _, told in rows])
            rows = sorted(rows, key=_keyed(key, place), reverse=how == "desc")
    return (one for one, _ in rows)


def _keyed(key: Callable[[Value], Value], place: int) -> Callable[[tuple[T, list[Value]]], Value]:
    return lambda row: key(row[1][place])


def _order(builder: Builder, instruction: Instruction) -> Step:
    scope, _ = scope_and_rest(builder, instruction)
    comparators = [_comparator(builder, one) for one in instruction.by()]
    if scope == "global":
        return Order(builder.run, comparators)
    return MapStep("order", lambda value: _ordered(builder.run, value, _effective(comparators)))


def _comparator(builder: Builder, by: syntax.Step) -> tuple[Projection, str]:
    last = by.arguments[-1] if by.arguments else None
    if isinstance(last, EnumValue) and last.enum == "Order":
        if last.name in ("incr", "decr"):
            raise TraversalError(
                f"Order.{last.name} is no more: write {'asc' if last.name == 'incr' else 'desc'}", ILLEGAL_ARGUMENT
            )
        return builder.projection(syntax.Step("by", by.arguments[:-1])), last.name
    return builder.projection(by), "asc"


def _ordered(run: Run, value: Value, comparators: Sequence[tuple[Projection, str]]) -> Value:
    if not isinstance(value, Map) and not local.is_collection(value):
        return value
    rows: list[tuple[Value, list[Value]]] = []
    for item in local.items(value):
        told = [projection.of(item) for projection, _ in comparators]
        if MISSING not in told:
            rows.append((item, told))
    if len(rows) > 1:
        local.check_comparable(one for _, told in rows for one in told)
    found = list(_sorted(run, rows, comparators))
    return Map((one.key, one.value) for one in found) if isinstance(value, Map) else found


class Tail(Step):
    """The last so many."""

    name = "tail"
    moves = False
    gathers = True

    def __init__(self, many: int) -> None:
        super().__init__()
        self._many = many

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Those."""
        last: deque[Traverser] = deque()
        bulk = 0
        for traverser in upstream:
            last.append(traverser)
            bulk += traverser.bulk
            while last and bulk - last[0].bulk >= self._many:
                bulk -= last.popleft().bulk
        if last:
            last[0].bulk -= max(bulk - self._many, 0)
        yield from (one for one in last if one.bulk > 0)


def _tail(builder: Builder, instruction: Instruction) -> Step:
    scope, numbers = scope_and_rest(builder, instruction)
    many = int(numbers[0]) if numbers else 1
    return local.LocalTail(many) if scope == "local" else Tail(many)


class Sample(Step):
    """So many by chance, each as likely as its weight."""

    name = "sample"
    moves = False
    gathers = True

    def __init__(self, run: Run, many: int, weight: Projection | None) -> None:
        super().__init__()
        self._run, self._many, self._weight = run, many, weight

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Those."""
        several: list[tuple[Traverser, float]] = []
        for traverser in upstream:
            weight = 1.0 if self._weight is None else self._weight.at(traverser)
            if weight is MISSING:
                continue
            if type(weight) not in arithmetic.NUMBERS:
                raise TraversalError("sample(): by() does not give a number", ILLEGAL_STATE)
            for _ in range(traverser.bulk):
                self._run.hold()
                several.append((traverser.alone(), float(weight)))
        if len(several) <= self._many:
            yield from (one for one, _ in several)
            return
        # Weighted sampling without replacement: the largest u^(1/w) (Efraimidis and Spirakis, 2006).
        keyed = [
            (self._run.random.random() ** (1 / weight) if weight > 0 else 0.0, at) for at, (_, weight) in enumerate(several)
        ]
        chosen = sorted(at for _, at in sorted(keyed, reverse=True)[: max(self._many, 0)])
        yield from (several[at][0] for at in chosen)


def _sample(builder: Builder, instruction: Instruction) -> Step:
    scope, numbers = scope_and_rest(builder, instruction)
    many, run = int(numbers[0]), builder.run
    if scope == "local":
        return MapStep("sample", lambda value: _sampled(run, value, many))
    by = instruction.by()
    return Sample(run, many, builder.projection(by[-1]) if by else None)


def _sampled(run: Run, value: Value, many: int) -> Value:
    if isinstance(value, Map):
        pairs = list(value.items())
        return value if len(pairs) <= many else Map(run.random.sample(pairs, many))
    if local.is_collection(value):
        several = list(value)
        return value if len(several) <= many else run.random.sample(several, many)
    return value


class Grouping:
    """What ``group`` gathers: by key, the traversers that its value traversal has let through to its first barrier.

    Source: Grouping and GroupStep of TinkerPop 3.7.3.
    """

    def __init__(self, builder: Builder, instruction: Instruction) -> None:
        by = instruction.by()
        if len(by) > 2:
            raise TraversalError("group() takes a by() for the key and one for the value", ILLEGAL_STATE)
        self._run = builder.run
        self._key = builder.projection(by[0]) if by else IDENTITY
        self._before, self._after = self._parts(builder, by[1] if len(by) > 1 else None)

    def _parts(self, builder: Builder, by: syntax.Step | None) -> tuple[Chain, Chain | None]:
        fold = syntax.Traversal((syntax.Step("fold"),))
        projection = IDENTITY if by is None else builder.projection(by)
        if projection.chain is None:
            before = Chain(builder.run, () if projection.identity else (builder.projected(projection),))
            return before, builder.chain(fold)
        steps = projection.chain.steps
        at = next((at for at, step in enumerate(steps) if step.reduces or step.gathers), None)
        if at is None:
            return projection.chain, None
        return Chain(builder.run, steps[:at]), Chain(builder.run, steps[at:])

    def add(self, groups: dict[Hashable, tuple[Value, list[Traverser]]], traverser: Traverser) -> None:
        """Take one more in."""
        key = self._key.at(traverser)
        if key is MISSING:
            return
        if self._after is None:
            value = self._before.first(traverser)
            if value is not MISSING:
                groups[hashable(key)] = key, [Traverser(value)]
            return
        found = list(self._before.flow(iter((traverser.split(),))))
        self._run.hold(len(found))
        first = self._after.steps[0]
        if found or (isinstance(first, Reduce) and first.always):
            groups.setdefault(hashable(key), (key, []))[1].extend(found)

    def told(self, groups: dict[Hashable, tuple[Value, list[Traverser]]]) -> Map:
        """The map of what was gathered."""
        return Map((key, self._value(several)) for key, several in groups.values())

    def _value(self, several: list[Traverser]) -> Value:
        if self._after is None:
            return several[0].value
        for found in self._after.flow(iter([one.split() for one in several])):
            return found.value
        first = self._after.steps[0]
        return next((one.value for one in first.flow(iter(several), None)), None)


def _group(builder: Builder, instruction: Instruction) -> Step:
    if instruction.arguments:
        return builder.side_effect("group", instruction)
    grouping = Grouping(builder, instruction)

    def reduce(flow: Flow) -> Value:
        groups: dict[Hashable, tuple[Value, list[Traverser]]] = {}
        for traverser in flow:
            grouping.add(groups, traverser)
        return grouping.told(groups)

    return Reduce(builder, "group", reduce, always=True)


def _group_count(builder: Builder, instruction: Instruction) -> Step:
    if instruction.arguments:
        return builder.side_effect("groupCount", instruction)
    by = instruction.by()
    projection = builder.projection(by[-1]) if by else IDENTITY
    run = builder.run

    def reduce(flow: Flow) -> Value:
        counts = Map()
        for traverser in flow:
            key = projection.at(traverser)
            if key is not MISSING:
                run.tick()
                counts[key] = counts.get(key, 0) + traverser.bulk
        return Map((key, Long(many)) for key, many in counts.items())

    step = Reduce(builder, "groupCount", reduce, always=True)
    step.key = projection.key
    return step


def grow(tree: Tree, traverser: Traverser, ring: Ring, *, surely: bool = False) -> None:
    """Add a path to a tree. Raises TraversalError where a by() has nothing, if ``surely``."""
    for place, one in enumerate(path_of(traverser.trail).objects):
        told = ring[place].of(one)
        if told is MISSING:
            if surely:
                raise TraversalError("tree(): by() gives nothing of a place of the path", ILLEGAL_ARGUMENT)
            continue
        if told not in tree:
            tree[told] = Tree()
        tree = tree[told]


def _tree(builder: Builder, instruction: Instruction) -> Step:
    if instruction.arguments:
        return builder.side_effect("tree", instruction)
    ring = builder.ring(instruction)
    run = builder.run

    def reduce(flow: Flow) -> Value:
        tree = Tree()
        for traverser in flow:
            run.hold()
            grow(tree, traverser, ring)
        return tree

    return Reduce(builder, "tree", reduce, always=True)


class Cap(Step):
    """Gives what side effects have become, when all have come."""

    name = "cap"
    reduces = True

    def __init__(self, builder: Builder, keys: Sequence[str]) -> None:
        super().__init__()
        self._run, self._tracking, self._keys = builder.run, builder.tracking, keys

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """One value, or a map of several."""
        waves = state(kept, self, lambda: [0])
        for _ in upstream:
            self._run.tick()
        waves[0] += 1
        if waves[0] > 1:
            return
        effects = self._run.side_effects
        if len(self._keys) == 1:
            value = effects.final(self._keys[0])
        else:
            value = Map((key, effects.final(key)) for key in self._keys if key in effects)
        yield begun(self._run, value, tracking=self._tracking)


def _cap(builder: Builder, instruction: Instruction) -> Step:
    return Cap(builder, [builder.value(one) for one in instruction.arguments])


STEPS: dict[str, Build] = {
    "count": _count,
    "sum": _scoped_reduce(_total, local.total),
    "mean": _scoped_reduce(_mean, local.mean),
    "min": _scoped_reduce(_extreme(arithmetic.minimum), local.least),
    "max": _scoped_reduce(_extreme(arithmetic.maximum), local.greatest),
    "fold": _fold,
    "barrier": _barrier,
    "order": _order,
    "tail": _tail,
    "sample": _sample,
    "group": _group,
    "groupCount": _group_count,
    "tree": _tree,
    "cap": _cap,
}
