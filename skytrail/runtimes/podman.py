"""Podman where it serves no API: by its own command, which has no daemon to ask; reads only.

Sources: podman-events(1), podman-ps(1), podman-inspect(1), podman-network-inspect(1). ``podman events`` runs all the time; the
other commands run when that tells of something, each for about 0.1 s.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from skytrail.runtimes.container import (
    MAX_NETWORKS,
    Change,
    Container,
    Network,
    NetworkChange,
    NotRunningError,
    RuntimeAwayError,
)
from skytrail.runtimes.dockermessages import Actor, Event, Inspected, PodmanNetwork, nanoseconds
from skytrail.runtimes.engine import EngineState

T = TypeVar("T")

_CALL_TIMEOUT = 20.0  # seconds for one command
_QUIET = 60.0  # as with an API
_RESYNC = 300.0
_ANSWER_MAX = 64 << 20
_EVENT_MAX = 256 << 10
# It ends with us, however we end, also where we had ended before it asked for that.
_BOUND = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$1" ] && shift && exec "$@"', "sh")
_FILTERS = ("--filter", "type=container", "--filter", "type=network")
_RUNNING = ("--filter", "status=running", "--filter", "status=paused")


class _Row(msgspec.Struct, rename="pascal"):
    id: str
    names: list[str] | None = None
    pod: str = ""
    pod_name: str = ""


class _Line(msgspec.Struct, rename="pascal"):
    """An event as the command prints it."""

    id: str = msgspec.field(default="", name="ID")
    name: str = ""
    image: str = ""
    type: str = ""
    status: str = ""
    time: str = ""
    attributes: dict[str, str] | None = None

    def event(self) -> Event:
        """As the API tells it."""
        attributes = {**(self.attributes or {}), "name": self.name, "image": self.image}
        return Event(self.type, self.status, Actor(self.id, attributes), nanoseconds(self.time))


class PodmanCommand:
    """A client of the containers of the user who runs this.

    Args:
        command: what runs Podman.
        quiet: seconds without an event after which everything is listed anew.
    """

    runtime = "podman"

    def __init__(self, command: Sequence[str] = ("podman",), *, quiet: float = _QUIET) -> None:
        self._command, self._quiet = tuple(command), quiet
        self._state = EngineState(self)
        self._state.runtime = self.runtime
        self._pods: dict[str, str] = {}
        self._heard = 0  # s since the epoch: up to when no event can have been missed
        self._events: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._closed = threading.Event()

    def start(self) -> list[Container]:
        """All that run."""
        self._listen()  # before the list: what begins in between is then in both, not in neither
        rows = self._ask(["ps", "--format", "json", "--no-trunc", *_RUNNING], list[_Row])
        self._pods = {row.pod: row.pod_name for row in rows if row.pod}
        return self._state.listed({row.id: "".join((row.names or [])[:1]) for row in rows})

    def follow(self) -> Iterator[Change | NetworkChange]:
        """Changes as the events tell them."""
        until = time.monotonic() + _RESYNC
        while time.monotonic() < until:
            self._heard = int(time.time())
            lines = self._lines()
            if not lines:
                return
            events = [self._decoded(line, _Line).event() for line in lines]
            found = self.look(dict.fromkeys(about for event in events if (about := self._state.about(event))))
            for event in events:
                yield from self._state.tell(event, found.get(self._state.about(event)))

    def networks(self) -> tuple[Network, ...]:
        """All networks."""
        return self._state.networks

    def ended(self, container_id: str) -> int:
        """When a container ended that is still known, but does not run."""
        return self._state.ended(container_id)

    def stopped(self) -> dict[str, int]:
        """When those that have ended did."""
        rows = self._ask(["ps", "--format", "json", "--no-trunc", "--filter", "status=exited"], list[_Row])
        return self._state.stopped(row.id for row in rows)

    def look(self, identities: Iterable[str]) -> dict[str, Inspected]:
        """Containers by ID, looked at together."""
        wanted = list(identities)
        if not wanted:
            return {}
        found = self._ask(["inspect", "--type", "container", *wanted], list[Inspected], some=True)
        return {one.id: one for one in found}

    def read_networks(self) -> tuple[Network, ...]:
        """All networks, asked for."""
        names = self._run(["network", "ls", "--quiet"]).decode(errors="replace").split()[:MAX_NETWORKS]
        found = self._ask(["network", "inspect", *names], list[PodmanNetwork], some=True) if names else []
        return tuple(one.plain(self.runtime, self._events.pid if self._events else 0) for one in found)

    def pod_name(self, identity: str) -> str:
        """The name of a pod."""
        if identity not in self._pods:
            told = self._run(["pod", "ps", "--no-trunc", "--format", "{{.ID}} {{.Name}}"]).decode(errors="replace")
            self._pods |= dict(line.split(maxsplit=1) for line in told.splitlines() if len(line.split()) == 2)
        return self._pods.get(identity, "")

    def wake(self) -> None:
        """Nothing: its events come by themselves."""

    def interrupt(self) -> None:
        """End what waits."""
        self._closed.set()
        self._end()

    def close(self) -> None:
        """End the listening."""
        self.interrupt()
        self._close_events()

    def _listen(self) -> None:
        self._end()
        self._close_events()
        if self._closed.is_set():
            raise self._away("the client is closed")
        bound = (*_BOUND, str(os.getpid())) if shutil.which("setpriv") else ()
        since = ("--since", str(self._heard or int(time.time())))
        command = [*bound, *self._command, "events", "--format", "json", *_FILTERS, *since]
        try:
            self._events = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise self._not_run(error) from error
        self._rest = b""

    def _lines(self) -> list[bytes]:
        """The next events: all that are there; none where none came for long."""
        assert self._events
        assert self._events.stdout
        fd = self._events.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([fd], [], [], self._quiet)
            if not ready:
                return []
            read = os.read(fd, 1 << 16)
            if not read or len(self._rest) > _EVENT_MAX:
                self._state.forget()
                self._heard = 0
                raise self._away("its events have ended" if not read else "an event has no end")
            self._rest += read
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def _end(self) -> None:
        if self._events:
            with contextlib.suppress(ProcessLookupError):
                self._events.kill()
            self._events.wait()

    def _close_events(self) -> None:
        if self._events and self._events.stdout:
            self._events.stdout.close()

    def _ask(self, arguments: Sequence[str], kind: type[T], *, some: bool = False) -> T:
        return self._decoded(self._run(arguments, some=some), kind)

    def _run(self, arguments: Sequence[str], *, some: bool = False) -> bytes:
        """What a command prints. ``some``: also where it fails, for some of what it was asked for is not there any more."""
        if self._closed.is_set():
            raise self._away("the client is closed")
        try:
            done = subprocess.run(
                [*self._command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_CALL_TIMEOUT, check=False
            )
        except OSError as error:
            raise self._not_run(error) from error
        except subprocess.TimeoutExpired as error:
            raise self._away(f"'{arguments[0]}' takes more than {_CALL_TIMEOUT:g} s") from error
        if done.returncode and not (some and done.stdout):
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise self._away(said[-1] if said else f"'{arguments[0]}' ends with status {done.returncode}")
        if len(done.stdout) > _ANSWER_MAX:
            raise self._away(f"its answer to '{arguments[0]}' has more than {_ANSWER_MAX >> 20} MiB")
        return done.stdout

    def _decoded(self, text: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._away(f"what it prints cannot be read: {error}") from error

    def _not_run(self, error: OSError) -> RuntimeAwayError:
        away = self._away(error.strerror)
        return NotRunningError(str(away)) if isinstance(error, FileNotFoundError) else away

    def _away(self, why: object) -> RuntimeAwayError:
        return RuntimeAwayError(f"{' '.join(self._command)}: {why}")
