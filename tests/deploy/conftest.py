"""Tests of what is deployed. Those that are long (minutes, downloads) run by ``make deploy`` alone."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def long() -> None:
    """For a test that belongs to ``make deploy``."""
    if not os.environ.get("DEPLOY_LONG"):
        pytest.skip("long: 'make deploy' runs it")
