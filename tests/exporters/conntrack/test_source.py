"""Conntrack in this kernel: what we read of it against /proc/net/nf_conntrack, and the filter in the kernel."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address
from typing import Any

import pytest
from support.netlab import Net, in_netns, until

from exporters.conntrack.entries import KINDS
from exporters.conntrack.source import Events, conntrack_is_loaded, dump, statistics
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.worker import NamespaceWorker, current_cookie

pytestmark = pytest.mark.kernel

RULES = """
table ip nat {
    chain out {
        type nat hook output priority -100
        ip daddr 127.0.0.9 dnat to 127.0.0.1
        udp dport 99 dnat to 127.0.0.1:98
    }
}
table ip6 nat {
    chain out {
        type nat hook output priority -100
        tcp dport 99 dnat to [::1]:98
    }
}
"""


def namespace_of(name: str) -> Namespace:
    stat = (Roots().run / "netns" / name).stat()
    cookie = in_netns(name, current_cookie)
    return Namespace(cookie, stat.st_ino, stat.st_dev, name=name, path=f"/run/netns/{name}")


def in_proc(text: str) -> set[tuple[Any, ...]]:
    """Translated connections by the text file: protocol, then source, destination of the original and of what goes on."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        told = [word.split("=") for word in words if "=" in word]
        ends = [value for key, value in told if key in ("src", "dst")]
        ports = [int(value) for key, value in told if key in ("sport", "dport")] or [8, 0, 0, 8]
        original = (ends[0], ports[0]), (ends[1], ports[1])
        reply = (ends[2], ports[2]), (ends[3], ports[3])
        if original != reply[::-1]:
            found.add((int(words[3]), *normal(original), *normal(reply[::-1])))
    return found


def normal(ends: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((str(ip_address(address)), port) for address, port in ends)


def read(rows: Any) -> set[tuple[Any, ...]]:
    def ends(row: Any) -> tuple[tuple[str, int], ...]:
        width = 4 if row["family"] == 4 else 16
        return tuple(
            (str(ip_address(row_["addr"][side, :width].tobytes())), int(row_["port"][side]))
            for row_ in (row["original"], row["translated"])
            for side in (0, 1)
        )

    return {(int(row["proto"]), *ends(row)) for row in rows}


def traffic() -> None:
    for host, port in (("127.0.0.9", 97), ("127.0.0.1", 99), ("127.0.0.1", 96)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", (host, port))
    with socket.create_server(("127.0.0.1", 95)) as server:
        socket.create_connection(("127.0.0.9", 95)).close()
        server.accept()[0].close()
    with socket.create_server(("::1", 98), family=socket.AF_INET6) as server:
        socket.create_connection(("::1", 99)).close()
        server.accept()[0].close()


def reset() -> None:
    with socket.create_server(("127.0.0.1", 94)) as server:
        client = socket.create_connection(("127.0.0.9", 94))
        server.accept()[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def test_waits_for_events_where_a_thousand_files_are_open(net: Net) -> None:
    name = net.netns("n", ipv6=True)
    net.run(name, "nft", "-f", "-", stdin=RULES)
    many = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(1100)]  # two for each interface captured
    try:
        events = in_netns(name, Events)
    finally:
        for fd in many:
            os.close(fd)
    try:
        assert not events.wait(0)
        in_netns(name, traffic)
        assert events.wait(5)
    finally:
        events.close()


def test_dump_events_and_counters_are_what_proc_says(net: Net) -> None:
    name = net.netns("n", ipv6=True)
    net.run(name, "nft", "-f", "-", stdin=RULES)
    assert conntrack_is_loaded()
    worker = NamespaceWorker()
    events = in_netns(name, Events)
    try:
        in_netns(name, traffic)
        net.run(name, "ping", "-c", "1", "-W", "2", "127.0.0.9")
        said = in_netns(name, lambda: open("/proc/thread-self/net/nf_conntrack").read())  # noqa: PTH123, SIM115
        expected = in_proc(said)
        assert {(one[0], one[2][1]) for one in expected} == {(17, 97), (17, 99), (6, 95), (6, 99), (1, 0)}
        assert len(said.splitlines()) > len(expected)  # one is not translated

        namespace = namespace_of(name)
        dumped = dump(worker, namespace)
        assert read(dumped) == expected
        assert set(dumped["netns"].tolist()) == {namespace.cookie}
        assert {KINDS[int(kinds)] for kinds in dumped["kinds"]} == {"dnat"}

        heard, numbers, overrun = events.read()
        assert read(heard) == expected
        assert (set(numbers.tolist()), overrun, heard["gone"].any()) == ({-1}, False, False)

        counted = statistics(worker, namespace)
        assert counted.entries == len(said.splitlines())
        limit = net.run(name, "sysctl", "-n", "net.netfilter.nf_conntrack_max")
        assert counted.most == int(limit)

        net.run(name, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close=1")
        in_netns(name, reset)  # it is gone a second later, when somebody looks
        ended: list[Any] = []

        def over() -> bool:
            net.run(name, "cat", "/proc/net/nf_conntrack")
            rows, _, _ = events.read()
            ended.extend(rows[rows["gone"]])
            return bool(ended)

        until(over, 30)
        assert {(int(row["proto"]), int(row["original"]["port"][1])) for row in ended} == {(6, 94)}
    finally:
        events.close()
        worker.close()
