"""States in the file: large ones (long lists of routes, neighbours) are compressed, the others are not worth it."""

from __future__ import annotations

import zlib

from topology.elements import State, decode_state

_LARGE = 8192  # bytes; a usual state has 2,000
_LEVEL = 1
_MARK = b"\x78"  # zlib's first byte (RFC 1950); JSON of ours begins with a brace


def pack(data: bytes) -> bytes:
    """An encoded state as the file has it."""
    return zlib.compress(data, _LEVEL) if len(data) > _LARGE else data


def unpack(packed: bytes) -> bytes:
    """What :func:`pack` was given. Raises zlib.error for what is damaged."""
    return zlib.decompress(packed) if packed[:1] == _MARK else packed


def unpack_state(packed: bytes) -> State:
    """The state. Raises zlib.error, msgspec.DecodeError, msgspec.ValidationError for what is damaged."""
    return decode_state(unpack(packed))
