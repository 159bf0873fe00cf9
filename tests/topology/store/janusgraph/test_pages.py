"""Buckets are sealed, checkpoints made, and old ones forgotten; the answers stay those of the model."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract.model import FOREVER, Model
from contract.steps import T, apply, element, node
from gremlin_python.process.traversal import P
from gremlin_python.statics import long

from topology.store.janusgraph import checkpoints, log, records
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[4]
TRANSACTIONAL = os.environ.get("JANUSGRAPH_BACKEND") != "cql"
OpenStore = Callable[..., JanusGraphStore]
NAMES = [element(name) for name in range(12)]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BUCKET", 16)
    monkeypatch.setattr(log, "BUCKET", 16)
    monkeypatch.setattr(checkpoints, "EVERY", 48)
    monkeypatch.setattr(checkpoints, "_CHUNKS", 4)
    monkeypatch.setattr(records, "CHUNK_BYTES", 2000)


def grow(store: JanusGraphStore, model: Model, rng: random.Random, first: int, last: int) -> None:
    """About one change at each time; one in ten late, one in ten a deletion, one in fifty from a clock that is ahead."""
    for now in range(first, last):
        made: list[tuple[str, int, Any]] = []
        for _ in range(rng.choice([1, 1, 1, 2, 20])):
            at = rng.randint(1, now) if rng.random() < 0.1 else now + (500 if rng.random() < 0.02 else 0)
            made.append((rng.choice(NAMES), at, None if rng.random() < 0.1 else rng.randint(1, 3)))
        apply(store, *((id_, at, None if n is None else node(n=n)) for id_, at, n in made))
        model.apply(made)


def check(store: JanusGraphStore, model: Model, times: range, *, lives: bool = True) -> None:
    for when in times:
        assert {one.id: one.state.metadata["n"] for one in store.as_of(T + when) if one.state} == model.as_of(when)
    assert {one.id: one.state.metadata["n"] for one in store.current() if one.state} == model.as_of(FOREVER)
    for one in store.between(T + times[0], T + 1000):
        if lives and one.updated_at < one.archived_at:
            assert one.created_at - T == model.created(one.id, one.updated_at - T)
    begin, end = times[0], times[-1]
    assert {
        (
            one.id,
            one.updated_at - T,
            one.archived_at if one.archived_at == FOREVER else one.archived_at - T,
            repr(one.state.metadata["n"]),
        )
        for one in store.between(T + begin, T + end)
        if one.state
    } == model.between(begin, end)


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_all_kinds_answer_as_the_model(open_store: OpenStore, seed: int) -> None:
    rng, model, store = random.Random(seed), Model(), open_store()
    grow(store, model, rng, 1, 60)
    check(store, model, range(0, 70, 3))
    assert len(store._log.checkpoints) >= 2
    assert len(store._log.sealed) >= 5
    store = open_store()  # knows nothing, and begins from a checkpoint
    grow(store, model, rng, 60, 90)
    check(store, model, range(0, 100, 7))
    feed = store.feed(0, 10_000)
    assert [one.sequence for one in feed] == list(range(1, model.order + 1))
    for id_ in NAMES:
        mine = [one for one in feed if one.id == id_]
        assert [one.number for one in mine] == list(range(1, len(mine) + 1))


@pytest.mark.parametrize("seed", range(3))
def test_what_retention_leaves_is_as_the_model_has_it(open_store: OpenStore, seed: int) -> None:
    rng, model, store = random.Random(seed), Model(), open_store()
    other = open_store(also=True)  # a second hub: its pages are old ones
    grow(store, model, rng, 1, 60)
    check(other, model, range(0, 70, 10))
    apply(store, *((id_, 39, None) for id_ in NAMES[:4]))
    model.apply([(id_, 39, None) for id_ in NAMES[:4]])
    had = store.health().revisions
    retained = store.retain(before=T + 40)
    assert retained.removed > 60
    assert retained.left == had - retained.removed == store.health().revisions == other.health().revisions
    for which in (store, other, open_store(also=True)):
        check(which, model, range(40, 90, 5))
        assert all(one.archived_at > T + 40 for one in which.between(T, T + 1000))
        assert [one.archived_at > T + 40 or one.deleted for one in which.feed(0, 10_000)].count(False) == 0
    assert store.retain(before=T + 40).removed == 0
    grow(store, model, rng, 60, 80)
    check(store, model, range(60, 90, 5), lives=False)  # late changes fall into what is forgotten
    store = open_store()
    grow(store, model, rng, 80, 90)
    check(store, model, range(60, 100, 5), lives=False)
    numbers: dict[str, list[int]] = {}
    for one in store.feed(0, 10_000):
        numbers.setdefault(one.id, []).append(one.number)
    assert all(given == sorted(set(given)) for given in numbers.values())


_RETAIN = """
import sys
from topology.store.janusgraph import checkpoints, log, records
records.BUCKET = log.BUCKET = 16
checkpoints.EVERY, checkpoints._CHUNKS, records.CHUNK_BYTES = 48, 4, 2000
from topology.store.janusgraph.store import JanusGraphStore
url, transactional, before, last = sys.argv[1], bool(int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
store = JanusGraphStore(url, transactional=transactional)
answered, calls = store._committer._answered, [0]
def counted(*arguments, **sets):
    found = answered(*arguments, **sets)
    calls[0] += 1
    if calls[0] == last:
        print("cut", flush=True)
        sys.stdin.read()
    return found
store._committer._answered = store._committer.vertices._gated = counted
store.retain(before=before)
print("whole", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("after", [1, 2, 4, 9, 13, 18])
def test_retention_cut_off_by_a_kill_is_finished_by_the_next(server: Any, open_store: OpenStore, after: int) -> None:
    rng, model, store = random.Random(after), Model(), open_store()
    grow(store, model, rng, 1, 60)
    apply(store, *((id_, 39, None) for id_ in NAMES[:4]))
    model.apply([(id_, 39, None) for id_ in NAMES[:4]])
    had = store.health().revisions
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", _RETAIN, server.url, str(int(TRANSACTIONAL)), str(T + 40), str(after)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    assert told == "cut"
    late = open_store(also=True)
    for which in (store, late):
        check(which, model, range(40, 90, 5), lives=False)
    grow(late, model, rng, 60, 70)
    late.retain(before=T + 40)
    for which in (store, late, open_store(also=True)):
        check(which, model, range(41, 90, 5), lives=False)
        assert all(one.archived_at > T + 40 for one in which.between(T, T + 1000))
        assert which.health().revisions == len(which.feed(0, 10_000)) < had
    run = late._connections.run
    assert run(lambda g: g.V().properties("doc_was").has("valid_to", P.lte(long(T + 40))).count().next()) == 0
    assert run(lambda g: g.E().has("valid_to", P.lte(long(T + 40))).count().next()) == 0
    assert late.retain(before=T + 40).removed == 0


def test_retention_keeps_the_properties_of_elements_small(store: JanusGraphStore) -> None:
    for number in range(1, 30):
        apply(store, (NAMES[0], number, node(State=f"S{number}")))
    apply(store, (NAMES[1], 1, node(State="UP")), (NAMES[1], 2, None))
    store.retain(before=T + 20)

    def kept(key: str) -> int:
        return int(store._connections.run(lambda g: g.V().properties(key).count().next()))

    assert (kept("doc_was"), kept("State_was"), kept("doc")) == (9, 9, 1)
    apply(store, (NAMES[1], 50, node(State="UP")))
    assert [one.number for one in store.as_of(T + 50, [NAMES[1]])] == [3]
