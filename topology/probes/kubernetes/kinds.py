"""The kinds of objects that are followed, as data: the one place that says how each is asked for and what it becomes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from topology.probes.kubernetes import objects

METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""Has the server leave everything else away: values of secrets and config maps never come here."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        name: ``Type`` of its nodes: the API's kind in small letters.
        group: path of its API: ``api/v1``, ``apis/apps/v1`` …
        resource: what it is called in paths and in permissions.
        struct: what its objects are decoded as.
        namespaced: whether its objects are in namespaces.
    """

    name: str
    group: str
    resource: str
    struct: type[objects.Plain]
    namespaced: bool = True

    @property
    def path(self) -> str:
        """Where all of them are listed."""
        return f"/{self.group}/{self.resource}"

    @property
    def api_group(self) -> str:
        """As permissions have it; empty for the core's."""
        return self.group.split("/")[1] if self.group.startswith("apis/") else ""

    def accepts(self, *, many: bool) -> str:
        """What is asked for, as ``Accept`` has it."""
        return METADATA.format("List" if many else "") if self.struct is objects.Plain else "application/json"


_CORE, _APPS, _BATCH, _NETWORK = "api/v1", "apis/apps/v1", "apis/batch/v1", "apis/networking.k8s.io/v1"

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("namespace", _CORE, "namespaces", objects.Namespace, namespaced=False),
        Kind("node", _CORE, "nodes", objects.Node, namespaced=False),
        Kind("pod", _CORE, "pods", objects.Pod),
        Kind("service", _CORE, "services", objects.Service),
        Kind("endpointslice", "apis/discovery.k8s.io/v1", "endpointslices", objects.EndpointSlice),
        Kind("ingress", _NETWORK, "ingresses", objects.Ingress),
        Kind("networkpolicy", _NETWORK, "networkpolicies", objects.NetworkPolicy),
        Kind("deployment", _APPS, "deployments", objects.Workload),
        Kind("replicaset", _APPS, "replicasets", objects.Workload),
        Kind("replicationcontroller", _CORE, "replicationcontrollers", objects.Workload),
        Kind("daemonset", _APPS, "daemonsets", objects.Workload),
        Kind("statefulset", _APPS, "statefulsets", objects.Workload),
        Kind("job", _BATCH, "jobs", objects.Workload),
        Kind("cronjob", _BATCH, "cronjobs", objects.CronJob),
        Kind("configmap", _CORE, "configmaps", objects.Plain),
        Kind("secret", _CORE, "secrets", objects.Plain),
        Kind("persistentvolume", _CORE, "persistentvolumes", objects.PersistentVolume, namespaced=False),
        Kind("persistentvolumeclaim", _CORE, "persistentvolumeclaims", objects.PersistentVolumeClaim),
        Kind("storageclass", "apis/storage.k8s.io/v1", "storageclasses", objects.StorageClass, namespaced=False),
    )
}
"""By type."""

DECODERS = {name: msgspec.json.Decoder(kind.struct) for name, kind in KINDS.items()}
"""Of objects by type, for any thread. Made here, once: msgspec crashes where two threads look at a new type at once."""
