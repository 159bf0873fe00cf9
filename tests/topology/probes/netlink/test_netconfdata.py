from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.netlab import Net, in_netns

from skytrail.kernel.netlink import NetlinkDecodeError
from topology.probes.netlink.netconfdata import Conf, decode_conf, net_confs
from topology.probes.netlink.tables import MOST, read_tables

V4, V6, ALL = 2, 10, -1


def test_what_holds_for_an_interface_is_of_its_own_and_of_all() -> None:
    confs = [Conf(V4, ALL, rp_filter=2), Conf(V4, 1, forwarding=True, rp_filter=1), Conf(V6, ALL, forwarding=True), Conf(V6, 1)]
    assert net_confs(confs) == {1: {"IPv4": {"Forwarding": True, "RPFilter": "loose"}, "IPv6": {"Forwarding": True}}}


def test_sysctls_of_a_real_namespace(net: Net) -> None:
    left, _ = net.pair(ipv6=True)
    index = net.link(left.netns, left.interface)["ifindex"]

    def found() -> object:
        return in_netns(left.netns, read_tables).metadata(index)["NetConf"]

    assert found() == {"IPv4": {"Forwarding": False}, "IPv6": {"Forwarding": False}}
    words = [f"net.ipv4.conf.{left.interface}.forwarding=1", "net.ipv4.conf.all.rp_filter=1", "net.ipv6.conf.all.forwarding=1"]
    net.run(left.netns, "sysctl", "-qw", *words)
    assert found() == {"IPv4": {"Forwarding": True, "RPFilter": "strict"}, "IPv6": {"Forwarding": True}}


def test_routes_that_lead_nowhere_are_the_namespaces_own(net: Net) -> None:
    netns = net.netns("n")
    net.ip("route add blackhole 10.8.0.0/16", netns=netns)
    net.ip("route add unreachable 10.9.0.0/16 table 77 metric 5", netns=netns)
    assert in_netns(netns, read_tables).nowhere()["RoutingTables"] == [
        {"ID": 77, "Routes": [{"Protocol": 3, "Prefix": "10.9.0.0/16", "Type": "unreachable", "NextHops": [{"Priority": 5}]}]},
        {"ID": 254, "Routes": [{"Protocol": 3, "Prefix": "10.8.0.0/16", "Type": "blackhole", "NextHops": [{}]}]},
    ]


def test_routes_that_lead_nowhere_and_are_too_many_are_counted(net: Net) -> None:
    netns = net.netns("n")
    lines = (f"route add blackhole 10.8.{number // 256}.{number % 256}/32" for number in range(MOST + 7))
    net.run(netns, "ip", "-batch", "-", stdin="\n".join(lines))
    found = in_netns(netns, read_tables).nowhere()
    assert (sum(len(table["Routes"]) for table in found["RoutingTables"]), found["RoutesLeftOut"]) == (MOST, 7)


@given(st.binary(max_size=100))
def test_any_bytes_are_settings_or_one_clear_error(payload: bytes) -> None:
    try:
        decode_conf(payload)
    except NetlinkDecodeError:
        return
    assert len(payload) >= 4
