"""Objects as the API server gives them, down to the fields that become facts. Pure.

What is not named here is not decoded, so that resource versions, heartbeats and managed fields are no changes; of secrets and
config maps only their metadata is asked for. ``null`` stands for an empty list at many places of the API.
"""

from __future__ import annotations

import msgspec

Labels = dict[str, str]


class Object(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Trees without cycles, by the ten thousand."""


class OwnerReference(Object, frozen=True):
    """Who made an object."""

    kind: str
    uid: str
    controller: bool | None = None


class Meta(Object, frozen=True):
    """``metadata`` of an object."""

    name: str
    uid: str
    namespace: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Labels | None = None
    annotations: Labels | None = None
    owner_references: list[OwnerReference] | None = None


class Plain(Object, frozen=True):
    """Any object, of which only the metadata counts."""

    metadata: Meta


class Condition(Object, frozen=True):
    """Of a node or a pod; the times in it are heartbeats."""

    type: str
    status: str


class LabelExpression(Object, frozen=True):
    """A condition of a selector."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Object, frozen=True):
    """What is selected by its labels."""

    match_labels: Labels | None = None
    match_expressions: list[LabelExpression] | None = None


class NamespaceStatus(Object, frozen=True):
    """``status`` of a namespace."""

    phase: str = ""


class Namespace(Plain, frozen=True):
    """A namespace."""

    status: NamespaceStatus = NamespaceStatus()


class NodeAddress(Object, frozen=True):
    """An address, or a name, of a node."""

    type: str
    address: str


class NodeInfo(Object, frozen=True):
    """What a node runs."""

    machine_id: str = msgspec.field(default="", name="machineID")
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    operating_system: str = ""
    architecture: str = ""


class NodeStatus(Object, frozen=True):
    """``status`` of a node."""

    addresses: list[NodeAddress] | None = None
    conditions: list[Condition] | None = None
    node_info: NodeInfo = NodeInfo()


class Taint(Object, frozen=True):
    """What keeps pods off a node."""

    key: str
    effect: str
    value: str = ""


class NodeSpec(Object, frozen=True):
    """``spec`` of a node."""

    pod_cidrs: list[str] | None = msgspec.field(default=None, name="podCIDRs")
    unschedulable: bool = False
    taints: list[Taint] | None = None


class Node(Plain, frozen=True):
    """A node: a machine of the cluster."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Named(Object, frozen=True):
    """A reference by name."""

    name: str = ""


class SecretNamed(Object, frozen=True):
    """The same, where volumes name a secret."""

    secret_name: str = ""


class ClaimNamed(Object, frozen=True):
    """The same of a claim."""

    claim_name: str = ""


class Projection(Object, frozen=True):
    """One source of a projected volume."""

    config_map: Named | None = None
    secret: Named | None = None


class Projected(Object, frozen=True):
    """A volume of several sources."""

    sources: list[Projection] | None = None


class Volume(Object, frozen=True):
    """A volume of a pod."""

    config_map: Named | None = None
    secret: SecretNamed | None = None
    persistent_volume_claim: ClaimNamed | None = None
    projected: Projected | None = None


class EnvironmentFrom(Object, frozen=True):
    """Where variables are from: all of them."""

    config_map_ref: Named | None = None
    secret_ref: Named | None = None


class VariableFrom(Object, frozen=True):
    """Where a variable is from."""

    config_map_key_ref: Named | None = None
    secret_key_ref: Named | None = None


class Variable(Object, frozen=True):
    """A variable; never its value."""

    value_from: VariableFrom | None = None


class ContainerPort(Object, frozen=True):
    """A port that a container says it listens at."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0


class Container(Object, frozen=True):
    """A container as it should be."""

    name: str
    image: str = ""
    ports: list[ContainerPort] | None = None
    env: list[Variable] | None = None
    env_from: list[EnvironmentFrom] | None = None


class Anything(Object, frozen=True):
    """An object of which nothing counts but that it is there."""


class ContainerStatus(Object, frozen=True):
    """A container as it is. ``state`` has one key: running, waiting, terminated."""

    name: str
    container_id: str = msgspec.field(default="", name="containerID")
    ready: bool = False
    restart_count: int = 0
    state: dict[str, Anything | None] | None = None


class PodSpec(Object, frozen=True):
    """``spec`` of a pod."""

    node_name: str = ""
    host_network: bool = False
    service_account_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[Volume] | None = None


class PodAddress(Object, frozen=True):
    """An address of a pod."""

    ip: str = ""


class PodStatus(Object, frozen=True):
    """``status`` of a pod."""

    phase: str = ""
    reason: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[PodAddress] | None = msgspec.field(default=None, name="podIPs")
    host_ip: str = msgspec.field(default="", name="hostIP")
    qos_class: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class Pod(Plain, frozen=True):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Object, frozen=True):
    """A port of a service."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int = 0


class ServiceSpec(Object, frozen=True):
    """``spec`` of a service."""

    type: str = "ClusterIP"
    ports: list[ServicePort] | None = None
    selector: Labels | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    session_affinity: str = ""
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    external_name: str = ""


class Ingressed(Object, frozen=True):
    """Where a load balancer is reached."""

    ip: str = ""
    hostname: str = ""


class LoadBalancer(Object, frozen=True):
    """A load balancer as it is."""

    ingress: list[Ingressed] | None = None


class BalancedStatus(Object, frozen=True):
    """``status`` of a service or an ingress."""

    load_balancer: LoadBalancer = LoadBalancer()


class Service(Plain, frozen=True):
    """A service."""

    spec: ServiceSpec = ServiceSpec()
    status: BalancedStatus = BalancedStatus()


class Target(Object, frozen=True):
    """What an address of a slice is of."""

    kind: str = ""
    uid: str = ""


class EndpointConditions(Object, frozen=True):
    """Whether an endpoint takes connections; absent: it does."""

    ready: bool | None = None


class Endpoint(Object, frozen=True):
    """One of a slice."""

    addresses: list[str] | None = None
    conditions: EndpointConditions = EndpointConditions()
    target_ref: Target | None = None


class EndpointPort(Object, frozen=True):
    """A port of a slice's endpoints."""

    port: int | None = None
    name: str | None = None
    protocol: str | None = None


