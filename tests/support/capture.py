"""Capture files for tests: pcapng with an interface for each link type, nanoseconds (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_NAME, _TSRESOL, _TSOFFSET = 2, 9, 14  # options of an interface


@dataclass(frozen=True)
class Captured:
    """One packet: bytes, time in ns since the epoch, LINKTYPE_, length on the wire (0: nothing was cut).

    ``interface`` and ``offset`` are if_name and if_tsoffset of the interface that it was captured on.
    """

    data: bytes
    time_ns: int
    link: int = 1
    length: int = 0
    interface: str = ""
    offset: int = 0


def write_pcapng(path: Path, packets: Iterable[Captured]) -> None:
    """Write a file; packets keep their order."""
    numbers: dict[tuple[int, str, int], int] = {}
    blocks = [_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for packet in packets:
        interface = packet.link, packet.interface, packet.offset
        if interface not in numbers:
            numbers[interface] = len(numbers)
            options = _option(_NAME, packet.interface.encode()) + _option(_TSRESOL, b"\x09")
            options += _option(_TSOFFSET, struct.pack("<q", packet.offset)) + bytes(4)
            blocks.append(_block(_INTERFACE, struct.pack("<HHI", packet.link, 0, 0) + options))
        head = struct.pack(
            "<IIIII",
            numbers[interface],
            packet.time_ns >> 32,
            packet.time_ns & 0xFFFFFFFF,
            len(packet.data),
            packet.length or len(packet.data),
        )
        blocks.append(_block(_PACKET, head + packet.data))
    path.write_bytes(b"".join(blocks))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
