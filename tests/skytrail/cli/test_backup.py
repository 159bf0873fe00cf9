"""``skytrail backup`` and ``restore`` where the graph is not below state_dir say what to use instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_of_a_graph_in_janusgraph_is_the_storages_own(command: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    settings = [f"state_dir={tmp_path / 'state'}", "topology.store=janusgraph"]
    options = [word for setting in settings for word in ("--set", setting)]
    run = subprocess.run([sys.executable, "-m", "skytrail", command, str(file), *options], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    [line] = run.stderr.splitlines()
    assert "the graph is in JanusGraph" in line
    assert "BerkeleyJE" in line
    assert "nodetool snapshot" in line
    assert file.read_bytes() == b"kept"
    assert not (tmp_path / "state").exists()
