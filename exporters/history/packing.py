"""Columns of records as bytes, small and quick to look into: each column is compressed by itself and read only when asked for.

Of each column: the same value in all rows is written once; what grows from row to row is written as differences; the bytes of
numbers are sorted by their place in the number, and compressed. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_LEVEL = 1
_SIZE = 4  # bytes of the head's length


@dataclass(frozen=True, slots=True)
class Table:
    """Records by columns.

    Attributes:
        columns: arrays of the same length.
        words: for columns of codes: the JSON that each code stands for.
    """

    columns: Mapping[str, NDArray[Any]]
    words: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def column(self, name: str) -> NDArray[Any]:
        """One column."""
        return self.columns[name]

    def rows(self, chosen: NDArray[Any]) -> Table:
        """Some of the rows."""
        return Table({name: column[chosen] for name, column in self.columns.items()}, self.words)


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a column is, and what it is."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    same: bool
    grows: bool


class _Head(msgspec.Struct, frozen=True, array_like=True):
    rows: int
    columns: dict[str, _Place]
    words: dict[str, list[str]]


_HEAD = msgspec.json.Decoder(_Head)


def pack(table: Table, grows: Collection[str] = ()) -> bytes:
    """A table as bytes.

    Args:
        table: of at least one row.
        grows: columns of whole numbers that differ little from row to row.
    """
    parts, places, at = [], {}, 0
    for name, column in table.columns.items():
        rows = np.ascontiguousarray(column).reshape(len(column), -1)
        same = bool((rows == rows[0]).all())
        data = rows[:1].tobytes() if same else zlib.compress(_planes(rows, grows=name in grows), _LEVEL)
        places[name] = _Place(column.dtype.str, column.shape[1:], at, at + len(data), same, name in grows)
        parts.append(data)
        at += len(data)
    words = {name: [word.decode() for word in of_column] for name, of_column in table.words.items()}
    head = zlib.compress(msgspec.json.encode(_Head(len(table), places, words)), _LEVEL)
    return b"".join([len(head).to_bytes(_SIZE, "little"), head, *parts])


def _planes(rows: NDArray[Any], *, grows: bool) -> bytes:
    columns = np.ascontiguousarray(rows.T)
    if grows:
        columns = np.diff(columns, axis=1, prepend=np.zeros((len(columns), 1), columns.dtype))
    return np.ascontiguousarray(columns.reshape(-1).view(np.uint8).reshape(-1, columns.dtype.itemsize).T).tobytes()


class Packed:
    """A table as :func:`pack` made it. Raises ValueError, zlib.error, msgspec.MsgspecError: it is none."""

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:_SIZE], "little")
        head = _HEAD.decode(zlib.decompress(data[_SIZE : _SIZE + size]))
        self._data, self._base, self._rows, self._places = memoryview(data), _SIZE + size, head.rows, head.columns
        self.words: Mapping[str, Sequence[bytes]] = {
            name: [word.encode() for word in of_column] for name, of_column in head.words.items()
        }

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def column(self, name: str) -> NDArray[Any]:
        """One column."""
        place = self._places[name]
        data, kind = self._data[self._base + place.start : self._base + place.end], np.dtype(place.dtype)
        if place.same:
            return np.broadcast_to(np.frombuffer(data, kind).reshape(1, *place.shape), (self._rows, *place.shape))
        planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(kind.itemsize, -1)
        columns = np.ascontiguousarray(planes.T).view(kind).reshape(-1, self._rows)
        if place.grows:
            columns = np.cumsum(columns, axis=1, dtype=kind)
        return np.ascontiguousarray(columns.T).reshape(self._rows, *place.shape)

    def table(self) -> Table:
        """All of it."""
        return Table({name: self.column(name) for name in self._places}, self.words)


def joined(tables: Sequence[Table]) -> Table:
    """Tables one behind the other; equal words become one. A column that one of another release has not is left out."""
    if len(tables) == 1:
        return tables[0]
    names = [name for name in tables[0].columns if all(name in table.columns for table in tables)]
    words: dict[str, dict[bytes, int]] = {}
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for table in tables:
        for name in names:
            column = table.columns[name]
            if name in table.words:
                known = words.setdefault(name, {})
                codes = np.array([known.setdefault(word, len(known)) for word in table.words[name]], column.dtype)
                columns[name].append(codes[column])
            else:
                columns[name].append(column)
    return Table(
        {name: np.concatenate(parts) for name, parts in columns.items()}, {name: list(of) for name, of in words.items()}
    )


Words = Callable[[bytes], int]


def coder() -> tuple[dict[bytes, int], Words]:
    """Gives codes to words, in the order in which they come, and keeps them."""
    known: dict[bytes, int] = {}
    return known, lambda word: known.setdefault(word, len(known))
