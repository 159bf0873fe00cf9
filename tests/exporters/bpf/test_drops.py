"""Drops that are made for the purpose, in namespaces of the test's own: each is counted once, under the right reason.

The oracles are the kernel's own counters (nstat) and nftables'. The namespaces have no IPv6 unless they need it, so that
nobody talks in them but the test: all that was counted there is what was injected.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from support.droplab import Conversation, Drops, cookie_of, joined, kernel_counter, nft_count, nft_drop
from support.needs import root
from support.netlab import End, Net, in_netns, until
from support.programs import held_by, loaded

from exporters.bpf import drops, syscall
from exporters.bpf.drops import PROGRAMS
from exporters.bpf.select import choose_loader

pytestmark = pytest.mark.kernel

UDP_PROTO, TCP_PROTO = 17, 6
SO_ATTACH_FILTER = 26


@pytest.fixture
def counted(net: Net) -> Iterator[Drops]:
    made = Drops()
    try:
        yield made
    finally:
        made.close()


def ifindex(net: Net, end: End) -> int:
    return int(net.link(end.netns, end.interface)["ifindex"])


def send_udp(netns: str, target: str, port: int, count: int, source: tuple[str, int] = ("", 0)) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET

    def send() -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.bind(source)
            for _ in range(count):
                sender.sendto(b"x", (target, port))

    in_netns(netns, send)


def send_raw(end: End, *frames: Packet) -> None:
    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((end.interface, 0))
            for frame in frames:
                sender.send(bytes(frame))

    in_netns(end.netns, send)


def open_socket(end: End, kind: socket.SocketKind, port: int, setup: Callable[[socket.socket], object]) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.bind((end.ip4, port))
        setup(made)
        return made

    return in_netns(end.netns, make)


def client(end: End) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.bind((end.ip4, 0))
        made.setblocking(False)
        return made

    return in_netns(end.netns, make)


def connect(sender: socket.socket, to: End, port: int) -> None:
    sender.settimeout(10)
    sender.connect((to.ip4, port))


def test_packet_dropped_by_nftables(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, b.netns, "udp dport 777")

    send_udp(a.netns, b.ip4, 777, 7, (a.ip4, 5000))

    until(lambda: nft_count(net, b.netns) == 7)
    assert counted.at(b.netns) == counted.at(b.netns, ifindex(net, b)) == {"NETFILTER_DROP": 7}
    assert counted.flows(b.netns) == [Conversation("NETFILTER_DROP", UDP_PROTO, (a.ip4, 5000), (b.ip4, 777), (7, 0))]
    assert counted.at(a.netns) == {}


def test_packet_dropped_on_its_way_out_has_its_route_as_device(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, b.netns, "udp dport 99", "output")

    with pytest.raises(PermissionError):
        send_udp(b.netns, a.ip4, 99, 1, (b.ip4, 888))

    assert nft_count(net, b.netns, "output") == 1
    assert counted.at(b.netns, ifindex(net, b)) == {"NETFILTER_DROP": 1}
    assert counted.flows(b.netns) == [Conversation("NETFILTER_DROP", UDP_PROTO, (a.ip4, 99), (b.ip4, 888), (0, 1))]


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_udp_port_without_socket(net: Net, counted: Drops, *, six: bool) -> None:
    a, b = joined(net, counted, ipv6=six)
    source, target = (a.ip6, b.ip6) if six else (a.ip4, b.ip4)

    send_udp(a.netns, target, 5555, 3, (source, 5001))

    until(lambda: kernel_counter(net, b.netns, "Udp6NoPorts" if six else "UdpNoPorts") == 3)
    assert counted.at(b.netns, ifindex(net, b))["NO_SOCKET"] == 3
    found = [one for one in counted.flows(b.netns) if one.proto == UDP_PROTO]
    assert found == [Conversation("NO_SOCKET", UDP_PROTO, (source, 5001), (target, 5555), (3, 0))]


def test_no_route(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    net.run(b.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    net.ip(f"route add 198.51.100.0/24 via {b.ip4}", netns=a.netns)

    send_udp(a.netns, "198.51.100.7", 53, 3, (a.ip4, 5002))

    until(lambda: kernel_counter(net, b.netns, "IpExtInNoRoutes") == 3)
    assert counted.at(b.netns) == counted.at(b.netns, ifindex(net, b)) == {"IP_INNOROUTES": 3}
    assert counted.flows(b.netns) == [Conversation("IP_INNOROUTES", UDP_PROTO, (a.ip4, 5002), ("198.51.100.7", 53), (3, 0))]


def test_reverse_path_filter(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    net.run(b.netns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    net.ip("address add 203.0.113.5/32 dev lo", netns=a.netns)

    send_udp(a.netns, b.ip4, 53, 4, ("203.0.113.5", 6000))

    until(lambda: kernel_counter(net, b.netns, "TcpExtIPReversePathFilter") == 4)
    assert counted.at(b.netns) == counted.at(b.netns, ifindex(net, b)) == {"IP_RPFILTER": 4}
    assert counted.flows(b.netns) == [Conversation("IP_RPFILTER", UDP_PROTO, (b.ip4, 53), ("203.0.113.5", 6000), (0, 4))]


def test_bad_checksums(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    ether = Ether(src=net.mac(a), dst=net.mac(b))
    with open_socket(b, socket.SOCK_DGRAM, 8, lambda _: None):
        send_raw(
            a,
            ether / IP(src=a.ip4, dst=b.ip4) / UDP(sport=7, dport=8, chksum=0x1234) / b"xxxx",
            ether / IP(src=a.ip4, dst=b.ip4) / TCP(sport=9, dport=80, chksum=0x1234),
            ether / IP(src=a.ip4, dst=b.ip4, chksum=1) / UDP(sport=7, dport=9),
        )

        for name in ("UdpInCsumErrors", "TcpInCsumErrors", "IpExtInCsumErrors"):
            until(lambda name=name: kernel_counter(net, b.netns, name) == 1)
    assert counted.at(b.netns) == counted.at(b.netns, ifindex(net, b)) == {"UDP_CSUM": 1, "TCP_CSUM": 1, "IP_CSUM": 1}
    assert counted.flows(b.netns) == [
        Conversation("IP_CSUM", UDP_PROTO, (a.ip4, 7), (b.ip4, 9), (1, 0)),
        Conversation("TCP_CSUM", TCP_PROTO, (a.ip4, 9), (b.ip4, 80), (1, 0)),
        Conversation("UDP_CSUM", UDP_PROTO, (a.ip4, 7), (b.ip4, 8), (1, 0)),
    ]


def test_packet_too_big_for_the_next_link(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    near, far = End(b.netns, net.name("x"), "10.9.0.1"), End(net.netns("c"), net.name("y"), "10.9.0.2")
    net.veth(near, far)
    net.ip(f"link set {near.interface} mtu 1000", netns=b.netns)
    net.run(b.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    ether = Ether(src=net.mac(a), dst=net.mac(b))

    send_raw(a, ether / IP(src=a.ip4, dst=far.ip4, flags="DF") / UDP(sport=5, dport=6) / bytes(1200))

    until(lambda: kernel_counter(net, b.netns, "IpFragFails") == 1)
    assert counted.at(b.netns) == {"PKT_TOO_BIG": 1}
    assert counted.flows(b.netns) == [Conversation("PKT_TOO_BIG", UDP_PROTO, (a.ip4, 5), (far.ip4, 6), (1, 0))]


def test_receive_buffer_is_full(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    with open_socket(b, socket.SOCK_DGRAM, 53, lambda made: made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)):
        send_udp(a.netns, b.ip4, 53, 100, (a.ip4, 5000))
        lost = until(lambda: kernel_counter(net, b.netns, "UdpRcvbufErrors"))

        assert 100 > lost == kernel_counter(net, b.netns, "UdpInErrors")
    assert counted.at(b.netns) == counted.at(b.netns, ifindex(net, b)) == {"SOCKET_RCVBUFF": lost}


def test_accept_queue_is_full_when_a_handshake_ends(net: Net, counted: Drops) -> None:
    """Three handshakes are half open when there is room for two: the last one's ACK is dropped."""
    a, b = joined(net, counted)
    stranger, mac = "10.0.0.77", net.mac(a)  # nobody's address: nobody resets its connections
    net.ip(f"neighbour add {stranger} lladdr {mac} dev {b.interface}", netns=b.netns)
    ether = Ether(src=mac, dst=net.mac(b))

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        made.bind((a.interface, 0x0800))
        made.settimeout(10)
        return made

    with open_socket(b, socket.SOCK_STREAM, 90, lambda made: made.listen(1)), in_netns(a.netns, listen) as ear:
        ports = (1001, 1002, 1003)
        syns = [ether / IP(src=stranger, dst=b.ip4) / TCP(sport=port, dport=90, seq=100, flags="S") for port in ports]
        send_raw(a, *syns)
        answers: dict[int, int] = {}
        while len(answers) < len(ports):
            answer = Ether(ear.recv(2048))
            if TCP in answer and answer[TCP].flags == "SA":
                answers[answer[TCP].dport] = answer[TCP].seq
        for port in ports:
            tcp = TCP(sport=port, dport=90, seq=101, ack=answers[port] + 1, flags="A")
            send_raw(a, ether / IP(src=stranger, dst=b.ip4) / tcp)

        until(lambda: kernel_counter(net, b.netns, "TcpExtListenOverflows") == 1)
        (found,) = counted.flows(b.netns)
        assert found.what in {"TCP_LISTEN_OVERFLOW", "NO_SOCKET"}  # the latter is what Linux 6.18 says
        assert found[1:] == (TCP_PROTO, (b.ip4, 90), (stranger, ports[-1]), (0, 1))
        assert counted.at(b.netns, ifindex(net, b)) == {found.what: 1}


