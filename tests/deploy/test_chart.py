"""The Helm chart: linted, rendered and installed by Helm into a real API server, with settings that Skytrail takes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import kube
from support.needs import missing, tool
from support.netlab import until

from skytrail.privileges import NEEDS
from skytrail.settings.load import load

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "skytrail"
DOCS = DEPLOY.parent / "docs"
SCRAPED = "agent.settings.agent.listen=0.0.0.0:8081"
VALUES: dict[str, list[str]] = {
    "as it is": [],
    "to try it out": ["insecure=true", "networkPolicy.enabled=false", SCRAPED, "serviceMonitor.enabled=true"],
    "large": ["hub.replicas=2", "janusgraph.enabled=true", "hub.secrets=true", "hub.storage.className=fast"],
    "one Cassandra": ["janusgraph.enabled=true", "janusgraph.cassandra.replicas=1"],
    "watched": [
        SCRAPED,
        "agent.settings.http.tls_cert=/etc/skytrail/http.crt",
        "agent.settings.http.tls_key=/etc/skytrail/http.key",
        "agent.settings.http.token_file=/etc/skytrail/tokens",
        "serviceMonitor.enabled=true",
        "serviceMonitor.labels.release=prometheus",
        "networkPolicy.clients[0].namespaceSelector.matchLabels.team=monitoring",
        "imagePullSecrets[0].name=registry",
    ],
    "users": ["hub.settings.http.users_file=/etc/skytrail/secret/users"],
}
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.79.2"
"""A module of Go's, which has the definitions of the monitors."""
MONITORS = ("servicemonitors", "podmonitors")
Json = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[Json]]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
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
def render(helm: Helm) -> Render:
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


def test_helm_finds_no_fault(helm: Helm) -> None:
    for sets in VALUES.values():
        done = helm("lint", "--strict", str(CHART), *(word for one in sets for word in ("--set", one)))
        assert done.returncode == 0, done.stdout
    done = helm("template", str(CHART), "--set", "hub.replicas=2")
    assert done.returncode == 1
    assert "more than one hub needs one graph: set janusgraph.enabled" in done.stderr


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hub.replica=2", "'/hub': additional properties 'replica' not allowed"),
        ("hub.replicas=two", "'/hub/replicas': got string, want integer"),
        ("hub.replicas=0", "'/hub/replicas': minimum: got 0, want 1"),
        ("agent.limits.memory=1Gi", "'/agent': additional properties 'limits' not allowed"),
        ("serviceMonitor.enabled=maybe", "'/serviceMonitor/enabled': got string, want boolean"),
        ("hub=null", "missing property 'hub'"),
    ],
)
def test_values_that_mean_nothing_are_refused(helm: Helm, value: str, told: str) -> None:
    done = helm("template", "sky", str(CHART), "--set", value)
    assert done.returncode == 1
    assert told in done.stderr


def test_long_names_of_releases_keep_the_parts_apart(helm: Helm) -> None:
    done = helm("template", "r" * 53, str(CHART), "--set", "janusgraph.enabled=true")
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert max(len(name) for _, name in names) <= 63


