"""A container as its runtime tells of it, and what a client of a runtime's API is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from skytrail.errors import RunError

POD_UID = "io.kubernetes.pod.uid"
POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
"""Labels that the kubelet gives to every container (kubernetes, pkg/kubelet/types/labels.go)."""

MAX_CONTAINERS = 4096
"""Of one runtime; more are not kept. A node of Kubernetes is built for some hundreds."""
MAX_NETWORKS = 1024
"""Of one runtime, and of one container."""
MAX_STOPPED = 200
"""Containers that have ended, of one runtime, the newest: asked for once, at the start."""
MAX_LABELS = 16384
"""Characters of one container's labels, keys and values; those that do not fit in any more are left out."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's place in one of its runtime's networks.

    Attributes:
        network: the network's name.
        network_id: as the runtime calls it; Podman's have only names.
        ipv4: its address there, with its prefix length; empty: none.
        ipv6: the same.
        mac: of its interface there.
        gateway: that it was given.
    """

    network: str
    network_id: str = ""
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a runtime made for its containers.

    Attributes:
        id: as the runtime calls it.
        name: as people do.
        runtime: whose it is.
        driver: ``bridge``, ``macvlan``, ``ipvlan``, ``overlay``, ``host``, ``null`` …
        scope: ``local`` or ``swarm``; empty where the runtime does not say.
        device: name of its bridge, or of the device that it stands on; empty: it has none.
        internal: whether nothing leads out of it.
        subnets: with their prefix lengths.
        gateways: of these.
        labels: as a container's.
        created: ns since the epoch; 0 if unknown.
        daemon: process in whose network namespace the device is, in this host's numbers; 0 if unknown.
    """

    id: str
    name: str
    runtime: str
    driver: str = ""
    scope: str = ""
    device: str = ""
    internal: bool = False
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    daemon: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Container:
    """A container; an empty text is what its runtime does not tell.

    Attributes:
        id: 64 hexadecimal digits.
        name: as people call it: unique in Docker, in its pod with Kubernetes. A sandbox has its pod's.
        image: as it was asked for, with its tag: ``nginx:1.27``. A sandbox of the CRI has none.
        runtime: ``docker``, ``podman``, ``containerd``, ``cri-o``.
        labels: as given to it, up to :data:`MAX_LABELS`.
        created: ns since the epoch; 0 if unknown.
        pid: of its first process, in this host's numbers; 0 if unknown.
        pod_uid: of its Kubernetes pod.
        pod_name: the pod's name.
        pod_namespace: the pod's namespace.
        network_namespace: a file that leads to its network namespace; empty where it has the host's or the runtime says none.
        sandbox: whether it only holds a pod's namespaces.
        image_id: digest of the image's configuration, as the runtime writes it.
        paused: whether its processes are frozen.
        health: what its health check says: ``starting``, ``healthy``, ``unhealthy``; empty: it has none.
        restarts: how often its runtime started it again.
        started: ns since the epoch; 0 if unknown.
        network_mode: ``host``, ``none``, ``bridge``, ``container:<id>`` …; empty where the runtime does not say.
        networks: its places in its runtime's networks.
        pod: name of the pod of Podman's that it is in.
    """

    id: str
    name: str
    image: str
    runtime: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    pid: int = 0
    pod_uid: str = ""
    pod_name: str = ""
    pod_namespace: str = ""
    network_namespace: str = ""
    sandbox: bool = False
    image_id: str = ""
    paused: bool = False
    health: str = ""
    restarts: int = 0
    started: int = 0
    network_mode: str = ""
    networks: tuple[Attachment, ...] = ()
    pod: str = ""


def bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels up to :data:`MAX_LABELS`: whoever may run containers chooses them."""
    kept, room = {}, MAX_LABELS
    for key, value in labels.items():
        if len(key) + len(value) <= room:
            kept[key] = value
            room -= len(key) + len(value)
    return kept


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a container: as it is now, or None where it has ended.

    ``at``: when, ns since the epoch, as the runtime says; 0: it does not.
    """

    id: str
    container: Container | None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NetworkChange:
    """The networks are otherwise: :meth:`RuntimeApi.networks` gives them. ``at`` as with :class:`Change`."""

    at: int = 0


class RuntimeAwayError(RunError):
    """A runtime does not answer, or not as its API says; the same may do later."""


class NotRunningError(RuntimeAwayError):
    """Nobody listens: the runtime does not run, or is not installed any more."""


class NoSuchApiError(RuntimeAwayError):
    """Somebody answers, but does not speak this API, as containerd without its CRI plugin."""


class RuntimeApi(Protocol):
    """One runtime's API, used by one thread; :meth:`interrupt` and :meth:`wake` may be called from any.

    Everything has time limits of its own and raises :class:`RuntimeAwayError` alone.
    """

    @property
    def runtime(self) -> str:
        """Which runtime it is: told by itself once :meth:`start` has been called."""
        ...

    def start(self) -> list[Container]:
        """Connect where that is needed, begin to listen, and give all containers that run."""
        ...

    def follow(self) -> Iterator[Change | NetworkChange]:
        """What happened since :meth:`start`; ends when it is time for that again."""
        ...

    def networks(self) -> tuple[Network, ...]:
        """Those that it has made, as it told last."""
        ...

    def ended(self, container_id: str) -> int:
        """When a container that does not run any more ended, ns since the epoch; 0: that is not known (any more)."""
        ...

    def stopped(self) -> dict[str, int]:
        """When containers that have ended, and are kept all the same, did; by ID, ns since the epoch. Needs no start."""
        ...

    def wake(self) -> None:
        """Somebody asks for a container that nobody has told of: look sooner, if looking is what finds them."""
        ...

    def interrupt(self) -> None:
        """End what waits, for good: all that is called later fails, or ends at once."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
