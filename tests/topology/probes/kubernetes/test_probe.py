"""The probe before a real API server: the graph is as the server lists it, whatever changes, restarts or may not be read."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster, ServerError
from support.kubelab import KubeLab
from support.kubeoracle import PATHS
from support.netlab import until

from skytrail.settings.tree import Kubernetes
from topology.probes.kubernetes import source
from topology.probes.kubernetes.examine import examine

pytestmark = pytest.mark.lab

DEPLOY = Path(__file__).parents[4] / "deploy" / "kubernetes"
SECRET = "very-secret-value-8d2f"
Make = Callable[..., KubeLab]
Json = dict[str, Any]
_CONTAINER = {"name": "main", "image": "registry.example/app:1"}
_TEMPLATE = {"metadata": {"labels": {"app": "t"}}, "spec": {"containers": [_CONTAINER]}}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}


def everything(namespace: str) -> Iterator[tuple[str, Json]]:
    """One of each kind, that refer to each other."""
    yield "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": {"team": "blue"}}}
    yield "/api/v1/nodes", {"metadata": {"name": f"{namespace}-node"}}
    yield (
        "/apis/storage.k8s.io/v1/storageclasses",
        {"metadata": {"name": f"{namespace}-fast"}, "provisioner": "example.com/disk"},
    )
    volume = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": f"{namespace}-fast",
        "hostPath": {"path": "/tmp/x"}, "claimRef": {"namespace": namespace, "name": "data"},
    }  # fmt: skip
    yield "/api/v1/persistentvolumes", {"metadata": {"name": f"{namespace}-volume"}, "spec": volume}
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    claim = {**_CLAIM, "storageClassName": f"{namespace}-fast"}
    yield f"{core}/persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": claim}
    yield f"{core}/configmaps", {"metadata": {"name": "settings"}, "data": {"key": SECRET}}
    yield f"{core}/secrets", {"metadata": {"name": "keys"}, "data": {"key": base64.b64encode(SECRET.encode()).decode()}}
    selector = {"matchLabels": {"app": "t"}}
    yield f"{apps}/deployments", {"metadata": {"name": "d"}, "spec": {"selector": selector, "template": _TEMPLATE}}
    yield f"{apps}/daemonsets", {"metadata": {"name": "ds"}, "spec": {"selector": selector, "template": _TEMPLATE}}
    stateful = {"selector": selector, "template": _TEMPLATE, "serviceName": "web"}
    yield f"{apps}/statefulsets", {"metadata": {"name": "ss"}, "spec": stateful}
    job = {"template": {"spec": {"containers": [_CONTAINER], "restartPolicy": "Never"}}}
    batch = f"/apis/batch/v1/namespaces/{namespace}"
    yield f"{batch}/jobs", {"metadata": {"name": "job"}, "spec": job}
    yield f"{batch}/cronjobs", {"metadata": {"name": "cron"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}}
    yield (
        f"{core}/replicationcontrollers",
        {"metadata": {"name": "rc"}, "spec": {"selector": {"app": "t"}, "template": _TEMPLATE}},
    )
    yield f"{core}/services", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    yield f"{core}/services", {"metadata": {"name": "bare"}, "spec": {"ports": [{"port": 80}]}}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    networking = f"/apis/networking.k8s.io/v1/namespaces/{namespace}"
    ingress = {"rules": [{"host": "a.example", "http": {"paths": paths}}], "defaultBackend": backend}
    yield f"{networking}/ingresses", {"metadata": {"name": "in"}, "spec": ingress}
    for name, pods in (
        ("all", {}),
        ("labels", {"matchLabels": {"app": "web"}}),
        ("in", {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}),
        ("notin", {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
        ("exists", {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
        ("not", {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
    ):
        spec = {
            "podSelector": pods,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
        }
        yield f"{networking}/networkpolicies", {"metadata": {"name": name}, "spec": spec}
    for name, labels in (
        ("web-1", {"app": "web"}),
        ("web-2", {"app": "web", "tier": "x"}),
        ("db", {"app": "db"}),
        ("none", {}),
    ):
        spec = {
            "nodeName": f"{namespace}-node",
            "containers": [
                {
                    **_CONTAINER,
                    "env": [{"name": "PASSWORD", "value": SECRET}],
                }
            ],
            "initContainers": [{"name": "init", "image": "i"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "settings"}},
                {"name": "b", "secret": {"secretName": "keys"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
            ],
        }
        meta = {"name": name, "labels": labels, "annotations": {"example.com/kept": "yes", "example.com/other": SECRET}}
        yield f"{core}/pods", {"metadata": meta, "spec": spec}


def make_all(cluster: Cluster, namespace: str) -> dict[str, Json]:
    """By path: what the server made of them."""
    made = {}
    for path, body in everything(namespace):
        one = cluster.create(path, body)
        made[f"{path}/{one['metadata']['name']}"] = one
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for name, phase in (("web-1", "Running"), ("web-2", "Succeeded"), ("db", "Running")):
        cluster.patch(
            f"{pods}/{name}/status", {"status": {"phase": phase, "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}}
        )
    for endpoint in ("web-1",):
        target = {"kind": "Pod", "name": endpoint, "namespace": namespace, "uid": made[f"{pods}/{endpoint}"]["metadata"]["uid"]}
        body = {
            "metadata": {"name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.0.1"], "targetRef": target}, {"addresses": ["192.0.2.7"]}],
            "ports": [{"port": 80}],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        made[f"{path}/web-abc"] = cluster.create(path, body)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "controller": True}
    uid = made[f"/apis/apps/v1/namespaces/{namespace}/deployments/d"]["metadata"]["uid"]
    body = {
        "metadata": {"name": "d-1", "ownerReferences": [{**owner, "uid": uid}]},
        "spec": {"selector": {"matchLabels": {"app": "t"}}, "template": _TEMPLATE},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    made[f"{path}/d-1"] = one = cluster.create(path, body)
    maker = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "d-1", "controller": True, "uid": one["metadata"]["uid"]}
    body = {"metadata": {"name": "d-1-x", "ownerReferences": [maker]}, "spec": {"containers": [_CONTAINER]}}
    made[f"{pods}/d-1-x"] = cluster.create(pods, body)
    return made


def test_the_graph_is_as_a_list_from_the_first_object_to_the_last(
    cluster: Cluster, lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_PAGE", 2)  # of several pages
    before = lab(cluster.kubeconfig(), annotations=["example.com/kept"])
    until(lambda: before.probe.active, 30)
    made = make_all(cluster, "every")
    until(lambda: before.agrees(cluster), 30, 0.2)
    after = lab(cluster.kubeconfig(), annotations=["example.com/kept"])
    until(lambda: after.agrees(cluster), 30, 0.2)
    nodes, edges = after.graph()
    assert nodes == before.graph()[0]
    relations = {relation for relation, *_ in edges}
    assert relations == {
        "ownership", "deployment", "replicaset", "node", "pod", "service", "endpointslice", "ingress", "networkpolicy",
        "persistentvolumeclaim", "storageclass",
    }  # fmt: skip
    assert {key[0] for key in nodes} == {*PATHS, "cluster", "container"}
    pod = next(one for one in nodes.values() if one["Type"] == "pod" and one["Name"] == "web-1")
    assert (pod["State"], pod["K8s"]["Annotations"]) == ("UP", {"example.com/kept": "yes"})
    policy = next(one for one in nodes.values() if one["Type"] == "networkpolicy" and one["Name"] == "not")
    assert policy["K8s"]["PodSelector"] == "app=web,!tier"
    assert policy["K8s"]["Ingress"] == [{"Peers": [{"Namespaces": "*"}, {"CIDR": "10.0.0.0/8", "Except": ["10.1.0.0/16"]}]}]
    kept = next(one for one in nodes.values() if one["Type"] == "endpointslice" and one["Name"] == "web-abc")
    assert kept["K8s"]["Endpoints"] == [{"Addresses": ["192.0.2.7"], "Ready": True}]
    for path in reversed(made):
        if "/namespaces/every/" in path or not path.startswith("/api/v1/namespaces/"):
            cluster.delete(path)
    until(lambda: before.agrees(cluster) and after.agrees(cluster), 30, 0.2)


def test_values_are_never_seen(cluster: Cluster, lab: Make) -> None:
    made = make_all(cluster, "hidden")
    graph = lab(cluster.kubeconfig())
    until(lambda: graph.agrees(cluster), 30, 0.2)
    assert made
    said = repr(graph.reports) + repr(list(graph.store.current()))
    assert "hidden" in said
    for hidden in (SECRET, base64.b64encode(SECRET.encode()).decode(), "managedFields", "last-applied", "resourceVersion"):
        assert hidden not in said


def test_what_only_counts_makes_no_revision(cluster: Cluster, lab: Make) -> None:
    cluster.create("/api/v1/nodes", {"metadata": {"name": "beats"}})
    graph = lab(cluster.kubeconfig(), kinds=("node", "configmap"))
    until(lambda: graph.probe.active, 30)
    condition = {"type": "Ready", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    cluster.patch("/api/v1/nodes/beats/status", {"status": {"conditions": [condition]}})
    until(lambda: graph.agrees(cluster), 30, 0.2)
    until(lambda: [one for one in graph.graph()[0].values() if one.get("State") == "UP"], 30)
    changes, events = graph.reconciler.counters.changes, graph.probe.sources["node"].counters.events
    for second in range(5):
        beat = {**condition, "lastHeartbeatTime": f"2026-01-01T00:00:0{second}Z"}
        cluster.patch("/api/v1/nodes/beats/status", {"status": {"conditions": [beat]}})
    until(lambda: graph.probe.sources["node"].counters.events >= events + 5, 30)
    cluster.patch("/api/v1/nodes/beats", {"metadata": {"labels": {"seen": "last"}}})
    until(lambda: [one for one in graph.graph()[0].values() if one["K8s"].get("Labels") == {"seen": "last"}], 30)
    assert graph.reconciler.counters.changes == changes + 1
    cluster.delete("/api/v1/nodes/beats")


def test_one_made_again_under_its_name_is_another_element_and_its_edges_lead_to_it(cluster: Cluster, lab: Make) -> None:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "again"}})
    graph = lab(cluster.kubeconfig())
    base = "/api/v1/namespaces/again"
    cluster.create(f"{base}/configmaps", {"metadata": {"name": "c"}})
    spec = {"containers": [_CONTAINER], "volumes": [{"name": "a", "configMap": {"name": "c"}}]}
    cluster.create(f"{base}/pods", {"metadata": {"name": "p"}, "spec": spec})
    until(lambda: graph.agrees(cluster), 30, 0.2)
    cluster.delete(f"{base}/configmaps/c")
    until(lambda: graph.agrees(cluster), 30, 0.2)
    cluster.create(f"{base}/configmaps", {"metadata": {"name": "c"}})
    until(lambda: graph.agrees(cluster), 30, 0.2)
    cluster.delete(f"{base}/pods/p")


def test_a_restarted_hub_changes_nothing_and_sees_what_went_meanwhile(cluster: Cluster, lab: Make) -> None:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "restart"}})
    for name in ("stays", "goes"):
        cluster.create("/api/v1/namespaces/restart/configmaps", {"metadata": {"name": name}})
    graph = lab(cluster.kubeconfig())
    until(lambda: graph.agrees(cluster), 30, 0.2)
    graph.restart()
    until(lambda: graph.probe.active, 30)
    assert graph.reconciler.counters.changes == 0
    graph.close()
    cluster.delete("/api/v1/namespaces/restart/configmaps/goes")
    graph.open()
    until(lambda: graph.probe.active, 30)
    until(lambda: graph.agrees(cluster), 30, 0.2)
    assert graph.reconciler.counters.changes == 2  # the config map, and its namespace's edge to it


def test_the_manifest_grants_what_is_needed_and_no_more(cluster: Cluster, lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_ASK_AGAIN", 0.5)
    cluster.apply(DEPLOY / "rbac.yaml")
    token = cluster.service_account_token("skytrail", "skytrail-hub")
    place = cluster.kubeconfig(token=token, name="account")
    kinds = Kubernetes().kinds
    assert examine(str(place), kinds) == ("ok", f"https://127.0.0.1:{cluster.port} is asked", "")
    graph = lab(place, kinds=kinds)
    until(lambda: graph.probe.active, 30)
    assert graph.probe.words() == []
    until(lambda: graph.agrees(cluster), 30, 0.2)
    state, said, _ = examine(str(place), PATHS)
    assert (state, "list secrets" in said) == ("note", True)
    _refused_all_else(cluster, token)

    limited = lab(place)  # with secrets
    until(lambda: limited.probe.active, 30)
    assert limited.probe.words() == ["may not list and watch secrets: grant it, or leave it out"]
    assert limited.probe.failure is None
    assert not [one for one in limited.graph()[0] if one[0] == "secret"]
    cluster.create("/api/v1/namespaces/skytrail/secrets", {"metadata": {"name": "named"}})
    cluster.apply(DEPLOY / "rbac-secrets.yaml")
    until(lambda: not limited.probe.words(), 30)
    until(lambda: limited.agrees(cluster), 30, 0.2)
    assert [one for one in limited.graph()[0] if one[0] == "secret"]

    cluster.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/skytrail-hub-secrets")
    limited.restart()
    until(lambda: limited.probe.active and limited.probe.words(), 30)
    assert [one for one in limited.graph()[0] if one[0] == "secret"], "what may not be read any more is not gone"


def _refused_all_else(cluster: Cluster, token: str) -> None:
    """By the server's own word: each rule of the manifest is used, and there are no others."""
    rules = cluster.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/skytrail-hub")["rules"]
    granted = {each for one in rules for each in itertools.product(one["apiGroups"], one["resources"], one["verbs"])}
    needed = set()
    for kind in Kubernetes().kinds:
        parts = PATHS[kind].split("/")
        needed |= {(parts[2] if parts[1] == "apis" else "", parts[-1], verb) for verb in ("list", "watch")}
    assert granted == needed
    other = Cluster.__new__(Cluster)
    other.__dict__ |= {**cluster.__dict__, "token": token, "_connection": None}
    for method, path in (
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"),
        ("DELETE", "/api/v1/namespaces/default/pods/x"),
        ("GET", "/api/v1/namespaces/default/pods/x/log"),
    ):
        with pytest.raises(ServerError, match="403"):
            other.ask(method, path)


def test_a_server_that_is_away_is_waited_for_and_told(tmp_path: Path, lab: Make) -> None:
    place = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    }  # fmt: skip
    place.write_text(json.dumps(config))
    graph = lab(place, kinds=("pod",))
    until(lambda: "127.0.0.1:1" in (graph.probe.failure or ""), 30)
    assert not graph.reports
    graph.probe.stop()
    assert not [one for one in threading.enumerate() if one.name.startswith("kube")]


@pytest.mark.parametrize("text", ["", "{}", "\0", "a: [", json.dumps({"current-context": "x"})])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, lab: Make, text: str) -> None:
    place = tmp_path / "kubeconfig"
    place.write_text(text)
    graph = lab(place, kinds=("pod",))
    until(lambda: str(place) in (graph.probe.failure or ""), 30)
    assert "\n" not in (graph.probe.failure or "")


def test_no_cluster_is_no_failure(tmp_path: Path, lab: Make) -> None:
    graph = lab(tmp_path / "none", kinds=("pod",))
    said = [f"{tmp_path / 'none'} is not there: it is waited for"]
    assert (graph.probe.absent, graph.probe.failure, graph.probe.words()) == (True, None, said)
