"""Changes of the address book as bytes, and back. Pure.

JSON, compressed: the TIDs of places and the names of owners come again and again, and become a hundredth of what they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from skytrail.addresses.book import Changes, Entry
from skytrail.errors import RunError

AT_ONCE = 5_000
"""Entries of one piece: some 100 kB, and 3 MB of memory while it is taken in."""
_LARGEST = 32 << 20  # bytes of one, unpacked


class MalformedChangesError(RunError):
    """What came is no change of an address book; says why."""


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    put: list[Entry]
    gone: list[Entry]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Piece).decode


def pieces(changes: Changes) -> Iterator[bytes]:
    """Changes in pieces, at least one; whether they are whole is said beside them."""
    together = max(len(changes.put), len(changes.gone), 1)
    for at in range(0, together, AT_ONCE):
        piece = _Piece(list(changes.put[at : at + AT_ONCE]), list(changes.gone[at : at + AT_ONCE]))
        yield zlib.compress(_encode(piece), 1)


def unpack(body: bytes) -> tuple[list[Entry], list[Entry]]:
    """What is put and what is gone, of a piece. Raises MalformedChangesError."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(body, _LARGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise MalformedChangesError("a piece of the address book is too large, or cut")
        piece = _decode(data)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedChangesError(f"a piece of the address book cannot be read: {error}") from error
    return piece.put, piece.gone
