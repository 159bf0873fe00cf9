"""systemd's units: what systemd itself says of them; and that they grant what the agent needs, and no more."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest
from support.needs import tool

from skytrail.privileges import NEEDS

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
WORST = {"skytrail-agent": 3.7, "skytrail-hub": 1.4}
"""Exposure, of 10, as ``systemd-analyze security`` counts it."""


def service(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / f"{name}.service")
    return parser["Service"]


@pytest.mark.parametrize("name", WORST)
def test_systemd_finds_no_fault(name: str, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    unit = tmp_path / f"{name}.service"
    program = tmp_path / "skytrail"
    program.touch(mode=0o755)
    unit.write_text((UNITS / unit.name).read_text().replace("/opt/skytrail/bin/skytrail", str(program)))
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectClock=perhaps"))
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert "Failed to parse boolean value, ignoring: perhaps" in done.stderr


@pytest.mark.parametrize(("name", "worst"), WORST.items())
def test_exposure_is_small(name: str, worst: float) -> None:
    command = [tool("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", str(UNITS / f"{name}.service")]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found, told
    assert float(found[1]) <= worst


def test_the_agent_is_granted_what_it_needs_and_the_hub_nothing() -> None:
    granted = {name.removeprefix("CAP_").lower() for name in service("skytrail-agent")["CapabilityBoundingSet"].split()}
    assert granted == {need.name for need in NEEDS}
    assert service("skytrail-hub")["CapabilityBoundingSet"] == service("skytrail-hub")["AmbientCapabilities"] == ""
    assert service("skytrail-hub")["User"] == "skytrail"
