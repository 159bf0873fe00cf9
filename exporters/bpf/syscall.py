"""The bpf(2) system call: maps in batches, links, test runs. Layouts: include/uapi/linux/bpf.h, ``union bpf_attr``.

Errors of the kernel come out as :class:`OSError`; callers know what each means to them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, PROG_LOAD = 0, 1, 2, 5
PROG_TEST_RUN = 10
RAW_TRACEPOINT_OPEN = 17
PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 11, 13, 14, 15
MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH = 24, 26, 27
LINK_CREATE, ITER_CREATE = 28, 33

TCX_INGRESS, TCX_EGRESS = 46, 47
CGROUP_SOCK_CREATE = 2
_TRACE_ITER = 28
_F_BEFORE, _F_AFTER = 1 << 3, 1 << 4

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_NR_BPF = _NUMBERS.get(platform.machine(), 280)

Array = NDArray[Any]


def bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    """Make the call with a prepared attribute block. Raises OSError."""
    result: int = _syscall(_NR_BPF, command, attr, ctypes.c_uint(len(attr)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _attr(layout: str, *values: int) -> ctypes.Array[ctypes.c_char]:
    data = struct.pack("=" + layout, *values)
    return ctypes.create_string_buffer(data, max(len(data), 128))


def possible_cpus() -> int:
    """How many values a per-CPU map has for a key (/sys/devices/system/cpu/possible)."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as ranges:  # noqa: PTH123 - a short read of sysfs
        return max(int(part.split("-")[-1]) for part in ranges.read().strip().split(",")) + 1


def map_create(map_type: int, key_size: int, value_size: int, entries: int, name: str) -> int:
    """Make a map; returns its descriptor."""
    label = name.encode()[:15].ljust(16, b"\0")
    attr = ctypes.create_string_buffer(struct.pack("=IIIIIII16s", map_type, key_size, value_size, entries, 0, 0, 0, label), 128)
    return bpf(MAP_CREATE, attr)


def prog_load(prog_type: int, instructions: ctypes.Array[ctypes.c_char], name: str) -> int:
    """Load a program of plain instructions; returns its descriptor."""
    license_text = ctypes.create_string_buffer(b"GPL")
    count, label = len(instructions) // 8, name.encode()[:15].ljust(16, b"\0")
    places = ctypes.addressof(instructions), ctypes.addressof(license_text)
    attr = struct.pack("=IIQQIIQII16s", prog_type, count, *places, 0, 0, 0, 0, 0, label)
    return bpf(PROG_LOAD, ctypes.create_string_buffer(attr, 128))


def map_update(fd: int, key: Array, value: Array, flags: int = 0) -> None:
    """Set one entry. ``key`` and ``value`` are C-contiguous arrays of the map's sizes (per-CPU: one value for each CPU)."""
    bpf(MAP_UPDATE_ELEM, _attr("I4xQQQ", fd, key.ctypes.data, value.ctypes.data, flags))


