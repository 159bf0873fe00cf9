"""inotify(7) by ctypes: the standard library has none, and we need three calls of it."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x1000000

APPEARED = IN_CREATE | IN_MOVED_TO
VANISHED = IN_DELETE | IN_MOVED_FROM
_MASK = APPEARED | VANISHED | IN_DELETE_SELF | IN_MOVE_SELF | _IN_ONLYDIR

_EVENT = struct.Struct("=iIII")  # struct inotify_event: wd, mask, cookie, len
_READ_BYTES = 16384

_libc = ctypes.CDLL(None, use_errno=True)


class Change(NamedTuple):
    """One event: the folder it happened in ("" for an overflow), the mask, and the name in that folder."""

    folder: str
    mask: int
    name: str


class Inotify:
    """Watches what comes to and goes from folders.

    Raises:
        OSError: the kernel refuses an instance (EMFILE: raise fs.inotify.max_user_instances).
    """

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, str] = {}

    def fileno(self) -> int:
        """For a selector."""
        return self._fd

    def close(self) -> None:
        """Close the instance and with it all watches."""
        os.close(self._fd)

    def watch(self, folder: Path) -> bool:
        """Watch ``folder``; again is the same as once. False if it is not there, or is no folder.

        Raises:
            OSError: the kernel refuses (ENOSPC: raise fs.inotify.max_user_watches).
        """
        try:
            watch = _checked(_libc.inotify_add_watch(self._fd, os.fsencode(folder), ctypes.c_uint32(_MASK)))
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._folders[watch] = str(folder)
        return True

    def read(self) -> Iterator[Change]:
        """All that happened since the last call, in order."""
        while True:
            try:
                raw = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(raw):
                watch, mask, _, size = _EVENT.unpack_from(raw, offset)
                offset += _EVENT.size
                name = os.fsdecode(raw[offset : offset + size].rstrip(b"\0"))
                offset += size
                folder = self._folders.get(watch, "")
                if mask & IN_IGNORED:
                    self._folders.pop(watch, None)
                yield Change(folder, mask, name)


def _checked(outcome: int) -> int:
    if outcome < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return outcome
