"""Asks a bridge for its rules and groups, and hears when its rules change; by ``ovs-ofctl``. I/O."""

from __future__ import annotations

import heapq
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skytrail.errors import RunError
from topology.probes.openflow.translate import Group, Rule, read_group, read_rule

T = TypeVar("T")

_PROGRAM = ("ovs-ofctl", "--no-names", "-O", "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15")
"""The latest version that the bridge speaks, too, is used."""

_FILES = ("--private-key", "--certificate", "--ca-cert")

_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""What is asked to listen does not outlive us, however we end."""

_PATIENCE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    """What a bridge has.

    Attributes:
        rules: of these some, if they are too many: always the same.
        groups: likewise.
        left_out: how many are not told.
        malformed: lines that could not be read.
    """

    rules: list[Rule]
    groups: list[Group]
    left_out: int = 0
    malformed: int = 0


class BridgeSource:
    """A bridge.

    Args:
        target: its socket (``unix:PATH``), or where it listens (``tcp:HOST:PORT``, ``ssl:HOST:PORT``).
        most: rules and groups, of each at most so many are kept.
        tls: files of our key, of our certificate and of the authorities; for ``ssl`` only.
    """

    def __init__(self, target: str, most: int, tls: tuple[str, str, str] | None = None) -> None:
        self.target, self._most = target, most
        files = zip(_FILES, tls, strict=True) if tls is not None and target.startswith("ssl:") else ()
        self._program = (*_PROGRAM, *(f"{option}={file}" for option, file in files))

    def read(self) -> Found:
        """All that it has now. Raises RunError: it does not tell."""
        rules = _Chosen(read_rule, self._most, lambda rule: rule.key)
        rules.take(self._ask("dump-flows"))
        groups = _Chosen(read_group, self._most, lambda group: group.id)
        groups.take(self._ask("dump-groups"))
        left_out = rules.count - len(rules.found) + groups.count - len(groups.found)
        return Found(rules.found, groups.found, left_out, rules.malformed + groups.malformed)

    def _ask(self, what: str) -> Iterator[str]:
        try:
            process = subprocess.Popen(
                [*self._program, f"--timeout={_PATIENCE:.0f}", what, self.target],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            )  # fmt: skip
        except FileNotFoundError:
            raise RunError(
                "ovs-ofctl is not installed: install openvswitch-common, or set topology.ovsdb.openflow to 0"
            ) from None
        with process:
            assert process.stdout
            assert process.stderr
            yield from process.stdout
            said = process.stderr.read(1 << 12).strip().partition("\n")[0]
        if process.returncode:
            raise RunError(said or f"ovs-ofctl {what} failed")

    def listen(self) -> subprocess.Popen[bytes]:
        """A process that writes something when a rule changes, and ends with the bridge. Raises OSError, RunError."""
        command = [*_ENDS_WITH_US, *self._program, "monitor", self.target, "watch:!initial"]
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            raise RunError(f"{command[0]} is not installed: install util-linux, or set topology.ovsdb.openflow to 0") from None


class _Chosen(Generic[T]):
    """The first ones in an order, of however many."""

    def __init__(self, read: Callable[[str], T | None], most: int, key: Callable[[T], Any]) -> None:
        self._read, self._most, self._key = read, most, key
        self.found: list[T] = []
        self.count = self.malformed = 0

    def take(self, lines: Iterable[str]) -> None:
        self.found = heapq.nsmallest(self._most, self._counted(lines), key=self._key)

    def _counted(self, lines: Iterable[str]) -> Iterator[T]:
        for line in lines:
            try:
                one = self._read(line)
            except ValueError:
                self.malformed += 1
                continue
            if one is not None:
                self.count += 1
                yield one
