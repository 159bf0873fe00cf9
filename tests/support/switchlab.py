"""Hosts with a real Open vSwitch each, joined by a cable, as the real probes see them: namespaces of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skytrail.kernel.host import read_host
from skytrail.tid import host_tid
from support.netlab import End, Net, until
from support.ovs import Switch
from support.pathlab import _ours
from support.probelab import HOST, ProbeLab
from topology.elements import Revision
from topology.path.network import Network
from topology.probes.ovsdb.databases import OvsdbProbes


@dataclass
class SwitchedHost:
    """A switch with two bridges: one with the uplink and the host's address, one with the workload."""

    netns: str
    switch: Switch
    outer: str
    inner: str
    address: str
    workload: End
    port: str


class SwitchLab:
    """Two of them.

    Args:
        net: whose prefix says what is the test's.
        folder: for the databases and the graph.
        openflow: rules of each bridge that are in the graph.
    """

    def __init__(self, net: Net, folder: Path, openflow: int = 0) -> None:
        self.net = net
        uplinks = net.pair()
        self.hosts = [self._host(number, uplink, folder) for number, uplink in enumerate(uplinks, 1)]
        self.lab = ProbeLab(net, folder)
        remotes = {f"ovsdb/{one.netns}": one.switch.remote for one in self.hosts}
        told = self.lab.reconciler.report, HOST, host_tid(read_host("").host_id), self.lab.probe.devices, self.lab.clock
        self.probes = OvsdbProbes(remotes, *told, openflow=openflow)
        self.probes.start()

    def _host(self, number: int, uplink: End, folder: Path) -> SwitchedHost:
        net = self.net
        net.ip(f"address flush dev {uplink.interface}", netns=uplink.netns)
        net.run(uplink.netns, "ethtool", "-K", uplink.interface, "tx", "off")
        net.run(uplink.netns, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")  # the kernel's uplink answers for nobody
        switch = Switch(net, uplink.netns, folder / f"o{number}")
        outer, inner, port = (net.name(f"{word}{number}") for word in ("phy", "int", "w"))
        for bridge in (outer, inner):
            switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
        net.ip(f"address add 10.1.1.{number}/24 dev {outer}", netns=uplink.netns)
        net.ip(f"link set {outer} mtu 1400 up", netns=uplink.netns)
        switch.vsctl(f"add-port {outer} {uplink.interface}")
        switch.route("10.1.1.0/24", outer)
        workload = End(net.netns(f"n{number}"), net.name(f"e{number}"), f"10.0.0.{number}")
        net.veth(workload, End(uplink.netns, port, ""))
        for one, netns in ((workload.interface, workload.netns), (port, uplink.netns)):
            net.run(netns, "ethtool", "-K", one, "tx", "off")
            net.ip(f"link set {one} mtu 1300", netns=netns)
        switch.vsctl(f"add-port {inner} {port} -- set interface {port} ofport_request=1")
        return SwitchedHost(uplink.netns, switch, outer, inner, f"10.1.1.{number}", workload, port)

    def tunnel(self, host: SwitchedHost, kind: str, options: str, port: str = "") -> str:
        """Add one to the inner bridge, or replace it."""
        name = self.net.name(f"t{self.hosts.index(host)}")
        words = " ".join(f"options:{one}" for one in options.split())
        settings = f"-- set port {name} {port}" if port else ""
        host.switch.vsctl(f"--if-exists del-port {name} -- add-port {host.inner} {name} -- set interface {name}"
                          f" type={kind} ofport_request=9 {words} {settings}")  # fmt: skip
        return name

    def graph(self, *ports: str) -> list[Revision]:
        """What the probes see, once these ports are there."""

        def there() -> list[Revision]:
            found = _ours(list(self.lab.store.current()), self.net.prefix)
            assert {device.name for port in Network(found).switch_ports.values() for device in port.devices} >= set(ports)
            return found

        return until(there, 20)

    def reaches(self) -> bool:
        """Whether a ping from the first workload to the second, and its answer, pass."""
        here, there = (host.workload for host in self.hosts)
        command = ["ping", "-nqc2", "-i0.3", "-W1", there.ip4]
        return " 100% packet loss" not in self.net.run(here.netns, *command, check=False)

    def close(self) -> None:
        """End the probes."""
        self.probes.stop()
        self.lab.close()
