"""Sockets at which systemd waits, to start a daemon for whoever connects: systemd.socket(5).

The kernel tells who listens: a socket's inode (``/proc/net/unix``, proc(5)), and the processes that have it open. systemd keeps
it open also while the daemon runs that it gave it to: then another process has it too.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_MANAGERS = frozenset({"systemd", "systemd-executor", "systemd-socket-activate"})
"""Programs that wait for others; the second is between fork and exec, from systemd 254 on."""

_LISTENS = 0x10000  # __SO_ACCEPTCON of linux/net.h, among the flags
_FLAGS, _INODE, _PATH = 3, 6, 7  # columns


class Activation:
    """Tells whether a daemon would be started. Used by one thread.

    Args:
        proc: where the host's /proc is.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._daemons: dict[str, tuple[str, str]] = {}  # by path: an open file of its daemon's, and the socket that it leads to

    def waits(self, path: str) -> bool:
        """Whether nobody but systemd listens at a socket. Not, where that is not ours to see, or in another namespace."""
        sockets = {f"socket:[{inode}]" for inode in self._listening(path)}
        file, led = self._daemons.get(path, ("", ""))
        if led in sockets and _link(file) == led:
            return False
        waits = False
        for pid, file, led in self._open(sockets):
            if _link(f"{self._proc}/{pid}/exe").removesuffix(" (deleted)").rpartition("/")[2] not in _MANAGERS:
                self._daemons[path] = file, led
                return False
            waits = True
        return waits

    def _listening(self, path: str) -> Iterator[str]:
        """Inodes of sockets that listen there, as the first process's network namespace has them."""
        try:
            there = Path(path).stat()
            rows = (self._proc / "1/net/unix").read_text(errors="surrogateescape").splitlines()[1:]
        except OSError:
            return
        for row in rows:
            columns = row.split(maxsplit=_PATH)
            if len(columns) > _PATH and columns[_PATH].startswith("/") and int(columns[_FLAGS], 16) & _LISTENS:
                status = self._status(columns[_PATH])
                if status and os.path.samestat(status, there):
                    yield columns[_INODE]

    def _status(self, path: str) -> os.stat_result | None:
        """Of a file of the host's, which a container sees at another place, if at all; None: it is gone."""
        for root in (f"{self._proc}/1/root", ""):  # the former is root's alone
            with contextlib.suppress(OSError):
                return Path(root + path).stat()
        return None

    def _open(self, sockets: set[str]) -> Iterator[tuple[str, str, str]]:
        """Processes that have one of these open: their numbers, the open file, and which socket it is."""
        if not sockets:
            return
        for process in self._proc.glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is not ours to see
                for file in os.scandir(process / "fd"):
                    led = _link(file.path)
                    if led in sockets:
                        yield process.name, file.path, led


def refused(path: str) -> bool:
    """Whether nobody listens at a socket, or it is gone. Connects, where somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # it is asked in earnest, and says what is the matter
            return False
    return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - for each open file of a host: a Path would cost more than the call
    except OSError:
        return ""
