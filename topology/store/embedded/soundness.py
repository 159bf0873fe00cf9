"""Damage that SQLite itself does not tell of: a file that was lost beside its log, rows that nobody happened to read."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import structlog

from topology.store.embedded.schema import connect
from topology.store.interface import StoreError

RESTORE = "bring a backup back with 'skytrail restore FILE'"
"""The remedy for every damage."""

_log = structlog.get_logger(__name__)


def refuse_lost(path: Path) -> None:
    """An empty or missing file beside a log is one that was lost: SQLite would throw the log away too. Raises StoreError."""
    log = path.with_name(f"{path.name}-wal")
    if not _size(path) and _size(log):
        raise StoreError(f"{path} is empty, and {log.name} beside it is not: {RESTORE}, or move {log.name} away")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Soundness:
    """Reads all of a file once, on a thread beside the work (2 ms for each MB): without, damage shows where somebody reads.

    Args:
        path: of the file; it is there.

    Attributes:
        damage: what is wrong with it, and the remedy; None: nothing, as far as it was read.
        checker: the thread; ended, all was read.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stopping = path, False
        self._database = connect(path, read_only=True)
        self.damage: str | None = None
        self.checker = threading.Thread(target=self._check, name="graph-soundness", daemon=True)
        self.checker.start()

    def _check(self) -> None:
        try:
            found = str(self._database.execute("PRAGMA integrity_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok" and not self._stopping:
            found = " ".join(found.split())
            self.damage = f"{self._path} is damaged: {found}: {RESTORE}"
            _log.error("store_damaged", path=str(self._path), found=found)

    def close(self) -> None:
        """End it, wherever it is."""
        self._stopping = True
        while self.checker.is_alive():
            self._database.interrupt()
            self.checker.join(0.01)
        self._database.close()
