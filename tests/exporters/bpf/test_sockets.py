"""The pass over all sockets against what ``ss`` says in each namespace, and what is told of sockets that live shortly."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.netlab import Net, in_netns, until
from support.socketlab import agree_with_ss, cookie_of, opened_in, socket_cookie

from exporters.bpf import sockets
from exporters.bpf.sockets import SocketPrograms, cgroup_root

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def programs() -> Iterator[SocketPrograms]:
    made = SocketPrograms()
    yield made
    made.close()


def test_a_pass_sees_what_ss_sees_in_each_namespace(programs: SocketPrograms, net: Net) -> None:
    opened = [opened_in(net.netns(suffix, ipv6=True)) for suffix in "ab"]
    for netns in map(net.name, "ab"):
        agree_with_ss(programs.read, net, netns, len(opened[0]))
    for several in opened:
        for one in several:
            one.close()


def test_a_socket_that_two_processes_have_is_told_of_for_each(programs: SocketPrograms) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[server.fileno()])
        try:
            until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
            rows = programs.read()
            mine = rows[rows["cookie"] == socket_cookie(server)]
            names = {int(row["owner"]["pid"]): row["owner"]["comm"] for row in mine}
            assert names.keys() == {os.getpid(), child.pid}
            assert names[child.pid] == b"sleep"
        finally:
            child.kill()
            child.wait()


def events_of(programs: SocketPrograms, netns: int, many: int) -> list[Any]:
    found: list[Any] = []

    def come() -> bool:
        found.extend(one for one in programs.events() if one["ends"]["netns"] == netns)
        return len(found) >= many

    until(come)
    return found


TALK = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
client.sendall(b"x" * 1000)
while len(got := accepted.recv(2000, socket.MSG_PEEK)) < 1000: pass
accepted.recv(2000)
client.close()
assert accepted.recv(1) == b""
accepted.close()
print(server.getsockname()[1], flush=True)
"""


def test_both_ends_of_a_short_connection_are_told_of_with_their_process(programs: SocketPrograms, net: Net) -> None:
    netns = net.netns("a")
    cookie = cookie_of(netns)
    programs.events()
    talker = net.spawn(netns, sys.executable, "-c", TALK)
    assert talker.stdout
    port = int(talker.stdout.readline())
    events = events_of(programs, cookie, 4)
    kinds = [int(one["kind"]) for one in events]
    assert sorted(kinds) == [sockets.CONNECTED, sockets.ACCEPTED, sockets.CLOSED, sockets.CLOSED]
    assert {int(one["owner"]["pid"]) for one in events} == {talker.pid}
    assert {one["owner"]["comm"].decode() for one in events} <= {"python", "python3", Path(sys.executable).name[:15]}
    connected = events[kinds.index(sockets.CONNECTED)]
    assert connected["ends"]["port"][1] == port
    assert 0 < connected["latency"] < 10**9
    closed = {int(one["cookie"]): one for one in events if one["kind"] == sockets.CLOSED}
    assert closed.keys() == {int(one["cookie"]) for one in events if one["kind"] in (sockets.CONNECTED, sockets.ACCEPTED)}
    client = closed[int(connected["cookie"])]
    assert (client["tcp"]["sent"], client["error"]) == (1000, 0)
    assert (client["ends"]["port"] == connected["ends"]["port"]).all()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listened_before_is_the_owner_of_what_is_accepted(net: Net, address: str) -> None:
    netns = net.netns("a", ipv6=True)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = in_netns(netns, lambda: socket.create_server((address, 0), family=family))
    made = SocketPrograms()
    try:
        client = net.spawn(netns, "bash", "-c", f"exec 3<>/dev/tcp/{address}/{server.getsockname()[1]}; echo done; exec 3>&-")
        events = events_of(made, cookie_of(netns), 2)
        owners = {int(one["kind"]): int(one["owner"]["pid"]) for one in events}
        assert owners[sockets.CONNECTED] == client.pid
        assert owners[sockets.ACCEPTED] == os.getpid()  # it has not called accept() at all
    finally:
        server.close()
        made.close()


@pytest.mark.parametrize(
    ("command", "error"), [("", errno.ECONNREFUSED), ("ip route add unreachable 192.0.2.0/24", None), ("drop", errno.ETIMEDOUT)]
)
def test_a_connect_that_fails_is_told_of_with_its_reason(
    programs: SocketPrograms, net: Net, command: str, error: int | None
) -> None:
    netns = net.netns("a")
    cookie = cookie_of(netns)
    if command == "drop":
        net.run(netns, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1", "net.ipv4.tcp_syn_linear_timeouts=0", check=False)
        net.run(netns, "nft", "add table ip t; add chain ip t c { type filter hook output priority 0 ; }")
        net.run(netns, "nft", "add rule ip t c tcp dport 1 drop")
    elif command:
        net.run(netns, *command.split())
    programs.events()
    address = "192.0.2.1" if command.startswith("ip") else "127.0.0.1"
    net.run(netns, "bash", "-c", f"exec 3<>/dev/tcp/{address}/1", check=False)
    if error is None:  # it never left connect(): no socket was on its way
        assert not [one for one in programs.events() if one["ends"]["netns"] == cookie and one["kind"] == sockets.CONNECTED]
        return
    [event] = events_of(programs, cookie, 1)
    assert (int(event["kind"]), int(event["error"])) == (sockets.FAILED, error)
    assert event["owner"]["comm"] == b"bash"
    assert event["latency"] > (10**9 if error == errno.ETIMEDOUT else 0)


def test_a_datagram_socket_is_told_of_when_it_is_opened(programs: SocketPrograms, net: Net) -> None:
    assert programs.sees_datagrams == (cgroup_root() is not None)
    netns = net.netns("a")
    programs.events()
    told = net.run(netns, sys.executable, "-c", OPEN)
    created = [one for one in programs.events() if one["kind"] == sockets.CREATED and one["cookie"] == int(told)]
    assert [(int(one["ends"]["proto"]), one["ends"]["netns"] == cookie_of(netns)) for one in created] == [(17, True)]


OPEN = """
import socket
opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(int.from_bytes(opened.getsockopt(socket.SOL_SOCKET, 57, 8), "little"))
"""


def test_ten_thousand_short_connections_are_each_told_of(programs: SocketPrograms, net: Net) -> None:
    netns, many = net.netns("a"), 10_000
    net.run(netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
    server = net.spawn(netns, sys.executable, "-c", SERVE)
    assert server.stdout
    port = server.stdout.readline().strip()
    cookie = cookie_of(netns)
    programs.events()
    lost = programs.losses()
    client = net.spawn(netns, sys.executable, "-c", CONNECT, port, str(many))
    events = np.array(events_of(programs, cookie, 4 * many))
    assert programs.losses() == lost
    for kind, pids in (
        (sockets.CONNECTED, {client.pid}),
        (sockets.ACCEPTED, {server.pid}),
        (sockets.CLOSED, {client.pid, server.pid}),
    ):
        some = events[events["kind"] == kind]
        assert len(np.unique(some["cookie"])) == len(some) == (2 * many if kind == sockets.CLOSED else many)
        assert set(some["owner"]["pid"].tolist()) == pids


SERVE = """
import socket
server = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(server.getsockname()[1], flush=True)
while True: server.accept()[0].close()
"""
CONNECT = """
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client: client.recv(1)
"""
