"""A traversal on a graph → its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gremlin_api.errors import NO_SUCH_ELEMENT, VERIFICATION, TraversalError
from gremlin_api.interpreter import arithmetic
from gremlin_api.interpreter.build import Builder, tracks
from gremlin_api.interpreter.bulking import bulked
from gremlin_api.interpreter.chain import Chain
from gremlin_api.interpreter.decoration import decorated
from gremlin_api.interpreter.pushdown import pushed
from gremlin_api.interpreter.run import Run, TooMuchError
from gremlin_api.interpreter.steps.local import items
from gremlin_api.interpreter.steps.profile import profiled
from gremlin_api.interpreter.steps.sideeffects import add_all
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language.render import render_step
from gremlin_api.language.syntax import Argument, ListValue, Step, Strategy, Traversal
from gremlin_api.values import BulkSet, Explanation, OrderedSet, Presence, Stage, Value


def answers(traversal: Traversal, run: Run) -> Iterator[Value]:
    """All that a query gives, as a Gremlin Server tells it: lazily, each as often as it is there.

    Raises:
        TraversalError: at once, where it cannot be built; later, where it cannot go on.
    """
    if traversal.terminal is None:
        return _values(flow(traversal, run), run)
    value = result(traversal, run)
    return items(value)


def result(traversal: Traversal, run: Run) -> Value:
    """What a traversal with a terminal step gives."""
    terminal = traversal.terminal
    assert terminal is not None
    if terminal.name == "explain":
        return _explained(traversal, run)
    return _TERMINALS[terminal.name](_values(flow(traversal, run), run), terminal.arguments)


def flow(traversal: Traversal, run: Run) -> Iterator[Traverser]:
    """The traversers that come out."""
    chain = _chain(traversal, run)
    return chain.flow(iter((Traverser(None, 1, None, run.sack),)))


def _decorated(traversal: Traversal) -> Traversal:
    """As its strategies have it."""
    return decorated(traversal, _strategies(traversal))


def _chain(traversal: Traversal, run: Run) -> Chain:
    _verify(traversal)
    traversal = _decorated(traversal)
    builder = Builder(run, tracking=tracks(traversal))
    for step in traversal.source or ():
        _SOURCE[step.name](builder, *step.arguments)
    chain = builder.chain(Traversal(traversal.steps, ()), source=True)
    steps = pushed(run, list(chain.steps), tracking=builder.tracking)
    return Chain(run, profiled(bulked(run, steps, tracking=builder.tracking)))


def _verify(traversal: Traversal) -> None:
    """What StandardVerificationStrategy refuses, and EdgeLabelVerificationStrategy, where it is asked for."""
    for strategy in _strategies(traversal):
        if strategy.name == "EdgeLabelVerificationStrategy" and dict(strategy.arguments).get("throwException") is True:
            _check_labels(traversal.steps)
    profiles = [place for place, step in enumerate(traversal.steps) if step.name == "profile"]
    if len(profiles) > 1:
        raise TraversalError("profile() stands once", VERIFICATION)
    if profiles and [step.name for step in traversal.steps[profiles[0] + 1 :]] not in ([], ["cap"], ["none"], ["cap", "none"]):
        raise TraversalError("profile() is the last step, or only cap() follows it", VERIFICATION)


_TO_NEIGHBOURS = frozenset({"out", "in", "both", "outE", "inE", "bothE", "to", "toE"})


def _check_labels(steps: Iterable[Step]) -> None:
    """What EdgeLabelVerificationStrategy refuses."""
    for step in steps:
        labels = step.arguments[1:] if step.name in ("to", "toE") else step.arguments
        if step.name in _TO_NEIGHBOURS and not labels:
            raise TraversalError(f"{step.name}() says no label, and EdgeLabelVerificationStrategy asks for one", VERIFICATION)
        for one in step.arguments:
            if isinstance(one, Traversal):
                _check_labels(one.steps)


def _strategies(traversal: Traversal) -> list[Strategy]:
    told = [step for step in traversal.source or () if step.name == "withStrategies"]
    return [one for step in told for one in step.arguments if isinstance(one, Strategy)]


def _explained(traversal: Traversal, run: Run) -> Explanation:
    """What would be run; it is not."""
    original = tuple(map(render_step, traversal.steps))
    changed = tuple(map(render_step, _decorated(traversal).steps))
    stages = () if changed == original else (Stage("SubgraphStrategy", "Decoration", changed),)
    return Explanation(original, stages, tuple(text for step in _chain(traversal, run).steps for text in step.shown))


def _values(flow: Iterator[Traverser], run: Run) -> Iterator[Value]:
    left = run.allowance.results
    for traverser in flow:
        left -= traverser.bulk
        if left < 0:
            raise TooMuchError(f"there are more than {run.allowance.results} answers: ask for less")
        for _ in range(traverser.bulk):
            yield traverser.value


def _next(values: Iterator[Value], arguments: tuple[Argument, ...]) -> Value:
    if arguments:
        (many,) = arguments
        assert isinstance(many, int)
        return [value for value, _ in zip(values, range(many), strict=False)]
    for value in values:
        return value
    raise TraversalError("next(): there is nothing", NO_SUCH_ELEMENT)


def _bulk_set(values: Iterator[Value]) -> BulkSet:
    found = BulkSet()
    for value in values:
        found.add(value)
    return found


def _iterate(values: Iterator[Value]) -> list[Value]:
    for _ in values:
        pass
    return []


_TERMINALS: dict[str, Callable[[Iterator[Value], tuple[Argument, ...]], Value]] = {
    "next": _next,
    "hasNext": lambda values, _: any(True for _ in values),
    "toList": lambda values, _: list(values),
    "toSet": lambda values, _: OrderedSet(values),
    "toBulkSet": lambda values, _: _bulk_set(values),
    "iterate": lambda values, _: _iterate(values),
    "tryNext": lambda values, _: next((Presence(present=True, value=one) for one in values), Presence(present=False)),
}


def _with_sack(builder: Builder, initial: Argument, operator: Argument = None) -> None:
    builder.run.sack = builder.value(initial)
    if operator is not None:
        builder.run.merge = arithmetic.OPERATORS[builder.value(operator).name]


def _with_side_effect(builder: Builder, key: Argument, initial: Argument, operator: Argument = None) -> None:
    value = builder.value(initial)
    reducer = None if operator is None else arithmetic.OPERATORS[builder.value(operator).name]
    if reducer is arithmetic.OPERATORS["addAll"]:
        reducer = add_all
    builder.run.side_effects.declare(builder.value(key), value, reducer)


def _with_bulk(builder: Builder, bulk: Argument) -> None:
    builder.run.bulk = bool(builder.value(bulk))


def _with_strategies(builder: Builder, *strategies: Argument) -> None:
    for strategy in strategies:
        assert isinstance(strategy, Strategy)
        arguments = dict(strategy.arguments)
        if strategy.name == "SeedStrategy":
            builder.run.random.seed(builder.value(arguments["seed"]))
        elif strategy.name == "ProductiveByStrategy":
            builder.productive = frozenset(builder.value(arguments.get("productiveKeys", ListValue(()))))


_SOURCE: dict[str, Callable[..., None]] = {
    "withSack": _with_sack,
    "withSideEffect": _with_side_effect,
    "withBulk": _with_bulk,
    "withPath": lambda _: None,
    "with": lambda *_: None,
    "withStrategies": _with_strategies,
}
