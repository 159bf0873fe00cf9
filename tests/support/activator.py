"""A socket at which somebody waits, to start a program for whoever connects, as systemd does; and systemd's own such program.

Ours starts it again and again, and says how often. It runs as a program called ``systemd``, for by that it is told apart.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

if __name__ != "__main__":
    from support import needs
    from support.netlab import until

_FIRST = 3  # sd_listen_fds(3)


class Activator:
    """One that waits, from the beginning to the end of the ``with``.

    Args:
        folder: for its program and its log.
        listen: the socket's path.
        command: what it starts.
    """

    def __init__(self, folder: Path, listen: Path, command: Sequence[str]) -> None:
        program = folder / "systemd"
        shutil.copy(Path(sys.executable).resolve(), program)
        self._log = folder / "started"
        self._log.touch()
        environment = {"PYTHONHOME": sys.base_prefix, "PATH": os.environ["PATH"]}
        words = [str(program), __file__, str(self._log), str(listen), *command]
        with (folder / "activated.log").open("ab") as log:
            self._process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        until(lambda: _listens(listen))

    @property
    def started(self) -> list[int]:
        """The processes that it has started, as yet."""
        return [int(line) for line in self._log.read_text().split()]

    def end_daemon(self, number: int = signal.SIGTERM) -> None:
        """End what it started last, and wait until it waits again."""
        os.kill(self.started[-1], number)
        until(lambda: not Path(f"/proc/{self.started[-1]}").exists(), 30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self.started and Path(f"/proc/{self.started[-1]}").exists():
            self.end_daemon()


@contextmanager
def systemds(listen: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """``systemd-socket-activate``: it becomes the program that it starts, once."""
    program = needs.tool("systemd-socket-activate", "systemd")
    process = subprocess.Popen([program, "-l", str(listen), *command], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(listen))
        yield process
    finally:
        process.kill()
        process.wait()


def program_of(process: subprocess.Popen[bytes]) -> str:
    """What runs there."""
    return Path(f"/proc/{process.pid}/exe").readlink().name


def _listens(path: Path) -> bool:
    """Whether somebody does, seen without connecting."""
    rows = Path("/proc/net/unix").read_text().splitlines()
    return any(row.endswith(f" {path}") for row in rows)


def _wait(log: Path, path: str, command: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while select.select([listening], [], []):
            pid = os.fork()
            if not pid:
                os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
                del os.environ["PYTHONHOME"]
                os.dup2(listening.fileno(), _FIRST) if listening.fileno() != _FIRST else os.set_inheritable(_FIRST, True)
                os.execvp(command[0], command)
            with log.open("a") as file:
                file.write(f"{pid}\n")
            os.waitpid(pid, 0)
            time.sleep(0.1)


if __name__ == "__main__":
    _wait(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
