"""Objects packed into bytes, as queues and the inventory keep them: as Python's objects they take ten times as much. Pure."""

from __future__ import annotations

import msgspec

from topology.probes.kubernetes import objects
from topology.probes.kubernetes.kinds import KINDS

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = {name: msgspec.msgpack.Decoder(kind.struct).decode for name, kind in KINDS.items()}


def pack(given: objects.Plain) -> bytes:
    """An object as bytes, the same for equal ones. Raises OverflowError, ValueError for numbers and text that no object has."""
    return _encode(given)


def unpack(kind: str, packed: bytes) -> objects.Plain:
    """Give back what :func:`pack` was given, of the kind of that type."""
    given: objects.Plain = _decode[kind](packed)
    return given
