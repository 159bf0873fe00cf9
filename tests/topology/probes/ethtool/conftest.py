"""Namespaces of the test's own, and ethtool(8) as the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.needs import root, tool
from support.netlab import Net


@pytest.fixture
def net() -> Iterator[Net]:
    root()
    tool("ethtool", "ethtool")
    made = Net()
    try:
        yield made
    finally:
        made.close()
