"""What a laboratory is made of, as data: nodes, the cables between them, workloads, and the ways between workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Literal, NamedTuple

Family = Literal[4, 6]


class Role(StrEnum):
    """What a node stands for."""

    HOST = "host"  # has workloads
    ROUTER = "router"
    GATEWAY = "gateway"  # a router that translates addresses
    SWITCH = "switch"  # nobody looks at what runs through it
    OUTSIDE = "outside"  # somebody else's server


class Place(NamedTuple):
    """Where a command runs: a node, or a network namespace of it; ``netns`` is empty for the node's own."""

    node: str
    netns: str = ""

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.node}/{self.netns}" if self.netns else self.node


class Command(NamedTuple):
    """A line for the shell of a place."""

    place: Place
    line: str


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the laboratory: its own namespaces of network, mounts, processes and name.

    Attributes:
        name: its host name.
        role: what it stands for.
        setup: lines for its shell, run once its cables are there.
        switch: it runs Open vSwitch.
        agent: it runs an agent.
        position: what its picture says of it.
    """

    name: str
    role: Role
    setup: tuple[str, ...] = ()
    switch: bool = False
    agent: bool = True
    position: str = ""


class End(NamedTuple):
    """One end of a cable."""

    node: str
    interface: str


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair between two nodes."""

    left: End
    right: End
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs in a namespace of its own on a node, or, where ``netns`` is empty, on the node itself.

    It serves HTTP on TCP port 80 and answers on UDP port 53.
    """

    name: str
    node: str
    netns: str
    address: Mapping[Family, str]
    segment: str
    interface: str = "eth0"

    @property
    def place(self) -> Place:
        """Where its commands run."""
        return Place(self.node, self.netns)


class Acts(StrEnum):
    """What a hop does with a packet."""

    END = "end"  # sends or takes it
    SWITCH = "switch"  # Open vSwitch, by VLANs
    BRIDGE = "bridge"  # the kernel's
    TUNNEL = "tunnel"  # puts it into a tunnel, or takes it out
    ROUTE = "route"


class Hop(NamedTuple):
    """One step of a packet's way.

    Attributes:
        place: where.
        acts: what is done there.
        into: interface it comes by; empty where it begins.
        out: interface it leaves by; empty where it ends.
        outer: it is inside a tunnel: addresses are the endpoints' of ``tunnel``.
    """

    place: Place
    acts: Acts
    into: str
    out: str
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where the packets of a way run while they are in a tunnel: endpoints from source to destination."""

    family: Family
    source: str
    destination: str
    vni: int
    port: int = 4789


@dataclass(frozen=True, slots=True)
class Way:
    """From one workload to another: every hop of the way there; the way back is a way of its own."""

    source: Workload
    destination: Workload
    hops: tuple[Hop, ...]
    tunnel: Tunnel | None = None
    translated: bool = False  # leaves by a gateway that gives it another source


@dataclass(frozen=True, slots=True)
class Segment:
    """A network of workloads.

    Attributes:
        name: as workloads name it.
        prefix: by family.
        vni: of its tunnel; 0: none.
        carrier: family of the tunnel's endpoints.
    """

    name: str
    prefix: Mapping[Family, str]
    vni: int = 0
    carrier: Family = 4


@dataclass(frozen=True, slots=True)
class Route:
    """A route by a neighbour, as ``ip route add`` takes it: ``prefix via gateway``."""

    prefix: str
    gateway: str

    @property
    def line(self) -> str:
        """For ``ip route`` or ``ip -6 route``."""
        return f"{self.prefix} via {self.gateway}"

    @property
    def command(self) -> str:
        """That adds it."""
        return f"ip{' -6' if ':' in self.gateway else ''} route add {self.line}"

    def leads_to(self, address: str) -> bool:
        """Whether an address is behind it."""
        host = ip_address(address)
        if self.prefix == "default":
            return host.version == ip_address(self.gateway).version
        return host in ip_network(self.prefix)


@dataclass(frozen=True, slots=True)
class Translator:
    """Who translates addresses to those of an interface: rules of the chain ``postrouting`` of nftables' ``inet nat``."""

    interface: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole laboratory.

    Attributes:
        routes: by neighbours, where packets between workloads need them.
        one_way: interfaces that packets come by from where the way back is by another one.
        translators: by node.
    """

    topology: str
    nodes: tuple[Node, ...]
    cables: tuple[Cable, ...]
    workloads: tuple[Workload, ...]
    segments: tuple[Segment, ...]
    ways: tuple[Way, ...]
    picture: str
    routes: Mapping[Place, tuple[Route, ...]]
    translators: Mapping[str, Translator]
    one_way: frozenset[tuple[Place, str]] = frozenset()
    tools: Mapping[str, str] = field(default_factory=dict)  # program: Debian package

    def node(self, name: str) -> Node:
        """By name. Raises KeyError."""
        return {node.name: node for node in self.nodes}[name]

    def workload(self, name: str) -> Workload:
        """By name. Raises KeyError."""
        return {one.name: one for one in self.workloads}[name]

    def way(self, source: str, destination: str) -> Way:
        """Between two workloads, by name. Raises KeyError."""
        return {(way.source.name, way.destination.name): way for way in self.ways}[source, destination]
