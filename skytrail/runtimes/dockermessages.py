"""What the Docker Engine API and Podman's answer, as far as it is read, and what that is for every runtime.

Sources: as of :mod:`skytrail.runtimes.docker`. Podman's own inspection, by its API or ``podman inspect``, has the same form.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from skytrail.runtimes.container import (
    MAX_NETWORKS,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    Attachment,
    Container,
    Network,
    bounded,
)

_TEXT_MAX = 512  # characters of a name; an image's may have 255 and a digest
_BRIDGE_NAME = "com.docker.network.bridge.name"  # docs.docker.com/engine/network/drivers/bridge
_SHORT = 12  # digits of its ID in the name of a bridge that Docker chose
_SANDBOX_LABEL = "io.kubernetes.docker.type"  # cri-dockerd, libdocker: "podsandbox" or "container"


class Listed(msgspec.Struct, rename="pascal"):
    """One of ``/containers/json``."""

    id: str
    names: list[str] | None = None


class _Health(msgspec.Struct, rename="pascal"):
    status: str = ""


class _State(msgspec.Struct, rename="pascal"):
    pid: int = 0
    running: bool = False
    paused: bool = False
    started_at: str = ""
    finished_at: str = ""
    health: _Health | None = None

    @property
    def lives(self) -> bool:
        """Whether it has processes: of one that is paused Docker says that it is running, Podman that it is not."""
        return self.running or self.paused


class _Config(msgspec.Struct, rename="pascal"):
    image: str = ""
    labels: dict[str, str] | None = None


class _Joined(msgspec.Struct, rename="pascal"):
    network: str = msgspec.field(default="", name="NetworkID")
    address: str = msgspec.field(default="", name="IPAddress")
    prefix: int = msgspec.field(default=0, name="IPPrefixLen")
    address6: str = msgspec.field(default="", name="GlobalIPv6Address")
    prefix6: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    mac_address: str = ""
    gateway: str = ""


class _Networking(msgspec.Struct, rename="pascal"):
    sandbox_key: str = ""
    networks: dict[str, _Joined] | None = None


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str = ""


class Inspected(msgspec.Struct, rename="pascal"):
    """``/containers/ID/json``."""

    id: str
    name: str = ""
    created: str = ""
    image: str = ""
    restart_count: int = 0
    pod: str = ""  # Podman's own API alone has these
    is_infra: bool = False
    state: _State = msgspec.field(default_factory=_State)
    config: _Config = msgspec.field(default_factory=_Config)
    network_settings: _Networking | None = None
    host_config: _HostConfig | None = None


class _Range(msgspec.Struct, rename="pascal"):
    subnet: str = ""
    gateway: str = ""


class _Ipam(msgspec.Struct, rename="pascal"):
    config: list[_Range] | None = None


class DockerNetwork(msgspec.Struct, rename="pascal"):
    """One of ``/networks``."""

    id: str
    name: str = ""
    created: str = ""
    scope: str = ""
    driver: str = ""
    internal: bool = False
    ipam: _Ipam | None = msgspec.field(default=None, name="IPAM")
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None

    def plain(self, runtime: str, daemon: int) -> Network:
        """As every runtime's."""
        options, ranges = self.options or {}, (self.ipam.config if self.ipam else None) or []
        bridge = options.get(_BRIDGE_NAME) or (f"br-{self.id[:_SHORT]}" if self.driver == "bridge" else "")
        return Network(
            id=self.id[:_TEXT_MAX],
            name=self.name[:_TEXT_MAX],
            runtime=runtime,
            driver=self.driver,
            scope=self.scope,
            device=bridge or options.get("parent", ""),
            internal=self.internal,
            subnets=tuple(one.subnet for one in ranges if one.subnet),
            gateways=tuple(one.gateway for one in ranges if one.gateway),
            labels=bounded(self.labels or {}),
            created=nanoseconds(self.created),
            daemon=daemon,
        )


class _PodmanRange(msgspec.Struct):
    subnet: str = ""
    gateway: str = ""


