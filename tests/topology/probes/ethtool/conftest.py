"""ethtool(8) is the oracle."""

from __future__ import annotations

import pytest
from support.needs import tool


@pytest.fixture(autouse=True)
def _oracle() -> None:
    tool("ethtool", "ethtool")
