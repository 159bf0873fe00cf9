"""Whether packets pass a tunnel between two real Open vSwitches is what the path, and the linker, say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.hublab import now_us
from support.netlab import Net, until
from support.switchlab import SwitchLab

from topology.elements import Kind
from topology.linkers.run import Linkers
from topology.path.find import Question, find_path

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[SwitchLab]:
    made = SwitchLab(net, tmp_path)
    try:
        yield made
    finally:
        made.close()


def joined(lab: SwitchLab) -> bool:
    """Whether an edge leads from tunnel to tunnel."""
    linkers = Linkers(lab.lab.store, lab.lab.reconciler.report, ["tunnel"], "here", now_us)
    linkers.step()
    current = [one.state for one in lab.lab.store.current() if one.state and one.state.kind is Kind.EDGE]
    return any(one.metadata["RelationType"] == "tunnel" for one in current)


SEND = "priority=9,in_port=1,actions=set_field:7->tun_id,set_field:10.1.1.2->tun_dst,output:9"
CASES = [
    ("vxlan", "remote_ip=10.1.1.2 key=7", "remote_ip=10.1.1.1 key=7", True),
    ("vxlan", "remote_ip=10.1.1.2 key=7", "remote_ip=10.1.1.1 key=8", False),
    ("geneve", "remote_ip=10.1.1.2 key=7", "remote_ip=10.1.1.1 local_ip=10.1.1.2 key=7", True),
    ("gre", "remote_ip=10.1.1.2 key=7", "remote_ip=10.1.1.1 key=7", True),
    ("gre", "remote_ip=10.1.1.2 key=7", "remote_ip=10.1.1.1", False),
    ("vxlan", "remote_ip=10.1.1.2 key=flow", "remote_ip=10.1.1.1 key=7", True),
    ("vxlan", "remote_ip=10.1.1.2 in_key=7 out_key=8", "remote_ip=10.1.1.1 in_key=8 out_key=7", True),
    ("vxlan", "remote_ip=flow key=flow", "remote_ip=10.1.1.1 key=7", True),
    ("geneve", "remote_ip=flow key=7", "remote_ip=10.1.1.1 key=7", True),
    ("geneve", "remote_ip=flow key=7", "remote_ip=10.1.1.1 key=8", False),
    ("vxlan", "remote_ip=10.1.1.2 dst_port=5000", "remote_ip=10.1.1.1", False),
]


def test_packets_pass_tunnels_where_the_path_says_so(lab: SwitchLab) -> None:
    here, there = lab.hosts
    here.switch.flows(here.inner, SEND, "priority=1,actions=NORMAL")

    def as_said(names: set[str], fits: bool) -> bool:
        found = find_path(lab.graph(*names, here.port, there.port), Question("10.0.0.1", "10.0.0.2"))
        assert (found.end.kind == "arrives", joined(lab)) == (fits, fits), found.end
        return not fits or names <= {hop.interface for hop in found.hops}

    for kind, left, right, fits in CASES:
        names = {lab.tunnel(here, kind, left), lab.tunnel(there, kind, right)}
        until(partial(as_said, names, fits), 20)
        assert lab.reaches() == fits, (kind, left, right)


def test_packets_go_where_rules_that_are_known_send_them(net: Net, tmp_path: Path) -> None:
    lab = SwitchLab(net, tmp_path, openflow=100)
    try:
        here, there = lab.hosts
        names = {lab.tunnel(here, "vxlan", "remote_ip=10.1.1.2 key=7"), lab.tunnel(there, "vxlan", "remote_ip=10.1.1.1 key=7")}
        rest = "priority=0,actions=NORMAL"

        def as_said(said: str, words: str) -> bool:
            graph = lab.graph(*names, here.port, there.port)
            found = find_path(graph, Question("10.0.0.1", "10.0.0.2", proto="icmp", back=False))
            told = found.end.reason if said == "stops" else " ".join(hop.decision for hop in found.hops)
            assert (found.end.kind, words in told, "assumed" in told) == (said, True, False), (found.end, told)
            return True

        for host, bridge, rule, said, words in (
            (here, here.inner, "", "arrives", f"by Open vSwitch of {here.inner}: rule table=0,priority=0 NORMAL"),
            (here, here.inner, "in_port=1,actions=drop", "stops", f"table=0,priority=9,in_port=1 of {here.inner} drops it"),
            (here, here.inner, "in_port=1,actions=output:9", "arrives", "rule table=0,priority=9,in_port=1 outputs it"),
            (here, here.inner, "icmp,actions=drop", "stops", f"rule table=0,priority=9,icmp of {here.inner} drops it"),
            (here, here.outer, "udp,tp_dst=4789,actions=drop", "stops", f"udp,tp_dst=4789 of {here.outer} drops it"),
            (there, there.inner, "in_port=9,actions=drop", "stops", f"in_port=9 of {there.inner} drops it"),
        ):
            host.switch.flows(bridge, rest, *([f"priority=9,{rule}"] if rule else []))
            until(partial(as_said, said, words), 20)
            assert lab.reaches() == (said == "arrives"), rule
            host.switch.flows(bridge, rest)
    finally:
        lab.close()
