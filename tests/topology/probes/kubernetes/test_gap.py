"""A busy kind whose watch was cut: what happened meanwhile was meanwhile, and what happens from then on is not of before."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.kube import Cluster
from support.cable import Cable
from support.kubelab import KubeLab, now
from support.netlab import until

pytestmark = pytest.mark.lab

SPACE = "gap"
_MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
_GAP = 1.5  # seconds
_AFTER = 10  # changes just after it


@pytest.fixture
def busy(cluster: Cluster) -> Iterator[None]:
    """A config map changes all the time, in a way that makes no revision."""
    cluster.create("/api/v1/namespaces", {"metadata": {"name": SPACE}})
    cluster.create(_MAPS, {"metadata": {"name": "busy"}})
    other = Cluster.__new__(Cluster)
    other.__dict__ |= {**cluster.__dict__, "_connection": None}
    ending = threading.Event()

    def change() -> None:
        for number in itertools.count():
            if ending.wait(0.02):
                return
            other.patch(f"{_MAPS}/busy", {"data": {"n": str(number)}})

    thread = threading.Thread(target=change)
    thread.start()
    yield
    ending.set()
    thread.join()


@pytest.mark.usefixtures("busy")
def test_changes_in_a_gap_and_just_after_it_have_their_own_times(cluster: Cluster, lab: Callable[..., KubeLab]) -> None:
    cable = Cable(cluster.port)
    try:
        graph = lab(cluster.kubeconfig(port=cable.port, name=SPACE), kinds=("namespace", "configmap"))
        before = _make(cluster, "before")
        until(lambda: before in graph.intervals("configmap"), 30)
        source = graph.probe.sources["configmap"]
        watches, cut = source.counters.watches, now()
        cable.held = True
        cable.cut()
        time.sleep(_GAP / 2)
        within = _make(cluster, "within")
        cluster.delete(f"{_MAPS}/before")
        time.sleep(_GAP / 2)
        over = now()
        cable.held = False
        until(lambda: source.counters.watches > watches, 30)
        lives: dict[str, tuple[int, int]] = {}
        for number in range(_AFTER):
            made = now()
            uid = _make(cluster, f"after-{number}")
            ended = now()
            cluster.delete(f"{_MAPS}/after-{number}")
            lives[uid] = made, ended
        until(lambda: lives.keys() <= {uid for uid, (_, end, _) in graph.intervals("configmap").items() if end < now()}, 30)
        found = graph.intervals("configmap")
        early = {uid: (found[uid][0] - made, found[uid][1] - ended) for uid, (made, ended) in lives.items()}
        assert all(since >= 0 and end >= 0 for since, end in early.values()), early
        assert cut - 1_000_000 <= found[within][0] <= over
        assert found[before][1] <= over
        assert source.counters.lists == 1
    finally:
        cable.close()


def _make(cluster: Cluster, name: str) -> str:
    made: dict[str, Any] = cluster.create(_MAPS, {"metadata": {"name": name}})
    return str(made["metadata"]["uid"])
