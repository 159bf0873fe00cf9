"""What a cluster's graph should be, from the lists of its API server as they are: JSON, and no code of the product's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lab.kube import Cluster

Json = dict[str, Any]
Key = tuple[str, str]
"""Type, and UID; of a container the pod's UID, a slash and its name; of the cluster its name."""

Edge = tuple[str, Key, Key, str]
"""Relation, parent, child, and of a policy its direction."""

PATHS = {
    "namespace": "/api/v1/namespaces", "node": "/api/v1/nodes", "pod": "/api/v1/pods", "service": "/api/v1/services",
    "endpointslice": "/apis/discovery.k8s.io/v1/endpointslices", "ingress": "/apis/networking.k8s.io/v1/ingresses",
    "networkpolicy": "/apis/networking.k8s.io/v1/networkpolicies", "deployment": "/apis/apps/v1/deployments",
    "replicaset": "/apis/apps/v1/replicasets", "daemonset": "/apis/apps/v1/daemonsets",
    "replicationcontroller": "/api/v1/replicationcontrollers",
    "statefulset": "/apis/apps/v1/statefulsets", "job": "/apis/batch/v1/jobs", "cronjob": "/apis/batch/v1/cronjobs",
    "configmap": "/api/v1/configmaps", "secret": "/api/v1/secrets", "persistentvolume": "/api/v1/persistentvolumes",
    "persistentvolumeclaim": "/api/v1/persistentvolumeclaims", "storageclass": "/apis/storage.k8s.io/v1/storageclasses",
}  # fmt: skip
_OWNERS = {
    "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job", "CronJob", "ReplicationController", "Service",
}  # fmt: skip


