"""Removes our clsact filters: when the agent dies (``python -m exporters.bpf.guard``), and by ``skytrail cleanup``.

TCX links and sockets go with their process; clsact filters do not. The guard is a small process that outlives the agent:
it waits for the end of its standard input, which is a pipe from the agent, and then removes what the agent left. Lines
``qdisc COOKIE IFINDEX`` on it name the clsact qdiscs that the agent made; those of others are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

Qdiscs = frozenset[tuple[int, int]]


def main() -> None:
    """Wait for the agent's death, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the agent; its end ends us
    made = set()
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "qdisc" and len(numbers) == 2:
            made.add((int(numbers[0]), int(numbers[1])))
        elif word == "done":
            return
    remove_everywhere(frozenset(made))


def remove_everywhere(made: Qdiscs = frozenset()) -> int:
    """Remove our clsact filters in every network namespace of this host; returns how many there were.

    Args:
        made: (namespace cookie, ifindex) of the clsact qdiscs that we made: removed too, if empty.

    """
    from pyroute2 import IPRoute  # noqa: PLC0415 - 10 MB, not while waiting

    from exporters.bpf.attach import remove_filters  # noqa: PLC0415
    from skytrail.kernel.worker import current_cookie, setns  # noqa: PLC0415

    removed = 0
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        for fd in _namespaces():
            setns(fd)
            os.close(fd)
            cookie = current_cookie()
            with IPRoute() as route:
                for link in route.get_links():
                    index = link["index"]
                    removed += remove_filters(route, index, with_qdisc=(cookie, index) in made)
    finally:
        setns(home)
        os.close(home)
    return removed


def _namespaces() -> Iterator[int]:
    """Descriptors of all network namespaces that have a name or a process, each once."""
    seen = set()
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
