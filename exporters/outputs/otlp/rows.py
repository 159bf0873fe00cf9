"""Rows of protobuf, built column by column: n messages of one shape without a Python operation for each.

All rows are laid out in one byte matrix uint8 [n, width] where each part of the message has a fixed place, wide enough
for its longest value in the block; a second matrix says which bytes are used. ``matrix[used]`` is then all messages,
one after the other, each as canonical as a protobuf library writes it (shortest varints). The lengths of nested
messages are sums of the parts' length columns.

Encoding: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from exporters.outputs.otlp.columns import Bools, Octets, Texts

Lengths = int | npt.NDArray[np.int64]
"""Used bytes of a part: the same in each row, or by row [n]."""

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types

_TABLE_WIDTH = 256  # up to here a text's mask comes from a table of all its prefixes (64 KiB at most)


class Part:
    """A part of each row: ``width`` bytes of place, of which ``lengths`` are used."""

    width: int
    lengths: Lengths

    def template(self) -> bytes:
        """The place's bytes where they are the same in all rows; ``width`` long."""
        return bytes(self.width)

    def write(self, data: Octets, used: Bools, at: int) -> None:
        """Fill the place that begins at column ``at``; ``data`` holds the template, ``used`` is all True."""


class Literal(Part):
    """The same bytes in each row."""

    def __init__(self, data: bytes) -> None:
        self.width = self.lengths = len(data)
        self._data = data

    def template(self) -> bytes:
        """Give the bytes."""
        return self._data


class Fixed(Part):
    """Bytes of one length: uint8 [n, width]."""

    def __init__(self, values: Octets) -> None:
        self._values = np.ascontiguousarray(values)
        self.width = self.lengths = values.shape[1]

    def write(self, data: Octets, used: Bools, at: int) -> None:  # noqa: ARG002 - all bytes are used
        """Copy the values."""
        _cells(data, at, self.width)[:] = _cells(self._values, 0, self.width)


class Varint(Part):
    """Unsigned integers, uint64 [n], as the shortest varints."""

    def __init__(self, values: npt.NDArray[np.uint64]) -> None:
        self._values = values
        self.width = varint_length(int(values.max(initial=0)))
        self.lengths = 1
        for shift in range(7, 7 * self.width, 7):
            self.lengths = self.lengths + (values >= np.uint64(1 << shift))

    def write(self, data: Octets, used: Bools, at: int) -> None:
        """Split the values into groups of seven bits."""
        octets = np.empty((len(self._values), self.width), np.uint8)
        kept = np.empty(octets.shape, np.bool_)
        rest = self._values
        for place in range(self.width):
            octets[:, place] = rest
            kept[:, place] = rest > 0
            rest = rest >> np.uint64(7)
        if self.width > 1:
            kept[:, 0] = True  # zero is one byte
            octets[:, :-1] = (octets[:, :-1] & 0x7F) | (kept[:, 1:].view(np.uint8) << 7)
            _cells(used, at, self.width)[:] = _cells(kept, 0, self.width)
        _cells(data, at, self.width)[:] = _cells(octets, 0, self.width)


class Text(Part):
    """UTF-8 strings from an array of dtype ``S`` [n]; the length stands in a part before it."""

    lengths: npt.NDArray[np.int64]

    def __init__(self, values: Texts) -> None:
        self._values, octets = _valid_utf8(np.ascontiguousarray(values))
        self._octets = octets
        self.lengths = np.char.str_len(self._values).astype(np.int64, copy=False)
        self.width = int(self.lengths.max(initial=0))

    def write(self, data: Octets, used: Bools, at: int) -> None:
        """Copy the strings and mask what is beyond their ends."""
        if not self.width:
            return
        _cells(data, at, self.width)[:] = _cells(self._octets, 0, self.width)
        if self.width < _TABLE_WIDTH:
            _cells(used, at, self.width)[:] = _prefixes(self.width).take(self.lengths)
        else:
            used[:, at : at + self.width] = np.arange(self.width) < self.lengths[:, None]


class Group(Part):
    """Parts one after the other; in rows where ``present`` is False none of them is used."""

    def __init__(self, parts: Sequence[Part], present: Bools | None = None) -> None:
        self._parts = parts
        self._present = present
        self.width = sum(part.width for part in parts)
        self.lengths = _total(parts)
        if present is not None:
            self.lengths = self.lengths * present.astype(np.int64)

    def template(self) -> bytes:
        """Join the parts' templates."""
        return b"".join([part.template() for part in self._parts])

    def write(self, data: Octets, used: Bools, at: int) -> None:
        """Write the parts, then mask the rows that lack them."""
        place = at
        for part in self._parts:
            part.write(data, used, place)
            place += part.width
        if self._present is not None and self.width:
            _cells(used, at, self.width)[~self._present] = np.zeros((), f"V{self.width}")


