"""The pcapng format (draft-ietf-opsawg-pcapng): sections, interfaces and packets; all other blocks are skipped."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.flows.capture_window import BATCH, MAX_CAPLEN, Packets, Window
from skytrail.errors import CaptureFileError

MAX_BLOCK = 16 * 1024 * 1024  # bytes; Wireshark's bound
MAX_INTERFACES = 65536  # of one section

_SHB, _IDB, _PB, _SPB, _EPB = 0x0A0D0D0A, 1, 2, 3, 6
_MIN_BLOCK = {_SHB: 28, _IDB: 20, _PB: 32, _SPB: 16, _EPB: 32}
_INT64_MAX = 2**63 - 1


def read_pcapng(window: Window, interfaces: list[str]) -> Iterator[Packets]:
    """Read from the first Section Header Block to the end; the interfaces of all sections are added to ``interfaces``.

    Raises:
        CaptureFileError: the file is damaged or cut short, after all packets before that place were given.
    """
    section = _Section("<", interfaces)
    while True:
        starts = _walk(window, section)
        if starts:
            packets, error = section.packets(window, np.array(starts, np.int64))
            if len(packets):
                yield packets
            if error is not None:
                raise error
        # The next block is not whole in the buffer, describes what follows, or is damaged.
        if not window.more(12):
            window.check_end(12)
            return
        kind, length = section.block(window)
        if kind == _SHB:
            if not window.more(28):
                raise window.cut_short(28)
            section = _Section(_byte_order(window), interfaces)
            kind, length = section.block(window)
        if length < _MIN_BLOCK.get(kind, 12) or length % 4 or length > MAX_BLOCK:
            raise window.error(f"a pcapng block of type {kind:#x} cannot have the length {length}: the file is damaged")
        if not window.more(length):
            raise window.cut_short(length)
        if kind == _IDB:
            section.add_interface(window, length)
        if kind in {_SHB, _IDB}:
            window.pos += length


def _byte_order(window: Window) -> str:
    """Tell the byte order of the section that begins where reading is, as struct's sign."""
    magic = bytes(window.buffer[window.pos + 8 : window.pos + 12])
    for order in "<>":
        if magic == struct.pack(f"{order}I", 0x1A2B3C4D):
            return order
    raise window.error(f"a pcapng section without its byte-order magic ({magic.hex(' ')}): the file is damaged")


def _walk(window: Window, section: _Section) -> list[int]:
    """Find the packet blocks that are whole in the buffer, up to a batch, and step behind them and unknown ones.

    Stops before a section, an interface, an incomplete or an impossible block.
    """
    starts: list[int] = []
    append, unpack, buffer = starts.append, section.block_head.unpack_from, window.buffer
    start, end = window.pos, window.end
    last = end - 12
    for _ in range(BATCH):
        if start > last:
            break
        kind, length = unpack(buffer, start)
        following = start + length
        if following > end or length & 3:
            break
        if kind == _EPB:
            if length < 32:
                break
            append(start)
        elif kind in {_SHB, _IDB} or length < _MIN_BLOCK.get(kind, 12):
            break
        elif kind in {_SPB, _PB}:
            append(start)
        start = following
    window.pos = start
    return starts


