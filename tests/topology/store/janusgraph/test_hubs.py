"""Several hubs on one JanusGraph, each a process of its own: one order for all, nothing overwritten, no half batch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract.model import Model
from contract.steps import T, apply, batch, element, node, states
from support.graphhistory import flaws

from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

A = element("a")
ROOT = Path(__file__).parents[4]
TRANSACTIONAL = os.environ.get("JANUSGRAPH_BACKEND") != "cql"
WIDE = 2000
"""Changes of a batch of several transactions."""
BATCHES = 100 if TRANSACTIONAL else 30
"""Of each of two that write at once: so many that one does not end while the other still waits for its first turn."""

_HEAD = f"""
import sys
from contract.steps import T, batch, element, node
from topology.store.interface import StaleWriterError
from topology.store.janusgraph import commit
from topology.store.janusgraph.store import JanusGraphStore
store = JanusGraphStore(sys.argv[1], transactional={TRANSACTIONAL})
hub = int(sys.argv[2])
"""

_WRITER = (
    _HEAD
    + f"""
import time
print("ready", flush=True)
sys.stdin.readline()
for number in range(1, {BATCHES} + 1):
    shared = element("shared"), hub * 1000 + number, node(hub=hub, n=number)
    store.apply(batch((element(hub), number, node(hub=hub, n=number)), shared, writer="hub%d" % hub, number=number))
    time.sleep(0.02)  # no hub writes without any pause
store.close()
"""
)

_RIVAL = (
    _HEAD
    + """
taken = written = lost = 0
while written < 20:
    try:
        epoch = store.lease("rival", f"hub{hub}", 0.05)
    except StaleWriterError:
        continue
    taken += 1
    number = store.last_number("rival", epoch)
    try:
        for _ in range(3):
            number += 1
            store.apply(batch((element("rival"), epoch * 100 + number, node(hub=hub, epoch=epoch, n=number)),
                              writer="rival", epoch=epoch, number=number))
            written += 1
    except StaleWriterError:
        lost += 1
print(taken, written, lost)
store.close()
"""
)

_TORN = (
    _HEAD
    + """
import os
gated, calls, last = store._committer.gated, [0], int(sys.argv[3])
def counted(*arguments, **sets):
    calls[0] += 1
    found = gated(*arguments, **sets)
    if calls[0] == last:
        print("torn", flush=True)
        sys.stdin.read()  # killed here
    return found
store._committer.gated = counted
store.apply(batch(*((element((hub, n)), 50, node(n=n)) for n in range(2000)), writer="torn", number=1))
print("whole", flush=True)
sys.stdin.read()
"""
)


@contextlib.contextmanager
def hub(program: str, server: Any, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", program, server.url, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def outcome(process: subprocess.Popen[str]) -> str:
    told, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    return told


@pytest.fixture
def server(request: pytest.FixtureRequest, lab: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """BerkeleyJE, or the Cassandra that all tests share."""
    if not TRANSACTIONAL:
        yield request.getfixturevalue("emptied")
        return
    made = lab.Server(lab.demand(), tmp_path / "server", "berkeleyje")
    made.start()
    yield made
    made.kill()


def opened(server: Any) -> JanusGraphStore:
    return JanusGraphStore(server.url, transactional=TRANSACTIONAL)


def test_what_two_processes_write_at_once_is_there_once_in_one_order(server: Any) -> None:
    watching = opened(server)  # it follows what others write
    with hub(_WRITER, server, 1) as first, hub(_WRITER, server, 2) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        seen = 0
        while first.poll() is None or second.poll() is None:
            entries = watching.feed(seen, 1000)
            assert [one.sequence for one in entries] == list(range(seen + 1, seen + 1 + len(entries)))
            assert len(entries) % 2 == 0  # batches of two, and never half of one
            seen += len(entries)
        outcome(first), outcome(second)
    fresh = opened(server)
    feeds = [store.feed(0, 1000) for store in (watching, fresh)]
    assert feeds[0] == feeds[1]
    assert [one.sequence for one in feeds[0]] == list(range(1, 4 * BATCHES + 1))
    shared = [one for one in feeds[0] if one.id == element("shared")]
    assert [one.number for one in shared] == list(range(1, 2 * BATCHES + 1))
    assert {one.updated_at - T for one in shared} == {hub * 1000 + n for hub in (1, 2) for n in range(1, BATCHES + 1)}
    assert len(list(groupby(shared, lambda one: one.state and one.state.metadata["hub"]))) > 2  # in turns
    model = Model()
    for one in feeds[0]:  # changes of the shared one come late wherever the other hub's time is ahead
        assert one.state is not None
        model.apply([(one.id, one.updated_at, one.state)])
    for when in (T + BATCHES // 2, T + 1000, T + 1000 + BATCHES // 2, T + 1999, T + 2000 + BATCHES):
        for store in (watching, fresh):
            assert {one.id: one.state for one in store.as_of(when)} == model.as_of(when)
    assert states(watching.current()) == states(fresh.current())
    assert [one.health().elements for one in (watching, fresh)] == [3, 3]
    watching.close()
    fresh.close()


def test_of_two_processes_that_want_to_be_one_writer_only_the_holder_writes(server: Any) -> None:
    """Each batch is there once, in the order of epochs; none of an epoch comes after one of the next."""
    with hub(_RIVAL, server, 1) as first, hub(_RIVAL, server, 2) as second:
        told = [[int(one) for one in outcome(process).split()] for process in (first, second)]
    store = opened(server)
    entries = [one.state.metadata for one in store.feed(0, 10_000) if one.state]
    order = [(one["epoch"], one["n"]) for one in entries]
    assert order == sorted(set(order))
    by_epoch = {one["epoch"]: one["hub"] for one in entries}
    assert all(by_epoch[one["epoch"]] == one["hub"] for one in entries)
    assert {hub: sum(one["hub"] == hub for one in entries) for hub in (1, 2)} == {1: told[0][1], 2: told[1][1]}
    assert len(set(by_epoch.values())) == 2
    store.close()


@pytest.mark.parametrize("after", [1, 2, 3, 5, 9])
def test_a_batch_torn_by_a_kill_is_there_whole_or_not_at_all(server: Any, after: int) -> None:
    """Killed after some of its transactions: who is there meanwhile, and who comes then, reads nothing of it, or all."""
    other = opened(server)
    apply(other, (A, 1, node(n=1)))
    with hub(_TORN, server, 1, after) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "torn\n"
        held = {one.id for one in other.as_of(T + 99)}
        assert len(held) in {1, 1 + WIDE}
        process.send_signal(signal.SIGKILL)
        process.wait()
    late = [
        JanusGraphStore(server.url, transactional=TRANSACTIONAL, clock=lambda: 2**61) for _ in range(2)
    ]  # it is taken for dead
    for store in (other, *late):
        assert {one.id for one in store.as_of(T + 99)} == held
    late[0].apply(batch((A, 60, node(n=2)), writer="late", number=1))
    for store in (other, *late):
        assert {one.id for one in store.as_of(T + 99)} == held
        assert len(store.feed(0, 10_000)) == len(held) + 1
        assert flaws(store) == []
    again = batch(*((element((1, n)), 50, node(n=n)) for n in range(WIDE)), writer="torn", number=1)
    late[1].apply(again)  # the hub is started again, and does not know how far it came
    assert len(other.as_of(T + 99)) == 1 + WIDE
    assert len(other.feed(0, 10_000)) == WIDE + 2
    graphs = [states(store.current()) for store in (other, *late)]
    assert graphs[0] == graphs[1] == graphs[2]
    for store in (other, *late):
        store.close()
