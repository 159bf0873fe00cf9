"""Why packets die, on Debian's stock kernels: reasons on all, conversations where packets that die can be read (6.2)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from support.droplab import Conversation, Drops, joined, kernel_counter, nft_count, nft_drop
from support.netlab import Net, in_netns, until

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)

READS_PACKETS = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 2)


@pytest.fixture
def counted(net: Net) -> Iterator[Drops]:
    made = Drops()
    yield made
    made.close()


def test_short_drops_by_reason_and_what_tcp_sends_again(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    counted.forget()
    nft_drop(net, b.netns, "meta l4proto { tcp, udp }")

    def send() -> tuple[int, int]:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        ):
            datagrams.connect((b.ip4, 777))
            for _ in range(7):
                datagrams.send(b"x")
            stream.setblocking(False)
            stream.connect_ex((b.ip4, 81))
            ports = datagrams.getsockname()[1], stream.getsockname()[1]
            until(lambda: kernel_counter(net, a.netns, "TcpExtTCPSynRetrans"), 60)
            return ports

    udp, tcp = in_netns(a.netns, send)

    again = kernel_counter(net, a.netns, "TcpExtTCPSynRetrans")
    until(lambda: nft_count(net, b.netns) == 7 + 1 + again, 60)
    assert counted.at(a.netns) == {"SYN again": again}
    assert counted.flows(a.netns) == [Conversation("SYN again", 6, (a.ip4, tcp), (b.ip4, 81), (again, 0))]
    assert counted.at(b.netns) == {"NETFILTER_DROP": 7 + 1 + again}
    expected = [
        Conversation("NETFILTER_DROP", 6, (a.ip4, tcp), (b.ip4, 81), (1 + again, 0)),
        Conversation("NETFILTER_DROP", 17, (a.ip4, udp), (b.ip4, 777), (7, 0)),
    ]
    assert counted.flows(b.netns) == (expected if READS_PACKETS else [])
