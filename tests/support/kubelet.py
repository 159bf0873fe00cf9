"""What a kubelet does, as far as an API server sees it: pods run once they have a node, and are gone once they are to go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.kube import Cluster

from support.kubelab import now

Json = dict[str, Any]
_MADE = "2026-01-01T00:00:00Z"


@dataclass(slots=True)
class Life:
    """When a pod came and went, each between two times of ours, in µs; an end of 0: it is there."""

    made: tuple[int, int]
    ended: tuple[int, int] = (0, 0)


class Kubelet:
    """Of one node.

    Args:
        cluster: where.
        node: its name; it is made.
        namespace: whose pods it looks after.
    """

    def __init__(self, cluster: Cluster, node: str, namespace: str) -> None:
        self._cluster, self._pods, self._address = cluster, f"/api/v1/namespaces/{namespace}/pods", 0
        self._looked = now()
        self.lives: dict[str, Life] = {}
        cluster.create("/api/v1/nodes", {"metadata": {"name": node}})
        ready = {"type": "Ready", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": _MADE}
        room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
        cluster.patch(
            f"/api/v1/nodes/{node}/status", {"status": {"conditions": [ready], "capacity": room, "allocatable": room}}
        )
        cluster.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": None}})  # a new node is not ready, by admission

    def step(self) -> list[Json]:
        """Look at all pods, and do what is to be done; gives them as they were."""
        before, pods = self._looked, self._cluster.list(self._pods)
        self._looked = now()
        for one in pods:
            meta = one["metadata"]
            self.lives.setdefault(meta["uid"], Life((before, self._looked)))
            path = f"{self._pods}/{meta['name']}"
            if "deletionTimestamp" in meta:
                begun = now()
                self._cluster.delete(path)
                self.lives[meta["uid"]].ended = begun, now()
            elif one["spec"].get("nodeName") and one["status"]["phase"] == "Pending":
                self._run(path)
        return pods

    def _run(self, path: str) -> None:
        self._address += 1
        address = f"10.9.0.{self._address}"
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": _MADE}
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
        self._cluster.patch(f"{path}/status", {"status": status})
