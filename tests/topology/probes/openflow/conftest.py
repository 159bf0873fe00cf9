from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.needs import root
from support.netlab import Net


@pytest.fixture
def net() -> Iterator[Net]:
    """Network namespaces, removed at the end."""
    root()
    made = Net()
    try:
        yield made
    finally:
        made.close()
