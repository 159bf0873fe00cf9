"""The laboratory of two hosts, whose hubs and agents are started, ended, paused and cut off one by one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lab import janusgraph

from skytrail.lab.build import MANAGEMENT, build, plan_of, remove
from skytrail.lab.places import entering, environment, node_folder, run, run_lines
from skytrail.lab.plan import Place, Plan
from skytrail.lab.processes import end, only_child
from skytrail.lab.state import Lab, locked
from skytrail.pki import Authority
from support.chaos.counters import Counters
from support.chaos.relay import Relay
from support.needs import missing, root, tool
from support.netlab import until
from support.ports import free_port

NODES = ("h1", "h2")
READY_SECONDS = 60.0
_COUNTED = {"h1": ("a1", "a2", "eth0"), "h2": ("b1", "b2", "eth0")}
DRAIN = 1.0
"""Seconds, as the agents are told: flow.drain."""

_UPDATE = 10.0
_HTTP = "http://127.0.0.1:8081"
_WIRE = 8083
_DISK = "96m"  # the log of the embedded store alone may take 40


@dataclass
class Run:
    """One life of a process; ns since the epoch by the true clock, 0: not yet.

    Attributes:
        shift: ns that its clock is ahead.
        spawned: before it was started.
        ready: after it said that it is.
        ending: before it was told to end, or killed.
        ended: after it was gone.
        killed: by SIGKILL.
    """

    shift: int
    spawned: int
    ready: int = 0
    ending: int = 0
    ended: int = 0
    killed: bool = False


@dataclass
class Part:
    """A process.

    Args:
        name: for messages.
        command: gives program and arguments.
        log: what it writes is appended there.
        is_ready: whether it is; given what it has written since its start.
        inside: it runs in a node, as the child of who entered there.
    """

    name: str
    command: Callable[[], list[str]]
    log: Path
    is_ready: Callable[[str], bool]
    inside: bool = False
    runs: list[Run] = field(default_factory=list)
    pauses: list[tuple[int, int]] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _logged: int = 0
    _paused: int = 0

    @property
    def pid(self) -> int:
        """As this machine numbers it."""
        assert self._process is not None
        if not self.inside:
            return self._process.pid
        child = only_child(self._process.pid)
        assert child is not None, f"{self.name} has ended: {self.said()[-500:]}"
        return child

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """What it has written since its start."""
        with self.log.open("rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace")

    def start(self, shift: float = 0.0) -> None:
        """Start it, its clock so many seconds ahead."""
        self.log.touch()
        self._logged = self.log.stat().st_size
        fake = _ahead(shift) if shift else []
        enter, words = self._split()
        self.runs.append(Run(int(shift * 1e9), time.time_ns()))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*enter, *fake, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(), **({} if self.inside else {"SKYTRAIL_CONFIG": ""})},
                cwd="/",
                start_new_session=True,
            )

    def _split(self) -> tuple[list[str], list[str]]:
        words = self.command()
        at = words.index(sys.executable)
        return words[:at], words[at:]

    def wait_ready(self) -> None:
        """Raises AssertionError: it has ended, or takes too long."""

        def ready() -> bool:
            if not self.alive:
                raise RuntimeError(f"{self.name} has ended by itself: {self.said()[-1500:]}")
            return self.is_ready(self.said())

        until(ready, READY_SECONDS)
        self.runs[-1].ready = time.time_ns()

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self.runs[-1].killed = True
        pid = self.pid
        self.runs[-1].ending = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self.runs[-1].ended = time.time_ns()

    def stop(self) -> None:
        """SIGTERM: it must end in good order."""
        assert self._process is not None
        pid = self.pid
        self.runs[-1].ending = time.time_ns()
        os.kill(pid, signal.SIGTERM)
        status = self._process.wait(60)
        self.runs[-1].ended = time.time_ns()
        assert status == 0, f"{self.name} ended with {status}: {self.said()[-1500:]}"

    def pause(self) -> None:
        """SIGSTOP."""
        self._paused = time.time_ns()
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; who entered for it stopped with it."""
        assert self._process is not None
        pid = self.pid
        os.kill(self._process.pid, signal.SIGCONT)
        os.kill(pid, signal.SIGCONT)
        self.pauses.append((self._paused, time.time_ns()))

    def close(self) -> None:
        """End it, however it is."""
        if self._process is not None and self.alive:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait(30)

    def rss(self) -> int:
        """Bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ahead(seconds: float) -> list[str]:
    """The words before a command whose clock is to be so many seconds ahead."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime is not installed (package libfaketime)")
    fake = f"LD_PRELOAD={found[0]} FAKETIME={seconds:+.0f} FAKETIME_DONT_FAKE_MONOTONIC=1"
    # What a killed process leaves there stops the next one of the same number.
    return ["sh", "-c", f'rm -f /dev/shm/*faketime*; exec env {fake} "$@"', "sh"]


class Disk:
    """A small file system."""

    def __init__(self, place: Path) -> None:
        self.place, self._ballast = place, place / "ballast"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(place)], check=True)

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("ab") as ballast, contextlib.suppress(OSError):
            while True:
                os.write(ballast.fileno(), bytes(4096))

    def empty(self) -> None:
        self._ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False)


@dataclass
class Hub:
    """A hub, its disk, where it is asked, and its way to the store."""

    part: Part
    disk: Disk
    url: str
    relay: Relay | None = None

    def get(self, path: str) -> Any:
        """The JSON of an answer. Raises OSError, ValueError."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        """Whether it serves, whatever it waits for."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@dataclass
