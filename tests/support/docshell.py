"""Shells on a host of its own (tests/lab/apart.sh): what pages tell to type runs there as it is written."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.docpages import ROOT
from support.netlab import until

_APART = ROOT / "tests" / "lab" / "apart.sh"
_HOLD = "cp -a /etc /run/etc && mount --bind /run/etc /etc && echo here && exec sleep infinity"  # /etc is its own, too
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_PROGRAMS: Mapping[str, str] = {
    "skytrail": f'exec "{sys.executable}" -m skytrail "$@"',
    "sudo": 'exec "$@"',
    "curl": f'exec env PATH="{os.environ["PATH"]}" curl --fail-with-body "$@"',  # an answer that is an error has a status
    "python": f'exec "{sys.executable}" "$@"',
}
"""Programs that shells find before the machine's own."""

_LABS = ("two-hosts", "fabric")
_BEGIN: Mapping[str, str] = {
    "none": "true",
    "up": """
        setsid skytrail up > up.log 2>&1 & echo $! > up.pid
        until curl -s http://127.0.0.1:8081/readyz && curl -s http://127.0.0.1:8082/readyz; do sleep 0.2; done""",
    **{name: f"skytrail lab up {name}" for name in _LABS},
}
_END: Mapping[str, str] = {
    "none": "true",
    "up": "kill $(cat up.pid); until ! kill -0 $(cat up.pid) 2> /dev/null; do sleep 0.1; done",
    **dict.fromkeys(_LABS, "skytrail lab down"),
}


class Shell:
    """A shell that is told commands one by one and remembers what they set."""

    def __init__(self, words: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        self._end = secrets.token_hex(8)
        assert self.run(f"cd {folder}") == (0, "")  # who enters a namespace of mounts is at its root

    def run(self, command: str, seconds: float = 90.0) -> tuple[int, str]:
        """Exit status of a command and all that it wrote. Raises AssertionError: it does not end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = f"{{ {command}\n}} </dev/null; _status=$?; printf '\\n{self._end} %d\\n' $_status; (exit $_status)\n"
        self._process.stdin.write(told.encode())
        self._process.stdin.flush()
        said, deadline, pipe = b"", time.monotonic() + seconds, self._process.stdout.fileno()
        ended = re.compile(rb"(?s)(.*)\n%b (\d+)\n" % self._end.encode())
        while (found := ended.fullmatch(said)) is None:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(pipe, 1 << 16) if ready else b""
            assert piece, f"it does not end, or ended the shell: {command}\n{said.decode(errors='replace')}"
            said += piece
        return int(found[2]), _COLOURS.sub("", found[1].decode(errors="replace"))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Machine:
    """A host of its own, with all that pages name.

    Attributes:
        laboratory: that is there.
    """

    def __init__(self, holder: int, folder: Path) -> None:
        self._enter = ["nsenter", f"--target={holder}", "--pid", "--net", "--mount", "--uts", "--"]
        self.folder = folder
        self.laboratory = "none"
        programs = folder / "programs"
        programs.mkdir()
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "160",
            "HOME": str(folder),
            "NO_COLOR": "1",
            "SKYTRAIL_STATE_DIR": str(folder / "state"),
        }

    @contextmanager
    def shell(self, host: str | None = None) -> Iterator[Shell]:
        """A shell on it, or on a host of its laboratory."""
        there = [str(self.folder / "programs" / "skytrail"), "lab", "exec", host] if host else []
        made = Shell([*self._enter, *there, "bash", "--norc", "-o", "pipefail"], self._environment, self.folder)
        try:
            yield made
        finally:
            made.close()

    def build(self, laboratory: str) -> None:
        """See to it that this laboratory is there, and no other."""
        if laboratory == self.laboratory:
            return
        with self.shell() as shell:
            for command in (_END[self.laboratory], _BEGIN[laboratory]):
                status, said = shell.run(command, 200)
                assert status == 0, said
        self.laboratory = laboratory

    def clear(self) -> None:
        """End the laboratory that is there, and one that a page built itself and did not remove."""
        self.build("none")
        self.laboratory = _LABS[0]
        self.build("none")


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A host of its own; what runs there ends with it."""
    held = subprocess.Popen([_APART, "sh", "-c", _HOLD], stdout=subprocess.PIPE)
    try:
        assert held.stdout is not None
        assert held.stdout.readline() == b"here\n"
        children = Path(f"/proc/{held.pid}/task/{held.pid}/children")
        yield Machine(int(until(children.read_text).split()[0]), folder)
    finally:
        held.kill()
        held.communicate()
