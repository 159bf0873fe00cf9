"""The file: its tables, its migrations, and how connections to it are opened."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Literal

from topology.elements import FOREVER
from topology.store.interface import StoreError

APPLICATION_ID = 0x534B5954  # "SKYT": what file(1) and restore know the file by

MIGRATIONS: tuple[str, ...] = (
    f"""
    CREATE TABLE element (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,        -- the UUID's 16 bytes
        revisions INTEGER NOT NULL      -- numbers given so far
    );
    -- One row a revision; a deletion is a row too, of no duration and without a state.
    CREATE TABLE revision (
        sequence INTEGER PRIMARY KEY,
        element INTEGER NOT NULL,
        number INTEGER NOT NULL,
        created INTEGER NOT NULL,
        begins INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        recorded INTEGER NOT NULL,
        deleted INTEGER NOT NULL,       -- 1: the element ended with it; a deletion's row has 1 and begins = ends
        fork INTEGER                    -- of [begins, ends) (intervals.py); NULL while it is open, or if it is empty
    );
    -- Apart, so that closing a revision does not write its state again.
    CREATE TABLE state (sequence INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE INDEX revision_open ON revision (begins) WHERE ends = {FOREVER};
    CREATE INDEX revision_left ON revision (fork, ends) WHERE fork IS NOT NULL;
    CREATE INDEX revision_right ON revision (fork, begins) WHERE fork IS NOT NULL;
    CREATE INDEX revision_begins ON revision (begins);
    CREATE INDEX revision_element ON revision (element, begins, sequence);
    CREATE TABLE writer (
        name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL, number INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE latest (sequence INTEGER NOT NULL);
    INSERT INTO latest VALUES (0);
    """,  # noqa: S608 - a constant of ours
    """
    -- What elements ever had (had.py): its trace << 32 | the element's number; and what is to be put there, as a log.
    CREATE TABLE had (entry INTEGER PRIMARY KEY);
    CREATE TABLE had_lately (number INTEGER PRIMARY KEY, entries BLOB NOT NULL);  -- 64 bits each, little-endian
    -- Up to "last" states are from before that: beside the work they are looked at, up to "done" they were.
    CREATE TABLE noting (done INTEGER NOT NULL, last INTEGER NOT NULL);
    INSERT INTO noting SELECT 0, sequence FROM latest;
    """,
    """
    CREATE TABLE resource (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    """,
)
"""From version 0 on: the n-th makes version n + 1 of what version n left (PRAGMA user_version)."""

_CACHE_KIB = 16384
_LOG_PAGES = 16000
"""Pages of 4 KB in the log before a writer brings them to their places itself, where :mod:`checkpoint` falls behind."""


def connect(path: Path, *, synchronous: Literal["normal", "full"] = "normal", read_only: bool = False) -> sqlite3.Connection:
    """Open the file as it must be used. Raises sqlite3.Error."""
    mode = "ro" if read_only else "rwc"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.ExitStack() as on_failure:
        database = sqlite3.connect(uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False)
        on_failure.callback(database.close)
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        on_failure.pop_all()
    return database


def prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the file, or bring an older one up to date.

    Raises:
        StoreError: it is another program's, or of a later version of ours.
        sqlite3.Error: it cannot be read or written.
    """
    version = database.execute("PRAGMA user_version").fetchone()[0]
    application = database.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    elif application != APPLICATION_ID:
        raise StoreError(f"{path} is no graph of Skytrail's: give another path")
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} is of a later version (schema {version}, known: {len(MIGRATIONS)}): upgrade skytrail")
    database.execute("PRAGMA journal_mode = WAL")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
