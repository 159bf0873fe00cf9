"""Containers on macvlan and ipvlan interfaces of a host of which only the host's own namespace is looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.netlab import Net
from support.pathlab import graph
from topology.path.network import Network
from topology.trace.collect import Evidence
from topology.trace.graph import TracedGraph
from topology.trace.judge import judged
from topology.trace.result import Verdict
from topology.trace.sightings import orientations

CLIENT, HOST = "10.213.7.1", "10.213.7.2"
CONTAINERS = ("10.213.7.3", "10.213.7.4")
NOBODY = "10.213.7.99"


class Stacked:
    """A client outside, a host, and two containers on its interface.

    Args:
        net: makes the namespaces.
        words: behind ``type`` of ``ip link add``, as ``macvlan mode bridge``.
    """

    def __init__(self, net: Net, words: str) -> None:
        self.net = net
        self.client, self.host = net.netns("c"), net.netns("h")
        self.outside, self.parent = net.name("o"), net.name("p")
        net.ip(f"link add {self.outside} netns {self.client} type veth peer name {self.parent} netns {self.host}")
        for netns, name, address in ((self.client, self.outside, CLIENT), (self.host, self.parent, HOST)):
            net.ip(f"address add {address}/24 dev {name}", netns=netns)
            net.ip(f"link set {name} up", netns=netns)
        self.mac = str(net.link(self.host, self.parent)["address"])
        self.containers = [net.netns(f"k{number}") for number in range(len(CONTAINERS))]
        for netns, address in zip(self.containers, CONTAINERS, strict=True):
            net.ip(f"link add {net.name('s')} link {self.parent} netns {netns} type {words}", netns=self.host)
            net.ip(f"address add {address}/24 dev {net.name('s')}", netns=netns)
            net.ip(f"link set {net.name('s')} up", netns=netns)
            if "mode l3" in words:  # these do not answer
                self.believe(address)
        self.believe(NOBODY)

    def believe(self, address: str) -> None:
        """The client takes an address for the host's."""
        self.net.ip(f"neigh replace {address} lladdr {self.mac} dev {self.outside}", netns=self.client)

    def sent_to(self, address: str) -> str:
        """The MAC that the client sends to what is for an address."""
        found = json.loads(self.net.ip(f"-j neigh show {address}", netns=self.client))
        return str(found[0]["lladdr"])

    def verdict(self, folder: Path, address: str, answers: int) -> Verdict:
        """Of three pings from the client, as the graph of now and a record at the host's interface tell it."""
        network = Network(graph(self.net, folder))
        [device] = [one for one in network.devices.values() if one.name == self.parent]
        client = str(self.net.link(self.client, self.outside)["address"])
        record: dict[str, Any] = {
            "UUID": "1",
            "TrackingID": "t",
            "NodeTID": device.tid,
            "Interface": self.parent,
            "Namespace": device.namespace.name,
            "Start": 1,
            "Last": 1,
            "FirstMonotonic": 1,
            "Initiator": "A",
            "Seen": {"AB": "ingress", **({"BA": "egress"} if answers else {})},
            "Metric": {"ABPackets": 3, "BAPackets": answers},
            "Link": {"A": client, "B": self.sent_to(address)},
            "Network": {"A": CLIENT, "B": address, "ATTL": 64, "BTTL": 64},
            "ICMP": {"Type": "ECHO"},
        }
        told = Evidence(flows=[("host", record)], hosts={"host": "host"})
        told.turned = orientations([record])
        return judged("t", told, TracedGraph(network)).verdict


def check(net: Net, folder: Path, words: str) -> None:
    """What is well is told so, though the containers are not looked at; what is for nobody is lost."""
    lab = Stacked(net, words)
    for number, address in enumerate((*CONTAINERS, HOST)):
        net.ping(lab.client, address)
        assert lab.verdict(folder / str(number), address, 3).kind == "well"
    assert " 100% packet loss" in net.run(lab.client, "ping", "-nc1", "-W1", NOBODY, check=False)
    lost = lab.verdict(folder / "nobody", NOBODY, 0)
    assert (lost.kind, lost.interface) == ("lost", lab.parent)
