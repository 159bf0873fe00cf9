"""Edges between hosts whose links are real: what the kernel tells of each, reported apart, and linkers on a real store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ashosts, pathlab
from support.hublab import now_us
from support.netlab import Net, until
from support.pathjudge import judge, question

from topology.elements import Kind
from topology.linkers.run import LINKERS, Linkers
from topology.path.find import find_path
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

Edge = tuple[str, str, str]


class Hosts:
    """A store that each namespace of a chain reports to as a host of its own.

    Args:
        chain: whose namespaces they are.
        folder: for the store.
    """

    def __init__(self, chain: pathlab.Chain, folder: Path) -> None:
        self.chain, self._folder, self._looks = chain, folder, 0
        self.store = EmbeddedStore(folder / "hosts", clock=now_us)
        self.reconciler = Reconciler(self.store, "hub", now_us)

    def look(self) -> None:
        """All tell what they see now."""
        self._looks += 1
        for report in ashosts.reports(pathlab.graph(self.chain.net, self._folder / str(self._looks)), now_us()):
            self.reconciler.report(report)

    def linkers(self, *names: str) -> Linkers:
        return Linkers(self.store, self.reconciler.report, names, "hub", now_us)

    def edges(self, *relations: str) -> set[Edge]:
        """Relation, and the ends as host/interface, of the edges that linkers made."""
        states = {one.id: one.state for one in self.store.current() if one.state}
        found = set()
        for state in states.values():
            if state.kind is Kind.EDGE and state.metadata["RelationType"] in relations:
                ends = sorted(f"{states[one].host}/{states[one].metadata['Name']}" for one in (state.parent, state.child))
                found.add((state.metadata["RelationType"], *ends))
        return found

    def close(self) -> None:
        self.reconciler.close()
        self.store.close()


@pytest.fixture
def hosts(net: Net, tmp_path: Path) -> Iterator[Callable[..., Hosts]]:
    made: list[Hosts] = []

    def build(*kinds: str) -> Hosts:
        chain = pathlab.build(net, list(kinds))
        pathlab.warm_up(chain)
        made.append(Hosts(chain, tmp_path))
        made[-1].look()
        return made[-1]

    yield build
    for one in made:
        one.close()


def between(one: str, other: str, relation: str) -> Edge:
    left, right = sorted([one, other])
    return relation, left, right


@pytest.mark.parametrize(("kind", "device"), [("vxlan", "t0"), ("vxlan_fdb", "x0")])
def test_a_real_tunnel_is_an_edge_and_goes_with_its_end(kind: str, device: str, hosts: Callable[..., Hosts]) -> None:
    made = hosts(kind)
    left, right = made.chain.members
    linkers = made.linkers("tunnel")
    linkers.step()
    expected = between(f"{left}/{device}", f"{right}/{device}", "tunnel")
    assert made.edges("tunnel") == {expected}
    made.chain.ip(right, f"link del {device}")
    made.look()
    linkers.step()
    assert made.edges("tunnel") == set()


def test_neighbours_and_next_hops_of_real_hosts(hosts: Callable[..., Hosts]) -> None:
    made = hosts("veth", "switch", "own_bridge")
    linkers = made.linkers(*LINKERS)
    linkers.step()
    members = made.chain.members
    joints = enumerate([("r0", "l0"), ("ar1", "bl1"), ("r2", "br2")])
    pairs = {(f"{members[n]}/{one}", f"{members[n + 1]}/{other}") for n, (one, other) in joints}
    assert made.edges("neighbour") == {between(one, other, "neighbour") for one, other in pairs}
    ways = {between(one, other, "nexthop") for one, other in pairs}
    assert made.edges("nexthop") == ways


def test_what_a_linker_said_goes_when_it_is_switched_off(hosts: Callable[..., Hosts]) -> None:
    made = hosts("veth")
    made.linkers(*LINKERS).step()
    assert made.edges("neighbour")
    made.linkers("tunnel").step()
    assert not made.edges("neighbour", "nexthop")


def test_edges_that_are_the_same_make_no_revision(hosts: Callable[..., Hosts]) -> None:
    made = hosts("veth", "vxlan")
    first = made.linkers(*LINKERS)
    first.step()
    before = made.store.health().revisions
    made.look()
    first.step()
    made.linkers(*LINKERS).step()  # after a restart of the hub
    assert made.store.health().revisions == before


def test_it_follows_by_itself(hosts: Callable[..., Hosts]) -> None:
    made = hosts("veth")
    linkers = made.linkers(*LINKERS)
    linkers.start()
    try:
        until(lambda: made.edges("neighbour"))
        made.chain.ip(made.chain.members[1], "link del l0")
        made.look()
        until(lambda: not made.edges("neighbour", "nexthop"))
        assert linkers.failure is None
    finally:
        linkers.stop()


@pytest.mark.parametrize("seed", range(8))
def test_a_path_over_hosts_that_nobody_sees_the_links_of_is_what_a_packet_takes(seed: int, net: Net, tmp_path: Path) -> None:
    kinds = pathlab.random_kinds(seed, set(pathlab.HERE) - {"switch"})  # one of those is no host
    chain = pathlab.build(net, kinds)
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    made = Hosts(chain, tmp_path)
    try:
        made.look()
        path = find_path(made.store.current(), question(chain))
    finally:
        made.close()
    assert path.end.kind == "arrives", (path.end, path.hops)
    judge(path, seen)
