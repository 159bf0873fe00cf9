"""BPF programs of somebody else: they count packets and pass them on. Plain instructions: no compiler is needed."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import numpy as np
from pyroute2 import IPRoute

from exporters.bpf import syscall
from support.netlab import in_netns

TCX_NEXT, ACT_OK = -1, 0
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # uapi/linux/pkt_sched.h
_ARRAY, _SCHED_CLS = 2, 3
_F_BEFORE, _F_AFTER = 1 << 3, 1 << 4
_PROG_GET_NEXT_ID, _MAP_GET_NEXT_ID, _LINK_GET_NEXT_ID = 11, 12, 31  # enum bpf_cmd


class Counter:
    """A program that counts packets and returns a verdict.

    Args:
        verdict: what it returns.
    """

    def __init__(self, verdict: int = TCX_NEXT) -> None:
        self._map = syscall.map_create(_ARRAY, 4, 8, 1, "foreign")
        code = b"".join(
            (
                _insn(0x62, 10, offset=-4),  # *(u32 *)(r10 - 4) = 0
                _insn(0xBF, 2, 10),  # r2 = r10
                _insn(0x07, 2, immediate=-4),  # r2 += -4
                _insn(0x18, 1, 1, immediate=self._map) + _insn(0),  # r1 = map
                _insn(0x85, immediate=1),  # call map_lookup_elem
                _insn(0x15, 0, offset=2),  # if r0 == 0 goto + 2
                _insn(0xB7, 1, immediate=1),  # r1 = 1
                _insn(0xDB, 0, 1),  # lock *(u64 *)r0 += r1
                _insn(0xB7, 0, immediate=verdict),  # r0 = verdict
                _insn(0x95),  # exit
            )
        )
        self.program = syscall.prog_load(_SCHED_CLS, ctypes.create_string_buffer(code, len(code)), "foreign")
        self._links: list[int] = []

    def attach_tcx(self, netns: str, ifindex: int, *, egress: bool = False, before: bool = False) -> None:
        """Attach by a TCX link, before or after all that are there."""
        where, flags = (syscall.TCX_INGRESS, syscall.TCX_EGRESS)[egress], _F_BEFORE if before else _F_AFTER
        attr = struct.pack("=IIIIIIQ", self.program, ifindex, where, flags, 0, 0, 0)
        block = ctypes.create_string_buffer(attr, 128)
        self._links.append(in_netns(netns, lambda: syscall.bpf(syscall.LINK_CREATE, block)))

    def attach_tc(self, netns: str, ifindex: int, *, egress: bool = False, priority: int = 1, handle: int = 1) -> None:
        """Attach as a clsact filter (as ``tc filter add … prio N handle N bpf da``); makes the qdisc if it is not there."""

        def attach() -> None:
            with IPRoute() as route:
                if not any(message["handle"] == 0xFFFF0000 for message in route.get_qdiscs(index=ifindex)):
                    route.tc("add", "clsact", ifindex)
                route.tc(
                    *("add-filter", "bpf", ifindex),
                    handle=handle,
                    fd=self.program,
                    name="foreign",
                    parent=EGRESS if egress else INGRESS,
                    prio=priority,
                    direct_action=True,
                )

        in_netns(netns, attach)

    def count(self) -> int:
        """Packets so far."""
        value = np.zeros(1, "u8")
        syscall.map_lookup(self._map, np.zeros(1, "u4"), value)
        return int(value[0])

    def close(self) -> None:
        """Detach TCX links; tc filters go with their interface."""
        for fd in (*self._links, self.program, self._map):
            os.close(fd)


def _insn(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | destination, offset, immediate)


def kernel_ids(kind: str) -> set[int]:
    """Ids of all BPF objects of this kernel: ``prog``, ``map``, ``link``."""
    command = {"prog": _PROG_GET_NEXT_ID, "map": _MAP_GET_NEXT_ID, "link": _LINK_GET_NEXT_ID}[kind]
    found, last = set(), 0
    while True:
        block = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0), 128)
        try:
            syscall.bpf(command, block)
        except FileNotFoundError:
            return found
        last = struct.unpack_from("=I", block, 4)[0]
        found.add(last)


def held_ids(pid: int, kind: str) -> set[int]:
    """Ids of the BPF objects that a process holds descriptors of: ``prog``, ``map``, ``link``."""
    found = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except OSError:
            continue  # closed meanwhile
        found |= {int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{kind}_id:")}
    return found
