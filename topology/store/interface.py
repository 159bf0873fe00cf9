"""What every store does: take changes, and answer what was when.

Contract, for all stores (tests/contract):

* A batch is applied whole or not at all, with its note, once: one that is known by its writer and number is passed over.
* A change says from when on an element is so (``at``). It holds until the element's next change, by ``at``; of two with the
  same ``at`` the one recorded later holds, and the earlier is never seen as of any time. A change may come late: what was
  recorded before for later times stays as it is.
* A change to what the element was already at that time makes no revision.
* ``as_of(t)`` gives for each element the revision with from ≤ t < to; ``between(a, b)`` those with from ≤ b and to > a.
* The feed gives revisions and deletions in the order they were recorded.
* What :meth:`Store.apply` returned for survives the death of the process at any moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from skytrail.errors import RunError
from topology.elements import Revision, State
from topology.store.traversal import Moment


class StoreError(RunError):
    """The store cannot do it now; says why and what to do. Nothing of a batch was applied."""


class AwayError(StoreError):
    """The store does not answer, or went away: it may be there later. Whether the last request was done is not known."""


class StaleWriterError(StoreError):
    """Another process took over as this writer (a later epoch): stop writing."""


class BehindError(StoreError):
    """Another process changed some of the same since the writer looked: look again, and write what is right then."""


@dataclass(frozen=True, slots=True)
class Change:
    """From ``at`` (µs since the epoch, observed) on the element ``id`` is so, or, with None, is no more."""

    id: str
    at: int
    state: State | None


@dataclass(frozen=True, slots=True)
class Note:
    """A resource, as :meth:`Store.put_resource` takes it, that is there when a batch is, and only then. It never goes.

    A batch with one never waits in a spool: who sends what it notes keeps that until it is in the store, and may go to another
    hub with it.
    """

    kind: str
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that become visible at once.

    Attributes:
        writer: who writes: the source, or the linker, or the rule; one process at a time.
        epoch: of the writer's lease; a later one shuts out earlier ones.
        number: counts the writer's batches within its epoch, from 1.
        recorded: the hub's clock, µs since the epoch.
        changes: in the order they happened.
        note: what is kept with them, in the place of the one of its ID.
        seen: sequence of the feed up to which the writer knows what others changed; None: it is the only one.
    """

    writer: str
    epoch: int
    number: int
    recorded: int
    changes: tuple[Change, ...]
    note: Note | None = None
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one element between two times. ``before`` None: it was added; ``after`` None: it was removed."""

    id: str
    before: Revision | None
    after: Revision | None


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention did: how many revisions it removed and how many are left."""

    removed: int
    left: int


@dataclass(frozen=True, slots=True)
class Health:
    """How a store is.

    Attributes:
        failure: why it cannot write; None: it can.
        elements: nodes and edges that are there now.
        revisions: all that are kept.
        size: bytes in use, as :meth:`Store.retain` counts them.
        sequence: of the latest entry in the feed.
        waiting: batches that wait in a spool.
    """

    failure: str | None
    elements: int
    revisions: int
    size: int
    sequence: int
    waiting: int = 0


def may_take(holder: str, before: str, *, expired: bool) -> bool:
    """Whether a holder may take what another one held: that ran out, or it comes after it (:meth:`Store.lease`)."""
    (owner, number), (owner_before, number_before) = _parts(holder), _parts(before)
    return expired or (owner == owner_before and number >= number_before)


def _parts(holder: str) -> tuple[str, int]:
    owner, _, rest = holder.partition("/")
    number = rest.partition("/")[0]
    return owner, int(number[1:]) if number[:1] == "#" and number[1:].isdecimal() else 0


class Store(Protocol):
    """A graph with its history. For any thread. All methods raise StoreError where the store cannot answer.

    Attributes:
        shared: whether other processes may write to it, too.
    """

    shared: bool

    def lease(self, writer: str, holder: str, seconds: float) -> int:
        """Become the one who writes as ``writer``, or stay it: returns the epoch.

        A holder is a process; what stands before a ``/`` in its name is whose process it is, who has one at a time. So one
        of the same takes over at once, in a later epoch: what was on its way from the one before is refused then. Where a
        number follows (``outbox/#7/…``), processes are counted: one of a lower number does not take over from a higher.

        Raises:
            StaleWriterError: another holder's lease has not run out.
        """
        ...

    def last_number(self, writer: str, epoch: int) -> int:
        """The number of the last batch applied for that writer in that epoch; 0: none."""
        ...

    def apply(self, batch: Batch) -> int:
        """Apply a batch; returns the feed's latest sequence then.

        Raises:
            StaleWriterError: the writer's lease has a later epoch.
            BehindError: others changed some of these elements, or nodes of these edges, after what the writer has seen.
        """
        ...

    def current(self) -> Iterator[Revision]:
        """All elements that are there now."""
        ...

    def moment(self, when: int | None = None) -> Moment:
        """The graph at a moment, or now, to be asked by a traversal: it stays as it is, whatever is written meanwhile."""
        ...

    def as_of(self, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """The graph at a moment; of some elements only, with ``ids``."""
        ...

    def between(self, begin: int, end: int, ids: Collection[str] | None = None) -> Iterator[Revision]:
        """All revisions of a range of time, both ends included, by when they began."""
        ...

    def diff(self, first: int, second: int) -> Iterator[Difference]:
        """What was different at the second time from the first; what changed and changed back meanwhile is not."""
        ...

    def feed(self, after: int, limit: int) -> list[Revision]:
        """Revisions and deletions recorded after that sequence, in order, at most so many."""
        ...

    def changed_by_others(self, after: int) -> tuple[int, set[str]]:
        """Elements that other processes changed after a sequence; and up to which sequence that is."""
        ...

    def retain(self, before: int | None = None, size: int | None = None) -> Retained:
        """Remove revisions that ended before a time, and the oldest that ended while there are more bytes than ``size``."""
        ...

    def resources(self, kind: str) -> dict[str, bytes]:
        """What is kept beside the graph, of a kind, by ID: rules."""
        ...

    def put_resource(self, kind: str, id_: str, body: bytes | None) -> None:
        """Keep one, in the place of the one of that ID; None: keep it no more. It is kept when this returns."""
        ...

    def health(self) -> Health:
        """How it is. Never raises."""
        ...

    def close(self) -> None:
        """Finish what is under way and let go of everything."""
        ...
