"""Capture files for tests: pcapng with an interface for each link type, nanoseconds (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_NANOSECONDS = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol


@dataclass(frozen=True)
class Captured:
    """One packet: bytes, time in ns since the epoch, LINKTYPE_, length on the wire (0: nothing was cut)."""

    data: bytes
    time_ns: int
    link: int = 1
    length: int = 0


def write_pcapng(path: Path, packets: Iterable[Captured]) -> None:
    """Write a file; packets keep their order."""
    numbers: dict[int, int] = {}
    blocks = [_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for packet in packets:
        if packet.link not in numbers:
            numbers[packet.link] = len(numbers)
            blocks.append(_block(_INTERFACE, struct.pack("<HHI", packet.link, 0, 0) + _NANOSECONDS))
        head = struct.pack(
            "<IIIII",
            numbers[packet.link],
            packet.time_ns >> 32,
            packet.time_ns & 0xFFFFFFFF,
            len(packet.data),
            packet.length or len(packet.data),
        )
        blocks.append(_block(_PACKET, head + packet.data))
    path.write_bytes(b"".join(blocks))


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
