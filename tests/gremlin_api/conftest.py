"""The real Gremlin Server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.gremlinserver import Server, demand


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of its own for each module: a query that heeds no timeout would hold a thread and a core of the next module's."""
    made = Server(demand(), tmp_path_factory.mktemp("gremlinserver"))
    made.start()
    yield made
    made.kill()
