"""The Helm chart: linted and rendered by Helm, taken by a real API server without a word, with settings that Skytrail takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import kube
from support.needs import missing, tool

from skytrail.privileges import NEEDS
from skytrail.settings.load import load

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "skytrail"
VALUES: dict[str, list[str]] = {
    "as it is": [],
    "to try it out": ["insecure=true", "networkPolicy.enabled=false"],
    "large": ["hub.replicas=2", "janusgraph.enabled=true", "hub.secrets=true", "hub.storage.className=fast"],
    "one Cassandra": ["janusgraph.enabled=true", "janusgraph.cassandra.replicas=1"],
}
PLURALS = {"NetworkPolicy": "networkpolicies"}
Json = dict[str, Any]
Render = Callable[..., list[Json]]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    packed = Path(os.environ.get("LAB_BIN", "/nonexistent")) / "helm.zst"
    if not packed.is_file():
        missing("no Helm: LAB_BIN names no folder with helm.zst")
    folder = tmp_path_factory.mktemp("helm")
    program = folder / "helm"
    subprocess.run([tool("zstd", "zstd"), "-dqf", str(packed), "-o", str(program)], check=True)
    program.chmod(0o755)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        home = {"HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder), "HELM_DATA_HOME": str(folder)}
        return subprocess.run([str(program), *words], env={**os.environ, **home}, capture_output=True, text=True)

    return run


@pytest.fixture(scope="module")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    def rendered(*sets: str) -> list[Json]:
        done = helm(
            "template", "sky", str(CHART), "--namespace", "skytrail", *(word for one in sets for word in ("--set", one))
        )
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return rendered


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kube.Cluster]:
    made = kube.Cluster(kube.demand(tmp_path_factory.mktemp("kube-lab")), tmp_path_factory.mktemp("kube"))
    try:
        yield made.start()
    finally:
        made.close()


def of_kind(objects: list[Json], kind: str, name: str) -> Json:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    return found


def test_helm_finds_no_fault(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for sets in VALUES.values():
        done = helm("lint", "--strict", str(CHART), *(word for one in sets for word in ("--set", one)))
        assert done.returncode == 0, done.stdout
    done = helm("template", str(CHART), "--set", "hub.replicas=2")
    assert done.returncode == 1
    assert "more than one hub needs one graph: set janusgraph.enabled" in done.stderr


def test_a_real_api_server_takes_all_of_it(cluster: kube.Cluster, render: Render) -> None:
    for number, sets in enumerate(VALUES.values()):
        namespace = f"take{number}"
        cluster.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for one in render(*sets):
            group, kind = one["apiVersion"], one["kind"]
            base = f"/apis/{group}" if "/" in group else f"/api/{group}"
            if "namespace" in one["metadata"]:
                one["metadata"]["namespace"] = namespace
                base += f"/namespaces/{namespace}"
            else:
                one["metadata"]["name"] += f"-{number}"
            made = cluster.create(f"{base}/{PLURALS.get(kind, kind.lower() + 's')}?fieldValidation=Strict", one)
            assert made["metadata"]["uid"]
    broken = of_kind(render(), "DaemonSet", "agent")
    broken["spec"]["template"]["spec"]["hostPids"] = True
    with pytest.raises(kube.ServerError, match="unknown field"):
        cluster.create("/apis/apps/v1/namespaces/skytrail/daemonsets?fieldValidation=Strict", broken)


@pytest.mark.parametrize("sets", VALUES.values(), ids=VALUES.keys())
def test_skytrail_takes_the_settings(sets: list[str], render: Render, tmp_path: Path) -> None:
    objects = render(*sets)
    for part in ("agent", "hub"):
        file = tmp_path / f"{part}.yaml"
        file.write_text(of_kind(objects, "ConfigMap", part)["data"]["skytrail.yaml"])
        settings = load(file, {}, {})
        assert settings.http.insecure == (settings.wire.tls_cert is None) == ("insecure=true" in sets)
        if part == "agent":
            assert settings.agent.hubs == ("sky-hub.skytrail.svc:8083",)
        else:
            assert (settings.topology.store == "janusgraph") == ("janusgraph.enabled=true" in sets)


def test_the_hub_may_what_the_manifest_grants(render: Render) -> None:
    def rules(objects: list[Json]) -> list[Json]:
        return list(of_kind(objects, "ClusterRole", "skytrail-hub" if objects is plain else "sky-hub")["rules"])

    plain = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "rbac.yaml").read_text()))
    more = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "rbac-secrets.yaml").read_text()))
    assert rules(render()) == rules(plain)
    assert rules(render("hub.secrets=true")) == [*rules(plain), *of_kind(more, "ClusterRole", "secrets")["rules"]]


def test_the_agent_has_what_it_needs_and_the_hub_nothing(render: Render) -> None:
    objects = render()
    agent = of_kind(objects, "DaemonSet", "agent")["spec"]["template"]["spec"]
    hub = of_kind(objects, "StatefulSet", "hub")["spec"]["template"]["spec"]
    context = agent["containers"][0]["securityContext"]
    assert {name.lower() for name in context["capabilities"]["add"]} == {need.name for need in NEEDS}
    assert (context["privileged"], context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (
        False,
        False,
        True,
    )
    assert agent["automountServiceAccountToken"] is False
    assert hub["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert hub["securityContext"]["runAsNonRoot"]


def test_janusgraph_has_the_settings_of_its_folder(render: Render) -> None:
    conf = DEPLOY / "janusgraph" / "conf"
    told = of_kind(render("janusgraph.enabled=true", "janusgraph.cassandra.replicas=1"), "ConfigMap", "janusgraph")["data"]
    assert told["graph.groovy"].strip() == (conf / "graph.groovy").read_text().strip()
    changed = set(told["graph.properties"].splitlines()) ^ set((conf / "cql.properties").read_text().splitlines())
    assert changed == {"storage.hostname=127.0.0.1", "storage.hostname=sky-cassandra"}
    several = of_kind(render("janusgraph.enabled=true"), "ConfigMap", "janusgraph")["data"]["graph.properties"]
    assert "storage.cql.replication-factor=3" in several
    assert several.count("consistency-level=QUORUM") == 2
