"""The client of all runtimes: against real daemons that come, go and come again, and against one that hangs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from lab.containers import IMAGE, Containerd, Dockerd
from support.falseengine import EVENTS, answering, event, ok
from support.netlab import until

from skytrail.metrics import Kind
from skytrail.runtimes import metrics
from skytrail.runtimes.cgroups import owner
from skytrail.runtimes.client import ContainerTold, EndpointStatus, Listed, NetworksTold, RuntimesClient, Told
from skytrail.runtimes.container import Change, Container, NetworkChange, RuntimeApi, RuntimeAwayError
from skytrail.runtimes.docker import DockerApi
from skytrail.runtimes.dockermessages import told
from skytrail.runtimes.endpoints import DEFAULTS, MAX_ENDPOINTS, Endpoint, Protocol, connect, present

NOBODY = "0" * 64


@contextmanager
def client(*endpoints: Endpoint, **options: object) -> Iterator[RuntimesClient]:
    found = RuntimesClient(endpoints, discover=0.05, **options)  # type: ignore[arg-type] # any of them
    found.start()
    try:
        yield found
    finally:
        found.stop()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("runtime")]


def at_docker(path: Path, *, on_demand: bool = False) -> Endpoint:
    return Endpoint("docker", str(path), Protocol.DOCKER, on_demand)


def at_cri(path: Path) -> Endpoint:
    return Endpoint("containerd", str(path), Protocol.CRI)


def known(runtimes: RuntimesClient, identity: str) -> Container:
    """A container, as soon as it is known."""
    found = until(lambda: runtimes.find(identity), 30)
    assert found
    return found


def status(runtimes: RuntimesClient) -> EndpointStatus:
    found = runtimes.status()
    assert len(found) == 1
    return found[0]


@pytest.fixture
def dockerd(docker: Dockerd) -> Iterator[Dockerd]:
    yield docker
    docker.clear()


@pytest.fixture
def cri(containerd: Containerd) -> Iterator[Containerd]:
    yield containerd
    containerd.clear()


def run(daemon: Dockerd, name: str, *command: str) -> str:
    return daemon.run("run", "-d", "--name", name, "--network", "none", IMAGE, *command)


def test_two_runtimes_at_once(dockerd: Dockerd, cri: Containerd) -> None:
    web, pod = run(dockerd, "web"), cri.pod("web-0", str(uuid.uuid4()))

    with client(at_docker(dockerd.socket), at_cri(cri.socket)) as runtimes:
        assert (known(runtimes, web).runtime, known(runtimes, web).name) == ("docker", "web")
        assert (known(runtimes, pod).runtime, known(runtimes, pod).pod_name) == ("containerd", "web-0")
        assert {container.id for container in runtimes.containers()} == {web, pod}
        assert [(one.runtime, one.up, one.containers, one.failure) for one in runtimes.status()] == [
            ("docker", True, 1, ""),
            ("containerd", True, 1, ""),
        ]


def test_one_that_is_gone_is_remembered_for_a_while(dockerd: Dockerd) -> None:
    now = 0.0
    with client(at_docker(dockerd.socket), remembered=60.0, clock=lambda: now) as runtimes:
        until(lambda: status(runtimes).up)
        web = run(dockerd, "web", "/bin/true")
        dockerd.run("wait", "web")
        until(lambda: runtimes.version >= 2)  # it began, and ended

        assert not runtimes.containers()
        assert known(runtimes, web).name == "web"
        now = 59.0
        assert known(runtimes, web).name == "web"
        now = 61.0
        assert runtimes.find(web) is None
        until(lambda: not runtimes._ended)


def test_nobody_asks_twice_for_one_that_nobody_knows(cri: Containerd) -> None:
    now, woken = 0.0, []

    def counting(endpoint: Endpoint) -> RuntimeApi:
        api = connect(endpoint)
        wake = api.wake
        api.wake = lambda: (woken.append(now), wake())[1]  # type: ignore[method-assign,func-returns-value]
        return api

    with client(at_cri(cri.socket), connect=counting, clock=lambda: now) as runtimes:
        until(lambda: status(runtimes).up)
        for moment in (0.0, 1.0, 29.0, 31.0, 40.0):
            now = moment
            assert runtimes.find(NOBODY) is None
            assert runtimes.find("") is None

    assert woken == [0.0, 31.0]


def test_who_asks_makes_a_list_come_sooner(cri: Containerd, monkeypatch: pytest.MonkeyPatch) -> None:
    from skytrail.runtimes.cri import CriApi

    with client(at_cri(cri.socket), connect=lambda endpoint: CriApi(Path(endpoint.path), every=3600.0)) as runtimes:
        until(lambda: status(runtimes).up)
        pod = cri.pod("web-0", str(uuid.uuid4()))

        assert known(runtimes, pod).pod_name == "web-0"


def test_a_daemon_that_comes_later_dies_and_comes_again(tmp_path: Path, netns: str, archive: Path) -> None:
    with Dockerd(tmp_path / "d", netns) as daemon:
        daemon.stop()
        daemon.socket.unlink(missing_ok=True)
        with client(at_docker(daemon.socket)) as runtimes:
            assert runtimes.find(NOBODY) is None
            assert runtimes.status() == []

            daemon.start()
            daemon.load(archive)
            web = run(daemon, "web")
            before = known(runtimes, web)

            daemon.kill()
            until(lambda: not status(runtimes).up)
            assert str(daemon.socket) in status(runtimes).failure
            assert runtimes.find(web) == before  # --live-restore: it runs on

            daemon.start()
            until(lambda: status(runtimes).up, 60)
            assert runtimes.find(web) == before
            daemon.run("restart", "-t", "0", "web")
            until(lambda: known(runtimes, web).pid == daemon.inspect("web")["State"]["Pid"] != before.pid)


def test_what_a_daemon_that_is_gone_told_of_ends_with_its_processes(tmp_path: Path, netns: str, archive: Path) -> None:
    now, told = 0.0, list[Told]()
    with Dockerd(tmp_path / "d", netns) as daemon:
        daemon.load(archive)
        daemon.run("network", "create", "--subnet", "10.96.1.0/24", "lab")
        web, over = (run(daemon, name) for name in ("web", "over"))
        with client(at_docker(daemon.socket), gone=60.0, clock=lambda: now) as runtimes:
            runtimes.listen(told.append)
            process, other = known(runtimes, web).pid, known(runtimes, over).pid
            daemon.kill()  # --live-restore: they run on, and its socket is still there
            until(lambda: "nobody listens" in status(runtimes).failure)
            os.kill(other, signal.SIGKILL)
            until(lambda: not Path(f"/proc/{other}").exists())
            assert (len(runtimes.containers()), status(runtimes).gone, runtimes.settled) == (2, False, False)

            now = 61.0
            until(lambda: [one.id for one in runtimes.containers()] == [web])
            assert (status(runtimes).gone, runtimes.settled) == (True, True)
            daemon.socket.unlink()
            until(lambda: not runtimes.status())
            assert not [one for one in told if isinstance(one, NetworksTold)]
            os.kill(process, signal.SIGKILL)
            until(lambda: not runtimes.containers())
            assert known(runtimes, web).name == "web"  # for a while
            ends = until(lambda: [one for one in told if not isinstance(one, Listed)][-3:])

    place = str(daemon.socket)
    assert ends == [ContainerTold(place, over, None, 0), ContainerTold(place, web, None, 0), NetworksTold(place, (), 0)]


def test_what_has_no_process_ended_when_its_daemon_went(tmp_path: Path) -> None:
    now, told = 0.0, list[Told]()
    refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"  # it is not looked at: its process is not known
    answers = {"/events": EVENTS + event("start", NOBODY, {}), "/containers/json": ok(b"[]"), "/containers/": refused}
    with client(at_docker(tmp_path / "s"), gone=60.0, clock=lambda: now) as runtimes:
        runtimes.listen(told.append)
        with answering(tmp_path / "s", answers):
            known(runtimes, NOBODY)
        went = time.time_ns()
        (tmp_path / "s").unlink(missing_ok=True)
        until(lambda: not runtimes.status())
        left = time.time_ns()
        now = 61.0
        until(lambda: not runtimes.containers())

    last = told[-1]
    assert isinstance(last, ContainerTold)
    assert (last.id, last.container, went - 10**9 < last.at < left) == (NOBODY, None, True)


def test_who_comes_again_in_time_was_never_gone(dockerd: Dockerd) -> None:
    now, told = 0.0, list[Told]()
    run(dockerd, "web")
    with client(at_docker(dockerd.socket), gone=60.0, clock=lambda: now) as runtimes:
        runtimes.listen(told.append)
        until(runtimes.containers)
        dockerd.kill()
        until(lambda: "nobody listens" in status(runtimes).failure)
        now = 59.0
        dockerd.start()
        until(lambda: status(runtimes).up, 20)
        now = 100.0
        until(lambda: not runtimes._absences)
        assert all(isinstance(one, Listed) and one.containers for one in told)


def test_one_that_hangs_holds_up_nobody(dockerd: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.runtimes.docker._CALL_TIMEOUT", 1.0)
    web = run(dockerd, "web")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        with client(at_docker(tmp_path / "s"), at_docker(dockerd.socket)) as runtimes:
            assert known(runtimes, web).name == "web"
            [hung] = until(lambda: [one for one in runtimes.status() if one.failure], 30)

    assert hung.failure == f"{tmp_path}/s: timed out"
    assert not hung.up


def test_nobody_speaks_for_anothers_containers(dockerd: Dockerd, tmp_path: Path) -> None:
    web = run(dockerd, "web")
    lies = event("start", web, {"name": "bank"}) + event("die", web, {}) + event("start", "f" * 64, {"name": "last"})
    refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    answers = {"/events": EVENTS + lies, "/containers/json": ok(b"[]"), "/containers/": refused}
    with client(at_docker(dockerd.socket), at_docker(tmp_path / "s")) as runtimes:
        before = known(runtimes, web)
        with answering(tmp_path / "s", answers):
            known(runtimes, "f" * 64)
            assert runtimes.find(web) == before
            assert web in {container.id for container in runtimes.containers()}


def test_one_that_tells_of_too_many_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.runtimes.client.MAX_CONTAINERS", 3)
    labels = {"much": "x" * 20_000}
    changes = [Change(f"{number:064x}", told(f"{number:064x}", f"c{number}", "", labels, "docker")) for number in range(5)]
    changes += [Change(f"{0:064x}", None), Change("f" * 64, told("f" * 64, "last", "", labels, "docker"))]

    class Tells(DockerApi):
        def start(self) -> list[Container]:
            return []

        def follow(self) -> Iterator[Change | NetworkChange]:
            yield from changes
            self._closed.wait()

    with listening(tmp_path / "s"), client(at_docker(tmp_path / "s"), connect=lambda one: Tells(Path(one.path))) as runtimes:
        known(runtimes, "f" * 64)
        found = runtimes.containers()

    assert {container.name for container in found} == {"c1", "c2", "last"}
    assert not any(container.labels for container in found)


def test_one_that_cannot_be_reached_says_why(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(tmp_path / "s"))
    now = 0.0
    with client(at_docker(tmp_path / "s"), at_cri(tmp_path / "none"), clock=lambda: now) as runtimes:
        until(lambda: status(runtimes).failure)
        assert "Connection refused" in status(runtimes).failure
        assert not runtimes.settled  # it may be just being restarted
        now = 61.0
        assert runtimes.settled


def test_nobody_waits_for_one_that_may_not_be_asked(tmp_path: Path) -> None:
    class Denied(DockerApi):
        def start(self) -> list[Container]:
            raise RuntimeAwayError("denied") from PermissionError()

    with listening(tmp_path / "s"), client(at_docker(tmp_path / "s"), connect=lambda one: Denied(Path(one.path))) as runtimes:
        until(lambda: status(runtimes).failure == "denied")
        assert runtimes.settled


def test_one_without_the_api_says_so(tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    server.start()
    with client(at_cri(tmp_path / "s")) as runtimes:
        until(lambda: "UNIMPLEMENTED" in status(runtimes).failure)
        assert runtimes.settled
    server.stop(None)


def test_one_that_systemd_would_start_is_left_alone_until_it_is_needed(dockerd: Dockerd, cri: Containerd) -> None:
    web = run(dockerd, "web")
    endpoint = Endpoint("podman", str(dockerd.socket), Protocol.DOCKER, on_demand=True)

    with client(endpoint, at_cri(cri.socket)) as runtimes:
        assert runtimes.find(NOBODY, "docker") is None
        until(runtimes.status)  # both were looked for
        assert [one.path for one in runtimes.status()] == [str(cri.socket)]
        assert until(lambda: runtimes.find(web, "podman"), 30)
    with client(endpoint) as runtimes:
        assert until(lambda: runtimes.find(web), 30)
    with client(endpoint, eager=True) as runtimes:
        assert until(runtimes.containers, 30)


def test_one_inside_of_another_belongs_to_the_one_that_is_known(dockerd: Dockerd) -> None:
    web = run(dockerd, "web")
    with client(at_docker(dockerd.socket)) as runtimes:
        known(runtimes, web)

        assert runtimes.find_owner(owner(f"/docker/{web}/docker/{NOBODY}")) == runtimes.find(web)
        assert runtimes.find_owner(owner(f"/docker/{NOBODY}/docker/{web}")) == runtimes.find(web)
        assert runtimes.find_owner(owner(f"/docker/{NOBODY}")) is None
        assert runtimes.find_owner(owner("/system.slice/ssh.service")) is None


def test_without_the_optional_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "skytrail.runtimes.cri", raising=False)
    with listening(tmp_path / "s"), client(at_cri(tmp_path / "s")) as runtimes:
        until(lambda: "grpc" in status(runtimes).failure)
        assert runtimes.settled, "nobody waits for who is never asked"

    assert "pip install 'skytrail[otlp]'" in capsys.readouterr().out


def test_metrics(dockerd: Dockerd) -> None:
    web = run(dockerd, "web")
    with client(at_docker(dockerd.socket)) as runtimes:
        known(runtimes, web)
        families = {family.metric: dict(family.samples) for family in runtimes.families()}
        runtimes.find(web)
        runtimes.find(NOBODY)
        after = {family.metric: dict(family.samples) for family in runtimes.families()}

    assert tuple(families) == metrics.DECLARED
    assert families[metrics.UP] == {("docker", str(dockerd.socket)): 1.0}
    assert families[metrics.CONTAINERS] == {("docker",): 1.0}
    assert families[metrics.LISTS] == {("docker",): 1.0}
    assert families[metrics.LIST_SECONDS][("docker",)] > 0  # type: ignore[operator] # no histogram
    assert families[metrics.FAILURES] == {("docker",): 0.0}
    grown = {key: value - families[metrics.LOOKUPS][key] for key, value in after[metrics.LOOKUPS].items()}  # type: ignore[operator]
    assert grown == {("running",): 1.0, ("ended",): 0.0, ("unknown",): 1.0}


def test_declarations_have_a_bound() -> None:
    for metric in metrics.DECLARED:
        assert metric.name.startswith("skytrail_runtime_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.bound != "one"


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen()
    return found


def test_sockets_are_found_by_the_table(tmp_path: Path) -> None:
    (tmp_path / "run/crio").mkdir(parents=True)
    (tmp_path / "run/crio/crio.sock").write_text("no socket")
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("../run")
    opened = [
        listening(tmp_path / path)
        for path in (
            "run/docker.sock",
            "run/user/1000/docker.sock",
            "run/user/1001/podman/podman.sock",
            "run/containerd/containerd.sock",
        )
    ]
    again = Endpoint("docker", "/var/run/docker.sock", Protocol.DOCKER)

    found = present((*DEFAULTS, again), tmp_path)

    for one in opened:
        one.close()
    assert [(one.runtime, str(Path(one.path).relative_to(tmp_path)), one.on_demand) for one in found] == [
        ("docker", "run/docker.sock", False),
        ("docker", "run/user/1000/docker.sock", False),
        ("podman", "run/user/1001/podman/podman.sock", True),
        ("containerd", "run/containerd/containerd.sock", False),
    ]


def test_podman_without_its_socket_is_found_once_it_was_used(tmp_path: Path) -> None:
    (tmp_path / "run/libpod").mkdir(parents=True)
    (tmp_path / "run/libpod/alive").touch()
    assert [one.protocol for one in present(DEFAULTS, tmp_path)] == [Protocol.PODMAN]

    with listening(tmp_path / "run/podman/podman.sock"):
        assert [one.protocol for one in present(DEFAULTS, tmp_path)] == [Protocol.DOCKER]


def test_so_many_sockets_and_no_more(tmp_path: Path) -> None:
    for number in range(MAX_ENDPOINTS + 3):
        listening(tmp_path / f"run/user/{number}/docker.sock").close()

    assert len(present(DEFAULTS, tmp_path)) == MAX_ENDPOINTS
