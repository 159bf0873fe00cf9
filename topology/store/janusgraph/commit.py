"""Batches → transactions, one after the other whatever hub they come from.

A batch that fits is one transaction, where those are whole: the gate, the writer's lease with the batch's number, a chunk of
the log, the elements. Another is announced on the head, its chunks are appended, and the last transaction moves ``committed``
past them: what lies behind that nobody reads. Its elements follow; whoever comes next finishes what a dead process left.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from gremlin_python.process.graph_traversal import GraphTraversal
from gremlin_python.process.traversal import P
from msgspec import structs

from topology.elements import Kind
from topology.store.interface import Batch, BehindError, StaleWriterError, StoreError, may_take
from topology.store.janusgraph import resources, write
from topology.store.janusgraph.connection import ConflictError, Connections
from topology.store.janusgraph.histories import histories
from topology.store.janusgraph.log import Head, Log, bucket, read_head
from topology.store.janusgraph.mirror import Mirror
from topology.store.janusgraph.projection import project
from topology.store.janusgraph.read import entries_after
from topology.store.janusgraph.records import Entry, chunks, pack
from topology.store.janusgraph.recovery import await_turn, finish
from topology.store.janusgraph.schema import EDGE, NODE, odd_keys
from topology.store.janusgraph.timeline import ROWS, Plan, Step, Work, groups, plan
from topology.store.janusgraph.vertices import Vertices

T = TypeVar("T")

Fill = Callable[[GraphTraversal], GraphTraversal]
"""Adds to a transaction."""

_LABELS = {Kind.NODE: NODE, Kind.EDGE: EDGE}

_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.3
_PENDING_US = 30_000_000
_TURN_US = 2_000_000
_BEATEN = 3  # times, after which a hub takes a turn: following the others takes longer than they take from batch to batch
_PATIENCE = 60.0  # seconds: longer than a dead hub's large batch keeps the others waiting, and many turns of a live one


class Lease(msgspec.Struct, frozen=True):
    """Who writes as one writer.

    Attributes:
        epoch: counts holders.
        holder: the one who has it.
        until: when it runs out, µs since the epoch.
        number: of the last batch in this epoch.
    """

    epoch: int = 0
    holder: str = ""
    until: int = 0
    number: int = 0


class Ranges:
    """Sequences, as ranges in order. Never changed: any thread may look."""

    def __init__(self, ranges: tuple[range, ...] = ()) -> None:
        self._ranges = ranges

    def and_then(self, first: int, last: int) -> Ranges:
        """These and those from first to last, which come after them; there may be none."""
        if last < first:
            return self
        before = self._ranges
        if before and before[-1].stop == first:
            return Ranges((*before[:-1], range(before[-1].start, last + 1)))
        return Ranges((*before, range(first, last + 1)))

    def after(self, sequence: int) -> Ranges:
        """Those of them that come after one."""
        left = (range(max(one.start, sequence + 1), one.stop) for one in self._ranges if one.stop > sequence + 1)
        return Ranges(tuple(left))

    def __contains__(self, sequence: int) -> bool:
        return any(sequence in one for one in self._ranges)

    def __len__(self) -> int:
        return sum(map(len, self._ranges))


class Committer:
    """Writes batches and leases. Not for several threads at once.

    Args:
        connections: to the server.
        owner: a name of this process that no other has.
        clock: µs since the epoch.
        transactional: whether what JanusGraph stands on commits a transaction whole (BerkeleyJE does, Cassandra does not).
        keep: takes the documents that were committed, as :meth:`topology.store.janusgraph.log.Log.keep_documents`.

    Attributes:
        log: as far as it is known here.
        mirror: what is there now.
        vertices: their IDs.
        conflicts: transactions that another hub's came before.
        ours: sequences that this process wrote, of late.
    """

    def __init__(
        self,
        connections: Connections,
        owner: str,
        clock: Callable[[], int],
        *,
        transactional: bool,
        keep: Callable[[str, dict[int, bytes], int], None],
    ) -> None:
        self._keep = keep
        self.connections = connections
        self.owner = owner
        self.clock = clock
        self._transactional = transactional
        self.log = Log(connections)
        self.mirror = Mirror()
        self.vertices = Vertices(connections, self._answered)
        self.conflicts = 0
        self._head: Head | None = None
        self._leases: dict[str, Lease] = {}
        self._watched: dict[str, tuple[Lease, float]] = {}  # of others, that we would have; since when they are so
        self.ours = Ranges()

    def lease(self, writer: str, holder: str, seconds: float) -> int:
        """As the interface says."""
        return self.again(lambda: self._lease(writer, holder, seconds))

    def last_number(self, writer: str, epoch: int) -> int:
        """As the interface says."""
        lease = _lease_of(self.connections.read(lambda g: read_head(g, writer)))
        return lease.number if lease.epoch == epoch else 0

    def commit(self, batch: Batch) -> int:
        """As the interface says of apply."""
        return self.again(lambda: self._commit(batch))

    def state(self, writer: str) -> tuple[Head, Lease]:
        """The head and a lease, as this process knows them or anew; all that was left undone is done then."""
        if self._head is None or writer not in self._leases:
            head = self.connections.run(lambda g: read_head(g, writer))
            if self._head is None or head.version != self._head.version:
                self._leases.clear()
            self._leases[writer] = _lease_of(head)
            self._head = head
            finish(self, head)
            self.log.refresh(self._head)
            self.mirror.follow(self.log, self._head.committed)
        return self._head, self._leases[writer]

    def gated(self, work: Fill, **sets: int) -> Head:
        """One transaction through the gate; returns the head after it. Raises ConflictError where another was first."""
        self._answered(lambda steps: work(steps).count().is_(P.gt(0)), **sets)
        assert self._head is not None
        return self._head

    def _answered(self, work: Fill, **sets: int) -> list[Any]:
        """As :meth:`gated`; returns what the traversal gives, which is at least one thing."""
        head = self._head
        assert head is not None
        found: list[Any] = self.connections.run(lambda g: work(write.gate(g, head.vertex, head.version, sets)).to_list())
        if not found:
            raise ConflictError("JanusGraph: another hub was first")
        self._head = structs.replace(head, version=head.version + 1, **sets)
        return found

    def forget_head(self) -> None:
        """Read the head anew next time."""
        self._head = None

    def again(self, work: Callable[[], T]) -> T:
        """Do something until nobody comes between; after a minute raises ConflictError."""
        wait, until, beaten = _FIRST_WAIT, time.monotonic() + _PATIENCE, 0
        while True:
            try:
                if beaten >= _BEATEN:
                    self._take_turn()
                found = work()
                if beaten >= _BEATEN:
                    self._end_turn()
            except ConflictError:
                self._head = None
                self.conflicts += 1
                beaten += 1
                if time.monotonic() > until:
                    raise
                time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - only spreads the retries
                wait = min(2 * wait, _LONGEST_WAIT)
            except BaseException:
                self._head = None  # what is known here may not be what was written
                raise
            else:
                return found

    def _take_turn(self) -> None:
        """Keep the others from writing for a moment."""
        self._head = head = self.connections.run(lambda g: read_head(g, ""))
        await_turn(self, head)
        if head.pending <= head.committed:  # else finishing that comes first
            self.gated(partial(write.with_owner, owner=self.owner), until=self.clock() + _TURN_US)
        self._head = None

    def _end_turn(self) -> None:
        """It would run out, too."""
        if self._head is not None and self._head.until:
            with contextlib.suppress(StoreError):
                self.gated(lambda steps: steps, until=0)
                return
            self._head = None

    def _lease(self, writer: str, holder: str, seconds: float) -> int:
        _, lease = self.state(writer)
        now = self.clock()
        others = lease.holder and lease.holder != holder
        if others and not may_take(holder, lease.holder, expired=lease.until <= now or self._silent(writer, lease, seconds)):
            raise StaleWriterError(f"{writer} is written by {lease.holder}: stop that one, or wait {seconds:g} s")
        until = now + int(seconds * 1e6)
        new = structs.replace(lease, until=until) if lease.holder == holder else Lease(lease.epoch + 1, holder, until)
        self._set_lease(writer, new)
        self._leases[writer] = new
        self._watched.pop(writer, None)
        return new.epoch

    def _silent(self, writer: str, lease: Lease, seconds: float) -> bool:
        """Whether a lease is not renewed as long as we look on: it may have been given by a clock that is far ahead of ours."""
        known, since = self._watched.get(writer, (None, 0.0))
        if known != lease:
            known, since = self._watched[writer] = lease, time.monotonic()
        return time.monotonic() - since > seconds

    def _commit(self, batch: Batch) -> int:
        head, lease = self.state(batch.writer)
        if batch.epoch < lease.epoch:
            raise StaleWriterError(f"{batch.writer} is written by a later process (epoch {lease.epoch}, ours {batch.epoch})")
        if batch.epoch == lease.epoch and batch.number <= lease.number:
            return head.committed
        if batch.seen is not None:
            self._look(batch, batch.seen, head.committed)
        new = structs.replace(lease, number=batch.number)
        if batch.epoch > lease.epoch:
            new = Lease(batch.epoch, "", 0, batch.number)
        planned = plan(batch, self.mirror.tails, lambda ids: self._histories(batch, ids), head.committed)
        self.find_vertices(planned.works)
        parts = [pack(part) for part in chunks(planned.entries)]
        sets = {
            "committed": head.committed + len(planned.entries),
            "revisions": head.revisions + len(planned.entries),
            "size": head.size + sum(len(entries) + len(documents) for entries, documents in parts),
        }
        odd = _odd(head, planned)
        small = not parts or (self._transactional and len(parts) == 1 and len(planned.entries) <= ROWS)
        writer = self.vertices.system(f"writer/{batch.writer}")

        note = batch.note
        kept = self.vertices.system(resources.name_of(note.kind, note.id)) if note else None

        def noted(steps: GraphTraversal) -> GraphTraversal:
            steps = steps if odd == head.odd else write.with_odd(steps, odd or "")
            steps = resources.with_note(steps, kept, note) if note else steps
            return write.with_lease(steps, writer, _text(new))

        (self._at_once if small else self._in_parts)(noted, planned, parts, sets)
        assert self._head is not None
        self._head = structs.replace(self._head, odd=odd)
        self._leases[batch.writer] = new
        for part in chunks(planned.entries):
            self.log.append([entry for entry, _ in part])
            documents = {entry.sequence: document for entry, document in part}
            self._keep(f"bucket/{bucket(part[0][0].sequence)}", documents, sets["committed"])
        self.ours = self.ours.and_then(head.committed + 1, sets["committed"])
        self.mirror.take(planned.works, sets["committed"])
        if not small:
            self._apply_elements(planned.works)
        for work in planned.works:
            if work.tail is None:
                self.vertices.forget(work.id)
        return sets["committed"]

    def _look(self, batch: Batch, seen: int, committed: int) -> None:
        """Raise BehindError where others changed what a batch builds on."""
        self.ours = self.ours.after(seen)
        if committed - seen == len(self.ours):
            return
        changed = {one.id for one in entries_after(self.log, seen) if one.sequence not in self.ours}
        built_on = {
            id_ for one in batch.changes for id_ in (one.id, *((one.state.parent, one.state.child) if one.state else ()))
        }
        if changed & built_on:
            raise BehindError("another hub changed the same: look again")

    def _at_once(self, noted: Fill, planned: Plan, parts: list[tuple[str, str]], sets: dict[str, int]) -> None:
        rows = project(planned.works, self.vertices.known)
        page = self._page(planned.entries[0][0]) if parts else None

        def fill(steps: GraphTraversal) -> GraphTraversal:
            for part in parts:
                steps = write.with_chunk(steps, page, part)
            return write.with_rows(noted(steps), rows)

        self.gated(fill, applied=sets["committed"], **sets)

    def _in_parts(self, noted: Fill, planned: Plan, parts: list[tuple[str, str]], sets: dict[str, int]) -> None:
        pending = {"pending": sets["committed"], "until": self.clock() + _PENDING_US}
        self.gated(partial(write.with_owner, owner=self.owner), **pending)
        for part, chunk in zip(chunks(planned.entries), parts, strict=True):
            self.gated(partial(write.with_chunk, vertex=self._page(part[0][0]), chunk=chunk))
        self.gated(noted, pending=0, until=0, **sets)

    def _set_lease(self, writer: str, lease: Lease) -> None:
        vertex = self.vertices.system(f"writer/{writer}")
        self.gated(partial(write.with_lease, vertex=vertex, lease=_text(lease)))

    def _page(self, first: Entry) -> object:
        return self.vertices.system(f"bucket/{bucket(first.sequence)}")

    def _histories(self, batch: Batch, ids: Iterable[str]) -> Mapping[str, tuple[int, list[Step]]]:
        """Of elements that are not there, or have late changes; new ones get their vertices."""
        wanted = set(ids)
        labels = {change.id: _LABELS[change.state.kind] for change in batch.changes if change.state and change.id in wanted}
        there = self.vertices.make(labels) | self.vertices.find(wanted - labels.keys())
        return histories(self.connections, {id_: self.vertices.known[id_] for id_ in there})

    def find_vertices(self, works: list[Work]) -> None:
        """Of the elements, and of the nodes that edges are between."""
        labels: dict[str, str] = {}
        for work in works:
            labels[work.id] = _LABELS[work.steps[-1].kind]
            for one in work.steps:
                if one.state is not None and one.kind is Kind.EDGE:
                    labels.setdefault(one.state.parent, NODE)
                    labels.setdefault(one.state.child, NODE)
        missing = {id_: label for id_, label in labels.items() if id_ not in self.vertices.known}
        if missing:
            self.vertices.make(missing)

    def _apply_elements(self, works: list[Work]) -> None:
        """The batch is committed; only the elements' vertices are behind, and whoever comes next would do this."""
        assert self._head is not None
        try:
            for part in groups(works):
                self.gated(partial(write.with_rows, rows=project(part, self.vertices.known)))
            self.gated(lambda steps: steps, applied=self._head.committed)
        except StoreError:
            self._head = None

    def rewrite(self, page: str, kept: Callable[[Entry], Entry | None], place: str = "", **sets: int) -> None:
        """Write a page of the log anew, with what is kept of each entry."""
        fresh = Log(self.connections)
        entries = [entry for entry in map(kept, fresh.entries([page])[page]) if entry is not None]
        documents = fresh.documents({page: {entry.sequence for entry in entries}})
        texts = [pack(part) for part in chunks((entry, documents[entry.sequence]) for entry in entries)]
        self.gated(partial(write.with_page, vertex=self.vertices.system(page), place=place, chunks=texts), **sets)


def _odd(head: Head, planned: Plan) -> str | None:
    """The odd keys with what is new."""
    if head.odd is None:
        return None
    new = (one.state for work in planned.works for one in work.steps if one.entry.sequence in work.new and one.state)
    return " ".join(sorted({*head.odd.split()}.union(*map(odd_keys, new))))


def _text(lease: Lease) -> str:
    return msgspec.json.encode(lease).decode()


def _lease_of(head: Head) -> Lease:
    return msgspec.json.decode(head.lease, type=Lease) if head.lease else Lease()
