"""A hub with a real API server and real namespaces: a pod, its namespace, its interface, the veth on its node; what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster
from support.hublab import Hub
from support.kubelab import now
from support.needs import root
from support.netlab import Net, until
from support.ports import free_port

from skytrail.cli.hub import HubProcess
from skytrail.kernel.host import read_host
from skytrail.settings import tree as settings
from topology import duty, reconcile
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

Json = dict[str, Any]
ADDRESS = "10.244.77.5"


class Graph:
    """A hub's graph, by what is told of its nodes."""

    def __init__(self, hub: Hub) -> None:
        found = hub.get("/api/v1/graph")
        self.nodes: dict[str, Json] = {one["ID"]: one["Metadata"] for one in found["Nodes"]}
        self.edges = found["Edges"]

    def find(self, **keys: Any) -> str:
        """ID of the one node of these keys."""
        fit = [id_ for id_, said in self.nodes.items() if keys.items() <= said.items()]
        assert len(fit) == 1, (keys, len(fit))
        return fit[0]

    def children(self, id_: str, relation: str) -> set[str]:
        return {one["Child"] for one in self.edges if one["Parent"] == id_ and one["Metadata"]["RelationType"] == relation}

    def neighbours(self, id_: str, relation: str) -> set[str]:
        return self.children(id_, relation) | {
            one["Parent"] for one in self.edges if one["Child"] == id_ and one["Metadata"]["RelationType"] == relation
        }


def test_a_pod_is_joined_to_what_the_kernel_has_of_it(cluster: Cluster, tmp_path: Path) -> None:
    root()
    net = Net()
    given = {"kubernetes.clusters": f"prod={cluster.kubeconfig()}", "topology.linkers": "kubernetes"}
    hub = Hub(tmp_path / "hub", given)
    made = []
    try:
        name, inner, outer = net.netns("cni"), net.name("in"), net.name("veth")
        _ip(f"link add {outer} type veth peer name {inner} netns {name}")
        _ip(f"-n {name} addr add {ADDRESS}/24 dev {inner}")
        node = net.name("node").lower()
        made.append(f"/api/v1/nodes/{node}")
        cluster.create("/api/v1/nodes", {"metadata": {"name": node}})
        machine = Path("/etc/machine-id").read_text().strip()
        cluster.patch(f"/api/v1/nodes/{node}/status", {"status": {"nodeInfo": {"machineID": machine}}})
        pod = "/api/v1/namespaces/default/pods/joined"
        made.append(pod)
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "i"}]}
        cluster.create("/api/v1/namespaces/default/pods", {"metadata": {"name": "joined"}, "spec": spec})
        cluster.patch(f"{pod}/status", {"status": {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}})
        policy = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
        made.append(f"{policy}/closed")
        cluster.create(policy, {"metadata": {"name": "closed"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}})
        hub.start()

        def joined() -> bool:
            graph = Graph(hub)
            pod = graph.find(Type="pod", Name="joined")
            namespace, interface = graph.find(Type="netns", Name=name), graph.find(Type="veth", Name=inner)
            assert graph.children(pod, "pod") >= {namespace, interface}
            assert graph.neighbours(interface, "layer2") == {graph.find(Type="veth", Name=outer)}
            host = graph.find(Type="host")
            assert graph.children(host, "node") == {graph.find(Type="node", Name=node)}
            return True

        until(joined, 30, 0.2)
        query = f"G.V().Has('Type', 'host').Out('Type', 'node', 'Name', '{node}').Out().Has('Type', 'pod').Values('Name')"
        assert json.loads(hub.post("/api/topology", {"GremlinQuery": query})) == ["joined"]
        assert machine.encode() not in hub.ask("/api/v1/graph")[1]
        at_the_time = f"G.At('-1ms').V().Has('Type', 'pod', 'K8s.Node', '{node}', 'State', 'UP').Values('K8s.IP')"
        assert json.loads(hub.post("/api/topology", {"GremlinQuery": at_the_time})) == [ADDRESS]
        denied = "G.V().Has('Type', 'networkpolicy').OutE().Has('PolicyTarget', 'deny').OutV().Values('Name')"
        assert json.loads(hub.post("/api/topology", {"GremlinQuery": denied})) == ["joined"]
        assert hub.status()["Probes"]["kubernetes/prod"] == {"Status": "active"}
        text = hub.ask("/metrics")[1].decode()
        assert 'skytrail_kubernetes_up{cluster="prod"} 1.0' in text
        assert 'skytrail_kubernetes_unread_kinds{cluster="prod"} 0.0' in text
        _ip(f"link del {outer}")
        until(lambda: not Graph(hub).children(Graph(hub).find(Type="pod", Name="joined"), "pod"), 30, 0.2)
    finally:
        hub.close()
        for path in reversed(made):
            cluster.delete(path)
        net.close()


