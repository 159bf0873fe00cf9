"""Real network namespaces with real traffic: all names begin with a prefix of the test's own, all is removed at its end."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from skytrail.kernel.worker import setns

T = TypeVar("T")

NETNS = Path("/run/netns")


def until(condition: Callable[[], T], seconds: float = 10.0, every: float = 0.02) -> T:
    """Wait until something is true, and give it; an AssertionError inside is shown if it never comes true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
            failure = AssertionError(f"not true within {seconds:g} s, but {value!r}")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(every)


def in_netns(name: str, call: Callable[[], T]) -> T:
    """Run a function on a thread in a namespace; what it opens stays there."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            with (NETNS / name).open() as namespace:
                setns(namespace.fileno())
            result.append(call())
        except BaseException as error:  # noqa: BLE001 - handed on to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


@dataclass(frozen=True)
class End:
    """One end of a veth pair: namespace, interface, addresses (without their length)."""

    netns: str
    interface: str
    ip4: str
    ip6: str = ""


class Net:
    """Makes namespaces, links and processes with iproute2 and util-linux."""

    def __init__(self) -> None:
        self.prefix = f"k{secrets.token_hex(2)}"
        self._names: list[str] = []
        self._processes: list[subprocess.Popen[str]] = []

    def name(self, suffix: str) -> str:
        """A name for an interface or namespace."""
        name = f"{self.prefix}{suffix}"
        assert len(name) < 16
        return name

    def ip(self, *arguments: str, netns: str = "", check: bool = True) -> str:
        """Run ``ip``; words that hold a blank are split."""
        words = [word for argument in arguments for word in argument.split()]
        where = ["-n", netns] if netns else []
        done = subprocess.run(["ip", *where, *words], capture_output=True, text=True)
        assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
        return done.stdout

    def netns(self, suffix: str, *, ipv6: bool = False) -> str:
        """Make a named namespace, its loopback up. Without IPv6 nobody in it talks without being asked to."""
        name = self.name(suffix)
        self._names.append(name)
        self.ip("netns add", name)
        if not ipv6:
            self.run(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self.ip("link set lo up", netns=name)
        return name

    def pair(self, left: str = "a", right: str = "b", *, ipv6: bool = False, up: bool = True) -> tuple[End, End]:
        """Two new namespaces joined by a veth pair: 10.0.0.1 and .2, 2001:db8::1 and ::2."""
        ends = tuple(
            End(self.netns(suffix, ipv6=ipv6), self.name(f"v{suffix}"), f"10.0.0.{host}", f"2001:db8::{host}" if ipv6 else "")
            for host, suffix in ((1, left), (2, right))
        )
        self.veth(*ends, up=up)
        return ends

    def veth(self, left: End, right: End, *, up: bool = True) -> None:
        """A veth pair between two namespaces that are there."""
        peer = f"peer name {right.interface} netns {right.netns}"
        self.ip(f"link add {left.interface} netns {left.netns} type veth", peer)
        for end in (left, right):
            if end.ip4:
                self.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=end.netns)
            if end.ip6:
                self.ip(f"address add {end.ip6}/64 dev {end.interface} nodad", netns=end.netns)
            if up:
                self.ip(f"link set {end.interface} up", netns=end.netns)

    def run(self, netns: str, *command: str, check: bool = True, timeout: float = 60.0, stdin: str = "") -> str:
        """Run a program to its end in a namespace; gives what it prints, errors too."""
        enter = [f"nsenter --net={NETNS / netns}"] if netns else []
        words = [word for part in enter for word in part.split()] + list(command)
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, input=stdin)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
        return done.stdout

    def spawn(self, netns: str, *command: str) -> subprocess.Popen[str]:
        """Start a program in a namespace; it is ended with the test."""
        enter = ["nsenter", f"--net={NETNS / netns}"] if netns else []
        process = subprocess.Popen(
            [*enter, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._processes.append(process)
        return process

    def ping(self, netns: str, address: str, *, count: int = 3, identifier: int = 4660, size: int = 56) -> str:
        """Ping, quickly, with a known identifier; every answer must come."""
        options = ["-n", "-c", str(count), "-i", "0.02", "-W", "2", "-e", str(identifier), "-s", str(size)]
        return self.run(netns, "ping", *options, address)

    def link(self, netns: str, interface: str) -> dict[str, Any]:
        """What ``ip -s -d -j link show`` says."""
        found: list[dict[str, Any]] = json.loads(self.ip(f"-s -d -j link show dev {interface}", netns=netns))
        return found[0]

    def packets(self, end: End) -> tuple[int, int]:
        """The interface's own counters: packets received, sent."""
        stats = self.link(end.netns, end.interface)["stats64"]
        return stats["rx"]["packets"], stats["tx"]["packets"]

    def mac(self, end: End) -> str:
        """The interface's MAC."""
        return str(self.link(end.netns, end.interface)["address"])

    @contextmanager
    def capture(self, end: End, path: Path, snaplen: int = 0) -> Iterator[None]:
        """Have tcpdump write what passes an interface; inside, it listens already, and after, the file is whole."""
        command = [
            "tcpdump",
            "-i",
            end.interface,
            "-w",
            str(path),
            "-s",
            str(snaplen),
            "-U",
            "-n",
            "-B",
            "65536",
            "--immediate-mode",
        ]
        process = self.spawn(end.netns, *command)
        assert process.stdout
        said = ""
        while "listening" not in said:
            said = process.stdout.readline()
            assert said, "tcpdump has ended"
        yield
        before = -1
        while path.stat().st_size != before:  # what is on its way to the file
            before = path.stat().st_size
            time.sleep(0.1)
        process.terminate()
        said, _ = process.communicate(timeout=10)
        assert "0 packets dropped by kernel" in said

    def close(self) -> None:
        """Remove everything."""
        for process in reversed(self._processes):
            process.kill()
            process.communicate()
        for link in json.loads(self.ip("-j link show")):
            if link["ifname"].startswith(self.prefix):
                self.ip("link del", link["ifname"], check=False)  # its peer may have gone with another
        for name in self._names:
            self.ip("netns del", name, check=False)  # the test may have done so


def unnamed_netns() -> subprocess.Popen[str]:
    """A process in a network namespace that has no name; the caller ends it."""
    ours = Path("/proc/self/ns/net").readlink()
    process = subprocess.Popen(["unshare", "-n", "sleep", "300"], text=True)
    until(lambda: Path(f"/proc/{process.pid}/ns/net").readlink() != ours)
    return process
