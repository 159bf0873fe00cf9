"""After SIGKILL nothing of ours remains in the kernel, what is others' does, and the next agent finds a clean host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.agentlab import Agent, StartAgent
from support.foreign import Counter
from support.netlab import End, Net, until
from support.programs import held_by, loaded

MODES = ("tcx", "tc", "socket")


def filters(net: Net, end: End) -> list[int]:
    """Ids of the programs on an interface's tc filters, by tc."""
    told = "".join(net.run(end.netns, "tc", "filter", "show", "dev", end.interface, way) for way in ("ingress", "egress"))
    return [int(number) for number in re.findall(r"direct-action .*?\bid (\d+)", told)]


def attached(net: Net, end: End) -> int:
    """How many programs are on an interface's tc filters."""
    return len(filters(net, end))


def programs_of(agent: Agent, net: Net, ends: Sequence[End]) -> set[int]:
    """Ids of an agent's programs: those it holds, and those that tc's filters hold for it."""
    return held_by(agent.process.pid).union(*(filters(net, end) for end in ends))


def guard_of(agent: Agent) -> int:
    """The guard's process."""
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    found = [int(child) for task in children.parents[1].iterdir() for child in (task / "children").read_text().split()]
    [guard] = [pid for pid in found if b"exporters.bpf.guard" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return guard


def kill_with_guard(agent: Agent) -> None:
    guard = guard_of(agent)
    os.kill(guard, signal.SIGKILL)
    agent.kill()


@pytest.mark.parametrize("mode", MODES)
def test_killed_agent_leaves_nothing_in_the_kernel(net: Net, start_agent: StartAgent, mode: str) -> None:
    ends = net.pair()
    agent = start_agent("--attach", mode)
    assert set(agent.points().values()) == {mode}
    ours = programs_of(agent, net, ends)
    assert ours
    assert sum(attached(net, end) for end in ends) == (4 if mode == "tc" else 0)

    agent.kill()

    until(lambda: not loaded().keys() & ours, 5.0)
    for end in ends:
        assert "clsact" not in net.run(end.netns, "tc", "qdisc", "show", "dev", end.interface)
    second = start_agent("--attach", mode)
    net.ping(ends[0].netns, ends[1].ip4)
    second.wait_flows(2, "icmp")


def test_foreign_filters_and_qdiscs_outlive_a_killed_agent(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    index = int(net.link(left.netns, left.interface)["ifindex"])
    net.run(right.netns, "tc", "qdisc", "add", "dev", right.interface, "clsact")
    foreign = Counter()
    foreign.attach_tc(left.netns, index)
    already = set(filters(net, left))
    try:
        agent = start_agent("--attach", "tc")
        ours = programs_of(agent, net, (left, right)) - already
        assert (attached(net, left), attached(net, right)) == (3, 2)

        agent.kill()

        until(lambda: not loaded().keys() & ours, 5.0)
        assert (attached(net, left), attached(net, right)) == (1, 0)
        for end in (left, right):
            assert "clsact" in net.run(end.netns, "tc", "qdisc", "show", "dev", end.interface)
        seen = foreign.count()
        net.ping(left.netns, right.ip4, count=3)
        assert foreign.count() > seen
    finally:
        foreign.close()


def test_qdisc_ingress_of_somebody_else_is_left_alone(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    net.run(left.netns, "tc", "qdisc", "add", "dev", left.interface, "ingress")

    agent = start_agent()

    net.ping(left.netns, right.ip4)
    agent.wait_flows(2, "icmp")
    agent.stop()
    assert "ingress" in net.run(left.netns, "tc", "qdisc", "show", "dev", left.interface)


def test_cleanup_removes_what_agent_and_guard_left(net: Net, start_agent: StartAgent) -> None:
    ends = net.pair()
    agent = start_agent("--attach", "tc")
    ours = programs_of(agent, net, ends)
    kill_with_guard(agent)
    assert sum(attached(net, end) for end in ends) == 4

    done = subprocess.run([sys.executable, "-m", "skytrail", "cleanup"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "4 filters removed\n")
    assert sum(attached(net, end) for end in ends) == 0
    until(lambda: not loaded().keys() & ours, 5.0)


def test_next_start_removes_what_agent_and_guard_left_on_interfaces_it_does_not_choose(
    net: Net, start_agent: StartAgent
) -> None:
    left, right = net.pair()
    agent = start_agent("--attach", "tc")
    kill_with_guard(agent)
    assert attached(net, left) == attached(net, right) == 2

    start_agent("--attach", "socket", interfaces=(left.interface,))

    assert attached(net, left) == attached(net, right) == 0


def test_last_of_several_agents_takes_the_qdisc_along(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agents = [start_agent("--attach", "tc") for _ in range(3)]
    agents[0].kill()
    until(lambda: attached(net, left) == attached(net, right) == 4, 5.0)
    agents[1].stop()
    assert attached(net, left) == attached(net, right) == 2
    kill_with_guard(agents[2])
    assert "clsact" in net.run(left.netns, "tc", "qdisc", "show", "dev", left.interface)

    subprocess.run([sys.executable, "-m", "skytrail", "cleanup"], capture_output=True, check=True)

    for end in (left, right):
        assert "clsact" not in net.run(end.netns, "tc", "qdisc", "show", "dev", end.interface)


def test_living_agent_keeps_its_filters_whoever_else_ends_or_cleans_up(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    living = start_agent("--attach", "tc")
    other = start_agent("--attach", "tc")
    assert attached(net, left) == attached(net, right) == 4
    other.kill()
    until(lambda: attached(net, left) == attached(net, right) == 2, 5.0)
    kill_with_guard(start_agent("--attach", "tc", interfaces=(left.interface,)))
    assert (attached(net, left), attached(net, right)) == (4, 2)

    done = subprocess.run([sys.executable, "-m", "skytrail", "cleanup"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "2 filters removed; 4 of a running agent left\n")
    net.ping(left.netns, right.ip4, count=3, identifier=77)
    flows = living.wait_flows(2, "icmp and ICMP.ID=77")
    assert [flow["Metric"]["ABPackets"] for flow in flows] == [3, 3]


@pytest.mark.parametrize("mode", MODES)
def test_stopped_agent_leaves_nothing_in_the_kernel(net: Net, start_agent: StartAgent, mode: str) -> None:
    ends = net.pair()
    agent = start_agent("--attach", mode)
    ours = programs_of(agent, net, ends)
    assert ours

    agent.stop()

    until(lambda: not loaded().keys() & ours, 20.0)  # the kernel frees them when it has time
    for end in ends:
        assert "clsact" not in net.run(end.netns, "tc", "qdisc", "show", "dev", end.interface)
