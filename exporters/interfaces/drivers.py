"""Statistics that a driver counts by names of its own (``ethtool -S``): only those that a list allows.

An ioctl is all that there is: ethtool's netlink knows the standard ones only. Sources: linux/ethtool.h, linux/sockios.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import fnmatch
import re
import socket
import struct
from collections.abc import Iterable, Sequence

_SIOCGIFNAME = 0x8910
_SIOCGIFINDEX = 0x8933
_SIOCETHTOOL = 0x8946
_GSTRINGS = 0x1B
_GSTATS = 0x1D
_GSSET_INFO = 0x37
_SS_STATS = 1  # enum ethtool_stringset

_IFREQ_INDEX = struct.Struct("@16si20x")  # struct ifreq: name, ifindex
_IFREQ_DATA = struct.Struct("@16sP16x")  # struct ifreq: name, pointer
_SSET_INFO = struct.Struct("=IIQI")  # struct ethtool_sset_info: cmd, reserved, sset_mask, data[1]
_STRINGS = struct.Struct("=III")  # struct ethtool_gstrings: cmd, string_set, len
_STATS = struct.Struct("=II")  # struct ethtool_stats: cmd, n_stats
_STRING_BYTES = 32  # ETH_GSTRING_LEN
_VALUE_BYTES = 8
_COUNT_LIMIT = 65536  # statistics of one device: some have thousands, per queue
_CHOSEN_LIMIT = 256
_SLACK = 64  # a driver that grew meanwhile writes as many as it has now


class DriverStatistics:
    """Asks drivers of the caller's namespace.

    Args:
        patterns: names of statistics, or globs (``rx_queue_*_drops``); at least one.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))

    def read(self, ifindexes: Iterable[int]) -> dict[int, dict[str, int]]:
        """Ifindex → name → value, at most 256 of each; without interfaces that have none or whose driver fails."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            found = {ifindex: self._of(control.fileno(), ifindex) for ifindex in ifindexes}
        return {ifindex: values for ifindex, values in found.items() if values}

    def _of(self, control: int, ifindex: int) -> dict[str, int]:
        try:
            name, _ = _IFREQ_INDEX.unpack(fcntl.ioctl(control, _SIOCGIFNAME, _IFREQ_INDEX.pack(b"", ifindex)))
            count = _count(control, name)
            if not 0 < count <= _COUNT_LIMIT:
                return {}
            names = _ask(control, name, _STRINGS.pack(_GSTRINGS, _SS_STATS, count), (count + _SLACK) * _STRING_BYTES)
            values = _ask(control, name, _STATS.pack(_GSTATS, count), (count + _SLACK) * _VALUE_BYTES)
            _, still = _IFREQ_INDEX.unpack(fcntl.ioctl(control, _SIOCGIFINDEX, _IFREQ_INDEX.pack(name, 0)))
        except OSError as error:
            if error.errno in {errno.ENOMEM, errno.ENOBUFS}:
                raise
            return {}  # it is gone, its driver has none, or fails
        told = _STRINGS.unpack_from(names)[2], _STATS.unpack_from(values)[1]
        if still != ifindex or told != (count, count):  # renamed, or otherwise, between the questions: the next time
            return {}
        return self._chosen(names[_STRINGS.size :], struct.unpack_from(f"={count}Q", values, _STATS.size))

    def _chosen(self, names: bytes, values: Sequence[int]) -> dict[str, int]:
        """Those that are wanted, in the driver's order; of one name twice the last."""
        found: dict[str, int] = {}
        for number, value in enumerate(values):
            raw = names[number * _STRING_BYTES : (number + 1) * _STRING_BYTES]
            name = raw.partition(b"\0")[0].decode(errors="replace").strip()
            if name and self._wanted.match(name) and len(found) < _CHOSEN_LIMIT:
                found[name] = value
        return found


def _count(control: int, name: bytes) -> int:
    """How many statistics a driver has; 0: none."""
    answer = _ask(control, name, _SSET_INFO.pack(_GSSET_INFO, 0, 1 << _SS_STATS, 0))
    _, _, mask, count = _SSET_INFO.unpack(answer)
    return int(count) if mask else 0


def _ask(control: int, name: bytes, request: bytes, room: int = 0) -> bytes:
    """One SIOCETHTOOL: the request as the kernel filled it, with so many bytes behind it."""
    size = len(request) + room
    buffer = ctypes.create_string_buffer(request + bytes(room), size)
    fcntl.ioctl(control, _SIOCETHTOOL, _IFREQ_DATA.pack(name, ctypes.addressof(buffer)))
    return buffer.raw
