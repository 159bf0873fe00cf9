"""Tells that something was mounted or unmounted, as it happens: poll(2) on /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import select

from skytrail.kernel.host import Roots


class MountEvents:
    """Is readable (:meth:`fileno`) once for what was mounted or unmounted since it was looked at last.

    The file is always readable; what happened is an exceptional condition (EPOLLPRI), which selectors don't know, and which
    the kernel takes back at the first look (fs/proc_namespace.c, mounts_poll). So it stands in an epoll of its own, whose
    readability says all: to read that epoll finds nothing, and is not needed.

    Raises:
        OSError: /proc is not there.
    """

    def __init__(self, roots: Roots) -> None:
        self._file = os.open(roots.proc / "self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._events = select.epoll()
        self._events.register(self._file, select.EPOLLPRI)

    def fileno(self) -> int:
        """For a selector."""
        return self._events.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._events.close()
        os.close(self._file)
