"""Routes, rules, neighbours and counters of a namespace, compared with what iproute2 says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.foreign import Counter
from support.netlab import Net, in_netns
from support.routelab import make_routes

from skytrail.kernel.netlink import NetlinkDecodeError
from topology.probes.netlink.statistics import decode_statistics, metrics
from topology.probes.netlink.tables import MOST, Tables, read_tables


def ip_json(net: Net, netns: str, *words: str) -> Any:
    return json.loads(net.ip("-j", *words, netns=netns) or "[]")


def test_counters_are_ips(net: Net) -> None:
    left, right = net.pair()
    net.ping(left.netns, right.ip4, count=5)
    tables = in_netns(left.netns, read_tables)
    said = {link["ifindex"]: link["stats64"] for link in ip_json(net, left.netns, "-s", "-s", "link", "show")}
    assert tables.counters.keys() == said.keys()
    for ifindex, stats in said.items():
        ours, rx, tx = tables.counters[ifindex], stats["rx"], stats["tx"]
        assert (ours["RxPackets"], ours["RxBytes"], ours["RxErrors"], ours["RxDropped"]) == (
            rx["packets"], rx["bytes"], rx["errors"], rx["dropped"],
        )  # fmt: skip
        assert (ours["TxPackets"], ours["TxBytes"], ours["TxErrors"], ours["TxDropped"]) == (
            tx["packets"], tx["bytes"], tx["errors"], tx["dropped"],
        )  # fmt: skip
        assert (ours["Multicast"], ours["Collisions"]) == (rx["multicast"], tx["collisions"])
        assert (ours["RxCrcErrors"], ours["RxMissedErrors"]) == (rx["crc_errors"], rx["missed_errors"])
        assert (ours["TxAbortedErrors"], ours["TxCarrierErrors"]) == (tx["aborted_errors"], tx["carrier_errors"])
    assert said[net.link(left.netns, left.interface)["ifindex"]]["tx"]["packets"] >= 5


def test_routes_stand_at_the_interfaces_that_they_lead_through(net: Net) -> None:
    netns, _ = make_routes(net)
    tables = in_netns(netns, read_tables)
    said = [
        route
        for family in ("-4", "-6")
        for route in ip_json(net, netns, family, "-d", "-N", "route", "show", "table", "all")
        if route.get("type") != "multicast"
    ]
    by_name = {link["ifname"]: link["ifindex"] for link in ip_json(net, netns, "link", "show")}
    for name, ifindex in by_name.items():
        theirs = [r for r in said if r.get("dev") == name or any(hop.get("dev") == name for hop in r.get("nexthops", ()))]
        ours = tables.routes.get(ifindex, [])
        assert len(ours) == len(theirs), name
    assert sum(map(len, tables.routes.values())) > 10
    assert len(tables.rules) == len([*ip_json(net, netns, "-4", "rule", "show"), *ip_json(net, netns, "-6", "rule", "show")])


def test_filters_are_those_that_tc_shows(net: Net) -> None:
    """Of a clsact hook in both directions and an ingress hook; tc is the oracle, a link without a hook has none."""
    left, right = net.pair()
    program = Counter()
    ifindex = net.link(left.netns, left.interface)["ifindex"]
    program.attach_tc(left.netns, ifindex, priority=3)
    program.attach_tc(left.netns, ifindex, priority=3, handle=2)
    program.attach_tc(left.netns, ifindex, egress=True, priority=7)
    net.run(right.netns, "tc", "qdisc", "add", "dev", right.interface, "ingress")
    for netns, interface, hooks in (
        (left.netns, left.interface, ("ingress", "egress")),
        (right.netns, right.interface, ("ingress",)),
    ):
        said = [
            {"Direction": hook, "Kind": one["kind"], "Priority": one["pref"], "Name": one["options"]["bpf_name"],
             "ProgID": one["options"]["prog"]["id"]}
            for hook in hooks
            for one in json.loads(net.run(netns, "tc", "-j", "filter", "show", "dev", interface, hook) or "[]")
            if one.get("options", {}).get("handle")
        ]  # fmt: skip
        tables = in_netns(netns, read_tables)
        shown = tables.metadata(net.link(netns, interface)["ifindex"]).get("TC", [])
        assert shown == said
        assert len(said) == (3 if netns == left.netns else 0)
        assert "TC" not in tables.metadata(1)


def test_programs_attached_by_tcx_are_shown_in_their_order(net: Net) -> None:
    """The kernel's fdinfo is the oracle."""
    left, _ = net.pair()
    programs = [Counter() for _ in range(3)]
    ids = [int(re.findall(r"prog_id:\s*(\d+)", Path(f"/proc/self/fdinfo/{one.program}").read_text())[0]) for one in programs]
    ifindex = net.link(left.netns, left.interface)["ifindex"]
    programs[0].attach_tcx(left.netns, ifindex)
    programs[1].attach_tcx(left.netns, ifindex, egress=True)
    programs[2].attach_tcx(left.netns, ifindex, before=True)
    shown = in_netns(left.netns, read_tables).metadata(ifindex)["TC"]
    assert [(one["Kind"], one["Direction"], one["ProgID"]) for one in shown] == [
        ("tcx", "ingress", ids[2]),
        ("tcx", "ingress", ids[0]),
        ("tcx", "egress", ids[1]),
    ]


