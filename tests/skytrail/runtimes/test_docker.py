"""The client of the Docker Engine API against a real dockerd and a real Podman; the oracle is what their own programs say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.containers import IMAGE, Dockerd, Podman
from support.falseengine import EVENTS, answering, event, ok
from support.interrupted import assert_interrupt_ends_a_wait

from skytrail.runtimes.cgroups import group_of_process, owner
from skytrail.runtimes.container import Change, Container, NoSuchApiError, RuntimeAwayError
from skytrail.runtimes.docker import DockerApi
from skytrail.runtimes.dockermessages import nanoseconds

Daemon = Dockerd | Podman


@pytest.fixture(params=["docker", "podman"])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    found: Daemon = request.getfixturevalue(request.param)
    yield found
    found.clear()


@contextmanager
def client(daemon: Daemon, quiet: float = 60.0) -> Iterator[DockerApi]:
    api = DockerApi(daemon.socket, quiet=quiet)
    yield api
    api.interrupt()
    api.close()


def run(daemon: Daemon, name: str, *arguments: str, command: tuple[str, ...] = ()) -> str:
    """Run a container; gives its ID, at its start or, with ``--rm``, at its end."""
    return daemon.run("run", "--name", name, "--network", "none", *arguments, IMAGE, *command)


def collect(api: DockerApi, act: threading.Thread, count: int) -> list[Change]:
    """The next changes while something is done."""
    act.start()
    changes = api.follow()
    found = [next(changes) for _ in range(count)]
    act.join()
    return found


def test_a_running_container_is_as_its_runtime_says(daemon: Daemon) -> None:
    pod = {"uid": "74c13223-5a00-11e9-b385-42010a80018d", "name": "web-0", "namespace": "shop"}
    labels = {"tier": "front", **{f"io.kubernetes.pod.{key}": value for key, value in pod.items()}}
    identity = run(daemon, "web", "-d", *(f"--label={key}={value}" for key, value in labels.items()))
    said = daemon.inspect("web")

    with client(daemon) as api:
        [found] = api.start()

    assert found.id == identity == said["Id"]
    assert (found.name, found.image) == ("web", IMAGE)
    assert found.runtime == {Dockerd: "docker", Podman: "podman"}[type(daemon)]
    assert found.labels == labels
    assert found.pid == said["State"]["Pid"]
    assert found.created == nanoseconds(said["Created"]) > 0
    assert (found.pod_uid, found.pod_name, found.pod_namespace) == (pod["uid"], pod["name"], pod["namespace"])
    assert found.network_namespace == said["NetworkSettings"]["SandboxKey"]
    assert not found.sandbox


def test_its_control_group_leads_to_it(daemon: Daemon) -> None:
    run(daemon, "web", "-d")

    with client(daemon) as api:
        [found] = api.start()
    told = owner(group_of_process(Path(f"/proc/{found.pid}/cgroup").read_text(encoding="utf-8")))

    assert (told.runtime, told.container_id) == (found.runtime, found.id)


def test_what_does_not_run_is_not_listed(daemon: Daemon) -> None:
    run(daemon, "over", command=("/bin/true",))

    with client(daemon) as api:
        assert api.start() == []


def test_start_and_end_are_told(daemon: Daemon) -> None:
    with client(daemon) as api:
        api.start()
        begun, *_ = collect(api, threading.Thread(target=run, args=(daemon, "web", "-d")), 1)
        assert begun.container
        assert begun.container.name == "web"
        assert begun.container.pid == daemon.inspect("web")["State"]["Pid"]
        ended, *_ = collect(api, threading.Thread(target=daemon.run, args=("kill", "web")), 1)

    assert ended == Change(begun.id, None)


def test_a_container_that_lives_for_a_moment_is_known(daemon: Daemon) -> None:
    with client(daemon) as api:
        api.start()
        short = threading.Thread(
            target=run, args=(daemon, "short", "--rm", "--label=tier=batch"), kwargs={"command": ("/bin/true",)}
        )
        begun, ended = collect(api, short, 2)

    assert begun.container
    assert (begun.container.name, begun.container.image) == ("short", IMAGE)
    assert begun.container.labels == {"tier": "batch"}
    assert ended == Change(begun.id, None)


def test_a_new_name_is_told(daemon: Daemon) -> None:
    identity = run(daemon, "web", "-d")

    with client(daemon) as api:
        api.start()
        [change] = collect(api, threading.Thread(target=daemon.run, args=("rename", "web", "shop")), 1)

    assert change.container
    assert (change.id, change.container.name) == (identity, "shop")


def test_a_quiet_daemon_is_listed_anew_and_nothing_in_between_is_missed(daemon: Daemon) -> None:
    identity = run(daemon, "web", "-d")

    with client(daemon, quiet=0.2) as api:
        [before] = api.start()
        assert list(api.follow()) == []
        daemon.run("restart", "-t", "0", "web")  # nobody listens now
        api.start()
        changes = list(api.follow())

    assert [change.id for change in changes] == [identity] * len(changes)
    last = changes[-1].container
    assert last
    assert last.pid == daemon.inspect("web")["State"]["Pid"] != before.pid


def test_interrupt_ends_a_wait(daemon: Daemon) -> None:
    with client(daemon) as api:
        assert_interrupt_ends_a_wait(api)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(RuntimeAwayError, match=r"docker\.sock: .*No such file"):
        DockerApi(tmp_path / "docker.sock").start()


NONSENSE = {
    "no HTTP": b"\x00\xff\r\n\r\n",
    "hangs up": b"",
    "no JSON": ok(b"<html>"),
    "other JSON": ok(b'{"Id": 1}'),
    "a number for a text": ok(b'[{"Id": 1.41}]'),
    "deep": ok(b"[" * 100_000),
    "no UTF-8": ok(b'[{"Id": "\xff\xfe"}]'),
    "cut": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"Id',
    "an error": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "too much": b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b" " * 5_000_000,
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_an_answer_that_is_nonsense_is_an_error(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.runtimes.docker._LIST_MAX", 4 << 20)
    with answering(tmp_path / "s", {"/events": EVENTS, "/containers/json": NONSENSE[kind]}):
        api = DockerApi(tmp_path / "s")
        if kind == "cut":  # the rest never comes
            api._calls.timeout = 0.2
        with pytest.raises(RuntimeAwayError, match="/s: "):
            api.start()
        api.close()


@pytest.mark.parametrize("kind", ["no HTTP", "hangs up", "cut", "an error"])
def test_a_ping_that_is_nonsense_is_an_error(kind: str, tmp_path: Path) -> None:
    with answering(tmp_path / "s", {"/_ping": NONSENSE[kind]}):
        api = DockerApi(tmp_path / "s")
        api._calls.timeout = 0.2
        with pytest.raises(RuntimeAwayError, match="/s: "):
            api.start()
        api.close()


@pytest.mark.parametrize("version", ["", "x", "1.41/../..", "1" * 5000])
def test_a_version_that_is_none_is_not_asked_for(version: str, tmp_path: Path) -> None:
    ping = b"HTTP/1.1 200 OK\r\nApi-Version: %s\r\nContent-Length: 100000\r\n\r\n%s" % (version.encode(), b" " * 100_000)
    with answering(tmp_path / "s", {"/_ping": ping, "/events": EVENTS, "/v": b"", "/containers/json": ok(b"[]")}):
        api = DockerApi(tmp_path / "s")
        assert api.start() == []
        api.close()


@pytest.mark.parametrize(
    "event", [b"{}\n", b'{"Type":"container","Action":"start"}\n', b'{"Type":"network","Action":"start","Actor":{"ID":"a"}}\n']
)
def test_an_event_that_tells_nothing_is_passed_over(event: bytes, tmp_path: Path) -> None:
    events = EVENTS + b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event)
    with answering(tmp_path / "s", {"/events": events, "/json": ok(b"[]")}):
        api = DockerApi(tmp_path / "s")
        assert api.start() == []
        with pytest.raises(RuntimeAwayError, match="its events have ended"):
            list(api.follow())
        api.close()


def test_an_event_that_is_nonsense_is_an_error(tmp_path: Path) -> None:
    with answering(tmp_path / "s", {"/events": EVENTS + b"3\r\n{]\n\r\n", "/json": ok(b"[]")}):
        api = DockerApi(tmp_path / "s")
        api.start()
        with pytest.raises(RuntimeAwayError, match="cannot be read"):
            list(api.follow())
        api.close()


@pytest.mark.parametrize("status", [404, 500])
def test_one_that_ends_while_it_is_looked_at_is_as_its_event_told(status: int, tmp_path: Path) -> None:
    attributes = {"image": "box:1", "name": "short", "exitCode": "0", "podId": "", "tier": "batch"}
    answers = {
        "/events": EVENTS + event("start", "a" * 64, attributes),
        "/containers/json": ok(b"[]"),
        "/containers/": b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status,  # Podman 4.3: 500, "no such container"
    }
    with answering(tmp_path / "s", answers):
        api = DockerApi(tmp_path / "s")
        api.start()
        change = next(api.follow())
        api.close()

    assert change.container == Container("a" * 64, "short", "box:1", "docker", {"tier": "batch"})


def found(identity: str, pid: int, started: str = "") -> bytes:
    """An answer about a container that runs."""
    state = {"Running": True, "Pid": pid, "StartedAt": started}
    return ok(json.dumps({"Id": identity, "Name": f"/{identity}", "State": state}).encode())


def test_one_that_the_daemon_is_busy_with_holds_up_no_other_and_its_short_runs_are_told(tmp_path: Path) -> None:
    first, last = "2026-11-26T15:00:00Z", "2026-11-26T15:00:09Z"
    at, free = nanoseconds(first), threading.Event()

    def busy() -> bytes:
        assert free.wait(30)
        return found("loop", 7, last)

    runs = (
        ("start", at),
        ("die", at + 1),
        ("start", at + 2),
        ("rename", at + 3),
        ("die", at + 4),
        ("start", nanoseconds(last)),
    )
    told = [event("start", "quick", {}), *(event(action, "loop", {}, when) for action, when in runs)]
    told += [event("start", "other", {}), event("die", "other", {}, 5)]
    answers = {
        "/events": EVENTS + b"".join([*told[1:], told[0]]),
        "/containers/json": ok(b"[]"),
        "/containers/loop": busy,
        "/containers/quick": found("quick", 1),
        "/containers/other": found("other", 2),
    }
    with answering(tmp_path / "s", answers):
        api = DockerApi(tmp_path / "s")
        api.start()
        changes = api.follow()
        others = [next(changes) for _ in range(3)]
        free.set()
        loops = [next(changes) for _ in range(5)]
        api.close()

    assert {one.id for one in others} == {"quick", "other"}
    assert [(one.id, one.container is not None) for one in others if one.id == "other"] == [("other", True), ("other", False)]
    assert [one.at for one in loops] == [at, at + 1, at + 2, at + 4, nanoseconds(last)]
    pids = [one.container.pid if one.container else None for one in loops]
    assert pids == [0, None, 0, None, 7]  # of runs that are over nobody knows the process
    assert [one.container.started for one in loops if one.container] == [at, at + 2, nanoseconds(last)]


def test_more_events_than_may_wait_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.runtimes.docker._MAX_WAITING", 10)
    free = threading.Event()

    def busy() -> bytes:
        free.wait(30)
        return found("loop", 7)

    answers = {
        "/events": EVENTS + 20 * event("start", "loop", {}),
        "/containers/json": ok(b"[]"),
        "/containers/loop": busy,
    }
    with answering(tmp_path / "s", answers):
        api = DockerApi(tmp_path / "s")
        api.start()
        with pytest.raises(RuntimeAwayError, match="more than it can be asked about"):
            list(api.follow())
        free.set()
        api.close()


def test_one_of_which_the_daemon_never_tells_is_as_its_event_told(tmp_path: Path) -> None:
    free = threading.Event()

    def never() -> bytes:
        free.wait(30)
        return b""

    answers = {
        "/events": EVENTS + event("start", "hung", {"name": "hung"}),
        "/containers/json": ok(b"[]"),
        "/containers/": never,
    }
    with answering(tmp_path / "s", answers):
        api = DockerApi(tmp_path / "s")
        api.start()
        api._calls.timeout = 0.2
        change = next(api.follow())
        free.set()
        api.close()

    assert change.container == Container("hung", "hung", "", "docker")


def test_who_speaks_something_else(tmp_path: Path) -> None:
    with answering(tmp_path / "s", {"/_ping": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}):
        api = DockerApi(tmp_path / "s")
        with pytest.raises(NoSuchApiError, match="nothing is at /_ping"):
            api.start()
        api.close()


def test_no_more_than_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.runtimes.engine.MAX_CONTAINERS", 3)
    listed = ok(json.dumps([{"Id": f"{number:064x}", "Names": [f"/c{number}"]} for number in range(5)]).encode())
    inspected = ok(json.dumps({"Id": "0" * 64, "Name": "/c", "State": {"Running": True, "Pid": 1}}).encode())
    answers = {"/events": EVENTS, "/containers/json": listed, "/containers/": inspected}
    with answering(tmp_path / "s", answers):
        api = DockerApi(tmp_path / "s")
        assert len(api.start()) == 3
        api.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-26T03:33:03.080077979Z", 1795663983080077000),
        ("2026-11-26T04:33:03.5+01:00", 1795663983500000000),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("2026-11-26T03:33:03", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected
