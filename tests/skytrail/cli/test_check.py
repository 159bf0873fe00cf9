"""``skytrail check``: says what is there, and fails where the agent cannot run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel


def run(*arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, "-m", "skytrail", "check", "--set", "agent.listen=127.0.0.1:0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_says_that_the_agent_can_run_here(tmp_path: Path) -> None:
    done = run("--json", "--set", f"state_dir={tmp_path}")

    found = {item["name"]: item for item in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stderr
    assert found["kernel"]["found"] == os.uname().release
    assert found["flows program"]["state"] == "ok"
    assert found["sock_diag"]["state"] == "ok"
    assert "short-lived" in found["socket iterators"]["remedy"]
    assert found["interface lo"]["found"].startswith("loopback")
    assert "blind spots" in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give privileges up")
def test_without_privileges_it_says_so_and_fails() -> None:
    done = run("--json", under=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))

    found = {item["name"]: item for item in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert found["privileges"]["state"] == "missing"
    assert "root" in found["privileges"]["remedy"]
    assert "Traceback" not in done.stderr
