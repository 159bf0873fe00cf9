"""Tunnels between two real Open vSwitches, each reported as a host of its own, and the linker on a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hublab import now_us
from support.netlab import Net, until
from support.ovs import Switch

from topology.elements import Kind, State
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.linkers.run import Linkers
from topology.probes.devices import Device, Devices
from topology.probes.ovsdb.probe import OvsdbProbe
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


class Host:
    """A switch in user space with an address on its outer bridge, what iproute2 tells of its devices, and the probe."""

    def __init__(self, name: str, address: str, net: Net, folder: Path, reconciler: Reconciler) -> None:
        self.name, self.net, self.netns, self._reconciler = name, net, net.netns(name), reconciler
        self.switch = Switch(net, self.netns, folder / name)
        for bridge in ("br-phy", "br-int"):
            self.switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
        net.ip(f"address add {address}/24 dev br-phy", netns=self.netns)
        self.tid = f"host/{name}"
        self.look()
        self.probe = OvsdbProbe(reconciler.report, Source("ovsdb", name), self.tid, self.devices, self.switch.remote)
        self.probe.start()

    def devices(self) -> Devices:
        links = json.loads(self.net.ip("-j link", netns=self.netns))
        found = (Device(1, one["ifname"], one["ifindex"], one.get("address", ""), "tun", self._of(one)) for one in links)
        return Devices(1, tuple(found), {1: self.tid})

    def _of(self, link: dict[str, str]) -> str:
        return f"{self.tid}/link/{link['ifname']}"

    def look(self) -> None:
        """Report the devices as they are now."""
        facts: list[Fact] = [NodeFact(self.tid, {"Type": "host", "Name": self.name})]
        for one in json.loads(self.net.ip("-j address", netns=self.netns)):
            ips = [f"{held['local']}/{held['prefixlen']}" for held in one["addr_info"] if held["family"] == "inet"]
            keys = {"Type": "tun", "Name": one["ifname"], "IfIndex": one["ifindex"], "IPV4": ips}
            facts += [NodeFact(self._of(one), keys), EdgeFact(self.tid, self._of(one), "ownership")]
        self._reconciler.report(Report(Source("netlink", self.name), now_us(), tuple(facts), whole=True))

    def tunnel(self, name: str, kind: str, options: str) -> None:
        words = " ".join(f"options:{one}" for one in options.split())
        self.switch.vsctl(f"add-port br-int {name} -- set interface {name} type={kind} {words}")


class Lab:
    """Two of them."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.store = EmbeddedStore(folder / "graph", clock=now_us)
        self.reconciler = Reconciler(self.store, "hub", now_us)
        self.hosts = [Host(name, f"10.1.1.{n}", net, folder, self.reconciler) for n, name in enumerate("ab", 1)]
        self.linkers = Linkers(self.store, self.reconciler.report, ["tunnel"], "hub", now_us)

    def edges(self, relation: str) -> set[tuple[str, str]]:
        """The names of the ends, as host/name."""
        self.linkers.step()
        states: dict[str, State] = {one.id: one.state for one in self.store.current() if one.state}
        made = [one for one in states.values() if one.kind is Kind.EDGE and one.metadata["RelationType"] == relation]
        return {(_shown(states[one.parent]), _shown(states[one.child])) for one in made}

    def close(self) -> None:
        for host in self.hosts:
            host.probe.stop()
        self.reconciler.close()
        self.store.close()


def _shown(state: State) -> str:
    return f"{state.host}/{state.metadata['Name']}"


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(net, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_tunnels_of_two_switches_are_edges_between_them_as_long_as_their_ends_fit(lab: Lab) -> None:
    left, right = lab.hosts
    for kind, options in (("vxlan", "key=7"), ("geneve", "key=flow"), ("gre", "key=3")):
        left.tunnel(f"{kind}0", kind, f"remote_ip=10.1.1.2 {options}")
        right.tunnel(f"{kind}0", kind, f"remote_ip=10.1.1.1 local_ip=10.1.1.2 {options}")
    every = {(f"a/{kind}0", f"b/{kind}0") for kind in ("vxlan", "geneve", "gre")}

    def linked(expected: set[tuple[str, str]]) -> bool:
        assert lab.edges("tunnel") == expected
        return True

    until(lambda: linked(every))
    assert lab.edges("underlay") == {("b/br-phy", f"b/{kind}0") for kind in ("vxlan", "geneve", "gre")}
    right.switch.vsctl("set interface vxlan0 options:key=8")
    until(lambda: linked(every - {("a/vxlan0", "b/vxlan0")}))
    left.switch.vsctl("set interface vxlan0 options:key=8")
    until(lambda: linked(every))
    left.net.ip("address flush dev br-phy", netns=left.netns)  # nobody knows any more where its packets come from
    left.look()
    until(lambda: linked(set()))
