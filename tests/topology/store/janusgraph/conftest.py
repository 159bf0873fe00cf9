"""A real JanusGraph for all tests of this folder, with an empty graph for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.store import JanusGraphStore

OpenStore = Callable[..., JanusGraphStore]


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    path = Path(__file__).parents[3] / "lab" / "janusgraph.py"
    spec = importlib.util.spec_from_file_location("lab_janusgraph", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
