"""Which flows are this process's own exports: of real sockets."""

from __future__ import annotations

import ipaddress
import socket

import numpy as np
import pytest

from exporters.flows.owntraffic import OwnTraffic
from exporters.flows.table import ROW, Rows


def row(one: tuple[str, int], other: tuple[str, int], proto: int = 6, *, answered: bool = False) -> Rows:
    """A flow; where it was answered, both ends sent SYN and ACK, else the first end sent SYN and the second RST."""
    made = np.zeros(1, ROW)
    made["flow"]["tcp_flags"] = (18, 18) if answered else (2, 20)
    made["key"]["tags"] = proto << 8
    for side, (host, port) in enumerate((one, other)):
        packed = ipaddress.ip_address(host).packed
        made["key"]["addr"][0, side, : len(packed)] = list(packed)
        made["key"]["port"][0, side] = port
    made["family"] = ipaddress.ip_address(one[0]).version
    return made


def joined(*rows: Rows) -> Rows:
    result = np.zeros(len(rows), ROW)
    for at, one in enumerate(rows):
        result[at] = one[0]
    return result


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ends_of(connection: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    """Ours, theirs; IPv4 in IPv6 as IPv4."""
    ends = (connection.getsockname(), connection.getpeername())
    ours, theirs = ((str(end[0]).removeprefix("::ffff:"), int(end[1])) for end in ends)
    return ours, theirs


FAMILIES = [
    pytest.param(socket.AF_INET, "127.0.0.1", "127.0.0.1", id="ipv4"),
    pytest.param(socket.AF_INET6, "::1", "::1", id="ipv6"),
    pytest.param(socket.AF_INET6, "::ffff:127.0.0.1", "::", id="ipv4 of a socket for both"),
]


@pytest.mark.parametrize(("family", "host", "listen"), FAMILIES)
@pytest.mark.parametrize("told", [True, False], ids=["told", "found"])
def test_connection_to_a_collector_is_ours_either_way_for_a_while(family: int, host: str, listen: str, told: bool) -> None:
    clock = Clock()
    own = OwnTraffic(clock)
    with socket.create_server((listen, 0), family=socket.AddressFamily(family), dualstack_ipv6=listen == "::") as server:
        port = server.getsockname()[1]
        with socket.create_connection((host, port)) as connection:
            ours, theirs = ends_of(connection)
            if told:
                own.connected(connection.getsockname(), connection.getpeername())
            else:
                own.trying(host, port)
                own.look()
    flows = joined(
        row(ours, theirs, answered=True),
        row(theirs, ours, answered=True),
        row(ours, theirs, proto=17),
        row(ours, (theirs[0], theirs[1] ^ 1)),
        row(("192.0.2.9" if "." in ours[0] else "2001:db8::9", ours[1]), theirs),
    )
    assert own.mask(flows).tolist() == [True, True, False, False, False]
    clock.now += 3600
    own.connected(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert not own.mask(flows).any()


def test_attempt_that_nobody_answered_is_ours_only_from_here_to_a_collector() -> None:
    own = OwnTraffic()
    own.trying("localhost", 4317)
    collector, here = ("127.0.0.1", 4317), ("127.0.0.1", 40000)
    flows = joined(
        row(here, collector),
        established(row(here, collector)),  # begun before anybody looked
        row(here, collector, answered=True),  # another exporter's on this host
        row(("192.0.2.9", 40000), collector),
        row(here, ("127.0.0.1", 4318)),
    )
    assert own.mask(flows).tolist() == [True, False, False, False, False]


def established(flow: Rows) -> Rows:
    flow["flow"]["tcp_flags"] = 16
    return flow


def test_connections_of_our_server_are_flows_like_others() -> None:
    own = OwnTraffic()
    own.trying("127.0.0.1", 9)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        own.look()
        assert not own.mask(row(*ends_of(connection), answered=True)).any()


def test_host_without_an_address_is_nobodys() -> None:
    own = OwnTraffic()
    own.trying("no-such-host.invalid", 4317)
    own.look()
    assert not own.mask(row(("127.0.0.1", 1), ("127.0.0.1", 4317))).any()
