"""sock_diag and /proc tell of the sockets that processes have open what the iterator tells, and what ss does."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.netlab import Net, in_netns, until
from support.socketlab import agree, agree_with_ss, cookie_of, of, opened_in

from exporters.bpf.sockets import RECORD, SocketPrograms
from exporters.sockets import source
from exporters.sockets.diag import SockDiag
from exporters.sockets.source import choose_source
from skytrail.errors import LoadError, NotSupportedError
from skytrail.kernel.census import Census
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.sockdiag import DiagAsker
from skytrail.kernel.worker import NamespaceWorker

pytestmark = pytest.mark.kernel


@pytest.fixture
def worker() -> Iterator[NamespaceWorker]:
    made = NamespaceWorker()
    yield made
    made.close()


@pytest.fixture
def census(worker: NamespaceWorker) -> Iterator[Census]:
    made = Census(worker, Roots(), every=True)
    yield made
    made.close()


@pytest.fixture
def diag(worker: NamespaceWorker, census: Census) -> SockDiag:
    def namespaces() -> list[Namespace]:
        census.refresh(processes=True)
        return census.namespaces()

    return SockDiag(worker, namespaces)


def test_each_field_is_as_the_iterator_tells_it(programs: SocketPrograms, diag: SockDiag, net: Net) -> None:
    names = [net.netns(suffix, ipv6=True) for suffix in "ab"]
    opened = [one for name in names for one in opened_in(name)]
    agree(programs, diag, {cookie_of(name) for name in names}, len(opened))
    for one in opened:
        one.close()


def test_it_tells_what_ss_does(diag: SockDiag, net: Net) -> None:
    netns = net.netns("a", ipv6=True)
    opened = opened_in(netns)
    agree_with_ss(diag.read, net, netns, len(opened))
    for one in opened:
        one.close()


def test_a_socket_that_two_processes_have_is_told_of_for_each(programs: SocketPrograms, diag: SockDiag, net: Net) -> None:
    netns = net.netns("a")
    server = in_netns(netns, lambda: socket.create_server(("127.0.0.1", 0)))
    again = server.dup()
    child = subprocess.Popen(["sleep", "60"], pass_fds=[server.fileno()])
    try:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        agree(programs, diag, {cookie_of(netns)}, 3)
        told = of(diag.read(), {cookie_of(netns)})
        assert told.keys() == {
            (os.getpid(), server.fileno()), (os.getpid(), again.fileno()), (child.pid, server.fileno()),
        }  # fmt: skip
        assert told[child.pid, server.fileno()]["owner.comm"] == b"sleep"
    finally:
        child.kill()
        child.wait()
        server.close()
        again.close()


def test_bytes_drops_devices_and_other_users_are_as_the_iterator_tells_them(
    programs: SocketPrograms, diag: SockDiag, net: Net
) -> None:
    left, right = net.pair(ipv6=True)

    def serve() -> list[socket.socket]:
        full = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        full.bind(("", 5001))
        lite = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE)
        lite.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, right.interface.encode())
        lite.bind(("", 5002))
        return [socket.create_server((right.ip6, 5000), family=socket.AF_INET6), full, lite]

    server, full, lite = in_netns(right.netns, serve)
    client = in_netns(left.netns, lambda: socket.create_connection((right.ip6, 5000)))
    accepted, _ = server.accept()
    sender = in_netns(left.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender.bind(("", 0))
    for _ in range(50):
        client.sendall(b"x" * 1000)
        assert accepted.recv(1000, socket.MSG_WAITALL)
        sender.sendto(b"x" * 1000, (right.ip4, 5001))
    os.fchown(lite.fileno(), 4711, 4711)
    netns = {cookie_of(left.netns), cookie_of(right.netns)}
    agree(programs, diag, netns, 6)
    mine = {fd: told for (_, fd), told in of(diag.read(), netns).items()}
    assert (mine[client.fileno()]["tcp.sent"], mine[accepted.fileno()]["tcp.received"]) == (50_000, 50_000)
    assert mine[client.fileno()]["tcp.rtt"] > 0
    assert mine[full.fileno()]["drops"] == int(net.run(right.netns, "nstat", "-asz", "UdpRcvbufErrors").split()[-2]) > 0
    assert mine[lite.fileno()]["device"] == in_netns(right.netns, lambda: socket.if_nametoindex(right.interface))
    assert (mine[lite.fileno()]["owner.uid"], mine[lite.fileno()]["ends.proto"]) == (4711, socket.IPPROTO_UDPLITE)
    for one in (server, full, lite, client, accepted, sender):
        one.close()


def test_a_process_is_named_and_placed_as_the_iterator_does_it(programs: SocketPrograms, diag: SockDiag, net: Net) -> None:
    """A name that /proc writes with escapes, in a control group below the first one."""
    netns = net.netns("a")
    name, folder = "a) \\ (\n7", diag._descriptors._cgroups
    serve = f"""
