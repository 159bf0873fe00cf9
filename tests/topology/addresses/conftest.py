from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.addressgraph import Graph


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    made = Graph(tmp_path)
    yield made
    made.close()
