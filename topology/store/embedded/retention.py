"""Forgetting: revisions that ended long ago, or the oldest of those that ended when there are too many bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import TypeAlias

from topology.elements import FOREVER
from topology.store.embedded import had
from topology.store.embedded.reading import text_of
from topology.store.interface import Change

_CHUNK = 2000
_PAGES = 2000
_SWEPT = 10_000  # traces at once, and at least
_SWEPT_FOR_EACH = 60  # element that is gone; it left some 6: of all there are, a tenth at most is of those that are gone

Chosen: TypeAlias = "list[tuple[int, int, int, bytes]]"
"""Revisions to be removed: sequence, element's number, begin, element's ID."""
Step = Callable[[sqlite3.Connection], Chosen]
"""Chooses a little; nothing: there is no more to remove."""


def steps(before: int | None, size: int | None) -> Iterator[Step]:
    """What is to be done for these limits, each again and again until there is no more."""
    if before is not None:
        yield lambda database: _oldest(database, before)
    if size is not None:
        yield lambda database: _oldest(database, FOREVER) if used(database) > size else []


def changes(chosen: Chosen) -> list[Change]:
    """Which elements will be otherwise, and from when on, when these are removed."""
    return [Change(text_of(id_), begins, None) for _, _, begins, id_ in chosen]


def remove(database: sqlite3.Connection, chosen: Chosen) -> int:
    """Remove revisions, within a transaction; returns how many elements are gone with them. Raises sqlite3.Error."""
    sequences = [(sequence,) for sequence, *_ in chosen]
    database.executemany("DELETE FROM state WHERE sequence = ?", sequences)
    database.executemany("DELETE FROM revision WHERE sequence = ?", sequences)
    elements = {(element,) for _, element, *_ in chosen}
    return database.executemany(
        "DELETE FROM element WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM revision WHERE element = ?1)", list(elements)
    ).rowcount


class Sweeping:
    """Removes traces of elements that are gone: all are looked at in turn, and the more of them the more are gone.

    To find those of one element would take another index, as large as all.
    """

    def __init__(self) -> None:
        self._after = had.FIRST

    def steps(self, gone: int) -> Iterator[Callable[[sqlite3.Connection], None]]:
        """What is to be done when so many elements are gone, each within a transaction."""
        left, ends = max(_SWEPT, gone * _SWEPT_FOR_EACH), 0
        while left > 0 and ends < 2:  # once round at most, from wherever it is
            yield self._step
            left -= _SWEPT
            ends += self._after == had.FIRST

    def _step(self, database: sqlite3.Connection) -> None:
        last = had.sweep(database, self._after, _SWEPT)
        self._after = had.FIRST if last == had.LAST else last


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


def _oldest(database: sqlite3.Connection, before: int) -> Chosen:
    """Some of those that ended at or before a time, by when they began: few live ones are passed over."""
    return database.execute(
        "SELECT sequence, element, begins, id FROM revision INDEXED BY revision_begins"
        " JOIN element ON element.number = revision.element"
        " WHERE ends <= ? AND ends < ? AND begins <= ? ORDER BY begins LIMIT ?",
        (before, FOREVER, before, _CHUNK),
    ).fetchall()
