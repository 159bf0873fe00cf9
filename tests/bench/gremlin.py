"""Gremlin over HTTP on the embedded store: 100,000 nodes and 200,000 edges, asked over one kept connection."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gremlin_api.answering import Answerer
from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted
from skytrail.http.guard import Receive, Scope, Send
from skytrail.http.server import serve
from skytrail.settings.tree import Http
from tests.bench.report import Line
from topology.elements import Part, State, edge_id, node_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change, Store

NODES, EDGES = 100_000, 200_000
CHANGES = 50_000  # of nodes, one a ms
BATCH = 1000
BORN = 1_700_000_000_000_000
TYPES = ("veth", "bridge", "device", "netns")


def _node(number: int, name: str = "eth") -> State:
    metadata = {
        "Name": f"{name}{number}", "Type": TYPES[number % 4], "MTU": (1500, 9000, 1450)[number % 3], "IfIndex": number,
        "MAC": f"02:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
        "IPV4": [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/24"], "State": "UP",
        "LinkFlags": ["UP", "BROADCAST", "RUNNING"], "Features": {f"feature-{one}": one % 2 == 0 for one in range(20)},
    }  # fmt: skip
    return State(f"host{number % 100}", "agent.host", {"netlink": Part.of(metadata)}, str(number))


def fill(store: Store, nodes: int, edges: int, batch: int = BATCH) -> None:
    """Nodes ``eth0`` and on, half as many of them parents of two edges each as there are edges."""
    chance = random.Random(1)
    ids = [node_id(str(number)) for number in range(nodes)]
    changes = [Change(ids[number], BORN, _node(number)) for number in range(nodes)]
    related = Part.of({"RelationType": "layer2"})
    for number in range(edges):
        parent, child = ids[number // 2], chance.choice(ids)
        edge = State("host", "agent.host", {"netlink": related}, parent=parent, child=child)
        changes.append(Change(edge_id(parent, child, "layer2", str(number)), BORN, edge))
    for at in range(0, len(changes), batch):
        store.apply(Batch("bench", 1, at + 1, BORN, tuple(changes[at : at + batch])))


def _change(store: EmbeddedStore) -> str:
    """Half of the nodes have another name; returns the moment before, as a question says it."""
    now = time.time_ns() // 1000 - 2 * CHANGES * 1000
    changes = [Change(node_id(str(number)), now + 1000 * (number + 1), _node(number, "wlan")) for number in range(CHANGES)]
    for at in range(0, CHANGES, BATCH):
        store.apply(Batch("bench", 2, at + 1, now, tuple(changes[at : at + BATCH])))
    return str(now // 1000)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope)


def embedded() -> Iterator[Line]:
    """Questions about now and about a moment ago; each is asked once before, so that its indexes are there."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder))
        fill(store, NODES, EDGES)
        with served(store) as connection:
            for name, query, at, times, most in (
                ("has + out", "g.V().has('Name', 'eth{}').out().values('Name')", None, 300, 3.0),
                ("scan with a predicate", "g.V().has('Name', containing('7{}')).count()", None, 30, 250.0),
                ("has + out, a moment ago", "g.V().has('Name', 'eth{}').out().values('Name')", "-1s", 300, 6.0),
                ("group count of all", "g.V().groupCount().by('Type')", None, 30, 250.0),
                ("has + count of a third", "g.V().has('MTU', gt(5000)).count()", None, 30, None),
            ):
                yield _line(connection, name, query, at, times, most)
            before, query = _change(store), "g.V().has('Name', 'eth{}').out().values('Name')"
            yield _line(connection, "has + out, 50,000 changes ago", query, before, 300, 6.0)
            yield _line(connection, "count by a key without traces, then", "g.V().has('MTU', 1500).count()", before, 3, None)
        store.close()


@contextlib.contextmanager
def served(store: Store) -> Iterator[http.client.HTTPConnection]:
    """A connection to the endpoint on a store, in this process."""
    executor = Executor()
    graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: time.time_ns() // 1000)
    answerer = Answerer(graphs, gate=executor.scans)
    spoken = mounted({GREMLIN: GremlinEndpoint(answerer, executor)}, {}, _nothing)
    with serve(spoken, "127.0.0.1:0", Http()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        yield connection
        connection.close()
    executor.close()


def _line(
    connection: http.client.HTTPConnection, name: str, query: str, at: str | None, times: int, most: float | None
) -> Line:
    took = [ask(connection, query.format(number), at) for number in range(times + 1)][1:]
    p50, p99 = statistics.median(took), sorted(took)[int(0.99 * len(took))]
    return Line(f"Gremlin, 100,000 nodes: {name}", 1000 * p50, "ms p50", most=most, note=f"p99 {1000 * p99:.1f} ms")


def ask(connection: http.client.HTTPConnection, query: str, at: str | None = None) -> float:
    """Seconds until the whole answer is there. Raises RuntimeError with its text if it is an error."""
    body: dict[str, Any] = {"gremlin": query} | ({"at": at} if at else {})
    content = json.dumps(body)
    began = time.perf_counter()
    connection.request("POST", "/gremlin", content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    took = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(told.decode())
    return took
