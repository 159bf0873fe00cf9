"""What elements ever had: which of them to look at for a question about the past, by a value or by an edge's end.

A trace of a value stays as long as its element does, however long ago the element had it: those that are found by it are
candidates, and what they were at the moment decides. Texts at some keys leave one, of 32 bits: where two texts have the same,
an element too many is looked at.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import struct
import threading
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec
from msgspec.structs import astuple

from topology.store.traversal import CHILD, LABEL, PARENT, UNTYPED, values_at

_PLAIN = ("Name", "Type", "MAC", "IPV4", "IPV6")
_DOTTED = ("K8s.Namespace", "K8s.Name", "Docker.ContainerName")
_MAPS = tuple(dict.fromkeys(key.partition(".")[0] for key in _DOTTED))
_HOST, _TID = "@Host", "TID"

KEYS = frozenset({*_PLAIN, *_DOTTED, _HOST, _TID})
"""Keys of nodes whose texts leave traces; another set of them takes a migration.

With one dot at most: then what the parts of a state together have at a key is what one of them has there by itself.
"""

_FIELDS = {name: f"field{number}" for number, name in enumerate((*_PLAIN, *_DOTTED, *_MAPS))}
_Keys = msgspec.defstruct(
    "_Keys", [(field, Any, None) for field in _FIELDS.values()], rename={field: name for name, field in _FIELDS.items()}
)


class _Part(msgspec.Struct, array_like=True):
    """The part of :class:`topology.elements.Part` that is looked at: the rest is passed over, not decoded."""

    keys: _Keys  # type: ignore[valid-type]  # mypy does not follow defstruct


class _State(msgspec.Struct, rename={"parts": "p", "parent": "a", "child": "b"}):
    """The same of a state."""

    parts: dict[str, _Part]
    host: str = ""
    tid: str = ""
    parent: str = ""
    child: str = ""


_decode = msgspec.json.Decoder(_State).decode
_BEGUN = {key: crc32(f"{key}\0".encode()) for key in (*KEYS, PARENT, CHILD)}
_BEGUN[LABEL] = _BEGUN["Type"]
_PLAIN_BEGUN = tuple(_BEGUN[key] for key in _PLAIN)
_MANY = 50_000  # entries that are not in order yet: up to 10 MB; to put them there takes 0.1 s
_NUMBERS = 2**32 - 1  # of elements
_OF_OTHERS = re.compile(r"[-0-9\[{]|True$")  # begins what Python calls a value that is no text
FIRST, LAST = -(2**63), 2**63 - 1
"""No entry is before the one or after the other."""
_LEAST = 0x8000_0000
"""Taken from a sum of 32 bits, for SQLite's integers are signed: so four bytes hold it."""


def trace(key: str, text: str) -> int:
    """The trace of a text at a key."""
    return crc32(text.encode(errors="replace"), _BEGUN[key]) - _LEAST


def leaves_trace(key: str, text: str) -> bool:
    """Whether each node that has a text at a key left its trace.

    An empty host leaves none; nor does a label that is no Type, or a Type that is no text.
    """
    if key == LABEL:
        return text != UNTYPED and _OF_OTHERS.match(text) is None
    return key in KEYS and bool(text or key != _HOST)


def traces(data: bytes) -> set[int]:
    """The traces that an encoded state leaves. Raises msgspec.MsgspecError for a damaged one."""
    return _left_by(_decode(data))


def fresh_traces(before: bytes, after: bytes) -> set[int]:
    """The traces that an encoded state leaves and the one before it did not: mostly none, which is seen soon."""
    was, is_ = _decode(before), _decode(after)
    return set() if was == is_ else _left_by(is_) - _left_by(was)


