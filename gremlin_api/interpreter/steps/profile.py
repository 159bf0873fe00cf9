"""``profile``: what each step took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.steps.barriers import begun
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.values import Metrics, TraversalMetrics

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder


class Timed(Step):
    """A step under the clock: its own time and that of the steps before it."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step, self.name, self.moves = step, step.name, step.moves
        self.reduces, self.gathers, self.nested = step.reduces, step.gathers, step.nested
        self.spent = self.traversers = self.elements = 0

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:
        """What comes out of the step."""
        found = self.step.flow(upstream, kept)
        clock = time.perf_counter_ns
        while True:
            before = clock()
            traverser = next(found, None)
            self.spent += clock() - before
            if traverser is None:
                return
            self.traversers += 1
            self.elements += traverser.bulk
            yield traverser


class Profile(Step):
    """Tells what the steps before it took, when all have come; with a key, as that side effect, and lets all go on."""

    name = "profile"
    reduces = True

    def __init__(self, builder: Builder, key: str | None) -> None:
        super().__init__()
        self._run, self._tracking, self._key = builder.run, builder.tracking, key
        self.timed: Sequence[Timed] = ()
        if key is not None:
            self.moves = self.reduces = False
            builder.run.side_effects.register(key, self._told, None)
            builder.run.side_effects.finish(key, lambda _: self._told())

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """The one value, or the same."""
        if self._key is not None:
            yield from upstream
            return
        for _ in upstream:
            self._run.tick()
        yield begun(self._run, self._told(), tracking=self._tracking)

    def _told(self) -> TraversalMetrics:
        total = self.timed[-1].spent if self.timed else 0
        metrics = []
        before = 0
        for place, step in enumerate(self.timed):
            own = max(step.spent - before, 0)
            before = step.spent
            counts = {"traverserCount": step.traversers, "elementCount": step.elements} if step.traversers else {}
            share = 100.0 * own / total if total else 0.0
            metrics.append(Metrics(f"{place}.0.0()", step.name, own, counts, {"percentDur": share}))
        return TraversalMetrics(total, tuple(metrics))


def profiled(steps: list[Step]) -> list[Step]:
    """The steps with those before a profile under the clock."""
    at = next((place for place, step in enumerate(steps) if isinstance(step, Profile)), None)
    if at is None:
        return steps
    timed = [Timed(step) for step in steps[:at]]
    profile = steps[at]
    assert isinstance(profile, Profile)
    profile.timed = timed
    return [*timed, *steps[at:]]


def _profile(builder: Builder, instruction: Instruction) -> Step:
    return Profile(builder, builder.value(instruction.arguments[0]) if instruction.arguments else None)


STEPS: dict[str, Build] = {"profile": _profile}
