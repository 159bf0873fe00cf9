"""A shell that stays open in a place of the laboratory: a command a few ms."""

from __future__ import annotations

import subprocess

from skytrail.lab.places import entering, environment
from skytrail.lab.plan import Place
from skytrail.lab.state import Lab

_MARK = "::status "


class Shell:
    """For one thread."""

    def __init__(self, lab: Lab, place: Place) -> None:
        self._process = subprocess.Popen(
            [*entering(lab, place), "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            env=environment(),
        )

    def run(self, line: str) -> tuple[int, str]:
        """Exit status of a line, and what it said."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line} </dev/null\nprintf '\\n{_MARK}%s\\n' $?\n")
        said: list[str] = []
        for one in self._process.stdout:
            if one.startswith(_MARK):
                return int(one.removeprefix(_MARK)), "".join(said).removesuffix("\n")
            said.append(one)
        raise RuntimeError(f"the shell has ended: {''.join(said)}")

    def do(self, line: str) -> str:
        """What a line said, which must succeed."""
        status, said = self.run(line)
        if status:
            raise RuntimeError(f"{line}: {said}")
        return said

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(10)
