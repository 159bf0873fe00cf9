"""Programs of others on the same hooks go on counting, those that were there before us and those that come after; we too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from support.agentlab import Agent, StartAgent, assert_hooks_saw_what_the_interface_counted
from support.foreign import ACT_OK, Counter
from support.netlab import End, Net, in_netns

from exporters.bpf.attach import attach_tc
from exporters.bpf.libbpf import LibbpfLoader
from exporters.bpf.program import FlowProgram
from skytrail.errors import AttachError

MakeCounter = Callable[..., Counter]
MODES = ("tcx", "tc", "socket")
PINGS = 4


@pytest.fixture
def counter() -> Iterator[MakeCounter]:
    made: list[Counter] = []

    def make(**options: int) -> Counter:
        made.append(Counter(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def index(net: Net, end: End) -> int:
    return int(net.link(end.netns, end.interface)["ifindex"])


def tcx(net: Net, end: End, made: Counter, **where: bool) -> Counter:
    made.attach_tcx(end.netns, index(net, end), **where)
    return made


def tc(net: Net, end: End, made: Counter, **where: int) -> Counter:
    made.attach_tc(end.netns, index(net, end), **where)
    return made


def assert_all_count(net: Net, agent: Agent, ends: tuple[End, End], counters: list[Counter]) -> None:
    """ARP is done already: pings make one packet each way."""
    left, right = ends
    net.ping(left.netns, right.ip4, count=1)
    before = [counter.count() for counter in counters]
    packets = net.packets(left)
    net.ping(left.netns, right.ip4, count=PINGS, identifier=9)
    assert [counter.count() - count for counter, count in zip(counters, before, strict=True)] == [PINGS] * len(counters)
    assert [now - then for now, then in zip(net.packets(left), packets, strict=True)] == [PINGS, PINGS]
    [flow] = [flow for flow in agent.flows("icmp") if flow["ICMP"]["ID"] == 9 and flow["Interface"] == left.interface]
    assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (PINGS, PINGS)
    assert_hooks_saw_what_the_interface_counted(agent, net, right)


@pytest.mark.parametrize("attach", MODES)
def test_foreign_tcx_programs_before_and_after_ours_go_on_counting(
    net: Net, start_agent: StartAgent, counter: MakeCounter, attach: str
) -> None:
    ends = net.pair()
    left, _ = ends
    there = [tcx(net, left, counter()), tcx(net, left, counter(), egress=True)]

    agent = start_agent("--attach", attach)

    assert set(agent.points().values()) == {attach}
    later = [tcx(net, left, counter(), egress=egress, before=before) for egress in (False, True) for before in (False, True)]
    assert_all_count(net, agent, ends, there + later)
    agent.stop()
    before = [one.count() for one in there + later]
    net.ping(left.netns, ends[1].ip4, count=PINGS)
    assert [one.count() - count for one, count in zip(there + later, before, strict=True)] == [PINGS] * 6


@pytest.mark.parametrize("attach", MODES)
def test_foreign_tc_filters_before_and_after_ours_go_on_counting(
    net: Net, start_agent: StartAgent, counter: MakeCounter, attach: str
) -> None:
    ends = net.pair()
    left, _ = ends
    # priority 1, handle 1 is what others take too, as Cilium does
    there = [tc(net, left, counter()), tc(net, left, counter(), egress=True), tc(net, left, counter(), priority=7)]

    agent = start_agent("--attach", attach)

    assert set(agent.points().values()) == {attach}
    later = [
        tc(net, left, counter(), handle=2),
        tc(net, left, counter(), egress=True, handle=2),
        tc(net, left, counter(), egress=True, priority=60000),
    ]
    assert_all_count(net, agent, ends, there + later)
    agent.stop()
    assert net.run(left.netns, "tc", "filter", "show", "dev", left.interface, "ingress").count("foreign direct-action") == 3
    before = [one.count() for one in there + later]
    net.ping(left.netns, ends[1].ip4, count=PINGS)
    assert [one.count() - count for one, count in zip(there + later, before, strict=True)] == [PINGS] * 6


@pytest.mark.parametrize("attach", MODES)
def test_foreign_filter_that_ends_the_classification_hides_no_incoming_packet(
    net: Net, start_agent: StartAgent, counter: MakeCounter, attach: str
) -> None:
    ends = net.pair()
    left, _ = ends
    there = tc(net, left, counter(verdict=ACT_OK), priority=5)

    agent = start_agent("--attach", attach)

    assert_all_count(net, agent, ends, [there])


@pytest.mark.parametrize("attach", ["tc", "auto"])
def test_a_foreign_filter_of_another_kind_on_our_priority_keeps_nobody_out(
    net: Net, start_agent: StartAgent, attach: str
) -> None:
    ends = net.pair()
    left, _ = ends
    net.run(left.netns, "tc", "qdisc", "add", "dev", left.interface, "clsact")
    u32 = f"filter add dev {left.interface} ingress pref 1 protocol ip u32 match u32 0 0".split()
    net.run(left.netns, "tc", *u32)

    agent = start_agent("--attach", attach)

    assert_all_count(net, agent, ends, [])
    agent.stop()
    assert "u32" in net.run(left.netns, "tc", "filter", "show", "dev", left.interface, "ingress")


def test_clsact_is_not_taken_for_what_an_ingress_qdisc_is(net: Net) -> None:
    """Its one block takes filters for egress too, and runs them on what comes in (net/sched/sch_ingress.c)."""
    left, _ = net.pair()
    net.run(left.netns, "tc", "qdisc", "add", "dev", left.interface, "ingress")
    program = FlowProgram(LibbpfLoader(), max_flows=1024, max_points=4)
    entries = [program.entry(1, direction) for direction in (0, 1)]
    try:
        with pytest.raises(AttachError, match="ingress qdisc"):
            in_netns(left.netns, lambda: attach_tc(*entries, index(net, left), owner=program.owner, loopback=False))
    finally:
        for entry in entries:
            os.close(entry)
        program.close()
    assert not net.run(left.netns, "tc", "filter", "show", "dev", left.interface, "ingress")


def test_it_is_seen_that_others_removed_our_filters(net: Net) -> None:
    left, _ = net.pair()
    program = FlowProgram(LibbpfLoader(), max_flows=1024, max_points=4)
    entries = [program.entry(1, direction) for direction in (0, 1)]
    try:
        attached = in_netns(left.netns, lambda: attach_tc(*entries, index(net, left), owner=program.owner, loopback=False))
        assert in_netns(left.netns, attached.intact)
        net.run(left.netns, "tc", "filter", "del", "dev", left.interface, "egress")
        assert not in_netns(left.netns, attached.intact)
        net.run(left.netns, "tc", "qdisc", "del", "dev", left.interface, "clsact")
        assert not in_netns(left.netns, attached.intact)
    finally:
        for entry in entries:
            os.close(entry)
        program.close()