def test_what_may_not_be_read_is_said_and_the_hub_is_ready(cluster: Cluster, tmp_path: Path) -> None:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "limited"}})
    cluster.create("/api/v1/namespaces/limited/serviceaccounts", {"metadata": {"name": "nobody"}})
    place = cluster.kubeconfig(token=cluster.service_account_token("limited", "nobody"), name="nobody")
    hub = Hub(tmp_path / "hub", {"kubernetes.clusters": f"prod={place}", "kubernetes.kinds": "pod,ingress"}, command="hub")
    try:
        hub.start()
        told = hub.get("/readyz")
        assert told["ready"]
        assert told["notes"] == {
            "kubernetes/prod": "may not list and watch ingresses.networking.k8s.io: grant it, or leave it out; "
            "may not list and watch pods: grant it, or leave it out"
        }
    finally:
        hub.close()
        cluster.delete("/api/v1/namespaces/limited/serviceaccounts/nobody")


class OneGraph(EmbeddedStore):
    """One that several hubs have, in the place of JanusGraph."""

    shared = True

    def close(self) -> None:
        """The test ends it."""


def test_of_two_hubs_one_asks_and_the_other_takes_over(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = OneGraph(tmp_path / "graph", clock=now)
    monkeypatch.setattr("skytrail.cli.hub.open_store", lambda _: graph)
    monkeypatch.setattr(duty, "_SECONDS", 1.5)
    monkeypatch.setattr(duty, "_RENEWED", 0.3)
    monkeypatch.setattr(reconcile, "_LEASE_SECONDS", 1.5)
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "taken"}})
    hubs = []
    try:
        for number in range(2):
            folder = tmp_path / str(number)
            (folder / "graph").mkdir(parents=True)
            listen = settings.Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{free_port()}")
            clusters = settings.Kubernetes(clusters={"prod": str(cluster.kubeconfig())})
            given = settings.Settings(state_dir=str(folder), hub=listen, kubernetes=clusters)
            hubs.append(HubProcess(given, replace(read_host(""), hostname=f"host-{number}")))
            hubs[-1].start()
        first, second = hubs
        until(lambda: first.clusters.shown() == {"kubernetes/prod": {"Status": "active"}}, 30)
        until(lambda: second.clusters.waiting() == {"kubernetes/prod": None}, 30)
        assert second.clusters.shown() == {}
        elements = _elements(graph)
        assert {"pod", "namespace"} & {type_ for type_, _ in elements.values()}
        hubs.remove(first)
        first.stop()
        until(lambda: second.clusters.shown() == {"kubernetes/prod": {"Status": "active"}}, 30)
        assert _elements(graph) == elements, "what is told again is nothing new"
        cluster.delete("/api/v1/namespaces/taken")
        until(lambda: _elements(graph) != elements, 30)
    finally:
        for hub in hubs:
            hub.stop()
        EmbeddedStore.close(graph)


def _elements(store: EmbeddedStore) -> dict[str, tuple[str, int]]:
    """Type and time of what the cluster has."""
    return {
        one.id: (one.state.metadata.get("Type", ""), one.updated_at)
        for one in store.current()
        if one.state and any(part.startswith("kubernetes/") for part in one.state.parts)
    }


def test_check_says_what_answers_and_what_does_not(cluster: Cluster, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.write_text(cluster.kubeconfig(name="copy").read_text().replace(str(cluster.port), "1"))
    places = {"there": cluster.kubeconfig(), "away": away, "none": tmp_path / "none"}
    clusters = ",".join(f"{name}={place}" for name, place in places.items())
    command = [sys.executable, "-m", "skytrail", "check", "--json", "--set", f"kubernetes.clusters={clusters}"]
    run = subprocess.run(command, capture_output=True, text=True)
    found = {one["name"]: one for one in map(json.loads, run.stdout.splitlines()) if one["name"].startswith("Kubernetes")}
    assert {name.split()[-1]: one["state"] for name, one in found.items()} == {
        "there": "ok",
        "away": "note",
        "none": "optional",
    }
    assert "127.0.0.1:1" in found["Kubernetes cluster away"]["found"]


@pytest.mark.parametrize(
    ("clusters", "said"),
    [
        ("prod=relative/path", "expected in-cluster, /PATH/OF/KUBECONFIG or /PATH#CONTEXT"),
        ("a b=in-cluster", "expected a name of letters, digits"),
    ],
)
def test_settings_that_name_no_cluster_are_refused(clusters: str, said: str) -> None:
    command = [sys.executable, "-m", "skytrail", "config", "--set", f"kubernetes.clusters={clusters}"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert "kubernetes.clusters" in run.stderr
    assert said in run.stderr


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)
