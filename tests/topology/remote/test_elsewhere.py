"""Hubs tell each other which agents report to them, by a store that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from topology.remote.elsewhere import Elsewhere
from topology.store.embedded.store import EmbeddedStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "graph")
    made.shared = True
    yield made
    made.close()


def test_each_knows_the_agents_of_the_others_until_these_go_or_are_not_heard_of(store: EmbeddedStore) -> None:
    now = [1_000_000_000]
    first, second = (
        Elsewhere(store, f"hub{n}", f"session{n}", lambda n=n: {f"tid/{n}": f"host{n}"}, lambda: now[0]) for n in range(2)
    )
    first.renew()
    assert first.agents() == {}
    second.renew()
    first.renew()
    assert second.agents() == {"tid/0": ("host0", "hub0")}
    assert first.agents() == {"tid/1": ("host1", "hub1")}
    now[0] += 31_000_000
    first.renew()
    assert first.agents() == {}
    assert store.resources("hub").keys() == {"session0"}
    second.start()
    second.stop()
    assert store.resources("hub").keys() == {"session0"}


def test_hubs_whose_clocks_differ_know_each_other_and_what_is_renewed_no_more_is_forgotten(store: EmbeddedStore) -> None:
    now = [1_000_000_000]
    hubs = [
        Elsewhere(store, f"hub{n}", f"session{n}", lambda n=n: {f"tid/{n}": f"host{n}"}, lambda n=n: now[0] + n * 1_800_000_000)
        for n in range(2)
    ]
    for _ in range(5):
        for one in hubs:
            one.renew()
        now[0] += 10_000_000
    assert store.resources("hub").keys() == {"session0", "session1"}
    assert [dict(one.agents()) for one in hubs] == [{"tid/1": ("host1", "hub1")}, {"tid/0": ("host0", "hub0")}]
    for _ in range(5):  # the one that is ahead is gone
        hubs[0].renew()
        now[0] += 10_000_000
    assert hubs[0].agents() == {}
    assert store.resources("hub").keys() == {"session0"}
