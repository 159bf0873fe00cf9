"""The embedded store: :class:`topology.store.interface.Store` on one file, for one process."""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import structlog

from topology.elements import FOREVER, Revision
from topology.store.embedded import reading, retention
from topology.store.embedded.checkpoint import Checkpointer
from topology.store.embedded.had import Traces
from topology.store.embedded.index import Indexes, revision_of
from topology.store.embedded.noting import Noting
from topology.store.embedded.packing import unpack
from topology.store.embedded.past import Pasts
from topology.store.embedded.schema import connect, prepare
from topology.store.embedded.soundness import RESTORE, Soundness, refuse_lost
from topology.store.embedded.writing import Live, Writing
from topology.store.folder import hold
from topology.store.interface import Batch, Difference, Health, Retained, StaleWriterError, StoreError, may_take
from topology.store.traversal import Moment

T = TypeVar("T")

_log = structlog.get_logger(__name__)

FILE = "graph.sqlite"
_READERS = 4
_DAMAGED = (zlib.error, struct.error, msgspec.MsgspecError, UnicodeDecodeError)
_WRITES = frozenset({"write", "lease"})
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on that disk; nothing stored is lost",
    sqlite3.SQLITE_CORRUPT: RESTORE,
    sqlite3.SQLITE_NOTADB: f"{RESTORE}, or move it away",
    sqlite3.SQLITE_READONLY: "make it writable",
    sqlite3.SQLITE_CANTOPEN: "make its folder writable, or set state_dir",
    sqlite3.SQLITE_IOERR: "look at the disk (dmesg); nothing stored is lost",
}


