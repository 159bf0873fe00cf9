"""Rows → revisions: the graph at a moment, ranges, differences, the feed."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from topology.elements import FOREVER, Revision
from topology.store.embedded.intervals import LATEST, path
from topology.store.embedded.packing import unpack_state
from topology.store.interface import Difference

T = TypeVar("T")

_COLUMNS = "element.id, revision.number, created, begins, ends, recorded, revision.sequence, state.data, deleted"
_JOINS = "JOIN element ON element.number = revision.element JOIN state ON state.sequence = revision.sequence"

# The open ones, and by the index of intervals (intervals.py) the others.
_AT = f"""
SELECT sequence FROM revision WHERE ends = {FOREVER} AND begins <= :at
UNION ALL SELECT sequence FROM json_each(:left) AS node CROSS JOIN revision ON fork = node.value WHERE ends > :at
UNION ALL SELECT sequence FROM json_each(:right) AS node CROSS JOIN revision ON fork = node.value WHERE begins <= :at
UNION ALL SELECT sequence FROM revision WHERE fork = :at
"""  # noqa: S608 - constants of ours, as below
_AT_WHOLE = (
    f"SELECT {_COLUMNS} FROM ({_AT}) AS chosen"  # noqa: S608
    f" CROSS JOIN revision ON revision.sequence = chosen.sequence {_JOINS}"
)
# The numbers of the elements that changed in a range of time, some twice; and of some, by number, what was there.
_CHANGED = """
SELECT json_group_array(element) FROM (
    SELECT element FROM revision INDEXED BY revision_begins WHERE begins > ? AND begins <= ? LIMIT ?
)
"""
_AT_OF = """
SELECT sequence FROM (SELECT DISTINCT value AS number FROM json_each(:elements)) AS chosen CROSS JOIN revision ON sequence = (
    SELECT sequence FROM revision WHERE element = chosen.number AND begins <= :at ORDER BY begins DESC, sequence DESC LIMIT 1
) WHERE ends > :at
"""
_AT_OF_WHOLE = (
    f"SELECT {_COLUMNS} FROM ({_AT_OF}) AS was"  # noqa: S608
    f" CROSS JOIN revision ON revision.sequence = was.sequence {_JOINS}"
)
_FEW = 1000  # changes
_VARIABLES = 500  # in one statement
_ROWS = 1000  # fetched at once


class Ask(Protocol):
    """Calls a function with a connection that sees one state of the file, and returns what it does. Raises StoreError."""

    def __call__(self, ask: Callable[[sqlite3.Connection], T], /) -> T:
        """What the function returns."""
        ...


def as_of(database: sqlite3.Connection, when: int, ids: Collection[str] | None) -> list[Revision]:
    """The revisions with from ≤ when < to, of all elements or of some. Raises sqlite3.Error."""
    if ids is None:
        return [revision(row) for row in database.execute(_AT_WHOLE, _moment(when))]
    return _of_elements(database, ids, "begins <= ? AND ends > ?", when, when)


def as_of_numbers(database: sqlite3.Connection, when: int, elements: Collection[int]) -> list[Revision]:
    """The same of elements by number; of each, one revision is looked up, however many it has. Raises sqlite3.Error."""
    if not elements:
        return []
    values = {"elements": json.dumps(sorted(elements)), "at": min(max(when, 0), LATEST)}
    return list(_revisions(database.execute(_AT_OF_WHOLE, values)))


def as_of_ids(database: sqlite3.Connection, when: int, ids: Collection[str]) -> list[Revision]:
    """The same by ID; what is no ID of ours is nobody's. Raises sqlite3.Error."""
    return as_of_numbers(database, when, _numbers(database, ids))


def changed_since(database: sqlite3.Connection, when: int) -> list[str] | None:
    """IDs of the elements that changed after a moment; None: they are many. Raises sqlite3.Error."""
    rows = database.execute(
        "SELECT id FROM element WHERE number IN ("
        "SELECT DISTINCT element FROM revision INDEXED BY revision_begins WHERE begins > ? LIMIT ?)",
        (min(max(when, 0), LATEST), _FEW + 1),
    ).fetchall()
    return None if len(rows) > _FEW else [text_of(id_) for (id_,) in rows]


def between(database: sqlite3.Connection, begin: int, end: int, ids: Collection[str] | None) -> Iterator[Revision]:
    """The revisions with from ≤ end and to > begin, by when they began. Raises sqlite3.Error.

    Those that an instant took away again (from = to) are among them: they are part of what happened.
    """
    if ids is not None:
        found = _of_elements(database, ids, "begins <= ? AND ends > ?", end, begin)
        return iter(sorted(found, key=lambda one: (one.updated_at, one.sequence)))
    there = sorted(as_of(database, begin, None), key=lambda one: (one.updated_at, one.sequence))
    came = database.execute(
        f"SELECT {_COLUMNS} FROM revision INDEXED BY revision_begins {_JOINS}"  # noqa: S608 - constants of ours
        " WHERE begins > ? AND begins <= ? ORDER BY begins, revision.sequence",
        (begin, end),
    )
    return itertools.chain(there, _revisions(came))


