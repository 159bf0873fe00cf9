"""A real JanusGraph for all tests of this folder, with an empty graph for each.

In memory; with ``JANUSGRAPH_BACKEND=cql`` over a real Cassandra (``make test-cassandra``), which commits no transaction whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from lab import janusgraph
from lab.cassandra import Cassandra

from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.store import JanusGraphStore

OpenStore = Callable[..., JanusGraphStore]

BACKEND = os.environ.get("JANUSGRAPH_BACKEND", "inmemory")
TRANSACTIONAL = BACKEND != "cql"


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    return janusgraph


@pytest.fixture(scope="session")
def shared(lab: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("janusgraph")
    with contextlib.ExitStack() as ending:
        settings = {}
        if BACKEND == "cql":
            lab.demand(BACKEND)
            cassandra = Cassandra(folder / "cassandra")
            ending.callback(cassandra.kill)
            cassandra.start()
            settings = {"storage.port": str(cassandra.port)}
        server = lab.Server(lab.demand(BACKEND), folder / "server", BACKEND, settings=settings)
        ending.callback(server.kill)
        server.start()
        yield server


@pytest.fixture
def emptied(shared: Any) -> Any:
    """The server, with nothing in its graph."""
    connections = Connections(shared.url)
    connections.run(lambda g: g.V().drop().iterate())
    connections.close()
    return shared


@pytest.fixture
def server(emptied: Any) -> Any:
    """The server that a test's stores are on."""
    return emptied


@pytest.fixture
def open_store(server: Any) -> Iterator[OpenStore]:
    """Open the same store again and again; each closes the one before, unless ``also``."""
    opened: list[JanusGraphStore] = []

    def opening(*, also: bool = False, **options: Any) -> JanusGraphStore:
        while opened and not also:
            opened.pop().close()
        opened.append(JanusGraphStore(server.url, **{"transactional": TRANSACTIONAL, **options}))
        return opened[-1]

    yield opening
    while opened:
        opened.pop().close()


@pytest.fixture
def store(open_store: OpenStore) -> JanusGraphStore:
    return open_store()
