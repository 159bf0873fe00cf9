"""The leading steps that the graph's indexes answer by themselves: counts, and counts by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gremlin_api.interpreter.chain import Chain, Flow, Kept, Step
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.barriers import Reduce, begun
from gremlin_api.interpreter.steps.graph import Elements
from gremlin_api.numbers import Long
from gremlin_api.values import Map, Value


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


def pushed(run: Run, steps: list[Step], *, tracking: bool) -> list[Step]:
    """The steps of a whole traversal, with those at its beginning that an index answers as one."""
    if len(steps) < 2 or not run.pushes:
        return steps
    first, second = steps[:2]
    if not isinstance(first, Elements) or not first.pushes or not isinstance(second, Reduce):
        return steps
    told = _telling(run, first, second)
    return steps if told is None else [Pushed(run, steps[:2], told, tracking=tracking), *steps[2:]]


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
