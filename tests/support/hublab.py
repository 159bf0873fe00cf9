"""A real ``python -m skytrail up``: started on free ports with a state of its own, asked for its graph over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from support.netlab import in_netns, until
from support.ports import free_port

_READY_SECONDS = 60.0
_NO_INTERFACE = "no-such-if"
Json = dict[str, Any]


def now_us() -> int:
    """µs since the epoch, as the hub's clock counts them."""
    return time.time_ns() // 1000


def moment(when: int) -> str:
    """µs since the epoch as ``at=`` takes them."""
    return f"{when // 1_000_000}.{when % 1_000_000:06}"


class Hub:
    """One process that is agent and hub. It captures nothing, and sees every namespace of the machine.

    Args:
        folder: for its state and log.
        settings: by dotted key.
        netns: where it runs.
        command: ``up``, or ``hub``, which takes the reports of agents at ``wire``.
        enter: words before the command: what runs it.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        netns: str = "",
        command: str = "up",
        enter: Sequence[str] = (),
    ) -> None:
        self._enter = enter
        self._folder, self._netns, self._command = folder, netns, command
        self.wire = free_port()
        self.port = free_port()
        self.state = folder / "state"
        self._settings = {
            "state_dir": str(self.state),
            "agent.listen": f"127.0.0.1:{free_port()}",
            "hub.listen": f"127.0.0.1:{self.port}",
            "hub.wire": f"127.0.0.1:{self.wire}",
            "flow.interfaces": _NO_INTERFACE,
            "topology.linkers": "[]",  # they add edges to what probes see
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes]

    def start(self, *, ready: bool = True) -> Hub:
        """Start it, and wait until it says that its graph is whole."""
        self._folder.mkdir(exist_ok=True)
        settings = [word for key, value in self._settings.items() for word in ("--set", f"{key}={value}")]
        enter = ["nsenter", f"--net=/run/netns/{self._netns}"] if self._netns else []
        command = [*self._enter, *enter, sys.executable, "-m", "skytrail", self._command, "-v", *settings]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if ready:
            until(self._is_ready, _READY_SECONDS)
        return self

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            status, body = self.ask("/readyz")
        except (OSError, HTTPException):
            return False
        assert status == 200, body
        return True

    def log(self) -> str:
        """What it wrote so far."""
        return (self._folder / "log").read_text()

    def connect(self) -> HTTPConnection:
        """A connection to it, from where it runs."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)

        def open_socket() -> socket.socket:
            return socket.create_connection(("127.0.0.1", self.port), 30)

        connection.sock = in_netns(self._netns, open_socket) if self._netns else open_socket()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as http.client sets it itself
        return connection

    def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str, **query: str) -> Any:
        """The JSON of an answer, which must be 200."""
        status, body = self.ask(f"{path}?{urllib.parse.urlencode(query)}" if query else path)
        assert status == 200, (path, query, status, body)
        return json.loads(body)

    def post(self, path: str, body: Json) -> bytes:
        """The answer to JSON, which must be 200."""
        connection = self.connect()
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            found = answer.read()
            assert answer.status == 200, (path, body, answer.status, found)
            return found
        finally:
            connection.close()

    def graph(self, at: int | None = None) -> Json:
        """``/api/v1/graph``, now or at a moment (µs since the epoch)."""
        found: Json = self.get("/api/v1/graph", **({} if at is None else {"at": moment(at)}))
        return found

    def diff(self, begin: int, end: int) -> list[Json]:
        """``/api/v1/diff`` of two moments (µs since the epoch)."""
        found: list[Json] = self.get("/api/v1/diff", **{"from": moment(begin), "to": moment(end)})
        return found

    def status(self) -> Json:
        """``/api/status``."""
        found: Json = self.get("/api/status")
        return found

    def rss(self) -> int:
        """Resident memory of the process and of its children, bytes."""
        pids = [self.process.pid, *(int(pid) for pid in self._children())]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _children(self) -> list[str]:
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [pid for task in tasks for pid in (task / "children").read_text().split()]

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM; it must end in good order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(15) == 0, self.log()

    def restart(self) -> Hub:
        """Kill it, and start it again on the same state."""
        self.kill()
        return self.start()

    def close(self) -> None:
        """End it, however it is."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()
