"""Which process has which socket open, by one pass over /proc: for kernels that have no iterators. One readlink a descriptor.

A thread that has a table of descriptors of its own is not looked at.

Sources: proc(5), /proc/[pid]/fd, /proc/[pid]/stat; cgroups(7).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf.sockets import OWNER, cgroup_root
from exporters.sockets.processes import cgroup2_of

HELD = np.dtype([("inode", "u8"), ("fd", "u4"), ("process", "u4")])
"""A descriptor that is a socket; ``process``: which of the owners has it."""

_SOCKET = "socket:["
_STARTED = 22 - 3  # /proc/PID/stat: "starttime" is its 22nd field, and what follows the name begins with the third


class Descriptors:
    """Reads what processes have open.

    Args:
        proc: where procfs is.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        self._cgroups = cgroup_root(proc / "self/mountinfo")

    def read(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Every socket of every process that may be looked at: rows of :data:`HELD`, and of ``exporters.bpf.sockets.OWNER``.

        Of an owner all but ``uid``, which is of the socket; ``started`` is as precise as a tick of the kernel's (10 ms).
        """
        owners: list[tuple[int, int, int, int, bytes]] = []
        inodes: list[int] = []
        descriptors: list[int] = []
        counts: list[int] = []
        cgroups: dict[str, int] = {}
        for name in os.listdir(self._proc):  # noqa: PTH208  tens of thousands of entries: no Path object for each
            if not name.isdigit():
                continue
            try:
                folder = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue  # it ended
            try:  # what is read by the folder is of this process, and of no later one with its number
                found = _sockets(folder)
                if found:
                    owners.append(self._owner(folder, int(name), cgroups))
                    inodes += [int(link[len(_SOCKET) : -1]) for _, link in found]
                    descriptors += [int(descriptor) for descriptor, _ in found]
                    counts.append(len(found))
            except OSError:  # it ended, or is not ours to see
                continue
            finally:
                os.close(folder)
        held = np.empty(len(inodes), HELD)
        held["inode"], held["fd"] = inodes, descriptors
        held["process"] = np.repeat(np.arange(len(counts)), counts)
        return held, np.array(owners, OWNER)

    def _owner(self, folder: int, pid: int, cgroups: dict[str, int]) -> tuple[int, int, int, int, bytes]:
        """A row of OWNER."""
        started = int(_content(folder, "stat").rpartition(b")")[2].split()[_STARTED]) * self._tick
        path = cgroup2_of(os.fsdecode(_content(folder, "cgroup")))
        if path not in cgroups:
            cgroups[path] = self._cgroup(path)
        return started, cgroups[path], pid, 0, _content(folder, "comm").removesuffix(b"\n")

    def _cgroup(self, path: str) -> int:
        """The id of a cgroup: the inode of its folder. 0: it cannot be seen from here."""
        if self._cgroups is None or not path or path.startswith("/.."):
            return 0
        try:
            return os.stat(self._cgroups + path).st_ino  # noqa: PTH116  a path of the kernel's
        except OSError:
            return 0


def _sockets(folder: int) -> list[tuple[str, str]]:
    """The descriptors of a process that are sockets: number and link."""
    table = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        links = [(number, _link(number, table)) for number in os.listdir(table)]  # noqa: PTH208  the same
    finally:
        os.close(table)
    return [(number, link) for number, link in links if link.startswith(_SOCKET)]


def _link(number: str, table: int) -> str:
    try:
        return os.readlink(number, dir_fd=table)
    except OSError:
        return ""  # it was closed


def _content(folder: int, name: str) -> bytes:
    with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as file:
        return file.read()
