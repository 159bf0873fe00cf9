"""Steps that keep something beside, and let all go on: aggregate, store, group('x'), sack, subgraph, sideEffect."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, UNSUPPORTED, TraversalError
from gremlin_api.interpreter import arithmetic
from gremlin_api.interpreter.chain import MISSING, Flow, Kept, Step, state
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.projection import IDENTITY, Projection
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.barriers import Grouping, begun, grow
from gremlin_api.interpreter.steps.family import Build, scope_and_rest
from gremlin_api.interpreter.steps.graph import expect
from gremlin_api.interpreter.traverser import Gathered, Traverser
from gremlin_api.language.syntax import EnumValue, Traversal
from gremlin_api.numbers import Long
from gremlin_api.values import BulkSet, Edge, Graph, Map, Tree, Value, hashable

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder


class Aside(Step):
    """Does something with each, and lets it go on."""

    moves = False

    def __init__(self, name: str, work: Callable[[Traverser], object]) -> None:
        super().__init__()
        self.name, self._work = name, work

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same."""
        work = self._work
        for traverser in upstream:
            work(traverser)
            yield traverser


def add_all(held: Value, more: Value) -> Value:
    """The items of ``more``, which is a bulk set, are put into ``held`` (Operator.addAll)."""
    if isinstance(held, Map):
        raise arithmetic.wrong_type(more, "java.util.Map")
    if isinstance(held, BulkSet):
        for item, times in more.counts.items():
            held.add(item, times)
        return held
    return arithmetic.OPERATORS["addAll"](held, list(more) if isinstance(more, BulkSet) else more)


def _collecting(builder: Builder, key: str) -> Callable[[BulkSet], None]:
    """Puts a bulk set into the side effect of that key."""
    effects = builder.run.side_effects
    effects.register(key, BulkSet, add_all)

    def put(found: BulkSet) -> None:
        if effects.reducer(key) in (add_all, arithmetic.OPERATORS["addAll"], arithmetic.OPERATORS["assign"]):
            effects.add(key, found)
        else:
            for item in found:
                effects.add(key, item)

    return put


def _aggregate(builder: Builder, instruction: Instruction) -> Step:
    scope, (key,) = scope_and_rest(builder, instruction)
    by = instruction.by()
    projection = builder.projection(by[-1]) if by else IDENTITY
    put = _collecting(builder, key)
    if scope == "local" or instruction.name == "store":
        return Aside(instruction.name, lambda traverser: put(_gathered([traverser], projection)))
    return Aggregate(builder.run, projection, put)


def _gathered(several: list[Traverser], projection: Projection) -> BulkSet:
    found = BulkSet()
    for traverser in several:
        value = projection.at(traverser)
        if value is not MISSING:
            found.add(value, traverser.bulk)
    return found


