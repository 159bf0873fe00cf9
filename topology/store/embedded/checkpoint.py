"""Brings the pages of SQLite's log (WAL) to their places in the file, beside the writer.

A checkpoint waits for the disk (fsync), tens of milliseconds: a writer that made it would keep its readers from what is new.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Literal

import structlog

from topology.store.embedded.schema import connect

_log = structlog.get_logger(__name__)

_PAGES = 4000
"""Pages of 4 KB in the log, about, before they go: those written again and again meanwhile go once."""
_PAGES_A_BATCH, _PAGES_A_CHANGE = 8, 1


class Checkpointer:
    """A thread with a connection of its own.

    Args:
        path: the file.
        synchronous: as the writer's.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """

    def __init__(self, path: Path, *, synchronous: Literal["normal", "full"]) -> None:
        self._database = connect(path, synchronous=synchronous)
        self._pages = 0
        self._due = threading.Event()
        self._due.set()  # what killed processes left: of one that is killed again and again the log would grow for ever
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def wrote(self, changes: int) -> None:
        """A batch of so many changes was committed."""
        self._pages += _PAGES_A_BATCH + changes * _PAGES_A_CHANGE
        if self._pages >= _PAGES:
            self._pages = 0
            self._due.set()

    def close(self) -> None:
        """End the thread and close the connection."""
        self._closing = True
        self._due.set()
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closing:
                return
            try:
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:  # the writer will hear of it too, and says so in the store's health
                _log.warning("checkpoint_failed", error=str(error), remedy="none: it is tried again")
