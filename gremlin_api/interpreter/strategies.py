"""What is made of a traversal's steps before they are built: infix ``and`` and ``or``. Source: ConnectiveStrategy."""

from __future__ import annotations

from collections.abc import Sequence

from gremlin_api.interpreter.instructions import Instruction, folded
from gremlin_api.language.syntax import Step, Traversal

_NOTHING = (Step("none"),)
_STOPS = frozenset({"inject", "profile"})


def instructions_of(traversal: Traversal, *, source: bool = False) -> list[Instruction]:
    """The instructions of a traversal; ``source``: its first step begins at the graph."""
    return folded(connected(traversal.steps, source=source))


def connected(steps: Sequence[Step], *, source: bool = False) -> tuple[Step, ...]:
    """``a().or().b()`` as ``or(a(), b())``; ``and`` binds more tightly."""
    for name in ("or", "and"):
        at = next((at for at, step in enumerate(steps) if step.name == name and not step.arguments), None)
        if at is None:
            continue
        low = next((place + 1 for place in range(at - 1, -1, -1) if _stops(steps, place, source=source)), 0)
        while low < at and steps[low].name == "as" and low > 0:
            low += 1
        high = next((place for place in range(at + 1, len(steps)) if steps[place].name in _STOPS), len(steps))
        parts: list[list[Step]] = [[]]
        for step in steps[low:high]:
            if step.name == name and not step.arguments:
                parts.append([])
            else:
                parts[-1].append(step)
        children = tuple(Traversal(connected(part or _NOTHING)) for part in parts)
        joined = Step(name, children, steps[at].at)
        return connected((*steps[:low], joined, *steps[high:]), source=source)
    return tuple(steps)


def _stops(steps: Sequence[Step], place: int, *, source: bool) -> bool:
    return steps[place].name in _STOPS or (source and place == 0)
