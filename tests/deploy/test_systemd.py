"""systemd itself, process 1 of a bare Debian in namespaces of its own, runs the units as they are: hardened, both work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import debian
from support.netlab import until

from skytrail.kernel.capabilities import effective
from skytrail.privileges import needed

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1200), pytest.mark.usefixtures("long")]

REPOSITORY = Path(__file__).parents[2]
INSTALL = """
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv libbpf1 systemd iproute2 iputils-ping > /dev/null
python3 -m venv /opt/skytrail
/opt/skytrail/bin/pip install --quiet "skytrail[otlp,wire,ovs] @ file://$(echo /root/*.whl)"
mkdir -p /etc/sysusers.d /etc/skytrail
cp /root/systemd/skytrail.sysusers /etc/sysusers.d/skytrail.conf
systemd-sysusers
cp /root/systemd/*.service /etc/systemd/system
echo '{}' > /etc/skytrail/hub.yaml
chgrp skytrail /etc/skytrail/hub.yaml
chmod 640 /etc/skytrail/hub.yaml
echo '{flow: {interfaces: [lo], netns: all}, agent: {hubs: ["127.0.0.1:8083"]}}' > /etc/skytrail/skytrail.yaml
systemctl enable skytrail-agent skytrail-hub
"""


class Booted:
    """The machine."""

    def __init__(self, root: Path, log: Path) -> None:
        with log.open("wb") as out:
            command = [str(REPOSITORY / "tests/lab/booted.sh"), str(root)]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        self.init = 0
        try:
            self.init = until(self._find, 30)
        except BaseException:
            self.end()
            raise

    def _find(self) -> int:
        """The process that is its first; 0: not yet."""
        grandchildren = (one for child in self._children(self._process.pid) for one in self._children(child))
        return next((one for one in grandchildren if Path(f"/proc/{one}/comm").read_text() == "systemd\n"), 0)

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def run(self, *command: str) -> str:
        """What a program prints that runs there."""
        enter = ["nsenter", "-t", str(self.init), "-m", "-p", "-n", "-u", "-i", "-C"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60)
        return done.stdout

    def ask(self, port: int, path: str) -> Any:
        script = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}{path}').read().decode())"
        answer = self.run("/opt/skytrail/bin/python3", "-c", script)
        assert answer, f"{path}: no answer"
        return json.loads(answer)

    def pid(self, unit: str) -> int:
        """A unit's process, as this host numbers it."""
        inside = self.run("systemctl", "show", "--value", "--property=MainPID", unit).strip()
        found = [path for path in Path("/proc").glob("[0-9]*/status") if self._is(path, inside)]
        return int(found[0].parent.name)

    def _is(self, status: Path, inside: str) -> bool:
        try:
            numbers = status.read_text().split("NSpid:")[1].split("\n")[0].split()
            ours = (status.parent / "ns/pid").readlink() == Path(f"/proc/{self.init}/ns/pid").readlink()
        except OSError:
            return False
        return ours and numbers[-1] == inside

    def end(self) -> None:
        """End it, and all that is in it."""
        if self.init:
            os.kill(self.init, signal.SIGKILL)
        else:
            self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def machine(tmp_path: Path, long: None) -> Iterator[Booted]:
    root = debian.unpacked(tmp_path / "root")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(root / "root"), str(REPOSITORY)]
    subprocess.run(wheel, check=True)
    shutil.copytree(REPOSITORY / "deploy/systemd", root / "root/systemd")
    done = debian.run(root, INSTALL)
    assert done.returncode == 0, done.stderr
    made = Booted(root, tmp_path / "log")
    yield made
    made.end()


def test_both_run_as_their_units_say(machine: Booted) -> None:
    until(lambda: machine.ask(8081, "/readyz")["ready"] and machine.ask(8082, "/readyz")["ready"], 120, 1)
    agent, hub = (Path(f"/proc/{machine.pid(f'skytrail-{name}')}") for name in ("agent", "hub"))
    assert {effective(task / "status") for task in (agent / "task").iterdir()} == {needed(others=True)}
    assert effective(hub / "status") == frozenset()
    for one in (agent, hub):
        said = (one / "status").read_text()
        assert "NoNewPrivs:\t1" in said
        assert "Seccomp:\t2" in said

    machine.run("ip", "netns", "add", "inner")
    machine.run("ip", "-n", "inner", "link", "set", "lo", "up")

    def pinged() -> bool:
        machine.run("ip", "netns", "exec", "inner", "ping", "-c", "1", "127.0.0.1")
        points = machine.ask(8081, "/api/status")["capture_points"]
        assert "inner" in {point["namespace"] for point in points}
        return any(flow["Application"] == "ICMPv4" for flow in machine.ask(8081, "/api/v1/flows"))

    until(pinged, 30, 0.5)
    names = lambda: {node["Metadata"]["Name"] for node in machine.ask(8082, "/api/v1/graph")["Nodes"]}  # noqa: E731
    until(lambda: "inner" in names(), 30, 0.5)
    assert machine.ask(8081, "/api/v1/sockets")

    machine.run("systemctl", "kill", "--signal=KILL", "skytrail-agent")
    until(lambda: machine.ask(8081, "/readyz")["ready"], 60, 1)  # systemd starts it again
    assert (agent / "status").exists() is False
    assert machine.run("systemctl", "stop", "skytrail-agent", "skytrail-hub") == ""
    told = machine.run("systemctl", "show", "--value", "--property=Result", "skytrail-agent", "skytrail-hub").split()
    assert told == ["success", "success"]
