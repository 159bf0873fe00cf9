"""Ordinary traffic of workloads: one question, or many at given rates; what is counted is what the programs counted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from skytrail.errors import RunError
from skytrail.lab import apps
from skytrail.lab.breaks.fault import Exchange
from skytrail.lab.places import entering, environment, run
from skytrail.lab.plan import Family, Plan
from skytrail.lab.state import Lab

SMALL = {"tcp": 3, "udp": 32, "icmp": 56}
LARGE = {"tcp": 20_000, "udp": 1_400, "icmp": 1_400}
"""Bytes of an answer, of which the packets are as long as cables allow, or nearly so."""

_PROGRAM = [sys.executable, "-I", apps.__file__]
_GRACE = 30.0  # seconds: answers that are waited for still


def ask(lab: Lab, plan: Plan, exchange: Exchange, size: int | None = None, count: int = 1) -> int:
    """How many of so many questions were answered, one after the other.

    Args:
        lab: where.
        plan: of it.
        exchange: who asks whom, and how.
        size: bytes of an answer; None: few.
        count: questions.
    """
    source, destination = plan.workload(exchange.source), plan.workload(exchange.destination)
    address, proto = destination.address[exchange.family], exchange.proto
    wanted = size or SMALL[proto]
    if proto == "icmp":
        words = [
            "ping",
            f"-{exchange.family}",
            "-n",
            "-q",
            "-c",
            str(count),
            "-i",
            "0.05",
            "-W",
            "1",
            "-s",
            str(wanted),
            address,
        ]
        _, said = run(lab, source.place, words)
        return int(said.partition(" received")[0].split()[-1]) if " received" in said else 0
    words = [*_PROGRAM, "try", proto, address, str(exchange.port), str(wanted), str(count)]
    status, said = run(lab, source.place, words, timeout=10 + 5.0 * count)
    if status:
        raise RunError(f"{source.name}: {said.strip()[-200:]}")
    return int(said)


class Rates(NamedTuple):
    """Questions a second of each pair of workloads, by what they ask."""

    http: float = 2.0
    dns: float = 4.0
    bulk: float = 0.2
    ping: float = 1.0


_SIZES = {"http": ("tcp", 2_000), "dns": ("udp", 60), "bulk": ("tcp", 1_000_000), "ping": ("icmp", 56)}


def traffic(lab: Lab, plan: Plan, rates: Rates, seconds: float, seed: int) -> list[dict[str, object]]:
    """Load the laboratory, and give what each pair counted.

    Args:
        lab: where.
        plan: of it.
        rates: by what is asked.
        seconds: how long; answers are waited for a little longer.
        seed: of the times.

    Raises:
        RunError: a program failed.
    """
    started = []
    for name in [one.name for one in plan.workloads if one.netns]:
        rows, pairs = _tasks(plan, name, rates)
        if rows:
            words = [
                *entering(lab, plan.workload(name).place),
                *_PROGRAM,
                "load",
                "--seconds",
                str(seconds),
                "--seed",
                str(seed),
            ]
            started.append((name, pairs, _start(words, json.dumps(rows))))
    counts: list[dict[str, object]] = []
    for name, pairs, process in started:
        said, _ = process.communicate(timeout=seconds + _GRACE)
        if process.returncode:
            raise RunError(f"{name}: {said.strip()[-200:]}")
        counts += [
            {"source": name, "destination": to, "what": what, "family": family, **count}
            for (to, what, family), count in zip(pairs, json.loads(said), strict=True)
        ]
    return counts


def _start(words: list[str], given: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment())
    assert process.stdin
    process.stdin.write(given)
    process.stdin.close()
    process.stdin = None
    return process


def _tasks(plan: Plan, source: str, rates: Rates) -> tuple[list[Sequence[object]], list[tuple[str, str, Family]]]:
    """What a workload asks of all others: rows for the program, and what each stands for."""
    rows: list[Sequence[object]] = []
    pairs: list[tuple[str, str, Family]] = []
    families: tuple[Family, ...] = (4, 6)
    for way in (way for way in plan.ways if way.source.name == source):
        for what, rate in rates._asdict().items():
            for family in families:
                if rate > 0:
                    proto, size = _SIZES[what]
                    port = {"tcp": 80, "udp": 53, "icmp": 0}[proto]
                    rows.append((proto, way.destination.address[family], port, size, rate / 2))
                    pairs.append((way.destination.name, what, family))
    return rows, pairs
