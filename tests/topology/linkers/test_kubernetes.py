"""Clusters and hosts joined: which host a node is, what a pod has there, which container runs; taken one by one or at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from skytrail.tid import host_tid
from topology.elements import FOREVER, Part, Revision, State, edge_id, node_id
from topology.linkers.interfaces import Interfaces
from topology.linkers.join import Join
from topology.linkers.kubernetes import KUBERNETES
from topology.linkers.workloads import Workloads

Json = dict[str, Any]


class Elements:
    """Revisions, as a store gives them."""

    def __init__(self) -> None:
        self.revisions: list[Revision] = []

    def _put(self, id_: str, state: State) -> None:
        number = len(self.revisions) + 1
        self.revisions.append(Revision(id_, 1, number, number, FOREVER, number, number, state))

    def node(self, tid: str, type_: str, name: str = "", **metadata: Any) -> str:
        said = {"Type": type_, "Name": name or tid, **metadata}
        self._put(node_id(tid), State("h", "agent.h", {"p": Part.of(said)}, tid))
        return tid

    def owned(self, parent: str, child: str) -> None:
        ends = node_id(parent), node_id(child)
        state = State("h", "agent.h", {"p": Part.of({"RelationType": "ownership"})}, parent=ends[0], child=ends[1])
        self._put(edge_id(*ends, "ownership"), state)

    def host(self, id_: str, name: str, *addresses: str) -> str:
        tid = self.node(host_tid(id_), "host", name)
        self.interface(tid, f"{tid}/link/eth0", *addresses)
        return tid

    def interface(self, owner: str, tid: str, *addresses: str) -> str:
        self.node(tid, "veth", IfIndex=2, IPV4=list(addresses))
        self.owned(owner, tid)
        return tid

    def netns(self, host: str, name: str, *addresses: str) -> tuple[str, str]:
        tid = self.node(f"{host}/netns/name/{name}", "netns", name)
        self.owned(host, tid)
        return tid, self.interface(tid, f"{tid}/link/veth/eth0", *addresses)

    def k8s(self, type_: str, name: str, cluster: str = "c", state: str = "UP", **keys: Any) -> str:
        more = {"Manager": "k8s", "ClusterName": cluster, "State": state, "K8s": keys}
        return self.node(f"cluster/{cluster}/{type_}/{name}", type_, name, **more)


def linked(revisions: list[Revision], steps: int = 0) -> set[tuple[str, str, str]]:
    """The edges; with steps: taken in so many parts."""
    interfaces = Interfaces()
    workloads, join = Workloads(interfaces), Join(KUBERNETES)
    for number, one in enumerate(revisions):
        workloads.take(one, interfaces.take(one))
        if steps and number % steps == 0:
            join.take(workloads.settle(), workloads)
    join.take(workloads.settle(), workloads)
    return {(one.relation, one.parent, one.child) for one in join.edges}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"HostID": "m1"}, "m1"),
        ({"Hostname": "host-two"}, "m2"),
        ({"InternalIP": "192.0.2.1"}, "m1"),
        ({"InternalIP": "198.51.100.1", "InternalIPs": ["198.51.100.1", "192.0.2.2"]}, "m2"),
        ({"HostID": "m2", "Hostname": "host-one", "InternalIP": "192.0.2.1"}, "m2"),
        ({"InternalIP": "203.0.113.9"}, ""),
        ({"InternalIP": "10.0.0.1"}, ""),  # both have it
    ],
)
def test_a_node_is_the_host_of_its_machine_id_or_name_or_address(keys: Json, expected: str) -> None:
    made = Elements()
    made.host("m1", "host-one", "192.0.2.1/24", "10.0.0.1/8")
    made.host("m2", "host-two", "192.0.2.2/24", "10.0.0.1/8")
    node = made.k8s("node", "worker", **keys)
    assert linked(made.revisions) == ({("node", host_tid(expected), node)} if expected else set())


def test_a_pod_has_the_namespace_and_interface_with_its_address_on_its_nodes_host() -> None:
    made = Elements()
    one, two = made.host("m1", "one"), made.host("m2", "two")
    expected = set()
    for host, node, cluster in ((one, "m1", "c"), (two, "m2", "d")):  # two clusters with the same addresses
        namespace, interface = made.netns(host, "cni-1", "10.1.0.7/24")
        machine = made.k8s("node", "worker", cluster, HostID=node)
        pod = made.k8s("pod", "p", cluster, Node="worker", IP="10.1.0.7")
        expected |= {("node", host, machine), ("pod", pod, namespace), ("pod", pod, interface)}
    made.k8s("pod", "elsewhere", Node="unknown", IP="10.1.0.7")
    made.k8s("pod", "over", state="DOWN", Node="worker", IP="10.1.0.7")
    made.k8s("pod", "of-host", Node="worker", IP="10.1.0.7", HostNetwork=True)
    assert linked(made.revisions) == expected
    made.k8s("pod", "second", Node="worker", IP="10.1.0.7")  # which of both is not known
    assert linked(made.revisions) == {one for one in expected if one[0] == "node" or "cluster/d" in one[1]}


def test_a_hosts_own_interface_is_no_pods() -> None:
    made = Elements()
    host = made.host("m1", "one", "10.1.0.7/24")
    machine = made.k8s("node", "worker", HostID="m1")
    made.k8s("pod", "p", Node="worker", IP="10.1.0.7")
    assert linked(made.revisions) == {("node", host, machine)}


def test_a_container_is_the_runtimes_of_its_id() -> None:
    made = Elements()
    theirs = made.k8s("container", "main", ContainerID="abc", Pod="p")
    made.k8s("container", "waiting")
    ours = made.node("host/m1/container/abc", "container", Manager="docker", Container={"ID": "abc"})
    made.node("host/m1/container/def", "container", Manager="docker", Container={"ID": "def"})
    assert linked(made.revisions) == {("container", theirs, ours)}


def test_taken_one_by_one_in_any_order_it_is_as_at_once() -> None:
    seen = set()
    for seed in range(40):
        found, expected = _at_random(random.Random(seed))
        assert found == expected, seed
        seen |= {relation for relation, *_ in expected}
    assert seen == {"node", "pod", "container"}


def _at_random(chosen: random.Random) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """Edges of what came, changed and went in some order, and of what is left of it."""
    made = Elements()
    for number in range(1, 4):
        host = made.host(f"m{number}", f"host-{number}", f"192.0.2.{number}/24")
        keys = ({"HostID": f"m{number}"}, {"InternalIP": f"192.0.2.{number}"}, {})[chosen.randrange(3)]
        made.k8s("node", f"host-{number}" if chosen.random() < 0.5 else f"n-{number}", **keys)
        for index in range(3):
            made.netns(host, f"cni-{index}", f"10.1.{number}.{chosen.randrange(3)}/24")
            made.k8s("pod", f"p-{number}-{index}", Node=f"n-{number}", IP=f"10.1.{number}.{chosen.randrange(3)}")
        made.k8s("container", f"k-{number}", ContainerID=str(chosen.randrange(3)))
        made.node(f"host/m{number}/container/x", "container", Container={"ID": str(chosen.randrange(3))})
    nodes = [one for one in made.revisions if one.state and one.state.tid]
    edges = [one for one in made.revisions if one.state and not one.state.tid]
    chosen.shuffle(nodes)
    chosen.shuffle(edges)  # an edge is never there before its nodes
    last = len(made.revisions)
    come = [*nodes, *edges]
    some = [one for one in nodes if chosen.random() < 0.3]
    changed = [_after(one, last + number) for number, one in enumerate(some, 1)]
    gone = [_gone(one, last + len(some) + number) for number, one in enumerate(chosen.sample(come, 6), 1)]
    ended = {one.id for one in gone}
    ended |= {one.id for one in edges if one.state and {one.state.parent, one.state.child} & ended}
    gone += [_gone(one, 2 * last + 99) for one in edges if one.id in ended]
    left = [one for one in come if one.id not in ended]
    return linked([*come, *changed, *gone], steps=chosen.choice((1, 3, 7))), linked(left)


def _after(one: Revision, at: int) -> Revision:
    return Revision(one.id, 2, one.created_at, at, FOREVER, at, at, one.state)


def _gone(one: Revision, at: int) -> Revision:
    return Revision(one.id, 3, one.created_at, at, at, at, at, None, deleted=True)
