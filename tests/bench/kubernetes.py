"""A hub and a real API server with 5,000 pods: the first look at all of it, the hub's memory, how soon a change can be read."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from lab.kube import Cluster, demand
from support.cable import Cable
from support.hublab import Hub
from support.kubechurn import Churn
from support.kubelab import KubeLab
from support.kubeobjects import stored
from support.netlab import until

from tests.bench.agent import MB, _cpu_clock
from tests.bench.report import Line

PODS, NODES, SERVICES, POLICIES = 5000, 200, 500, 100
CHANGES = 200
CHURN_SECONDS = 60.0
_PATIENCE = 60.0
_PAUSE = 0.001


def followed() -> Iterator[Line]:
    """What step 6 is to reach: first sync, memory, change to readable."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as closers:
        folder = Path(text)
        cluster = Cluster(demand(folder), folder / "kube")
        closers.callback(cluster.close)
        cluster.start_etcd()
        cluster.fill(dict(stored(PODS, NODES, SERVICES, POLICIES)))
        cluster.start_server()
        settings = {"topology.linkers": "tunnel,neighbour,nexthop,kubernetes"}  # as by default
        idle = Hub(folder / "idle", settings, command="hub").start()
        empty = idle.rss()
        idle.stop()
        hub = Hub(folder / "hub", {**settings, "kubernetes.clusters": f"lab={cluster.kubeconfig()}"}, command="hub")
        closers.callback(hub.close)
        yield from _first(hub, empty)
        yield from _changes(cluster, hub)


def _first(hub: Hub, empty: int) -> Iterator[Line]:
    began = time.monotonic()
    hub.start(ready=False)
    until(lambda: _ready(hub), _PATIENCE, _PAUSE)
    took = time.monotonic() - began
    cpu = time.clock_gettime(_cpu_clock(hub.process.pid))
    status = hub.status()
    elements = status["store"]["elements"]
    objects = status["probes"]["kubernetes/lab"]["objects"]
    assert objects["pod"] == PODS, objects
    yield Line(
        "kubernetes: start of the hub until all is there", took, "s", most=15, note=f"{elements:,} elements; {cpu:.1f} s of CPU"
    )
    yield Line("kubernetes: memory of the hub", hub.rss() / MB, "MB", empty / MB, "MB without a cluster", most=400)


def _ready(hub: Hub) -> bool:
    try:
        return hub.ask("/readyz")[0] == 200
    except (OSError, HTTPException):
        return False


def _changes(cluster: Cluster, hub: Hub) -> Iterator[Line]:
    pods = cluster.list("/api/v1/pods?limit=500")[:CHANGES]
    waits = []
    for number, pod in enumerate(pods):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        cluster.patch(path, {"metadata": {"labels": {"changed": f"n{number}"}}})
        began = time.monotonic()
        query = f"G.V().Has('Type', 'pod', 'Name', '{name}').Values('K8s.Labels.changed')"
        while json.loads(hub.post("/api/topology", {"GremlinQuery": query})) != [f"n{number}"]:
            assert time.monotonic() - began < _PATIENCE, name
            time.sleep(_PAUSE)
        waits.append((time.monotonic() - began) * 1000)
    waits.sort()
    yield Line("kubernetes: change of a pod → readable, median", statistics.median(waits), "ms")
    yield Line("kubernetes: change of a pod → readable, p99", waits[int(len(waits) * 0.99) - 1], "ms", most=500, note="of 200")
    yield Line(
        "kubernetes: memory of the hub after these", hub.rss() / MB, "MB", most=400, note=f"at most {_peak(hub):.0f} MB so far"
    )


def _peak(hub: Hub) -> float:
    """MB."""
    (line,) = (one for one in Path(f"/proc/{hub.process.pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / MB


def churn() -> Iterator[Line]:
    """A tenth of all pods replaced within a minute, with cuts, deaths of the API server and compaction: what history says."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as closers:
        folder = Path(text)
        cluster = Cluster(demand(folder), folder / "kube")
        closers.callback(cluster.close)
        cluster.start_etcd()
        cluster.fill(dict(stored(PODS, NODES, SERVICES, POLICIES)))
        cluster.start_server()
        cable = Cable(cluster.port)
        closers.callback(cable.close)
        lab = KubeLab(folder / "graph", cluster.kubeconfig(port=cable.port))
        closers.callback(lab.close)
        until(lambda: lab.probe.active, _PATIENCE, _PAUSE)
        replacing = Churn(cluster, cable, lab, seed=1)
        replacing.adopt()
        began = time.monotonic()
        replacing.run(CHURN_SECONDS, PODS // 10, cuts=10, deaths=2)
        took = time.monotonic() - began
        ended = time.monotonic()
        until(lambda: lab.agrees(cluster), _PATIENCE, 0.5)
        equal = time.monotonic() - ended
        lists = lab.probe.sources["pod"].counters.lists - 1
        yield Line("kubernetes churn: the graph equals a fresh list after", equal, "s", note=f"{took:.0f} s, {lists} times 410")
        yield Line("kubernetes churn: pods whose interval is true", float(replacing.judge()), "pods", note="all; else it fails")
