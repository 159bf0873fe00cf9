"""An object → its node, its edges, and what belongs to it. Pure.

Keys and words as Skydive's k8s probe has them; an edge's relation is the type of what it comes from. Objects that are named
(not referred to by UID) are looked up, so that one deleted and made again under its name is another element.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from skytrail.kernel.host import machine_host_id
from skytrail.tid import cluster_tid
from topology.elements import Metadata
from topology.facts import EdgeFact, Fact, NodeFact
from topology.probes.kubernetes import objects
from topology.probes.kubernetes.kinds import KINDS
from topology.probes.kubernetes.policies import policy_keys
from topology.probes.kubernetes.selectors import Selector

MANAGER: Metadata = {"Manager": "k8s"}
SERVICE_OF_SLICE = "kubernetes.io/service-name"
"""The label by which an endpoint slice names its service."""

TERMINAL = frozenset({"Succeeded", "Failed"})
"""Phases of pods that are over: no service sends to them, no policy concerns them."""

Find = Callable[[str, str, str], str | None]
"""Type, namespace, name → TID of the object that has the name now."""


class Translation(Protocol):
    """What is particular to a kind."""

    def __call__(self, given: Any, /) -> dict[str, Any]:  # noqa: ANN401 - one of the structs
        """Keys below ``K8s``."""
        ...


def cluster_fact(cluster: str) -> NodeFact:
    """The cluster itself."""
    said = {"Type": "cluster", "Name": cluster, "ClusterName": cluster, "K8s": {"Name": cluster}, **MANAGER}
    return NodeFact(cluster_tid(cluster), said)


def facts(kind: str, given: objects.Plain, cluster: str, find: Find) -> Iterator[Fact]:
    """What an object says."""
    meta = given.metadata
    tid = cluster_tid(cluster, kind, meta.uid)
    more = _KEYS[kind](given)
    state = {"State": "UP" if _UP[kind](given) else "DOWN"} if kind in _UP else {}
    yield NodeFact(tid, {**_named(kind, meta.name, cluster), **state, "K8s": {**_common(meta), **more}})
    owner = find("namespace", "", meta.namespace) if KINDS[kind].namespaced else cluster_tid(cluster)
    if owner:
        yield EdgeFact(owner, tid, "ownership")
    for one in meta.owner_references or ():
        maker = one.kind.lower()
        if one.controller and maker in KINDS and maker != "node":
            yield edge(cluster_tid(cluster, maker, one.uid), tid, maker)
    if kind in _MORE:
        yield from _MORE[kind](given, tid, cluster, find)


def edge(parent: str, child: str, relation: str, more: Metadata | None = None, key: str = "") -> EdgeFact:
    """An edge of ours."""
    return EdgeFact(parent, child, relation, {**MANAGER, **more} if more else MANAGER, key)


def selector(given: objects.Plain) -> Selector | None:
    """The pods of its namespace that an object selects; None: none."""
    if isinstance(given, objects.Service):
        return Selector(tuple(sorted(given.spec.selector.items()))) if given.spec.selector else None
    if isinstance(given, objects.NetworkPolicy):
        return Selector.of(given.spec.pod_selector)
    return None


def selectable(pod: objects.Pod) -> Mapping[str, str] | None:
    """Labels by which a pod is selected; None: it is over."""
    return None if pod.status.phase in TERMINAL else pod.metadata.labels or {}


def pod_edges(kind: str, given: objects.Plain, pod: str, cluster: str) -> Iterator[EdgeFact]:
    """From who selects a pod to the pod, whose UID is given."""
    parent, child = cluster_tid(cluster, kind, given.metadata.uid), cluster_tid(cluster, "pod", pod)
    if isinstance(given, objects.NetworkPolicy):
        for said in policy_keys(given.spec):
            yield edge(parent, child, kind, said, key=said["PolicyType"])
    else:
        yield edge(parent, child, kind)


def _named(kind: str, name: str, cluster: str) -> dict[str, Any]:
    return {"Type": kind, "Name": name, "ClusterName": cluster, **MANAGER}


def _common(meta: objects.Meta) -> dict[str, Any]:
    return _given(
        Name=meta.name,
        Namespace=meta.namespace,
        UID=meta.uid,
        Labels=meta.labels,
        Annotations=meta.annotations,
        Created=meta.creation_timestamp,
        Deleting=meta.deletion_timestamp,
    )


def _given(**keys: object) -> dict[str, Any]:
    """What is empty says nothing; 0 and False do."""
    return {key: value for key, value in keys.items() if value is not None and value not in ("", [], {})}


def _namespace(given: objects.Namespace) -> dict[str, Any]:
    return _given(Status=given.status.phase)


def _addresses(given: objects.Node, type_: str) -> list[str]:
    return [one.address for one in given.status.addresses or () if one.type == type_]


def _node(given: objects.Node) -> dict[str, Any]:
    info = given.status.node_info
    return _given(
        Hostname=_first(_addresses(given, "Hostname")),
        InternalIP=_first(_addresses(given, "InternalIP")),
        InternalIPs=_addresses(given, "InternalIP")[1:] and _addresses(given, "InternalIP"),
        ExternalIP=_first(_addresses(given, "ExternalIP")),
        Arch=info.architecture,
        Kernel=info.kernel_version,
        OS=info.operating_system,
        OSImage=info.os_image,
        Runtime=info.container_runtime_version,
        Kubelet=info.kubelet_version,
        HostID=_host_id(info.machine_id),
        PodCIDRs=given.spec.pod_cidrs,
        Unschedulable=given.spec.unschedulable or None,
        Taints=[f"{one.key}={one.value}:{one.effect}" for one in given.spec.taints or ()],
        Conditions={one.type: one.status for one in given.status.conditions or ()},
    )


def _host_id(machine: str) -> str | None:
    """As an agent there derives it, for a machine ID must not be told as it is."""
    try:
        return machine_host_id(uuid.UUID(machine).hex)
    except ValueError:
        return None


def _first(values: Collection[str]) -> str | None:
    return next(iter(values), None)


def _condition(conditions: Iterable[objects.Condition] | None, type_: str) -> str:
    return next((one.status for one in conditions or () if one.type == type_), "")


def _pod(given: objects.Pod) -> dict[str, Any]:
    spec, status = given.spec, given.status
    addresses = [one.ip for one in status.pod_ips or () if one.ip]
    return _given(
        Node=spec.node_name,
        IP=status.pod_ip,
        IPs=addresses if addresses != [status.pod_ip] else None,
        HostIP=status.host_ip,
        HostNetwork=spec.host_network or None,
        Status=status.phase,
        Reason=status.reason,
        Ready=_condition(status.conditions, "Ready"),
        QOSClass=status.qos_class,
        ServiceAccount=spec.service_account_name,
    )


def _pod_more(given: objects.Pod, tid: str, cluster: str, find: Find) -> Iterator[Fact]:
    spec, status, meta = given.spec, given.status, given.metadata
    if spec.node_name and (node := find("node", "", spec.node_name)):
        yield edge(node, tid, "node")
    for kind, name in sorted(_used(spec)):
        if used := find(kind, meta.namespace, name):
            yield edge(tid, used, "pod")
    for role, containers, statuses in (
        ("", spec.containers, status.container_statuses),
        ("init", spec.init_containers, status.init_container_statuses),
        ("ephemeral", spec.ephemeral_containers, status.ephemeral_container_statuses),
    ):
        states = {one.name: one for one in statuses or ()}
        for one in containers or ():
            child = f"{tid}/container/{one.name}"  # a DNS label
            said = _container(one, states.get(one.name), role, meta)
            yield NodeFact(child, {**_named("container", one.name, cluster), "K8s": said})
            yield EdgeFact(tid, child, "ownership")


def _container(one: objects.Container, state: objects.ContainerStatus | None, role: str, meta: objects.Meta) -> dict[str, Any]:
    runtime, _, id_ = state.container_id.partition("://") if state else ("", "", "")
    return _given(
        Name=one.name,
        Namespace=meta.namespace,
        Pod=meta.name,
        Role=role,
        Image=one.image,
        Runtime=runtime,
        ContainerID=id_,
        State=_first(list(state.state or ())) if state else None,
        Ready=state.ready if state else None,
        Restarts=state.restart_count if state else None,
        Ports=[
            _given(Name=port.name, Port=port.container_port, Protocol=port.protocol, HostPort=port.host_port or None)
            for port in one.ports or ()
        ],
    )


def _used(spec: objects.PodSpec) -> set[tuple[str, str]]:
    """Config maps, secrets and claims that a pod stands on, by type and name."""
    found: list[tuple[str, str]] = []
    for volume in spec.volumes or ():
        if volume.secret:
            found.append(("secret", volume.secret.secret_name))
        if volume.persistent_volume_claim:
            found.append(("persistentvolumeclaim", volume.persistent_volume_claim.claim_name))
        for source in (volume, *((volume.projected.sources or ()) if volume.projected else ())):
            if source.config_map:
                found.append(("configmap", source.config_map.name))
            if isinstance(source, objects.Projection) and source.secret:
                found.append(("secret", source.secret.name))
    for container in (*(spec.containers or ()), *(spec.init_containers or ())):
        for whole in container.env_from or ():
            found += _references(whole.config_map_ref, whole.secret_ref)
        for variable in container.env or ():
            if variable.value_from:
                found += _references(variable.value_from.config_map_key_ref, variable.value_from.secret_key_ref)
    return {(kind, name) for kind, name in found if name}


def _references(config: objects.Named | None, secret: objects.Named | None) -> list[tuple[str, str]]:
    return [(kind, one.name) for kind, one in (("configmap", config), ("secret", secret)) if one]


def _balanced(status: objects.BalancedStatus) -> list[str]:
    return [one.ip or one.hostname for one in status.load_balancer.ingress or ()]


def _service(given: objects.Service) -> dict[str, Any]:
    spec = given.spec
    return _given(
        ServiceType=spec.type,
        ClusterIP=spec.cluster_ip,
        ClusterIPs=(spec.cluster_ips or [])[1:] and spec.cluster_ips,
        ExternalIPs=spec.external_ips,
        ExternalName=spec.external_name,
        SessionAffinity=spec.session_affinity,
        LoadBalancerIP=spec.load_balancer_ip,
        LoadBalancer=_balanced(given.status),
        Selector=spec.selector,
        Ports=[
            _given(
                Name=one.name, Port=one.port, Protocol=one.protocol, TargetPort=one.target_port, NodePort=one.node_port or None
            )
            for one in spec.ports or ()
        ],
    )


def _slice(given: objects.EndpointSlice) -> dict[str, Any]:
    """Endpoints that are pods are edges, so that one which is not ready any more changes an edge and not the list of all."""
    return _given(
        AddressType=given.address_type,
        Service=(given.metadata.labels or {}).get(SERVICE_OF_SLICE),
        Ports=[_given(Name=one.name, Port=one.port, Protocol=one.protocol) for one in given.ports or ()],
        Endpoints=[
            {"Addresses": one.addresses or [], "Ready": one.conditions.ready is not False}
            for one in given.endpoints or ()
            if not _is_pod(one)
        ],
    )


def _is_pod(one: objects.Endpoint) -> bool:
    return one.target_ref is not None and one.target_ref.kind == "Pod" and one.target_ref.uid != ""


def _slice_more(given: objects.EndpointSlice, tid: str, cluster: str, find: Find) -> Iterator[Fact]:
    name = (given.metadata.labels or {}).get(SERVICE_OF_SLICE)
    if name and (service := find("service", given.metadata.namespace, name)):
        yield edge(service, tid, "service")
    for one in given.endpoints or ():
        if _is_pod(one):
            assert one.target_ref is not None, "it is a pod"
            said = {"Addresses": one.addresses or [], "Ready": one.conditions.ready is not False}
            yield edge(tid, cluster_tid(cluster, "pod", one.target_ref.uid), "endpointslice", said)


def _backend(one: objects.Backend | None) -> str | None:
    if one is None or one.service is None:
        return None
    port = one.service.port.name or one.service.port.number
    return f"{one.service.name}:{port}" if port else one.service.name


def _ingress(given: objects.Ingress) -> dict[str, Any]:
    spec = given.spec
    return _given(
        Class=spec.ingress_class_name,
        DefaultBackend=_backend(spec.default_backend),
        LoadBalancer=_balanced(given.status),
        TLS=[_given(Hosts=one.hosts, Secret=one.secret_name) for one in spec.tls or ()],
        Rules=[
            _given(Host=rule.host, Path=path.path, PathType=path.path_type, Backend=_backend(path.backend))
            for rule in spec.rules or ()
            for path in (rule.http.paths if rule.http else None) or ()
        ],
    )


def _ingress_more(given: objects.Ingress, tid: str, cluster: str, find: Find) -> Iterator[Fact]:
    _ = cluster
    paths = [path.backend for rule in given.spec.rules or () if rule.http for path in rule.http.paths or ()]
    backends = [given.spec.default_backend, *paths]
    for name in sorted({one.service.name for one in backends if one and one.service}):
        if service := find("service", given.metadata.namespace, name):
            yield edge(tid, service, "ingress")


def _peers(given: Iterable[objects.Peer] | None) -> list[dict[str, Any]]:
    return [
        _given(
            Pods=_shown(one.pod_selector),
            Namespaces=_shown(one.namespace_selector),
            CIDR=one.ip_block.cidr if one.ip_block else None,
            Except=one.ip_block.but if one.ip_block else None,
        )
        for one in given or ()
    ]


def _shown(one: objects.LabelSelector | None) -> str | None:
    """A selector as kubectl writes it; ``*``: all."""
    if one is None:
        return None
    labels = [f"{key}={value}" for key, value in sorted((one.match_labels or {}).items())]
    return ",".join([*labels, *(_EXPRESSION.get(each.operator, _unknown)(each) for each in one.match_expressions or ())]) or "*"


def _unknown(one: objects.LabelExpression) -> str:
    return f"{one.key} {one.operator} ({','.join(one.values or ())})"


_EXPRESSION: dict[str, Callable[[objects.LabelExpression], str]] = {
    "In": lambda one: f"{one.key} in ({','.join(one.values or ())})",
    "NotIn": lambda one: f"{one.key} notin ({','.join(one.values or ())})",
    "Exists": lambda one: one.key,
    "DoesNotExist": lambda one: f"!{one.key}",
}


def _policy(given: objects.NetworkPolicy) -> dict[str, Any]:
    spec = given.spec

    def rules(some: list[objects.PolicyRule] | None) -> list[dict[str, Any]]:
        return [
            {
                "Peers": _peers(one.sources or one.to) or [{"CIDR": "*"}],
                **_given(
                    Ports=[_given(Protocol=each.protocol, Port=each.port, EndPort=each.end_port) for each in one.ports or ()]
                ),
            }
            for one in some or ()
        ]

    return _given(
        PodSelector=_shown(spec.pod_selector),
        PolicyTypes=spec.policy_types,
        Ingress=rules(spec.ingress),
        Egress=rules(spec.egress),
    )


def _deployment(given: objects.Workload) -> dict[str, Any]:
    status = given.status
    return _given(
        DesiredReplicas=given.spec.replicas,
        Replicas=status.replicas,
        ReadyReplicas=status.ready_replicas,
        AvailableReplicas=status.available_replicas,
        UnavailableReplicas=status.unavailable_replicas,
    )


def _replicas(given: objects.Workload) -> dict[str, Any]:
    status = given.status
    return _given(DesiredReplicas=given.spec.replicas, Replicas=status.replicas, ReadyReplicas=status.ready_replicas)


def _daemonset(given: objects.Workload) -> dict[str, Any]:
    status = given.status
    return _given(
        DesiredNumberScheduled=status.desired_number_scheduled,
        CurrentNumberScheduled=status.current_number_scheduled,
        NumberMisscheduled=status.number_misscheduled,
        NumberReady=status.number_ready,
    )


def _statefulset(given: objects.Workload) -> dict[str, Any]:
    status = given.status
    return _given(
        DesiredReplicas=given.spec.replicas,
        ServiceName=given.spec.service_name,
        Replicas=status.replicas,
        ReadyReplicas=status.ready_replicas,
        CurrentReplicas=status.current_replicas,
        UpdatedReplicas=status.updated_replicas,
        CurrentRevision=status.current_revision,
        UpdateRevision=status.update_revision,
    )


def _job(given: objects.Workload) -> dict[str, Any]:
    spec, status = given.spec, given.status
    return _given(
        Parallelism=spec.parallelism,
        Completions=spec.completions,
        Active=status.active,
        Succeeded=status.succeeded,
        Failed=status.failed,
    )


def _cronjob(given: objects.CronJob) -> dict[str, Any]:
    return _given(Schedule=given.spec.schedule, Suspended=bool(given.spec.suspend))


def _volume(given: objects.PersistentVolume) -> dict[str, Any]:
    spec, claim = given.spec, given.spec.claim_ref
    return _given(
        Capacity=(spec.capacity or {}).get("storage"),
        VolumeMode=spec.volume_mode,
        StorageClassName=spec.storage_class_name,
        AccessModes=spec.access_modes,
        ClaimRef=f"{claim.namespace}/{claim.name}" if claim else None,
        Status=given.status.phase,
    )


def _volume_more(given: objects.PersistentVolume, tid: str, cluster: str, find: Find) -> Iterator[Fact]:
    _ = cluster
    spec, claim = given.spec, given.spec.claim_ref
    if claim and (parent := find("persistentvolumeclaim", claim.namespace, claim.name)):
        yield edge(parent, tid, "persistentvolumeclaim")
    if spec.storage_class_name and (parent := find("storageclass", "", spec.storage_class_name)):
        yield edge(parent, tid, "storageclass")


def _claim(given: objects.PersistentVolumeClaim) -> dict[str, Any]:
    spec = given.spec
    return _given(
        AccessModes=spec.access_modes,
        VolumeName=spec.volume_name,
        StorageClassName=spec.storage_class_name,
        VolumeMode=spec.volume_mode,
        Status=given.status.phase,
    )


def _claim_more(given: objects.PersistentVolumeClaim, tid: str, cluster: str, find: Find) -> Iterator[Fact]:
    _ = cluster
    name = given.spec.storage_class_name
    if name and (parent := find("storageclass", "", name)):
        yield edge(parent, tid, "storageclass")


def _class(given: objects.StorageClass) -> dict[str, Any]:
    return _given(Provisioner=given.provisioner)


def _nothing(_: objects.Plain) -> dict[str, Any]:
    return {}


_KEYS: Mapping[str, Translation] = {
    "namespace": _namespace,
    "node": _node,
    "pod": _pod,
    "service": _service,
    "endpointslice": _slice,
    "ingress": _ingress,
    "networkpolicy": _policy,
    "deployment": _deployment,
    "replicaset": _replicas,
    "replicationcontroller": _replicas,
    "daemonset": _daemonset,
    "statefulset": _statefulset,
    "job": _job,
    "cronjob": _cronjob,
    "configmap": _nothing,
    "secret": _nothing,
    "persistentvolume": _volume,
    "persistentvolumeclaim": _claim,
    "storageclass": _class,
}
"""Keys below ``K8s``, by kind."""

_UP: Mapping[str, Callable[[Any], bool]] = {
    "node": lambda given: _condition(given.status.conditions, "Ready") == "True",
    "pod": lambda given: given.status.phase == "Running",
    "persistentvolume": lambda given: given.status.phase != "Failed",
    "persistentvolumeclaim": lambda given: given.status.phase == "Bound",
}
"""Whether it works, of kinds that can tell."""

_MORE: Mapping[str, Callable[[Any, str, str, Find], Iterator[Fact]]] = {
    "pod": _pod_more,
    "endpointslice": _slice_more,
    "ingress": _ingress_more,
    "persistentvolume": _volume_more,
    "persistentvolumeclaim": _claim_more,
}
"""What else belongs to it, and edges by name."""
