"""Control groups by the ids that BPF programs tell: of processes that are gone before /proc could be read."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import lru_cache

_HANDLE = struct.Struct("=IiQ")  # struct file_handle: handle_bytes, handle_type, f_handle
_FILEID_KERNFS = 0xFE  # include/linux/exportfs.h: the handle is the id (Linux 5.6)
_CACHED = 8192
_libc = ctypes.CDLL(None, use_errno=True)


class CgroupPaths:
    """Paths of the control groups (version 2) below a mount.

    Args:
        root: where the first group is mounted; None: nowhere.
    """

    def __init__(self, root: str | None) -> None:
        self._root = root
        self._known = lru_cache(_CACHED)(self._find)

    def path(self, number: int) -> str:
        """The path of the group with that id, as /proc/PID/cgroup has it; empty: it is gone, or we may not ask."""
        try:
            return self._known(number)
        except OSError:
            return ""

    def _find(self, number: int) -> str:
        if self._root is None:
            raise FileNotFoundError("no cgroup2 is mounted")
        mount = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = _libc.open_by_handle_at(mount, _HANDLE.pack(8, _FILEID_KERNFS, number), os.O_RDONLY | os.O_CLOEXEC)
            if found < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
        finally:
            os.close(mount)
        try:
            return os.readlink(f"/proc/self/fd/{found}").removeprefix(self._root.rstrip("/")) or "/"  # noqa: PTH115 - in procfs
        finally:
            os.close(found)
