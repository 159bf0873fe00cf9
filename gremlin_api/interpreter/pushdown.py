"""The leading steps that the graph answers by itself: counts by its indexes, and walks, where its store walks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gremlin_api.errors import TraversalError
from gremlin_api.graphs.view import Walk
from gremlin_api.interpreter.bulking import bulked
from gremlin_api.interpreter.chain import Chain, FlatMap, Flow, Kept, Step
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.barriers import Reduce, begun
from gremlin_api.interpreter.steps.filters import Dedup, Has, Range
from gremlin_api.interpreter.steps.graph import Elements
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.numbers import Long
from gremlin_api.values import Map, Value
from topology.store import traversal as walks
from topology.store.traversal import UNRELATED, UNTYPED, Compare, Count, Edges, Ends, Hop, Ids, Limit, Nodes, WalkStep


class Pushed(Step):
    """What an index answers; where it turns out not to, the steps do it.

    Attributes:
        steps: in the place of which it stands.
    """

    def __init__(self, run: Run, steps: Sequence[Step], told: Callable[[], Value], *, tracking: bool) -> None:
        super().__init__()
        self.steps, self._run, self._told, self._tracking = steps, run, told, tracking
        self.name = ".".join(step.name for step in steps)
        self.reduces = True

    @property
    def shown(self) -> list[str]:
        """What explain() tells of it: one, where an index answers."""
        if self._told() is None:
            return [text for step in self.steps for text in step.shown]
        return [f"index[{'.'.join(step.text for step in self.steps)}]"]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """The one value."""
        value = self._told()
        if value is None:
            yield from Chain(self._run, self.steps).flow(upstream, kept)
        else:
            yield begun(self._run, value, tracking=self._tracking)


class Walking(Step):
    """What a store answers at once, so far as it does; the steps do the rest.

    Args:
        run: that they belong to.
        steps: in the place of which it stands.
        walk: the same as the store says them.
        after: how many of ``walk`` each step and those before it are.
    """

    def __init__(self, run: Run, steps: Sequence[Step], walk: Sequence[WalkStep], after: Sequence[int]) -> None:
        super().__init__()
        self.name = ".".join(step.name for step in steps)
        self.steps, self._run, self._walk, self._after = steps, run, walk, after
        self.reduces = steps[-1].reduces

    @property
    def shown(self) -> list[str]:
        """What explain() tells of it: the store is asked how far it walks."""
        _, taken = self._walked()
        texts = [text for step in self.steps[taken:] for text in step.shown]
        return [f"store[{'.'.join(step.text for step in self.steps[:taken])}]", *texts] if taken else texts

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """All that comes out of the steps."""
        walk, taken = self._walked()
        if walk is None or not taken:
            yield from self._rest(0).flow(upstream, kept)
            return
        yield from self._rest(taken).flow(self._begun(walk), kept)

    def _rest(self, taken: int) -> Chain:
        return Chain(self._run, bulked(self._run, self.steps[taken:], tracking=False))

    def _walked(self) -> tuple[Walk | None, int]:
        """What the store says, and of how many steps that is the answer; 0: of none."""
        graph, steps = self._run.graph, self._walk
        walk = graph.walk(steps)
        done = 0 if walk is None else walk.steps
        if done < len(steps) and isinstance(last := steps[done], Hop | Ends) and last.where:
            further = graph.walk([*steps[:done], replace(last, where=())])  # what it cannot compare, the steps can
            if further is not None and further.steps == done + 1:
                return further, self._after.index(done + 1) + 1
        if walk is None or done not in self._after:
            return None, 0
        return walk, len(self._after) - self._after[::-1].index(done)

    def _begun(self, walk: Walk) -> Flow:
        if isinstance(walk.found, int):
            yield begun(self._run, Long(walk.found), tracking=False)
            return
        for element, many in walk.found:
            self._run.hold()
            yield Traverser(element, many, None, self._run.sack)


def _walks(run: Run, steps: Sequence[Step]) -> Walking | None:
    """The leading steps that a store may walk, as one; None: there are not two."""
    walk: list[WalkStep] = []
    after: list[int] = []
    for step in steps:
        told = _as_walk(step, walk)
        if told is None:
            break
        walk[:] = told
        after.append(len(walk))
        if step.reduces or step.labels:
            break
    return Walking(run, steps[: len(after)], walk, after) if len(after) > 1 else None


def _as_walk(step: Step, before: Sequence[WalkStep]) -> list[WalkStep] | None:
    """A walk with a step more; None: it is none."""
    found: WalkStep | None = None
    if step.labels and not isinstance(step, FlatMap | Elements):
        return None
    if isinstance(step, Elements):
        return _beginning(step) if not before else None
    if isinstance(step, FlatMap):
        found = step.walk
    elif isinstance(step, Has):
        return _narrower(before, step.conditions)
    elif isinstance(step, Reduce) and step.name == "count":
        found = Count()
    elif isinstance(step, Range) and step.low == 0 and step.high >= 0:
        found = Limit(step.high)
    elif isinstance(step, Dedup) and step.is_plain:
        found = walks.Dedup()
    return None if found is None else [*before, found]


def _beginning(elements: Elements) -> list[WalkStep] | None:
    if not elements.first or elements.labels:
        return None
    where = _compared(elements.conditions, edges=not elements.vertices)
    if where is None:
        return None
    begin: WalkStep = Nodes(where) if elements.vertices else Edges(where)
    if elements.ids is None:
        return [begin]
    if not all(isinstance(one, str) for one in elements.ids) or len(set(elements.ids)) < len(elements.ids):
        return None  # an ID that is said twice is found twice
    return [begin, Ids(tuple(elements.ids))]


def _narrower(before: Sequence[WalkStep], conditions: Sequence[Condition]) -> list[WalkStep] | None:
    """A walk whose last step has conditions more."""
    last = before[-1]
    if not isinstance(last, Hop | Ends):
        return None
    where = _compared(conditions, edges=isinstance(last, Hop) and last.to_edges)
    return None if where is None else [*before[:-1], replace(last, where=(*last.where, *where))]


def _compared(conditions: Sequence[Condition], *, edges: bool) -> tuple[Compare, ...] | None:
    """Conditions as a store says them; None: it cannot."""
    found: list[Compare] = []
    for one in conditions:
        key = one.key if not one.about else ("RelationType" if edges else "Type") if one.about == "label" else None
        if key is None or one.compared is None or (one.about and _may_be_untold(one, edges=edges)):
            return None
        found.append(Compare(key, *one.compared))
    return tuple(found)


def _may_be_untold(one: Condition, *, edges: bool) -> bool:
    """Whether a label may pass of which no RelationType or Type tells; an empty Type tells of another label."""
    try:
        return any(map(one.passes, (UNRELATED,) if edges else (UNTYPED, "")))
    except TraversalError:
        return True


def pushed(run: Run, steps: list[Step], *, tracking: bool) -> list[Step]:
    """The steps of a whole traversal, with those at its beginning that the graph answers as one."""
    if len(steps) < 2 or not run.pushes:
        return steps
    counted = _indexed(run, steps, tracking=tracking)
    if counted is not None:
        return counted
    walking = _walks(run, steps) if run.graph.walks and run.bulk and run.sack is None and not tracking else None
    return steps if walking is None else [walking, *steps[len(walking.steps) :]]


def _indexed(run: Run, steps: list[Step], *, tracking: bool) -> list[Step] | None:
    first, second = steps[:2]
    if not isinstance(first, Elements) or not first.pushes or not isinstance(second, Reduce):
        return None
    told = _telling(run, first, second)
    return None if told is None else [Pushed(run, steps[:2], told, tracking=tracking), *steps[2:]]


def _telling(run: Run, elements: Elements, reduce: Reduce) -> Callable[[], Value] | None:
    graph = run.graph

    def count() -> Value:
        found = graph.tally(vertices=elements.vertices, conditions=elements.conditions)
        return None if found is None else Long(found)

    def count_by_key() -> Value:
        found = None if reduce.key is None else graph.counted(reduce.key)
        return None if found is None else Map((value, Long(many)) for value, many in found)

    if reduce.name == "count":
        return count
    if reduce.name == "groupCount" and reduce.key is not None and elements.vertices and not elements.conditions:
        return count_by_key
    return None
