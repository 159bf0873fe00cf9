"""Traffic between the workloads of two hosts, of which every packet is noted by who sent it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from skytrail.lab.places import entering, environment
from skytrail.lab.plan import Plan
from skytrail.lab.state import Lab

_PROGRAM = Path(__file__).with_name("talker.py")
_PAIRS = (("a1", "b1"), ("a2", "b2"), ("b1", "a2"))
_DNS = 53

Point = tuple[str, str, str]
"""Host, namespace (empty: the host's own), interface."""


@dataclass(frozen=True)
class Conversation:
    """What one socket did.

    Attributes:
        ends: address and port of ours, then of the other one.
        sent: before and after each packet, ns since the epoch.
        received: when each answer was taken.
        points: where its packets pass.
    """

    ends: tuple[tuple[str, int], tuple[str, int]]
    sent: list[tuple[int, int]]
    received: list[int]
    points: tuple[Point, ...]


class Talk:
    """Until it is stopped.

    Args:
        lab: where.
        plan: of it.
        rate: packets a second of each conversation, of which there are six at a time.
        lasts: seconds of a conversation.
    """

    def __init__(self, lab: Lab, plan: Plan, rate: float, lasts: float) -> None:
        self._plan = plan
        self._running: list[tuple[str, str, subprocess.Popen[str]]] = []
        for number, (source, destination) in enumerate(_PAIRS):
            targets = [(address, _DNS) for address in plan.workload(destination).address.values()]
            todo = {"targets": targets, "rate": rate, "lasts": lasts, "port": 20_000 + 4_000 * number}
            words = [*entering(lab, plan.workload(source).place), sys.executable, "-I", str(_PROGRAM)]
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
            )
            assert process.stdin
            process.stdin.write(json.dumps(todo) + "\n")
            process.stdin.flush()
            self._running.append((source, destination, process))

    def stop(self) -> list[Conversation]:
        """What was said."""
        found = []
        for source, destination, process in self._running:
            said, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            points = self._points(source) + self._points(destination)
            for one in json.loads(said):
                ends = (one["address"], one["port"]), (one["peer"], one["peer_port"])
                found.append(Conversation(ends, [(a, b) for a, b in one["sent"]], one["received"], points))
        return found

    def close(self) -> None:
        for _, _, process in self._running:
            process.kill()

    def _points(self, name: str) -> tuple[Point, ...]:
        """Of a workload's side: its own interface, the host's end of it, the bridge, and the way out."""
        host = self._plan.workload(name).node
        return (host, name, "eth0"), (host, "", name), (host, "", "br0"), (host, "", "eth0")
