"""Grafana's data source in Chromium, through a proxy, with a real hub: a graph of 2,000 nodes and 4,000 edges as frames."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.grafana import by_npm, driven, installed
from support.grafanarecording import FOLDER
from support.hublab import Hub

from tests.bench.report import Line
from topology.elements import Part, State, edge_id, node_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change

NODES, EDGES = 2_000, 4_000
TIMES, WARM = 12, 3
BORN = 1_700_000_000_000_000
FEATURES = 60
"""That ethtool tells of an interface; what was recorded is without them."""


def graph() -> Iterator[Line]:
    """query() of the kind graph, from the question to the frames."""
    installed()
    by_npm("build")
    query = {"queryType": "graph", "gremlin": "G.V()"}
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder) / "state" / "graph")
        hub = Hub(Path(folder), command="hub").start()
        try:
            size = len(hub.post("/api/topology", {"GremlinQuery": "G.V().SubGraph()"}))
            told = driven(f"http://127.0.0.1:{hub.port}", [["query", query]] * (WARM + TIMES))[WARM:]
        finally:
            hub.process.terminate()
            hub.process.wait(40)
    for one in told:
        assert one["errors"] == []
        assert [len(frame["data"]["values"][0]) for frame in one["frames"]] == [NODES, EDGES]
    whole = statistics.median(one["milliseconds"] for one in told)
    asked = statistics.median(one["asked"] for one in told)
    least = min(one["milliseconds"] for one in told)
    note = f"{asked:.0f} ms of that until the hub's answer was there; at least {least:.0f} ms; all keys are {size / 1e6:.1f} MB"
    yield Line("Grafana: graph of 2,000 nodes, 4,000 edges", whole, "ms", most=400, note=note)


def _fill(folder: Path) -> None:
    """Nodes that have what recorded interfaces have."""
    chance = random.Random(1)
    [part] = json.loads((FOLDER / "graph.json").read_text())
    veths = [node["Metadata"] for node in part["Nodes"] if node["Metadata"]["Type"] == "veth"]
    ids = [node_id(f"n{number}") for number in range(NODES)]
    changes = [Change(ids[number], BORN, _node(number, veths[number % len(veths)])) for number in range(NODES)]
    related = {"netlink": Part.of({"RelationType": "layer2"})}
    for number in range(EDGES):
        parent, child = ids[number // 2], chance.choice(ids)
        state = State("h1", "agent.h1", related, parent=parent, child=child)
        changes.append(Change(edge_id(parent, child, "layer2", str(number)), BORN, state))
    folder.mkdir(parents=True)
    store = EmbeddedStore(folder)
    store.apply(Batch("bench", 1, 1, BORN, tuple(changes)))
    store.close()


def _node(number: int, metadata: dict[str, Any]) -> State:
    features = {f"tx-feature-{one}": one % 3 == 0 for one in range(FEATURES)}
    metadata = {**metadata, "Name": f"eth{number}", "Features": features}
    return State("h1", "agent.h1", {"netlink": Part.of(metadata)}, f"n{number}")
