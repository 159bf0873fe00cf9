"""Kinds that may not be read when a hub begins: their objects, and what others are to them, stay as they were seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.kube import Cluster
from support.kubelab import KubeLab
from support.netlab import until

from topology.probes.kubernetes import source
from topology.probes.kubernetes.examine import examine

pytestmark = pytest.mark.lab

RBAC = Path(__file__).parents[4] / "deploy" / "kubernetes" / "rbac.yaml"
SPACE = "unread"
KINDS = (
    "namespace", "node", "pod", "service", "endpointslice", "ingress", "networkpolicy", "configmap", "persistentvolume",
    "persistentvolumeclaim", "storageclass",
)  # fmt: skip
_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_CORE, _NETWORKING = f"/api/v1/namespaces/{SPACE}", f"/apis/networking.k8s.io/v1/namespaces/{SPACE}"
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
Json = dict[str, Any]


class Reader:
    """A service account, and what it may read.

    Args:
        cluster: where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rules = next(one["rules"] for one in yaml.safe_load_all(RBAC.read_text()) if one["kind"] == "ClusterRole")
        cluster.create(_ROLES, {"metadata": {"name": SPACE}, "rules": self._rules})
        bound = {
            "metadata": {"name": SPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": SPACE},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": SPACE}],
        }
        cluster.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", bound)
        cluster.create(f"{_CORE}/serviceaccounts", {"metadata": {"name": "reader"}})
        self.place = cluster.kubeconfig(token=cluster.service_account_token(SPACE, "reader"), name=SPACE)
        self.may_not()

    def may_not(self, *resources: str) -> None:
        """Read these; all others it may."""
        rules = [{**one, "resources": [each for each in one["resources"] if each not in resources]} for one in self._rules]
        self._cluster.patch(f"{_ROLES}/{SPACE}", {"rules": [one for one in rules if one["resources"]]})
        until(lambda: self._refused() == set(resources), 30, 0.1)

    def _refused(self) -> set[str]:
        return set(examine(str(self.place), KINDS)[1].partition("does not let us list ")[2].split(", ")) - {""}


def _pod(name: str) -> Json:
    volumes = [
        {"name": "a", "configMap": {"name": "settings"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    spec = {"nodeName": f"{SPACE}-node", "containers": [{"name": "main", "image": "i"}], "volumes": volumes}
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {**spec, "terminationGracePeriodSeconds": 0}}


def _slice(pod: Json) -> Json:
    target = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": SPACE, "uid": pod["metadata"]["uid"]}
    return {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"], "targetRef": target}],
    }


def make_service(cluster: Cluster, name: str) -> None:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    cluster.create(f"{_CORE}/services", {"metadata": {"name": name}, "spec": spec})


def make_all(cluster: Cluster) -> None:
    cluster.create("/api/v1/nodes", {"metadata": {"name": f"{SPACE}-node"}})
    stored = {"accessModes": ["ReadWriteOnce"], "storageClassName": SPACE}
    cluster.create("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": SPACE}, "provisioner": "example.com/disk"})
    volume = {**stored, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    volume |= {"claimRef": {"namespace": SPACE, "name": "data"}}
    cluster.create("/api/v1/persistentvolumes", {"metadata": {"name": SPACE}, "spec": volume})
    claim = {**stored, "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create(f"{_CORE}/persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": claim})
    cluster.create(f"{_CORE}/configmaps", {"metadata": {"name": "settings"}})
    make_service(cluster, "web")
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    cluster.create(f"{_NETWORKING}/ingresses", {"metadata": {"name": "in"}, "spec": {"defaultBackend": backend}})
    policy = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"]}
    cluster.create(f"{_NETWORKING}/networkpolicies", {"metadata": {"name": "p"}, "spec": policy})
    first, _ = (cluster.create(f"{_CORE}/pods", _pod(name)) for name in ("one", "two"))
    cluster.create(_SLICES, _slice(first))


@pytest.fixture(scope="module")
def reader(cluster: Cluster) -> Iterator[Reader]:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": SPACE}})
    make_all(cluster)
    yield Reader(cluster)
    for one in (
        f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{SPACE}",
        f"{_ROLES}/{SPACE}",
        f"{_CORE}/pods/one",
        f"{_CORE}/pods/two",
        f"/api/v1/nodes/{SPACE}-node",
    ):
        cluster.delete(one)


def _begin_anew(graph: KubeLab, unread: Collection[str]) -> None:
    graph.restart()
    until(lambda: graph.probe.active, 30)
    assert len(graph.probe.words()) == len(unread)


def test_what_others_are_to_objects_that_may_not_be_read_stays_when_a_hub_begins(
    cluster: Cluster, reader: Reader, lab: Callable[..., KubeLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_ASK_AGAIN", 0.5)
    reader.may_not()
    graph = lab(reader.place, kinds=KINDS)
    until(lambda: graph.agrees(cluster), 30, 0.2)
    nodes, edges = graph.graph()
    assert len({one for one in edges if one[0] in {"service", "networkpolicy"}}) >= 2 + 1 + 2 * 2
    for unread in (["pods"], ["namespaces"], ["configmaps", "persistentvolumeclaims"], ["nodes", "services", "storageclasses"]):
        reader.may_not(*unread)
        _begin_anew(graph, unread)
        assert graph.graph()[1] == edges, unread
        assert graph.graph()[0] == nodes, unread
        assert graph.reconciler.counters.changes == 0, unread
    reader.may_not()
    until(lambda: not graph.probe.words() and graph.agrees(cluster), 30, 0.2)
    assert graph.reconciler.counters.changes == 0


def test_what_is_known_without_them_ends_and_the_rest_once_they_are_read(
    cluster: Cluster, reader: Reader, lab: Callable[..., KubeLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_ASK_AGAIN", 0.5)
    make_service(cluster, "other")
    reader.may_not()
    graph = lab(reader.place, kinds=KINDS)
    until(lambda: graph.agrees(cluster), 30, 0.2)
    before = graph.graph()[1]
    graph.close()
    reader.may_not("pods")
    cluster.delete(f"{_CORE}/services/other")  # two edges less
    cluster.delete(f"{_CORE}/pods/one")
    third = cluster.create(f"{_CORE}/pods", {**_pod("three"), "metadata": {"name": "three", "labels": {"app": "db"}}})
    cluster.ask("PUT", f"{_SLICES}/web-1", _slice(third))  # by its UID
    graph.open()
    until(lambda: graph.probe.active, 30)
    ended = before - graph.graph()[1]
    assert sorted(relation for relation, *_ in ended) == ["endpointslice", "ownership", "service", "service"], sorted(ended)
    reader.may_not()
    until(lambda: not graph.probe.words() and graph.agrees(cluster), 30, 0.2)
    first = cluster.create(f"{_CORE}/pods", _pod("one"))
    cluster.ask("PUT", f"{_SLICES}/web-1", _slice(first))
    cluster.delete(f"{_CORE}/pods/three")
    until(lambda: graph.agrees(cluster), 30, 0.2)
