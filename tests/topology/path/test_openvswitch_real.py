"""Whether packets pass the ports of a real Open vSwitch, whatever their VLANs, is what the path says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from support.netlab import End, Net, until
from support.ovs import Switch
from support.pathlab import _ours
from support.probelab import HOST, ProbeLab

from skytrail.kernel.host import read_host
from skytrail.tid import host_tid
from topology.elements import Revision
from topology.facts import Source
from topology.path.find import Question, find_path
from topology.path.network import Network
from topology.probes.ovsdb.probe import OvsdbProbe

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(180)]

PORTS = 6
SETTINGS = (
    "",
    "tag=5",
    "tag=6",
    "tag=0",
    "trunks=5",
    "trunks=0,6",
    "tag=5 vlan_mode=native-untagged",
    "tag=5 vlan_mode=native-untagged trunks=6",
    "tag=6 vlan_mode=native-tagged",
    "tag=5 vlan_mode=dot1q-tunnel",
    "tag=6 vlan_mode=dot1q-tunnel cvlans=7",
    "tag=5 vlan_mode=trunk",
)


class Workloads:
    """Namespaces, each at a port of one of two bridges that a patch joins."""

    def __init__(self, net: Net, folder: Path, seed: int) -> None:
        chance = random.Random(seed)
        self.net, self.switch_netns = net, net.netns("s")
        switch = Switch(net, self.switch_netns, folder / "o")
        bridges = [net.name("b0"), net.name("b1")]
        for bridge in bridges:
            switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
        for bridge, own, far in ((bridges[0], net.name("q0"), net.name("q1")), (bridges[1], net.name("q1"), net.name("q0"))):
            patch = f"set interface {own} type=patch options:peer={far}"
            switch.vsctl(f"add-port {bridge} {own} -- {patch}{_set_port(own, chance.choice(SETTINGS))}")
        self.ends = [End(net.netns(f"w{n}"), net.name(f"w{n}"), f"10.0.0.{n}") for n in range(1, PORTS + 1)]
        self.settings: dict[str, str] = {}
        for number, end in enumerate(self.ends):
            port = net.name(f"p{number}")
            net.veth(end, End(self.switch_netns, port, ""))
            # without its offloads' unfinished checksums, which a switch in user space passes on
            net.run(end.netns, "ethtool", "-K", end.interface, "tx", "off")
            self.settings[port] = chance.choice(SETTINGS)
            switch.vsctl(f"add-port {bridges[number % 2]} {port}{_set_port(port, self.settings[port])}")
        self._lab = ProbeLab(net, folder)
        tid = host_tid(read_host("").host_id)
        self._probe = OvsdbProbe(
            self._lab.reconciler.report, Source("ovsdb", HOST), tid, self._lab.probe.devices, switch.remote
        )
        self._probe.start()

    def graph(self) -> list[Revision]:
        def there() -> list[Revision]:
            found = _ours(list(self._lab.store.current()), self.net.prefix)
            joined = Network(found).switch_ports.values()
            assert {device.name for port in joined for device in port.devices} >= set(self.settings)
            return found

        return until(there)

    def reaches(self, source: End, destination: End) -> bool:
        """Whether a ping and its answer pass."""
        command = ["ping", "-nqc1", "-W1", destination.ip4]
        return " 0% packet loss" in self.net.run(source.netns, *command, check=False)

    def close(self) -> None:
        self._probe.stop()
        self._lab.close()


def _set_port(port: str, settings: str) -> str:
    return f" -- set port {port} {settings}" if settings else ""


@pytest.fixture(params=range(4))
def workloads(request: pytest.FixtureRequest, net: Net, tmp_path: Path) -> Iterator[Workloads]:
    made = Workloads(net, tmp_path, request.param)
    try:
        yield made
    finally:
        made.close()


def test_packets_pass_where_the_path_says_so(workloads: Workloads) -> None:
    graph = workloads.graph()
    wrong = []
    for one, other in combinations(workloads.ends, 2):
        ways = [find_path(graph, Question(*ends)).end for ends in ((one.ip4, other.ip4), (other.ip4, one.ip4))]
        said = all(end.kind == "arrives" for end in ways)
        if said != workloads.reaches(one, other):
            wrong.append((one.interface, other.interface, said, [end.reason for end in ways]))
    assert not wrong, workloads.settings
