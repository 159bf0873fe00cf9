"""Processes that have sockets: each is read from /proc once, and remembered for a while after it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytrail.runtimes.cgroups import group_of_process

_REMEMBERED = 300.0  # seconds after it was last seen
_MOST = 65_536


@dataclass(frozen=True, slots=True)
class Process:
    """A process.

    Attributes:
        pid: as the first PID namespace numbers it.
        name: of its first thread, 15 bytes at most.
        executable: path as it sees it; empty: it was gone before it could be read.
        cgroup: its cgroup's path (of version 2, or of version 1's longest); empty: that was gone, too.
    """

    pid: int
    name: str
    executable: str = ""
    cgroup: str = ""


NOBODY = Process(0, "")


class Processes:
    """Those that were seen. For one thread at a time.

    Args:
        proc: where procfs is.
        clock: seconds.
        group: the path of a cgroup by its id; empty: it is not known.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
        group: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._proc, self._clock, self._group = proc, clock, group
        self._known: dict[tuple[int, int], tuple[Process, float]] = {}

    def of(self, owners: NDArray[Any]) -> tuple[list[Process], NDArray[np.intp]]:
        """The different processes of owners (rows of ``exporters.bpf.sockets.OWNER``), and which one each row has."""
        # two that are equal in this are the same: start times are ns
        marks = owners["started"] ^ (owners["pid"].astype("u8") << np.uint64(42))
        _, first, which = np.unique(marks, return_index=True, return_inverse=True)
        now = self._clock()
        found = [self._seen(owner, now) for owner in owners[first].tolist()]
        if len(self._known) > _MOST:
            self._forget(now)
        return found, which

    def _seen(self, owner: tuple[Any, ...], now: float) -> Process:
        started, group, pid, _, comm = owner
        if not pid:
            return NOBODY
        known = self._known.get((pid, started))
        name = comm.decode("utf-8", "replace")
        if known is None or known[0].name != name:  # another name: it has begun another program
            process = self._read(pid, name, group)
            if known is not None and not process.executable:
                process = Process(pid, name, known[0].executable, known[0].cgroup)
        else:
            process = known[0]
        self._known[pid, started] = process, now
        return process

    def _read(self, pid: int, name: str, group: int) -> Process:
        folder = self._proc / str(pid)
        try:
            cgroup = group_of_process((folder / "cgroup").read_text(encoding="utf-8", errors="replace"))
            executable = str((folder / "exe").readlink())
        except OSError:  # it is gone, or a thread of the kernel's
            return Process(pid, name, cgroup=self._group(group))
        return Process(pid, name, executable.removesuffix(" (deleted)"), cgroup)

    def _forget(self, now: float) -> None:
        """Those that were not seen for long; if that is not enough, those that were not seen for longest."""
        recent = {key: known for key, known in self._known.items() if now - known[1] < _REMEMBERED}
        if len(recent) > _MOST:
            recent = dict(sorted(recent.items(), key=lambda item: item[1][1])[-_MOST // 2 :])
        self._known = recent


def cgroup2_of(text: str) -> str:
    """The path of /proc/PID/cgroup that is of version 2; empty: there is none."""
    return next((line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::")), "")
