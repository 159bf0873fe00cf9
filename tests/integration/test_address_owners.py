"""Pods of a real API server, containers of a real dockerd and a port of a real switch on one host: flows, spans, metrics."""

from __future__ import annotations

import itertools
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import otelcol
from lab.containers import IMAGE, Dockerd, image
from lab.kube import Cluster, demand
from support.agentlab import Flow, Metrics
from support.hublab import Hub
from support.machine import Machine
from support.netlab import End, Net, until
from support.ovs import Switch
from support.ports import free_port

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

Json = dict[str, Any]
Owners = tuple[Json | None, Json | None]
PODS = "/api/v1/namespaces/default/pods"
POD, MACHINE, MAC = "10.244.77.5", "10.98.0.5", "fa:16:3e:00:00:05"


class Lab:
    """A host with an agent and a hub of its own: a namespace for what is the host's in earnest, and who hangs on it."""

    def __init__(self, net: Net, folder: Path, cluster: Cluster, collector: otelcol.Collector) -> None:
        self.net, self.cluster, self.host = net, cluster, socket.gethostname()
        self.base = net.netns("d")
        net.run(self.base, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.docker = Dockerd(folder / "docker", self.base)
        self.switch = Switch(net, self.base, folder / "ovs")
        self.port, self.tap = free_port(), net.name("tap")
        settings = {
            "kubernetes.clusters": f"prod={cluster.kubeconfig()}",
            "containers.docker": json.dumps([str(self.docker.socket)]),
            "topology.ovsdb.databases": json.dumps([self.switch.remote]),
            "flow.interfaces": json.dumps([f"{net.prefix}*"]),
            "flow.netns": "all",
            "flow.update": "500ms",
            "flow.drain": "100ms",
            "prometheus.peers": "1000",
            "otlp.endpoint": collector.grpc,
            "agent.listen": f"127.0.0.1:{self.port}",
        }
        self.hub = Hub(folder / "hub", settings)
        self.machine: Machine | None = None

    def start(self, archive: Path) -> None:
        """Start all of it."""
        self.docker.start()
        self.docker.load(archive)
        self.docker.run("network", "create", "--subnet", "10.99.0.0/24", "lab")
        self.docker.run("run", "-d", "--name", "web", "--network", "lab", IMAGE)
        self.switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
        self.net.ip("address add 10.98.0.1/24 dev br0", netns=self.base)
        self.net.ip("link set br0 up", netns=self.base)
        self.machine = Machine(self.net, self.base, self.tap, MAC, MACHINE)
        ids = f"external_ids:attached-mac={json.dumps(MAC)} external_ids:iface-id=port-5 external_ids:vm-uuid=vm-5"
        self.switch.vsctl(f"add-port br0 {self.tap} -- set interface {self.tap} {ids}")
        self.cluster.create("/api/v1/nodes", {"metadata": {"name": self.host}})
        self.hub.start()
        until(self._is_ready, 30)

    def _is_ready(self) -> bool:
        try:
            return self.agent("/readyz") != b""
        except OSError:
            return False

    @property
    def web(self) -> str:
        """The container's address."""
        return str(self.docker.inspect("web")["NetworkSettings"]["Networks"]["lab"]["IPAddress"])

    def pod(self, name: str) -> End:
        """A pod with the one address, in a namespace of its own; its gateway is the host."""
        inner = End(self.net.netns(name), self.net.name(f"{name}0"), POD)
        outer = End(self.base, self.net.name(f"{name}1"), "10.244.77.1")
        self.net.veth(inner, outer)
        self.net.ip("route add default via 10.244.77.1", netns=inner.netns)
        spec = {"nodeName": self.host, "containers": [{"name": "main", "image": "i"}]}
        self.cluster.create(PODS, {"metadata": {"name": name}, "spec": spec})
        status = {"phase": "Running", "podIP": POD, "podIPs": [{"ip": POD}]}
        self.cluster.patch(f"{PODS}/{name}/status", {"status": status})
        return inner

    def remove(self, name: str, end: End) -> None:
        """The pod ends, and its namespace with it."""
        self.cluster.delete(f"{PODS}/{name}")
        self.net.ip(f"netns del {end.netns}")

    def agent(self, path: str) -> bytes:
        """The agent's answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            body: bytes = answer.read()
        return body

    def flows(self, identifier: int) -> list[Flow]:
        """Pings of one identifier, of whichever capture point."""
        found: list[Flow] = json.loads(self.agent("/api/v1/flows?filter=icmp"))
        return [flow for flow in found if flow["ICMP"]["ID"] == identifier]

    def asked(self, query: str) -> list[Flow]:
        """The answer to a question in Skydive's dialect."""
        found: list[Flow] = json.loads(self.hub.post("/api/topology", {"GremlinQuery": query}))
        return found

    def of_pod(self, name: str) -> Json:
        return {"Kind": "pod", "Name": name, "Namespace": "default", "Host": self.host, "Cluster": "prod"}

    @property
    def of_web(self) -> Json:
        return {"Kind": "container", "Name": "web", "Host": self.host}

    @property
    def of_machine(self) -> Json:
        return {"Kind": "ovsport", "Name": self.tap, "Host": self.host, "IfaceID": "port-5", "VM": "vm-5"}

    def close(self) -> None:
        self.hub.close()
        if self.machine:
            self.machine.close()
        self.docker.__exit__()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[otelcol.Collector]:
    folder = tmp_path / "collector"
    folder.mkdir()
    made = otelcol.Collector(otelcol.demand(folder), folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def lab(net: Net, tmp_path: Path, collector: otelcol.Collector) -> Iterator[Lab]:
    folder = tmp_path / "kube"
    folder.mkdir()
    cluster = Cluster(demand(folder), folder / "data")
    made = None
    try:
        made = Lab(net, tmp_path, cluster.start(), collector)
        made.start(image(tmp_path / "box.tar"))
        yield made
    finally:
        if made:
            made.close()
        cluster.close()


def owners(flow: Flow) -> Owners:
    return flow.get("Owner", {}).get("A"), flow.get("Owner", {}).get("B")


def pinged(lab: Lab, end: End, address: str, expected: Owners, identifiers: Iterator[int]) -> int:
    """Ping until all capture points name both ends so: another flow each time; gives its identifier."""

    def named() -> int:
        identifier = next(identifiers)
        lab.net.ping(end.netns, address, identifier=identifier, count=1)
        flows = lab.flows(identifier)
        assert len(flows) >= 2, "seen at both ends of the cable"
        for flow in flows:
            assert owners(flow) == expected, (flow["Namespace"], flow["Interface"])
        return identifier

    return until(named, 30, 0.5)


def attributes(owner: Json, end: str) -> Json:
    """Of a span, as an owner is told there."""
    keys = {"Kind": "kind", "Name": "name", "Namespace": "namespace", "Host": "host", "Cluster": "cluster"}
    keys |= {"IfaceID": "iface_id", "VM": "vm"}
    return {f"skytrail.{end}.owner.{keys[key]}": value for key, value in owner.items()}


def test_flows_spans_and_metrics_name_both_ends_and_the_past_its_own(lab: Lab, collector: otelcol.Collector) -> None:
    identifiers = itertools.count(100)
    first = lab.pod("first")
    pairs = {lab.web: lab.of_web, MACHINE: lab.of_machine}
    begin = time.time()
    seen = {to: pinged(lab, first, to, (lab.of_pod("first"), owner), identifiers) for to, owner in pairs.items()}

    def spans_name_them() -> bool:
        spans = [otelcol.attributes(span) for span in collector.spans()]
        for to, owner in pairs.items():
            found = [one for one in spans if one.get("destination.address") == to and "skytrail.source.owner.kind" in one]
            expected = attributes(lab.of_pod("first"), "source") | attributes(owner, "destination")
            told = [{key: value for key, value in one.items() if ".owner." in key} for one in found]
            assert expected in told, (to, told[:3])
        return True

    def metrics_name_them() -> bool:
        metrics = Metrics(lab.agent("/metrics").decode())
        for owner in pairs.values():
            pod = {"source_kind": "pod", "source_namespace": "default", "source": "first"}
            end = {"destination_kind": owner["Kind"], "destination": owner["Name"]}
            name = "skytrail_peer_packets_total"
            there = [one.labels for one in metrics.samples if one.name == name and one.labels["device"] == first.interface]
            assert metrics.value(name, device=first.interface, **pod, **end) > 0, there
        return True

    until(spans_name_them, 30, 0.3)
    until(metrics_name_them, 30, 0.3)
    end = time.time()

    lab.remove("first", first)
    second = lab.pod("second")
    now = pinged(lab, second, MACHINE, (lab.of_pod("second"), lab.of_machine), identifiers)
    time.sleep(3)  # longer than between two writings of what is remembered
    then = f"G.At({int(end * 1000)}, {int(end - begin) + 1}).Flows()"
    for to, identifier in seen.items():
        past = [flow for flow in lab.asked(then) if flow.get("ICMP", {}).get("ID") == identifier]
        assert len(past) >= 2
        assert [owners(flow) for flow in past] == [(lab.of_pod("first"), pairs[to])] * len(past)
    of_first = {flow["ICMP"]["ID"] for flow in lab.asked(f"{then}.Has('Owner.A.Name', 'first')")}
    assert of_first >= set(seen.values())
    assert lab.asked(f"{then}.Has('Owner.A.Name', 'second')") == []
    assert now in {flow["ICMP"]["ID"] for flow in lab.asked("G.Flows().Has('Owner.A.Name', 'second')")}
