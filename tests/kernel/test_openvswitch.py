"""Open vSwitch with the kernel's datapath: its ports are the kernel's nodes, wherever they are; a tunnel is its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.netlab import Net, until
from support.ovs import Switch
from support.probelab import HOST, ProbeLab

from exporters.openvswitch.source import StatisticsSource
from skytrail.kernel.host import read_host
from skytrail.tid import host_tid
from topology.elements import Kind, State
from topology.probes.ovsdb.databases import OvsdbProbes

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)

SECONDS = 90.0


class Graph:
    def __init__(self, lab: ProbeLab) -> None:
        self._lab = lab

    def named(self, name: str) -> tuple[str, State]:
        """The one interface of that name that the switch tells of."""
        states = {one.id: one.state for one in self._lab.store.current() if one.state and one.state.kind is Kind.NODE}
        found = [(id_, state) for id_, state in states.items() if state.metadata["Name"] == name and "OfPort" in state.metadata]
        assert len(found) == 1, found
        return found[0]

    def owner(self, name: str) -> Any:
        id_, _ = self.named(name)
        states = {one.id: one.state for one in self._lab.store.current() if one.state}
        owners = [one.parent for one in states.values() if one.child == id_ and one.metadata["RelationType"] == "ownership"]
        assert len(owners) == 1, owners
        return states[owners[0]].metadata["Name"]


def test_long_ports_of_the_kernels_datapath_are_its_interfaces(net: Net, tmp_path: Path) -> None:
    # ovs-vswitchd 3.1 counts the CPUs 10 s after boot; started before, it has no thread that handles the first packets
    until(lambda: float(Path("/proc/uptime").read_text().split()[0]) > 11, SECONDS)
    netns, tenants = net.netns("s"), [net.netns("t1"), net.netns("t2")]
    switch = Switch(net, netns, Path("/run") / net.prefix)
    ports = [net.name("p1"), net.name("p2")]
    switch.vsctl("add-br br0 -- add-port br0 vx0 -- set interface vx0 type=vxlan options:remote_ip=10.9.9.9")
    for port in ports:
        switch.vsctl(f"add-port br0 {port} -- set interface {port} type=internal")
    assert switch.vsctl("get bridge br0 datapath_type").strip() in ('""', "system")
    lab = ProbeLab(net, tmp_path)
    probes = OvsdbProbes(
        {"ovsdb": switch.remote}, lab.reconciler.report, HOST, host_tid(read_host("").host_id), lab.probe.devices, lab.clock
    )
    probes.start()
    graph = Graph(lab)
    try:
        before = until(lambda: {name: (graph.named(name)[0], graph.owner(name)) for name in (*ports, "br0", "vx0")}, SECONDS)
        assert [owner for _, owner in before.values()] == [netns, netns, netns, "br0"]
        assert [graph.named(name)[1].metadata["Type"] for name in (*ports, "vx0")] == ["internal", "internal", "vxlan"]
        for number, (port, tenant) in enumerate(zip(ports, tenants, strict=True), 1):
            net.ip(f"link set {port} netns {tenant}", netns=netns)
            net.ip(f"address add 10.0.0.{number}/24 dev {port}", netns=tenant)
            net.ip(f"link set {port} up", netns=tenant)

        def moved() -> bool:
            return [graph.owner(port) for port in ports] == tenants

        until(moved, SECONDS)
        assert [graph.named(port)[0] for port in ports] == [before[port][0] for port in ports]
        net.ping(tenants[0], "10.0.0.2")
        switch.vsctl(f"set interface {ports[0]} external_ids:iface-id=vm")
        until(lambda: graph.named(ports[0])[1].metadata.get("ExtID") == {"iface-id": "vm"}, SECONDS)
        until(moved, SECONDS)
        assert [(one.name, one.kind) for one in StatisticsSource(switch.remote).read(own=True)] == [("vx0", "vxlan")]
        assert probes.waiting() == {"ovsdb": None}
    finally:
        probes.stop()
        lab.close()
