"""Removes clsact filters whose agent is dead: TCX links and sockets go with their process, clsact filters do not.

When it dies (``python -m exporters.bpf.guard OWNER``), at the next agent's start (``python -m exporters.bpf.guard``: those of
all dead agents), and by ``skytrail cleanup``. The guard is a small process that outlives the agent: it waits for the end of
its standard input, which is a pipe from the agent, and then removes what that agent left; unless it was told ``done``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


def main() -> None:
    """Wait for the agent's death, then clean up; or clean up at once."""
    if not sys.argv[1:]:
        remove_of_the_dead()
        return
    owner = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the agent; its end ends us
    if sys.stdin.read().strip() != "done":
        _remove_everywhere(lambda found: found == owner)


def remove_of_the_dead() -> tuple[int, int]:
    """Remove the clsact filters of dead agents in every network namespace of this host.

    Returns:
        How many were removed, and how many are left because their agent lives.

    """
    from exporters.bpf.entry import owner_lives  # noqa: PLC0415 - numpy, not while waiting

    left = 0

    def dead(owner: int) -> bool:
        nonlocal left
        lives = owner_lives(owner)
        left += lives
        return not lives

    return _remove_everywhere(dead), left


def _remove_everywhere(of: Callable[[int], bool]) -> int:
    """Remove the clsact filters of some owners in every network namespace that we may enter; returns how many there were."""
    from skytrail.kernel.worker import setns  # noqa: PLC0415 - not while waiting

    removed = _remove_here(of)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    away = False
    try:
        for fd in _others(home):
            try:
                setns(fd)
            except PermissionError:  # whose agent follows its own namespace alone
                continue
            finally:
                os.close(fd)
            away = True
            removed += _remove_here(of)
    finally:
        if away:
            setns(home)
        os.close(home)
    return removed


def _remove_here(of: Callable[[int], bool]) -> int:
    from pyroute2 import IPRoute  # noqa: PLC0415 - 10 MB, not while waiting

    from exporters.bpf.attach import remove_filters  # noqa: PLC0415

    with IPRoute() as route:
        return sum(remove_filters(route, link["index"], of) for link in route.get_links())


def _others(home: int) -> Iterator[int]:
    """Descriptors of all network namespaces but one that have a name or a process, each once."""
    own = os.fstat(home)
    seen = {(own.st_dev, own.st_ino)}
    paths = [*Path("/proc").glob("[0-9]*/ns/net"), *Path("/run/netns").glob("*"), *Path("/run/docker/netns").glob("*")]
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # a process that ended, a name that goes
        state = os.fstat(fd)
        if (state.st_dev, state.st_ino) in seen:
            os.close(fd)
            continue
        seen.add((state.st_dev, state.st_ino))
        yield fd


if __name__ == "__main__":
    main()
