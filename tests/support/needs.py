"""What a test needs of the machine: without it the test is skipped with its reason; on CI it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; on CI (``CI`` is set) fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str, package: str) -> str:
    """Path of a program."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed (package {package})")
    return found


def root() -> None:
    """Root: to load programs, to make network namespaces."""
    if os.geteuid():
        missing("needs root")
