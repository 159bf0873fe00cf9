"""Images, really built by dockerd on a bare Debian, and run: a hub that is nobody, an agent with its capabilities alone."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import debian
from lab.containers import Dockerd
from support.netlab import until
from support.ports import free_ports

from skytrail.kernel.capabilities import effective
from skytrail.privileges import NEEDS, needed

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1500), pytest.mark.usefixtures("long")]

REPOSITORY = Path(__file__).parents[2]
OWN = "/proc/self/ns/net"
"""The namespace of these tests: images are built with its way to package registries."""
STRICT = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host", "--tmpfs", "/tmp"]
READY = 120.0


class Builder(Dockerd):
    """With a storage that shares layers."""

    def command(self) -> list[str]:
        return [word.replace("=vfs", "=overlay2") for word in super().command()]

    def knows(self, capability: str) -> bool:
        """Docker before 23 does not know the latest; CAP_SYS_ADMIN includes them."""
        tried = self._run("run", "--rm", "--network", "host", "--cap-add", capability, "skytrail-hub:1", "--version")
        assert tried.returncode == 0 or "unknown capability" in tried.stderr, tried.stderr
        return tried.returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = ["docker", "-H", f"unix://{self.socket}"]
        return subprocess.run(
            [*program, *arguments], env={**os.environ, "DOCKER_BUILDKIT": "0"}, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    if not os.environ.get("DEPLOY_LONG"):
        pytest.skip("long: 'make deploy' runs it")
    folder = tmp_path_factory.mktemp("docker")
    root = debian.unpacked(folder / "root")
    variables = [f"ENV {name}={value}" for name, value in debian.environment().items()]
    with Builder(folder / "daemon", OWN) as daemon:
        packed = folder / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], check=True)
        daemon.run("import", *(word for one in variables for word in ("--change", one)), str(packed), "lab/debian:1")
        packed.unlink()
        for target in ("agent", "hub"):
            base = ["--build-arg", "BASE=lab/debian:1", "--network", "host", "--target", target]
            file = ["-f", str(REPOSITORY / "deploy/docker/Dockerfile")]
            daemon.run("build", "--quiet", *base, *file, "-t", f"skytrail-{target}:1", str(REPOSITORY))
        yield daemon


def shared(path: str) -> bool:
    """Whether what is mounted below later is passed on, as it is where systemd booted the machine."""
    command = ["findmnt", "--noheadings", "--output", "PROPAGATION", "--target", path]
    return "shared" in subprocess.run(command, capture_output=True, text=True).stdout


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.loads(answer.read())


def answers(port: int) -> bool:
    try:
        return bool(ask(port, "/readyz")["ready"])
    except OSError:
        return False


def test_images_run_as_they_are_meant_to(docker: Builder) -> None:
    agent, hub, wire = free_ports(3)
    listen = ["--listen", f"127.0.0.1:{hub}", "--wire", f"127.0.0.1:{wire}", "--set", "host_id=hub"]
    try:
        docker.run("run", "-d", "--name", "hub", *STRICT, "-v", "/var/lib/skytrail", "skytrail-hub:1", "hub", *listen)
        until(lambda: answers(hub), READY, 0.5)
        status = Path(f"/proc/{docker.inspect('hub')['State']['Pid']}/status")
        assert status.read_text().split("\nUid:")[1].split("\n")[0].split() == ["65532"] * 4
        assert effective(status) == frozenset()

        granted = {need.name for need in NEEDS} - (set() if docker.knows("BPF") else {"bpf", "perfmon"})
        capabilities = [word for name in sorted(granted) for word in ("--cap-add", name.upper())]
        mounts = [
            "-v",
            f"/run:/run:{'ro,rslave' if shared('/run') else 'ro'}",
            "-v",
            "/sys/fs/cgroup:/sys/fs/cgroup:ro",
            "-v",
            "/var/lib/skytrail",
        ]
        mounts += ["-v", "/etc/machine-id:/etc/machine-id:ro", "--pid", "host", "--security-opt", "apparmor=unconfined"]
        reports = ["--hub", f"127.0.0.1:{wire}", "--listen", f"127.0.0.1:{agent}", "--interfaces", "lo"]
        words = [*STRICT, *capabilities, *mounts, "skytrail-agent:1", "agent", *reports]
        docker.run("run", "-d", "--name", "agent", *words)
        until(lambda: answers(agent), READY, 0.5)
        tasks = Path(f"/proc/{docker.inspect('agent')['State']['Pid']}/task")
        assert {effective(task / "status") for task in tasks.iterdir()} == {needed(others=True) & granted}
        until(lambda: ask(agent, "/api/v1/flows"), 30)
        until(lambda: any(node["Metadata"]["Type"] == "host" for node in ask(hub, "/api/v1/graph")["Nodes"]), 30)
        assert ask(agent, "/api/v1/sockets")
    finally:
        print(docker._run("logs", "hub").stderr[-3000:], docker._run("logs", "agent").stderr[-3000:])
    docker.run("stop", "-t", "30", "agent", "hub")
    assert [docker.inspect(name)["State"]["ExitCode"] for name in ("agent", "hub")] == [0, 0]
