"""The servers of workloads, as lines of shell: started, ended."""

from __future__ import annotations

import shlex
import sys

from skytrail.lab import apps

_FOLDER = "/run/skytrail"


def serving(tcp: int = 80, udp: int = 53) -> list[str]:
    """A server's program and arguments."""
    return [sys.executable, "-I", apps.__file__, "serve", "--tcp", str(tcp), "--udp", str(udp)]


def stuck(tcp: int = 80) -> list[str]:
    """One that does not accept."""
    return [sys.executable, "-I", apps.__file__, "stuck", "--tcp", str(tcp)]


def started(name: str, words: list[str]) -> str:
    """The line that starts a workload's server, and ends when it listens."""
    log, pid = f"{_FOLDER}/{name}.log", f"{_FOLDER}/{name}.pid"
    begin = f"{shlex.join(words)} >{log} 2>&1 </dev/null & echo $! >{pid}"
    return f"setsid sh -c {shlex.quote(begin)}; until grep -q ready {log}; do kill -0 $(cat {pid}); sleep 0.02; done"


def stopped(name: str) -> str:
    """The line that ends it."""
    pid = f"{_FOLDER}/{name}.pid"
    return f"kill $(cat {pid}); while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.02; done"
