"""Daemons that systemd would start for whoever connects: we are not who does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from lab.containers import Containerd, Dockerd
from support.activator import Activator, program_of, systemds
from support.needs import root, tool
from support.netlab import NETNS, until

import skytrail
from skytrail.runtimes import client as followed
from skytrail.runtimes import containerdevents
from skytrail.runtimes.activation import Activation, refused
from skytrail.runtimes.client import EndpointStatus, RuntimesClient
from skytrail.runtimes.endpoints import Endpoint, Protocol

_WAITS = "it does not run; systemd would start it for whoever connects"
_LOOKS = 4
_GONE = 0.3


def test_only_systemd_listens(tmp_path: Path) -> None:
    activation, place = Activation(), tmp_path / "with space"
    with systemds(place, "sleep", "100") as process:
        (tmp_path / "link").symlink_to(place)
        assert activation.waits(str(place))
        assert activation.waits(str(tmp_path / "link"))
        with socket.socket(socket.AF_UNIX) as person:
            person.connect(str(place))
            until(lambda: program_of(process) == "sleep")
        assert not activation.waits(str(place))
        assert not activation.waits(str(place))  # what it knows by then holds

    assert not activation.waits(str(place))
    assert refused(str(place))


def test_systemd_and_a_daemon_listen(tmp_path: Path) -> None:
    with Activator(tmp_path, tmp_path / "s", ["sleep", "100"]) as manager, socket.socket(socket.AF_UNIX) as person:
        activation = Activation()
        assert activation.waits(str(tmp_path / "s"))
        person.connect(str(tmp_path / "s"))
        until(lambda: manager.started)
        until(lambda: not activation.waits(str(tmp_path / "s")))


def test_somebody_listens_or_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "s"))
        assert refused(str(tmp_path / "s"))
        own.listen()
        assert not refused(str(tmp_path / "s"))
        assert not Activation().waits(str(tmp_path / "s"))
    assert refused(str(tmp_path / "none"))
    assert not refused(str(tmp_path / ("s" * 200)))
    assert not Activation().waits(str(tmp_path / "none"))


def test_where_processes_cannot_be_seen_nobody_is_said_to_wait(tmp_path: Path) -> None:
    with systemds(tmp_path / "s", "true"):
        (tmp_path / "1").mkdir()
        assert not Activation(tmp_path).waits(str(tmp_path / "s"))
        (tmp_path / "1/net").symlink_to("/proc/1/net")
        assert not Activation(tmp_path).waits(str(tmp_path / "s"))


def test_a_container_sees_it_at_another_place(tmp_path: Path) -> None:
    root()
    host, inside = tmp_path / "run", tmp_path / "host"
    for folder in (host, inside):
        folder.mkdir()
    (tmp_path / "asked.py").write_text(
        f"from skytrail.runtimes.activation import Activation; print(Activation().waits('{inside}/s'))"
    )
    container = f"mount --bind {host} {inside} && mount -t tmpfs none {host} && {sys.executable} {tmp_path}/asked.py"
    waits = f"{tool('systemd-socket-activate', 'systemd')} -l {host}/s true & until [ -S {host}/s ]; do sleep 0.05; done"
    words = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        f"{waits}; unshare --mount sh -c '{container}'",
    ]

    ours = {**os.environ, "PYTHONPATH": str(Path(skytrail.__file__).parents[1])}
    done = subprocess.run(words, env=ours, stdout=subprocess.PIPE, text=True, check=True)

    assert done.stdout == "True\n"


def failures(runtimes: RuntimesClient) -> float:
    return sum(value for family in runtimes.families() if "failures" in family.metric.name for _, value in family.samples)  # type: ignore[misc] # no histogram


def only(runtimes: RuntimesClient) -> EndpointStatus:
    found = runtimes.status()
    assert len(found) == 1
    return found[0]


def assert_left_alone(runtimes: RuntimesClient, manager: Activator, starts: int) -> None:
    """It is looked at again and again, and not connected to."""
    until(lambda: only(runtimes).failure.endswith(_WAITS), 20)
    before = failures(runtimes)
    until(lambda: failures(runtimes) >= before + _LOOKS)
    until(lambda: only(runtimes).gone)
    assert runtimes.settled
    assert len(manager.started) == starts


def test_a_dockerd_that_somebody_stopped_stays_so(
    tmp_path: Path, netns: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_NOBODY_RETRY", 0.1)
    monkeypatch.setattr(followed, "_NOBODY_SHARE", 1)
    with Dockerd(tmp_path / "d", netns) as daemon:
        daemon.load(archive)
        daemon.stop()
        daemon.socket.unlink(missing_ok=True)
        command = ["nsenter", f"--net={NETNS / netns}", *daemon.command()[:-1], "fd://"]
        runtimes = RuntimesClient([Endpoint("docker", str(daemon.socket), Protocol.DOCKER)], discover=0.05, gone=_GONE)
        with Activator(tmp_path / "d", daemon.socket, command) as manager:
            runtimes.start()
            try:
                assert_left_alone(runtimes, manager, 0)
                for starts, number in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
                    daemon.run("version")  # a person
                    until(lambda: only(runtimes).up, 30)
                    manager.end_daemon(number)
                    assert_left_alone(runtimes, manager, starts)
            finally:
                runtimes.stop()


def test_nor_is_a_cri_whose_client_connects_by_itself(tmp_path: Path, netns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_NOBODY_RETRY", 0.1)
    monkeypatch.setattr(followed, "_NOBODY_SHARE", 1)
    monkeypatch.setattr(containerdevents, "_RETRY", 1.0)
    with Containerd(tmp_path / "c", netns) as daemon:
        runtimes = RuntimesClient([Endpoint("containerd", str(daemon.socket), Protocol.CRI)], discover=3600, gone=_GONE)
        runtimes.start()
        try:
            until(lambda: only(runtimes).up, 20)
            daemon.kill()
            daemon.socket.unlink()
            with Activator(tmp_path / "c", daemon.socket, [sys.executable, "-c", ""]) as manager:
                assert_left_alone(runtimes, manager, 0)
        finally:
            runtimes.stop()
