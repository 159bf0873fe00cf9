"""The entry programs of a capture point: a dozen BPF instructions that say which point it is and call the program proper.

Written as instructions because they are the same for every loader and differ in two constants: loading one takes well under
a millisecond, where compiling or relocating an object for each point would take a hundred. What they do, in C::

    struct entry *entry = bpf_map_lookup_elem(&scratches, &zero);
    if (entry) {
        entry->point = POINT;
        entry->direction = DIRECTION;
        bpf_tail_call(ctx, &programs, 0);
    }
    return PASS;

Instruction format: Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import numpy as np

from exporters.bpf import syscall
from skytrail.errors import LoadError

_SOCKET_FILTER, _SCHED_CLS = 1, 3  # enum bpf_prog_type
_PROG_ARRAY = 3  # enum bpf_map_type
_LOOKUP, _TAIL_CALL = 1, 12  # enum bpf_func_id
_PSEUDO_MAP_FD = 1
_PASS = {_SCHED_CLS: -1, _SOCKET_FILTER: 0}  # TC_ACT_UNSPEC; a socket that keeps nothing

_NAMES = ("skytrail_in", "skytrail_out")
_POINT_OFFSET, _DIRECTION_OFFSET = 0, 4  # struct entry of flows.h


def _instruction(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | destination, offset, immediate)


def _load_map(register: int, fd: int) -> bytes:
    return _instruction(0x18, register, _PSEUDO_MAP_FD, 0, fd) + _instruction(0)


def _program(kind: int, scratches: int, programs: int, point: int, direction: int) -> bytes:
    store_word, move, add, call, leave = 0x62, 0xBF, 0x07, 0x85, 0x95
    body = [
        _instruction(store_word, 0, 0, _POINT_OFFSET, point),  # *(u32 *)(r0 + …) = point
        _instruction(store_word, 0, 0, _DIRECTION_OFFSET, direction),
        _instruction(move, 1, 6),
        _load_map(2, programs),
        _instruction(0xB7, 3, immediate=0),
        _instruction(call, immediate=_TAIL_CALL),
    ]
    length = len(b"".join(body)) // 8
    return b"".join(
        [
            _instruction(move, 6, 1),  # r6 = ctx
            _instruction(store_word, 10, 0, -4, 0),  # key 0 on the stack
            _instruction(move, 2, 10),
            _instruction(add, 2, immediate=-4),
            _load_map(1, scratches),
            _instruction(call, immediate=_LOOKUP),
            _instruction(0x15, 0, 0, length, 0),  # if r0 == 0 goto end
            *body,
            _instruction(0xB7, 0, immediate=_PASS[kind]),
            _instruction(leave),
        ]
    )


def owner_lives(owner: int) -> bool:
    """Whether the process lives whose entry programs these are, in whatever namespaces it is.

    The kernel empties a table of programs when the last process that had it open is gone (kernel/bpf/arraymap.c,
    fd_array_map_clear); the table itself lives as long as the entry programs do. Where it may not be looked at (without
    CAP_SYS_ADMIN), the process is taken to live.
    """
    try:
        table = syscall.map_by_id(owner)
    except OSError as error:
        return error.errno != errno.ENOENT
    try:
        return syscall.map_type(table) == _PROG_ARRAY and syscall.map_lookup(table, np.zeros(1, "u4"), np.zeros(1, "u4"))
    finally:
        os.close(table)


def dead_are_left() -> bool:
    """Whether this kernel holds entry programs of an agent that is dead; quick, for every start."""
    try:
        return any(_of_a_dead(number) for number in syscall.program_ids())
    except OSError:  # without CAP_SYS_ADMIN nobody can tell
        return False


def _of_a_dead(number: int) -> bool:
    """Whether a program is an entry program whose owner is dead. Raises OSError: EPERM."""
    try:
        program = syscall.program_by_id(number)
    except FileNotFoundError:
        return False  # gone meanwhile
    try:
        name, maps = syscall.program_info(program)
        return name in _NAMES and not any(owner_lives(number) for number in maps)
    finally:
        os.close(program)


class EntryLoader:
    """Makes entry programs for one program proper.

    Args:
        program: descriptor of ``flows_tc`` or ``flows_socket``.
        scratches: descriptor of the map of scratch memory.
        socket: it is a socket filter.

    Raises:
        LoadError: the kernel refuses.

    """

    def __init__(self, program: int, scratches: int, *, socket: bool) -> None:
        self._kind = _SOCKET_FILTER if socket else _SCHED_CLS
        self._scratches = scratches
        try:
            self._programs = syscall.map_create(_PROG_ARRAY, 4, 4, 1, "skytrail_calls")
            syscall.map_update(self._programs, np.zeros(1, "u4"), np.array([program], "u4"))
        except OSError as error:
            raise LoadError(f"the kernel refused the table of programs ({error.strerror})") from error

    @property
    def owner(self) -> int:
        """The table's number in this kernel: who it is that attached these programs; see :func:`owner_lives`."""
        return syscall.map_id(self._programs)

    def load(self, point: int, direction: int) -> int:
        """The descriptor of a point's program; the caller closes it. Raises LoadError."""
        code = _program(self._kind, self._scratches, self._programs, point, direction)
        name = "skytrail_flows" if self._kind == _SOCKET_FILTER else _NAMES[direction]
        buffer = ctypes.create_string_buffer(code, len(code))
        try:
            return syscall.prog_load(self._kind, buffer, name)
        except OSError as error:
            raise LoadError(f"the kernel refused the program of a capture point ({error.strerror})") from error

    def close(self) -> None:
        """Close the table: only after the last of its programs was detached (the kernel empties it then)."""
        os.close(self._programs)