class EmbeddedStore:
    """The graph in ``folder``; one process has it open at a time.

    Args:
        folder: made if it is missing.
        synchronous: ``normal`` survives the death of the process, ``full`` that of the machine too, for an fsync a batch.
        clock: µs since the epoch.

    Raises:
        StoreError: another process has it, or the file cannot be read or written.
    """

    shared = False

    def __init__(
        self,
        folder: Path,
        *,
        synchronous: Literal["normal", "full"] = "normal",
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._path, self._clock = folder / FILE, clock
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._looking = threading.Lock()  # holds what is there now, and never while the file is waited for
        self._indexes = Indexes(self._live, self._looking)
        self._traces = Traces()
        self._pasts = Pasts(self._read, self._traces, self._indexes)
        self._sweeping = retention.Sweeping()
        self._sequence = 0
        self._leased: set[str] = set()  # since the file was opened
        self._failure: str | None = None
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._reading = threading.BoundedSemaphore(_READERS)
        with contextlib.ExitStack() as on_failure:
            self._held = hold(folder)
            on_failure.callback(os.close, self._held)
            with self._errors("open"):
                refuse_lost(self._path)
                self._database = connect(self._path, synchronous=synchronous)
                on_failure.callback(self._database.close)
                prepare(self._database, self._path)
                self._load()
                self.soundness = Soundness(self._path)
                on_failure.callback(self.soundness.close)
                self._checkpointer = Checkpointer(self._path, synchronous=synchronous)
                on_failure.callback(self._checkpointer.close)
                self.noting = Noting(self._read, self._write)
            on_failure.pop_all()

    def lease(self, writer: str, holder: str, seconds: float) -> int:
        """As the interface says. A lease from before the file was opened has ended, for we have it alone."""
        now = self._clock()
        until = now + int(seconds * 1e6)
        with self._lock, self._errors("lease"), self._transaction():
            found = self._database.execute("SELECT epoch, holder, until FROM writer WHERE name = ?", (writer,)).fetchone()
            if found is None:
                epoch = 1
                self._database.execute("INSERT INTO writer VALUES (?, ?, ?, ?, 0)", (writer, epoch, holder, until))
            elif found[1] == holder:
                epoch = int(found[0])
                self._database.execute("UPDATE writer SET until = ? WHERE name = ?", (until, writer))
            elif not may_take(holder, found[1], expired=found[2] <= now or writer not in self._leased):
                raise StaleWriterError(f"{writer} is written by {found[1]}: stop that one, or wait {seconds:g} s")
            else:
                epoch = int(found[0]) + 1
                values = (epoch, holder, until, writer)
                self._database.execute("UPDATE writer SET epoch = ?, holder = ?, until = ?, number = 0 WHERE name = ?", values)
        self._leased.add(writer)
        return epoch

    def last_number(self, writer: str, epoch: int) -> int:
        """The number of the last batch applied for that writer in that epoch; 0: none."""
        with self._lock, self._errors("read"):
            found = self._database.execute("SELECT epoch, number FROM writer WHERE name = ?", (writer,)).fetchone()
        return int(found[1]) if found and found[0] == epoch else 0

    def apply(self, batch: Batch) -> int:
        """Apply a batch in one transaction."""
        with self._lock, self._errors("write"), self._transaction():
            if self._is_new(batch):
                writing = Writing(self._database, self._live, self._sequence, batch.recorded, self._traces)
                with self._pasts.changing(self._database, batch.changes):
                    for change in batch.changes:
                        writing.take(change)
                    writing.finish()
                    if batch.note is not None:
                        self._put(batch.note.kind, batch.note.id, batch.note.body)
                    self._database.execute("COMMIT")
                    self._traces.committed()
                self._take(writing)
                self._checkpointer.wrote(len(batch.changes))
            return self._sequence

    def _is_new(self, batch: Batch) -> bool:
        """Whether a batch is to be applied; notes that it was."""
        found = self._database.execute("SELECT epoch, number FROM writer WHERE name = ?", (batch.writer,)).fetchone()
        epoch, number = found or (0, 0)
        if batch.epoch < epoch:
            raise StaleWriterError(f"{batch.writer} is written by a later process (epoch {epoch}, ours {batch.epoch})")
        if batch.epoch == epoch and batch.number <= number:
            return False
        self._database.execute(
            "INSERT INTO writer VALUES (:name, :epoch, '', 0, :number)"
            " ON CONFLICT (name) DO UPDATE SET epoch = :epoch, number = :number",
            {"name": batch.writer, "epoch": batch.epoch, "number": batch.number},
        )
        return True

    def _take(self, writing: Writing) -> None:
        with self._looking:
            self._sequence = writing.sequence
            for id_, live in writing.came.items():
                self._indexes.changed(id_, self._live.get(id_))
                if live is None:
                    self._live.pop(id_, None)
                else:
                    self._live[id_] = live

    def current(self) -> Iterator[Revision]:
        """All that is there now, from memory."""
        with self._looking:
            found = list(self._live.values())
        return self._decoded(found)

    def _decoded(self, found: list[Live]) -> Iterator[Revision]:
        with self._errors("read"):
            yield from map(revision_of, found)

    def moment(self, when: int | None = None) -> Moment:
        """The graph at a moment, or now, to be asked by a traversal."""
        return self._indexes.moment() if when is None else self._pasts.at(when, traced=self.noting.over)

    def as_of(self, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """The graph at a moment."""
        return self._read(lambda database: reading.as_of(database, when, ids))

    def between(self, begin: int, end: int, ids: Collection[str] | None = None) -> Iterator[Revision]:
        """All revisions of a range of time."""
        return self._stream(lambda database: reading.between(database, begin, end, ids))

    def diff(self, first: int, second: int) -> Iterator[Difference]:
        """What was different at the second time from the first."""
        return self._stream(lambda database: reading.diff(database, first, second))

    def feed(self, after: int, limit: int) -> list[Revision]:
        """Revisions and deletions recorded after that sequence."""
        return self._read(lambda database: reading.feed(database, after, limit))

    def changed_by_others(self, after: int) -> tuple[int, set[str]]:  # noqa: ARG002 - the interface's
        """Nobody: we have it alone."""
        return self._sequence, set()

    def retain(self, before: int | None = None, size: int | None = None) -> Retained:
        """Remove what ended before a time, and the oldest that ended while there are more bytes than ``size``."""
        removed = gone = 0
        for choose in retention.steps(before, size):
            chosen = None
            while chosen != []:  # a little at a time, so that changes need not wait long
                with self._lock, self._errors("write"):
                    chosen = choose(self._database)
                    with self._pasts.changing(self._database, retention.changes(chosen)), self._transaction():
                        gone += retention.remove(self._database, chosen)
                removed += len(chosen)
        if gone:
            self._sweep(gone)
        with self._lock, self._errors("write"):
            retention.shrink(self._database)
            left = self._database.execute("SELECT count(*) FROM revision").fetchone()[0]
        return Retained(removed, int(left))

    def _sweep(self, gone: int) -> None:
        """Remove the traces of elements that are gone."""
        with self._lock, self._errors("write"):
            with self._transaction():
                self._traces.settle(self._database)
            self._traces.committed()
        for step in self._sweeping.steps(gone):
            self._write(step)

    def resources(self, kind: str) -> dict[str, bytes]:
        """What is kept beside the graph, of a kind, by ID."""
        return self._read(lambda database: dict(database.execute("SELECT id, body FROM resource WHERE kind = ?", (kind,))))

    def put_resource(self, kind: str, id_: str, body: bytes | None) -> None:
        """Keep one, in the place of the one of that ID; None: keep it no more."""
        with self._lock, self._errors("write"), self._transaction():
            self._put(kind, id_, body)

    def _put(self, kind: str, id_: str, body: bytes | None) -> None:
        if body is None:
            self._database.execute("DELETE FROM resource WHERE kind = ? AND id = ?", (kind, id_))
        else:
            self._database.execute("INSERT OR REPLACE INTO resource VALUES (?, ?, ?)", (kind, id_, body))

    def health(self) -> Health:
        """How it is."""
        try:
            revisions = self._read(lambda database: int(database.execute("SELECT count(*) FROM revision").fetchone()[0]))
            size = self._read(retention.used)
        except StoreError as error:
            return Health(str(error), len(self._live), 0, 0, self._sequence)
        return Health(self.soundness.damage or self._failure, len(self._live), revisions, size, self._sequence)

    def close(self) -> None:
        """Close the file and let other processes have it."""
        self.noting.close()
        self._checkpointer.close()
        self.soundness.close()
        with self._lock:
            while not self._readers.empty():
                self._readers.get().close()
            self._database.close()
            os.close(self._held)

    def _load(self) -> None:
        self._sequence = int(self._database.execute("SELECT sequence FROM latest").fetchone()[0])
        rows = self._database.execute(
            "SELECT id, element, revision.sequence, revision.number, created, begins, recorded, revisions, data"
            " FROM revision JOIN element ON element.number = revision.element JOIN state USING (sequence) WHERE ends = ?",
            (FOREVER,),
        )
        for key, *values, packed in rows:
            id_ = reading.text_of(key)
            self._live[id_] = Live(id_, *[*values, unpack(packed)])
        self._traces.load(self._database)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            if self._database.in_transaction:
                self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """SQLite's errors as ours; a writer's are kept for :meth:`health` until the next success."""
        try:
            yield
        except _DAMAGED as error:  # what is damaged within a page, SQLite does not see
            _log.error("store_failed", doing=what, path=str(self._path), error=str(error))
            raise StoreError(f"{self._path}: a state is damaged: {RESTORE}") from error
        except sqlite3.Error as error:
            failure = _explained(error, self._path)
            if what in _WRITES:
                self._failure = failure
            _log.error("store_failed", doing=what, path=str(self._path), error=str(error))
            raise StoreError(failure) from error
        if what in _WRITES:
            self._failure = None

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        with self._reader() as database:
            return ask(database)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._errors("write"), self._transaction():
            return work(self._database)

    def _stream(self, ask: Callable[[sqlite3.Connection], Iterator[T]]) -> Iterator[T]:
        with self._reader() as database:
            yield from ask(database)

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file, whatever is written meanwhile."""
        with self._reading, self._errors("read"):
            try:
                database = self._readers.get_nowait()
            except queue.Empty:
                database = connect(self._path, read_only=True)
            try:
                yield database
            finally:
                self._readers.put(database)


def _explained(error: sqlite3.Error, path: Path) -> str:
    """What went wrong with the file, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return f"{path}: {error}: {_REMEDIES.get(code, 'try again; report this if it stays')}"
