"""A real dockerd that is killed, stays away and comes again: what is in the graph is what lives, with its true interval."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.containers import IMAGE, Dockerd
from support.netlab import Net, until
from support.runtimelab import RuntimeLab

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]

GONE = 0.5
Ends = dict[str, list[int]]


@pytest.fixture
def daemon(tmp_path: Path, net: Net, archive: Path) -> Iterator[Dockerd]:
    with Dockerd(tmp_path / "d", net.netns("d")) as found:
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
    daemon.run("run", "-d", "--name", name, "--network", "shop", IMAGE)
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
    assert killed <= end <= killed + 3_000_000
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
