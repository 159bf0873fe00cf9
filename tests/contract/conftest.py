"""The stores that pass the contract suite. Each test begins with an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Store

OpenStore = Callable[[], Store]


@pytest.fixture(params=["embedded"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Open the same store again and again; each closes the one before."""
    opened: list[Store] = []

    def opening() -> Store:
        while opened:
            opened.pop().close()
        opened.append(EmbeddedStore(tmp_path / "graph"))
        return opened[-1]

    yield opening
    while opened:
        opened.pop().close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()
