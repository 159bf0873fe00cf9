"""The server dies, is away, and comes back; so does the process that writes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract.steps import T, apply, batch, element, node, states

from topology.store.interface import StaleWriterError, StoreError
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = pytest.mark.lab

A, B = element("a"), element("b")
ROOT = Path(__file__).parents[4]


@pytest.fixture
def berkeley(lab: ModuleType, tmp_path: Path) -> Iterator[Any]:
    server = lab.Server(lab.demand(), tmp_path / "server", "berkeleyje")
    server.start()
    yield server
    server.kill()


def eventually(check: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_acknowledged_survives_a_killed_server(berkeley: Any) -> None:
    """Killed in a storm of batches: all that apply returned for is there, and the one that was cut off whole or not at all."""
    store = JanusGraphStore(berkeley.url)
    acknowledged = 0
    killer = threading.Timer(1.5, berkeley.kill)
    killer.start()
    for number in range(1, 10_000):
        try:
            store.apply(batch(*((element(one), number, node(n=number)) for one in range(20)), number=number))
        except StoreError:
            break
        acknowledged = number
    killer.join()
    assert acknowledged > 3
    with pytest.raises(StoreError, match="does not answer"):
        store.as_of(T)
    assert store.health().failure is not None
    berkeley.start()
    reached = {state.metadata["n"] for state in states(store.current()).values() if state}
    assert reached in ({acknowledged}, {acknowledged + 1})
    assert store.last_number("w", 1) in {acknowledged, acknowledged + 1}
    for number in range(acknowledged, acknowledged + 3):  # the writer begins again with the last one
        store.apply(batch(*((element(one), number, node(n=number)) for one in range(20)), number=number))
    assert len(list(store.between(T, T + 10**6, [element(0)]))) == acknowledged + 2
    assert len(store.as_of(T + 1)) == 20
    store.close()


def test_batches_wait_while_the_server_is_away_and_are_applied_in_order(berkeley: Any, tmp_path: Path) -> None:
    store = JanusGraphStore(berkeley.url, spool=tmp_path / "spool.sqlite")
    sequence = apply(store, (A, 1, node(n=1)))
    berkeley.kill()
    for number in range(2, 40):
        assert apply(store, (A, number, node(n=number)), (B, number, node(n=number))) == sequence
    health = store.health()
    assert (health.waiting, health.failure is not None) == (38, True)
    with pytest.raises(StoreError):
        store.as_of(T)
    store.close()

    store = JanusGraphStore(berkeley.url, spool=tmp_path / "spool.sqlite")  # still away: another process takes over the spool
    apply(store, (A, 40, None))
    assert store.health().waiting == 39
    berkeley.start()
    eventually(lambda: store.health().waiting == 0)
    assert store.health().failure is None
    assert [one.updated_at - T for one in store.between(T, T + 99, [A])] == list(range(1, 40))
    assert [one.updated_at - T for one in store.feed(sequence, 3)] == [2, 2, 3]
    assert states(store.current()) == {B: node(n=39)}
    apply(store, (A, 50, node(n=50)))
    assert len(store.as_of(T + 50)) == 2
    store.close()


def test_a_full_spool_is_an_error(tmp_path: Path) -> None:
    store = JanusGraphStore("ws://127.0.0.1:1/gremlin", spool=tmp_path / "spool", spool_bytes=5000)
    apply(store, (A, 1, node(pad="x" * 2000)))
    apply(store, (A, 2, node(pad="y" * 2000)))
    with pytest.raises(StoreError, match=r"full.*4\d\d\d bytes wait, 5000 may.*does not answer"):
        apply(store, (A, 3, node(pad="z" * 2000)))
    assert store.health().waiting == 2
    store.close()


def test_without_a_spool_a_server_that_is_away_is_an_error() -> None:
    with pytest.raises(StoreError, match=r"ws://127.0.0.1:1/gremlin does not answer .*start it"):
        JanusGraphStore("ws://127.0.0.1:1/gremlin")


def test_a_spool_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="name another file"):
        JanusGraphStore("ws://127.0.0.1:1/gremlin", spool=tmp_path / "file" / "spool")


def test_a_spool_survives_the_death_of_its_process(
    server: Any, tmp_path: Path, open_store: Callable[..., JanusGraphStore]
) -> None:
    spool = tmp_path / "spool"
    program = f"""
import pathlib
from contract.steps import apply, element, node
from topology.store.janusgraph.store import JanusGraphStore
store = JanusGraphStore("ws://127.0.0.1:1/gremlin", spool=pathlib.Path({str(spool)!r}))
for number in range(1, 10_000):
    apply(store, (element("a"), number, node(n=number)))
    print(number, flush=True)
