"""The probe before each real runtime: what its own programs say is what the graph says."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab.containers import IMAGE, Containerd, Dockerd, Podman, UsersPodman
from support.netlab import Net, until
from support.runtimelab import RuntimeLab

from skytrail.runtimes.dockermessages import nanoseconds
from skytrail.runtimes.endpoints import Protocol
from skytrail.runtimes.podman import PodmanCommand

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]

Daemon = Dockerd | Podman
ADDRESSES = {"docker": "10.97", "podman": "10.98"}  # both run in one namespace
StartLab = Callable[..., RuntimeLab]


@pytest.fixture
def start_lab(net: Net, tmp_path: Path) -> Iterator[StartLab]:
    made: list[RuntimeLab] = []

    def start(daemon: Daemon | Containerd, *, api: bool = True) -> RuntimeLab:
        protocol = Protocol.CRI if isinstance(daemon, Containerd) else Protocol.DOCKER
        if isinstance(daemon, Podman) and not api:
            made.append(RuntimeLab(net, tmp_path, daemon.used, Protocol.PODMAN, lambda _: PodmanCommand(daemon.program)))
        else:
            made.append(RuntimeLab(net, tmp_path, daemon.socket, protocol))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def daemon_and_lab(request: pytest.FixtureRequest, start_lab: StartLab) -> Iterator[tuple[Daemon, RuntimeLab]]:
    """One that is asked by its API, or by its command."""
    name, _, without = request.param.partition(" without ")
    found: Daemon = request.getfixturevalue(name)
    yield found, start_lab(found, api=not without)
    found.clear()


@pytest.fixture(params=["docker", "podman"])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    found: Daemon = request.getfixturevalue(request.param)
    yield found
    found.clear()


def runtime_of(daemon: Daemon) -> str:
    return {Dockerd: "docker", Podman: "podman"}[type(daemon)]


def remove(daemon: Daemon, name: str) -> None:
    daemon.run("rm", "-f", *(("-t", "0") if isinstance(daemon, Podman) else ()), name)


def namespace(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def expected(said: dict[str, Any], runtime: str) -> dict[str, Any]:
    """Of ``docker inspect`` or ``podman inspect``, what the graph is to say, without labels."""
    places = [
        {
            "Name": name,
            "ID": one["NetworkID"],
            "IPV4": f"{one['IPAddress']}/{one['IPPrefixLen']}",
            "MAC": one["MacAddress"],
            "Gateway": one["Gateway"],
        }
        for name, one in sorted(said["NetworkSettings"]["Networks"].items())
        if one["IPAddress"]
    ]
    return {
        "ID": said["Id"],
        "Image": IMAGE,
        "ImageID": said["Image"],
        "Runtime": runtime,
        "InitProcessPID": said["State"]["Pid"],
        "Status": said["State"]["Status"],
        "RestartCount": said["RestartCount"],
        "Created": nanoseconds(said["Created"]) // 10**6,
        "Started": nanoseconds(said["State"]["StartedAt"]) // 10**6,
        "NetworkMode": said["HostConfig"]["NetworkMode"],
        **({"Networks": places} if places else {}),
    }


@pytest.mark.parametrize("daemon_and_lab", ["docker", "podman", "podman without API"], indirect=True)
def test_what_happens_to_a_container_is_told(daemon_and_lab: tuple[Daemon, RuntimeLab]) -> None:
    daemon, lab = daemon_and_lab
    runtime = runtime_of(daemon)
    for number in (1, 2):
        if f"lab{number}" not in daemon.run("network", "ls", "-q" if runtime == "podman" else "--format={{.Name}}").split():
            daemon.run("network", "create", "--subnet", f"{ADDRESSES[runtime]}.{number}.0/24", f"lab{number}")
    labels = {"tier": "front", "db.secret": "x", "com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    options = [f"--label={key}={value}" for key, value in labels.items()]
    identity = daemon.run("run", "-d", "--name", "web", "--network", "lab1", "-e", "KEY=hidden", *options, IMAGE)

    def as_it_is() -> bool:
        said, keys = daemon.inspect(identity), lab.keys(identity)
        del labels_shown(keys)["com.docker.compose.project"]
        own = dict(keys["Container"])
        assert own.pop("Labels") == {"tier": "front", "com.docker.compose.service": "web"}
        assert own.pop("Compose") == {"Project": "shop", "Service": "web"}
        assert own == expected(dict(said), runtime)
        assert (keys["Name"], keys["Manager"]) == (said["Name"].removeprefix("/"), runtime)
        assert ("Docker" in keys) == (runtime == "docker")
        assert lab.owner(identity)["Inode"] == namespace(said["State"]["Pid"])
        assert (lab.owner(identity)["Manager"], lab.owner(identity)["Containers"]) == (runtime, [keys["Name"]])
        return True

    until(as_it_is, 30)  # Podman's service is slow to begin
    for action in ("pause", "unpause"):
        daemon.run(action, "web")
        until(as_it_is)
    daemon.run("network", "connect", "lab2", "web")
    until(as_it_is)
    daemon.run("network", "disconnect", "lab1", "web")
    until(as_it_is)
    daemon.run("rename", "web", "shop")
    until(as_it_is)
    assert "hidden" not in json.dumps(lab.keys(identity))
    daemon.run("restart", "-t", "0", "shop")
    until(as_it_is)
    remove(daemon, "shop")
    until(lambda: not lab.graph().of_type("container"))


def labels_shown(keys: dict[str, Any]) -> dict[str, str]:
    shown: dict[str, str] = keys["Container"]["Labels"]
    return shown


def test_networks_are_nodes_with_their_bridge(daemon: Daemon, start_lab: StartLab) -> None:
    lab, addresses = start_lab(daemon), ADDRESSES[runtime_of(daemon)]
    ranges = ["--subnet", f"{addresses}.3.0/24", "--gateway", f"{addresses}.3.1"]
    daemon.run("network", "create", *ranges, "--label", "tier=front", "lab3")
    identity = daemon.run("run", "-d", "--network", "lab3", IMAGE)

    def joined() -> bool:
        graph = lab.graph()
        networks = {keys["Name"]: id_ for id_, keys in graph.of_type("network").items()}
        assert "lab3" in networks
        assert not {"host", "none"} & networks.keys()
        own = graph.nodes[networks["lab3"]]["ContainerNetwork"]
        assert (own["Driver"], own["Subnets"], own["Gateways"]) == ("bridge", [f"{addresses}.3.0/24"], [f"{addresses}.3.1"])
        assert own["Labels"] == {"tier": "front"}
        types = sorted(graph.nodes[one]["Type"] for one in graph.children(networks["lab3"], "network"))
        assert types == ["bridge", "container"]
        return True

    until(joined)
    remove(daemon, identity)
    daemon.run("network", "rm", "lab3")
    if isinstance(daemon, Dockerd):  # Podman tells nobody: seen with the next container, or after five minutes
        until(lambda: "lab3" not in {keys["Name"] for keys in lab.graph().of_type("network").values()})


def test_containers_may_share_a_namespace_or_have_the_hosts(daemon: Daemon, start_lab: StartLab) -> None:
    lab = start_lab(daemon)
    first = daemon.run("run", "-d", "--name", "one", "--network", "none", IMAGE)
    second = daemon.run("run", "-d", "--name", "two", "--network", "container:one", IMAGE)
    third = daemon.run("run", "-d", "--name", "three", "--network", "host", IMAGE)

    def shared() -> bool:
        assert lab.owner(first) == lab.owner(second)
        assert lab.owner(first)["Containers"] == ["one", "two"]
        daemons = namespace(int(daemon.inspect(third)["State"]["Pid"]))
        assert lab.owner(third)["Inode"] == daemons  # the lab's host is a namespace of its own
        return True

    until(shared)
    remove(daemon, "two")
    until(lambda: lab.owner(first)["Containers"] == ["one"])


def test_what_changes_all_the_time_makes_no_revision(daemon: Daemon, start_lab: StartLab) -> None:
    lab = start_lab(daemon)
    interval = "1s" if isinstance(daemon, Podman) else "0.2s"
    check = ["--health-cmd", "/bin/true", "--health-interval", interval]
    identity = daemon.run("run", "-d", "--name", "sound", "--network", "none", *check, IMAGE)

    def healthy() -> bool:
        if isinstance(daemon, Podman):  # systemd's timers run its checks; of one it tells before it has noted the outcome
            daemon.run("healthcheck", "run", "sound")
        return bool(lab.keys(identity)["Container"].get("Health") == "healthy")

    until(healthy, 30, 0.5)
    before = lab.revisions(identity)
    if isinstance(daemon, Podman):
        for _ in range(3):
            daemon.run("healthcheck", "run", "sound")
    else:
        log = len(daemon.inspect(identity)["State"]["Health"]["Log"])
        until(lambda: len(daemon.inspect(identity)["State"]["Health"]["Log"]) >= min(log + 3, 5))
    daemon.run("rename", "sound", "ill")  # what is told after the checks
    until(lambda: lab.keys(identity)["Name"] == "ill")

    assert lab.revisions(identity) == before + 1


@pytest.mark.parametrize("api", [True, False])
def test_a_pod_of_podmans_is_named(podman: Podman, start_lab: StartLab, api: bool) -> None:
    lab = start_lab(podman, api=api)
    podman.run("pod", "create", "--name", "group", "--network", "none", "--infra-image", IMAGE)
    identity = podman.run("run", "-d", "--pod", "group", IMAGE)

    until(lambda: lab.keys(identity)["Container"].get("Pod") == {"Name": "group"})
    infra = [keys["Container"] for keys in lab.graph().of_type("container").values() if keys["Container"].get("Sandbox")]
    assert len(infra) == 1
    assert infra[0]["Pod"] == {"Name": "group"}
    podman.run("pod", "rm", "-f", "-t", "0", "group")
    until(lambda: not lab.graph().of_type("container"))


def test_podmans_of_several_users(net: Net, tmp_path: Path, netns: str, archive: Path) -> None:
    base = 10_000_000 + os.getpid()  # nobody's
    with ExitStack() as users:
        podmans = [users.enter_context(UsersPodman(netns, 10 * base + number)) for number in (1, 2)]
        lab = RuntimeLab(net, tmp_path, Path(f"/run/user/{base}[12]/podman/podman.sock"))
        users.callback(lab.close)
        for podman in podmans:
            podman.load(archive)
        # a sysfs of one's own only has who sees all of the host's, which these namespaces may not
        options = ["--name", "web", "--network", "none", "-v", "/sys:/sys"]
        identities = {podman.run("run", "-d", *options, IMAGE): podman for podman in podmans}

        def told() -> bool:
            assert len(lab.graph().of_type("container")) == len(identities)
            for identity, podman in identities.items():
                pid = podman.inspect(identity)["State"]["Pid"]
                assert lab.keys(identity)["Container"]["InitProcessPID"] == pid
                assert lab.owner(identity)["Inode"] == namespace(pid)
                assert lab.owner(identity)["Containers"] == ["web"]
            return True

        until(told, 30)
        remove(podmans[0], "web")
        until(lambda: [keys["Container"]["ID"] for keys in lab.graph().of_type("container").values()] == [*identities][1:])


@pytest.mark.parametrize("daemon_and_lab", ["docker", "podman", "podman without API"], indirect=True)
def test_what_has_ended_and_is_kept_is_told_when(daemon_and_lab: tuple[Daemon, RuntimeLab]) -> None:
    daemon, lab = daemon_and_lab
    daemon.run("run", "--name", "over", "--network", "none", IMAGE, "/bin/true")
    running = daemon.run("run", "-d", "--network", "none", IMAGE)
    until(lambda: lab.keys(running))
    said = daemon.inspect("over")

    [told] = [lab.runtimes.stopped(one.path) for one in lab.runtimes.status()]

    assert told == {said["Id"]: nanoseconds(said["State"]["FinishedAt"])}


def test_a_pod_of_containerds_and_its_container(containerd: Containerd, start_lab: StartLab) -> None:
    lab = start_lab(containerd)
    uid = str(uuid.uuid4())
    pod = containerd.pod("web-0", uid, "shop")
    container = containerd.container(pod, "app", uid, "web-0", {"tier": "front"})

    def told() -> bool:
        tasks = containerd.tasks()
        app, sandbox = lab.keys(container), lab.keys(pod)
        assert (app["Name"], app["Manager"], app["Container"]["Image"]) == ("app", "containerd", IMAGE)
        assert app["Container"]["Labels"] == {"tier": "front"}
        assert sandbox["Container"]["Sandbox"]
        for identity, keys in ((container, app), (pod, sandbox)):
            assert keys["Container"]["Pod"] == {"UID": uid, "Name": "web-0", "Namespace": "shop"}
            assert keys["Container"]["InitProcessPID"] == tasks[identity]
            assert lab.owner(identity)["Inode"] == namespace(tasks[identity])
        assert lab.owner(pod)["Containers"] == ["app", "web-0"]
        return True

    until(told, 30)
    containerd.remove(pod)
    until(lambda: not lab.graph().of_type("container"), 30)


def test_what_runs_beside_kubernetes_is_in_its_namespace(containerd: Containerd, start_lab: StartLab, archive: Path) -> None:
    lab = start_lab(containerd)
    containerd.beside("default", "box", archive, tier="front")
    pid = containerd.tasks("default")["box"]

    def told() -> bool:
        keys = lab.keys("default/box")
        assert (keys["Name"], keys["Manager"], keys["Container"]["InitProcessPID"]) == ("box", "containerd", pid)
        assert keys["Container"]["Labels"]["tier"] == "front"
        assert lab.owner("default/box")["Inode"] == namespace(pid)
        return True

    until(told, 30)
    containerd.end_beside("default", "box")
    until(lambda: not lab.graph().of_type("container"), 30)


def test_who_starts_one_again_counts(docker: Dockerd, start_lab: StartLab) -> None:
    lab = start_lab(docker)
    identity = docker.run("run", "-d", "--name", "again", "--network", "none", "--restart", "always", IMAGE)
    first = until(lambda: lab.keys(identity))["Container"]
    assert first["RestartCount"] == 0

    os.kill(first["InitProcessPID"], signal.SIGKILL)

    def again() -> bool:
        said, keys = docker.inspect(identity), lab.keys(identity)["Container"]
        assert said["RestartCount"] == keys["RestartCount"] == 1
        assert said["State"]["Pid"] == keys["InitProcessPID"] != first["InitProcessPID"]
        return True

    until(again)
    docker.clear()
