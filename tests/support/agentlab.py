"""A real ``python -m skytrail agent``: started on a free port, asked over HTTP, ended by its process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.netlab import End, Net, until
from support.ports import free_port

_READY_SECONDS = 30.0  # bcc compiles first
Flow = dict[str, Any]


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels."""
        return sum(sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums by one label's values."""
        found: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels[label]] = found.get(sample.labels[label], 0) + sample.value
        return found


class Agent:
    """One agent process.

    Args:
        folder: for its state and log.
        options: of the command line.
        settings: by dotted key.
        netns: where it runs.
    """

    def __init__(
        self, folder: Path, options: Sequence[str] = (), settings: Mapping[str, str] | None = None, netns: str = ""
    ) -> None:
        self._folder, self._options = folder, list(options)
        self._enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
        self.port = free_port()
        self._settings = {"state_dir": str(folder / "state"), "agent.listen": f"127.0.0.1:{self.port}", **(settings or {})}
        self.process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, ready: bool = True) -> Agent:
        """Start it, and wait until it says that it is ready."""
        self._folder.mkdir(exist_ok=True)
        settings = [word for key, value in self._settings.items() for word in ("--set", f"{key}={value}")]
        command = [*self._enter, sys.executable, "-m", "skytrail", "agent", "-v", *self._options, *settings]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if ready:
            until(self._is_ready, _READY_SECONDS)
        return self

    def log(self) -> str:
        """What it wrote so far."""
        return (self._folder / "log").read_text()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/readyz") != b""
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read() + self.log().encode()[-2000:]) from error
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> bytes:
        """The body of an answer."""
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            body: bytes = answer.read()
        return body

    def flows(self, filter: str = "", **query: str) -> list[Flow]:  # noqa: A002 - the name in the URL
        """``/api/v1/flows``."""
        arguments = {**({"filter": filter} if filter else {}), **query}
        found: list[Flow] = json.loads(self.get(f"/api/v1/flows?{urllib.parse.urlencode(arguments)}"))
        return found

    def wait_flows(self, count: int, filter: str = "", seconds: float = 10.0) -> list[Flow]:  # noqa: A002 - as above
        """The flows that a filter gives, once there are so many."""

        def enough() -> list[Flow]:
            found = self.flows(filter)
            assert len(found) == count, f"{len(found)} flows, not {count}: {[brief(flow) for flow in found]}"
            return found

        return until(enough, seconds)

    def metrics(self) -> Metrics:
        """``/metrics``."""
        return Metrics(self.get("/metrics").decode())

    def status(self) -> dict[str, Any]:
        """``/api/status``."""
        found: dict[str, Any] = json.loads(self.get("/api/status"))
        return found

    def points(self, prefix: str = "") -> dict[tuple[str, str], str]:
        """How each capture point (namespace, interface) whose interface's name begins so is attached."""
        return {
            (point["namespace"], point["interface"]): point["attach"]
            for point in self.status()["capture_points"]
            if point["interface"].startswith(prefix)
        }

    def wait_point(self, namespace: str, interface: str, seconds: float = 1.0) -> None:
        """Wait until an interface is captured."""
        until(lambda: (namespace, interface) in self.points(), seconds)

    def rss(self) -> int:
        """Resident memory, bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> float:
        """SIGKILL; returns when, as time.monotonic()."""
        self.process.kill()
        when = time.monotonic()
        self.process.wait()
        return when

    def stop(self) -> None:
        """SIGTERM; it must end in good order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(40) == 0, self.log()  # after 10 s it says in its log where it is

    def close(self) -> None:
        """End it, however it is."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


StartAgent = Callable[..., Agent]
"""The fixture ``start_agent``."""


def assert_hooks_saw_what_the_interface_counted(agent: Agent, net: Net, end: End) -> None:
    """Packets at the hooks = the interface's own counters, each way."""

    def equal() -> bool:
        metrics = agent.metrics()
        seen = metrics.by("skytrail_capture_skbs_total", "direction", device=end.interface, netns=end.netns)
        assert (seen["receive"], seen["transmit"]) == net.packets(end)
        return True

    until(equal)


def brief(flow: Flow) -> str:
    """One flow on one line, for messages."""
    network, transport = flow.get("Network", flow.get("Link", {})), flow.get("Transport", {})
    ends = [f"{network.get(side)}:{transport.get(side)}" for side in "AB"]
    where = f"{flow['Namespace']}/{flow['Interface']}"
    return f"{where} {flow['LayersPath']} {' '.join(ends)} {flow['Metric']['ABPackets']}/{flow['Metric']['BAPackets']}"
