"""The server is killed again and again in the middle of a storm of batches: what it has in the end is what a model says."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract.model import FOREVER, Model
from contract.steps import T, batch, element, node
from support.graphhistory import feed, flaws
from support.netlab import until

from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NAMES = "abcdefgh"
KILLS = 2
BATCHES = 60
"""From one kill to the next; in the middle of them the server dies."""


@pytest.fixture
def berkeley(lab: ModuleType, tmp_path: Path) -> Iterator[Any]:
    server = lab.Server(lab.demand(), tmp_path / "server", "berkeleyje")
    server.start()
    yield server
    server.kill()


class Storm:
    """A thread that writes batches, one after the other, as fast as it can."""

    def __init__(self, store: JanusGraphStore) -> None:
        self._store, self._chance = store, random.Random(3)
        self.model = Model()
        self.applied = 0
        self.failure: BaseException | None = None
        self._middle = 0
        self._thread: threading.Thread

    def start(self) -> None:
        """Write :data:`BATCHES` more."""
        self._middle = self.applied + BATCHES // 2
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for number in range(self.applied + 1, self.applied + 1 + BATCHES):
                chosen = self._chance.sample(NAMES, 4)
                made = [(name, number * 10, self._chance.choice((None, number, number))) for name in chosen]
                changes = ((element(name), at, None if n is None else node(n=n, name=name)) for name, at, n in made)
                self._store.apply(batch(*changes, number=number))
                self.model.apply(made)
                self.applied = number
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            self.failure = error

    def reach_middle(self) -> None:
        """Wait until half of them were taken."""

        def reached() -> bool:
            assert self.failure is None, self.failure
            return self.applied >= self._middle

        until(reached, 60.0)

    def end(self) -> None:
        """Wait until all were taken."""
        self._thread.join()
        assert self.failure is None


def test_batches_of_a_storm_are_applied_once_and_in_order_however_often_the_server_dies(berkeley: Any, tmp_path: Path) -> None:
    with contextlib.closing(JanusGraphStore(berkeley.url, spool=tmp_path / "spool")) as store:
        storm = Storm(store)
        for _ in range(KILLS):
            storm.start()
            storm.reach_middle()
            berkeley.kill()
            storm.end()
            assert store.health().waiting > 0
            berkeley.start()  # and is killed again while what waited is being applied
        until(lambda: store.health().waiting == 0, 120.0)

        assert store.health().failure is None
        assert_is_the_models(store, storm.model, storm.applied)
    with contextlib.closing(JanusGraphStore(berkeley.url)) as store:  # another process, that has seen nothing
        assert_is_the_models(store, storm.model, storm.applied)
        assert flaws(store) == []


def assert_is_the_models(store: JanusGraphStore, model: Model, last: int) -> None:
    ids = {element(name): name for name in NAMES}

    def shown(revisions: Any) -> dict[str, int]:
        return {ids[one.id]: one.state.metadata["n"] for one in revisions}

    assert shown(store.current()) == model.as_of(FOREVER)
    for number in range(1, last + 1, max(1, last // 20)):
        assert shown(store.as_of(T + number * 10)) == model.as_of(number * 10)
    recorded = feed(store)
    assert len(recorded) == model.order
    assert [one.updated_at for one in recorded] == sorted(one.updated_at for one in recorded)
