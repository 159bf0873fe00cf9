"""What a label stands for, seen from a traverser: a key of a map, a side effect, a place of the path. Source: Scoping."""

from __future__ import annotations

from gremlin_api.errors import UNKNOWN_LABEL, TraversalError
from gremlin_api.interpreter.chain import MISSING
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.traverser import Trail, Traverser, labelled
from gremlin_api.values import Map, Value

LAST = "last"


def scoped(run: Run, traverser: Traverser, key: Value, pop: str | None = LAST) -> Value:
    """What the key stands for; ``MISSING``: nothing."""
    if isinstance(traverser.value, Map) and key in traverser.value:
        return traverser.value[key]
    if not isinstance(key, str):
        return MISSING
    if key in run.side_effects:
        return run.side_effects[key]
    return popped(traverser.trail, key, pop)


def popped(trail: Trail | None, label: str, pop: str | None) -> Value:
    """What a path has under a label: ``first``, ``last``, ``all``, or ``mixed``: one alone as it is, several as a list."""
    found = labelled(trail, label)
    if pop == LAST:
        return next(found, MISSING)
    several = list(found)[::-1]
    if not several:
        return MISSING
    if pop == "first":
        return several[0]
    if pop == "all":
        return several
    return several[0] if len(several) == 1 else several


def surely_scoped(run: Run, traverser: Traverser, key: Value) -> Value:
    """What the key stands for. Raises TraversalError where it stands for nothing."""
    found = scoped(run, traverser, key)
    if found is MISSING:
        raise TraversalError(f"neither the map, the side effects nor the path has '{key}'", UNKNOWN_LABEL)
    return found
