"""Upgrades of a hub's store: a file of each earlier schema becomes today's with its history, and a backup brings it back."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from topology.elements import Part, Revision, State, node_id
from topology.store.embedded import schema
from topology.store.embedded.backup import back_up, bring_back
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import Batch, Change

UNDONE = {
    3: "DROP TABLE resource;",
    2: "DROP TABLE had; DROP TABLE had_lately; DROP TABLE noting;",
}
"""What takes a file from that version of the schema back to the one before."""
NODES = [f"host/1/netns/{number}" for number in range(300)]


def filled(folder: Path) -> None:
    """A graph with history: every node in three states, a third of them ended."""
    store = EmbeddedStore(folder)
    epoch = store.lease("w", "p", 30)
    for number in range(3):
        states = [State("h", "agent.h", {"host": Part.of({"Name": tid, "Type": "netns", "N": number})}, tid) for tid in NODES]
        changes = tuple(Change(node_id(tid), 10 * number + 1, state) for tid, state in zip(NODES, states, strict=True))
        store.apply(Batch("w", epoch, number + 1, 100, changes))
    store.apply(Batch("w", epoch, 4, 100, tuple(Change(node_id(tid), 40, None) for tid in NODES[::3])))
    store.close()


def told(folder: Path) -> list[list[Revision]]:
    """All that can be asked: now, at each moment, of the whole time."""
    store = EmbeddedStore(folder)
    answers = [list(store.current()), *(store.as_of(when) for when in (1, 15, 25, 39, 41)), list(store.between(0, 100))]
    store.close()
    return [sorted(answer, key=lambda one: (one.id, one.updated_at)) for answer in answers]


def of_version(folder: Path, version: int) -> None:
    """Make a file what that version of the schema left."""
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as database:
        for later in range(len(schema.MIGRATIONS), version, -1):
            database.executescript(f"{UNDONE[later]} PRAGMA user_version = {later - 1};")
        with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
            fresh.executescript("".join(schema.MIGRATIONS[:version]))
            assert _tables(database) == _tables(fresh)


def _tables(database: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(database.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall())


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS)))
def test_a_store_of_an_earlier_schema_goes_on_with_all_of_its_history(version: int, tmp_path: Path) -> None:
    filled(tmp_path)
    before = told(tmp_path)
    assert [len(answer) for answer in before] == [200, 300, 300, 300, 300, 200, 900]
    of_version(tmp_path, version)
    assert told(tmp_path) == before
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS) + 1))
def test_a_backup_of_before_an_upgrade_is_the_way_back_and_may_be_upgraded_again(version: int, tmp_path: Path) -> None:
    graph, kept = tmp_path / "graph", tmp_path / "before.skytrail"
    filled(graph)
    before = told(graph)
    of_version(graph, version)
    back_up(graph, kept)
    told(graph)  # upgraded
    replaced = bring_back(kept, graph)
    assert replaced is not None
    with contextlib.closing(sqlite3.connect(graph / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (version,)  # what the release of before can read
    assert told(graph) == before
    shutil.rmtree(graph)
    bring_back(kept, graph)
    assert told(graph) == before
