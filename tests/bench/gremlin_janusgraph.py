"""Gremlin over HTTP with JanusGraph as store, against the same sent straight to JanusGraph, time conditions included."""

from __future__ import annotations

import http.client
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gremlin_python.driver.driver_remote_connection import DriverRemoteConnection
from gremlin_python.process.anonymous_traversal import traversal
from gremlin_python.process.graph_traversal import GraphTraversal, GraphTraversalSource, __
from gremlin_python.process.traversal import P
from gremlin_python.statics import long
from janusgraph_python.driver.serializer import JanusGraphBinarySerializersV1

from tests.bench.gremlin import BORN, ask, fill, served
from tests.bench.report import Line
from topology.elements import FOREVER
from topology.store.janusgraph.store import JanusGraphStore

NODES, EDGES = 20_000, 40_000
ROWS = 250
ROUNDS, WARMING = 300, 1500
THEN = BORN + 1_000_000  # µs since the epoch: nothing changed since, and the conditions are those of a past moment
SLACK = 2.0  # ms


def direct() -> Iterator[Line]:
    """Each question in turns with its counterpart, on one kept connection each."""
    path = Path(__file__).parents[1] / "lab" / "janusgraph.py"
    spec = importlib.util.spec_from_file_location("lab_janusgraph", path)
    assert spec is not None
    assert spec.loader is not None
    lab: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    with tempfile.TemporaryDirectory() as folder:
        server = lab.Server(lab.jars(), Path(folder) / "server", "berkeleyje", options=("-Xmx1500m",))
        server.start()
        try:
            store = JanusGraphStore(server.url)
            fill(store, NODES, EDGES, ROWS)
            remote = DriverRemoteConnection(
                server.url, "g", pool_size=1, max_workers=1, message_serializer=JanusGraphBinarySerializersV1()
            )
            with served(store) as connection:
                yield from _compared(connection, traversal().with_remote(remote))
            remote.close()
            store.close()
        finally:
            server.kill()


def _compared(connection: http.client.HTTPConnection, g: GraphTraversalSource) -> Iterator[Line]:
    past = str(THEN // 1000)
    for name, query, at, straight in (
        ("has + out", "g.V().has('Name', 'eth{}').out().values('Name')", None, _now),
        ("has + out, then", "g.V().has('Name', 'eth{}').out().values('Name')", past, _then),
        ("has + out + count", "g.V().has('Name', 'eth{}').out().count()", None, _counted),
    ):
        yield _line(name, connection, query, at, lambda number: straight(g, f"eth{number}").to_list())  # noqa: B023 - at once


def _now(g: GraphTraversalSource, name: str) -> GraphTraversal:
    return g.V().has("Name", name).out_e().has("valid_to", long(FOREVER)).in_v().values("Name")


def _counted(g: GraphTraversalSource, name: str) -> GraphTraversal:
    return g.V().has("Name", name).out_e().has("valid_to", long(FOREVER)).in_v().count()


def _then(g: GraphTraversalSource, name: str) -> GraphTraversal:
    named = g.union(__.V().has("Name", name), __.V().has("Name_was", name)).dedup()
    nodes = named.where(_holding(__.properties("Name", "Name_was")).has_value(name))
    return _holding(_holding(nodes.out_e()).in_v().properties("Name", "Name_was")).value()


def _holding(steps: GraphTraversal) -> GraphTraversal:
    return steps.has("valid_from", P.lte(long(THEN))).has("valid_to", P.gt(long(THEN)))


def _line(
    name: str, connection: http.client.HTTPConnection, query: str, at: str | None, straight: Callable[[int], object]
) -> Line:
    ours, direct = [], []
    for number in range(WARMING + ROUNDS):  # Java compiles what it runs often, in the first of them
        ours.append(1000 * ask(connection, query.format(number), at))
        began = time.perf_counter()
        straight(number)
        direct.append(1000 * (time.perf_counter() - began))
    mine, theirs = statistics.median(ours[-ROUNDS:]), statistics.median(direct[-ROUNDS:])
    return Line(
        f"Gremlin on JanusGraph: {name}", mine, "ms p50", theirs, "straight", most=round(1.2 * theirs + SLACK, 2),
        note="target 1.2 × + 2 ms",
    )  # fmt: skip
