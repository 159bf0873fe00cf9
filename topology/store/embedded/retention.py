"""Forgetting: revisions that ended long ago, or the oldest of those that ended when there are too many bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from topology.elements import FOREVER

_CHUNK = 2000
_PAGES = 2000

Step = Callable[[sqlite3.Connection], tuple[int, bool]]
"""Removes a little; returns how many revisions, and whether there is more to remove."""


def steps(before: int | None, size: int | None) -> Iterator[Step]:
    """What is to be done for these limits, each again and again until there is no more."""
    if before is not None:
        yield lambda database: _oldest(database, before)
    if size is not None:
        yield lambda database: _oldest(database, FOREVER) if used(database) > size else (0, False)


def shrink(database: sqlite3.Connection) -> None:
    """Give free pages back to the file system. Raises sqlite3.Error."""
    database.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def used(database: sqlite3.Connection) -> int:
    """Bytes in use."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _oldest(database: sqlite3.Connection, before: int) -> tuple[int, bool]:
    """Remove some of those that ended at or before a time, by when they began: few live ones are passed over."""
    found = database.execute(
        "SELECT sequence, element FROM revision INDEXED BY revision_begins WHERE ends <= ? AND ends < ? AND begins <= ?"
        " ORDER BY begins LIMIT ?",
        (before, FOREVER, before, _CHUNK),
    ).fetchall()
    sequences = [(sequence,) for sequence, _ in found]
    database.executemany("DELETE FROM state WHERE sequence = ?", sequences)
    database.executemany("DELETE FROM revision WHERE sequence = ?", sequences)
    elements = {(element,) for _, element in found}
    database.executemany(
        "DELETE FROM element WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM revision WHERE element = ?1)", list(elements)
    )
    return len(found), len(found) == _CHUNK
