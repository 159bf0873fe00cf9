"""What every test needs."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _environment_without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("SKYTRAIL_", "_SKYTRAIL_", "OTEL_")):
            monkeypatch.delenv(name)
