"""A real runtime that is stopped, stays away and comes again: what is in the graph is what lives, with its true interval."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.containers import IMAGE, Containerd, Dockerd
from support.netlab import Net, until
from support.runtimelab import RuntimeLab

from skytrail.runtimes.dockermessages import nanoseconds
from skytrail.runtimes.endpoints import Protocol

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]

GONE = 0.5
LOOKED = 3_000_000  # µs: without a runtime to tell, processes are looked at every second
Ends = dict[str, list[int]]


@pytest.fixture
def daemon(request: pytest.FixtureRequest, tmp_path: Path, net: Net, archive: Path) -> Iterator[Dockerd]:
    with Dockerd(tmp_path / "d", net.netns("d"), live_restore=getattr(request, "param", True)) as found:
        found.load(archive)
        yield found


@pytest.fixture
def lab(net: Net, tmp_path: Path, daemon: Dockerd) -> Iterator[RuntimeLab]:
    daemon.run("network", "create", "--subnet", "10.95.1.0/24", "shop")
    made = RuntimeLab(net, tmp_path, daemon.socket, gone=GONE)
    yield made
    made.close()


def names(lab: RuntimeLab, kind: str) -> list[str]:
    return sorted(keys["Name"] for keys in lab.graph().of_type(kind).values() if keys.get("Manager") == "docker")


def ends(lab: RuntimeLab) -> Ends:
    """When containers and networks ended, µs since the epoch, by name."""
    found: Ends = {}
    for one in lab.kernel.store.between(0, time.time_ns() // 1000):
        metadata = one.state.metadata if one.state else {}
        if metadata.get("Type") in {"container", "network"} and one.deleted:
            found.setdefault(metadata["Name"], []).append(one.archived_at)
    return found


def run(daemon: Dockerd, name: str) -> int:
    daemon.run("run", "-d", "--name", name, "--network", "shop", "--stop-signal", "KILL", IMAGE)
    pid: int = daemon.inspect(name)["State"]["Pid"]
    return pid


def status_is_gone(lab: RuntimeLab) -> bool:
    return all(one.gone for one in lab.runtimes.status())


def test_containers_that_live_on_without_it_stay(daemon: Dockerd, lab: RuntimeLab) -> None:
    first, second = run(daemon, "one"), run(daemon, "two")
    until(lambda: (names(lab, "container"), names(lab, "network")) == (["one", "two"], ["shop"]))
    before = lab.graph()

    daemon.kill()
    until(lambda: lab.probe.failure)
    until(lambda: status_is_gone(lab))
    assert lab.probe.failure is None  # it is down, and known to be
    killed = time.time_ns() // 1000
    os.kill(first, signal.SIGKILL)
    until(lambda: names(lab, "container") == ["two"], 3)
    until(lambda: lab.runtimes.status()[0].containers == 1)
    assert names(lab, "network") == ["shop"]  # somebody is in it

    daemon.start()
    until(lambda: lab.runtimes.status()[0].up, 20)
    until(lambda: names(lab, "container") == ["two"])
    assert lab.graph().of_type("network").keys() == before.of_type("network").keys()
    assert lab.keys(daemon.inspect("two")["Id"])["Container"]["InitProcessPID"] == second
    [end] = ends(lab)["one"]
    assert killed <= end <= killed + LOOKED
    assert ends(lab).keys() == {"one"}


def test_nothing_is_left_of_it_once_all_has_ended(daemon: Dockerd, lab: RuntimeLab) -> None:
    pid = run(daemon, "one")
    until(lambda: (names(lab, "container"), names(lab, "network")) == (["one"], ["shop"]))
    until(lambda: lab.probe.unplaced == 0)
    [network] = lab.graph().of_type("network")

    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    killed = time.time_ns() // 1000
    until(lambda: not names(lab, "container") + names(lab, "network"))
    before = ends(lab)
    assert before.keys() == {"one", "shop"}
    assert all(killed <= end <= time.time_ns() // 1000 for [end] in before.values())

    daemon.start()
    until(lambda: names(lab, "network") == ["shop"], 20)
    assert [*lab.graph().of_type("network")] == [network]  # the same, with another interval
    assert ends(lab) == before


def test_a_socket_that_it_left_holds_up_nothing(daemon: Dockerd, lab: RuntimeLab, net: Net, tmp_path: Path) -> None:
    pid = run(daemon, "one")
    until(lambda: (names(lab, "container"), names(lab, "network")) == (["one"], ["shop"]))
    lab.close()
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    assert daemon.socket.is_socket()

    again = RuntimeLab(net, tmp_path, daemon.socket, gone=GONE)
    try:
        assert names(again, "container") == ["one"]  # of the run before: it may be just being restarted
        until(lambda: not names(again, "container") + names(again, "network"))
        assert not again.probe.active
    finally:
        again.close()


@pytest.mark.parametrize("daemon", [False], indirect=True)
def test_what_it_ends_itself_ended_when_it_says(daemon: Dockerd, lab: RuntimeLab) -> None:
    run(daemon, "one")
    until(lambda: (names(lab, "container"), names(lab, "network")) == (["one"], ["shop"]))

    stopped = time.time_ns() // 1000
    daemon.stop()
    until(lambda: not names(lab, "container"))
    until(lambda: not names(lab, "network"))
    [end], [network] = ends(lab)["one"], ends(lab)["shop"]
    daemon.start()

    said = nanoseconds(daemon.inspect("one")["State"]["FinishedAt"]) // 1000
    assert stopped <= said
    assert abs(end - said) <= LOOKED
    assert network >= end
    until(lambda: names(lab, "network") == ["shop"], 20)
    assert not names(lab, "container")


def test_pods_live_on_without_their_containerd(net: Net, tmp_path: Path, containerd: Containerd) -> None:
    lab = RuntimeLab(net, tmp_path, containerd.socket, Protocol.CRI, gone=GONE)
    try:
        pods = [containerd.pod(name, str(uuid.uuid4())) for name in ("web-0", "web-1")]
        until(lambda: len(lab.graph().of_type("container")) == len(pods), 20)
        first, second = (lab.keys(pod)["Container"]["InitProcessPID"] for pod in pods)

        containerd.kill()
        until(lambda: status_is_gone(lab), 20)
        assert lab.probe.failure is None
        os.kill(first, signal.SIGKILL)
        until(lambda: [keys["Name"] for keys in lab.graph().of_type("container").values()] == ["web-1"], 3)

        containerd.start()
        until(lambda: lab.runtimes.status()[0].up, 20)
        assert lab.keys(pods[1])["Container"]["InitProcessPID"] == second
        assert lab.revisions(pods[1]) == 1
    finally:
        lab.close()
        containerd.clear()
