"""A graph that the first version of the schema began goes on under today's, with all of its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
from gremlin_python.statics import long

from topology.elements import Part, Revision, State, node_id
from topology.store.interface import Batch, Change
from topology.store.janusgraph import schema
from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.store import JanusGraphStore

NODES = [f"host/1/netns/{number}" for number in range(60)]
LATER = "odd"
"""The key that version 1 did not have. What was had no index, and the head no ``forgotten``, either."""


@pytest.fixture
def url(lab: ModuleType, tmp_path: Path) -> Iterator[str]:
    """A JanusGraph of its own: no key ever leaves a schema."""
    server = lab.Server(lab.demand("inmemory"), tmp_path / "server", "inmemory")
    server.start()
    yield server.url
    server.kill()


def begun_by_version_1(connections: Connections) -> None:
    """Make its schema, as its script did."""
    script = Path(schema.__file__).with_name("schema.groovy").read_text()
    assert ".property('odd', '')" in script
    keys = [one for one in schema._keys() if one.name != LATER]
    bindings = {
        "propertyKeys": [asdict(replace(one, index="none") if one.name.endswith(schema.HISTORY) else one) for one in keys],
        "vertexLabels": [schema.NODE, schema.EDGE, schema.INTERNAL],
        "edgeLabels": sorted(schema.RELATIONS | {schema.OTHER}),
        "headKeys": list(schema.HEAD_KEYS),
        "schemaVersion": long(1),
    }
    assert connections.script(script.replace(".property('odd', '')", ""), bindings) == [1]


def state(tid: str, number: int) -> State:
    return State("h", "agent.h", {"host": Part.of({"Name": tid.rpartition("/")[2], "Type": "netns", "N": number})}, tid)


def told(store: JanusGraphStore) -> list[list[Revision]]:
    """All that can be asked: now, at each moment, of the whole time."""
    answers = [list(store.current()), *(list(store.as_of(when)) for when in (1, 15, 25, 41)), list(store.between(0, 45))]
    return [sorted(answer, key=lambda one: (one.id, one.updated_at)) for answer in answers]


def test_a_graph_of_the_first_schema_goes_on_with_all_of_its_history(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(url)
    begun_by_version_1(connections)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrate", lambda _: None)
        store = JanusGraphStore(url)
        epoch = store.lease("w", "p", 30)
        for number in range(3):
            changes = tuple(Change(node_id(tid), 10 * number + 1, state(tid, number)) for tid in NODES)
            store.apply(Batch("w", epoch, number + 1, 100, changes))
        store.apply(Batch("w", epoch, 4, 100, tuple(Change(node_id(tid), 40, None) for tid in NODES[::3])))
        before = told(store)
        store.close()
    assert [len(answer) for answer in before] == [40, 60, 60, 60, 40, 180]
    connections.run(lambda g: g.V().has("system", "head").properties("forgotten").drop().iterate())
    assert connections.run(lambda g: g.V().has("system", "head").values("schema").to_list()) == [1]

    store = JanusGraphStore(url)
    try:
        assert told(store) == before
        epoch = store.lease("w", "p", 30)
        store.apply(Batch("w", epoch, 5, 100, (Change(node_id(NODES[1]), 50, state(NODES[1], 9)),)))
        assert told(store)[1:3] == before[1:3]  # what had ended before that
        assert [one.state for one in store.current() if one.id == node_id(NODES[1])] == [state(NODES[1], 9)]
        (head,) = connections.run(lambda g: g.V().has("system", "head").value_map("schema", "forgotten", "odd").to_list())
        assert head == {"schema": [schema.VERSION], "forgotten": [0]}
    finally:
        store.close()
        connections.close()
