"""Which socket gets a datagram: as the kernel itself gave it."""

from __future__ import annotations

import random
import select
import socket
from typing import Any

import numpy as np
import pytest
from support.netlab import Net, in_netns

from exporters.bpf.sockets import RECORD, SocketPrograms
from exporters.sockets.bound import ENDS, Bound
from skytrail.kernel.worker import current_cookie

_SO_COOKIE = 57
PORTS = (5001, 5002)
LOCAL = {4: ("127.0.0.1", "10.0.0.1", "10.0.0.9"), 6: ("::1", "2001:db8::1")}
SENDERS = {4: ("10.0.0.1", 6001), 6: ("2001:db8::1", 6001)}


def family_of(address: str) -> int:
    return 6 if ":" in address else 4


def as_mapped(address: str) -> str:
    return address if ":" in address else f"::ffff:{address}"


def ends_of(netns: int, destination: tuple[str, int], sender: tuple[str, int]) -> Any:
    row = np.zeros(1, ENDS)
    row["netns"], row["family"] = netns, family_of(destination[0])
    for side, (address, port) in enumerate((destination, sender)):
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = socket.inet_pton(kind, address)
        row["addr"][0, side, : len(raw)], row["port"][0, side] = list(raw), port
    return row


def opened(chance: random.Random) -> list[socket.socket]:
    """Sockets of all sorts on two ports, as many as there is room for."""
    made = []
    for _ in range(8):
        six = chance.random() < 0.6
        one = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        if six:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, chance.random() < 0.4)
        if chance.random() < 0.5:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        only6 = six and bool(one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        addresses = [*LOCAL[6], "::"] if six else [*LOCAL[4], "0.0.0.0"]
        if six and not only6:
            addresses += [as_mapped(address) for address in (*LOCAL[4], "0.0.0.0")]
        try:
            one.bind((chance.choice(addresses), chance.choice(PORTS)))
            if chance.random() < 0.3:
                family = 4 if not six or "ffff" in one.getsockname()[0] else 6
                address, port = SENDERS[family]
                one.connect((as_mapped(address) if six else address, port))
        except OSError:  # the port is taken, or the families do not go together
            one.close()
            continue
        made.append(one)
    return made


@pytest.mark.kernel
def test_the_socket_that_is_named_is_the_one_that_got_it(net: Net, programs: SocketPrograms) -> None:
    netns = net.netns("a", ipv6=True)
    for address in ("10.0.0.1/24", "10.0.0.9/24", "2001:db8::1/64"):
        net.ip(f"address add {address} dev lo" + (" nodad" if ":" in address else ""), netns=netns)
    cookie = in_netns(netns, current_cookie)
    chance = random.Random(7)
    got, nobody = 0, 0
    for _ in range(60):
        sockets = in_netns(netns, lambda: opened(chance))
        rows = programs.read()
        _, first = np.unique(rows["cookie"], return_index=True)
        bound = Bound(rows[first])
        for port in PORTS:
            for destination in (*LOCAL[4], *LOCAL[6]):
                sender = (SENDERS[family_of(destination)][0], chance.choice((6001, 6002)))
                named = int(bound.find(ends_of(cookie, (destination, port), sender))[0])
                receiver = in_netns(netns, lambda: _send((destination, port), sender, sockets))  # noqa: B023 - called at once
                told = receiver.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8) if receiver else bytes(8)
                if alike(sockets, receiver):  # which of several that are the same is the kernel's affair
                    assert named
                else:
                    assert named == int.from_bytes(told, "little"), (destination, port, sender, sockets)
                got, nobody = got + bool(receiver), nobody + (receiver is None)
        for one in sockets:
            one.close()
    assert min(got, nobody) > 50


def alike(sockets: list[socket.socket], receiver: socket.socket | None) -> bool:
    """Whether another socket has the same port, and an address that is the same or as wide."""

    def place(one: socket.socket) -> tuple[str, int]:
        address, port = one.getsockname()[:2]
        bare = address.removeprefix("::ffff:")
        return ("any" if bare in ("0.0.0.0", "::") else bare), port

    return receiver is not None and sum(place(one) == place(receiver) for one in sockets) > 1


def _send(destination: tuple[str, int], sender: tuple[str, int], sockets: list[socket.socket]) -> socket.socket | None:
    """Send one datagram; which of the sockets has it."""
    kind = socket.AF_INET6 if ":" in destination[0] else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as source:
        source.bind(sender)
        source.sendto(b"x", destination)
    ready, _, _ = select.select(sockets, [], [], 0)  # over loopback it is there when sendto() returns
    for one in ready:
        try:
            one.recv(9)
        except ConnectionError:
            continue
        return one
    return None


def record(port: int, cookie: int, pid: int = 1, device: int = 0) -> Any:
    row = np.zeros(1, RECORD)
    row["ends"]["netns"], row["ends"]["family"], row["ends"]["proto"] = 3, 4, socket.IPPROTO_UDP
    row["ends"]["port"][0, 0], row["cookie"], row["owner"]["pid"], row["device"] = port, cookie, pid, device
    row["type"] = 2
    return row


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([record(53, 11)], 11),
        ([record(53, 11), record(53, 12)], 11),  # of one process
        ([record(53, 11), record(53, 12, pid=2)], 0),  # SO_REUSEPORT: whichever the kernel takes
        ([record(53, 11, device=4)], 0),  # which device is not known
        ([record(53, 11, device=4), record(53, 12)], 12),
        ([record(53, 11, device=4, pid=2), record(53, 12)], 0),
        ([record(54, 11)], 0),
        ([], 0),
    ],
)
def test_nobody_is_named_where_several_may_get_it(rows: list[Any], named: int) -> None:
    bound = Bound(np.concatenate([np.zeros(0, RECORD), *rows]))
    assert bound.find(ends_of(3, ("10.0.0.1", 53), ("10.0.0.2", 999))).tolist() == [named]
    assert bound.find(ends_of(4, ("10.0.0.1", 53), ("10.0.0.2", 999))).tolist() == [0]
