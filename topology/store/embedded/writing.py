"""Changes → rows, in one transaction a batch.

Almost every change comes after all that is known of its element: its rows are collected and written together. One that comes
late flushes what is collected and is put into the element's history row by row.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from topology.elements import FOREVER, encode_state
from topology.store.embedded import had
from topology.store.embedded.intervals import LATEST, fork
from topology.store.embedded.packing import pack, unpack
from topology.store.interface import Change, StoreError


class Live(msgspec.Struct, frozen=True, gc=False):
    """An element that is there now: its open revision. ``given``: its latest revision number; ``data``: its state, encoded."""

    id: str
    element: int
    sequence: int
    number: int
    created: int
    begins: int
    recorded: int
    given: int
    data: bytes


@dataclass(slots=True)
class _Row:
    """A revision that this batch makes."""

    sequence: int
    element: int
    number: int
    created: int
    begins: int
    ends: int
    recorded: int
    deleted: int
    data: bytes | None

    def values(self) -> tuple[int | None, ...]:
        forked = fork(self.begins, self.ends) if self.begins < self.ends < FOREVER else None
        numbers = (self.sequence, self.element, self.number, self.created, self.begins, self.ends, self.recorded, self.deleted)
        return *numbers, forked


@dataclass(slots=True)
class Writing:
    """One batch on its way into the file.

    Args:
        database: within a transaction.
        live: what is there now; not touched.
        sequence: the latest one given.
        recorded: µs since the epoch.
        traces: of what elements had.

    Attributes:
        came: what is there after it and was not, or was otherwise; None: was and is not.

    """

    database: sqlite3.Connection
    live: Mapping[str, Live]
    sequence: int
    recorded: int
    traces: had.Traces
    came: dict[str, Live | None] = field(default_factory=dict)
    _rows: dict[int, _Row] = field(default_factory=dict)
    _closed: dict[int, tuple[int, int | None, int]] = field(default_factory=dict)  # sequence → ends, fork, deleted
    _numbers: dict[int, int] = field(default_factory=dict)  # element → numbers given
    _entries: list[int] = field(default_factory=list)  # of the traces that elements left (had.py)

    def take(self, change: Change) -> None:
        """Take one change.

        Raises:
            StoreError: a time that is none.
            sqlite3.Error: as the file has it.
        """
        if not 0 < change.at <= LATEST:
            raise StoreError(f"{change.at} is no time in µs since the epoch: report this")
        data = None if change.state is None else encode_state(change.state)
        live = self.came[change.id] if change.id in self.came else self.live.get(change.id)
        if live is None:
            self._come(change, data)
        elif change.at < live.begins:
            self._insert(change, data, live.element)
        elif data != live.data:
            self._numbers.setdefault(live.element, live.given)
            self._follow(live, change.at, data)

    def finish(self) -> None:
        """Write what was collected. Raises sqlite3.Error."""
        self._flush()
        self.traces.write(self.database, self._entries)
        self.database.execute("UPDATE latest SET sequence = ?", (self.sequence,))

    def _come(self, change: Change, data: bytes | None) -> None:
        """An element that is not there now: it is new, or was deleted."""
        self._flush_of(change.id)
        element, last_end = self._element(change.id)
        if element is None:
            if data is None:
                return
            insert = "INSERT INTO element (id, revisions) VALUES (?, 0)"
            element = int(self.database.execute(insert, (uuid.UUID(change.id).bytes,)).lastrowid or 0)
            self._numbers[element] = 0
        elif change.at < last_end:
            self._insert(change, data, element)
            return
        elif data is None:
            return
        assert data is not None
        self._leave(element, had.traces(data))
        row = self._add(element, change.at, change.at, FOREVER, data)
        self.came[change.id] = _live(change.id, row)

    def _follow(self, live: Live, at: int, data: bytes | None) -> None:
        """The open revision ends; another one, or a deletion, follows."""
        self._close(live.sequence, live.begins, at, deleted=int(data is None))
        if data is None:
            self._add(live.element, live.created, at, at, None, deleted=1)
            self.came[live.id] = None
        else:
            self._leave(live.element, had.fresh_traces(live.data, data))
            self.came[live.id] = _live(live.id, self._add(live.element, live.created, at, FOREVER, data))

    def _insert(self, change: Change, data: bytes | None, element: int) -> None:
        """A change that comes late: it holds until what follows it, by time."""
        self._flush()
        at = change.at
        before = self._one("begins <= ? ORDER BY begins DESC, sequence DESC", element, at)
        after = self._one("begins > ? ORDER BY begins, sequence", element, at)
        assert after is not None
        there = before is not None and before["ends"] > at
        if there and before is not None:
            if data is not None and self._data(before["sequence"]) == data:
                return
            created = before["created"]
            self._close(before["sequence"], before["begins"], at, deleted=int(data is None))
        elif data is None:
            return
        else:
            created = at
        if data is None:
            self._add(element, created, at, at, None, deleted=1)
            if after["state"] is not None:
                self._set_created(element, after, after["begins"])
        else:
            vanishes = after["state"] is None
            self._leave(element, had.traces(data))
            self._add(element, created, at, after["begins"], data, deleted=int(vanishes))
            if not there and not vanishes:
                self._set_created(element, after, at)
        self._flush()
        self._reload(change.id, element)

    def _set_created(self, element: int, first: sqlite3.Row, created: int) -> None:
        """Of the life that ``first`` belongs to, the rest from it on has another beginning."""
        rows = self.database.execute(
            "SELECT sequence, deleted FROM revision WHERE element = ? AND (begins, sequence) >= (?, ?)"
            " ORDER BY begins, sequence",
            (element, first["begins"], first["sequence"]),
        ).fetchall()
        last = next((place for place, (_, deleted) in enumerate(rows) if deleted), len(rows))
        self.database.executemany(
            "UPDATE revision SET created = ? WHERE sequence = ?", [(created, sequence) for sequence, _ in rows[: last + 2]]
        )

    def _one(self, condition: str, element: int, at: int) -> sqlite3.Row | None:
        cursor = self.database.cursor()
        cursor.row_factory = sqlite3.Row
        found: sqlite3.Row | None = cursor.execute(
            "SELECT revision.*, state.sequence AS state FROM revision LEFT JOIN state USING (sequence)"  # noqa: S608
            f" WHERE element = ? AND {condition} LIMIT 1",  # one of two constants of ours
            (element, at),
        ).fetchone()
        return found

    def _data(self, sequence: int) -> bytes:
        return unpack(self.database.execute("SELECT data FROM state WHERE sequence = ?", (sequence,)).fetchone()[0])

    def _element(self, id_: str) -> tuple[int | None, int]:
        """The element's number, and when the last that is known of it ended."""
        found = self.database.execute("SELECT number, revisions FROM element WHERE id = ?", (uuid.UUID(id_).bytes,)).fetchone()
        if found is None:
            return None, 0
        self._numbers.setdefault(found[0], found[1])
        last = self.database.execute("SELECT max(begins) FROM revision WHERE element = ?", (found[0],)).fetchone()[0]
        return int(found[0]), int(last or 0)

    def _number(self, element: int) -> int:
        if element not in self._numbers:
            self._numbers[element] = self.database.execute(
                "SELECT revisions FROM element WHERE number = ?", (element,)
            ).fetchone()[0]
        self._numbers[element] += 1
        return self._numbers[element]

    def _leave(self, element: int, traces: set[int]) -> None:
        if traces:
            self._entries += had.entries_of(element, traces)

    def _add(self, element: int, created: int, begins: int, ends: int, data: bytes | None, deleted: int = 0) -> _Row:
        self.sequence += 1
        number = self._number(element)
        row = _Row(self.sequence, element, number, created, begins, ends, self.recorded, deleted, data)
        self._rows[row.sequence] = row
        return row

    def _close(self, sequence: int, begins: int, ends: int, deleted: int) -> None:
        row = self._rows.get(sequence)
        if row is not None:
            row.ends, row.deleted = ends, deleted
        else:
            self._closed[sequence] = (ends, fork(begins, ends) if begins < ends else None, deleted)

    def _flush_of(self, id_: str) -> None:
        """What this batch made of an element must be in the file before it is looked up there."""
        if id_ in self.came:
            self._flush()

    def _flush(self) -> None:
        rows = self._rows.values()
        statements: dict[str, list[tuple[Any, ...]]] = {
            "INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)": [row.values() for row in rows],
            "INSERT INTO state VALUES (?, ?)": [(row.sequence, pack(row.data)) for row in rows if row.data is not None],
            "UPDATE revision SET ends = ?, fork = ?, deleted = ? WHERE sequence = ?": [
                (*values, sequence) for sequence, values in self._closed.items()
            ],
            "UPDATE element SET revisions = ? WHERE number = ?": [(given, one) for one, given in self._numbers.items()],
        }
        for statement, values in statements.items():
            if values:
                self.database.executemany(statement, values)
        self._rows.clear()
        self._closed.clear()
        self._numbers.clear()

    def _reload(self, id_: str, element: int) -> None:
        """After a late change: what is there now may have another beginning of its life, or be there no more."""
        found = self.database.execute(
            "SELECT sequence, revision.number, created, begins, recorded, revisions, data"
            " FROM revision JOIN state USING (sequence) JOIN element ON element.number = revision.element"
            " WHERE revision.element = ? AND ends = ?",
            (element, FOREVER),
        ).fetchone()
        if found is None:
            self.came[id_] = None
        else:
            *values, packed = found
            self.came[id_] = Live(id_, element, *[*values, unpack(packed)])


def _live(id_: str, row: _Row) -> Live:
    assert row.data is not None
    return Live(id_, row.element, row.sequence, row.number, row.created, row.begins, row.recorded, row.number, row.data)
