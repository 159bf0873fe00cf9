"""The pass over all sockets against what ``ss`` says in each namespace, and what is told of sockets that live shortly."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.netlab import Net, in_netns, until

from exporters.bpf import sockets
from exporters.bpf.sockets import SocketPrograms, cgroup_root
from exporters.sockets.shown import STATES

pytestmark = pytest.mark.kernel

SS_STATES = {
    "ESTAB": "ESTABLISHED", "UNCONN": "CLOSE", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2",
}  # fmt: skip


@pytest.fixture(scope="module")
def programs() -> Iterator[SocketPrograms]:
    made = SocketPrograms()
    yield made
    made.close()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()


def told_by_ss(net: Net, netns: str) -> dict[tuple[int, int, int], tuple[Any, ...]]:
    """By cookie, pid and descriptor: protocol, state, queues, ends, inode."""
    found = {}
    for line in net.run(netns, "ss", "-Htuanpe").splitlines():
        kind, state, receive, send, local, remote, *rest = line.split()
        more = " ".join(rest)
        cookie, inode = re.search(r"sk:([0-9a-f]+)", more), re.search(r"ino:(\d+)", more)
        assert cookie, line
        for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", more):
            ends = [end(local), end(remote)]
            key = int(cookie[1], 16), int(pid), int(fd)
            told = SS_STATES.get(state, state.replace("-", "_"))
            found[key] = kind, told, int(receive), int(send), *ends, int(inode[1]) if inode else 0
    return found


def end(text: str) -> tuple[str, int]:
    """``address%device:port`` as ss has it; ``*`` is any."""
    address, _, port = text.rpartition(":")
    address = address.partition("%")[0].strip("[]")
    return address, 0 if port == "*" else int(port)


def told_by_us(rows: Any, netns: int) -> dict[tuple[int, int, int], tuple[Any, ...]]:
    found = {}
    for row in rows[rows["ends"]["netns"] == netns]:
        ends, proto = row["ends"], int(row["ends"]["proto"])
        family = socket.AF_INET if ends["family"] == 4 else socket.AF_INET6
        addresses = [socket.inet_ntop(family, raw.tobytes()[: 4 if ends["family"] == 4 else 16]) for raw in ends["addr"]]
        kind = {6: "tcp", 17: "udp"}.get(proto, "p_raw") if row["type"] != 3 else "p_raw"
        key = int(row["cookie"]), int(row["owner"]["pid"]), int(row["fd"])
        state, queues = STATES[int(ends["state"])], (int(row["receive_queue"]), int(row["send_queue"]))
        both = [(address, int(port)) for address, port in zip(addresses, ends["port"], strict=True)]
        found[key] = kind, state, *queues, *both, int(row["inode"])
    return found


def cookie_of(netns: str) -> int:
    with in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        return int.from_bytes(opened.getsockopt(socket.SOL_SOCKET, 71, 8), sys.byteorder)  # SO_NETNS_COOKIE


def opened_in(netns: str) -> list[socket.socket]:
    """One of each kind and state that a process can keep."""

    def make() -> list[socket.socket]:
        made = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            server = socket.create_server((address, 0), family=family, backlog=7)
            waiting, accepted_by, full, half = (socket.create_connection(server.getsockname()[:2]) for _ in range(4))
            accepted = [server.accept()[0] for _ in range(3)]
            full.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    full.send(b"x" * 65536)
            half.shutdown(socket.SHUT_WR)
            bound, joined = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
            bound.bind((address, 0))
            joined.connect(bound.getsockname()[:2])
            joined.send(b"x" * 100)
            raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            made += [server, waiting, accepted_by, full, half, *accepted, bound, joined, raw]
        dual = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        return [*made, dual, socket.create_connection(("127.0.0.1", dual.getsockname()[1])), dual.accept()[0]]

    return in_netns(netns, make)


def test_a_pass_sees_what_ss_sees_in_each_namespace(programs: SocketPrograms, net: Net) -> None:
    opened = [opened_in(net.netns(suffix, ipv6=True)) for suffix in "ab"]
    for netns in map(net.name, "ab"):
        before, rows, after = told_by_ss(net, netns), programs.read(), told_by_ss(net, netns)
        ours = told_by_us(rows, cookie_of(netns))
        assert len(ours) == len(opened[0])
        raw = [key for key, told in ours.items() if told[0] == "p_raw"]
        assert sorted(ours.pop(key)[4] for key in raw) == [("0.0.0.0", 1), ("::", 1)]  # ss tells nothing more of these
        assert ours.keys() == before.keys()
        for key, told in ours.items():
            kind, state, receive, send, local, remote, inode = told
            theirs = before[key]
            assert (kind, state, inode) == (theirs[0], theirs[1], theirs[6]), key
            assert (receive, send) in {before[key][2:4], after[key][2:4]}, key  # what is full is still being moved
            assert same(local, theirs[4])
            assert same(remote, theirs[5])
            assert key[1] == os.getpid()
    for several in opened:
        for one in several:
            one.close()


def same(ours: tuple[str, int], theirs: tuple[str, int]) -> bool:
    """ss writes any address of both families as ``*``."""
    if theirs[0] == "*":
        return ipaddress.ip_address(ours[0]).is_unspecified and ours[1] == theirs[1]
    return ours == theirs


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


def socket_cookie(opened: socket.socket) -> int:
    return int.from_bytes(opened.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)  # SO_COOKIE


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
