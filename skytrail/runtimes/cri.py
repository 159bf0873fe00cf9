"""The Kubernetes CRI (``runtime.v1``) over gRPC, as containerd and CRI-O speak it; reads only.

Source: https://github.com/kubernetes/cri-api, pkg/apis/runtime/v1/api.proto. Needs the optional ``grpcio`` and ``protobuf``.
The CRI's own events came late and are off in many hosts: containers are listed every few seconds, soon after containerd's own
events tell that something happened, and soon after somebody asks for one that nobody has told of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec

from skytrail.runtimes.container import (
    MAX_CONTAINERS,
    MAX_STOPPED,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    Change,
    Container,
    Network,
    NoSuchApiError,
    RuntimeAwayError,
    bounded,
)
from skytrail.runtimes.containerdevents import ContainerdEvents
from skytrail.runtimes.containerdnamespaces import RUNTIME, OtherNamespaces
from skytrail.runtimes.crimessages import CLASSES, EXITED, METHODS, READY, RUNNING

_CALL_TIMEOUT = 5.0  # seconds for one answer
_EVERY = 10.0  # seconds between two lists
_SOONEST = 0.5  # seconds from a list to the next, where somebody asks
_AGAIN = 1.0  # seconds to one more list then: containerd tells of a task before its CRI says that it runs
_REST = 0.02  # seconds in which events that come together become one list
_ANSWER_MAX = 64 << 20  # bytes
_NAMES = {"docker": "docker", "cri-o": "cri-o", "containerd": "containerd"}


class _Namespace(msgspec.Struct):
    type: str = ""
    path: str = ""


class _Linux(msgspec.Struct):
    namespaces: list[_Namespace] | None = None


class _Spec(msgspec.Struct):
    linux: _Linux | None = None


class _Info(msgspec.Struct):
    """What the verbose status of containerd and of CRI-O has in common; the CRI itself says nothing of it."""

    pid: int = 0
    spec: _Spec | None = msgspec.field(default=None, name="runtimeSpec")


class CriApi:
    """A client of one runtime.

    Args:
        path: its socket.
        every: seconds between two lists.
    """

    def __init__(self, path: Path, *, every: float = _EVERY) -> None:
        self._path, self._every = path, every
        self.runtime = RUNTIME
        self._others = OtherNamespaces(self._call)
        self._known: dict[str, Container] = {}
        self._soon = False
        self._asked, self._closed = threading.Event(), threading.Event()
        self._channel = grpc.insecure_channel(
            f"unix:{path}",
            [
                ("grpc.max_receive_message_length", _ANSWER_MAX),
                ("grpc.default_authority", "localhost"),  # Go's servers refuse a path there, which older gRPC sends
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),  # closed with the channel, not kept for others
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2000),
            ],
        )
        self._events = ContainerdEvents(self._channel, self.wake)
        self._calls = {
            name: self._channel.unary_unary(
                method,
                request_serializer=CLASSES[f"{name}Request"].SerializeToString,
                response_deserializer=CLASSES[f"{name}Response"].FromString,
            )
            for name, method in METHODS.items()
        }

    def start(self) -> list[Container]:
        """All that run, and the sandboxes of pods; with containerd, also what runs beside Kubernetes."""
        self._asked.clear()
        others = self._others.listed(self._known)
        try:
            pods = self._pods()
        except NoSuchApiError:
            if others is None:
                raise
            pods = {}  # a containerd whose CRI is switched off
        self._events.start()
        self._known = {**(others or {}), **pods}
        return list(self._known.values())

    def _pods(self) -> dict[str, Container]:
        """Containers and sandboxes; those known are not looked at again: an ID never runs twice."""
        if not self._known:
            name = self._call("Version").runtime_name
            self.runtime = _NAMES.get(name.lower(), name.lower())
        pods = self._call("ListPodSandbox", filter={"state": {"state": READY}}).items[:MAX_CONTAINERS]
        containers = self._call("ListContainers", filter={"state": {"state": RUNNING}}).containers[:MAX_CONTAINERS]
        known: dict[str, Container] = {}
        for pod in pods:
            known[pod.id] = self._known.get(pod.id) or self._sandbox(pod)
        for container in containers:
            found = self._known.get(container.id) or self._container(container, known.get(container.pod_sandbox_id))
            if found:
                known[container.id] = found
        return known

    def follow(self) -> Iterator[Change]:
        """Nothing, but it ends when it is time to list again."""
        begun = time.monotonic()
        self._soon = self._asked.wait(min(_AGAIN, self._every) if self._soon else self._every)
        self._closed.wait(max(_REST, begun + _SOONEST - time.monotonic()))
        yield from ()

    def networks(self) -> tuple[Network, ...]:
        """None: a pod's network is made by its plug-ins, which the CRI tells nothing of."""
        return ()

    def ended(self, container_id: str) -> int:
        """When it ended, if its events told, or it is still kept."""
        if told := self._events.ended(container_id):
            return told
        try:
            status = self._call("ContainerStatus", container_id=container_id).status
        except (NoSuchApiError, NoSuchContainerError):
            return 0
        return max(0, int(status.finished_at))

    def stopped(self) -> dict[str, int]:
        """When those that have ended did; of sandboxes that is not kept."""
        found = self._call("ListContainers", filter={"state": {"state": EXITED}}).containers
        newest = sorted(found, key=lambda one: -one.created_at)[:MAX_STOPPED]
        ends = {one.id: self.ended(one.id) for one in newest}
        return {identity: at for identity, at in ends.items() if at}

    def wake(self) -> None:
        """List soon."""
        self._asked.set()

    def interrupt(self) -> None:
        """Close the channel; a call under way fails."""
        self._closed.set()
        self._asked.set()
        self._channel.close()

    def close(self) -> None:
        """The same, and wait for the end of the listening."""
        self.interrupt()
        self._events.stop()

    def _sandbox(self, pod: Any) -> Container:  # noqa: ANN401 - a message made at run time
        try:
            info = self._info(self._call("PodSandboxStatus", pod_sandbox_id=pod.id, verbose=True))
        except NoSuchContainerError:  # it has ended meanwhile
            info = _Info()
        linux = info.spec.linux if info.spec and info.spec.linux else _Linux()
        paths = [namespace.path for namespace in linux.namespaces or () if namespace.type == "network"]
        return Container(
            id=pod.id,
            name=pod.metadata.name,
            image="",
            runtime=self.runtime,
            labels=bounded(pod.labels),
            created=max(0, pod.created_at),
            pid=info.pid,
            pod_uid=pod.metadata.uid,
            pod_name=pod.metadata.name,
            pod_namespace=pod.metadata.namespace,
            network_namespace="".join(paths[:1]),
            sandbox=True,
        )

    def _container(self, listed: Any, pod: Container | None) -> Container | None:  # noqa: ANN401 - a message made at run time
        try:
            answer = self._call("ContainerStatus", container_id=listed.id, verbose=True)
        except NoSuchContainerError:
            return None
        image, labels = answer.status.image, dict(listed.labels)
        return Container(
            id=listed.id,
            name=listed.metadata.name,
            image=image.user_specified_image or image.image or listed.image.image,
            runtime=self.runtime,
            labels=bounded(labels),
            created=max(0, listed.created_at),
            pid=self._info(answer).pid,
            pod_uid=pod.pod_uid if pod else labels.get(POD_UID, ""),
            pod_name=pod.pod_name if pod else labels.get(POD_NAME, ""),
            pod_namespace=pod.pod_namespace if pod else labels.get(POD_NAMESPACE, ""),
            network_namespace=pod.network_namespace if pod else "",
            image_id=answer.status.image_ref,
            restarts=listed.metadata.attempt,
            started=max(0, answer.status.started_at),
        )

    def _info(self, answer: Any) -> _Info:  # noqa: ANN401 - a message made at run time
        """The verbose part, whose form is each runtime's own business: where it is another one, nothing."""
        try:
            return msgspec.json.decode(answer.info.get("info", "{}"), type=_Info)
        except (msgspec.DecodeError, RecursionError):
            return _Info()

    def _call(self, name: str, namespace: str = "", **fields: object) -> Any:  # noqa: ANN401 - a message made at run time
        """Call a method. ``namespace``: of containerd's, where it is one of its own services."""
        place = [("containerd-namespace", namespace)] if namespace else None
        try:
            return self._calls[name](CLASSES[f"{name}Request"](**fields), timeout=_CALL_TIMEOUT, metadata=place)
        except grpc.RpcError as error:
            code, why = error.code(), f"{self._path}: {error.code().name}: {error.details()}"
            if code is grpc.StatusCode.NOT_FOUND:
                raise NoSuchContainerError(why) from error
            raise (NoSuchApiError if code is grpc.StatusCode.UNIMPLEMENTED else RuntimeAwayError)(why) from error
        except ValueError as error:  # the channel is closed
            raise RuntimeAwayError(f"{self._path}: {error}") from error


class NoSuchContainerError(RuntimeAwayError):
    """It has ended since it was listed."""
