"""Brings a file of an earlier version up to date beside the work: its states leave their traces (:mod:`had`)."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import zlib
from itertools import islice

import msgspec
import structlog

from topology.store.embedded import had
from topology.store.embedded.packing import unpack
from topology.store.embedded.reading import Ask
from topology.store.interface import StoreError

_log = structlog.get_logger(__name__)

_STATES = 20_000  # read before anything is written: 0.2 s
_ENTRIES = 2000  # written at once: milliseconds, in which changes wait


class Noting:
    """A thread, while there is something to do.

    Args:
        read: with a connection that reads.
        write: with one that writes, in a transaction of its own.

    Attributes:
        over: whether all states left their traces.

    Raises:
        StoreError: the file cannot be read.
    """

    def __init__(self, read: Ask, write: Ask) -> None:
        self._read, self._write = read, write
        self._stopping = threading.Event()
        done, last = read(_progress)
        self.over = done >= last
        self.thread = threading.Thread(target=self._run, name="graph-noting", daemon=True)
        if not self.over:
            _log.info("store_upgrading", states=last - done, effect="questions about the past read the whole graph until then")
            self.thread.start()

    def close(self) -> None:
        """End it, wherever it is; it goes on from there when the file is opened again."""
        self._stopping.set()
        if self.thread.is_alive():
            self.thread.join()

    def _run(self) -> None:
        try:
            while not self.over and not self._stopping.is_set():
                self._some()
        except StoreError as error:
            _log.warning("store_upgrade_stopped", error=str(error), remedy="none: it goes on at the next start")

    def _some(self) -> None:
        done, last = self._read(_progress)
        upto = min(done + _STATES, last)
        entries = iter(sorted(self._read(lambda database: self._entries(database, done, upto))))
        while part := list(islice(entries, _ENTRIES)):
            if self._stopping.is_set():
                return
            self._write(lambda database, part=part: had.put_in_order(database, part))  # type: ignore[misc]
        if self._stopping.is_set():
            return
        self._write(lambda database: database.execute("UPDATE noting SET done = ?", (upto,)))
        self.over = upto >= last

    def _entries(self, database: sqlite3.Connection, done: int, upto: int) -> set[int]:
        rows = database.execute(
            "SELECT element, data FROM state JOIN revision USING (sequence) WHERE state.sequence > ? AND state.sequence <= ?",
            (done, upto),
        )
        entries: set[int] = set()
        for element, data in rows:
            if self._stopping.is_set():
                break
            with contextlib.suppress(zlib.error, msgspec.MsgspecError, UnicodeDecodeError):  # who asks for it is told
                entries.update(had.entries_of(element, had.traces(unpack(data))))
        return entries


def _progress(database: sqlite3.Connection) -> tuple[int, int]:
    done, last = database.execute("SELECT done, last FROM noting").fetchone()
    return int(done), int(last)
