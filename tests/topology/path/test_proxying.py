"""Proxy ARP and proxy NDP: who has no neighbour entry sends to who answers for others, as real packets do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import pathlab
from support.netlab import Net

from topology.path.find import Question, find_path
from topology.path.result import Path as Found

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

A, B, ELSEWHERE = "10.0.0.1", "10.0.1.2", "10.0.2.9"
A6, B6 = "2001:db8:0:1::1", "2001:db8:0:2::2"


def joined(net: Net) -> tuple[str, str, str]:
    """A host that takes all for its neighbours, a router, a host behind it."""
    names = a, r, b = [net.netns(name, ipv6=True) for name in "arb"]
    for left, right, one, other in ((a, r, "a0", "r0"), (r, b, "r1", "b0")):
        net.ip(f"link add {one} netns {left} type veth peer name {other} netns {right}")
        net.ip(f"link set {one} up", netns=left)
        net.ip(f"link set {other} up", netns=right)
    for netns, name, *addresses in (
        (a, "a0", f"{A}/8", f"{A6}/32"),
        (r, "r0", "10.0.0.254/24", "2001:db8:0:1::fe/64"),
        (r, "r1", "10.0.1.254/24", "2001:db8:0:2::fe/64"),
        (b, "b0", f"{B}/24", f"{B6}/64"),
    ):
        for address in addresses:
            net.ip(f"address add {address} dev {name}" + (" nodad" if ":" in address else ""), netns=netns)
    net.run(r, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.neigh.r0.proxy_delay=0")
    net.ip("route add default via 10.0.1.254", netns=b)
    net.ip("route add default via 2001:db8:0:2::fe", netns=b)
    return names[0], names[1], names[2]


def asked(net: Net, folder: Path, a: str, source: str, target: str) -> tuple[bool, Found]:
    """Whether a ping is answered, and the path while there is no neighbour entry."""
    answered = " 0% packet loss" in net.run(a, "ping", "-nc1", "-W2", target, check=False)
    net.ip("neigh flush all", netns=a)
    return answered, find_path(pathlab.graph(net, folder), Question(source, target))


def test_a_router_answers_for_who_is_behind_it(net: Net, tmp_path: Path) -> None:
    a, r, b = joined(net)
    answered, path = asked(net, tmp_path / "0", a, A, B)
    assert (answered, path.end.kind, path.hops[-1].asked) == (False, "stops", True)

    net.run(r, "sysctl", "-qw", "net.ipv4.conf.r0.proxy_arp=1")
    answered, path = asked(net, tmp_path / "1", a, A, B)
    assert (answered, path.end.kind) == (True, "arrives")
    assert [(hop.namespace, hop.interface) for hop in path.hops] == [(a, "a0"), (r, "r0"), (r, "r1"), (b, "b0")]
    assert path.hops[1].decision == f"answers for {B} (proxy ARP)"
    answered, path = asked(net, tmp_path / "2", a, A, "10.0.0.9")  # it is on the same link
    assert (answered, path.end.kind) == (False, "stops")
    answered, path = asked(net, tmp_path / "3", a, A, ELSEWHERE)  # it has no route there
    assert (answered, path.end.kind, path.end.namespace) == (False, "stops", a)


@pytest.mark.parametrize(
    ("source", "target", "sysctl", "words"), [(A, B, "", "proxy ARP"), (A6, B6, "net.ipv6.conf.r0.proxy_ndp=1", "proxy NDP")]
)
def test_an_address_that_is_answered_for(source: str, target: str, sysctl: str, words: str, net: Net, tmp_path: Path) -> None:
    a, r, _ = joined(net)
    net.ip(f"neigh add proxy {target} dev r0", netns=r)
    if sysctl:
        assert asked(net, tmp_path / "0", a, source, target)[1].end.kind == "stops"  # the entry alone is not enough
        net.run(r, "sysctl", "-qw", sysctl)
    answered, path = asked(net, tmp_path / "1", a, source, target)
    assert (answered, path.end.kind) == (True, "arrives")
    assert path.hops[1].decision == f"answers for {target} ({words})"
