"""The store in JanusGraph: :class:`topology.store.interface.Store` over a Gremlin Server."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from topology.elements import FOREVER, Revision
from topology.store.interface import AwayError, Batch, Difference, Health, Retained, StoreError
from topology.store.janusgraph import read, resources, retention, schema
from topology.store.janusgraph.checkpoints import maintain
from topology.store.janusgraph.commit import Committer
from topology.store.janusgraph.connection import ConflictError, Connections
from topology.store.janusgraph.log import Head, Log, read_head
from topology.store.janusgraph.moment import JanusGraphMoment, Later, tells
from topology.store.janusgraph.spool import Spool
from topology.store.traversal import Listed, Moment

_TRIES = 3


@dataclass(slots=True)
class _Held:
    """A lease of ours as it was last known. ``number``: of the last batch taken in it; None: not known."""

    holder: str
    epoch: int
    number: int | None = None


class JanusGraphStore:
    """The graph in JanusGraph. Several processes may have it open.

    Args:
        url: ``ws://host:port/gremlin``.
        source: the name of the traversal source there.
        timeout: seconds that a request may take.
        connections: how many requests run at once.
        username: for servers that ask for one.
        password: likewise.
        spool: file for batches that come while the server is away; None: those fail.
        spool_bytes: its greatest size.
        transactional: whether what JanusGraph stands on commits a transaction whole. With Cassandra it does not: then each
            batch is several transactions, so that what dies between leaves nothing half done.
        clock: µs since the epoch.

    Attributes:
        spool: what waits; None without one.

    Raises:
        StoreError: the schema cannot be made. A server that is away is no error where there is a spool.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        source: str = "g",
        timeout: float = 60.0,
        connections: int = 4,
        username: str = "",
        password: str = "",
        spool: Path | None = None,
        spool_bytes: int = 256 << 20,
        transactional: bool = True,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._connections = Connections(
            url, source=source, timeout=timeout, count=connections, username=username, password=password
        )
        self._lock = threading.Lock()  # of what writes
        self._reading = threading.Lock()
        self._log = Log(self._connections)
        self._committer = Committer(
            self._connections, uuid.uuid4().hex, clock, transactional=transactional, keep=self._log.keep_documents
        )
        self._migrating = threading.Lock()
        self._migrated = False
        self._held: dict[str, _Held] = {}
        self._seen: Head | None = None
        self._unchanged: Head | None = None  # nobody had written since when it was last asked about
        self.spool: Spool | None = None
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._connections.close)
            try:
                self._migrate()
            except AwayError:
                if spool is None:
                    raise
            if spool is not None:
                self.spool = Spool(spool, spool_bytes, self._write)
            on_failure.pop_all()

    @property
    def conflicts(self) -> int:
        """How often a transaction had to be done again because another came first."""
        return self._committer.conflicts

    def lease(self, writer: str, holder: str, seconds: float) -> int:
        """As the interface says."""
        held = self._held.get(writer)
        ours = held is not None and held.holder == holder and self.spool is not None
        if held and ours and self._waits():
            return held.epoch  # what comes now waits, too; if another took over meanwhile, it is refused
        try:
            with self._lock:
                self._migrate()
                epoch = self._committer.lease(writer, holder, seconds)
        except AwayError:
            if held and ours:
                return held.epoch
            raise
        if held is None or (held.holder, held.epoch) != (holder, epoch):
            self._held[writer] = _Held(holder, epoch)
        return epoch

    def last_number(self, writer: str, epoch: int) -> int:
        """As the interface says."""
        waiting = self.spool.last_number(writer, epoch) if self.spool else 0
        if waiting:
            return waiting
        held = self._held.get(writer)
        ours = held if held is not None and held.epoch == epoch else None
        try:
            with self._lock:
                self._migrate()
                number = self._committer.last_number(writer, epoch)
        except AwayError:
            if ours is None or ours.number is None or self.spool is None:
                raise
            return ours.number
        if ours is not None:
            ours.number = number
        return number

    def apply(self, batch: Batch) -> int:
        """As the interface says; or the batch waits in the spool, and the sequence is the latest known."""
        sequence = self.spool.write(batch) if self.spool is not None else self._write(batch)
        held = self._held.get(batch.writer)
        if held and held.epoch == batch.epoch:
            held.number = max(held.number or 0, batch.number)
        return sequence

    def current(self) -> Iterator[Revision]:
        """As the interface says."""
        yield from self.as_of(FOREVER - 1)

    def moment(self, when: int | None = None) -> Moment:
        """The graph at a moment, or now, to be asked by a traversal."""
        self._migrate()
        before = self._unchanged
        head = before or self.newest_head()
        if tells(head, when):
            return JanusGraphMoment(self._connections, self, head, when, guessed=before is not None)
        return Listed(self.current() if when is None else self.as_of(when))

    def as_recorded(self, head: Head, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """As :class:`topology.store.janusgraph.moment.Records` says."""

        def find(now: Head) -> list[read.Found]:
            if now.generation != head.generation and now.forgotten > min(when, read.latest_until(self._log, head.committed)):
                raise StoreError("what was asked for has just been forgotten: ask again")
            found = read.at_time(self._log, when, ids, head.committed)
            read.complete(self._log, found, {}, head.committed)
            return found

        return self._read(find)

    def later(self, head: Head) -> Later:
        """As :class:`topology.store.janusgraph.moment.Records` says."""
        with self._reading:
            now, since = self._refresh(), head.committed
            return Later(now, read.entries_after(self._log, since), read.latest_until(self._log, since))

    def newest_head(self) -> Head:
        """As :class:`topology.store.janusgraph.moment.Records` says."""
        self._unchanged = None
        return self._connections.read(lambda g: read_head(g, ""))

    def keep_head(self, head: Head) -> None:
        """As :class:`topology.store.janusgraph.moment.Records` says."""
        self._unchanged = head

    def as_of(self, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """As the interface says."""
        return self._read(lambda head: self._complete(head, read.at_time(self._log, when, ids)))

    def between(self, begin: int, end: int, ids: Collection[str] | None = None) -> Iterator[Revision]:
        """As the interface says."""
        with self._reading:
            head = self._refresh()
            found = read.in_range(self._log, begin, end, ids)
            self._complete(head, found)
        yield from self._revisions([one for one in found if one.entry.to > begin])

    def diff(self, first: int, second: int) -> Iterator[Difference]:
        """As the interface says."""
        with self._reading:
            head = self._refresh()
            before = {one.entry.id: one for one in read.at_time(self._log, first, None)}
            after = {one.entry.id: one for one in read.at_time(self._log, second, None)}
            same = {id_ for id_ in before.keys() & after.keys() if before[id_].entry.sequence == after[id_].entry.sequence}
            old = [one for id_, one in before.items() if id_ not in same]
            new = [one for id_, one in after.items() if id_ not in same]
            self._complete(head, [*old, *new])
        found = list(self._revisions([*old, *new]))  # their documents are read at once
        was, now = ({one.id: one for one in part} for part in (found[: len(old)], found[len(old) :]))
        for id_ in was.keys() | now.keys():
            one, other = was.get(id_), now.get(id_)
            if one is None or other is None or one.state != other.state:
                yield Difference(id_, one, other)

    def feed(self, after: int, limit: int) -> list[Revision]:
        """As the interface says."""
        return self._read(lambda head: self._complete(head, read.recorded_after(self._log, after, limit)))

    def changed_by_others(self, after: int) -> tuple[int, set[str]]:
        """As the interface says."""
        with self._reading:
            head = self._refresh()
            ours = self._committer.ours
            return head.committed, {one.id for one in read.entries_after(self._log, after) if one.sequence not in ours}

    def retain(self, before: int | None = None, size: int | None = None) -> Retained:
        """As the interface says."""
        with self._lock:
            self._migrate()
            return self._committer.again(lambda: retention.retain(self._committer, before, size))

    def resources(self, kind: str) -> dict[str, bytes]:
        """As the interface says."""
        self._migrate()
        return resources.read(self._connections, kind)

    def put_resource(self, kind: str, id_: str, body: bytes | None) -> None:
        """As the interface says."""
        self._migrate()
        self._committer.again(lambda: resources.put(self._connections, kind, id_, body))

    def health(self) -> Health:
        """As the interface says."""
        mirror = self._committer.mirror
        if self.spool is not None and (failure := self.spool.failure) is not None:
            return self._away(failure)  # it is tried all the time
        try:
            self._migrate()
            self._seen = head = self._connections.read(lambda g: read_head(g, ""))
            if mirror.sequence != head.committed:
                self._follow()
        except StoreError as error:
            return self._away(str(error))
        return Health(None, len(mirror.tails), head.revisions, head.size, head.committed, self._waits())

    def _away(self, failure: str) -> Health:
        seen, mirror = self._seen, self._committer.mirror
        revisions, size = (seen.revisions, seen.size) if seen else (0, 0)
        return Health(failure, len(mirror.tails), revisions, size, mirror.sequence, self._waits())

    def _waits(self) -> int:
        return self.spool.waiting if self.spool else 0

    def close(self) -> None:
        """As the interface says."""
        if self.spool is not None:
            self.spool.close()
        self._connections.close()

    def _write(self, batch: Batch) -> int:
        with self._lock:
            self._migrate()
            before = self._committer.mirror.sequence
            committed = self._committer.commit(batch)
            self._unchanged = None
            maintain(self._committer, before)
            return committed

    def _migrate(self) -> None:
        with self._migrating:
            if not self._migrated:
                schema.migrate(self._connections)
                self._migrated = True

    def _follow(self) -> None:
        """Take in what others wrote, unless somebody writes just now: whoever asks how we are does not wait for that."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._committer.forget_head()
            self._committer.state("")
        except BaseException as error:
            self._committer.forget_head()
            if not isinstance(error, ConflictError):
                raise
        finally:
            self._lock.release()

    def _read(self, find: Callable[[Head], list[read.Found]]) -> list[Revision]:
        for attempt in range(_TRIES):
            with self._reading:
                found = find(self._refresh())
            try:
                return list(read.revisions(self._log, found))
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError

    def _refresh(self) -> Head:
        self._migrate()
        head = self._connections.read(lambda g: read_head(g, ""))
        self._log.refresh(head)
        return head

    def _complete(self, head: Head, found: list[read.Found]) -> list[read.Found]:
        mirror = self._committer.mirror
        read.complete(self._log, found, mirror.tails if mirror.sequence >= head.committed else {})
        return found

    def _revisions(self, found: list[read.Found]) -> Iterator[Revision]:
        return read.revisions(self._log, found)
