"""Reports go on while JanusGraph is away, however long: leases that were had are kept, what cannot be spooled is held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract.steps import T
from support.netlab import until

from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from skytrail.cli.endpoints import finder
from topology.elements import node_id
from topology.facts import NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.rules import NodeRule, Rules
from topology.store.interface import StoreError
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

LINKS, OTHERS = Source("netlink", "host1"), Source("docker", "host1")
SECOND = 1_000_000


@pytest.fixture
def berkeley(lab: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """Not started yet."""
    server = lab.Server(lab.demand(), tmp_path / "server", "berkeleyje")
    yield server
    server.kill()


class Hub:
    """A reconciler before the store, with a clock that is set by hand."""

    def __init__(self, url: str, spool: Path) -> None:
        self.now = T
        self.store = JanusGraphStore(url, spool=spool, clock=lambda: self.now)
        self.reconciler = Reconciler(self.store, "hub", lambda: self.now)

    def report(self, source: Source, name: str, n: int | None) -> None:
        facts = () if n is None else (NodeFact(name, {"Name": name, "Type": "veth", "n": n}),)
        self.reconciler.report(Report(source, self.now, facts, () if facts else (node_id(name),)))

    def history(self, name: str) -> list[tuple[int, int | None]]:
        """Seconds from T on and what it was then."""
        found = [one for one in self.store.feed(0, 1000) if one.id == node_id(name)]
        return [((one.updated_at - T) // SECOND, one.state.metadata["n"] if one.state else None) for one in found]

    def close(self) -> None:
        self.reconciler.close()
        self.store.close()


def settled(hub: Hub) -> bool:
    return hub.reconciler.held == 0 and hub.store.health().failure is None and hub.store.health().waiting == 0


def test_changes_of_minutes_without_the_server_are_all_told(berkeley: Any, tmp_path: Path) -> None:
    berkeley.start()
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub:
        hub.report(LINKS, "a", 0)
        berkeley.kill()
        for minute in range(1, 5):  # each lease would have run out long ago
            hub.now = T + minute * 60 * SECOND
            hub.report(LINKS, "a", minute)
            hub.report(OTHERS, "b", minute)  # a source that never had a lease
        assert hub.store.health().waiting > 0
        assert hub.reconciler.held > 0
        assert "does not answer" in str(hub.store.health().failure)
        hub.now += 60 * SECOND
        hub.report(LINKS, "a", None)
        berkeley.start()
        until(lambda: settled(hub), 60.0)
        assert hub.history("a") == [(0, 0), (60, 1), (120, 2), (180, 3), (240, 4), (300, None)]
        assert hub.history("b") == [(60, 1), (120, 2), (180, 3), (240, 4)]
        hub.report(OTHERS, "b", 9)
        assert hub.history("b")[-1] == (300, 9)


def test_a_hub_that_starts_without_the_server_goes_on_where_its_spool_ends(berkeley: Any, tmp_path: Path) -> None:
    """What waits from before is applied first: a state that it changed is not taken for what is now."""
    berkeley.start()
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub:
        hub.report(LINKS, "a", 1)
        hub.report(LINKS, "b", 1)
        berkeley.kill()
        hub.now += SECOND
        hub.report(LINKS, "a", 2)
        hub.report(LINKS, "c", 1)
        assert hub.store.health().waiting == 2
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub:
        hub.now += 10 * SECOND
        facts = tuple(NodeFact(name, {"Name": name, "Type": "veth", "n": 1}) for name in "ab")
        assert hub.reconciler.report(Report(LINKS, hub.now, facts, whole=True)) == 0
        hub.now += SECOND
        hub.report(LINKS, "b", 2)
        assert hub.reconciler.held == 2
        berkeley.start()
        until(lambda: settled(hub), 60.0)
        assert hub.history("a") == [(0, 1), (1, 2), (10, 1)]
        assert hub.history("b") == [(0, 1), (11, 2)]
        assert hub.history("c") == [(1, 1), (10, None)]


def test_held_reports_end_with_the_hub(berkeley: Any, tmp_path: Path) -> None:
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub:
        hub.report(LINKS, "a", 1)
        assert hub.reconciler.held == 1


@contextlib.contextmanager
def rules_of(hub: Hub) -> Iterator[Rules]:
    executor = Executor()
    find = finder(StoredGraphs(hub.store, NOTHING_SHOWN, lambda: hub.now), executor)
    changes = lambda: hub.reconciler.counters.changes  # noqa: E731 - as the hub gives it
    rules = Rules(hub.store, hub.reconciler.report, find, "host1", changes, lambda: hub.now)
    rules.start()
    yield rules
    rules.stop()
    executor.close()


def test_rules_wait_for_the_server_and_undo_nothing_meanwhile(berkeley: Any, tmp_path: Path) -> None:
    berkeley.start()
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub, rules_of(hub) as rules:
        made = [
            rules.add("noderule", NodeRule({"Name": "tor1", "Type": "switch"}, "create")),
            rules.add("noderule", NodeRule({"Name": "tor2", "Type": "switch"}, "create"), 60),
        ]
        there = {one.state.metadata["Name"] for one in hub.store.current() if one.state}
        assert there == {"tor1", "tor2"}
    berkeley.kill()
    with contextlib.closing(Hub(berkeley.url, tmp_path / "spool")) as hub, rules_of(hub) as rules:
        hub.now += 61 * SECOND
        with pytest.raises(StoreError):
            rules.all("noderule")
        with pytest.raises(StoreError):
            rules.remove("noderule", made[0].UUID)
        berkeley.start()
        until(lambda: len(list(hub.store.current())) == 1, 60.0)
        assert [one.state.metadata["Name"] for one in hub.store.current() if one.state] == ["tor1"]
        assert rules.all("noderule") == {made[0].UUID: made[0]}
