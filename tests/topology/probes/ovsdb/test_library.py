"""Open vSwitch is there, and the library that reads its database is not: a word with the remedy, and nothing waits for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.hublab import Hub

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]


def test_a_missing_library_is_a_note_and_the_rest_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = tmp_path / "shadow" / "ovs"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", f"{shadow.parent}:{os.environ.get('PYTHONPATH', '')}")
    there = tmp_path / "db.sock"
    there.touch()
    hub = Hub(tmp_path / "hub", {"topology.ovsdb.databases": json.dumps([f"unix:{there}", "unix:/nowhere/db.sock"])})
    try:
        hub.start()  # which waits for /readyz to be 200
        found = hub.get("/readyz")
        assert (found["ready"], found["waiting"]) == (True, {})
        [(name, words)] = found["notes"].items()
        assert name == f"ovsdb/unix:{there}"
        assert words == "its library is missing: pip install 'skytrail[ovs]', or set topology.ovsdb.databases to []"
    finally:
        hub.close()
