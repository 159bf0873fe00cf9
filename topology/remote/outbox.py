"""What an agent has to report and no hub has taken yet: numbered, on disk, bounded. Survives SIGKILL."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from topology.facts import Report
from topology.held import collapse
from topology.remote.codec import MalformedReportError, decode_report, encode_report
from topology.store.interface import StoreError

_log = structlog.get_logger(__name__)

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS outbox (name TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, report BLOB NOT NULL);
    """,
    """
    ALTER TABLE outbox ADD COLUMN boot TEXT NOT NULL DEFAULT '';  -- the boot ID of the machine when it was opened last
    ALTER TABLE outbox ADD COLUMN connection INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE waiting ADD COLUMN base INTEGER;  -- what the clock was before the time since the boot; NULL: of another boot
    """,
)
"""From version 0 on: the n-th makes version n + 1 of what version n left (PRAGMA user_version)."""

_AT_ONCE = 50  # µs within which two clocks are read, if nobody comes between
_TRIES = 5
_NUMBERS_OF_BOOT = 1 << 32  # of reports and connections, more than any boot has
_STEADY = 10_000  # µs: by less it is not known that a clock was set


@dataclass(frozen=True, slots=True)
class Waiting:
    """A report that waits.

    Attributes:
        number: of it.
        data: itself, as :func:`topology.remote.codec.encode_report` made it.
        shift: µs that the clock was set forward since it was put here.
    """

    number: int
    data: bytes
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of this machine.

    Attributes:
        now: µs since the epoch; may be set.
        steady: µs since some time before; goes on whatever happens, within a boot.
        boot: names the boot.
    """

    now: Callable[[], int]
    steady: Callable[[], int]
    boot: str

    @classmethod
    def of_machine(cls, boot: str) -> Clocks:
        """The real ones."""
        steady = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
        return cls(lambda: time.time_ns() // 1000, lambda: steady() // 1000, boot)

    def base(self) -> int:
        """What the one is before the other, µs."""
        best, base = float("inf"), 0
        for _ in range(_TRIES):
            before, now, after = self.steady(), self.now(), self.steady()
            if after - before < best:
                best, base = after - before, now - (before + after) // 2
            if best <= _AT_ONCE:
                break
        return base


class Outbox:
    """A queue in a file. For any thread.

    Beyond its bound the reports of each source become one, that says the same as all of them: what was in between is lost
    then, and what is now is not.

    Where the clock is set while reports wait, it is known by how much: they can be told with the time that they have by the
    clock as it is then. Of a clock that was set between two boots that is not known.

    Args:
        path: of the file; made if it is missing.
        limit: bytes of waiting reports; more where what is now takes more.
        clocks: of this machine.

    Attributes:
        name: of the numbering: that of another file is another one.
        waiting: reports that wait.
        size: their bytes.
        collapsed: reports that became part of others.

    Raises:
        StoreError: the file cannot be read or written.
    """

    def __init__(self, path: Path, limit: int, clocks: Clocks) -> None:
        self._path, self._limit, self._clocks = path, limit, clocks
        self._bound = limit
        self._more = threading.Condition()
        self.collapsed = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._prepare()
            self.name = self._named()
            found = self._database.execute("SELECT count(*), coalesce(sum(length(report)), 0) FROM waiting").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self.waiting, self.size = int(found[0]), int(found[1])
        self._closed = False

    def _prepare(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        for number, script in enumerate(_SCHEMA[version:], version + 1):
            self._database.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

    def _named(self) -> str:
        found = self._database.execute("SELECT name, boot FROM outbox").fetchone()
        if found is None:
            found = secrets.token_hex(8), self._clocks.boot
            self._database.execute("INSERT INTO outbox (name, boot) VALUES (?, ?)", found)
        elif found[1] != self._clocks.boot:
            self._begin_boot()
        return str(found[0])

    def _begin_boot(self) -> None:
        """The last that was written before may be lost with the power: numbers that a hub knows are not given once more."""
        self._database.execute("BEGIN")
        self._database.execute("UPDATE waiting SET base = NULL")
        self._database.execute("UPDATE outbox SET boot = ?, connection = connection + ?", (self._clocks.boot, _NUMBERS_OF_BOOT))
        self._database.execute(
            "REPLACE INTO sqlite_sequence (rowid, name, seq) SELECT min(rowid), 'waiting', coalesce(max(seq), 0) + ? "
            "FROM sqlite_sequence WHERE name = 'waiting'",
            (_NUMBERS_OF_BOOT,),
        )
        self._database.execute("COMMIT")

    def connect(self) -> int:
        """The number of a new connection: higher than those before. Raises StoreError: the file cannot be written."""
        with self._more:
            try:
                [(number,)] = self._database.execute("UPDATE outbox SET connection = connection + 1 RETURNING connection")
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return int(number)

    def _shift(self, base: int | None, now: int) -> int:
        shift = 0 if base is None else now - base
        return shift if abs(shift) >= _STEADY else 0

    def put(self, report: Report) -> None:
        """Let a report wait. Raises StoreError: the file cannot be written."""
        data = encode_report(report)
        with self._more:
            try:
                self._insert(data)
                if self.size > self._bound:
                    self._collapse()
            except sqlite3.Error as error:
                raise self._failed(error) from error
            self._more.notify_all()

    def _insert(self, data: bytes) -> None:
        self._database.execute("INSERT INTO waiting (report, base) VALUES (?, ?)", (data, self._clocks.base()))
        self.waiting += 1
        self.size += len(data)

    def _collapse(self) -> None:
        reports, had, now = [], self.waiting, self._clocks.base()
        for data, base in self._database.execute("SELECT report, base FROM waiting ORDER BY number").fetchall():
            try:
                report = decode_report(data)
                reports.append(replace(report, observed=report.observed + self._shift(base, now)))
            except MalformedReportError as error:
                _log.error("outbox_damaged", path=str(self._path), error=str(error), effect="a report is lost")
        made = [encode_report(one) for one in collapse(reports)]
        self._database.execute("BEGIN")
        try:
            self._database.execute("DELETE FROM waiting")
            self.waiting = self.size = 0
            for data in made:  # by new numbers: what is under way is told of once more, as part of this
                self._insert(data)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        self.collapsed += had - len(made)
        self._bound = max(self._limit, 2 * self.size)
        _log.warning("outbox_full", path=str(self._path), limit=self._limit, effect="history since then is coarser")

    def after(self, number: int, size: int, patience: float) -> list[Waiting]:
        """The reports after a number, so many bytes and one at least, in order; waits so many seconds until there is one.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._more:
            found = self._after(number, size)
            if not found and not self._closed:
                self._more.wait(patience)
                found = self._after(number, size)
            return found

    def _after(self, number: int, size: int) -> list[Waiting]:
        if self._closed:
            return []
        found: list[Waiting] = []
        now = self._clocks.base()
        try:
            cursor = self._database.execute(
                "SELECT number, report, base FROM waiting WHERE number > ? ORDER BY number", (number,)
            )
            for place, data, base in cursor:
                found.append(Waiting(place, data, self._shift(base, now)))
                size -= len(data)
                if size <= 0:
                    break
            cursor.close()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return found

    def taken(self, number: int) -> None:
        """A hub has taken the reports up to a number. Raises StoreError."""
        with self._more:
            try:
                gone = self._database.execute(
                    "SELECT count(*), coalesce(sum(length(report)), 0) FROM waiting WHERE number <= ?", (number,)
                ).fetchone()
                self._database.execute("DELETE FROM waiting WHERE number <= ?", (number,))
            except (sqlite3.Error, OverflowError) as error:  # a number that no report has
                raise self._failed(error) from error
            self.waiting -= gone[0]
            self.size -= gone[1]

    def close(self) -> None:
        """What waits stays in the file; who waits for more gets nothing."""
        with self._more:
            self._closed = True
            self._database.close()
            self._more.notify_all()

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"cannot use the outbox {self._path}: {error}; make room, or set state_dir")
