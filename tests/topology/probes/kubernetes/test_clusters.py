"""Two clusters before one hub, alike down to their UIDs and addresses: what is said of the one is never said of the other."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster
from support.hublab import Hub, now_us
from support.kubelab import key_of
from support.kubeobjects import stored
from support.kubeoracle import Edge, Expected, Key
from support.netlab import until

from skytrail.settings.tree import Kubernetes

pytestmark = pytest.mark.lab

PODS, NODES, SERVICES, POLICIES = 20, 2, 4, 4
Json = dict[str, Any]
_SAID = ("cluster", "namespace", "node", "pod", "service", "endpointslice", "networkpolicy", "replicaset")
"""Types of which something is said, among others."""


@pytest.fixture
def clusters(kube_program: Path, tmp_path: Path) -> Iterator[dict[str, Cluster]]:
    """With the same objects: copied from one etcd, as it were."""
    made = {name: Cluster(kube_program, tmp_path / name) for name in ("blue", "green")}
    starting = [threading.Thread(target=_start, args=(one,)) for one in made.values()]
    try:
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        yield made
    finally:
        for one in made.values():
            one.close()


def _start(cluster: Cluster) -> None:
    cluster.start_etcd()
    cluster.fill(dict(stored(PODS, NODES, SERVICES, POLICIES)))
    cluster.start_server()


class Said:
    """What a hub has of one cluster, now or at a moment (µs since the epoch)."""

    def __init__(self, hub: Hub, name: str, at: int | None = None) -> None:
        graph = hub.graph(at)
        every = {one["ID"]: one["Metadata"] for one in graph["Nodes"]}
        self.nodes: dict[Key, Json] = {}
        keys: dict[str, Key] = {}
        for id_, said in every.items():
            if said["TID"].startswith(f"cluster/{name}/") or said["TID"] == f"cluster/{name}":
                keys[id_] = key_of(said["TID"])
                self.nodes[keys[id_]] = said
        assert {said["ClusterName"] for said in self.nodes.values()} <= {name}
        self.edges: set[Edge] = set()
        for one in graph["Edges"]:
            ends = one["Parent"] in keys, one["Child"] in keys
            assert ends in {(True, True), (False, False)}, ("an edge leads out of the cluster", one)
            if all(ends):
                said = one["Metadata"]
                relation = said["RelationType"]
                self.edges.add((relation, keys[one["Parent"]], keys[one["Child"]], said.get("PolicyType", "")))

    def agrees(self, cluster: Cluster, name: str) -> bool:
        expected = Expected(cluster, name, Kubernetes().kinds)
        assert self.nodes.keys() == expected.nodes.keys()
        for key, wanted in expected.nodes.items():
            found = {field: self.nodes[key]["K8s"].get(field) for field in wanted}
            assert found == {field: value or None for field, value in wanted.items()}, key
        assert self.edges == expected.edges
        return True


def _writers(hub: Hub) -> set[str]:
    """Those who had a lease of the graph to say something of a cluster."""
    with contextlib.closing(sqlite3.connect(hub.state / "graph" / "graph.sqlite")) as database:
        names = {name for (name,) in database.execute("SELECT name FROM writer")}
    return {name for name in names if name.startswith("kubernetes/")}


def _ready(hub: Hub) -> tuple[int, Json]:
    with contextlib.suppress(OSError, HTTPException):
        status, body = hub.ask("/readyz")
        return status, json.loads(body)
    return 0, {"waiting": {}}


def test_two_clusters_that_are_alike_are_told_apart_and_each_goes_its_own_way(
    clusters: dict[str, Cluster], tmp_path: Path
) -> None:
    blue, green = clusters["blue"], clusters["green"]
    places = {name: one.kubeconfig() for name, one in clusters.items()}
    hub = Hub(tmp_path / "hub", {"kubernetes.clusters": ",".join(f"{a}={b}" for a, b in places.items())}, command="hub")
    pods = "/api/v1/namespaces/team-0/pods"
    name = min(one["metadata"]["name"] for one in blue.list(pods))
    try:
        hub.start()
        until(lambda: all(Said(hub, name).agrees(one, name) for name, one in clusters.items()), 30, 0.2)
        shared = Said(hub, "blue").nodes.keys() & Said(hub, "green").nodes.keys()
        assert len(shared) > PODS, "the clusters are not alike"

        blue.patch(f"{pods}/{name}", {"metadata": {"labels": {"app": "other", "seen": "blue"}}})
        green.delete(f"{pods}/{name}")
        until(lambda: all(Said(hub, name).agrees(one, name) for name, one in clusters.items()), 30, 0.2)
        query = f"G.V().Has('Type', 'pod', 'Name', '{name}').Values('ClusterName')"
        assert json.loads(hub.post("/api/topology", {"GremlinQuery": query})) == ["blue"]

        before, moment = Said(hub, "green"), now_us()
        green.kill_server()
        until(lambda: _ready(hub)[1]["waiting"].keys() == {"kubernetes/green"}, 30)
        text = hub.ask("/metrics")[1].decode()
        assert 'skytrail_kubernetes_up{cluster="blue"} 1.0' in text
        assert 'skytrail_kubernetes_up{cluster="green"} 0.0' in text
        blue.delete(f"{pods}/{name}")
        until(lambda: Said(hub, "blue").agrees(blue, "blue"), 30, 0.2)
        after = Said(hub, "green")
        assert (after.nodes, after.edges) == (before.nodes, before.edges), "what a dead server said stays"

        hub.stop()
        assert _writers(hub) >= {f"kubernetes/{name}/{type_}@" for name in clusters for type_ in _SAID}, (
            "each has its own lease"
        )
        hub = Hub(tmp_path / "hub", {"kubernetes.clusters": f"blue={places['blue']}"}, command="hub").start()
        until(lambda: not Said(hub, "green").nodes, 30, 0.2)
        assert Said(hub, "blue").agrees(blue, "blue")
        assert _ready(hub)[0] == 200
        then = Said(hub, "green", moment)
        assert (then.nodes, then.edges) == (before.nodes, before.edges), "history keeps it"
    finally:
        hub.close()