def message(field: int, parts: Sequence[Part], present: Bools | None = None) -> Part:
    """A nested message, string or bytes field: its key, its length and its parts.

    ``present``: [n], or None for all rows. Without one row that has it the field takes no place at all.
    """
    if present is not None:
        if not present.any():
            return Literal(b"")
        if present.all():
            present = None
    length = _total(parts)
    prefix = key(field, LENGTH_DELIMITED)
    if isinstance(length, int):
        return Group([Literal(prefix + encode_varint(length)), *parts], present)
    return Group([Literal(prefix), Varint(length.view(np.uint64)), *parts], present)


def text(field: int, values: Texts | str, present: Bools | None = None) -> Part:
    """A string field."""
    return message(field, [Literal(values.encode()) if isinstance(values, str) else Text(values)], present)


def octets(field: int, values: Octets, present: Bools | None = None) -> Part:
    """A bytes field of one length."""
    return message(field, [Fixed(values)], present)


def scalar(field: int, wire_type: int, value: Part, present: Bools | None = None) -> Part:
    """A field of a number."""
    return Group([Literal(key(field, wire_type)), value], present)


def integers(values: npt.NDArray[Any]) -> Part:
    """Signed 64-bit integers as protobuf's int64 has them (a negative one takes ten bytes)."""
    if values.dtype == np.uint64:
        values = np.minimum(values, np.uint64(2**63 - 1))
    return Varint(values.astype(np.int64, copy=False).view(np.uint64))


def fixed64(values: npt.NDArray[Any], dtype: str) -> Part:
    """Eight bytes little endian: ``dtype`` is ``<u8`` or ``<f8``."""
    return Fixed(np.ascontiguousarray(values, dtype=dtype).view(np.uint8).reshape(len(values), 8))


def join(rows: Part, count: int) -> bytes:
    """The bytes of all ``count`` rows, one after the other."""
    if not count or not rows.width:
        return b""
    data = np.empty((count, rows.width), np.uint8)
    data[:] = np.frombuffer(rows.template(), np.uint8)
    used = np.ones(data.shape, np.bool_)
    rows.write(data, used, 0)
    return data[used].tobytes()


def key(field: int, wire_type: int) -> bytes:
    """A field's key."""
    return encode_varint(field << 3 | wire_type)


def encode_varint(value: int) -> bytes:
    """One unsigned integer as the shortest varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_length(value: int) -> int:
    """Bytes of the shortest varint of an unsigned integer."""
    return max(1, (value.bit_length() + 6) // 7)


def _total(parts: Sequence[Part]) -> Lengths:
    total: Lengths = 0
    for part in parts:
        total = total + part.lengths
    return total


def _cells(matrix: npt.NDArray[Any], at: int, width: int) -> npt.NDArray[Any]:
    """The columns [at, at + width) of a C-contiguous byte matrix as n opaque values.

    An assignment then is one memcpy a row, several times faster than numpy's loop over the bytes of a narrow block.
    """
    return np.ndarray((len(matrix),), f"V{width}", matrix, at, (matrix.strides[0],))


@cache
def _prefixes(width: int) -> npt.NDArray[Any]:
    """[width + 1] masks of ``width`` bytes: the i-th has i bytes used."""
    table = np.arange(width) < np.arange(width + 1)[:, None]
    return _cells(table, 0, width)


def _valid_utf8(values: Texts) -> tuple[Texts, Octets]:
    """The strings, and their bytes uint8 [n, itemsize], with what is not UTF-8 replaced."""
    width = values.dtype.itemsize
    raw = values.view(np.uint8).reshape(len(values), width)
    if not (raw & 0x80).any():
        return values, raw
    # A NUL after each string keeps its end from completing a sequence with the next one's beginning.
    apart = np.zeros((len(values), width + 1), np.uint8)
    apart[:, :width] = raw
    try:
        apart.tobytes().decode()
    except UnicodeDecodeError:
        distinct, rows = np.unique(values, return_inverse=True)
        mended = np.array([value.decode(errors="replace").encode() for value in distinct.tolist()], np.bytes_)
        values = mended[rows]
        raw = values.view(np.uint8).reshape(len(values), values.dtype.itemsize)
    return values, raw
