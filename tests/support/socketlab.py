"""Sockets of all kinds in a namespace, and what ``ss`` says of them: the oracle of whatever reads sockets."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf.sockets import SocketPrograms
from exporters.sockets.diag import SockDiag
from exporters.sockets.shown import STATES
from support.netlab import Net, in_netns, until

MADE_UP = 1 << 63  # of a cookie that the kernel did not tell
_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
SS_STATES = {
    "ESTAB": "ESTABLISHED", "UNCONN": "CLOSE", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2",
}  # fmt: skip


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


def agree_with_ss(read: Callable[[], Any], net: Net, netns: str, many: int) -> None:
    """That a pass tells of as many sockets in a namespace, of this process, and of each what ss says."""
    before, rows, after = told_by_ss(net, netns), read(), told_by_ss(net, netns)
    ours = told_by_us(rows, cookie_of(netns))
    assert len(ours) == many
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


def same(ours: tuple[str, int], theirs: tuple[str, int]) -> bool:
    """ss writes any address of both families as ``*``."""
    if theirs[0] == "*":
        return ipaddress.ip_address(ours[0]).is_unspecified and ours[1] == theirs[1]
    return ours == theirs


def socket_cookie(opened: socket.socket) -> int:
    return int.from_bytes(opened.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)  # SO_COOKIE


def of(rows: NDArray[Any], netns: set[int]) -> dict[tuple[int, int], dict[str, Any]]:
    """All that rows tell of some namespaces: by process and descriptor, then by field."""
    found = {}
    for row in rows[np.isin(rows["ends"]["netns"], list(netns))]:
        told = dict(flat(row))
        told["owner.started"] -= told["owner.started"] % _TICK
        found[told["owner.pid"], told["fd"]] = told
    return found


def flat(row: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in row.dtype.names:
        if row[name].dtype.names:
            yield from flat(row[name], f"{prefix}{name}.")
        else:
            yield prefix + name, row[name].tolist()


def agree(programs: SocketPrograms, diag: SockDiag, netns: set[int], many: int) -> None:
    """That both tell the same of so many descriptors, once what is full moves no more (a closed window is probed)."""

    def same_of_all() -> bool:
        before, ours, after = of(programs.read(), netns), of(diag.read(), netns), of(programs.read(), netns)
        assert len(ours) == many
        assert ours.keys() == before.keys() == after.keys()
        for key, told in ours.items():
            if told["cookie"] >= MADE_UP:  # this kernel has no sock_diag for raw sockets
                assert told["type"] == socket.SOCK_RAW
                del told["cookie"]
            if told["ends.state"] not in (7, 10) or told["type"] == socket.SOCK_RAW:
                del told["only6"]  # sock_diag tells it of what is not connected
            for field, value in told.items():
                assert value in (before[key][field], after[key][field]), (key, field, before[key], told)
        return True

    until(same_of_all)