def _left_by(state: _State) -> set[int]:
    if state.parent:
        return {trace(PARENT, state.parent), trace(CHILD, state.child)}
    found = set()
    for text, begun in ((state.host, _BEGUN[_HOST]), (state.tid, _BEGUN[_TID])):
        if text:
            found.add(crc32(text.encode(), begun) - _LEAST)
    for part in state.parts.values():
        said = astuple(part.keys)
        for value, begun in zip(said, _PLAIN_BEGUN, strict=False):
            if value is None:
                continue
            for one in value if type(value) is list else (value,):
                if type(one) is str:
                    found.add(crc32(one.encode(), begun) - _LEAST)
        if any(said[len(_PLAIN) :]):
            metadata = {name: value for name, value in zip(_FIELDS, said, strict=True) if value is not None}
            found.update(trace(key, one) for key in _DOTTED for one in values_at(metadata, key) if isinstance(one, str))
    return found


class Traces:
    """The traces that are kept: the latest in memory and in a log of the file, the others in a table, in order.

    Each would change another page of the table. What came lately is put there in one go, so that a page takes several.
    Written by one thread at a time; asked by any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[int, list[int]] = {}  # trace → elements
        self._unsorted: list[list[int]] = []  # entries that are not in there yet: who asks puts them there
        self._count = 0
        self._written: list[int] | None = []  # by the transaction that is not over; None: it put all in order

    def load(self, database: sqlite3.Connection) -> None:
        """Take what is in the log. Raises sqlite3.Error."""
        for entries in _log(database):
            self._add(_unpacked(entries))

    def write(self, database: sqlite3.Connection, entries: list[int]) -> None:
        """Write entries within a transaction. Raises sqlite3.Error."""
        self._written = entries
        if self._count + len(entries) > _MANY:
            self.settle(database, entries)
        elif entries:
            packed = struct.pack(f"<{len(entries)}q", *entries)
            database.execute("INSERT INTO had_lately (entries) VALUES (?)", (packed,))

    def settle(self, database: sqlite3.Connection, entries: Iterable[int] = ()) -> None:
        """Put all in order, and entries besides, within a transaction. Raises sqlite3.Error."""
        put_in_order(database, itertools.chain(entries, *map(_unpacked, _log(database))))
        database.execute("DELETE FROM had_lately")
        self._written = None

    def committed(self) -> None:
        """The transaction is over: what was written is there for all."""
        with self._lock:
            if self._written is None:
                self._recent, self._unsorted, self._count = {}, [], 0
            elif self._written:
                self._add(self._written)
            self._written = []

    def _add(self, entries: list[int]) -> None:
        self._unsorted.append(entries)
        self._count += len(entries)

    def lately(self, traces: Iterable[int]) -> list[int]:
        """Numbers of the elements that left one of these lately. To be asked before the table: from here they go there."""
        with self._lock:
            for one in itertools.chain.from_iterable(self._unsorted):
                self._recent.setdefault(one >> 32, []).append(one & _NUMBERS)
            self._unsorted.clear()
            return [element for one in traces for element in self._recent.get(one, ())]


def entries_of(element: int, traces: Iterable[int]) -> list[int]:
    """The traces that an element left, and its number, as the table has them: by trace, then by number."""
    return [one << 32 | element for one in traces]


def put_in_order(database: sqlite3.Connection, entries: Iterable[int]) -> None:
    """Write entries to the table, within a transaction. Raises sqlite3.Error."""
    # One statement: each row that Python gave by itself would cost as much again as to write it.
    database.execute("INSERT OR IGNORE INTO had SELECT value FROM json_each(?)", (json.dumps(sorted(entries)),))


def sweep(database: sqlite3.Connection, after: int, most: int) -> int:
    """Remove entries of elements that are gone, of some that follow; returns the last looked at. Raises sqlite3.Error.

    Args:
        database: within a transaction.
        after: where the last sweep ended.
        most: how many are looked at.
    """
    found = database.execute("SELECT entry FROM had WHERE entry > ? ORDER BY entry LIMIT 1 OFFSET ?", (after, most)).fetchone()
    last = int(found[0]) if found else LAST
    database.execute(
        "DELETE FROM had WHERE entry > ? AND entry <= ? AND NOT EXISTS (SELECT 1 FROM element WHERE number = entry & ?)",
        (after, last, _NUMBERS),
    )
    return last


def _log(database: sqlite3.Connection) -> list[bytes]:
    return [entries for (entries,) in database.execute("SELECT entries FROM had_lately")]


def _unpacked(entries: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(entries) // 8}q", entries))