"""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env, text=True)
    assert process.stdout is not None
    for _ in range(25):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    last = max([last, *map(int, process.stdout.read().split())])
    process.wait()
    store = open_store(spool=spool)
    eventually(lambda: store.health().waiting == 0)
    numbers = [one.number for one in store.between(T, T + 99_999, [A])]
    assert numbers in (list(range(1, last + 1)), list(range(1, last + 2)))


def test_a_spooled_batch_of_a_writer_that_was_replaced_is_refused(
    open_store: Callable[..., JanusGraphStore], tmp_path: Path
) -> None:
    away = JanusGraphStore("ws://127.0.0.1:1/gremlin", spool=tmp_path / "spool")
    away.apply(batch((A, 1, node(n=1)), writer="x", number=1))
    assert away.last_number("x", 1) == 1
    with pytest.raises(StoreError):
        away.lease("x", "hub", 1.0)
    away.close()
    store = open_store()
    assert store.lease("x", "hub1", 0.0) == 1
    assert store.lease("x", "hub2", 60.0) == 2
    late = open_store(spool=tmp_path / "spool")
    eventually(lambda: late.health().waiting == 0)
    assert late.spool is not None
    assert (late.spool.refused, late.as_of(T + 1)) == (1, [])


def test_it_works_within_a_running_event_loop(open_store: Callable[..., JanusGraphStore]) -> None:
    async def main() -> list[str]:
        store = open_store()
        apply(store, (A, 1, node(n=1)))
        others = await asyncio.gather(*(asyncio.to_thread(store.as_of, T + 1) for _ in range(4)))
        return [one.id for several in others for one in several]

    assert asyncio.run(main()) == [A] * 4


def test_several_hubs_write_one_graph(open_store: Callable[..., JanusGraphStore]) -> None:
    """Each change is there once, in one order for all, and each hub answers the same."""
    stores = [open_store(also=True) for _ in range(3)]
    failures: list[BaseException] = []

    def write(hub: int) -> None:
        try:
            for number in range(1, 21):
                shared = (A, hub * 1000 + number, node(hub=hub, n=number))
                stores[hub].apply(batch((element(hub), number, node(n=number)), shared, writer=f"hub{hub}", number=number))
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(hub,)) for hub in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    feeds = [store.feed(0, 1000) for store in stores]
    assert feeds[0] == feeds[1] == feeds[2]
    assert [one.sequence for one in feeds[0]] == list(range(1, 121))
    assert [one.number for one in feeds[0] if one.id == A] == list(range(1, 61))
    assert {one.id: one.state for one in stores[0].current()} == {one.id: one.state for one in stores[2].current()}
    assert [store.health().elements for store in stores] == [4, 4, 4]


def test_a_hub_that_lost_its_lease_is_stopped(open_store: Callable[..., JanusGraphStore]) -> None:
    now = [T]
    first, second = (open_store(also=True, clock=lambda: now[0]) for _ in range(2))
    epoch = first.lease("netlink@host1", "hub1", 10.0)
    first.apply(batch((A, 1, node(n=1)), writer="netlink@host1", epoch=epoch, number=1))
    now[0] += 9_999_999
    with pytest.raises(StaleWriterError, match="hub1"):
        second.lease("netlink@host1", "hub2", 60.0)
    now[0] += 2
    assert second.lease("netlink@host1", "hub2", 60.0) == epoch + 1
    with pytest.raises(StaleWriterError, match="later process"):
        first.apply(batch((A, 2, node(n=2)), writer="netlink@host1", epoch=epoch, number=2))
    assert states(second.current()) == {A: node(n=1)}


def test_a_lease_of_a_hub_whose_clock_is_ahead_ends_when_it_is_renewed_no_more(
    open_store: Callable[..., JanusGraphStore],
) -> None:
    ahead = open_store(also=True, clock=lambda: time.time_ns() // 1000 + 1_800_000_000)
    other = open_store(also=True)
    epoch = ahead.lease("duty", "hub1", 2.0)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert ahead.lease("duty", "hub1", 2.0) == epoch
        with pytest.raises(StaleWriterError, match="hub1"):
            other.lease("duty", "hub2", 2.0)

    def taken() -> bool:
        try:
            return other.lease("duty", "hub2", 2.0) == epoch + 1
        except StaleWriterError:
            return False

    eventually(taken)


def test_a_server_that_says_nothing_is_an_error_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with pytest.raises(StoreError, match="does not answer"):
            JanusGraphStore(f"ws://127.0.0.1:{silent.getsockname()[1]}/gremlin", timeout=0.5)
        assert time.monotonic() - begin < 10


def test_the_schema_of_a_later_version_is_left_alone(open_store: Callable[..., JanusGraphStore]) -> None:
    store = open_store()
    store._connections.run(lambda g: g.V().has("system", "head").property("schema", 99).iterate())
    with pytest.raises(StoreError, match=r"later Skytrail.*99"):
        open_store()


def test_a_dead_connection_is_replaced(open_store: Callable[..., JanusGraphStore]) -> None:
    """A request that is too large kills its connection for ever; the next one has another."""
    store = open_store(connections=1)
    with pytest.raises(StoreError):
        apply(store, (A, 1, node(huge=os.urandom(40 << 20).hex())))
    apply(store, (A, 1, node(n=1)))
    assert states(store.current()) == {A: node(n=1)}
