"""What every test needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.needs import root
from support.netlab import Net


@pytest.fixture(autouse=True)
def _environment_without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("SKYTRAIL_", "_SKYTRAIL_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def net() -> Iterator[Net]:
    """Network namespaces, removed at the end."""
    root()
    made = Net()
    try:
        yield made
    finally:
        made.close()
