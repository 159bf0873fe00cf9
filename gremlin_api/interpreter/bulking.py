"""Where traversers that meet become one, on the way to a count or a group. Source: LazyBarrierStrategy of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Sequence

from gremlin_api.interpreter.chain import Step
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.barriers import Barrier

_SPREADING = frozenset({
    "V", "E", "out", "in", "both", "to", "inV", "outV", "bothV", "toV", "values", "properties", "unfold", "flatMap", "coalesce",
})  # fmt: skip
"""Steps after which there are more traversers, and some may be the same."""

_CUTTING = frozenset({"range", "tail", "sample", "coin", "timeLimit"})
"""Steps that want no more than they need, or choose among what comes."""

_ENOUGH = 2500  # traversers that are waited for


def bulked(run: Run, steps: Sequence[Step], *, tracking: bool) -> list[Step]:
    """The steps of a whole traversal, with barriers where that saves work; each answer is the same without them.

    Only on the way to a step that makes one of all is anything waited for: other answers come as soon as they can. Where the
    path counts no two traversers are the same; where sacks are merged, whoever asks says by barrier() where.
    """
    if tracking or not run.bulk or run.merge is not None:
        return list(steps)
    found: list[Step] = []
    spread = labelled = False
    for place, step in enumerate(steps):
        found.append(step)
        labelled = labelled or bool(step.labels)
        if step.name in _SPREADING:
            if spread and not labelled and _worthwhile(steps[place + 1 :]):
                found.append(Barrier(run, _ENOUGH))
            spread = True
    return found


def _worthwhile(rest: Sequence[Step]) -> bool:
    """Whether what comes next is not a barrier itself, and all that comes is made one of."""
    if not rest or rest[0].reduces or rest[0].gathers or rest[0].name in ("barrier", "aggregate"):
        return False
    for step in rest:
        if step.name in _CUTTING or step.name == "profile":
            return False
        if step.reduces:
            return True
    return False
