"""Where the runtimes' sockets are: a table of their defaults, and a look at which of them are there."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from skytrail.runtimes.container import RuntimeApi
from skytrail.runtimes.docker import DockerApi

MAX_ENDPOINTS = 32
"""Sockets asked at most: users' own daemons are one each."""


class Protocol(Enum):
    """What is spoken over a socket."""

    DOCKER = "docker"
    CRI = "cri"
    PODMAN = "podman"
    """None: it has no socket, and is asked by its command."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place where a runtime may listen.

    Attributes:
        runtime: who listens there as a rule; what it is it tells itself.
        path: of its socket, or, without one, of a file that it makes when it is used; parts may be patterns, as
            :meth:`pathlib.Path.glob` takes them.
        protocol: what it speaks.
        on_demand: whether systemd starts a service for whoever connects: connected to only where a container is asked for
            that can be its own.
        unless: a path; where that is there, this one is not needed.
    """

    runtime: str
    path: str
    protocol: Protocol
    on_demand: bool = False
    unless: str = ""


DEFAULTS = (
    Endpoint("docker", "/run/docker.sock", Protocol.DOCKER),  # dockerd(8), --host
    Endpoint("docker", "/run/user/*/docker.sock", Protocol.DOCKER),  # docs.docker.com/engine/security/rootless
    Endpoint("podman", "/run/podman/podman.sock", Protocol.DOCKER, on_demand=True),  # podman-system-service(1)
    Endpoint("podman", "/run/user/*/podman/podman.sock", Protocol.DOCKER, on_demand=True),  # the same
    Endpoint("podman", "/run/libpod/alive", Protocol.PODMAN, unless="/run/podman/podman.sock"),  # libpod/runtime.go
    Endpoint("containerd", "/run/containerd/containerd.sock", Protocol.CRI),  # containerd-config.toml(5), [grpc]
    Endpoint("containerd", "/run/k3s/containerd/containerd.sock", Protocol.CRI),  # docs.k3s.io; RKE2 has the same
    Endpoint("containerd", "/run/k0s/containerd.sock", Protocol.CRI),  # docs.k0sproject.io, runtime
    Endpoint("containerd", "/var/snap/microk8s/common/run/containerd.sock", Protocol.CRI),  # microk8s.io/docs
    Endpoint("cri-o", "/run/crio/crio.sock", Protocol.CRI),  # crio.conf(5), [crio.api]
)
"""Where they listen as they come."""


def endpoints(docker: Iterable[str] = (), cri: Iterable[str] = ()) -> tuple[Endpoint, ...]:
    """Sockets that a person named, and then the usual places."""
    named = [Endpoint("docker", path, Protocol.DOCKER) for path in docker]
    named += [Endpoint("containerd", path, Protocol.CRI) for path in cri]
    return (*named, *DEFAULTS)


def present(endpoints: Iterable[Endpoint], root: Path = Path("/")) -> list[Endpoint]:
    """Those whose sockets are there, with their paths below ``root``; each once, no more than :data:`MAX_ENDPOINTS`."""
    found: dict[tuple[int, int], Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.unless and _paths(endpoint.unless, root):
            continue
        for path in sorted(_paths(endpoint.path, root)):
            with contextlib.suppress(OSError):  # gone meanwhile, or not for us to see
                status = path.stat()
                if _IS_THERE[endpoint.protocol](status.st_mode):
                    found.setdefault((status.st_dev, status.st_ino), replace(endpoint, path=str(path)))
    return list(found.values())[:MAX_ENDPOINTS]


def _paths(pattern: str, root: Path) -> list[Path]:
    try:
        return list(root.glob(pattern.lstrip("/")))
    except OSError:
        return []


def connect(endpoint: Endpoint) -> RuntimeApi:
    """A client for an endpoint. Raises ImportError where the optional packages that it takes are missing."""
    return _CLIENTS[endpoint.protocol](Path(endpoint.path))


def _cri(path: Path) -> RuntimeApi:
    from skytrail.runtimes.cri import CriApi  # noqa: PLC0415 - its packages are optional, and its memory is only for its users

    return CriApi(path)


def _podman(_: Path) -> RuntimeApi:
    from skytrail.runtimes.podman import PodmanCommand  # noqa: PLC0415 - only where it is used without an API

    return PodmanCommand()


_CLIENTS: dict[Protocol, Callable[[Path], RuntimeApi]] = {
    Protocol.DOCKER: DockerApi,
    Protocol.CRI: _cri,
    Protocol.PODMAN: _podman,
}
_IS_THERE: dict[Protocol, Callable[[int], bool]] = {
    Protocol.DOCKER: stat.S_ISSOCK,
    Protocol.CRI: stat.S_ISSOCK,
    Protocol.PODMAN: stat.S_ISREG,
}
