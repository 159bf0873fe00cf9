"""Batches that wait on disk while the server is away, and are applied in order when it is back. Survives SIGKILL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from topology.elements import decode_state, encode_state
from topology.store.interface import AwayError, Batch, Change, StaleWriterError, StoreError

_log = structlog.get_logger(__name__)

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    place INTEGER PRIMARY KEY, writer TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL, batch BLOB NOT NULL
)
"""


class Spool:
    """A queue in a file, between those who write and a store that may be away. For any thread.

    Args:
        path: of the file; made if it is missing.
        limit: bytes of waiting batches; one that does not fit fails.
        sink: applies a batch and returns the feed's latest sequence; raises AwayError where it may do it later.

    Attributes:
        waiting: batches in the file.
        size: their bytes.
        spooled: batches that had to wait, since the start.
        refused: those that the store refused later because another process had taken over as their writer.
        failure: why nothing is applied now; None: nothing waits, or it is being applied.

    Raises:
        StoreError: the file cannot be read or written.
    """

    def __init__(self, path: Path, limit: int, sink: Callable[[Batch], int]) -> None:
        self._path = path
        self._limit = limit
        self._sink = sink
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sequence = 0
        self.spooled = self.refused = 0
        self.failure: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_SCHEMA)
            found = self._database.execute("SELECT count(*), coalesce(sum(length(batch)), 0) FROM waiting").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self.waiting, self.size = int(found[0]), int(found[1])
        if self.waiting:
            self._start()

    def write(self, batch: Batch) -> int:
        """Apply it, or let it wait; returns the feed's latest sequence that is known.

        Raises:
            StoreError: the store refused it, or is away and the spool is full or cannot be written.
            AwayError: it has a note, and would have to wait.
        """
        with self._lock:
            behind = self.waiting > 0
        if behind and batch.note is not None:
            raise AwayError(self.failure or "what waits in the spool is written first")
        if not behind:
            try:
                self._sequence = self._sink(batch)
            except AwayError as error:
                if batch.note is not None:
                    raise
                self.failure = str(error)
            else:
                return self._sequence
        self._put(batch)
        return self._sequence

    def last_number(self, writer: str, epoch: int) -> int:
        """Of a writer's batches that wait in an epoch; 0: none."""
        with self._lock:
            try:
                found = self._database.execute(
                    "SELECT coalesce(max(number), 0) FROM waiting WHERE writer = ? AND epoch = ?", (writer, epoch)
                ).fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return int(found[0])

    def close(self) -> None:
        """Stop applying; what waits stays in the file."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._database.close()

    def _put(self, batch: Batch) -> None:
        data = _encode(batch)
        with self._lock:
            if self.size + len(data) > self._limit:
                full = f"the spool {self._path} is full ({self.size} bytes wait, {self._limit} may)"
                raise StoreError(f"{full}: {self.failure}, or raise its size")
            try:
                self._database.execute(
                    "INSERT INTO waiting (writer, epoch, number, batch) VALUES (?, ?, ?, ?)",
                    (batch.writer, batch.epoch, batch.number, data),
                )
            except sqlite3.Error as error:
                raise self._failed(error) from error
            self.waiting += 1
            self.size += len(data)
            self.spooled += 1
            self._start()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._drain, name="janusgraph-spool", daemon=True)
            self._thread.start()

    def _drain(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            try:
                if not self._apply_first():
                    return
                wait = _FIRST_WAIT
            except Exception as error:  # noqa: BLE001 - whatever it was: what waits is tried again, and who asks is told why
                failure = self._failed(error) if isinstance(error, sqlite3.Error) else error
                self.failure = str(failure) or type(error).__name__
                if not isinstance(error, StoreError):
                    _log.error("spool_not_drained", path=str(self._path), error=self.failure)
                self._stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _apply_first(self) -> bool:
        """Apply the first that waits; False: there is none, and the thread ends."""
        with self._lock:
            found = self._database.execute("SELECT place, batch FROM waiting ORDER BY place LIMIT 1").fetchone()
            if found is None:
                self._thread = None  # under the lock: whoever puts the next one starts another
                self.failure = None
                return False
        place, data = found
        try:
            self._sequence = self._sink(_decode(data, self._path))
        except StaleWriterError as error:
            self.refused += 1
            _log.warning("spooled_batch_refused", reason=str(error))
        with self._lock:
            self._database.execute("DELETE FROM waiting WHERE place = ?", (place,))
            self.waiting -= 1
            self.size -= len(data)
        return True

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"cannot use the spool {self._path}: {error}; make room, or name another file")


class _Waiting(msgspec.Struct, array_like=True):
    """A batch, its states as the stores have them. What its writer had seen is not kept: later nobody can look again for it."""

    writer: str
    epoch: int
    number: int
    recorded: int
    changes: list[tuple[str, int, bytes]]


def _encode(batch: Batch) -> bytes:
    changes = [(one.id, one.at, b"" if one.state is None else encode_state(one.state)) for one in batch.changes]
    return msgspec.msgpack.encode(_Waiting(batch.writer, batch.epoch, batch.number, batch.recorded, changes))


def _decode(data: bytes, path: Path) -> Batch:
    try:
        found = msgspec.msgpack.decode(data, type=_Waiting)
        changes = tuple(Change(id_, at, decode_state(state) if state else None) for id_, at, state in found.changes)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the spool {path} is damaged ({error}): stop, and move it away") from error
    return Batch(found.writer, found.epoch, found.number, found.recorded, changes)
