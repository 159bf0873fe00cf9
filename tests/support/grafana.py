"""Grafana's data source, built; and Chromium, in which a page stands for Grafana: what it is told to do, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.needs import missing, tool

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "grafana/datasource"

_BY_NODE = str(ROOT / "tests/lab/node.sh")
_INSTALLED = PLUGIN / "node_modules/.installed"


def installed() -> None:
    """Whether what the plugin is built and tested with is there, as the lock file says; if not it is installed."""
    lock = PLUGIN / "package-lock.json"
    if _INSTALLED.exists() and _INSTALLED.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(["make", "-s", f"{_INSTALLED.relative_to(ROOT)}"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        missing(f"the packages of {PLUGIN.relative_to(ROOT)} could not be installed: {done.stderr[-400:]}")


def by_npm(*script: str) -> None:
    """Run a script of the plugin's; it must succeed."""
    done = subprocess.run(
        [_BY_NODE, "npm", "run", "--silent", *script], cwd=PLUGIN, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"


def driven(hub: str, steps: Sequence[Sequence[Any]], token: str = "") -> list[Any]:
    """What each step says: ``[function, …arguments]`` of the page's, or of its driver's (``harness/drive.mjs``)."""
    environment = {**os.environ, "TOKEN": token, "CHROMIUM": tool("chromium", "chromium")}
    done = subprocess.run(
        [_BY_NODE, "node", "harness/drive.mjs", hub],
        cwd=PLUGIN, input=json.dumps(steps), capture_output=True, text=True, timeout=240, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[Any] = json.loads(done.stdout)
    return found
