"""Containers on macvlan and ipvlan interfaces of a host whose agent looks at the host's own namespace alone, and their traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.hublab import Hub
from support.netlab import Net, until

Json = dict[str, Any]

CLIENT, HOST = "10.213.7.1", "10.213.7.2"
CONTAINERS = ("10.213.7.3", "10.213.7.4")


class Stacked:
    """A client outside, a host, and two containers on its interface.

    Args:
        net: makes the namespaces.
        folder: for the hub's state.
        words: behind ``type`` of ``ip link add``, as ``macvlan mode bridge``.
    """

    def __init__(self, net: Net, folder: Path, words: str) -> None:
        self.net = net
        self.client, self.host = net.netns("c"), net.netns("h")
        self.parent = net.name("p")
        net.ip(f"link add {net.name('o')} netns {self.client} type veth peer name {self.parent} netns {self.host}")
        for netns, name, address in ((self.client, net.name("o"), CLIENT), (self.host, self.parent, HOST)):
            net.ip(f"address add {address}/24 dev {name}", netns=netns)
            net.ip(f"link set {name} up", netns=netns)
        self.containers = [net.netns(f"k{number}") for number in range(len(CONTAINERS))]
        for netns, address in zip(self.containers, CONTAINERS, strict=True):
            net.ip(f"link add {net.name('s')} link {self.parent} netns {netns} type {words}", netns=self.host)
            net.ip(f"address add {address}/24 dev {net.name('s')}", netns=netns)
            net.ip(f"link set {net.name('s')} up", netns=netns)
            if "mode l3" in words:  # these do not answer
                mac = net.link(self.host, self.parent)["address"]
                net.ip(f"neigh replace {address} lladdr {mac} dev {net.name('o')}", netns=self.client)
        settings = {"flow.interfaces": self.parent, "topology.linkers": "[]", "flow.drain": "100ms"}
        self.hub = Hub(folder, settings, netns=self.host)

    def pinged(self, source: str, destination: str, identifier: int) -> Json:
        """The trace of pings that were all answered, once some were seen."""

        def seen() -> Json:
            self.net.ping(source, destination, identifier=identifier)
            trace: Json = self.hub.get("/api/v1/trace", filter=f"icmp and host {destination}", duration="20s")
            assert trace["Forth"]["Points"], trace["Verdict"]
            return trace

        return until(seen, 20)


def check(net: Net, folder: Path, words: str) -> None:
    """What is well is told so, though the containers are not looked at; what no address of the graph's is for is lost."""
    lab = Stacked(net, folder, words)
    lab.hub.start()
    try:
        into = lab.pinged(lab.client, CONTAINERS[0], 4001)
        assert (into["Verdict"]["Kind"], into["Verdict"]["Text"]) == (
            "well",
            "no loss is seen; an end lies where no agent looks",
        )
        assert [point["Interface"] for point in into["Forth"]["Points"]] == [lab.parent]
        assert lab.pinged(lab.client, HOST, 4002)["Verdict"]["Kind"] == "well"

        mac = net.link(lab.host, lab.parent)["address"]
        net.ip(f"neigh replace 10.213.7.99 lladdr {mac} dev {net.name('o')}", netns=lab.client)  # it is nobody's
        net.run(lab.client, "ping", "-n", "-c3", "-i0.1", "-W0.1", "10.213.7.99", check=False)

        def lost() -> bool:
            trace = lab.hub.get("/api/v1/trace", filter="icmp and host 10.213.7.99", duration="20s")
            assert trace["Verdict"]["Kind"] == "lost", trace["Verdict"]
            return True

        assert until(lost, 20)
    finally:
        lab.hub.close()