@pytest.fixture(scope="module")
def monitored(cluster: kube.Cluster) -> kube.Cluster:
    """With the definitions of the Prometheus operator's monitors."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")  # where Go's own archive is unpacked
    if go is None:
        missing("no Go, which fetches the definitions of the Prometheus operator")
    done = subprocess.run([go, "mod", "download", "-json", OPERATOR], check=True, capture_output=True, text=True)
    folder = Path(json.loads(done.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
    for name in MONITORS:
        file = folder / f"monitoring.coreos.com_{name}.yaml"
        cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(file.read_text()))
    for name in MONITORS:
        until(lambda name=name: cluster.ask("GET", f"/apis/monitoring.coreos.com/v1/{name}")["items"] == [], 30)  # type: ignore[misc]
    return cluster


def test_helm_installs_upgrades_and_removes_it(monitored: kube.Cluster, helm: Helm) -> None:
    def run(*words: str) -> str:
        done = helm(*words, "--kubeconfig", str(monitored.kubeconfig()), "--namespace", "sky")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kinds() -> set[str]:
        return {one["kind"] for one in yaml.safe_load_all(run("get", "manifest", "sky")) if one}

    monitored.create("/api/v1/namespaces", {"metadata": {"name": "sky"}})
    run("install", "sky", str(CHART))
    usual = kinds()
    for number, sets in enumerate(VALUES.values()):
        run("install", f"other{number}", str(CHART), *(word for one in sets for word in ("--set", one)))
    watched = [word for one in (*VALUES["watched"], *VALUES["large"][:2]) for word in ("--set", one)]
    told = run("upgrade", "sky", str(CHART), *watched)
    assert "Prometheus of another namespace" not in told
    assert kinds() - usual == {"ServiceMonitor", "PodMonitor", "Deployment", "PodDisruptionBudget"}
    run("rollback", "sky", "1")
    assert kinds() == usual
    assert "Agents listen on loopback alone" in run("upgrade", "sky", str(CHART), "--set", "serviceMonitor.enabled=true")
    run("uninstall", "sky")
    left = monitored.list("/apis/apps/v1/namespaces/sky/statefulsets")
    assert [one["metadata"]["name"] for one in left if one["metadata"]["name"].startswith("sky-")] == []


def test_a_real_api_server_knows_every_word_of_it(monitored: kube.Cluster, render: Render) -> None:
    """Helm tells only of what a server refuses, and one that is not strict refuses no field that it does not know."""
    monitored.create("/api/v1/namespaces", {"metadata": {"name": "skytrail"}})
    for sets in VALUES.values():
        for one in render(*sets):
            apply(monitored, one)
    broken = of_kind(render(), "DaemonSet", "agent")
    broken["spec"]["template"]["spec"]["hostPids"] = True
    with pytest.raises(kube.ServerError, match=r"field not declared in schema|unknown field"):
        apply(monitored, broken)
    scraper = of_kind(render(*VALUES["watched"]), "PodMonitor", "agent")
    scraper["spec"]["podMetricsEndpoints"][0]["tlsConfig"]["cafile"] = "/ca.crt"
    with pytest.raises(kube.ServerError, match=r"field not declared in schema|unknown field"):
        apply(monitored, scraper)


def apply(cluster: kube.Cluster, one: Json) -> None:
    """Server-side, strictly; nothing is kept."""
    group, kind = one["apiVersion"], one["kind"]
    plural = {"NetworkPolicy": "networkpolicies"}.get(kind, f"{kind.lower()}s")
    base = f"/apis/{group}" if "/" in group else f"/api/{group}"
    if namespace := one["metadata"].get("namespace"):
        base += f"/namespaces/{namespace}"
    path = f"{base}/{plural}/{one['metadata']['name']}?fieldManager=test&fieldValidation=Strict&dryRun=All"
    assert cluster.ask("PATCH", path, one, "application/apply-patch+yaml")["metadata"]["uid"]


def test_the_values_of_the_docs_have_all_scraped(helm: Helm, tmp_path: Path) -> None:
    (values,) = re.findall(r"```yaml\n(agent:.*?)```", (DOCS / "deployment.md").read_text(), re.DOTALL)
    file = tmp_path / "values.yaml"
    file.write_text(values)
    done = helm("template", "sky", str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stderr
    assert {"ServiceMonitor", "PodMonitor"} < {one["kind"] for one in yaml.safe_load_all(done.stdout) if one}


def test_the_pod_that_restores_a_backup_has_the_hubs_volume_and_user(monitored: kube.Cluster, render: Render) -> None:
    (words,) = re.findall(r"--overrides='(.*?)'", (DOCS / "operations.md").read_text(), re.DOTALL)
    pod = {"kind": "Pod", "metadata": {"name": "restore", "namespace": "default"}, **json.loads(words)}
    apply(monitored, pod)
    hub = of_kind(render(), "StatefulSet", "hub")
    claim = hub["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == f"{claim}-{hub['metadata']['name']}-0"
    template = hub["spec"]["template"]["spec"]
    assert pod["spec"]["securityContext"].items() <= template["securityContext"].items()
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert mount in template["containers"][0]["volumeMounts"]


@pytest.mark.parametrize("sets", ["to try it out", "watched"])
def test_what_is_scraped_has_the_names_that_rules_and_dashboards_ask_for(sets: str, render: Render) -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"]}
    objects = render(*VALUES[sets])
    hub = of_kind(objects, "ServiceMonitor", "hub")["spec"]["endpoints"][0]
    agent = of_kind(objects, "PodMonitor", "agent")["spec"]["podMetricsEndpoints"][0]
    told = [{one["targetLabel"]: one for one in endpoint["relabelings"]} for endpoint in (hub, agent)]
    assert {one["job"]["replacement"] for one in told} == jobs
    assert [one["instance"]["sourceLabels"] for one in told] == [
        ["__meta_kubernetes_pod_name"],
        ["__meta_kubernetes_pod_node_name"],
    ]
    secure = sets == "watched"
    assert {hub["scheme"], agent["scheme"]} == {"https" if secure else "http"}
    assert ("tlsConfig" in hub, "authorization" in agent) == (secure, secure)
    container = of_kind(objects, "DaemonSet", "agent")["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": 8081}]
    assert container["livenessProbe"]["httpGet"]["scheme"] == ("HTTPS" if secure else "HTTP")


@pytest.mark.parametrize("sets", VALUES.values(), ids=VALUES.keys())
def test_skytrail_takes_the_settings(sets: list[str], render: Render, tmp_path: Path) -> None:
    objects = render(*sets)
    for part in ("agent", "hub"):
        file = tmp_path / f"{part}.yaml"
        file.write_text(of_kind(objects, "ConfigMap", part)["data"]["skytrail.yaml"])
        settings = load(file, {}, {})
        assert settings.http.insecure == (settings.wire.tls_cert is None) == ("insecure=true" in sets)
        if part == "hub" and not settings.http.insecure:
            wanted = ("users_file", "token_file") if sets == VALUES["users"] else ("token_file", "users_file")
            assert [getattr(settings.http, name) is None for name in wanted] == [False, True]
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
