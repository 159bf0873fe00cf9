"""The compose file and what stands beside it: what it names is there, and grants what the agent needs, and no more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.needs import tool

from skytrail.privileges import NEEDS

DOCKER = Path(__file__).parents[2] / "deploy" / "docker"


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    return found


def test_what_it_names_is_there(services: dict[str, Any]) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    for service in services.values():
        if build := service.get("build"):
            assert build["target"] in targets
            assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            assert not source.startswith(".") or (DOCKER / source).is_file(), source
        assert set(service.get("depends_on", [])) <= services.keys()


def test_the_agent_may_what_it_needs_and_the_hub_nothing(services: dict[str, Any]) -> None:
    assert {name.lower() for name in services["agent"]["cap_add"]} == {need.name for need in NEEDS}
    for name in ("agent", "hub"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"] is True
        assert "no-new-privileges:true" in services[name]["security_opt"]
    assert "cap_add" not in services["hub"]


def test_prometheus_takes_its_settings() -> None:
    command = [tool("promtool", "prometheus"), "check", "config", str(DOCKER / "compose/prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
