"""The Docker Engine API over its unix socket, and Podman's compatible one; reads only.

Sources: https://docs.docker.com/reference/api/engine/ (``/_ping``, ``/containers/json``, ``/containers/ID/json``,
``/events``, ``/networks``); https://docs.podman.io/en/latest/_static/api.html, "compat", and "libpod" for what that leaves out.
What is read has been the same since API 1.24.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from skytrail.runtimes.container import (
    MAX_NETWORKS,
    Change,
    Container,
    Network,
    NetworkChange,
    NoSuchApiError,
    RuntimeAwayError,
)
from skytrail.runtimes.dockermessages import DockerNetwork, Event, Inspected, Listed, PodmanNetwork, PodmanPod
from skytrail.runtimes.engine import EngineState

T = TypeVar("T")

_CALL_TIMEOUT = 5.0  # seconds for one answer
_QUIET = 60.0  # without an event for as long, all containers are listed anew, to see whether the daemon is still there
_RESYNC = 300.0  # and at the latest after as long
_LIST, _STOPPED = (
    "/containers/json?" + urlencode({"filters": json.dumps({"status": states})})
    for states in (["running", "paused"], ["exited"])
)
_LIST_MAX = 64 << 20  # bytes: 16 KB for each of MAX_CONTAINERS
_ANSWER_MAX = 4 << 20
_EVENT_MAX = 256 << 10
_PING_MAX = 64
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}")

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


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
        self._state = EngineState(self)
        self._prefix = ""
        self._calls = UnixConnection(path, _CALL_TIMEOUT)
        self._listening: UnixConnection | None = None
        self._events: http.client.HTTPResponse | None = None
        self._podman = ""  # of its own API the prefix; Docker has none
        self._pods: dict[str, str] = {}  # Podman's: name by ID
        self._heard = 0  # s since the epoch, by this host's clock: up to when no event can have been missed
        self._closed = threading.Event()

    @property
    def runtime(self) -> str:
        """Which it is; told by itself."""
        return self._state.runtime

    def start(self) -> list[Container]:
        """All that run. Those known by the same name are not looked at again, where no event was missed."""
        self._greet()
        self._listen()  # before the list: what begins in between is then in both, not in neither
        listed = self._ask(_LIST, list[Listed], _LIST_MAX)
        self._pods = {}
        containers = self._state.listed({one.id: "".join((one.names or [])[:1]) for one in listed})
        self._calls.close()  # the next call may be minutes away: what waits so long may have ended meanwhile
        return containers

    def follow(self) -> Iterator[Change | NetworkChange]:
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
            changes = list(self._state.changes(self._decoded(line, Event)))
            self._calls.close()
            yield from changes

    def networks(self) -> tuple[Network, ...]:
        """All networks."""
        return self._state.networks

    def ended(self, container_id: str) -> int:
        """When a container ended that is still known, but does not run."""
        at = self._state.ended(container_id)
        self._calls.close()
        return at

    def stopped(self) -> dict[str, int]:
        """When those that have ended did."""
        self._greet()
        ends = self._state.stopped(one.id for one in self._ask(_STOPPED, list[Listed], _LIST_MAX))
        self._calls.close()
        return ends

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

    def read_networks(self) -> tuple[Network, ...]:
        """All networks, asked for."""
        daemon = self._daemon()
        try:
            found: Sequence[DockerNetwork | PodmanNetwork]
            if self._podman:
                found = self._ask(f"{self._podman}/networks/json", list[PodmanNetwork], _LIST_MAX, versioned=False)
            else:
                found = self._ask("/networks", list[DockerNetwork], _LIST_MAX)
        except (NoSuchApiError, _RefusedError):  # it may have none
            return ()
        return tuple(one.plain(self.runtime, daemon) for one in found[:MAX_NETWORKS])

    def _daemon(self) -> int:
        """The process that listens."""
        try:
            assert self._listening
            told = self._listening.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except (OSError, AttributeError):  # closed meanwhile
            return 0
        pid: int = _UCRED.unpack(told)[0]
        return pid

    def _greet(self) -> None:
        """Learn whom we speak to."""
        api, podman = self._versions()
        self._state.runtime = "podman" if podman else "docker"
        self._prefix, self._podman = api and f"/v{api}", podman and f"/v{podman}/libpod"

    def _versions(self) -> tuple[str, str]:
        """Of its API, and of Podman's own; empty: it says none. ``/version`` would take seconds: Podman asks other programs."""
        response = self._request(self._calls, "/_ping")
        try:
            response.read(_PING_MAX)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._calls.close()
            raise self._away(error) from error
        if not response.isclosed():  # it has more to say: no runtime does
            self._calls.close()
        told = [response.getheader(name, "") for name in ("Api-Version", "Libpod-Api-Version")]
        api, podman = (version if _VERSION.fullmatch(version) else "" for version in told)
        return api, podman

    def look(self, identities: Iterable[str]) -> dict[str, Inspected]:
        """Containers by ID, looked at one by one."""
        found = {identity: self._look(identity) for identity in identities}
        return {identity: one for identity, one in found.items() if one is not None}

    def _look(self, identity: str) -> Inspected | None:
        path = f"/containers/{quote(identity, safe='')}/json"
        try:
            if self._podman:
                return self._ask(self._podman + path, Inspected, _ANSWER_MAX, versioned=False)
            return self._ask(path, Inspected, _ANSWER_MAX)
        except (NoSuchApiError, _RefusedError):  # where one ends meanwhile, Docker answers 404, Podman 500 too
            return None

    def pod_name(self, identity: str) -> str:
        """The name of a pod of Podman's."""
        if identity not in self._pods:
            path = f"{self._podman}/pods/{quote(identity, safe='')}/json"
            try:
                self._pods[identity] = self._ask(path, PodmanPod, _ANSWER_MAX, versioned=False).name
            except (NoSuchApiError, _RefusedError):
                return ""
        return self._pods[identity]

    def _listen(self) -> None:
        if self._listening:
            self._listening.close()
        self._listening = UnixConnection(self._path, _CALL_TIMEOUT)
        query = {
            "filters": json.dumps({"type": ["container", "network"]}),
            **({"since": str(self._heard)} if self._heard else {}),
        }
        self._events = self._request(self._listening, f"{self._prefix}/events?{urlencode(query)}")
        assert self._listening.sock
        self._listening.sock.settimeout(self._quiet)

    def _ask(self, path: str, kind: type[T], limit: int = _ANSWER_MAX, *, versioned: bool = True) -> T:
        """A call's answer, below the API's version; NoSuchApiError: 404."""
        response = self._request(self._calls, self._prefix + path if versioned else path)
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
        self._state.forget()
        self._heard = 0
        return self._away(why)

    def _away(self, why: object) -> RuntimeAwayError:
        return RuntimeAwayError(f"{self._path}: {why}")