class Chaos:
    """All of it.

    Attributes:
        counters: of interfaces of each node, from before its agent's start.
        server: JanusGraph, where it is the store.
    """

    lab: Lab
    plan: Plan
    hubs: list[Hub]
    agents: dict[str, Part]
    counters: dict[str, Counters]
    server: janusgraph.Server | None = None

    @property
    def parts(self) -> list[Part]:
        return [*(hub.part for hub in self.hubs), *self.agents.values()]

    def in_management(self, *lines: str) -> None:
        """Lines of shell where all nodes and this machine meet."""
        run_lines(self.lab, Place(MANAGEMENT), lines)

    def in_node(self, node: str, *lines: str) -> None:
        run_lines(self.lab, Place(node), lines)

    def ask(self, node: str, path: str) -> tuple[Any, Mapping[str, str]]:
        """An agent's answer, and its headers."""
        words = ["curl", "-sgf", "-D", "/run/skytrail/headers", f"{_HTTP}{path}"]
        status, said = run(self.lab, Place(node), words)
        assert status == 0, f"the agent of {node} does not answer {path}: {said[-300:]}"
        lines = (node_folder(self.lab, node) / "headers").read_text().splitlines()
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        return json.loads(said), {key.lower(): value for key, value in headers.items()}

    def check(self) -> None:
        """Raises RuntimeError: one has ended by itself."""
        for part in self.parts:
            if part.runs and not part.runs[-1].ending and not part.alive:
                raise RuntimeError(f"{part.name} has ended by itself: {part.said()[-1500:]}")


@contextlib.contextmanager
def chaos(folder: Path, store: str = "embedded") -> Iterator[Chaos]:
    """Build it, with everything running; ``store``: embedded, or janusgraph with two hubs on it.

    Args:
        folder: for the store's files.
        store: which.
    """
    root()
    tool("bpftool", "bpftool")
    name = f"hg{secrets.token_hex(3)}"
    with contextlib.ExitStack() as closers:
        server = None
        if store == "janusgraph":
            server = janusgraph.Server(janusgraph.demand(), folder / "server", "berkeleyje")
            closers.callback(server.kill)
            server.start()
        closers.callback(_remove, name)
        with locked(name) as lock:
            lab = build(name, "two-hosts", lock, lambda _: None)
        end([lab.folder / "hub/hub.pid"])
        made = Chaos(lab, plan_of(lab), [], {}, {}, server)
        for number in range(2 if server else 1):
            made.hubs.append(_hub(made, number, closers))
        for node in NODES:
            made.agents[node] = _agent(made, node)
            closers.callback(made.agents[node].close)
            made.counters[node] = Counters(lab, node, _COUNTED[node])
            closers.callback(made.counters[node].stop)
        for part in made.parts:
            part.start()
        for part in made.parts:
            part.wait_ready()
        yield made


def _remove(name: str) -> None:
    with locked(name):
        remove(name)


def _hub(made: Chaos, number: int, closers: contextlib.ExitStack) -> Hub:
    lab = made.lab
    folder = lab.folder / "hub"
    settings = yaml.safe_load((folder / "skytrail.yaml").read_text())
    disk = Disk(lab.folder / f"disk{number}")
    closers.callback(disk.close)
    settings["state_dir"] = str(disk.place / "state")
    settings["hub"]["listen"] = f"127.0.0.1:{free_port()}"  # others take the laboratory's own while nobody listens there
    if number:
        address = lab.management(1 + number)
        subprocess.run(["ip", "address", "add", f"{address}/24", "dev", lab.link], check=True)
        certificate = Authority(lab.folder / "pki").hub([address])
        settings |= {"host_id": f"{lab.name}-hub{number}"}
        settings["hub"]["wire"] = f"{address}:{_WIRE}"
        settings["wire"] |= {"tls_cert": str(certificate), "tls_key": str(certificate.with_suffix(".key"))}
    relay = None
    if made.server:
        relay = Relay(made.server.port)
        closers.callback(relay.close)
        url = f"ws://127.0.0.1:{relay.port}/gremlin"
        settings["topology"] = {"store": "janusgraph", "janusgraph": {"url": url, "timeout": 10}}
    config = folder / f"chaos{number}.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "skytrail", "hub", "--config", str(config)]
    hub = Hub(Part(f"hub{number}", lambda: command, folder / f"chaos{number}.log", lambda _: False), disk, "", relay)
    hub.url = f"http://{settings['hub']['listen']}"
    hub.part.is_ready = lambda _: hub.answers()
    closers.callback(hub.part.close)
    return hub


def _agent(made: Chaos, node: str) -> Part:
    """The one that the laboratory has started is ended, and what it knew forgotten."""
    lab, folder = made.lab, node_folder(made.lab, node)
    ending = "pid=$(cat /run/skytrail/agent.pid); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done"
    made.in_node(node, ending, "rm -r /run/skytrail/state", "mount -t tmpfs lab /dev/shm")
    config = folder / "skytrail.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["agent"]["hubs"] = [f"{lab.management(1 + number)}:{_WIRE}" for number in range(len(made.hubs))]
    settings["flow"] |= {"drain": DRAIN, "update": _UPDATE}
    config.write_text(yaml.safe_dump(settings))

    def command() -> list[str]:
        return [*entering(lab, Place(node)), sys.executable, "-m", "skytrail", "-v", "agent"]

    return Part(f"agent of {node}", command, folder / "chaos.log", lambda said: '"event": "ready"' in said, inside=True)