class Aggregate(Step):
    """Keeps all before it lets one go on."""

    name = "aggregate"
    moves = False

    def __init__(self, run: Run, projection: Projection, put: Callable[[BulkSet], None]) -> None:
        super().__init__()
        self._run, self._projection, self._put = run, projection, put

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same, later."""
        several: list[Traverser] = []
        for traverser in upstream:
            self._run.hold()
            several.append(traverser)
        if not several:
            return
        self._put(_gathered(several, self._projection))
        if self._run.bulk:
            gathered = Gathered(self._run.merge)
            for traverser in several:
                gathered.add(traverser)
            several = list(gathered.take())
        yield from several


def _group(builder: Builder, instruction: Instruction) -> Step:
    key, grouping = builder.value(instruction.arguments[0]), Grouping(builder, instruction)
    effects = builder.run.side_effects
    groups: dict[Hashable, tuple[Value, list[Traverser]]] = effects.shared(key, dict)
    effects.register(key, Map, None)
    effects.finish(key, lambda _: grouping.told(groups))

    def work(traverser: Traverser) -> None:
        _check_map(effects[key])
        grouping.add(groups, traverser)

    return Aside("group", work)


def _check_map(held: Value) -> None:
    if not isinstance(held, Map):
        raise arithmetic.wrong_type(held, "java.util.Map")


def _group_count(builder: Builder, instruction: Instruction) -> Step:
    key, by = builder.value(instruction.arguments[0]), instruction.by()
    projection = builder.projection(by[-1]) if by else IDENTITY
    effects = builder.run.side_effects
    effects.register(key, Map, _add_counts)

    def work(traverser: Traverser) -> None:
        told = projection.at(traverser)
        if told is MISSING:
            raise TraversalError(f"groupCount('{key}'): by() gives nothing of a traverser", ILLEGAL_ARGUMENT)
        effects.add(key, Map([(told, Long(traverser.bulk))]))

    return Aside("groupCount", work)


def _add_counts(held: Value, more: Map) -> Map:
    _check_map(held)
    _check_map(more)
    for key, many in more.items():
        held[key] = Long(held.get(key, 0) + many)
    return held  # type: ignore[no-any-return]  # as was seen


def _tree(builder: Builder, instruction: Instruction) -> Step:
    key, ring, effects = builder.value(instruction.arguments[0]), builder.ring(instruction), builder.run.side_effects
    effects.register(key, Tree, lambda _, tree: tree)
    return Aside("tree", lambda traverser: grow(effects[key], traverser, ring, surely=True))


def _subgraph(builder: Builder, instruction: Instruction) -> Step:
    (key,) = map(builder.value, instruction.arguments)
    effects, run = builder.run.side_effects, builder.run
    effects.register(key, lambda: Graph([], []), lambda _, graph: graph)
    there: set[Hashable] = effects.shared(f"subgraph {key}", set)

    def work(traverser: Traverser) -> None:
        edge: Edge = expect(traverser.value, Edge, "subgraph")
        graph = effects[key]
        for end in (edge.out, edge.into):
            if hashable(end) not in there:
                run.hold()
                there.add(hashable(end))
                graph.vertices.append(end)
        if hashable(edge) not in there:
            run.hold()
            there.add(hashable(edge))
            graph.edges.append(edge)

    return Aside("subgraph", work)


def _sack(builder: Builder, instruction: Instruction) -> Step:
    run = builder.run
    if not instruction.arguments:
        return builder.told("sack", lambda traverser: traverser.sack)
    operator = arithmetic.OPERATORS[builder.value(instruction.arguments[0]).name]
    by = instruction.by()
    projection = builder.projection(by[-1]) if by else IDENTITY
    return SackValue(run, operator, projection)


class SackValue(Step):
    """Puts into the sack what an operator makes of it and of a value; without one it ends there."""

    name = "sack"
    moves = False

    def __init__(self, run: Run, operator: Callable[[Value, Value], Value], projection: Projection) -> None:
        super().__init__()
        self._run, self._operator, self._projection = run, operator, projection

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The same, with other sacks."""
        for traverser in upstream:
            value = self._projection.at(traverser)
            if value is not MISSING:
                traverser.sack = self._operator(traverser.sack, value)
                yield traverser


def _side_effect(builder: Builder, instruction: Instruction) -> Step:
    (argument,) = instruction.arguments
    assert isinstance(argument, Traversal)
    chain = builder.chain(argument)

    def work(traverser: Traverser) -> None:
        for _ in chain.results(traverser):
            pass

    step = Aside("sideEffect", work)
    step.nested = [chain]
    return step


class Inject(Step):
    """Gives values first, then what comes."""

    name = "inject"

    def __init__(self, builder: Builder, values: list[Value]) -> None:
        super().__init__()
        self._run, self._tracking, self._values = builder.run, builder.tracking, values
        self._first = builder.at_source()
        self._last = builder.begins() and not self._first

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """The values once, and what comes: before them where the step is the first of a nested traversal."""
        waves = state(kept, self, lambda: [0])
        waves[0] += 1
        if self._last:
            yield from upstream
        if waves[0] == 1:
            yield from self._injected()
        if not self._first and not self._last:
            yield from upstream

    def _injected(self) -> Flow:
        """A traverser for each value; those that are the same have become one, at the place of the first."""
        injected = (begun(self._run, value, tracking=self._tracking) for value in self._values)
        if not self._run.bulk:
            return injected
        gathered = Gathered(self._run.merge)
        for traverser in injected:
            gathered.add(traverser)
        return gathered.take()


def _inject(builder: Builder, instruction: Instruction) -> Step:
    values = [builder.value(one) for one in instruction.arguments]
    if any(isinstance(one, EnumValue) and one.enum == "DT" for one in values):
        raise TraversalError("inject() takes no units of time", UNSUPPORTED)
    return Inject(builder, values)


def _fail(builder: Builder, instruction: Instruction) -> Step:
    message = builder.value(instruction.arguments[0]) if instruction.arguments else "fail() step triggered"

    def work(_: Traverser) -> None:
        raise TraversalError(
            str(message), "org.apache.tinkerpop.gremlin.process.traversal.step.sideEffect.FailStep$FailException"
        )

    return Aside("fail", work)


SIDE_EFFECT_FORMS: dict[str, Build] = {"group": _group, "groupCount": _group_count, "tree": _tree}
"""Of steps that are side effects where they are given a key."""

STEPS: dict[str, Build] = {
    "aggregate": _aggregate,
    "store": _aggregate,
    "subgraph": _subgraph,
    "sack": _sack,
    "sideEffect": _side_effect,
    "inject": _inject,
    "fail": _fail,
    "identity": lambda _, __: Aside("identity", lambda _: None),
}
