"""A graph that facts are told to, and the address book that follows from it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from skytrail.addresses.book import Book, Owner
from topology.addresses.entries import Entries
from topology.addresses.follow import AddressFollower, keep_as
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

LATER = 10**9
H1, H2 = "host/1", "host/2"


class Graph:
    """A store that facts are told to, at times that the test says."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000
        self.store = EmbeddedStore(folder / "graph", clock=lambda: self.now)
        self.reconciler = Reconciler(self.store, "h", lambda: self.now)
        self.follower = AddressFollower(self.store, lambda: self.now)
        self.book = Book()

    def tell(self, *facts: Fact, gone: tuple[Fact, ...] = (), at: int = 0, probe: str = "netlink") -> None:
        self.now = at or self.now + 1_000
        self.reconciler.report(Report(Source(probe, "h"), self.now, facts, tuple(one.id for one in gone)))

    def follow(self) -> Entries:
        self.follower.step()
        return self.follower._entries

    def named(
        self, address: str, place: str = "", host: str = "", at: int = LATER, network: int = 0, port: int = 0
    ) -> Owner | None:
        """By the book of an agent that follows."""
        if not self.follower.number:
            keep_as(self.follower, self.book)
        self.follower.step()
        return self.book.find(ip_address(address).packed, place, host, at, network, port)

    def close(self) -> None:
        self.store.close()


def host(tid: str, name: str) -> NodeFact:
    return NodeFact(tid, {"Type": "host", "Name": name})


def netns(tid: str, name: str, **keys: Any) -> tuple[Fact, ...]:
    return NodeFact(tid, {"Type": "netns", "Name": name, **keys}), EdgeFact(tid.rpartition("/netns")[0], tid, "ownership")


def interface(owner: str, name: str, *addresses: str) -> tuple[Fact, ...]:
    four = [one for one in addresses if ":" not in one]
    keys = {"Name": name, "Type": "veth", "IfIndex": 2, "IPV4": four, "IPV6": [one for one in addresses if ":" in one]}
    return NodeFact(f"{owner}/{name}", keys), EdgeFact(owner, f"{owner}/{name}", "ownership")


def container(place: str, name: str, mode: str = "", **pod: str) -> tuple[Fact, ...]:
    tid = f"{H1}/container/{name}"
    own: dict[str, Any] = {"ID": f"id-{name}", "NetworkMode": mode, **({"Pod": pod} if pod else {})}
    return NodeFact(tid, {"Type": "container", "Name": name, "Manager": "docker", "Container": own}), EdgeFact(
        place, tid, "ownership"
    )


def k8s(type_: str, name: str, cluster: str = "c1", **keys: object) -> NodeFact:
    own = {"Name": name, "Namespace": "shop", **keys}
    said = {"Type": type_, "Name": name, "Manager": "k8s", "ClusterName": cluster, "K8s": own}
    return NodeFact(f"cluster/{cluster}/{type_}/{name}", said)


def link(owner: str, name: str, *, type_: str = "veth", **keys: Any) -> tuple[Fact, ...]:
    """An interface of whichever kind."""
    said = {"Name": name, "Type": type_, "IfIndex": 3, **keys}
    return NodeFact(f"{owner}/{name}", said), EdgeFact(owner, f"{owner}/{name}", "ownership")


def port(master: str, interface: str) -> EdgeFact:
    """That an interface is in a bridge, or one in a port of a switch."""
    return EdgeFact(master, interface, "layer2")


def cable(left: str, right: str, kind: str = "veth") -> EdgeFact:
    """That two are the ends of a pair or patch, or that the second stands on the first."""
    return EdgeFact(left, right, "layer2", {"Type": kind}, key=kind)


def tenant(host: str, vni: int, name: str, address: str) -> tuple[Fact, ...]:
    """A namespace in the network of a VNI: by a VXLAN in a bridge in the host's own."""
    place, bridge, tunnel = f"{host}/netns/{name}", f"{host}/br{vni}", f"{host}/vx{vni}"
    return (
        *netns(place, name),
        *interface(place, "eth0", address),
        *link(host, f"v{name}"),
        *link(host, f"br{vni}", type_="bridge"),
        *link(host, f"vx{vni}", type_="vxlan", VXLAN={"ID": vni}),
        port(bridge, tunnel),
        port(bridge, f"{host}/v{name}"),
        cable(f"{host}/v{name}", f"{place}/eth0"),
    )


def switch(host: str, bridge: str, ports: dict[str, dict[str, Any]]) -> tuple[Fact, ...]:
    """A bridge of Open vSwitch, and what its ports say, by the TID of their interfaces."""
    tid = f"{host}/{bridge}"
    found: list[Fact] = [NodeFact(tid, {"Type": "ovsbridge", "Name": bridge}), EdgeFact(host, tid, "ownership")]
    for one, own in ports.items():
        at = f"{one}/port"
        found += [NodeFact(at, {"Type": "ovsport", "Name": one.rpartition("/")[2], "Ovs": own}), port(tid, at), port(at, one)]
    return tuple(found)