class EndpointSlice(Plain, frozen=True):
    """Some endpoints of a service."""

    address_type: str = ""
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


class BackendPort(Object, frozen=True):
    """A port of a service, by name or by number."""

    name: str = ""
    number: int = 0


class BackendService(Object, frozen=True):
    """A service, and which port of it."""

    name: str
    port: BackendPort = BackendPort()


class Backend(Object, frozen=True):
    """Who answers."""

    service: BackendService | None = None


class IngressPath(Object, frozen=True):
    """Which paths go where."""

    backend: Backend
    path: str = ""
    path_type: str = ""


class IngressPaths(Object, frozen=True):
    """All paths of a host."""

    paths: list[IngressPath] | None = None


class IngressRule(Object, frozen=True):
    """What becomes of requests for a host."""

    host: str = ""
    http: IngressPaths | None = None


class IngressTls(Object, frozen=True):
    """Hosts, and the secret with their certificate."""

    hosts: list[str] | None = None
    secret_name: str = ""


class IngressSpec(Object, frozen=True):
    """``spec`` of an ingress."""

    ingress_class_name: str = ""
    default_backend: Backend | None = None
    rules: list[IngressRule] | None = None
    tls: list[IngressTls] | None = None


class Ingress(Plain, frozen=True):
    """An ingress."""

    spec: IngressSpec = IngressSpec()
    status: BalancedStatus = BalancedStatus()


class IpBlock(Object, frozen=True):
    """Networks a policy speaks of."""

    cidr: str
    but: list[str] | None = msgspec.field(default=None, name="except")


class Peer(Object, frozen=True):
    """Whom a policy lets speak with its pods."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IpBlock | None = None


class PolicyPort(Object, frozen=True):
    """At which ports; none: at any."""

    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class PolicyRule(Object, frozen=True):
    """One rule: its peers are ``from`` or ``to``."""

    sources: list[Peer] | None = msgspec.field(default=None, name="from")
    to: list[Peer] | None = None
    ports: list[PolicyPort] | None = None


class PolicySpec(Object, frozen=True):
    """``spec`` of a network policy."""

    pod_selector: LabelSelector = LabelSelector()
    policy_types: list[str] | None = None
    ingress: list[PolicyRule] | None = None
    egress: list[PolicyRule] | None = None


class NetworkPolicy(Plain, frozen=True):
    """A network policy."""

    spec: PolicySpec = PolicySpec()


class WorkloadSpec(Object, frozen=True):
    """``spec`` of what keeps pods running, jobs too."""

    replicas: int | None = None
    service_name: str = ""
    parallelism: int | None = None
    completions: int | None = None
    schedule: str = ""
    suspend: bool | None = None


class WorkloadStatus(Object, frozen=True):
    """``status`` of what keeps pods running, jobs too."""

    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    number_ready: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0


class Workload(Plain, frozen=True):
    """A deployment, replica set, replication controller, daemon set, stateful set, or job."""

    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class CronJob(Plain, frozen=True):
    """A cron job; its status tells when it ran, which its jobs tell."""

    spec: WorkloadSpec = WorkloadSpec()


class ClaimReference(Object, frozen=True):
    """The claim that has a volume."""

    namespace: str = ""
    name: str = ""


class VolumeSpec(Object, frozen=True):
    """``spec`` of a persistent volume."""

    capacity: Labels | None = None
    volume_mode: str = ""
    storage_class_name: str = ""
    access_modes: list[str] | None = None
    claim_ref: ClaimReference | None = None


class Phase(Object, frozen=True):
    """``status`` of a persistent volume, or of a claim."""

    phase: str = ""


class PersistentVolume(Plain, frozen=True):
    """A persistent volume."""

    spec: VolumeSpec = VolumeSpec()
    status: Phase = Phase()


class ClaimSpec(Object, frozen=True):
    """``spec`` of a claim."""

    volume_name: str = ""
    volume_mode: str = ""
    storage_class_name: str | None = None
    access_modes: list[str] | None = None


class PersistentVolumeClaim(Plain, frozen=True):
    """A claim to a persistent volume."""

    spec: ClaimSpec = ClaimSpec()
    status: Phase = Phase()


class StorageClass(Plain, frozen=True):
    """A class of storage."""

    provisioner: str = ""