class PodmanNetwork(msgspec.Struct):
    """One of ``/libpod/networks/json``. It also has a time, which of its default network is that of the answer."""

    id: str
    name: str = ""
    driver: str = ""
    internal: bool = False
    network_interface: str = ""
    subnets: list[_PodmanRange] | None = None
    labels: dict[str, str] | None = None

    def plain(self, runtime: str, daemon: int) -> Network:
        """As every runtime's."""
        ranges = self.subnets or []
        return Network(
            id=self.id[:_TEXT_MAX],
            name=self.name[:_TEXT_MAX],
            runtime=runtime,
            driver=self.driver,
            device=self.network_interface,
            internal=self.internal,
            subnets=tuple(one.subnet for one in ranges if one.subnet),
            gateways=tuple(one.gateway for one in ranges if one.gateway),
            labels=bounded(self.labels or {}),
            daemon=daemon,
        )


class PodmanPod(msgspec.Struct, rename="pascal"):
    """``/libpod/pods/ID/json``."""

    name: str = ""


class Actor(msgspec.Struct):
    """Whom an event is about, and what it tells of it."""

    id: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] | None = msgspec.field(default=None, name="Attributes")


class Event(msgspec.Struct, rename="pascal"):
    """One of ``/events``."""

    type: str = ""
    action: str = ""
    actor: Actor = msgspec.field(default_factory=Actor)
    time: int = msgspec.field(default=0, name="timeNano")


def inspected(found: Inspected, runtime: str, pod: str) -> Container:
    """A container that was looked at. ``pod``: name of the pod of Podman's that it is in; empty: it is in none."""
    mode = found.host_config.network_mode if found.host_config else ""
    networking = found.network_settings or _Networking()
    joined = sorted((networking.networks or {}).items())[:MAX_NETWORKS]
    return told(
        found.id,
        found.name.removeprefix("/"),
        found.config.image,
        found.config.labels or {},
        runtime,
        infra=found.is_infra,
        created=nanoseconds(found.created),
        pid=found.state.pid,
        network_namespace="" if mode == "host" else networking.sandbox_key,
        image_id=found.image[:_TEXT_MAX],
        paused=found.state.paused,
        health="" if found.state.health is None or found.state.health.status == "none" else found.state.health.status,
        restarts=found.restart_count,
        started=nanoseconds(found.state.started_at),
        network_mode=mode[:_TEXT_MAX],
        networks=tuple(_attachment(name, one) for name, one in joined),
        pod=pod[:_TEXT_MAX],
    )


def told(
    identity: str,
    name: str,
    image: str,
    labels: dict[str, str],
    runtime: str,
    *,
    infra: bool = False,
    **more: Any,  # noqa: ANN401 - fields of Container
) -> Container:
    """A container of which so much is known. ``infra``: it only holds the namespaces of a pod of Podman's."""
    return Container(
        id=identity[:_TEXT_MAX],
        name=name[:_TEXT_MAX],
        image=image[:_TEXT_MAX],
        runtime=runtime,
        labels=bounded(labels),
        pod_uid=labels.get(POD_UID, ""),
        pod_name=labels.get(POD_NAME, ""),
        pod_namespace=labels.get(POD_NAMESPACE, ""),
        sandbox=infra or labels.get(_SANDBOX_LABEL) == "podsandbox",
        **more,
    )


def _attachment(name: str, joined: _Joined) -> Attachment:
    return Attachment(
        network=name[:_TEXT_MAX],
        network_id=joined.network[:_TEXT_MAX],
        ipv4=f"{joined.address}/{joined.prefix}" if joined.address else "",
        ipv6=f"{joined.address6}/{joined.prefix6}" if joined.address6 else "",
        mac=joined.mac_address,
        gateway=joined.gateway,
    )


def nanoseconds(text: str) -> int:
    """A time as RFC 3339 writes it, in ns since the epoch, exact to the µs; 0 if it is none, or before 1970."""
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int(moment.timestamp()) * 10**9 + moment.microsecond * 1000) if moment.tzinfo else 0
    except (ValueError, OverflowError, OSError):
        return 0