import pathlib, socket
pathlib.Path("/proc/self/comm").write_text({name!r})
server = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
input()
"""
    child = net.spawn(netns, "python3", "-c", serve)
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    assert folder
    group = Path(folder) / netns
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        agree(programs, diag, {cookie_of(netns)}, 1)
        [told] = of(diag.read(), {cookie_of(netns)}).values()
        assert (told["owner.comm"], told["owner.cgroup"]) == (name.encode(), group.stat().st_ino)
    finally:
        child.kill()
        child.wait()
        group.rmdir()


def test_where_all_listen_they_are_told_of_and_so_is_the_first_connection(diag: SockDiag, net: Net) -> None:
    netns = net.netns("a", ipv6=True)
    server = in_netns(netns, lambda: socket.create_server(("::1", 0), family=socket.AF_INET6))
    states = [told["ends.state"] for told in of(diag.read(), {cookie_of(netns)}).values()]
    assert states == [10]
    client = in_netns(netns, lambda: socket.create_connection(server.getsockname()[:2]))
    states = [told["ends.state"] for told in of(diag.read(), {cookie_of(netns)}).values()]
    assert sorted(states) == [1, 10]
    client.close()
    server.close()


def test_what_no_process_has_open_is_not_told_of(diag: SockDiag, net: Net) -> None:
    netns = net.netns("a")

    def make() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""

    in_netns(netns, make)
    assert "TIME-WAIT" in net.run(netns, "ss", "-Htan")
    assert of(diag.read(), {cookie_of(netns)}) == {}


def test_a_namespace_that_is_gone_keeps_no_other_from_being_told_of(worker: NamespaceWorker, census: Census, net: Net) -> None:
    census.refresh(processes=True)
    gone = Namespace(2**40, 4711, census.own.dev, "gone", path="/run/netns/gone")
    with socket.create_server(("127.0.0.1", 0)) as server:
        rows = SockDiag(worker, lambda: [gone, *census.namespaces()]).read()
        assert server.fileno() in rows["fd"][rows["owner"]["pid"] == os.getpid()]


def test_where_there_is_nothing_to_tell_there_are_no_rows(worker: NamespaceWorker) -> None:
    made = SockDiag(worker, list)
    assert (len(made.read()), made.read().dtype) == (0, RECORD)
    assert (len(made.events()), made.losses()) == (0, (0, 0))


def refused(*_: object) -> Any:
    raise LoadError("the kernel has no BTF")


def test_sock_diag_is_taken_where_the_programs_cannot_be_loaded(
    worker: NamespaceWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "SocketPrograms", refused)
    assert isinstance(choose_source("auto", worker, list), SockDiag)
    said = capsys.readouterr().out
    assert said.count("sockets_by_sock_diag") == 1
    assert "the kernel has no BTF" in said
    with pytest.raises(LoadError, match="no BTF"):
        choose_source("iterators", worker, list)


@pytest.mark.parametrize("name", ["auto", "sock_diag"])
def test_a_kernel_without_either_says_so(worker: NamespaceWorker, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(source, "SocketPrograms", refused)
    monkeypatch.setattr(DiagAsker, "sockets", missing)
    with pytest.raises(NotSupportedError, match="no sock_diag"):
        choose_source(name, worker, list)


def test_the_programs_are_taken_where_they_can_be_loaded(worker: NamespaceWorker) -> None:
    for name in ("auto", "iterators"):
        made = choose_source(name, worker, list)  # type: ignore[arg-type]
        assert isinstance(made, SocketPrograms)
        made.close()
    assert isinstance(choose_source("sock_diag", worker, list), SockDiag)
