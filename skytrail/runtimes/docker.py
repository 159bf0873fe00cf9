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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
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
from skytrail.runtimes.engine import EngineState, whose
from skytrail.runtimes.lanes import Lanes

T = TypeVar("T")

_CALL_TIMEOUT = 5.0  # seconds for one answer
_SIDE_BY_SIDE = 8  # containers that are looked at at once
_MAX_WAITING = 10_000  # events, until they are told; more, and all is listed anew
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


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came by a connection: an event, or why there will be no more."""

    by: UnixConnection
    event: Event | TimeoutError | RuntimeAwayError


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at a container gave."""

    id: str
    found: Inspected | RuntimeAwayError | None


_Inbox = SimpleQueue[_Heard | _Seen]


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
        self._looks: set[UnixConnection] = set()  # calls that look at a container, which may take long
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, "runtime-looks")
        self._listening: UnixConnection | None = None
        self._listener: threading.Thread | None = None
        self._inbox, self._lanes = _Inbox(), Lanes()
        self._podman = ""  # of its own API the prefix; Docker has none
        self._pods: dict[str, str] = {}  # Podman's: name by ID
        self._heard = 0.0  # s since the epoch: when the latest event was that was heard, or when the listening began
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
        until = time.monotonic() + _RESYNC
        while (left := until - time.monotonic()) > 0:
            try:
                heard = self._inbox.get(timeout=left)
            except Empty:
                return
            if isinstance(heard, _Seen):
                yield from self._told(heard)
            elif heard.by is not self._listening and not isinstance(heard.event, Event):
                continue  # the end of one that was closed
            elif isinstance(heard.event, TimeoutError):
                return
            elif isinstance(heard.event, RuntimeAwayError):
                raise self._missed(heard.event)
            else:
                yield from self._take(heard.event)

    def _take(self, event: Event) -> Iterator[Change | NetworkChange]:
        """An event is told at once, or once its container was looked at."""
        identity = whose(event)[0]
        if identity in self._lanes or self._state.about(event):
            if self._lanes.add(identity, event):
                self._see(identity)
        else:
            yield from list(self._state.tell(event, None))
            self._calls.close()

    def _told(self, seen: _Seen) -> Iterator[Change | NetworkChange]:
        """What a look tells."""
        if isinstance(seen.found, RuntimeAwayError):
            raise self._missed(seen.found)
        changes = [change for event in self._lanes.take(seen.id) for change in self._state.tell(event, seen.found)]
        self._calls.close()
        if seen.id in self._lanes:
            self._see(seen.id)
        yield from changes

    def _see(self, identity: str) -> None:
        """Have a container looked at."""
        inbox = self._inbox

        def see() -> None:
            try:
                inbox.put(_Seen(identity, self._look(identity)))
            except RuntimeAwayError as error:  # of one that gives no answer what its event tells must do
                inbox.put(_Seen(identity, None if isinstance(error.__cause__, TimeoutError) else error))

        self._pool.submit(see)

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
        for connection in (self._calls, self._listening, *list(self._looks)):
            _hang_up(connection)

    def close(self) -> None:
        """Close all connections."""
        self._calls.close()
        self._end_listening()
        self._pool.shutdown(cancel_futures=True)

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
        """Containers by ID, looked at some at a time: one of which the daemon has no time to tell holds up no other."""
        wanted = list(identities)
        found = zip(wanted, self._pool.map(self._look, wanted), strict=True)
        return {identity: one for identity, one in found if one is not None}

    def _look(self, identity: str) -> Inspected | None:
        path = f"/containers/{quote(identity, safe='')}/json"
        calls = UnixConnection(self._path, self._calls.timeout or _CALL_TIMEOUT)
        self._looks.add(calls)
        try:
            if self._podman:
                return self._ask(self._podman + path, Inspected, versioned=False, calls=calls)
            return self._ask(path, Inspected, calls=calls)
        except (NoSuchApiError, _RefusedError):  # where one ends meanwhile, Docker answers 404, Podman 500 too
            return None
        finally:
            self._looks.discard(calls)
            calls.close()

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
        self._end_listening()
        self._listening = UnixConnection(self._path, _CALL_TIMEOUT)
        query = {
            "filters": json.dumps({"type": ["container", "network"]}),
            **({"since": f"{self._heard:.6f}"} if self._heard else {}),
        }
        self._heard = self._heard or time.time()
        events = self._request(self._listening, f"{self._prefix}/events?{urlencode(query)}")
        assert self._listening.sock
        self._listening.sock.settimeout(self._quiet)
        self._listener = threading.Thread(
            target=self._hear, args=(self._listening, events, self._inbox), name="runtime-events", daemon=True
        )
        self._listener.start()

    def _end_listening(self) -> None:
        if self._listener:
            _hang_up(self._listening)
            self._listener.join()
            self._listener = None
        if self._listening:
            self._listening.close()

    def _hear(self, by: UnixConnection, events: http.client.HTTPResponse, inbox: _Inbox) -> None:
        """Note events as they come, until there are no more."""
        while True:
            event = self._next(events)
            if inbox.qsize() + len(self._lanes) > _MAX_WAITING:
                event = self._away("it tells more than it can be asked about")
            inbox.put(_Heard(by, event))
            if not isinstance(event, Event):
                return

    def _next(self, events: http.client.HTTPResponse) -> Event | TimeoutError | RuntimeAwayError:
        try:
            line = events.readline(_EVENT_MAX)
            if not line.endswith(b"\n"):
                return self._away("its events have ended" if len(line) < _EVENT_MAX else "an event has no end")
            event = self._decoded(line, Event)
        except (TimeoutError, RuntimeAwayError) as error:
            return error
        except (OSError, ValueError, http.client.HTTPException) as error:
            return self._away(error)
        self._heard = max(self._heard, min(event.time / 1e9, time.time()))
        return event

    def _ask(
        self,
        path: str,
        kind: type[T],
        limit: int = _ANSWER_MAX,
        *,
        versioned: bool = True,
        calls: UnixConnection | None = None,
    ) -> T:
        """A call's answer, below the API's version; NoSuchApiError: 404. ``calls``: a connection that nobody else uses."""
        calls = calls or self._calls
        response = self._request(calls, self._prefix + path if versioned else path)
        try:
            body = response.read(limit + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            calls.close()
            raise self._away(error) from error
        if len(body) > limit:
            calls.close()
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

    def _missed(self, why: RuntimeAwayError) -> RuntimeAwayError:
        """Events are lost: what is known, and what waits, is of no use."""
        self._end_listening()
        self._state.forget()
        self._heard, self._inbox, self._lanes = 0.0, _Inbox(), Lanes()
        return why

    def _away(self, why: object) -> RuntimeAwayError:
        return RuntimeAwayError(f"{self._path}: {why}")


def _hang_up(connection: UnixConnection | None) -> None:
    """End what waits for it; whoever uses it closes it."""
    if connection and connection.sock:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
