"""Containers and networks of runtimes → facts. Pure.

Keys are Skydive's: ``Container`` as its probes of docker and runc have them, and of Docker's also ``Docker.ContainerID`` and
``Docker.ContainerName``, as they were called before its 0.25.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from skytrail.runtimes.container import Attachment, Container, Network
from skytrail.tid import container_network_tid, container_tid
from topology.facts import EdgeFact, NodeFact
from topology.probes.containers.labels import LabelFilter

NETWORK = "network"
"""Type of a runtime's network, and RelationType of its edges."""

_NO_NETWORK = frozenset({"host", "null"})
"""Drivers of what stands for the host's own namespace, or for none."""

_COMPOSE = {
    "Project": ("com.docker.compose.project", "io.podman.compose.project"),
    "Service": ("com.docker.compose.service", "io.podman.compose.service"),
    "Number": ("com.docker.compose.container-number",),
}
"""Keys by the labels that tell them, the first that is there."""

_DOCKER = "docker"


def container_facts(
    container: Container, host_tid: str, owner: str | None, networks: Iterable[Network], labels: LabelFilter
) -> Iterator[NodeFact | EdgeFact]:
    """A container, below whatever has its network namespace, and its places in networks.

    Args:
        container: what its runtime says.
        host_tid: of its host.
        owner: TID of its network namespace, or of the host, whose own it may have; None: not known (yet).
        networks: of its runtime.
        labels: which of them are kept.
    """
    tid = container_tid(host_tid, container.id)
    yield NodeFact(tid, container_metadata(container, labels))
    if owner is not None:
        yield EdgeFact(owner, tid, "ownership")
    shown = [network for network in networks if network.driver not in _NO_NETWORK]
    by_id, by_name = {network.id: network for network in shown}, {network.name: network for network in shown}
    for place in container.networks:
        network = by_id.get(place.network_id) or by_name.get(place.network)
        if network is not None:
            parent = container_network_tid(host_tid, network.runtime, network.id)
            yield EdgeFact(parent, tid, NETWORK, _said(IPV4=place.ipv4, IPV6=place.ipv6, MAC=place.mac))


def container_metadata(container: Container, labels: LabelFilter) -> dict[str, Any]:
    """A container's keys."""
    pod = _said(UID=container.pod_uid, Name=container.pod_name or container.pod, Namespace=container.pod_namespace)
    own = _said(
        Image=container.image,
        ImageID=container.image_id,
        InitProcessPID=container.pid,
        Health=container.health,
        Created=container.created // 10**6,
        Started=container.started // 10**6,
        Sandbox=container.sandbox,
        NetworkMode=container.network_mode,
        Networks=[_place(one) for one in container.networks],
        Labels=labels.chosen(container.labels),
        Compose=_compose(container),
        Pod=pod,
    )
    own |= {
        "ID": container.id,
        "Runtime": container.runtime,
        "Status": "paused" if container.paused else "running",
        "RestartCount": container.restarts,
    }
    found = {"Type": "container", "Name": container.name or container.id, "Manager": container.runtime, "Container": own}
    if container.runtime == _DOCKER:
        found["Docker"] = {"ContainerID": container.id, "ContainerName": container.name}
    return found


def namespace_fact(tid: str, containers: Iterable[Container]) -> NodeFact:
    """What a namespace's containers add to its node: who made it, and whose it is."""
    there = sorted(containers, key=lambda one: (one.started, one.id))
    return NodeFact(tid, {"Manager": there[0].runtime, "Containers": sorted(one.name for one in there)}, enriches=True)


def network_facts(network: Network, host_tid: str, device: str | None, labels: LabelFilter) -> Iterator[NodeFact | EdgeFact]:
    """A network below its host, and the bridge or other device that it stands on.

    Args:
        network: what its runtime says.
        host_tid: of its host.
        device: TID of its device; None: it has none, or it is not known (yet).
        labels: which of them are kept.
    """
    if network.driver in _NO_NETWORK:
        return
    tid = container_network_tid(host_tid, network.runtime, network.id)
    own = _said(
        Driver=network.driver,
        Scope=network.scope,
        Device=network.device,
        Internal=network.internal,
        Subnets=list(network.subnets),
        Gateways=list(network.gateways),
        Labels=labels.chosen(network.labels),
        Created=network.created // 10**6,
    )
    keys = {"Type": NETWORK, "Name": network.name or network.id, "Manager": network.runtime}
    yield NodeFact(tid, {**keys, "ContainerNetwork": {"ID": network.id, **own}})
    yield EdgeFact(host_tid, tid, "ownership")
    if device is not None:
        yield EdgeFact(tid, device, NETWORK)


def _place(place: Attachment) -> dict[str, Any]:
    told = _said(ID=place.network_id, IPV4=place.ipv4, IPV6=place.ipv6, MAC=place.mac, Gateway=place.gateway)
    return {"Name": place.network, **told}


def _compose(container: Container) -> dict[str, Any]:
    labels = container.labels
    found = {key: next((labels[one] for one in names if one in labels), "") for key, names in _COMPOSE.items()}
    return _said(**found)


def _said(**keys: object) -> dict[str, Any]:
    """Those that say something."""
    return {key: value for key, value in keys.items() if value}
