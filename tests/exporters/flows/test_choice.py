"""Which interfaces patterns choose; and what kind of packets each kind of interface carries, as tcpdump says of real ones."""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from dataclasses import replace

import pytest
from support.needs import root, tool
from support.netlab import Net, in_netns

from exporters.bpf import layout
from exporters.flows.choice import Choice, link_type
from skytrail.errors import SettingsError
from skytrail.kernel.linkmessages import Link


def link(name: str, kind: str = "", arphrd: int = 1) -> Link:
    return replace(_ANY, name=name, kind=kind, arphrd=arphrd)


_ANY = Link(
    **{  # type: ignore[arg-type]
        name: {"int": 0, "str": "", "bytes": b"", "bool": False}.get(str(kind).split(" |")[0])
        for name, kind in Link.__annotations__.items()
    }
)
HOST = (
    link("lo", arphrd=772),
    link("eth0"),
    link("eth1"),
    link("eth1.7", "vlan"),
    link("br-int", "bridge"),
    link("veth9f", "veth"),
    link("wg0", "wireguard", 65534),
)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], "eth0 eth1 eth1.7 br-int veth9f wg0"),
        (["*", "lo"], "lo eth0 eth1 eth1.7 br-int veth9f wg0"),
        (["lo"], "lo"),
        (["l?"], ""),
        (["~lo"], "lo"),
        (["type:loopback"], "lo"),
        (["eth?"], "eth0 eth1"),
        (["eth[0-9]*"], "eth0 eth1 eth1.7"),
        (["~eth\\d"], "eth0 eth1"),
        (["~.*"], "lo eth0 eth1 eth1.7 br-int veth9f wg0"),
        (["type:veth", "type:bridge"], "br-int veth9f"),
        (["type:device"], "eth0 eth1"),
        (["*", "!type:veth"], "eth0 eth1 eth1.7 br-int wg0"),
        (["!eth*"], "br-int veth9f wg0"),
        (["!eth*", "eth1"], "eth1 br-int veth9f wg0"),
        (["*", "!eth*", "eth0"], "eth0 br-int veth9f wg0"),
        (["ETH0"], ""),
        ([], ""),
    ],
)
def test_patterns_choose(patterns: list[str], expected: str) -> None:
    choice = Choice(patterns)
    assert [candidate.name for candidate in HOST if choice.wants(candidate)] == expected.split()


@pytest.mark.parametrize("pattern", ["~(a+)+b", "~(.*)*", "~a++", "~" + "a" * 201])
def test_expression_that_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError, match="repeats inside repeats"):
        Choice([pattern])


def test_expression_that_is_none_is_refused_with_its_reason() -> None:
    with pytest.raises(SettingsError, match=r"'~eth\(' is not a regular expression: missing"):
        Choice(["~eth("])


DEVICES = {
    "dummy": "link add d0 type dummy",
    "bridge": "link add d0 type bridge",
    "vxlan": "link add d0 type vxlan id 7 dstport 4789",
    "tap": "tuntap add d0 mode tap",
    "tun": "tuntap add d0 mode tun",
    "gre": "link add d0 type gre local 192.0.2.1 remote 192.0.2.2",
    "gretap": "link add d0 type gretap local 192.0.2.1 remote 192.0.2.2",
    "ipip": "link add d0 type ipip local 192.0.2.1 remote 192.0.2.2",
    "sit": "link add d0 type sit local 192.0.2.1 remote 192.0.2.2",
    "ip6tnl": "link add d0 type ip6tnl local 2001:db8::1 remote 2001:db8::2",
    "ip6gre": "link add d0 type ip6gre local 2001:db8::1 remote 2001:db8::2",
    "wireguard": "link add d0 type wireguard",
}
# where libpcap knows no link type it gives cooked packets, whose payload begins with the IP header too
_OF_TCPDUMP = {"EN10MB": layout.LINK_ETHERNET, "RAW": layout.LINK_RAW, "LINUX_SLL": layout.LINK_RAW}


@pytest.mark.kernel
def test_kind_of_packets_is_what_tcpdump_says_of_the_device() -> None:
    """Of all kinds that this kernel has."""
    root()
    tool("tcpdump", "tcpdump")
    net, found = Net(), {}
    try:
        namespace = net.netns("c", ipv6=True)
        for name, words in DEVICES.items():
            if "Unknown device type" in net.run(namespace, "ip", *words.split(), check=False):
                continue
            net.ip("link set d0 up", netns=namespace)
            [known] = re.findall(r"^  (\w+) \(", net.run(namespace, "tcpdump", "-i", "d0", "-L"), re.MULTILINE)[:1]
            arphrd = int(in_netns(namespace, lambda: _arphrd("d0")))
            found[name] = link_type(link("d0", arphrd=arphrd)), _OF_TCPDUMP[known]
            net.ip("link del d0", netns=namespace)
    finally:
        net.close()
    assert {"bridge", "vxlan", "tun", "tap"} <= found.keys()
    assert [name for name, (ours, theirs) in found.items() if ours != theirs] == []


def _arphrd(device: str) -> int:
    """SIOCGIFHWADDR of netdevice(7): sa_family is the ARPHRD type."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, 0x8927, struct.pack("16s16x", device.encode()))
    return int(struct.unpack_from("=H", answer, 16)[0])