class _Section:
    """What a section has told so far: its byte order (struct's sign) and its interfaces."""

    def __init__(self, order: str, interfaces: list[str]) -> None:
        self._order = order
        self._interfaces, self._first = interfaces, len(interfaces)
        self.block_head = struct.Struct(f"{order}II")
        names = ("kind", "total", "interface", "high", "low", "caplen", "length")
        self._record = np.dtype([(name, f"{order}u4") for name in names])
        self._linktype, self._snaplen, self._clock = array("q"), array("q"), array("q")
        self._clocks: dict[_Clock, int] = {}

    def block(self, window: Window) -> tuple[int, int]:
        """Give type and total length of the block where reading is."""
        kind, length = self.block_head.unpack_from(window.buffer, window.pos)
        return kind, length

    def add_interface(self, window: Window, length: int) -> None:
        """Take in the Interface Description Block of ``length`` bytes where reading is."""
        if len(self._linktype) >= MAX_INTERFACES:
            raise window.error(f"more than {MAX_INTERFACES} interfaces in one section: the file is damaged")
        linktype, snaplen = struct.unpack_from(f"{self._order}HxxI", window.buffer, window.pos + 8)
        base, exponent, offset, name = 10, 6, 0, b""
        for code, value in self._options(window, window.pos + 16, window.pos + length - 4):
            if code == 9 and len(value) == 1:  # if_tsresol
                base, exponent = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
            elif code == 14 and len(value) == 8:  # if_tsoffset
                (offset,) = struct.unpack(f"{self._order}q", value)
            elif code == 2:  # if_name
                name = value.partition(b"\0")[0]
        self._interfaces.append(name.decode(errors="replace"))
        self._linktype.append(linktype)
        self._snaplen.append(snaplen or MAX_CAPLEN)  # 0: no limit
        self._clock.append(self._clocks.setdefault(_Clock(base, exponent, offset), len(self._clocks)))

    def _options(self, window: Window, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Give code and value of a block's options between two places of the buffer."""
        while end - start >= 4:
            code, length = struct.unpack_from(f"{self._order}HH", window.buffer, start)
            if code == 0:
                return
            if length > end - start - 4:
                raise window.error(f"option {code} reaches beyond its block: the file is damaged", start)
            yield code, bytes(window.buffer[start + 4 : start + 4 + length])
            start += 4 + (length + 3 & ~3)

    def packets(self, window: Window, starts: NDArray[np.int64]) -> tuple[Packets, CaptureFileError | None]:
        """Decode the packet blocks at ``starts``: those before the first impossible one, and its error."""
        error = None
        head = window.headers(self._record, starts)
        interface = self._interface_of(head)
        unknown = np.flatnonzero(interface >= len(self._linktype))
        if len(unknown):
            count = int(unknown[0])
            what = f"a packet of interface {interface[count]}, which was not described before: the file is damaged"
            error = window.error(what, int(starts[count]))
            starts, head, interface = starts[:count], head[:count], interface[:count]
        simple = head["kind"] == _SPB
        total, caplen, length = (head[name].astype(np.int64) for name in ("total", "caplen", "length"))
        if simple.any():  # it has nothing but the length, where others have the interface
            length = np.where(simple, head["interface"], length)
            cut = np.minimum(length, np.array(self._snaplen)[interface])
            caplen = np.where(simple, np.minimum(cut, total - 16), caplen)
        impossible = np.flatnonzero((caplen > total - np.where(simple, 16, 32)) | (caplen > MAX_CAPLEN))
        count = len(starts)
        if len(impossible):
            count = int(impossible[0])
            what = f"a packet cannot have {caplen[count]} captured bytes here: the file is damaged"
            error = window.error(what, int(starts[count]))
        packets = window.packets(
            offset=(starts + np.where(simple, 12, 28))[:count],
            caplen=caplen[:count],
            length=length[:count],
            time_ns=np.where(simple, 0, self._time_of(head, interface))[:count],
            linktype=np.array(self._linktype)[interface][:count],
            interface=self._first + interface[:count],
        )
        return packets, error

    def _interface_of(self, head: NDArray[np.void]) -> NDArray[np.int64]:
        """Give the interface's number of each block: the first one's for a Simple Packet Block."""
        interface = head["interface"].astype(np.int64)
        others = head["kind"] != _EPB
        if others.any():  # the obsolete Packet Block has 16 bits of interface, then 16 of drops
            of_pb = interface & 0xFFFF if self._order == "<" else interface >> 16
            interface = np.where(others, np.where(head["kind"] == _PB, of_pb, 0), interface)
        return interface

    def _time_of(self, head: NDArray[np.void], interface: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give each block's time in ns since the epoch, by the clock of its interface."""
        ticks = head["high"].astype(np.uint64) << np.uint64(32) | head["low"]
        clock = np.array(self._clock)[interface]
        clocks = list(self._clocks)
        time_ns = np.zeros(len(ticks), np.int64)
        for index in np.unique(clock):
            of_clock = clock == index
            time_ns[of_clock] = clocks[index].to_ns(ticks[of_clock])
        return time_ns


@dataclass(frozen=True, slots=True)
class _Clock:
    """How an interface counts time: ``base ** exponent`` ticks a second, and seconds to add."""

    base: int
    exponent: int
    offset: int

    def to_ns(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Convert ticks to ns since the epoch, rounded down; beyond int64 the nearest that it holds."""
        time_ns = _decimal_to_ns(ticks, self.exponent) if self.base == 10 else _binary_to_ns(ticks, self.exponent)
        signed = np.minimum(time_ns, np.uint64(_INT64_MAX)).astype(np.int64)
        offset_ns = max(-_INT64_MAX, min(_INT64_MAX, self.offset * 10**9))
        if offset_ns > 0:
            signed = np.minimum(signed, _INT64_MAX - offset_ns)
        return signed + offset_ns


def _decimal_to_ns(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    """Convert ticks of ``10 ** -exponent`` s to ns, at most the largest int64."""
    if exponent > 28:  # the largest tick of 64 bits is less than 1 ns
        return np.zeros_like(ticks)
    if exponent > 9:
        return ticks // np.uint64(10 ** (exponent - 9))
    factor = 10 ** (9 - exponent)
    return np.where(ticks > _INT64_MAX // factor, np.uint64(_INT64_MAX), ticks * np.uint64(factor))


def _binary_to_ns(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    """Convert ticks of ``2 ** -exponent`` s to ns. Of the fraction 34 bits count: times 10^9 they just fit in 64."""
    seconds = ticks >> np.uint64(exponent) if exponent < 64 else np.zeros_like(ticks)
    fraction = ticks - (seconds << np.uint64(exponent)) if exponent < 64 else ticks
    if exponent > 34:
        fraction = fraction >> np.uint64(exponent - 34) if exponent < 98 else np.zeros_like(ticks)
    nanoseconds = (fraction * np.uint64(10**9)) >> np.uint64(min(exponent, 34))
    return _decimal_to_ns(seconds, 0) + nanoseconds
