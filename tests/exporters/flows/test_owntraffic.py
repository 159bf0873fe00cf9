"""Which flows are this process's own connections: of real sockets."""

from __future__ import annotations

import ipaddress
import socket

import numpy as np
import pytest

from exporters.flows.owntraffic import OwnTraffic
from exporters.flows.table import ROW, Rows


def row(one: tuple[str, int], other: tuple[str, int], proto: int = 6) -> Rows:
    made = np.zeros(1, ROW)
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


@pytest.mark.parametrize(
    ("family", "host", "listen"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "::1"), (socket.AF_INET6, "::ffff:127.0.0.1", "::")],
    ids=["ipv4", "ipv6", "ipv4 of a socket for both"],
)
def test_connection_that_we_hold_is_ours_either_way_until_it_is_closed(family: int, host: str, listen: str) -> None:
    with socket.create_server((listen, 0), family=socket.AddressFamily(family), dualstack_ipv6=listen == "::") as server:
        ours = socket.create_connection((host, server.getsockname()[1]))
        accepted, _ = server.accept()
        a, b = ours.getsockname()[:2], ours.getpeername()[:2]
        a, b = ((str(end[0]).removeprefix("::ffff:"), int(end[1])) for end in (a, b))
        rows = joined(
            row(a, b),
            row(b, a),
            row(a, b, proto=17),
            row(a, (b[0], b[1] ^ 1)),
            row(("192.0.2.9" if "." in a[0] else "2001:db8::9", a[1]), b),
        )
        assert OwnTraffic().mask(rows).tolist() == [True, True, False, False, False]
        ours.close()
        accepted.close()
        assert not OwnTraffic().mask(rows).any()


def test_listening_and_datagram_sockets_are_no_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(("127.0.0.1", 9))
        ends = datagrams.getsockname(), datagrams.getpeername()
        rows = joined(row(*ends), row(server.getsockname(), ("127.0.0.1", 9)))
        assert not OwnTraffic().mask(rows).any()
