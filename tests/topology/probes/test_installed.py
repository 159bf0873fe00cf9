"""Probes of other packages that cannot be had: each is one plain line, and nothing else fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hublab import Hub
from support.needs import root
from support.netlab import until

MODULES = {
    "imports": "raise ImportError('no module of mine\\nis here')",
    "exits": "raise SystemExit(3)",
    "nothing": "make = 3",
    "refuses": "def make(here): raise ValueError('no key', here.options['key'])",
    "fails": """
class Probe:
    failure, active = None, True
    def start(self): pass
    def stop(self): pass
    def tell_all(self): pass
    def wake(self): pass
    def status(self): raise KeyError('lost')
def make(here): return Probe()
""",
    "netlink": "def make(here): raise AssertionError('it took a name of ours')",
    "openflow": "def make(here): raise AssertionError('it took a name of ours')",
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One package, as installed, with a probe in each of its modules."""
    site = tmp_path / "site"
    told = site / "others-2.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 2\n")
    points = "\n".join(f"{name} = others_{name}:make" for name in MODULES)
    (told / "entry_points.txt").write_text(f"[skytrail.probes]\n{points}\n")
    for name, text in MODULES.items():
        (site / f"others_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    return site


def skytrail(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "skytrail", *words], capture_output=True, text=True, timeout=60)


EXPECTED = {
    "imports": "others 2 cannot be imported: ImportError: no module of mine is here",
    "exits": "others 2 cannot be imported: SystemExit: 3",
    "nothing": "others 2: others_nothing:make makes no probe: it cannot be called",
    "netlink (others 2)": "others 2: its name is taken",
    "openflow (others 2)": "others 2: its name is taken",
}


def test_check_says_why(packages: Path) -> None:
    done = skytrail("check", "--json", "--set", "agent.listen=127.0.0.1:0")
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert {name: found[f"probe {name}"]["found"] for name in EXPECTED} == EXPECTED
    assert found["probe refuses"]["state"] == "ok"  # only where it runs it turns out
    assert "Traceback" not in done.stderr


@pytest.mark.kernel
def test_a_hub_says_why_and_watches_on(packages: Path, tmp_path: Path) -> None:
    root()
    hub = Hub(tmp_path / "hub").start(ready=False)
    try:
        expected = {**EXPECTED, "refuses": "others 2 cannot be started: KeyError: 'key'"}
        until(lambda: waiting(hub) == expected, 30)
        hub.status()
        assert waiting(hub) == {**expected, "fails": "it fails: KeyError: 'lost'"}
        assert any(node["Metadata"]["Name"] == "lo" for node in hub.graph()["Nodes"])
    finally:
        hub.close()


def waiting(hub: Hub) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(hub.ask("/readyz")[1])["waiting"]
    except (OSError, ValueError):
        return {}
    return found


def test_only_those_that_are_wanted_run(packages: Path) -> None:
    wanted = json.dumps({"topology": {"other_probes": ["exits", "gone"]}})
    (packages / "skytrail.yaml").write_text(wanted)
    done = skytrail("check", "--json", "--config", str(packages / "skytrail.yaml"), "--set", "agent.listen=127.0.0.1:0")
    found = {one["name"]: one["found"] for one in map(json.loads, done.stdout.splitlines()) if one["name"].startswith("probe ")}
    assert found == {
        "probe exits": EXPECTED["exits"],
        "probe gone": "no package adds a probe 'gone': install it, or change topology.other_probes",
    }
