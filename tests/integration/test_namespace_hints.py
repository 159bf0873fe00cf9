"""Namespaces without a name are followed as they come, by the kernel's hints: without waiting for a scan of /proc."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.agentlab import Metrics, StartAgent
from support.hublab import Hub
from support.needs import root
from support.netlab import Net, unnamed_netns, until
from support.ports import free_port
from support.programs import held_by, loaded

from exporters.bpf.namespaces import NamespaceHints
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.linktable import Event, NamespaceFound
from skytrail.kernel.worker import NamespaceWorker

NEVER = 1e6
PROGRAMS = {"created", "entered"}
Unnamed = Callable[[], tuple[int, "subprocess.Popen[str]"]]


@pytest.fixture
def unnamed() -> Iterator[Unnamed]:
    """Start a process in a namespace of its own; its inode, and the process."""
    root()
    made = []

    def start() -> tuple[int, subprocess.Popen[str]]:
        made.append(unnamed_netns())
        return Path(f"/proc/{made[-1].pid}/ns/net").stat().st_ino, made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()


def hints_of(hub: Hub) -> dict[int, str]:
    """The programs that give a hub's agent its hints, id and name."""
    held = held_by(hub.process.pid)
    return {number: name for number, name in loaded().items() if number in held and name in PROGRAMS}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Hub, Callable[[], Metrics]]]:
    """A hub in one process with an agent, and the agent's metrics."""
    root()
    address = f"127.0.0.1:{free_port()}"
    made = Hub(tmp_path / "hub", {"agent.listen": address})

    def metrics() -> Metrics:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return Metrics(answer.read().decode())

    made.start()
    until(lambda: set(hints_of(made).values()) == PROGRAMS)  # the hub is ready before its agent is
    yield made, metrics
    made.close()


def test_watcher_that_scans_never_again_finds_each_new_namespace_by_hints(unnamed: Unnamed) -> None:
    found: set[int] = set()

    def take(events: Sequence[Event]) -> None:
        found.update(event.namespace.inode for event in events if isinstance(event, NamespaceFound))

    worker = NamespaceWorker()
    watcher = LinkWatcher(take, worker, every_namespace=True, scan_interval=NEVER)
    hints = NamespaceHints(watcher.hint)
    watcher.start()
    try:
        assert watcher.wait_synced(10)
        unheard, _ = unnamed()
        hints.start()
        until(lambda: unheard in found)
        for _ in range(5):
            inode, _ = unnamed()
            assert until(lambda inode=inode: inode in found)
    finally:
        hints.stop()
        watcher.stop()
        worker.close()


def test_namespace_is_in_the_graph_of_up_by_hints(hub: tuple[Hub, Callable[[], Metrics]], unnamed: Unnamed) -> None:
    running, metrics = hub
    for _ in range(8):  # by scans alone, each would wait for the next one
        before = metrics().value("skytrail_namespace_hints_total")
        inode, _ = unnamed()

        until(lambda inode=inode: inode in {node["Metadata"].get("Inode") for node in running.graph()["Nodes"]})

        assert metrics().value("skytrail_namespace_hints_total") > before


def test_killed_up_leaves_no_program_of_hints(hub: tuple[Hub, Callable[[], Metrics]]) -> None:
    running, _ = hub
    before = hints_of(running)

    running.kill()

    assert until(lambda: not loaded().keys() & before.keys())


def test_agent_captures_in_a_namespace_without_a_name(net: Net, start_agent: StartAgent, unnamed: Unnamed) -> None:
    agent = start_agent()
    before = agent.metrics().value("skytrail_namespace_hints_total")
    _, process = unnamed()
    one, other = net.name("a"), net.name("b")
    into = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "link"]
    subprocess.run([*into, "add", one, "type", "veth", "peer", "name", other], check=True)
    for name in (one, other):
        subprocess.run([*into, "set", name, "up"], check=True)

    until(lambda: len(agent.points()) == 2)

    assert agent.metrics().value("skytrail_namespace_hints_total") > before