def diff(database: sqlite3.Connection, first: int, second: int) -> Iterator[Difference]:
    """What is otherwise at the second time: only of that is the state read. Raises sqlite3.Error.

    Of few changes in between, only the elements that these are about are looked at; else all that there was at both times.
    """
    changes = database.execute(_CHANGED, (min(first, second), max(first, second), _FEW + 1)).fetchone()[0]
    few = changes if changes.count(",") < _FEW else None
    before, after = (_sequences(database, when, few) for when in (first, second))
    old = {one.id: one for one in _by_sequence(database, before - after)}
    new = {one.id: one for one in _by_sequence(database, after - before)}
    for id_ in old.keys() | new.keys():
        was, is_ = old.get(id_), new.get(id_)
        if was is None or is_ is None or was.state != is_.state:
            yield Difference(id_, was, is_)


def feed(database: sqlite3.Connection, after: int, limit: int) -> list[Revision]:
    """Revisions and deletions after a sequence. Raises sqlite3.Error."""
    rows = database.execute(
        f"SELECT {_COLUMNS} FROM revision {_JOINS.replace('JOIN state', 'LEFT JOIN state')}"  # noqa: S608
        " WHERE revision.sequence > ? ORDER BY revision.sequence LIMIT ?",
        (after, limit),
    )
    return [revision(row) for row in rows]


def revision(row: tuple[Any, ...]) -> Revision:
    """A row of :data:`_COLUMNS`."""
    id_, number, created, begins, ends, recorded, sequence, data, deleted = row
    state = None if data is None else unpack_state(data)
    return Revision(text_of(id_), number, created, begins, ends, recorded, sequence, state, bool(deleted))


def text_of(id_: bytes) -> str:
    """A UUID's text (RFC 9562); the standard library's way takes six times as long.

    Interned, for whoever follows the graph keeps one of each element.
    """
    digits = id_.hex()
    return sys.intern(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


def _moment(when: int) -> dict[str, Any]:
    when = min(max(when, 0), LATEST)
    left, right = path(when) if when else ([], [])
    return {"at": when, "left": json.dumps(left), "right": json.dumps(right)}


def _sequences(database: sqlite3.Connection, when: int, elements: str | None) -> set[int]:
    """Of what was there at a moment: of all, or of some elements.

    As one row: each that is fetched lets go of the interpreter's lock, and may have to wait to have it again.
    """
    chosen, values = (_AT, _moment(when)) if elements is None else (_AT_OF, {"elements": elements, "at": when})
    (found,) = database.execute(f"SELECT json_group_array(sequence) FROM ({chosen})", values).fetchone()  # noqa: S608
    return set(json.loads(found))


def _by_sequence(database: sqlite3.Connection, sequences: Iterable[int]) -> Iterator[Revision]:
    wanted = json.dumps(sorted(sequences))
    rows = database.execute(
        f"SELECT {_COLUMNS} FROM json_each(?) AS chosen"  # noqa: S608 - constants of ours
        f" CROSS JOIN revision ON revision.sequence = chosen.value {_JOINS}",
        (wanted,),
    )
    return _revisions(rows)


def _numbers(database: sqlite3.Connection, ids: Collection[str]) -> list[int]:
    found: list[int] = []
    keys: list[bytes] = []
    for one in ids:
        with contextlib.suppress(ValueError):
            keys.append(uuid.UUID(one).bytes)
    for at in range(0, len(keys), _VARIABLES):
        part = keys[at : at + _VARIABLES]
        rows = database.execute(f"SELECT number FROM element WHERE id IN ({','.join('?' * len(part))})", part)  # noqa: S608
        found += [number for (number,) in rows]
    return found


def _of_elements(database: sqlite3.Connection, ids: Collection[str], condition: str, *times: int) -> list[Revision]:
    found: list[Revision] = []
    keys = [uuid.UUID(one).bytes for one in ids]
    for at in range(0, len(keys), _VARIABLES):
        part = keys[at : at + _VARIABLES]
        marks = ",".join("?" * len(part))
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM revision {_JOINS} WHERE element.id IN ({marks}) AND {condition}",  # noqa: S608
            (*part, *times),
        )
        found += _revisions(rows)
    return found


def _revisions(rows: sqlite3.Cursor) -> Iterator[Revision]:
    while batch := rows.fetchmany(_ROWS):
        for row in batch:
            yield revision(row)
