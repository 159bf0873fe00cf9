"""Pods are replaced while watches are cut, the API server is killed and started again, and etcd is compacted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab.kube import Cluster
from support.cable import Cable
from support.kubechurn import Churn
from support.kubelab import KubeLab
from support.netlab import until

pytestmark = pytest.mark.lab

PODS, REPLACED, SECONDS = 60, 60, 12.0


def test_history_has_each_pods_interval_through_cuts_restarts_and_compaction(
    kube_program: Path, tmp_path: Path, lab: Callable[..., KubeLab]
) -> None:
    cluster = Cluster(kube_program, tmp_path / "kube")
    cable = Cable(cluster.port)
    try:
        cluster.start()
        cluster.create("/api/v1/nodes", {"metadata": {"name": "node-1"}})
        service = {"metadata": {"name": "web"}, "spec": {"selector": {"tier": "web"}, "ports": [{"port": 80}]}}
        cluster.create("/api/v1/namespaces/default/services", service)
        graph = lab(cluster.kubeconfig(port=cable.port), kinds=("namespace", "node", "pod", "service", "networkpolicy"))
        until(lambda: graph.probe.active, 60)
        churn = Churn(cluster, cable, graph, seed=8)
        for _ in range(PODS):
            churn.make()
        churn.run(SECONDS, REPLACED, cuts=4, deaths=1)
        assert churn.blind, "the server did not die"
        assert graph.probe.sources["pod"].counters.lists > 1, "nothing was forgotten"
        assert graph.probe.sources["pod"].counters.watches > 4, "no watch was cut"
        until(lambda: graph.agrees(cluster), 60, 0.2)
        assert churn.judge() >= PODS + REPLACED
    finally:
        cable.close()
        cluster.close()
