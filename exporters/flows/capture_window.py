"""What the readers of capture files share: the bytes of a file, one stretch at a time, and the batches made of them.

Here belong opening, gzip, buffers and the places that errors name; never a file format.
"""

from __future__ import annotations

import gzip
import io
import os
import select
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skytrail.errors import CaptureFileError

MAX_CAPLEN = 256 * 1024  # libpcap's MAXIMUM_SNAPLEN: no capture program writes more for one packet
BATCH = 8192  # packets
CHUNK = 1024 * 1024  # bytes read at once
_SLACK = 32  # spare bytes after the data, so that a header may be decoded beyond a short last block
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Packets:
    """Up to :data:`BATCH` packets, in the file's order. All arrays have one element a packet.

    Attributes:
        buffer: the bytes; packet ``i`` is ``buffer[offset[i]:offset[i] + caplen[i]]``. Valid as long as it is held.
        offset: where each packet begins in ``buffer``.
        caplen: captured bytes, at most :data:`MAX_CAPLEN`.
        length: bytes on the wire, never less than ``caplen``.
        time_ns: ns since the epoch; 0 where the file has no time (pcapng's Simple Packet Block), the largest int64
            where it is beyond the year 2262.
        linktype: LINKTYPE_ number of https://www.tcpdump.org/linktypes.html (1: Ethernet), as the file says.
        interface: on which one it was captured: index in the file's list of interfaces.
    """

    buffer: memoryview
    offset: NDArray[np.int64]
    caplen: NDArray[np.int32]
    length: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    linktype: NDArray[np.int32]
    interface: NDArray[np.int32]

    def __len__(self) -> int:
        """Count the packets."""
        return len(self.offset)


class _CountedFile(io.RawIOBase):
    """A raw file that counts what was read and can be looked at before it is read."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._file = io.FileIO(0, closefd=False) if str(path) == "-" else io.FileIO(str(path))
        status = os.fstat(self._file.fileno())
        self.bytes_total = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.bytes_read = 0
        self._ahead = b""

    def peek(self, count: int) -> bytes:
        """Look at the first ``count`` bytes (fewer at the file's end) without taking them."""
        while len(self._ahead) < count:
            more = bytearray(count - len(self._ahead))
            got = self._wait_and_read(memoryview(more))
            if not got:
                break
            self._ahead += more[:got]
        return self._ahead

    def readable(self) -> bool:
        """Say that this can be read, as io.BufferedReader asks."""
        return True

    def readinto(self, target: memoryview, /) -> int:  # type: ignore[override]  # narrower: we only get memoryviews
        """Read into ``target``, at least one byte but at the file's end."""
        if self._ahead:
            count = min(len(target), len(self._ahead))
            target[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
        else:
            count = self._wait_and_read(target)
        self.bytes_read += count
        return count

    def _wait_and_read(self, target: memoryview) -> int:
        while (count := self._file.readinto(target)) is None:  # a standard input that somebody made non-blocking
            select.select([self._file], [], [])
        return count

    def close(self) -> None:
        """Close the file below too."""
        self._file.close()
        super().close()


class Window:
    """The stretch of the (uncompressed) file that is in memory: ``buffer[pos:end]`` is read and not yet taken.

    Args:
        path: the file, or ``-`` for the standard input. gzip is told by the content.

    Raises:
        CaptureFileError: the file cannot be opened or read.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = "standard input" if str(path) == "-" else str(path)
        self._gzip: gzip.GzipFile | None = None
        self._failure: Exception | None = None
        self.buffer = memoryview(b"")
        self.pos = self.end = 0
        self._base = 0  # the file's offset of the buffer's first byte
        try:
            self.file = _CountedFile(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise CaptureFileError(f"{self.name}: cannot be opened: {_reason(error)}") from error
        try:
            if self.file.peek(2) == b"\x1f\x8b":
                self._gzip = gzip.GzipFile(fileobj=io.BufferedReader(self.file, CHUNK // 8))
        except OSError as error:
            self.file.close()
            raise CaptureFileError(f"{self.name}: cannot be read: {_reason(error)}") from error

    @property
    def unread(self) -> int:
        """Count the bytes that are in memory and not yet taken."""
        return self.end - self.pos

    def more(self, need: int) -> bool:
        """Read on until ``need`` unread bytes are in the buffer; False when the file ends before.

        Batches given out before stay valid: their bytes are never overwritten, a new buffer is taken instead.
        """
        if self.unread >= need:
            return True
        room = len(self.buffer) - _SLACK - self.end
        if room < max(need - self.unread, CHUNK // 4):
            fresh = memoryview(bytearray(max(CHUNK, need) + _SLACK))
            fresh[: self.unread] = self.buffer[self.pos : self.end]
            self._base += self.pos
            self.buffer, self.end, self.pos = fresh, self.unread, 0
        # A pipe gives what it has, so that live packets are not held back; gzip comes in pieces too small for a batch.
        goal = need if self._gzip is None else len(self.buffer) - _SLACK - self.pos
        while self.unread < goal and (count := self._read(self.buffer[self.end : len(self.buffer) - _SLACK])):
            self.end += count
        return self.unread >= need

    def _read(self, target: memoryview) -> int:
        """Read some bytes; 0 at the end, and at an error, which :meth:`cut_short` tells once all before it is used."""
        if self._failure is not None:
            return 0
        try:
            return self.file.readinto(target) if self._gzip is None else self._gzip.readinto1(target)
        except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
            self._failure = error
            return 0

    def headers(self, record: np.dtype[np.void], starts: NDArray[np.int64]) -> NDArray[np.void]:
        """Decode the headers of type ``record`` that begin at ``starts`` of the buffer."""
        everywhere = np.ndarray((len(self.buffer) - record.itemsize + 1,), record, self.buffer, 0, (1,))
        return everywhere[starts]

    def packets(
        self,
        *,
        offset: NDArray[np.int64],
        caplen: NDArray[np.integer],
        length: NDArray[np.integer],
        time_ns: NDArray[np.int64],
        linktype: NDArray[np.integer],
        interface: NDArray[np.integer],
    ) -> Packets:
        """Make a batch; ``length`` is bounded to int32 and never less than ``caplen``."""
        return Packets(
            buffer=self.buffer,
            offset=offset,
            caplen=caplen.astype(np.int32),
            length=np.maximum(np.minimum(length, _INT32_MAX), caplen).astype(np.int32),
            time_ns=time_ns,
            linktype=linktype.astype(np.int32),
            interface=interface.astype(np.int32),
        )

    def error(self, what: str, at: int | None = None) -> CaptureFileError:
        """Make an error for the place ``at`` of the buffer (default: where reading is)."""
        offset = self._base + (self.pos if at is None else at)
        return CaptureFileError(f"{self.name}: byte {offset}{'' if self._gzip is None else ' (uncompressed)'}: {what}")

    def cut_short(self, need: int) -> CaptureFileError:
        """Make the error for a file that ends inside of a record of ``need`` bytes."""
        if self._failure is not None:
            return self.error(f"cannot be read on: {_reason(self._failure)}; what came before was read")
        return self.error(f"cut short: {need} bytes were expected, {self.unread} are left; what came before was read")

    def check_end(self, need: int) -> None:
        """Raise unless the file ended cleanly, between two records; ``need``: the least that a record takes."""
        if self.unread or self._failure is not None:
            raise self.cut_short(need)

    def close(self) -> None:
        """Close the file (not the standard input)."""
        if self._gzip is not None:
            self._gzip.close()
        self.file.close()


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
