"""Short words for the contract suite: states, batches, what a store answers."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable
from typing import Any

from topology.elements import FOREVER, Part, Revision, State
from topology.store.interface import Batch, Change, Note, Store

T = 1_700_000_000_000_000
"""A moment, µs since the epoch; the tests' times count from it."""

_numbers = itertools.count(1)


def element(name: object) -> str:
    """The ID of an element."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


def node(**metadata: Any) -> State:
    """A state of a node."""
    return State("host1", "agent.host1", {"netlink": Part.of(metadata)}, "host/x/link/y")


def edge(parent: str, child: str, **metadata: Any) -> State:
    """A state of an edge."""
    return State("host1", "agent.host1", {"netlink": Part.of(metadata)}, parent=parent, child=child)


def batch(
    *changes: tuple[str, int, State | None],
    writer: str = "w",
    epoch: int = 1,
    number: int | None = None,
    note: Note | None = None,
) -> Batch:
    """A batch of (element, time from T on, state); numbered on unless a number is given."""
    made = tuple(Change(id_, T + at, state) for id_, at, state in changes)
    return Batch(writer, epoch, number or next(_numbers), T, made, note)


def apply(store: Store, *changes: tuple[str, int, State | None]) -> int:
    """Apply changes as one batch."""
    return store.apply(batch(*changes))


def states(revisions: Iterable[Revision]) -> dict[str, State | None]:
    """What is what, by ID; each once."""
    found = list(revisions)
    by_id = {one.id: one.state for one in found}
    assert len(by_id) == len(found)
    return by_id


def at(store: Store, when: int) -> dict[str, State | None]:
    """The graph at a time from T on."""
    return states(store.as_of(T + when))


def interval(revision: Revision) -> tuple[int, int | None]:
    """From and to, from T on; None: open."""
    return revision.updated_at - T, None if revision.archived_at == FOREVER else revision.archived_at - T
