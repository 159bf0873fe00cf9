"""Plans hold together: what a way says is what cables and addresses say."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest

from skytrail.lab.fabric import fabric
from skytrail.lab.plan import Acts, Plan
from skytrail.lab.two_hosts import two_hosts

PLANS = pytest.mark.parametrize("make", [two_hosts, fabric])


@PLANS
def test_names_are_unique_and_fit(make: Callable[[], Plan]) -> None:
    plan = make()
    ends = [end for cable in plan.cables for end in (cable.left, cable.right)]
    assert len(set(ends)) == len(ends)
    assert all(len(end.interface) < 16 and end.node in {node.name for node in plan.nodes} for end in ends)
    assert len({one.name for one in plan.workloads}) == len(plan.workloads)
    addresses = [address for one in plan.workloads for address in one.address.values()]
    assert len(set(addresses)) == len(addresses)


@PLANS
def test_workloads_are_in_their_segments(make: Callable[[], Plan]) -> None:
    plan = make()
    segments = {segment.name: segment for segment in plan.segments}
    for one in plan.workloads:
        for family, address in one.address.items():
            assert ip_address(address).version == family
            if one.netns:
                assert ip_address(address) in ip_network(segments[one.segment].prefix[family])


@PLANS
def test_ways_run_along_cables_and_have_a_way_back(make: Callable[[], Plan]) -> None:
    plan = make()
    joined = {(tuple(cable.left), tuple(cable.right)) for cable in plan.cables}
    joined |= {(right, left) for left, right in joined}
    for way in plan.ways:
        assert plan.way(way.destination.name, way.source.name)
        assert way.hops[0].place == way.source.place
        assert way.hops[-1].place == way.destination.place
        assert {way.hops[0].acts, way.hops[-1].acts} == {Acts.END}
        for hop, following in pairwise(way.hops):
            if hop.place.node != following.place.node:
                assert ((hop.place.node, hop.out), (following.place.node, following.into)) in joined, (hop, following)


def test_cables_of_the_fabric_take_what_tunnels_make_of_a_full_packet() -> None:
    outer = 14 + 8 + 8  # the inner Ethernet header, VXLAN's, UDP's
    tunnelled = {hop.place.node for way in fabric().ways for hop in way.hops if hop.outer}
    for cable in fabric().cables:
        if {cable.left.node, cable.right.node} <= tunnelled:
            assert cable.mtu >= 1500 + outer + 40


def test_ways_there_and_back_differ_where_it_is_said() -> None:
    plan = fabric()
    there, back = plan.way("red1", "red3"), plan.way("red3", "red1")
    into = {(hop.place, hop.into) for way in (there, back) for hop in way.hops}
    out = {(hop.place, hop.out) for way in (there, back) for hop in way.hops}
    assert plan.one_way <= into
    assert not plan.one_way & out
