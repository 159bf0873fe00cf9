"""A naive model of what every store must answer: the accepted operations of each element as a list. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FOREVER = 2**63 - 1


@dataclass
class Model:
    """Operations (at, order, state or None) by element, as they were accepted."""

    operations: dict[str, list[tuple[int, int, Any]]] = field(default_factory=dict)
    order: int = 0

    def apply(self, changes: Iterable[tuple[str, int, Any]]) -> None:
        """Take changes (element, at, state or None), one after the other; what changes nothing is not taken."""
        for element, at, state in changes:
            if self.state(element, at) == state:
                continue
            self.order += 1
            self.operations.setdefault(element, []).append((at, self.order, state))
            self.operations[element].sort(key=lambda one: one[:2])

    def state(self, element: str, at: int) -> Any:
        """What an element was at a time; None: nothing."""
        last = None
        for when, _, state in self.operations.get(element, []):
            if when <= at:
                last = state
        return last

    def as_of(self, at: int) -> dict[str, Any]:
        """All elements at a time."""
        found = {element: self.state(element, at) for element in self.operations}
        return {element: state for element, state in found.items() if state is not None}

    def between(self, begin: int, end: int) -> set[tuple[str, int, int, str]]:
        """Revisions (element, from, to, state) with from <= end and to > begin."""
        found = set()
        for element, operations in self.operations.items():
            for (at, _, state), after in zip(operations, [*operations[1:], (FOREVER, 0, None)], strict=True):
                if state is not None and at <= end and after[0] > begin:
                    found.add((element, at, after[0], repr(state)))
        return found

    def created(self, element: str, at: int) -> int:
        """When the life began in which an element is at a time."""
        began = 0
        alive = False
        for when, _, state in self.operations[element]:
            if when > at:
                break
            if state is not None and not alive:
                began = when
            alive = state is not None
        return began
