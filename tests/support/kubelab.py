"""The Kubernetes probe before a real API server and a store, in this process; and what the graph says, to be compared."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lab.kube import Cluster

from support.kubeoracle import PATHS, Edge, Expected, Key
from topology.elements import FOREVER, Revision
from topology.facts import Report
from topology.probes.kubernetes.probe import ClusterProbe
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

NAME = "lab"
Json = dict[str, Any]


def now() -> int:
    """µs since the epoch."""
    return time.time_ns() // 1000


class KubeLab:
    """A hub's part of it.

    Args:
        folder: for the graph.
        place: kubeconfig.
        kinds: that are followed.
        annotations: that are kept.
    """

    def __init__(
        self, folder: Path, place: Path, kinds: Collection[str] = tuple(PATHS), annotations: Collection[str] = ()
    ) -> None:
        self._folder, self._place, self._kinds, self._annotations = folder, place, kinds, annotations
        self.reports: list[Report] = []
        self.open()

    def open(self) -> None:
        self.store = EmbeddedStore(self._folder, clock=now)
        self.reconciler = Reconciler(self.store, "hub1", now)
        self.probe = ClusterProbe(self._report, NAME, str(self._place), self._kinds, self._annotations, now)
        self.probe.start()

    def _report(self, report: Report) -> int:
        self.reports.append(report)
        return self.reconciler.report(report)

    def close(self) -> None:
        self.probe.stop()
        self.reconciler.close()
        self.store.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def graph(self, at: int | None = None) -> tuple[dict[Key, Json], set[Edge]]:
        """Nodes with the keys that the oracle has, and edges: now, or at a moment (µs since the epoch)."""
        revisions = self.store.current() if at is None else self.store.as_of(at)
        states = {one.id: one.state for one in revisions if one.state}
        keys = {id_: key_of(state.tid) for id_, state in states.items() if state.tid}
        nodes, edges = {}, set()
        for id_, state in states.items():
            metadata = state.metadata
            if state.tid:
                nodes[keys[id_]] = metadata
            else:
                relation = metadata["RelationType"]
                edges.add((relation, keys[state.parent], keys[state.child], metadata.get("PolicyType", "")))
        return nodes, edges

    def agrees(self, cluster: Cluster) -> bool:
        """Whether the graph is as a fresh list of the cluster; an AssertionError says what is not."""
        expected = Expected(cluster, NAME, self._kinds)
        nodes, edges = self.graph()
        assert nodes.keys() == expected.nodes.keys(), nodes.keys() ^ expected.nodes.keys()
        for key, wanted in expected.nodes.items():
            found = nodes[key]
            told = {name: found.get("Name") if name == "Name" else found["K8s"].get(name) for name in wanted}
            assert told == {name: value or None for name, value in wanted.items()}, key
        assert edges == expected.edges, sorted(edges ^ expected.edges)[:10]
        return True

    def intervals(self, kind: str = "pod") -> dict[str, tuple[int, int, int]]:
        """By UID: since when an object was there, until when, and in how many pieces; of all of a kind that ever were."""
        found: dict[str, list[Revision]] = {}
        for one in self.store.between(0, FOREVER - 1):
            if one.state and one.state.tid.startswith(f"cluster/{NAME}/{kind}/") and "/container/" not in one.state.tid:
                found.setdefault(one.state.tid.rpartition("/")[2], []).append(one)
        return {
            uid: (
                min(one.updated_at for one in some),
                max(one.archived_at for one in some),
                len({one.created_at for one in some}),
            )
            for uid, some in found.items()
        }


def key_of(tid: str) -> Key:
    """A TID as the oracle names elements."""
    parts = tid.split("/")
    if len(parts) == 2:
        return "cluster", parts[1]
    return ("container", f"{parts[3]}/{parts[5]}") if len(parts) == 6 else (parts[2], parts[3])