def map_lookup(fd: int, key: Array, value: Array) -> bool:
    """Read one entry into ``value``; False where there is none."""
    try:
        bpf(MAP_LOOKUP_ELEM, _attr("I4xQQQ", fd, key.ctypes.data, value.ctypes.data, 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def map_update_batch(fd: int, keys: Array, values: Array) -> None:
    """Set many entries (Linux 5.6)."""
    if len(keys):
        bpf(MAP_UPDATE_BATCH, _attr("QQQQIIQQ", 0, 0, keys.ctypes.data, values.ctypes.data, len(keys), fd, 0, 0))


def map_delete_batch(fd: int, keys: Array) -> int:
    """Delete many entries; those already gone are passed over. Returns how many were deleted."""
    done = at = 0
    while at < len(keys):
        attr = _attr("QQQQIIQQ", 0, 0, keys.ctypes.data + at * keys.dtype.itemsize, 0, len(keys) - at, fd, 0, 0)
        try:
            bpf(MAP_DELETE_BATCH, attr)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            count = struct.unpack_from("=I", attr, 32)[0]
            done += count
            at += count + 1
            continue
        done += len(keys) - at
        break
    return done


class BatchReader:
    """Reads a hash or array map by BPF_MAP_LOOKUP_BATCH, part by part: each is used while the CPU has it cached.

    Args:
        fd: the map.
        key, value: numpy types of one key and one value.
        step: entries in one part at most; more where one bucket of a hash holds more.
    """

    def __init__(self, fd: int, key: np.dtype[Any], value: np.dtype[Any], step: int = 16384) -> None:
        self._fd, self._types = fd, (key, value)
        self._reserve(step)

    def _reserve(self, step: int) -> None:
        key, value = self._types
        self._keys: Array = np.empty(step, key)
        self._values: Array = np.empty(step, value)

    def read(self) -> Iterator[tuple[Array, Array]]:
        """All entries. Each part is a view of this reader's buffers, valid until the next one."""
        tokens = [ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)]
        before, more = 0, True
        while more:
            places = self._keys.ctypes.data, self._values.ctypes.data
            attr = _attr("QQQQIIQQ", before, ctypes.addressof(tokens[0]), *places, len(self._keys), self._fd, 0, 0)
            try:
                bpf(MAP_LOOKUP_BATCH, attr)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # a bucket longer than the room
                    self._reserve(2 * len(self._keys))
                    continue
                if error.errno != errno.ENOENT:
                    raise
                more = False  # that was the end
            before = ctypes.addressof(tokens[0])
            tokens.reverse()
            if count := struct.unpack_from("=I", attr, 32)[0]:
                yield self._keys[:count], self._values[:count]


class TestRun:
    """BPF_PROG_TEST_RUN with buffers that are set up once: for many packets, one call each.

    Args:
        prog_fd: a program of type SCHED_CLS.
        capacity: longest packet, bytes.

    Attribute ``context`` holds the ``struct __sk_buff`` that goes in: set its fields by :func:`struct.pack_into`.
    """

    __test__ = False  # not a test of pytest's
    CONTEXT = 192
    TSTAMP, GSO_SEGS, GSO_SIZE, CB = 152, 164, 176, 48

    def __init__(self, prog_fd: int, capacity: int) -> None:
        self.data = ctypes.create_string_buffer(capacity)
        self.context = ctypes.create_string_buffer(self.CONTEXT)
        self._attr = _attr(
            "IIIIQQIIIIQQIII4x",
            *(prog_fd, 0, 0, 0, ctypes.addressof(self.data), 0, 1, 0),
            *(self.CONTEXT, 0, ctypes.addressof(self.context), 0, 0, 0, 0),
        )
        self._words = (ctypes.c_int32 * 32).from_buffer(self._attr)

    def run(self, length: int, repeat: int = 1) -> int:
        """Run the program on the first ``length`` bytes of ``data``. Returns its return value."""
        words = self._words
        words[2], words[3] = length, 0  # the kernel writes back how much it would have copied
        words[8] = repeat
        if _syscall(_NR_BPF, PROG_TEST_RUN, self._attr, 128) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        result: int = words[1]
        return result

    @property
    def duration_ns(self) -> int:
        """Average time of one run of the last call."""
        result: int = self._words[9]
        return result


def tcx_attach(prog_fd: int, ifindex: int, attach_type: int) -> int:
    """Attach by a TCX link (Linux 6.6): ingress before all others, egress after them. Returns the link's descriptor."""
    flags = _F_BEFORE if attach_type == TCX_INGRESS else _F_AFTER
    return bpf(LINK_CREATE, _attr("IIIIIIQ", prog_fd, ifindex, attach_type, flags, 0, 0, 0))


def tracing_attach(prog_fd: int) -> int:
    """Attach a program of type TRACING (tp_btf) to what it was loaded for. Returns the link's descriptor."""
    return bpf(RAW_TRACEPOINT_OPEN, _attr("QII", 0, prog_fd, 0))


def iterator_attach(prog_fd: int) -> int:
    """Make an iterator of a program of type TRACING (iter/…): returns the descriptor of a link, for :func:`iterator_open`."""
    return bpf(LINK_CREATE, _attr("IIIIQIIQ", prog_fd, 0, _TRACE_ITER, 0, 0, 0, 0, 0))


def iterator_open(link_fd: int) -> int:
    """Begin one pass of an iterator: returns a descriptor to be read to its end."""
    return bpf(ITER_CREATE, _attr("II", link_fd, 0))


def cgroup_attach(prog_fd: int, cgroup_fd: int, attach_type: int) -> int:
    """Attach to a cgroup and all below it, beside other programs. Returns the link's descriptor."""
    return bpf(LINK_CREATE, _attr("IIIIQQ", prog_fd, cgroup_fd, attach_type, 0, 0, 0))


def program_ids() -> Iterator[int]:
    """Ids of all programs of this kernel. Raises OSError: EPERM without CAP_SYS_ADMIN."""
    attr = _attr("III", 0, 0, 0)
    while True:
        try:
            bpf(PROG_GET_NEXT_ID, attr)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        number = struct.unpack_from("=I", attr, 4)[0]
        yield number
        struct.pack_into("=I", attr, 0, number)


def program_by_id(number: int) -> int:
    """A descriptor of a program. Raises OSError: ENOENT where it is gone, EPERM without CAP_SYS_ADMIN."""
    return bpf(PROG_GET_FD_BY_ID, _attr("III", number, 0, 0))


def program_info(fd: int) -> tuple[str, list[int]]:
    """The name of a program, and the ids of its maps, 64 at most (``struct bpf_prog_info``)."""
    maps, info = (ctypes.c_uint32 * 64)(), ctypes.create_string_buffer(80)
    struct.pack_into("=IQ", info, 52, len(maps), ctypes.addressof(maps))
    bpf(OBJ_GET_INFO_BY_FD, _attr("IIQ", fd, len(info), ctypes.addressof(info)))
    count = struct.unpack_from("=I", info, 52)[0]
    return info.raw[64:80].rstrip(b"\0").decode(), list(maps[:count])


def map_by_id(number: int) -> int:
    """A descriptor of a map. Raises OSError: ENOENT where it is gone, EPERM without CAP_SYS_ADMIN."""
    return bpf(MAP_GET_FD_BY_ID, _attr("III", number, 0, 0))


def map_type(fd: int) -> int:
    """``enum bpf_map_type`` of a map."""
    return _fd_info(fd, "map_type")


def map_id(fd: int) -> int:
    """A map's number among all of this kernel: not given out again for a very long time."""
    return _fd_info(fd, "map_id")


def map_entries(fd: int) -> int:
    """How many entries a map may have; of a ring buffer: its bytes."""
    return _fd_info(fd, "max_entries")


def map_memory(fd: int) -> int:
    """Tell the bytes of kernel memory a map is charged for; 0 where the kernel does not say."""
    return _fd_info(fd, "memlock")


def program_misses(fd: int) -> int:
    """How often the kernel left a program out, because it ran on that CPU already (Linux 5.12)."""
    return _fd_info(fd, "recursion_misses")


def _fd_info(fd: int, key: str) -> int:
    """One number of /proc/self/fdinfo; 0 where it is not there."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:  # noqa: PTH123 - a short read of procfs
        for line in info:
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    return 0