class Expected:
    """Nodes with some of their keys, and edges.

    Args:
        cluster: that is listed now.
        name: what it is called.
        kinds: those that are followed.
    """

    def __init__(self, cluster: Cluster, name: str, kinds: Iterable[str] = PATHS) -> None:
        self.objects: dict[Key, Json] = {}
        for kind in kinds:
            for one in cluster.list(PATHS[kind]):
                self.objects[kind, one["metadata"]["uid"]] = one
        self._uids = {(kind, one["metadata"].get("namespace", ""), one["metadata"]["name"]): uid
                      for (kind, uid), one in self.objects.items()}  # fmt: skip
        self.nodes: dict[Key, Json] = {("cluster", name): {"Name": name}}
        self.edges: set[Edge] = set()
        for key, one in self.objects.items():
            self._object(key, one, ("cluster", name))

    def _object(self, key: Key, one: Json, cluster: Key) -> None:
        meta = one["metadata"]
        self.nodes[key] = {
            "Name": meta["name"],
            "Namespace": meta.get("namespace"),
            "Labels": meta.get("labels"),
            "Status": (one.get("status") or {}).get("phase") or None,
        }
        if namespace := meta.get("namespace"):
            self._link("ownership", ("namespace", "", namespace), key)
        else:
            self.edges.add(("ownership", cluster, key, ""))
        for owner in meta.get("ownerReferences") or []:
            if owner.get("controller") and owner["kind"] in _OWNERS:
                maker = owner["kind"].lower(), owner["uid"]
                if maker in self.objects:
                    self.edges.add((maker[0], maker, key, ""))
        if special := _SPECIAL.get(key[0]):
            special(self, key, one)

    def _link(self, relation: str, parent: tuple[str, str, str], child: Key) -> None:
        if uid := self._uids.get(parent):
            self.edges.add((relation, (parent[0], uid), child, ""))

    def _to(self, relation: str, parent: Key, kind: str, namespace: str, name: str) -> None:
        if uid := self._uids.get((kind, namespace, name)):
            self.edges.add((relation, parent, (kind, uid), ""))

    def _pod(self, key: Key, one: Json) -> None:
        spec, namespace = one["spec"], one["metadata"]["namespace"]
        self.nodes[key] |= {"IP": one["status"].get("podIP"), "Node": spec.get("nodeName")}
        if name := spec.get("nodeName"):
            self._link("node", ("node", "", name), key)
        for container in spec["containers"] + (spec.get("initContainers") or []):
            child = "container", f"{key[1]}/{container['name']}"
            self.nodes[child] = {"Name": container["name"], "Namespace": namespace, "Image": container["image"]}
            self.edges.add(("ownership", key, child, ""))
        for kind, field, name_field in (("configMap", "configMap", "name"), ("secret", "secret", "secretName")):
            for volume in spec.get("volumes") or []:
                if field in volume:
                    self._to("pod", key, kind.lower(), namespace, volume[field][name_field])
        for volume in spec.get("volumes") or []:
            if claim := volume.get("persistentVolumeClaim"):
                self._to("pod", key, "persistentvolumeclaim", namespace, claim["claimName"])

    def _service(self, key: Key, one: Json) -> None:
        self.nodes[key]["ClusterIP"] = one["spec"].get("clusterIP")
        if wanted := one["spec"].get("selector"):
            for pod in self._pods(one, lambda labels: all(labels.get(name) == value for name, value in wanted.items())):
                self.edges.add(("service", key, pod, ""))

    def _pods(self, one: Json, wanted: Callable[[Json], bool]) -> list[Key]:
        namespace = one["metadata"]["namespace"]
        return [
            key
            for key, pod in self.objects.items()
            if key[0] == "pod"
            and pod["metadata"]["namespace"] == namespace
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
            and wanted(pod["metadata"].get("labels") or {})
        ]

    def _policy(self, key: Key, one: Json) -> None:
        spec = one["spec"]
        selector = spec.get("podSelector") or {}

        def wanted(labels: Json) -> bool:
            for name, value in (selector.get("matchLabels") or {}).items():
                if labels.get(name) != value:
                    return False
            for each in selector.get("matchExpressions") or []:
                there, value = each["key"] in labels, labels.get(each["key"])
                ok = {
                    "In": there and value in each.get("values", []),
                    "NotIn": not (there and value in each.get("values", [])),
                    "Exists": there,
                    "DoesNotExist": not there,
                }[each["operator"]]
                if not ok:
                    return False
            return True

        for pod in self._pods(one, wanted):
            for type_ in spec["policyTypes"]:
                self.edges.add(("networkpolicy", key, pod, type_.lower()))

    def _slice(self, key: Key, one: Json) -> None:
        namespace, labels = one["metadata"]["namespace"], one["metadata"].get("labels") or {}
        if name := labels.get("kubernetes.io/service-name"):
            self._link("service", ("service", namespace, name), key)
        for endpoint in one.get("endpoints") or []:
            target = endpoint.get("targetRef") or {}
            if target.get("kind") == "Pod" and ("pod", target["uid"]) in self.objects:
                self.edges.add(("endpointslice", key, ("pod", target["uid"]), ""))

    def _ingress(self, key: Key, one: Json) -> None:
        backends = [one["spec"].get("defaultBackend")]
        for rule in one["spec"].get("rules") or []:
            backends += [path["backend"] for path in rule["http"]["paths"]]
        for backend in backends:
            if backend:
                self._to("ingress", key, "service", one["metadata"]["namespace"], backend["service"]["name"])

    def _volume(self, key: Key, one: Json) -> None:
        if claim := one["spec"].get("claimRef"):
            self._link("persistentvolumeclaim", ("persistentvolumeclaim", claim["namespace"], claim["name"]), key)
        if name := one["spec"].get("storageClassName"):
            self._link("storageclass", ("storageclass", "", name), key)

    def _claim(self, key: Key, one: Json) -> None:
        if name := one["spec"].get("storageClassName"):
            self._link("storageclass", ("storageclass", "", name), key)


_SPECIAL: dict[str, Callable[[Expected, Key, Json], None]] = {
    "pod": Expected._pod,
    "service": Expected._service,
    "networkpolicy": Expected._policy,
    "endpointslice": Expected._slice,
    "ingress": Expected._ingress,
    "persistentvolume": Expected._volume,
    "persistentvolumeclaim": Expected._claim,
}
