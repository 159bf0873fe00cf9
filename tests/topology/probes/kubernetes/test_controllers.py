"""A real deployment: the cluster's controllers make its replica sets and pods, scale it, roll it out; what history says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster
from support.kubelab import KubeLab, now
from support.kubelet import Kubelet
from support.netlab import until

pytestmark = pytest.mark.lab

Json = dict[str, Any]
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_SLACK = 1_500_000  # µs: as objects tell whole seconds, and for a busy machine


@pytest.fixture
def controlled(kube_program: Path, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(kube_program, tmp_path / "kube")
    try:
        made.start()
        made.start_controllers("deployment-controller", "replicaset-controller")
        yield made
    finally:
        made.close()


def deployment(replicas: int) -> Json:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]}}
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def owned(graph: KubeLab, at: int) -> dict[str, set[str]]:
    """By image of their containers: UIDs of the pods that each replica set of the deployment had at a moment."""
    nodes, edges = graph.graph(at)
    images = {key[1].partition("/")[0]: said["K8s"]["Image"] for key, said in nodes.items() if key[0] == "container"}
    sets = {child for relation, _, child, _ in edges if relation == "deployment"}
    found: dict[str, set[str]] = {}
    for relation, parent, child, _ in edges:
        if relation == "replicaset":
            assert parent in sets, "its deployment is not known"
            assert child in nodes
            found.setdefault(f"{parent[1]} {images[child[1]]}", set()).add(child[1])
    assert len({name.split()[0] for name in found}) == len(found), "a replica set has pods of two images"
    return {name.split()[1]: pods for name, pods in found.items()}


def test_history_has_the_pods_of_both_replica_sets_through_scaling_and_a_rollout(
    controlled: Cluster, lab: Callable[..., KubeLab]
) -> None:
    graph = lab(controlled.kubeconfig(), kinds=("namespace", "node", "pod", "deployment", "replicaset"))
    kubelet = Kubelet(controlled, "node-1", "default")

    def settled(replicas: int, image: str) -> int:
        """Wait until the cluster is so, and the graph too; gives the time."""

        def there() -> bool:
            pods = kubelet.step()
            images = [one["spec"]["containers"][0]["image"] for one in pods if one["status"]["phase"] == "Running"]
            status = controlled.ask("GET", f"{_DEPLOYMENTS}/web")["status"]
            ready = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
            return images == [image] * replicas == [image] * len(pods) and ready == (replicas, replicas)

        until(there, 60, 0.05)
        until(lambda: graph.agrees(controlled), 30, 0.1)
        return now()

    controlled.create(_DEPLOYMENTS, deployment(2))
    made = settled(2, "registry.example/web:1")
    controlled.patch(f"{_DEPLOYMENTS}/web", {"spec": {"replicas": 4}})
    scaled = settled(4, "registry.example/web:1")
    new = [{"name": "main", "image": "registry.example/web:2"}]
    controlled.patch(f"{_DEPLOYMENTS}/web", {"spec": {"template": {"spec": {"containers": new}}}})
    rolled = settled(4, "registry.example/web:2")
    controlled.patch(f"{_DEPLOYMENTS}/web", {"spec": {"replicas": 1}})
    shrunk = settled(1, "registry.example/web:2")

    at = {moment: owned(graph, moment) for moment in (made, scaled, rolled, shrunk)}
    old, young = "registry.example/web:1", "registry.example/web:2"
    assert {moment: {image: len(pods) for image, pods in some.items()} for moment, some in at.items()} == {
        made: {old: 2}, scaled: {old: 4}, rolled: {young: 4}, shrunk: {young: 1},
    }  # fmt: skip
    assert at[made][old] < at[scaled][old]
    assert at[shrunk][young] < at[rolled][young]
    desired = {
        moment: [said["K8s"]["DesiredReplicas"] for key, said in graph.graph(moment)[0].items() if key[0] == "deployment"]
        for moment in at
    }
    assert desired == {made: [2], scaled: [4], rolled: [4], shrunk: [1]}

    found = graph.intervals()
    assert found.keys() == kubelet.lives.keys()
    assert len(found) >= 8
    for uid, life in kubelet.lives.items():
        since, until_, pieces = found[uid]
        assert pieces == 1
        assert life.made[0] - _SLACK <= since <= life.made[1] + _SLACK, (uid, life, since)
        if life.ended[0]:
            assert life.ended[0] - _SLACK <= until_ <= life.ended[1] + _SLACK, (uid, life, until_)
        else:
            assert until_ > now()
