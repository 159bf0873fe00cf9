"""Files of captured packets: pcap and pcapng, plain or gzip'ed, read in batches.

Record headers are found by one small loop (each header says where the next one is) and decoded by numpy for a whole
batch, so that a packet costs a fraction of a microsecond. Packet bytes are never copied: a batch is offsets into the
buffer that was read. The formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from exporters.flows.capture_pcapng import read_pcapng
from exporters.flows.capture_window import BATCH, MAX_CAPLEN, Packets, Window
from skytrail.errors import CaptureFileError

__all__ = ["BATCH", "MAX_CAPLEN", "CaptureFile", "Packets"]


class CaptureFile:
    """A capture file, opened for one pass: ``with CaptureFile(path) as capture: for packets in capture: …``.

    Args:
        path: the file, or ``-`` for the standard input. The format and gzip are told by the content.

    Raises:
        CaptureFileError: the file cannot be opened or is not a capture; while iterating also: it is damaged or cut
            short, after all packets before that place were given. Names the file and the byte.
    """

    def __init__(self, path: str | Path) -> None:
        self._window = Window(path)
        self.interfaces: list[str] = []
        """Names of the interfaces that were met so far, empty where the file gives none; pcap has one."""
        try:
            self._batches = _open_format(self._window, self.interfaces)
        except BaseException:
            self._window.close()
            raise

    @property
    def bytes_read(self) -> int:
        """How much of the file was read so far; compressed bytes of a compressed one."""
        return self._window.file.bytes_read

    @property
    def bytes_total(self) -> int | None:
        """The size that ``bytes_read`` reaches at the end; None for a pipe."""
        return self._window.file.bytes_total

    def __iter__(self) -> Iterator[Packets]:
        return self._batches

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file (not the standard input). The batches given out stay valid."""
        self._window.close()


def _open_format(window: Window, interfaces: list[str]) -> Iterator[Packets]:
    """Tell the format by its first four bytes and choose the reader, which adds the interfaces that it meets."""
    if not window.more(4):
        window.check_end(4)
        raise CaptureFileError(f"{window.name}: is empty: expected a pcap or pcapng file")
    magic = bytes(window.buffer[:4])
    if magic == b"\x0a\x0d\x0d\x0a":
        return read_pcapng(window, interfaces)
    interfaces.append("")
    for order in "<>":
        if magic == struct.pack(f"{order}I", 0xA1B2C3D4):
            return _read_pcap(window, order, 1000)
        if magic == struct.pack(f"{order}I", 0xA1B23C4D):
            return _read_pcap(window, order, 1)
    begin = magic.hex(" ")
    raise window.error(f"not a pcap or pcapng file (it begins with {begin}): convert it with 'editcap -F pcapng'")


def _read_pcap(window: Window, order: str, tick_ns: int) -> Iterator[Packets]:
    """Read classic pcap of a byte order (struct's sign) whose times are in seconds and ticks of ``tick_ns``."""
    if not window.more(24):
        raise window.cut_short(24)
    major, minor, network = struct.unpack_from(f"{order}4xHH12xI", window.buffer, 0)
    if major != 2 or minor < 4:  # older ones swap the two lengths, or not, by who wrote them
        raise window.error(f"pcap version {major}.{minor} is not known: convert it with 'editcap -F pcap'")
    linktype = network & 0x03FFFFFF  # the upper bits tell the length of the FCS
    window.pos = 24
    record = np.dtype([(name, f"{order}u4") for name in ("seconds", "ticks", "caplen", "length")])
    caplen_of = struct.Struct(f"{order}8xI")
    while True:
        starts = _walk(window, caplen_of)
        if starts:
            offset = np.array(starts, np.int64)
            head = window.headers(record, offset)
            yield window.packets(
                offset=offset + 16,
                caplen=head["caplen"],
                length=head["length"],
                time_ns=head["seconds"].astype(np.int64) * 10**9 + head["ticks"].astype(np.int64) * tick_ns,
                linktype=np.full(len(starts), linktype),
                interface=np.zeros(len(starts), np.int32),
            )
            continue
        # The next record is not whole in the buffer, or is not a record.
        if not window.more(16):
            window.check_end(16)
            return
        (caplen,) = caplen_of.unpack_from(window.buffer, window.pos)
        if caplen > MAX_CAPLEN:
            raise window.error(f"a packet cannot have {caplen} captured bytes: the file is damaged")
        if not window.more(16 + caplen):
            raise window.cut_short(16 + caplen)


def _walk(window: Window, caplen_of: struct.Struct) -> list[int]:
    """Find the records that are whole in the buffer, up to a batch, and step behind them."""
    starts: list[int] = []
    append, unpack, buffer = starts.append, caplen_of.unpack_from, window.buffer
    start, end = window.pos, window.end
    last = end - 16
    for _ in range(BATCH):
        if start > last:
            break
        caplen = unpack(buffer, start)[0]
        following = start + 16 + caplen
        if following > end or caplen > MAX_CAPLEN:
            break
        append(start)
        start = following
    window.pos = start
    return starts
