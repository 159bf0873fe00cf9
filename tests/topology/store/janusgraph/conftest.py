"""A real JanusGraph for all tests of this folder, with an empty graph for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from lab import janusgraph

from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.store import JanusGraphStore

OpenStore = Callable[..., JanusGraphStore]


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    return janusgraph


@pytest.fixture(scope="session")
def inmemory(lab: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = lab.Server(lab.demand(), tmp_path_factory.mktemp("janusgraph") / "server")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(inmemory: Any) -> Any:
    """The server, with nothing in its graph."""
    connections = Connections(inmemory.url)
    connections.run(lambda g: g.V().drop().iterate())
    connections.close()
    return inmemory


@pytest.fixture
def open_store(server: Any) -> Iterator[OpenStore]:
    """Open the same store again and again; each closes the one before, unless ``also``."""
    opened: list[JanusGraphStore] = []

    def opening(*, also: bool = False, **options: Any) -> JanusGraphStore:
        while opened and not also:
            opened.pop().close()
        opened.append(JanusGraphStore(server.url, **options))
        return opened[-1]

    yield opening
    while opened:
        opened.pop().close()


@pytest.fixture
def store(open_store: OpenStore) -> JanusGraphStore:
    return open_store()
