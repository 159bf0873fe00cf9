"""The processes of a laboratory: started so that they are recorded before they are anything, ended by their record."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from skytrail.errors import RunError

_GONE_SECONDS = 10.0
_STARTED = 22 - 3  # /proc/PID/stat: "starttime" is its 22nd field, and what follows the name begins with the third

# It records itself (pid and start time, which exec keeps) and gives the lock away only then: who has it sees all records.
_RECORD = 'record=$1; shift; cut -d" " -f1,22 /proc/$$/stat >"$record"; exec "$@" </dev/null'


def start_recorded(
    record: Path, command: Sequence[str], *, lock: int, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in the background.

    Args:
        record: file for its pid and start time.
        command: program and arguments.
        lock: the laboratory's lock, held until the record is written, even if we are killed.
        log: what it writes is appended here.
        env: its environment; None: ours.
    """
    words = ["sh", "-c", _RECORD, "sh", str(record), *command]
    with log.open("ab") as output:
        return subprocess.Popen(words, stdin=lock, stdout=output, stderr=output, env=env, cwd="/", start_new_session=True)


def read_record(record: Path) -> int | None:
    """The pid of a recorded process; None if it has ended, whoever has its number now."""
    try:
        pid, started = record.read_text().split()
        return int(pid) if _started(int(pid)) == int(started) else None
    except (OSError, ValueError):
        return None


def _started(pid: int) -> int | None:
    """Start time in ticks; None for a process that is not there any more, or a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(rest[_STARTED - 1])


def end(records: Sequence[Path]) -> int:
    """Kill recorded processes, and wait until they are gone; says how many there were.

    Raises:
        RunError: one does not go.
    """
    pids = {record: pid for record in records if (pid := read_record(record)) is not None}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _GONE_SECONDS
    while left := [pid for record, pid in pids.items() if read_record(record) is not None]:
        if time.monotonic() > deadline:
            raise RunError(f"processes {', '.join(map(str, left))} do not end: look at them with ps, then try again")
        time.sleep(0.01)
    return len(pids)


def only_child(pid: int) -> int | None:
    """The child of a process that has one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