def test_neighbours_have_their_states_only_in_what_is_volatile(net: Net) -> None:
    left, right = net.pair()
    ifindex = net.link(left.netns, left.interface)["ifindex"]
    net.ping(left.netns, right.ip4)
    net.ip(f"neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev {left.interface} nud permanent", netns=left.netns)
    tables = in_netns(left.netns, read_tables)
    said = {one["dst"]: one for one in ip_json(net, left.netns, "neigh", "show", "dev", left.interface)}
    kept, shown = tables.metadata(ifindex)["Neighbors"], tables.states(ifindex)["Neighbors"]
    assert {one["IP"]: one["MAC"] for one in kept} == {ip: one["lladdr"] for ip, one in said.items()}
    assert {one["IP"]: one["State"] for one in shown} == {
        ip: [f"NUD_{state}" for state in one["state"]] for ip, one in said.items()
    }
    assert {one["IP"]: one.get("State") for one in kept} == {"10.0.0.2": None, "10.0.0.77": ["NUD_PERMANENT"]}


def test_more_routes_than_are_shown_are_counted(net: Net) -> None:
    netns, more = net.netns("r"), 50
    net.ip("link add d0 type ifb", netns=netns)
    net.ip("link set d0 up", netns=netns)
    routes = "".join(f"route add 10.{number // 250}.{number % 250}.0/24 dev d0\n" for number in range(MOST + more))
    net.run(netns, "sh", "-c", f"printf '{routes}' | ip -batch -")
    tables = in_netns(netns, read_tables)
    [index] = [link["ifindex"] for link in ip_json(net, netns, "link", "show", "d0")]
    found = tables.metadata(index)
    assert found["RoutesLeftOut"] >= more
    assert sum(len(table["Routes"]) for table in found["RoutingTables"]) == MOST


def test_what_a_namespace_does_not_have_is_left_out() -> None:
    assert Tables().metadata(7) == Tables().states(7) == {}


def test_metrics_are_skydives() -> None:
    now = {"RxPackets": 12, "TxPackets": 0, "RxBytes": 700}
    assert metrics(now, None, 5000, 0) == {"Metric": {"RxPackets": 12, "RxBytes": 700, "Last": 5000}}
    before = {"RxPackets": 10, "TxPackets": 0, "RxBytes": 700}
    assert metrics(now, before, 5000, 2000)["LastUpdateMetric"] == {"RxPackets": 2, "Start": 2000, "Last": 5000}
    assert "LastUpdateMetric" not in metrics(now, now, 5000, 2000)
    assert "LastUpdateMetric" not in metrics(before, now, 5000, 2000)  # the device began anew


@given(st.binary(max_size=300))
def test_any_bytes_are_counters_or_one_clear_error(payload: bytes) -> None:
    try:
        decode_statistics(payload)
    except NetlinkDecodeError:
        return
    assert len(payload) >= 12
