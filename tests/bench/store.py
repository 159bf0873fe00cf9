"""The embedded store: applying changes, the graph at a moment and the difference of two out of a long history, starting."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.report import Line
from topology.elements import Part, State, node_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change

START = 1_700_000_000_000_000
BATCH = 1000
ALIVE = 10_000
STEP = 1000  # µs between two births


def state(number: int, version: int) -> State:
    """As this host's probes give them: 25 keys, 2 KB."""
    metadata: dict[str, Any] = {
        "Name": f"veth{number}",
        "Type": "veth",
        "MAC": f"02:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
        "IfIndex": number % 1000,
        "MTU": 1500 + version,
        "State": "UP",
        "IPV4": [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/24"],
        "LinkFlags": ["UP", "BROADCAST", "MULTICAST", "LOWER_UP"],
        "Features": {f"tx-feature-number-{one}": one % 2 == 0 for one in range(45)},
        "RoutingTables": [{"ID": 254, "Routes": [{"Prefix": f"10.{one}.0.0/16", "Protocol": 2} for one in range(4)]}],
        **{f"Key{one}": f"value {one} of {number}" for one in range(15)},
    }
    return State("host1", "agent.host1", {"netlink": Part.of(metadata)}, f"host/1/netns/host/link/veth/{number}")


def small(number: int, version: int) -> State:
    """A state of 300 bytes, for long histories."""
    metadata = {"Name": f"veth{number}", "Type": "veth", "MTU": 1500 + version, "State": "UP", "IfIndex": number}
    return State("host1", "agent.host1", {"netlink": Part.of(metadata)}, f"host/1/netns/host/link/veth/{number}")


def apply() -> Iterator[Line]:
    """Durable changes a second, in batches: new elements, then a change of each."""
    count = 20_000
    for name, synchronous in (("", "normal"), (", an fsync a batch", "full")):
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddedStore(Path(folder), synchronous=synchronous)  # type: ignore[arg-type]  # the two there are
            rates = []
            for version in range(3):
                changes = [
                    Change(node_id(str(number)), START + version * 1000 + 1, state(number, version)) for number in range(count)
                ]
                began = time.perf_counter()
                for at in range(0, count, BATCH):
                    store.apply(Batch("bench", 1, version * count + at + 1, START, tuple(changes[at : at + BATCH])))
                rates.append(count / (time.perf_counter() - began))
            store.close()
        yield Line(f"embedded store, new elements of 2 KB{name}", rates[0], "changes/s", least=20_000)
        yield Line(f"embedded store, changes of 2 KB{name}", statistics.median(rates[1:]), "changes/s", least=20_000)


def history() -> Iterator[Line]:
    """Out of 2 M revisions of 1 M elements, and of 10 M (BENCH_LONG=1; minutes, and 6 GB): one moment, two moments, a start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = yield from _asked(folder, 1_000_000, None)
        if os.environ.get("BENCH_LONG"):
            yield from _asked(folder, 5_000_000, short)


def _asked(folder: Path, elements: int, before: list[float] | None) -> Iterator[Line]:
    store = EmbeddedStore(folder)
    _live_on(store, elements)
    last = START + elements * STEP
    revisions = f"{2 * elements / 1e6:.0f} M revisions"
    chance = random.Random(7)
    moments = [chance.randrange(START + ALIVE * STEP, last) for _ in range(9)]
    at = statistics.median(_seconds(lambda moment=moment: store.as_of(moment)) for moment in moments)
    assert ALIVE * 0.9 < len(store.as_of(moments[0])) <= ALIVE
    assert len(set(moments)) == len(moments)
    two = statistics.median(
        _seconds(lambda one=one, other=other: list(store.diff(one, other))) for one, other in itertools.pairwise(moments)
    )
    for what, seconds, earlier in (("graph at T", at, before and before[0]), ("diff of two times", two, before and before[1])):
        yield Line(
            f"{what}, 10,000 elements of {revisions}",
            seconds * 1000,
            "ms",
            earlier * 1000 if earlier else None,
            "2 M revisions" if earlier else "",
            seconds / earlier if earlier else None,
            most=1.3 if earlier else 200,
            of_ratio=bool(earlier),
        )
    store.close()
    yield from _started(folder, revisions)
    return [at, two]


def _live_on(store: EmbeddedStore, elements: int) -> None:
    """Each element is born, changes once, and dies when ALIVE others have been born since."""
    number = store.last_number("bench", 1)
    born = store.health().elements and _born(store)
    for at in range(born, elements, BATCH):
        changes = []
        for one in range(at, at + BATCH):
            when = START + one * STEP
            changes.append(Change(node_id(str(one)), when, small(one, 0)))
            changes.append(
                Change(node_id(str(one - ALIVE // 2)), when, small(one - ALIVE // 2, 1)) if one >= ALIVE // 2 else changes[-1]
            )
            if one >= ALIVE:
                changes.append(Change(node_id(str(one - ALIVE)), when, None))
        number += 1
        store.apply(Batch("bench", 1, number, START, tuple(changes)))


def _born(store: EmbeddedStore) -> int:
    return max(int(one.state.metadata["IfIndex"]) for one in store.current() if one.state) + 1


def _started(folder: Path, revisions: str) -> Iterator[Line]:
    """A process that opens it."""
    code = (
        "import sys, time, resource\nfrom pathlib import Path\nbegan = time.perf_counter()\n"
        "from topology.store.embedded.store import EmbeddedStore\nstore = EmbeddedStore(Path(sys.argv[1]))\n"
        "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True).stdout.split()
    yield Line(f"start with 10,000 live elements of {revisions}", float(said[0]), "s", most=5)


def live() -> Iterator[Line]:
    """Start with 100,000 live elements of 2 KB and 2 M revisions of others; memory then."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = EmbeddedStore(folder)
        _live_on(store, 1_000_000)
        for at in range(0, 100_000, BATCH):
            made = tuple(Change(node_id(f"live{one}"), START + one, state(one, 0)) for one in range(at, at + BATCH))
            store.apply(Batch("live", 1, at + 1, START, made))
        store.close()
        code = (
            "import sys, time, resource\nfrom pathlib import Path\nbegan = time.perf_counter()\n"
            "from topology.store.embedded.store import EmbeddedStore\nfrom topology.reconcile import Reconciler\n"
            "store = EmbeddedStore(Path(sys.argv[1]))\nreconciler = Reconciler(store, 'x', lambda: time.time_ns() // 1000)\n"
            "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        said = subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
        ).stdout.split()
        yield Line("start with 110,000 live elements, 2 M revisions", float(said[0]), "s", most=5)
        yield Line("… resident memory then", int(said[1]) / 1024, "MB", most=700)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
