"""The client of the CRI against a real containerd; the oracle is what its ``ctr`` says of the same containers."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from lab.containers import IMAGE, Containerd
from support.netlab import until

from skytrail.runtimes.cgroups import group_of_process, owner
from skytrail.runtimes.container import NoSuchApiError, RuntimeAwayError
from skytrail.runtimes.cri import CriApi
from skytrail.runtimes.crimessages import CLASSES


@pytest.fixture
def api(containerd: Containerd) -> Iterator[CriApi]:
    with closing(CriApi(containerd.socket, every=0.1)) as found:
        yield found
    containerd.clear()


def network(pid: int) -> tuple[int, int]:
    return identity(Path(f"/proc/{pid}/ns/net"))


def identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def test_a_pod_and_its_container(api: CriApi, containerd: Containerd) -> None:
    uid = str(uuid.uuid4())
    before = time.time_ns()
    pod = containerd.pod("web-0", uid, "shop")
    container = containerd.container(pod, "app", uid, "web-0", {"tier": "front"})
    after = time.time_ns()

    found = {one.id: one for one in api.start()}

    assert set(found) == {pod, container}
    sandbox, app = found[pod], found[container]
    assert (sandbox.name, sandbox.image, sandbox.sandbox, sandbox.labels) == ("web-0", "", True, {"app": "web-0"})
    assert (app.name, app.image, app.sandbox, app.labels) == ("app", IMAGE, False, {"tier": "front"})
    for one in found.values():
        assert one.runtime == "containerd"
        assert (one.pod_uid, one.pod_name, one.pod_namespace) == (uid, "web-0", "shop")
        assert before < one.created < after
        assert identity(Path(one.network_namespace)) == network(one.pid)
    assert {one.id: one.pid for one in found.values()} == containerd.tasks()


def test_their_control_groups_lead_to_them(api: CriApi, containerd: Containerd) -> None:
    uid = str(uuid.uuid4())
    pod = containerd.pod("web-0", uid)
    containerd.container(pod, "app", uid, "web-0", {})

    found = api.start()

    assert len(found) == 2
    for one in found:
        told = owner(group_of_process(Path(f"/proc/{one.pid}/cgroup").read_text(encoding="utf-8")))
        assert (told.container_id, told.pod_uid, told.pod_qos) == (one.id, one.pod_uid, "burstable")


def test_a_pod_in_the_hosts_network_has_no_namespace_of_its_own(api: CriApi, containerd: Containerd) -> None:
    containerd.pod("web-0", str(uuid.uuid4()), host_network=True)

    [found] = api.start()

    assert found.network_namespace == ""
    assert found.pid


def test_what_came_and_went_is_in_the_next_list(api: CriApi, containerd: Containerd) -> None:
    first = containerd.pod("web-0", str(uuid.uuid4()))
    assert [one.id for one in api.start()] == [first]
    second = containerd.pod("web-1", str(uuid.uuid4()))
    containerd.remove(first)
    assert list(api.follow()) == []

    assert [one.id for one in api.start()] == [second]


def test_who_asks_need_not_wait(containerd: Containerd) -> None:
    with closing(CriApi(containerd.socket, every=3600.0)) as api:
        api.start()
        thread = threading.Thread(target=lambda: list(api.follow()))
        thread.start()
        api.wake()
        thread.join(60)
        assert not thread.is_alive()


def test_what_happens_is_seen_without_waiting(containerd: Containerd) -> None:
    with closing(CriApi(containerd.socket, every=3600.0)) as api:
        api.start()
        pod = containerd.pod("web-0", str(uuid.uuid4()))

        def there() -> bool:
            assert list(api.follow()) == []
            return [one.id for one in api.start()] == [pod]

        until(there, 30)
        before = time.time_ns()
        containerd.remove(pod)
        after = time.time_ns()

        def over() -> bool:
            assert list(api.follow()) == []
            return api.start() == []

        until(over, 30)
        assert before < api.ended(pod) < after


def test_a_container_that_ended_is_told_when(api: CriApi, containerd: Containerd) -> None:
    uid = str(uuid.uuid4())
    pod = containerd.pod("web-0", uid)
    container = containerd.container(pod, "app", uid, "web-0", {})
    before = time.time_ns()
    containerd.call("StopContainer", {1: container})

    assert list(api.stopped()) == [container]
    assert before < api.stopped()[container] < time.time_ns()


def test_what_runs_beside_kubernetes(api: CriApi, containerd: Containerd, archive: Path) -> None:
    """What ``ctr`` runs, and ``nerdctl``, which is no package: by the labels that it gives."""
    pod, long = containerd.pod("web-0", str(uuid.uuid4())), uuid.uuid4().hex * 2
    before = time.time_ns()
    containerd.beside("default", "box", archive, tier="front")
    containerd.beside("other", "box", archive)
    containerd.beside("other", long, archive, **{"nerdctl/name": "shop"})
    containerd.beside("moby", "of-docker", archive)

    found = {one.id: one for one in api.start()}

    assert set(found) == {pod, "default/box", "other/box", long}
    tasks = {f"{space}/{one}": pid for space in ("default", "other") for one, pid in containerd.tasks(space).items()}
    assert [found[one].pid for one in ("default/box", "other/box")] == [tasks["default/box"], tasks["other/box"]]
    assert (found[long].pid, found[long].name) == (tasks[f"other/{long}"], "shop")
    box = found["default/box"]
    assert (box.name, box.image, box.runtime, box.labels["tier"]) == ("box", IMAGE, "containerd", "front")
    assert before < box.created < time.time_ns()

    containerd.ctr("tasks", "pause", "box", namespace="default")
    assert {one.id: one.paused for one in api.start()} == {pod: False, "default/box": True, "other/box": False, long: False}
    containerd.ctr("tasks", "resume", "box", namespace="default")
    assert {one.id: one for one in api.start()} == found
    ending = time.time_ns()
    containerd.end_beside("default", "box")
    assert {one.id for one in api.start()} == {pod, "other/box", long}
    assert ending < until(lambda: api.ended("default/box")) < time.time_ns()
    assert api.ended("other/never") == 0


def test_interrupt_ends_a_wait(containerd: Containerd) -> None:
    api = CriApi(containerd.socket, every=3600.0)
    api.start()
    thread = threading.Thread(target=lambda: list(api.follow()))
    thread.start()
    api.interrupt()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(RuntimeAwayError):
        api.start()
    api.close()


def test_a_containerd_without_its_cri(tmp_path: Path, netns: str, archive: Path) -> None:
    with Containerd(tmp_path / "c", netns, cri=False) as daemon, closing(CriApi(daemon.socket)) as api:
        assert api.start() == []
        daemon.beside("default", "box", archive)
        assert [one.id for one in api.start()] == ["default/box"]
        assert api.ended("default/none") == 0
        assert api.runtime == "containerd"


def test_one_that_speaks_neither(tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    server.start()
    with closing(CriApi(tmp_path / "s")) as api, pytest.raises(NoSuchApiError, match="UNIMPLEMENTED"):
        api.start()
    server.stop(None)


def test_nobody_listens(tmp_path: Path) -> None:
    with closing(CriApi(tmp_path / "s")) as api, pytest.raises(RuntimeAwayError, match="UNAVAILABLE"):
        api.start()


def test_somebody_else_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(os.urandom(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        with closing(CriApi(tmp_path / "s")) as api, pytest.raises(RuntimeAwayError):
            api.start()
        thread.join()


def test_messages_are_those_of_the_cri() -> None:
    """Bytes by the field numbers of cri-api's api.proto; the last field is one that is not read."""
    sent = CLASSES["ListContainersRequest"](filter={"state": {"state": 1}}).SerializeToString()
    got = CLASSES["PodSandbox"].FromString(
        b"\x0a\x01a\x12\x0b\x0a\x01n\x12\x01u\x1a\x01s\x20\x01\x2a\x06\x0a\x01k\x12\x01v\x3a\x01r"
    )

    assert sent == b"\x0a\x04\x12\x02\x08\x01"
    assert (got.id, got.metadata.name, got.metadata.uid, got.metadata.namespace) == ("a", "n", "u", "s")
    assert dict(got.labels) == {"k": "v"}