def test_what_tcp_sends_again(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    with open_socket(b, socket.SOCK_STREAM, 80, lambda made: made.listen(5)) as server, client(a) as sender:
        connect(sender, b, 80)
        port = sender.getsockname()[1]
        accepted, _ = server.accept()
        nft_drop(net, b.netns, "tcp dport 80")
        sender.send(b"lost")

        until(lambda: kernel_counter(net, a.netns, "TcpRetransSegs") >= 2)
        net.run(b.netns, "nft", "flush", "ruleset")
        with accepted:
            assert accepted.recv(4) == b"lost"
        again = kernel_counter(net, a.netns, "TcpRetransSegs")
        assert counted.at(a.netns) == {"retransmit": again}
        assert counted.flows(a.netns) == [Conversation("retransmit", TCP_PROTO, (a.ip4, port), (b.ip4, 80), (again, 0))]


def test_syn_that_nobody_answers(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, b.netns, "tcp dport 81")
    with client(a) as sender:
        sender.connect_ex((b.ip4, 81))
        port = sender.getsockname()[1]
        again = until(lambda: kernel_counter(net, a.netns, "TcpExtTCPSynRetrans"))

        until(lambda: counted.at(a.netns) == {"SYN again": again})  # the kernel counts before it tells
        assert counted.flows(a.netns) == [Conversation("SYN again", TCP_PROTO, (a.ip4, port), (b.ip4, 81), (again, 0))]
        assert counted.at(b.netns) == {"NETFILTER_DROP": nft_count(net, b.netns)} == {"NETFILTER_DROP": 1 + again}


def test_syn_ack_that_nobody_answers(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, a.netns, "tcp sport 82")
    with open_socket(b, socket.SOCK_STREAM, 82, lambda made: made.listen(5)), client(a) as sender:
        sender.connect_ex((b.ip4, 82))
        port = sender.getsockname()[1]
        until(lambda: kernel_counter(net, b.netns, "TcpRetransSegs"))
        sender.close()
        again = kernel_counter(net, b.netns, "TcpRetransSegs")

        assert counted.at(b.netns).get("SYN-ACK again") == again
        found = [one for one in counted.flows(b.netns) if one.what == "SYN-ACK again"]
        assert found == [Conversation("SYN-ACK again", TCP_PROTO, (a.ip4, port), (b.ip4, 82), (0, again))]


def test_reset_is_counted_where_it_was_sent_and_where_it_came(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, a.netns, "tcp flags & rst == rst", verdict="")
    with client(a) as sender:
        sender.connect_ex((b.ip4, 83))
        port = sender.getsockname()[1]
        until(lambda: nft_count(net, a.netns) == 1)

    assert kernel_counter(net, b.netns, "TcpOutRsts") == 1
    ends = (TCP_PROTO, (a.ip4, port), (b.ip4, 83))
    assert counted.at(a.netns) == {"reset received": 1}
    assert counted.flows(a.netns) == [Conversation("reset received", *ends, (0, 1))]
    assert counted.at(b.netns, ifindex(net, b)) == {"reset sent": 1, "NO_SOCKET": 1}
    assert counted.flows(b.netns) == [
        Conversation("NO_SOCKET", *ends, (1, 0)),
        Conversation("reset sent", *ends, (0, 1)),
    ]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv4 on an IPv6 socket"])
def test_reset_of_a_connection_closed_with_unread_data(family: socket.AddressFamily, net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)

    def listen() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.bind(("", 84))
        made.listen(5)
        return made

    with in_netns(b.netns, listen) as server, client(a) as sender:
        connect(sender, b, 84)
        port = sender.getsockname()[1]
        accepted, _ = server.accept()
        sender.send(b"unread")
        until(lambda: accepted.recv(6, socket.MSG_PEEK))
        accepted.close()
        until(lambda: kernel_counter(net, b.netns, "TcpOutRsts") == 1)

        ends = (TCP_PROTO, (a.ip4, port), (b.ip4, 84))
        assert counted.flows(b.netns) == [Conversation("reset sent", *ends, (0, 1))]
        assert counted.flows(a.netns) == [Conversation("reset received", *ends, (0, 1))]


def test_reset_over_ipv6(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted, ipv6=True)

    def refused() -> int:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sender:
            sender.bind((a.ip6, 0))
            assert sender.connect_ex((b.ip6, 83)) == errno.ECONNREFUSED
            return int(sender.getsockname()[1])

    port = in_netns(a.netns, refused)

    ends = (TCP_PROTO, (a.ip6, port), (b.ip6, 83))
    assert [one for one in counted.flows(b.netns) if one.proto == TCP_PROTO] == [
        Conversation("NO_SOCKET", *ends, (1, 0)),
        Conversation("reset sent", *ends, (0, 1)),
    ]
    assert [one for one in counted.flows(a.netns) if one.proto == TCP_PROTO] == [Conversation("reset received", *ends, (0, 1))]


def test_segment_that_a_connection_refuses_has_the_device_that_it_came_by(net: Net, counted: Drops) -> None:
    """TCP takes the device off what it receives before it looks at it."""
    a, b = joined(net, counted)
    with open_socket(b, socket.SOCK_STREAM, 86, lambda made: made.listen(5)) as server, client(a) as sender:
        connect(sender, b, 86)
        accepted, _ = server.accept()
        port = sender.getsockname()[1]
        with accepted:
            tcp = TCP(sport=port, dport=86, seq=1, ack=1, flags="R")  # in no window that there is
            send_raw(a, Ether(src=net.mac(a), dst=net.mac(b)) / IP(src=a.ip4, dst=b.ip4) / tcp)

            (found,) = until(lambda: counted.flows(b.netns))
        assert found[1:] == (TCP_PROTO, (a.ip4, port), (b.ip4, 86), (1, 0))
        assert found.what.startswith("TCP_")
        assert counted.at(b.netns, ifindex(net, b)) == {found.what: 1}


def test_normal_ends_are_no_drops(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # return 0: a filter that keeps nothing
    program = struct.pack("@HP", 1, ctypes.addressof(nothing))

    with open_socket(b, socket.SOCK_DGRAM, 53, lambda made: made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)):
        send_udp(a.netns, b.ip4, 53, 5)
        until(lambda: kernel_counter(net, b.netns, "UdpInErrors") == 5)
    net.ping(a.netns, b.ip4, count=3)
    with open_socket(b, socket.SOCK_STREAM, 85, lambda made: made.listen(5)) as server, client(a) as sender:
        connect(sender, b, 85)
        accepted, _ = server.accept()
        with accepted:
            sender.send(b"read")
            assert accepted.recv(4) == b"read"

    assert counted.at(a.netns) == {}
    assert counted.at(b.netns) == {}


def test_what_a_program_is_tried_on_is_no_packet(net: Net, counted: Drops) -> None:
    """So does the agent close flows: each run frees a buffer, which the kernel tells as a drop without a reason on ``lo``."""
    netns = net.netns("t")
    program = choose_loader("libbpf", max_flows=1024, max_points=16)
    try:
        run = syscall.TestRun(program.entry(1, 0), 1500)
        in_netns(netns, lambda: [run.run(64) for _ in range(50)])
    finally:
        program.close()
    assert counted.at(netns) == {}


def test_nothing_is_lost_between_readings(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, b.netns, "udp dport 777")
    many = 100_000
    code = (
        "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect((sys.argv[1], 777))\n"
        "for _ in range(int(sys.argv[2])): s.send(b'x')"
    )
    sender = net.spawn(a.netns, sys.executable, "-c", code, b.ip4, str(many))
    readings = 0
    while sender.poll() is None:
        counted.read()
        readings += 1

    dropped = nft_count(net, b.netns)
    assert readings > 1
    assert dropped == many
    assert counted.at(b.netns) == {"NETFILTER_DROP": many}


def test_conversations_that_find_no_room_are_counted(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    nft_drop(net, b.netns, "ip saddr 10.0.0.1")

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in range(1, 20_001):
                sender.sendto(b"x", (b.ip4, port))

    counted.read()
    before = counted.programs.tally()
    in_netns(a.netns, send)

    until(lambda: nft_count(net, b.netns) == 20_000)
    assert counted.at(b.netns) == {"NETFILTER_DROP": 20_000}
    tally = counted.programs.tally()
    missing = tally.flows_full - before.flows_full
    assert missing >= 20_000 - 16_384
    assert sum(one.packets[0] + one.packets[1] for one in counted.flows(b.netns)) >= 20_000 - missing
    # others on this machine have drops too: what is counted by the tally is in the maps
    assert tally.places_full == tally.nested == 0


def test_killed_process_leaves_no_program(tmp_path: Path) -> None:
    root()
    code = (
        "from exporters.bpf.drops import DropPrograms\nimport signal\n"
        "held = DropPrograms({})\nprint('ready', flush=True)\nsignal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"

    def ours() -> set[int]:
        return {number for number, name in loaded().items() if name[:15] in names} & held

    names = {name[:15] for name in PROGRAMS}  # as much as the kernel may keep of it
    held = held_by(process.pid)
    assert len(ours()) == len(PROGRAMS)

    process.kill()
    process.communicate()

    until(lambda: not ours())


def test_namespace_of_a_place_is_its_cookie(net: Net, counted: Drops) -> None:
    a, b = joined(net, counted)
    send_udp(a.netns, b.ip4, 5555, 1)
    until(lambda: kernel_counter(net, b.netns, "UdpNoPorts") == 1)

    reading = counted.programs.read()

    mine = reading.places[reading.places["netns"] == cookie_of(b.netns)]
    assert mine["kind"].tolist() == [drops.PACKET]
    assert mine["ifindex"].tolist() == [ifindex(net, b)]
