"""A laboratory of real network namespaces, links and processes: all named with one prefix, all removed at the end."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from skytrail.kernel.worker import NamespaceWorker

T = TypeVar("T")


class Lab:
    """Makes what a test needs with iproute2 and util-linux."""

    def __init__(self) -> None:
        self.prefix = f"t{secrets.token_hex(3)}"
        self._names: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def ip(self, *arguments: str, check: bool = True) -> str:
        """Run ``ip`` and give what it prints."""
        return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout

    def batch(self, lines: list[str], netns: str = "") -> None:
        """Run many ``ip`` commands in one process."""
        where = ["-n", netns] if netns else []
        subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines), check=True, text=True, capture_output=True)

    def name(self, suffix: str) -> str:
        """A name for a link or namespace."""
        return f"{self.prefix}{suffix}"

    def netns(self, suffix: str) -> str:
        """Make a named namespace."""
        name = self.name(suffix)
        self._names.append(name)
        self.ip("netns", "add", name)
        return name

    def process(self, *, in_new_namespace: bool = True) -> subprocess.Popen[bytes]:
        """Start a process that sleeps, in a network namespace of its own."""
        return self._sleeping(["unshare", "-n"] if in_new_namespace else [], in_new_namespace=in_new_namespace)

    def started(self, *command: str) -> int:
        """The number of a process that sleeps in a network namespace of its own, which a command makes."""
        return self._sleeping(command, in_new_namespace=True).pid

    def _sleeping(self, command: Sequence[str], *, in_new_namespace: bool) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*command, "sleep", "300"])
        self._processes.append(process)
        ours = Path("/proc/self/ns/net").readlink()
        self.until(lambda: Path(f"/proc/{process.pid}/ns/net").readlink() != ours or not in_new_namespace)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that :meth:`process` started."""
        process.kill()
        process.wait()

    def links(self, netns: str = "", pid: int = 0) -> dict[int, dict[str, Any]]:
        """What ``ip -d -j link`` says: ifindex → link."""
        enter = ["nsenter", "-t", str(pid), "-n"] if pid else []
        where = ["-n", netns] if netns else []
        command = [*enter, "ip", *where, "-d", "-j", "link"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout or "[]")
        return {link["ifindex"]: link for link in found}

    def until(self, condition: Callable[[], T], seconds: float = 10.0) -> T:
        """Wait until something is true, and give it."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.005)
        return value

    def close(self) -> None:
        for process in self._processes:
            self.end(process)
        for link in self.links().values():
            if link["ifname"].startswith(self.prefix):
                self.ip("link", "del", link["ifname"], check=False)  # its peer may have gone with another
        for name in self._names:
            self.ip("netns", "del", name, check=False)  # the test may have done so


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def worker() -> Iterator[NamespaceWorker]:
    made = NamespaceWorker()
    yield made
    made.close()
