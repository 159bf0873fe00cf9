"""The compose file and what stands beside it: what it names is there, and grants what the agent needs, and no more."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.needs import tool

from skytrail.privileges import NEEDS

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCKER = DEPLOY / "docker"
BUILT = "../../grafana/datasource/dist"


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted where."""
    found = service.get("volumes", [])
    return dict((one["source"], one["target"]) if isinstance(one, dict) else tuple(one.split(":")[:2]) for one in found)


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
        for source in mounts(service):
            assert not source.startswith(".") or source == BUILT or (DOCKER / source).exists(), source
        assert set(service.get("depends_on", [])) <= services.keys()


def test_the_agent_may_what_it_needs_and_the_hub_nothing(services: dict[str, Any]) -> None:
    assert {name.lower() for name in services["agent"]["cap_add"]} == {need.name for need in NEEDS}
    for name in ("agent", "hub"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"] is True
        assert "no-new-privileges:true" in services[name]["security_opt"]
    assert "cap_add" not in services["hub"]


def test_prometheus_has_the_rules_and_the_names_that_they_and_the_dashboards_ask_for(
    services: dict[str, Any], tmp_path: Path
) -> None:
    (command,) = services["prometheus"]["command"]
    for source, target in mounts(services["prometheus"]).items():
        if source.startswith("."):
            shutil.copy(DOCKER / source, tmp_path / Path(target).name)
    settings = tmp_path / "prometheus.yaml"
    settings.write_text(settings.read_text().replace("/etc/skytrail/", f"{tmp_path}/"))
    shown = (
        command.replace("$$", "$").replace("/etc/skytrail", str(tmp_path)).replace("/tmp/prometheus.yaml", f"{tmp_path}/shown")
    )
    subprocess.run([*services["prometheus"]["entrypoint"], shown.partition(" && exec ")[0]], check=True)

    done = subprocess.run(
        [tool("promtool", "prometheus"), "check", "config", f"{tmp_path}/shown"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "rule files found" in done.stdout
    told, usual = (
        {job["job_name"]: job["static_configs"][0] for job in yaml.safe_load(file.read_text())["scrape_configs"]}
        for file in (tmp_path / "shown", DEPLOY / "prometheus/prometheus.yaml")
    )
    assert {name: job["targets"] for name, job in told.items()} == {name: job["targets"] for name, job in usual.items()}
    assert {job["labels"]["instance"] for job in told.values()} == {platform.node()}


def test_grafana_has_the_data_sources_the_plugin_and_the_dashboards(services: dict[str, Any]) -> None:
    grafana = services["grafana"]
    mounted = {target: (DOCKER / source).resolve() for source, target in mounts(grafana).items()}
    plugin = json.loads((REPOSITORY / "grafana/datasource/src/plugin.json").read_text())
    assert mounted[f"/var/lib/grafana/plugins/{plugin['id']}"] == REPOSITORY / "grafana/datasource/dist"
    assert grafana["environment"]["GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS"] == plugin["id"]
    least = re.search(r"[\d.]+", plugin["dependencies"]["grafanaDependency"])
    assert least
    version = grafana["image"].rpartition(":")[2]
    assert [int(one) for one in version.split(".")] >= [int(one) for one in least[0].split(".")]

    (sources,) = mounted["/etc/grafana/provisioning/datasources"].glob("*.yaml")
    told = yaml.safe_load(sources.read_text())["datasources"]
    assert {one["type"] for one in told} == {"prometheus", plugin["id"]}
    assert set(re.findall(r"\$\{(\w+)\}", sources.read_text())) <= grafana["environment"].keys()
    (provider,) = mounted["/etc/grafana/provisioning/dashboards"].glob("*.yaml")
    (folder,) = [one["options"]["path"] for one in yaml.safe_load(provider.read_text())["providers"]]
    assert len(list(mounted[folder].glob("*.json"))) == 10


def test_what_janusgraph_writes_is_in_its_volume_where_its_user_may(services: dict[str, Any]) -> None:
    """The image runs as a user whose folder is /var/lib/janusgraph: a volume elsewhere would be root's."""
    mounted = {target: source for source, target in mounts(services["janusgraph"]).items()}
    assert mounted["/var/lib/janusgraph"] == "janusgraph"
    (settings,) = [target for target, source in mounted.items() if source.endswith("berkeleyje.properties")]
    (folder,) = re.findall(
        r"^storage\.directory=(.*)$", (DEPLOY / "janusgraph/conf/berkeleyje.properties").read_text(), re.MULTILINE
    )
    assert os.path.normpath(f"{os.path.dirname(settings)}/{folder}") == "/var/lib/janusgraph/data"  # noqa: PTH120
    assert services["janusgraph"]["working_dir"] == "/var/lib/janusgraph"
