"""The Docker Engine API over its unix socket, and Podman's compatible one; reads only.

Sources: https://docs.docker.com/reference/api/engine/ (``/version``, ``/containers/json``, ``/containers/ID/json``,
``/events``); https://docs.podman.io/en/latest/_static/api.html, "compat". What is read has been the same since API 1.24.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from skytrail.runtimes.container import (
    MAX_CONTAINERS,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    Change,
    Container,
    NoSuchApiError,
    RuntimeAwayError,
    bounded,
)

T = TypeVar("T")

_CALL_TIMEOUT = 5.0  # seconds for one answer
_QUIET = 60.0  # without an event for as long, all containers are listed anew, to see whether the daemon is still there
_RESYNC = 300.0  # and at the latest after as long
_LIST_MAX = 64 << 20  # bytes: 16 KB for each of MAX_CONTAINERS
_ANSWER_MAX = 4 << 20
_EVENT_MAX = 256 << 10

_TEXT_MAX = 512  # characters of a name; an image's may have 255 and a digest

_BEGUN = frozenset({"start", "rename"})  # also a new name is read by looking at the container
_ENDED = frozenset({"die", "died", "destroy", "remove"})
"""Actions of events; Docker says ``die`` and ``destroy``, Podman ``died`` and ``remove`` in some versions."""

_NO_LABELS = frozenset({"image", "name", "execDuration", "exitCode", "signal", "oldName", "containerExitCode", "podId"})
"""What an event has among a container's labels and is none of them; the last two are Podman's."""

_SANDBOX_LABEL = "io.kubernetes.docker.type"  # cri-dockerd, libdocker: "podsandbox" or "container"


class _Named(msgspec.Struct, rename="pascal"):
    name: str = ""


class _Version(msgspec.Struct, rename="pascal"):
    api_version: str
    components: list[_Named] | None = None


class _Listed(msgspec.Struct, rename="pascal"):
    id: str
    names: list[str] | None = None


class _State(msgspec.Struct, rename="pascal"):
    pid: int = 0
    running: bool = False


class _Config(msgspec.Struct, rename="pascal"):
    image: str = ""
    labels: dict[str, str] | None = None


class _Network(msgspec.Struct, rename="pascal"):
    sandbox_key: str = ""


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str = ""


class _Inspected(msgspec.Struct, rename="pascal"):
    id: str
    name: str = ""
    created: str = ""
    state: _State = msgspec.field(default_factory=_State)
    config: _Config = msgspec.field(default_factory=_Config)
    network_settings: _Network | None = None
    host_config: _HostConfig | None = None


class _Actor(msgspec.Struct):
    id: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] | None = msgspec.field(default=None, name="Attributes")


class _Event(msgspec.Struct, rename="pascal"):
    type: str = ""
    action: str = ""
    actor: _Actor = msgspec.field(default_factory=_Actor)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class _RefusedError(RuntimeAwayError):
    """The daemon answers that it cannot."""


class DockerApi:
    """A client of one daemon.

    Args:
        path: its socket.
        quiet: seconds without an event after which everything is listed anew.
    """

    def __init__(self, path: Path, *, quiet: float = _QUIET) -> None:
        self._path, self._quiet = path, quiet
        self.runtime = "docker"
        self._prefix = ""
        self._calls = UnixConnection(path, _CALL_TIMEOUT)
        self._listening: UnixConnection | None = None
        self._events: http.client.HTTPResponse | None = None
        self._known: dict[str, tuple[str, Container]] = {}  # by ID: its name as listed, and what it is
        self._heard = 0  # s since the epoch, by this host's clock: up to when no event can have been missed
        self._closed = threading.Event()

    def start(self) -> list[Container]:
        """All that run. Those known by the same name are not looked at again, where no event was missed."""
        version = self._ask("/version", _Version)
        self._prefix = f"/v{quote(version.api_version, safe='.')}"
        podman = any("podman" in component.name.lower() for component in version.components or ())
        self.runtime = "podman" if podman else "docker"
        self._listen()  # before the list: what begins in between is then in both, not in neither
        known = {}
        for listed in self._ask("/containers/json", list[_Listed], _LIST_MAX)[:MAX_CONTAINERS]:
            name = "".join((listed.names or [])[:1])
            before = self._known.get(listed.id)
            container = before[1] if before and before[0] == name else self._inspect(listed.id)
            if container:
                known[listed.id] = name, container
        self._known = known
        self._calls.close()  # the next call may be minutes away: what waits so long may have ended meanwhile
        return [container for _, container in known.values()]

    def follow(self) -> Iterator[Change]:
        """Changes as the daemon tells them."""
        assert self._events
        until = time.monotonic() + _RESYNC
        while time.monotonic() < until:
            self._heard = int(time.time())
            try:
                line = self._events.readline(_EVENT_MAX)
            except TimeoutError:
                return
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self._missed(error) from error
            if not line.endswith(b"\n"):
                raise self._missed("its events have ended" if len(line) < _EVENT_MAX else "an event has no end")
            change = self._change(line)
            if change:
                yield change

    def wake(self) -> None:
        """Nothing: the daemon tells by itself."""

    def interrupt(self) -> None:
        """End what waits for an answer; the sockets are closed by the thread that uses them."""
        self._closed.set()
        for connection in (self._calls, self._listening):
            if connection and connection.sock:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close both connections."""
        self._calls.close()
        if self._listening:
            self._listening.close()

    def _change(self, line: bytes) -> Change | None:
        event = self._decoded(line, _Event)
        identity = event.actor.id
        if event.type != "container" or not identity:
            return None
        if event.action in _ENDED:
            self._known.pop(identity, None)
            return Change(identity, None)
        if event.action not in _BEGUN or (event.action == "rename" and identity not in self._known):
            return None
        container = self._inspect(identity)
        self._calls.close()
        if container is None:  # it has ended already, and its end is on its way: what the event itself tells must do
            container = self._told(identity, event.actor.attributes or {})
        elif len(self._known) < MAX_CONTAINERS:
            self._known[identity] = f"/{container.name}", container
        return Change(identity, container)

    def _told(self, identity: str, attributes: dict[str, str]) -> Container:
        labels = {key: value for key, value in attributes.items() if key not in _NO_LABELS}
        return self._container(identity, attributes.get("name", ""), attributes.get("image", ""), labels)

    def _inspect(self, identity: str) -> Container | None:
        """A container that runs; None of one that does not."""
        try:
            found = self._ask(f"/containers/{quote(identity, safe='')}/json", _Inspected, _ANSWER_MAX)
        except (NoSuchApiError, _RefusedError):  # where one ends meanwhile, Docker answers 404, Podman 500 too
            return None
        if not found.state.running:
            return None
        host = found.host_config is not None and found.host_config.network_mode == "host"
        return self._container(
            found.id,
            found.name.removeprefix("/"),
            found.config.image,
            found.config.labels or {},
            created=nanoseconds(found.created),
            pid=found.state.pid,
            network_namespace="" if host or not found.network_settings else found.network_settings.sandbox_key,
        )

    def _container(self, identity: str, name: str, image: str, labels: dict[str, str], **more: Any) -> Container:  # noqa: ANN401
        return Container(
            id=identity[:_TEXT_MAX],
            name=name[:_TEXT_MAX],
            image=image[:_TEXT_MAX],
            runtime=self.runtime,
            labels=bounded(labels),
            pod_uid=labels.get(POD_UID, ""),
            pod_name=labels.get(POD_NAME, ""),
            pod_namespace=labels.get(POD_NAMESPACE, ""),
            sandbox=labels.get(_SANDBOX_LABEL) == "podsandbox",
            **more,
        )

    def _listen(self) -> None:
        if self._listening:
            self._listening.close()
        self._listening = UnixConnection(self._path, _CALL_TIMEOUT)
        query = {"filters": json.dumps({"type": ["container"]}), **({"since": str(self._heard)} if self._heard else {})}
        self._events = self._request(self._listening, f"{self._prefix}/events?{urlencode(query)}")
        assert self._listening.sock
        self._listening.sock.settimeout(self._quiet)

    def _ask(self, path: str, kind: type[T], limit: int = _ANSWER_MAX) -> T:
        """A call's answer; NoSuchApiError: 404."""
        response = self._request(self._calls, self._prefix + path if path != "/version" else path)
        try:
            body = response.read(limit + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._calls.close()
            raise self._away(error) from error
        if len(body) > limit:
            self._calls.close()
            raise self._away(f"its answer to {path} has more than {limit >> 20} MiB")
        return self._decoded(body, kind)

    def _request(self, connection: UnixConnection, path: str) -> http.client.HTTPResponse:
        if self._closed.is_set():
            raise self._away("the client is closed")
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            if response.status == 200:
                return response
            response.read(_ANSWER_MAX)
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise self._away(error) from error
        if response.status == 404:
            raise NoSuchApiError(f"{self._path}: nothing is at {path}")
        raise _RefusedError(f"{self._path}: HTTP {response.status} for {path}")

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._away(f"its answer cannot be read: {error}") from error

    def _missed(self, why: object) -> RuntimeAwayError:
        """Events may be missed: what is known may have been started anew, with another process."""
        self._known.clear()
        self._heard = 0
        return self._away(why)

    def _away(self, why: object) -> RuntimeAwayError:
        return RuntimeAwayError(f"{self._path}: {why}")


def nanoseconds(text: str) -> int:
    """A time as RFC 3339 writes it, in ns since the epoch, exact to the µs; 0 if it is none, or before 1970."""
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int(moment.timestamp()) * 10**9 + moment.microsecond * 1000) if moment.tzinfo else 0
    except (ValueError, OverflowError, OSError):
        return 0
