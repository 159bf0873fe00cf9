"""Kubernetes and what agents see: which host a node is, which namespace and interface a pod has, which container runs. Pure.

A pod's interface is the one with its address in another namespace than the host's own, on the host that its node is: clusters
may share their addresses. The other end of its veth is joined to it by the kernel's own word. Where two fit there is no edge.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from topology.elements import Metadata
from topology.facts import EdgeFact
from topology.linkers.join import Key, Linker
from topology.linkers.workloads import Container, Machine, Placed, Pod, Workload, Workloads

NAME = "kubernetes"
"""As the settings have it."""

_MANAGER: Metadata = {"Manager": "k8s"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """An element that has a key.

    Attributes:
        tid: of the element.
        of_cluster: whether a cluster says so; else an agent.
        within: of an interface: TID of its namespace.
    """

    tid: str
    of_cluster: bool
    within: str = ""


def read(one: Workload, _: Workloads) -> Iterator[tuple[Key, Evidence]]:
    """A node's host; a pod's addresses and an interface's, on their host; a container's ID."""
    if isinstance(one, Machine) and one.host:
        yield ("node", one.host), Evidence(one.tid, of_cluster=True)
    elif isinstance(one, Pod) and one.host:
        for text in one.addresses:
            yield ("address", one.host, _normal(text)), Evidence(one.tid, of_cluster=True)
    elif isinstance(one, Placed) and one.namespace:
        interface = one.interface
        for address in interface.addresses:
            yield ("address", interface.host, str(address)), Evidence(interface.tid, of_cluster=False, within=one.namespace)
    elif isinstance(one, Container):
        yield ("container", one.container_id), Evidence(one.tid, of_cluster=one.of_cluster)


def join(key: Key, evidence: list[Evidence]) -> Iterator[EdgeFact]:
    """From the host to its nodes; from a pod to its namespace and interface; from a container to the runtime's."""
    theirs = [one for one in evidence if one.of_cluster]
    ours = [one for one in evidence if not one.of_cluster]
    if key[0] == "node":
        for one in theirs:  # several, where it is in several clusters
            yield EdgeFact(str(key[1]), one.tid, "node", _MANAGER)
    elif len(theirs) == len(ours) == 1:
        (there,), (here,) = theirs, ours
        relation = "container" if key[0] == "container" else "pod"
        yield EdgeFact(there.tid, here.tid, relation, _MANAGER)
        if here.within:
            yield EdgeFact(there.tid, here.within, relation, _MANAGER)


def _normal(address: str) -> str:
    """As the interfaces' are written; what is none stays as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


KUBERNETES = Linker(NAME, read, join)
