"""``where`` with a traversal that begins or ends at labels. Source: WhereTraversalStep of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, TraversalError
from gremlin_api.interpreter.chain import Chain, Filter, Flow, Kept, Step
from gremlin_api.interpreter.instructions import START, Instruction
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.scope import surely_scoped
from gremlin_api.interpreter.strategies import instructions_of
from gremlin_api.language.syntax import Predicate, Traversal
from gremlin_api.values import Value, hashable

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

_CONNECTIVE = ("and", "or", "not")


def has_variables(traversal: Traversal) -> bool:
    """Whether it begins or ends at a label (TraversalHelper.getVariableLocations)."""
    instructions = instructions_of(traversal)
    first, last = instructions[0], instructions[-1]
    if last.labels or (first.name == START and len(first.labels) == 1) or _keyed(first) or _keyed(last):
        return True
    return first.name in (*_CONNECTIVE, "match") and any(
        isinstance(one, Traversal) and has_variables(one) for one in first.arguments
    )


def _keyed(instruction: Instruction) -> bool:
    """Whether it is ``where('a', eq('b'))``."""
    return instruction.name == "where" and len(instruction.arguments) == 2


class _Matched:
    """What the end is to be, of the traverser under test."""

    value: Value = None


class _Begin(Step):
    name = "where"

    def __init__(self, run: Run, start: str | None, end: str | None, matched: _Matched) -> None:
        super().__init__()
        self._run, self._start, self._end, self._matched = run, start, end, matched

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        for traverser in upstream:
            if self._end is not None:
                self._matched.value = surely_scoped(self._run, traverser, self._end)
            yield traverser if self._start is None else traverser.to(surely_scoped(self._run, traverser, self._start))


def where_traversal(builder: Builder, traversal: Traversal) -> Step:
    """The filter."""
    chain = _where_chain(builder, instructions_of(traversal))
    step = Filter("where", chain.test)
    step.nested = [chain]
    return step


def _where_chain(builder: Builder, instructions: Sequence[Instruction]) -> Chain:
    steps: list[Step] = []
    first, *rest = instructions
    last = instructions[-1]
    end: str | None = None
    ending = last.labels if len(instructions) > 1 or first.name != START else ()
    if len(ending) > 1:
        raise TraversalError("where(): the last step has one label, not several", ILLEGAL_ARGUMENT)
    if ending:
        end = ending[0]
    matched = _Matched()
    if first.name in _CONNECTIVE and first.arguments and not isinstance(first.arguments[0], Predicate):
        steps.append(_connective(builder, first))
        remaining = rest
    elif first.name == START and len(first.labels) == 1:
        steps.append(_Begin(builder.run, first.labels[0], end, matched))
        remaining = rest
    else:
        if end is not None:
            steps.append(_Begin(builder.run, None, end, matched))
        remaining = list(instructions)
    if end is not None and remaining:
        remaining = [*remaining[:-1], Instruction(last.name, last.arguments, (), last.modulators, last.at)]
    steps.extend(builder.steps(remaining, inner=True))
    if end is not None:
        steps.append(Filter("where", lambda traverser: hashable(traverser.value) == hashable(matched.value), inner=True))
    return Chain(builder.run, steps)


def _connective(builder: Builder, instruction: Instruction) -> Step:
    chains = [_where_chain(builder, instructions_of(one)) for one in instruction.arguments if isinstance(one, Traversal)]
    if instruction.name == "not":
        return Filter("not", lambda traverser: not chains[0].test(traverser), inner=True)
    test = all if instruction.name == "and" else any
    return Filter(instruction.name, lambda traverser: test(chain.test(traverser) for chain in chains), inner=True)
