"""What an agent has to report and no hub has taken yet: numbered, on disk, bounded. Survives SIGKILL."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from pathlib import Path

import structlog

from topology.facts import Report
from topology.held import collapse
from topology.remote.codec import MalformedReportError, decode_report, encode_report
from topology.store.interface import StoreError

_log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, report BLOB NOT NULL);
"""


class Outbox:
    """A queue in a file. For any thread.

    Beyond its bound the reports of each source become one, that says the same as all of them: what was in between is lost
    then, and what is now is not.

    Args:
        path: of the file; made if it is missing.
        limit: bytes of waiting reports; more where what is now takes more.

    Attributes:
        name: of the numbering: that of another file is another one.
        waiting: reports that wait.
        size: their bytes.
        collapsed: reports that became part of others.

    Raises:
        StoreError: the file cannot be read or written.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._bound = limit
        self._more = threading.Condition()
        self.collapsed = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)
            self.name = self._named()
            found = self._database.execute("SELECT count(*), coalesce(sum(length(report)), 0) FROM waiting").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self.waiting, self.size = int(found[0]), int(found[1])
        self._closed = False

    def _named(self) -> str:
        found = self._database.execute("SELECT name FROM outbox").fetchone()
        if found is None:
            found = (secrets.token_hex(8),)
            self._database.execute("INSERT INTO outbox VALUES (?)", found)
        return str(found[0])

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
        self._database.execute("INSERT INTO waiting (report) VALUES (?)", (data,))
        self.waiting += 1
        self.size += len(data)

    def _collapse(self) -> None:
        reports, had = [], self.waiting
        for (data,) in self._database.execute("SELECT report FROM waiting ORDER BY number").fetchall():
            try:
                reports.append(decode_report(data))
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

    def after(self, number: int, size: int, patience: float) -> list[tuple[int, bytes]]:
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

    def _after(self, number: int, size: int) -> list[tuple[int, bytes]]:
        if self._closed:
            return []
        found: list[tuple[int, bytes]] = []
        try:
            cursor = self._database.execute("SELECT number, report FROM waiting WHERE number > ? ORDER BY number", (number,))
            for place, data in cursor:
                found.append((place, data))
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
            except sqlite3.Error as error:
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
