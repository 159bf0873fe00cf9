"""Keeps tables of records on disk, bounded in bytes and age, and finds those of a range of time.

One SQLite file: what came in the last seconds is a small table, small ones become large ones. A process that is killed loses
what it had not written, of a fraction of a second. A host that crashes loses no more than the last seconds, either, or, if its
disk lied, the whole file, which is made anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog

from exporters.history import metrics
from exporters.history.packing import Packed, Table, joined, pack
from skytrail.metrics import Family

_log = structlog.get_logger(__name__)

_FILE = "history.sqlite"
_VERSION = 3
_SCHEMA = f"""
CREATE TABLE segment (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, rows INTEGER NOT NULL,
    small INTEGER NOT NULL, packed BLOB NOT NULL
);
CREATE INDEX segment_of ON segment (kind, last);
CREATE INDEX segment_last ON segment (last);
CREATE INDEX segment_small ON segment (kind, first, rows) WHERE small;
CREATE TABLE remembered (kind TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE run (number INTEGER PRIMARY KEY, begun INTEGER NOT NULL, seen INTEGER NOT NULL, stopped INTEGER NOT NULL);
PRAGMA user_version = {_VERSION};
"""  # times are ns since the epoch
_MS = 1_000_000
_PAUSE = 1.0  # seconds between two writings
_BREATH = 0.2  # seconds that one waits at least for another
_LARGE = 20_000  # rows of a table that is not joined with others any more
_SMALL_AGE = 600.0  # seconds; older small tables are joined, however few rows they have
_MOST_WAITING = 400_000  # rows that wait to be written: of flows some 200 MB
_RETRY = 10.0  # seconds until a file that could not be opened is tried again
_SPARE = 16  # a part of the size that stays free, for what is written next
_PATIENCE = 0.5  # seconds that who asks for metrics waits for the disk
_PAGE = 4096
_JOURNAL = 4 << 20  # bytes of the journal after which it is taken into the file


@dataclass(frozen=True, slots=True)
class Gap:
    """A time, ns since the epoch, in which no agent ran. ``stopped``: in good order; else it was killed."""

    begin: int
    end: int
    stopped: bool


@dataclass(slots=True)
class _Waiting:
    """What is to be written of one kind."""

    tables: list[tuple[int, int, Table]] = field(default_factory=list)  # first, last
    rows: int = 0
    written: int = 0
    dropped: int = 0


class History:
    """The store. For any thread.

    Args:
        folder: where the file is; made if it is missing.
        size: bytes that the file may have.
        age: seconds after which records are forgotten.
        kinds: what is kept, and which of its columns grow from row to row.
        clock: ns since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        age: float,
        kinds: Mapping[str, Collection[str]],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path, self._size, self._age, self._kinds, self._clock = folder / _FILE, size, int(age * 1e9), kinds, clock
        self._waiting = {kind: _Waiting() for kind in kinds}
        self._lock = threading.Lock()  # of what waits, and of the moment when it becomes what is written
        self._writing = threading.Lock()
        self._stop, self._came = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._database: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._said: str | None = None
        self._run_number = 0
        self._unsettled = 0  # bytes in the journal
        self._begun = clock()
        self._ended: int | None = None
        self._counted: int | None = None
        self._since = dict.fromkeys(kinds, self._begun)
        self._has = 0, dict.fromkeys(kinds, 0)  # bytes, and records of each kind, in the file
        self.gaps: list[Gap] = []
        self.failure: str | None = None

    def start(self) -> None:
        """Open the file, if it is not, and begin to write: from now on is counted, and no gap."""
        self._begun = self._clock()
        if self._run_number and self.gaps:  # what a killed agent left was taken over meanwhile
            self.gaps[-1] = replace(self.gaps[-1], end=max(self.gaps[-1].begin, self._begun))
        self.write()
        self._thread.start()

    def counted(self, until: int) -> None:
        """Say until when the run before had counted, ns since the epoch: it was killed, and noted that. Before the start."""
        self._counted = until

    def ending(self) -> None:
        """Say that nothing is counted from now on; what was, comes still."""
        self._ended = self._clock()

    def stop(self) -> None:
        """Write all, and say that no more comes: what follows is no gap of a killed agent."""
        self._stop.set()
        self._came.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.write(stopped=True)
        if self._database is not None:
            self._database.close()
            self._database = None

    def add(self, kind: str, table: Table, first: int, last: int) -> None:
        """Records to be kept; written at once, but this never waits for the disk.

        Args:
            kind: one of the kinds.
            table: with the same columns as all of this kind.
            first: the time by which they are found; the earliest of them, ns since the epoch.
            last: the latest of them.
        """
        if not len(table):
            return
        with self._lock:
            waiting = self._waiting[kind]
            waiting.tables.append((first, last, table))
            waiting.rows += len(table)
            self._came.set()
            while waiting.rows > _MOST_WAITING and len(waiting.tables) > 1:
                _, gone, oldest = waiting.tables.pop(0)
                waiting.rows -= len(oldest)
                waiting.dropped += len(oldest)
                self._since[kind] = max(self._since[kind], gone)

    def since(self, kind: str) -> int:
        """From when on it remembers, ns since the epoch."""
        return self._since[kind]

    def gaps_within(self, begin: int, end: int) -> list[Gap]:
        """The gaps that a range touches; ns since the epoch."""
        return [gap for gap in self.gaps if gap.begin <= end and gap.end >= begin]

    @contextlib.contextmanager
    def reading(self, kind: str, begin: int, end: int) -> Iterator[Callable[[], Iterator[Table | Packed]]]:
        """The tables with records that are found by times from ``begin`` to ``end`` (ns), oldest first, others in them too.

        All as of now, the same as often as they are asked for.
        """
        with contextlib.ExitStack() as closers:
            with self._lock:
                waiting = [table for first, last, table in self._waiting[kind].tables if last >= begin and first <= end]
                reader = self._reader(closers)
            yield lambda: self._tables(reader, (kind, begin, end), waiting)

    def _reader(self, closers: contextlib.ExitStack) -> sqlite3.Connection | None:
        """A connection of its own sees what is written at this moment, whatever is joined or forgotten meanwhile."""
        if self._database is None:
            return None
        where = f"{self._path.absolute().as_uri()}?mode=ro"
        reader = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
        closers.callback(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM run LIMIT 1").fetchone()  # here the moment is fixed
        return reader

    def _tables(
        self, reader: sqlite3.Connection | None, asked: tuple[str, int, int], waiting: list[Table]
    ) -> Iterator[Table | Packed]:
        statement = "SELECT packed FROM segment WHERE kind = ? AND last >= ? AND first <= ? ORDER BY number"
        for (packed,) in reader.execute(statement, asked) if reader else ():
            try:
                yield Packed(packed)
            except (ValueError, zlib.error, msgspec.MsgspecError) as error:
                self._say(f"a part of it cannot be read: {error}")
        yield from waiting

    # Writing

    def _run(self) -> None:
        while not self._stop.wait(_BREATH):
            self._came.wait(_PAUSE)
            self._came.clear()
            self.write()

    def write(self, *, stopped: bool = False) -> None:
        """Write what waits; what cannot be written waits on."""
        with self._writing:
            try:
                self._open()
                if self._database is not None:
                    self._write(self._database, stopped=stopped)
                    self.failure = self._said = None
            except (OSError, sqlite3.Error) as error:
                if type(error) is sqlite3.DatabaseError:  # no file of SQLite's any more; its kin say what else is wrong
                    self._begin_anew(error)
                self._say(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it was, counting goes on, and the next writing is tried
                self._say(f"{type(error).__name__}: {error}")

    def _say(self, error: str) -> None:
        self.failure = f"the history cannot be kept: {error}"
        if error != self._said:
            _log.warning(
                "history_not_kept",
                path=str(self._path),
                error=error,
                effect="what is asked about the past lacks what was not written",
                remedy="make room on the disk, or the state folder writable",
            )
        self._said = error

    def _write(self, database: sqlite3.Connection, *, stopped: bool) -> None:
        now = self._clock()
        with self._lock:
            taken = {kind: list(waiting.tables) for kind, waiting in self._waiting.items() if waiting.tables}
        segments = []
        for kind, tables in taken.items():
            table = joined([table for _, _, table in tables])
            first, last = min(one[0] for one in tables), max(one[1] for one in tables)
            segments.append((kind, first, last, len(table), pack(table, self._kinds[kind])))
        database.execute("BEGIN IMMEDIATE")
        try:
            for segment in segments:
                database.execute(
                    "INSERT INTO segment (kind, first, last, rows, small, packed) VALUES (?, ?, ?, ?, 1, ?)", segment
                )
            seen = now if self._ended is None else self._ended
            of_run = "UPDATE run SET begun = ?, seen = ?, stopped = ? WHERE number = ?"
            database.execute(of_run, (self._begun, seen, stopped, self._run_number))
            self._forget(database, now)
            with self._lock:  # nobody reads between the two
                database.execute("COMMIT")
                for kind, tables in taken.items():
                    self._written(kind, tables)
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._unsettled += sum(len(segment[-1]) for segment in segments) + _PAGE
        self._join(database, now)
        if self._unsettled > _JOURNAL:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._unsettled = 0

    def _written(self, kind: str, tables: list[tuple[int, int, Table]]) -> None:
        waiting, done = self._waiting[kind], {id(table) for _, _, table in tables}
        left = [one for one in waiting.tables if id(one[2]) not in done]
        count = sum(len(table) for _, _, table in tables)
        waiting.tables, waiting.rows, waiting.written = left, sum(len(one[2]) for one in left), waiting.written + count

    def _join(self, database: sqlite3.Connection, now: int) -> None:
        """Small tables become a large one: fewer bytes, and fewer to look into."""
        for kind, grows in self._kinds.items():
            rows, oldest, count = database.execute(
                "SELECT sum(rows), min(first), count(*) FROM segment WHERE small AND kind = ?", (kind,)
            ).fetchone()
            if count < 2 or (rows < _LARGE and now - oldest < _SMALL_AGE * 1e9):
                continue
            found = database.execute(
                "SELECT number, first, last, packed FROM segment WHERE small AND kind = ? ORDER BY number", (kind,)
            ).fetchall()
            table = joined([Packed(packed).table() for *_, packed in found])
            packed = pack(table, grows)
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany("DELETE FROM segment WHERE number = ?", [(one[0],) for one in found])
                database.execute(
                    "INSERT INTO segment (number, kind, first, last, rows, small, packed) VALUES (?, ?, ?, ?, ?, 0, ?)",
                    (found[0][0], kind, min(one[1] for one in found), max(one[2] for one in found), len(table), packed),
                )
                database.execute("COMMIT")
                self._unsettled += len(packed)
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def _forget(self, database: sqlite3.Connection, now: int) -> None:
        """What is too old; then the oldest, until there is room."""
        oldest = now - self._age
        gone = database.execute("SELECT number, kind, last FROM segment WHERE last < ?", (oldest,)).fetchall()
        database.execute("DELETE FROM run WHERE seen < ? AND number < ?", (oldest, self._run_number - 1))
        for number, kind, last in gone:
            self._delete(database, number, kind, last)
        while self._used(database) > self._size - self._size // _SPARE:
            found = database.execute("SELECT number, kind, last FROM segment ORDER BY last LIMIT 1").fetchone()
            if found is None:
                break
            self._delete(database, *found)
        self.gaps = [gap for gap in self.gaps if gap.end >= oldest]

    def _delete(self, database: sqlite3.Connection, number: int, kind: str, last: int) -> None:
        database.execute("DELETE FROM segment WHERE number = ?", (number,))
        if kind in self._since:
            self._since[kind] = max(self._since[kind], last)
            database.execute("UPDATE remembered SET since = max(since, ?) WHERE kind = ?", (last, kind))

    @staticmethod
    def _used(database: sqlite3.Connection) -> int:
        pages, free = (int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count"))
        return (pages - free) * _PAGE

    def _open(self) -> None:
        """Open the file if it is not; where that fails, again only after a while. Raises OSError, sqlite3.Error."""
        if self._database is not None or time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + _RETRY
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._database = self._connect()
        except sqlite3.OperationalError:
            raise  # locked, full, read-only: making it anew would not help
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            self._database = self._connect()

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Remove the file; what waits goes into another."""
        _log.warning("history_damaged", path=str(self._path), error=str(error), remedy="none: it is made anew")
        if self._database is not None:
            with self._lock:
                self._database.close()
                self._database, self._retry_at = None, 0.0
                self._since = dict.fromkeys(self._kinds, self._clock())
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        with contextlib.ExitStack() as on_failure:
            database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
            on_failure.callback(database.close)
            database.execute(f"PRAGMA page_size = {_PAGE}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA journal_size_limit = {_JOURNAL}")
            database.execute("PRAGMA wal_autocheckpoint = 0")  # it would wait for the disk while others wait for the lock
            database.execute("PRAGMA cache_size = -1024")
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    database.execute(f'DROP TABLE "{name}"')
                database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self._begin_run(database)
            on_failure.pop_all()
        return database

    def _begin_run(self, database: sqlite3.Connection) -> None:
        """Note that an agent runs; between two runs is a gap."""
        if self._counted is not None:
            of_last = "UPDATE run SET seen = ? WHERE NOT stopped AND number = (SELECT max(number) FROM run)"
            database.execute(of_last, (self._counted,))
            self._counted = None
        runs = database.execute("SELECT begun, seen, stopped FROM run ORDER BY number").fetchall()
        following = [*(begun for begun, _, _ in runs), self._begun][1:]
        self.gaps = [
            Gap(seen, max(seen, begun), bool(stopped)) for (_, seen, stopped), begun in zip(runs, following, strict=True)
        ]
        if runs and not runs[-1][2]:
            gap = self.gaps[-1]
            _log.warning("history_gap", begin=gap.begin // _MS, end=gap.end // _MS, reason="the agent was killed")
        self._run_number = int(
            database.execute("INSERT INTO run (begun, seen, stopped) VALUES (?, ?, 0)", (self._begun, self._begun)).lastrowid
            or 0
        )
        for kind in self._kinds:
            database.execute("INSERT OR IGNORE INTO remembered VALUES (?, ?)", (kind, self._since[kind]))
        known = dict(database.execute("SELECT kind, since FROM remembered").fetchall())
        self._since = {kind: known[kind] for kind in self._kinds}

    # Telling

    def memory(self) -> int:
        """Bytes that wait to be written."""
        with self._lock:
            tables = [table for waiting in self._waiting.values() for _, _, table in waiting.tables]
        return sum(column.nbytes for table in tables for column in table.columns.values())

    def families(self) -> Iterable[Family]:
        """All metrics; while the disk lets others wait, what the file has as of the last time."""
        if self._writing.acquire(timeout=_PATIENCE):
            try:
                self._look()
            finally:
                self._writing.release()
        used, rows = self._has
        with self._lock:
            waiting = {kind: (one.rows, one.written, one.dropped) for kind, one in self._waiting.items()}
        yield Family(metrics.BYTES, [((), float(used))])
        yield Family(metrics.RECORDS, [((kind,), float(rows[kind] + waiting[kind][0])) for kind in self._kinds])
        yield Family(metrics.SINCE, [((kind,), since / 1e9) for kind, since in self._since.items()])
        yield Family(metrics.WRITTEN, [((kind,), float(one[1])) for kind, one in waiting.items()], self._begun)
        yield Family(metrics.DROPPED, [((kind,), float(one[2])) for kind, one in waiting.items()], self._begun)
        gaps = {reason: [gap for gap in self.gaps if gap.stopped is stopped] for reason, stopped in _REASONS.items()}
        yield Family(metrics.GAPS, [((reason,), float(len(found))) for reason, found in gaps.items()])
        lasted = {reason: sum(gap.end - gap.begin for gap in found) / 1e9 for reason, found in gaps.items()}
        yield Family(metrics.GAP_SECONDS, [((reason,), seconds) for reason, seconds in lasted.items()])

    def _look(self) -> None:
        if self._database is not None:
            rows = dict(self._database.execute("SELECT kind, sum(rows) FROM segment GROUP BY kind").fetchall())
            self._has = self._used(self._database), dict.fromkeys(self._kinds, 0) | rows


_REASONS = {"killed": False, "stopped": True}
