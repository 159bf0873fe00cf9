"""Reports become changes: what is said as a set, what waits, what a restart finds, what a clock does."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.steps import T
from support.netlab import until

from topology.elements import node_id
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import Batch, StoreError

LINKS, OTHERS = Source("netlink", "host1"), Source("docker", "host1")
RULES = Source("rules", "host9", service="hub")
ELSEWHERE = Source("netlink", "host2")


class Lab:
    """A reconciler before a store that can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = T
        self.failing = False
        self.open()

    def open(self) -> None:
        self.store = EmbeddedStore(self.folder, clock=lambda: self.now)
        take = self.store.apply

        def apply(batch: Batch) -> int:
            if self.failing:
                raise StoreError("no room")
            return take(batch)

        self.store.apply = apply  # type: ignore[method-assign]
        self.reconciler = Reconciler(self.store, "hub1", lambda: self.now)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def report(self, *facts: Fact, source: Source = LINKS, at: int | None = None, **more: Any) -> int:
        self.now += 1000
        return self.reconciler.report(Report(source, self.now if at is None else T + at, facts, **more))

    def names(self) -> dict[str, dict[str, Any]]:
        """Metadata of what the store has now: nodes by TID, edges by their nodes' TIDs."""
        found = {one.id: one.state for one in self.store.current() if one.state}
        tids = {id_: state.tid for id_, state in found.items()}
        return {state.tid or f"{tids[state.parent]}>{tids[state.child]}": state.metadata for state in found.values()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "graph")
    yield made
    made.store.close()


def link(tid: str, **metadata: Any) -> NodeFact:
    return NodeFact(tid, {"Name": tid, "Type": "veth", **metadata})


def edge(parent: str, child: str, relation: str = "ownership") -> EdgeFact:
    return EdgeFact(parent, child, relation)


def test_facts_become_elements(lab: Lab) -> None:
    assert lab.report(link("h", MTU=1500), link("a"), edge("h", "a")) == 3
    assert lab.names() == {
        "h": {"Name": "h", "Type": "veth", "MTU": 1500},
        "a": {"Name": "a", "Type": "veth"},
        "h>a": {"RelationType": "ownership"},
    }
    [state] = [one.state for one in lab.store.current() if one.id == node_id("h")]
    assert state is not None
    assert (state.host, state.origin, state.tid) == ("host1", "agent.host1", "h")


def test_the_same_again_makes_no_revision(lab: Lab) -> None:
    lab.report(link("h"), link("a"), edge("h", "a"))
    sequence = lab.store.health().sequence
    assert lab.report(link("a"), edge("h", "a"), link("h"), whole=True) == 0
    assert lab.report(NodeFact("a", {"Type": "veth", "Name": "a"}, {"Metric": {"RxBytes": 7}})) == 0
    assert lab.store.health().sequence == sequence
    assert lab.reconciler.volatile() == {node_id("a"): {"Metric": {"RxBytes": 7}}}


def test_of_a_whole_report_what_is_missing_is_gone_and_nobody_elses(lab: Lab) -> None:
    lab.report(link("h"), link("a"), edge("h", "a"))
    lab.report(link("x"), source=ELSEWHERE)
    lab.report(NodeFact("d", {"Name": "d", "Type": "container"}), source=OTHERS)
    lab.report(link("h"), whole=True)
    assert lab.names().keys() == {"h", "x", "d"}


def test_a_whole_report_leaves_edges_with_nodes_that_it_does_not_know(lab: Lab) -> None:
    lab.report(link("h"), link("a/1"), edge("h", "a/1"), edge("h", "b/1"), edge("b/1", "h"), edge("h", "h"))
    lab.report(link("b/1"), source=OTHERS)
    everything = {"h", "a/1", "b/1", "h>a/1", "h>b/1", "b/1>h", "h>h"}
    assert lab.names().keys() == everything
    lab.report(link("h"), whole=True, unknown=("b/", "c/"))
    assert lab.names().keys() == {"h", "b/1", "h>b/1", "b/1>h"}
    lab.report(link("h"), whole=True, unknown=("b/", "c/"), gone=(edge("h", "b/1").id,))  # that it knows
    assert lab.names().keys() == {"h", "b/1", "b/1>h"}
    lab.report(link("h"), whole=True)
    assert lab.names().keys() == {"h", "b/1"}


@pytest.mark.parametrize("order", list(itertools.permutations([link("h"), link("a"), edge("h", "a")])))
def test_an_edge_is_there_when_both_its_nodes_are_whoever_comes_first(lab: Lab, order: tuple[Fact, ...]) -> None:
    for fact in order:
        assert ("h>a" in lab.names()) is False
        lab.report(fact)
    assert lab.names().keys() == {"h", "a", "h>a"}


def test_an_edge_ends_with_its_node_and_comes_back_with_it(lab: Lab) -> None:
    lab.report(link("h"), link("a"), edge("h", "a"))
    lab.report(gone=(node_id("a"),))
    assert lab.names().keys() == {"h"}
    lab.report(link("a"))
    assert lab.names().keys() == {"h", "a", "h>a"}
    before = [one for one in lab.store.feed(0, 99) if one.state is None]
    assert [one.updated_at for one in before] == sorted(one.updated_at for one in before)


def test_an_edge_between_what_two_hosts_see(lab: Lab) -> None:
    lab.report(edge("a", "x", "layer2"), link("a"))
    assert lab.names().keys() == {"a"}
    lab.report(link("x"), source=ELSEWHERE)
    assert lab.names().keys() == {"a", "x", "a>x"}
    lab.report(whole=True, source=ELSEWHERE)
    assert lab.names().keys() == {"a"}


def test_what_enriches_adds_to_what_is_there_and_keeps_nothing_alive(lab: Lab) -> None:
    more = NodeFact("a", {"Container": {"Image": "nginx"}, "Type": "not believed"}, enriches=True)
    lab.report(more, source=OTHERS)
    assert lab.names() == {}
    lab.report(link("a"))
    assert lab.names() == {"a": {"Name": "a", "Type": "veth", "Container": {"Image": "nginx"}}}
    lab.report(gone=(node_id("a"),))
    assert lab.names() == {}


def test_after_a_restart_it_goes_on_where_it_was(lab: Lab) -> None:
    lab.report(link("h"), link("a"), link("b"), edge("h", "a"), edge("h", "b"))
    lab.report(NodeFact("a", {"Container": "c"}, enriches=True), source=OTHERS)
    sequence = lab.store.health().sequence
    lab.restart()
    assert lab.report(link("h"), link("a"), link("b"), edge("h", "a"), edge("h", "b"), whole=True) == 0
    assert lab.store.health().sequence == sequence
    lab.restart()
    assert lab.report(link("h"), link("a"), edge("h", "a"), whole=True) == 2  # b went while nobody looked
    assert lab.names() == {
        "h": {"Name": "h", "Type": "veth"},
        "a": {"Name": "a", "Type": "veth", "Container": "c"},
        "h>a": {"RelationType": "ownership"},
    }


def test_a_clock_that_steps_back_does_not_reorder(lab: Lab) -> None:
    lab.report(link("a", n=1), at=1_000_000)
    lab.report(link("a", n=2), at=10)
    lab.report(link("a", n=3), at=20)
    lab.report(link("a", n=4), at=2_000_000)
    history = list(lab.store.between(T, T + 3_000_000))
    assert [one.state.metadata["n"] for one in history if one.state] == [1, 2, 3, 4]
    assert [one.updated_at - T for one in history] == [1_000_000, 1_000_001, 1_000_002, 2_000_000]
    lab.restart()
    lab.report(link("a", n=5), at=30)
    assert lab.names()["a"]["n"] == 5


def test_what_others_said_later_of_an_element_moves_that_change_alone(lab: Lab) -> None:
    lab.report(link("space"), at=9_000_000)
    more = NodeFact("space", {"Manager": "docker"}, enriches=True)
    lab.report(link("c1"), more, edge("c1", "space"), source=OTHERS, at=1_000_000)
    lab.report(link("c2"), source=OTHERS, at=2_000_000)
    lab.report(source=OTHERS, gone=(node_id("c1"),), at=3_000_000)

    lab.report(source=LINKS, gone=(node_id("space"),), at=9_500_000)

    names = {one.id: one.state.tid for one in lab.store.between(T, T + 10_000_000) if one.state and one.state.tid}
    spans = {}
    for one in lab.store.between(T, T + 10_000_000):
        first, last = spans.get(names.get(one.id, "edge"), (one.updated_at, 0))
        spans[names.get(one.id, "edge")] = first, max(last, one.archived_at)
    begins = {name: first - T for name, (first, _) in spans.items()}
    assert begins == {"space": 9_000_000, "c1": 1_000_000, "c2": 2_000_000, "edge": 9_000_001}
    assert spans["c1"][1] - T == spans["edge"][1] - T == 9_000_002  # no edge outlives a node
    assert spans["space"][1] - T == 9_500_000


def begins(lab: Lab, tid: str) -> list[int]:
    found = lab.store.between(T, T + 10_000_000)
    return sorted(one.updated_at - T for one in found if one.id == node_id(tid) and one.state)


def test_what_is_told_late_has_its_own_time(lab: Lab) -> None:
    lab.report(link("a"), at=5_000_000)
    lab.report(link("b"), at=5_100_000, late=2_100_000)  # it was slow to tell
    lab.report(gone=(node_id("b"),), at=5_200_000, late=1_200_000)
    lab.report(link("b"), at=5_300_000, late=1_800_000)  # not while it was there before
    assert (begins(lab, "a"), begins(lab, "b")) == ([5_000_000], [3_000_000, 4_000_000])


def test_a_node_does_not_end_before_an_edge_that_it_had(lab: Lab) -> None:
    lab.report(link("net"), at=1_000_000)
    lab.report(link("c"), edge("net", "c"), at=2_000_000)
    lab.report(gone=(node_id("c"),), at=6_000_000)
    lab.report(link("net", n=1), at=6_500_000, late=3_000_000)  # changes have their own times
    lab.report(gone=(node_id("net"),), at=7_000_000, late=2_000_000)
    found = [one for one in lab.store.between(T, T + 10_000_000) if one.id == node_id("net")]
    spans = [(one.updated_at - T, one.archived_at - T) for one in found]
    assert spans == [(1_000_000, 3_500_000), (3_500_000, 6_000_000)]


def test_a_node_ends_when_it_did_though_another_probe_ended_its_edge_later(lab: Lab) -> None:
    lab.report(link("space"), at=1_000_000)
    lab.report(link("c"), edge("space", "c"), source=OTHERS, at=2_000_000)
    lab.report(gone=(node_id("space"),), at=6_000_000)
    lab.report(source=OTHERS, gone=(node_id("c"),), at=7_000_000, late=2_000_000)
    [c] = [one for one in lab.store.between(T, T + 10_000_000) if one.id == node_id("c")]
    assert (c.updated_at - T, c.archived_at - T) == (2_000_000, 5_000_000)


def test_of_ends_that_are_forgotten_the_latest_counts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.reconcile._MAX_ENDS", 1)
    lab.report(link("a"), link("b"), at=1_000_000)
    lab.report(gone=(node_id("a"),), at=2_000_000)
    lab.report(gone=(node_id("b"),), at=3_000_000)
    lab.report(link("a"), link("c"), at=4_000_000, late=2_500_000)
    assert begins(lab, "a")[1:] == begins(lab, "c") == [2_000_001]


def test_what_began_before_it_was_seen_is_there_from_its_beginning(lab: Lab) -> None:
    lab.report(link("new"), at=5_000_000, late=4_000_000)
    lab.report(link("new", Name="renamed"), at=6_000_000, late=5_000_000)  # it is so since nobody knows when
    lab.report(link("new", n=2), at=8_000_000, late=1_000_000)  # it began anew
    assert begins(lab, "new") == [1_000_000, 6_000_000, 7_000_000]


def test_what_the_store_did_not_take_is_written_with_the_next_report(lab: Lab) -> None:
    lab.report(link("h"))
    lab.failing = True
    with pytest.raises(StoreError):
        lab.report(link("a"), edge("h", "a"))
    with pytest.raises(StoreError):
        lab.report(link("b"), gone=(node_id("h"),))
    lab.failing = False
    lab.report(link("c"))
    assert lab.names().keys() == {"a", "b", "c"}


def test_two_hubs_never_write_for_one_source(lab: Lab) -> None:
    lab.report(link("a"))
    other = Reconciler(lab.store, "hub2", lambda: lab.now)
    with pytest.raises(StoreError, match="hub1"):
        other.report(Report(LINKS, lab.now, (link("b"),)))
    lab.now += 60_000_000  # the lease ran out
    other.report(Report(LINKS, lab.now, (link("b"),)))
    with pytest.raises(StoreError):
        lab.reconciler.report(Report(LINKS, lab.now + 1, (link("c"),)))
    assert lab.names().keys() == {"a", "b"}


def test_a_fact_that_cannot_be_encoded_keeps_no_other_from_the_graph(lab: Lab) -> None:
    lab.report(link("h"), link("a", MTU=1500))
    bad = (link("b", Name="b\udcff"), link("a", MTU=object()), edge("h", "\udcff"))
    assert lab.report(*bad, link("d"), edge("h", "d")) == 2
    assert lab.names().keys() == {"h", "a", "d", "h>d"}
    assert lab.names()["a"]["MTU"] == 1500
    assert lab.reconciler.counters.refused == 3
    lab.report(link("b"), edge("h", "b"))
    assert lab.names().keys() == {"h", "a", "b", "d", "h>d", "h>b"}


def test_what_is_there_is_told_while_the_store_takes_its_time(lab: Lab) -> None:
    lab.report(NodeFact("a", {"Name": "a", "Type": "veth"}, {"Metric": {"RxBytes": 7}}))
    assert lab.reconciler.waits == 0
    with sqlite3.connect(lab.folder / FILE, timeout=0) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=lab.report, args=(link("b"),))
        writing.start()
        until(lambda: lab.reconciler.waits > 0.1)
        assert lab.reconciler.volatile() == {node_id("a"): {"Metric": {"RxBytes": 7}}}
        assert lab.names().keys() == {"a"}
        assert writing.is_alive()
        other.execute("ROLLBACK")
    writing.join()
    assert lab.names().keys() == {"a", "b"}
    assert lab.reconciler.waits == 0


def test_two_hosts_of_one_name_leave_each_other_alone(lab: Lab) -> None:
    def facts(letter: str) -> tuple[Source, list[Fact]]:
        tid = f"host/{letter}"
        nodes = [NodeFact(one, {"Name": "web", "Type": "host"}) for one in (tid, f"{tid}/link")]
        return Source("netlink", "web", tid=tid), [*nodes, edge(tid, f"{tid}/link")]

    for _ in range(2):
        for letter in "ab":
            source, told = facts(letter)
            lab.report(*told, source=source, whole=True)
        assert lab.names().keys() == {"host/a", "host/a/link", "host/a>host/a/link"} | {
            "host/b", "host/b/link", "host/b>host/b/link",
        }  # fmt: skip
        lab.restart()
    source, told = facts("a")
    lab.report(told[0], source=source, whole=True)
    assert lab.names().keys() == {"host/a", "host/b", "host/b/link", "host/b>host/b/link"}


def test_two_hubs_write_for_two_hosts_of_one_name(lab: Lab) -> None:
    other = Reconciler(lab.store, "hub2", lambda: lab.now)
    for reconciler, letter in ((lab.reconciler, "a"), (other, "b"), (lab.reconciler, "a2"), (other, "b2")):
        tid = f"host/{letter[0]}"
        fact = NodeFact(f"{tid}/{letter}", {"Name": letter, "Type": "veth"})
        assert reconciler.report(Report(Source("netlink", "web", tid=tid), lab.now, (fact,))) == 1
    assert lab.names().keys() == {"host/a/a", "host/b/b", "host/a/a2", "host/b/b2"}


def test_two_hosts_of_one_name_at_one_of_several_hubs_are_each_known(tmp_path: Path) -> None:
    """Each has its own lease; what is volatile of one is not forgotten when the other reports."""
    store = EmbeddedStore(tmp_path / "graph", clock=lambda: T)
    store.shared = True  # type: ignore[misc]
    hub = Reconciler(store, "hub1", lambda: T)
    sources = [Source("netlink", "localhost", tid=f"host/{letter}") for letter in "ab"]
    for number in range(3):
        claims = []
        for one in sources:
            claims.append(hub.claim(one, f"outbox-{one.tid}/#1"))
            fact = NodeFact(f"{one.tid}/link", {"Name": "l", "Type": "veth", "n": number}, {"Metric": number})
            assert hub.report(Report(one, T + number, (fact,))) == 1
        assert claims == [number == 0] * 2
        assert [volatile["Metric"] for volatile in hub.volatile().values()] == [number] * 2
    hub.report(Report(sources[0], T, gone=(node_id("host/b/link"),)))  # it is nothing of its
    hub.report(Report(sources[0], T, whole=True))
    assert [one.state.tid for one in store.current() if one.state] == ["host/b/link"]
    hub.close()
    store.close()


def test_a_host_that_was_renamed_is_the_same_and_leaves_no_ghosts(lab: Lab) -> None:
    """By its TID: what the probe said under the old name and does not say any more is gone, and nobody else's."""

    def host(letter: str, name: str) -> tuple[Source, NodeFact, NodeFact, EdgeFact]:
        tid = f"host/{letter}"
        nodes = NodeFact(tid, {"Name": name, "Type": "host"}), NodeFact(f"{tid}/link", {"Name": "l", "Type": "veth"})
        return Source("netlink", name, tid=tid), *nodes, edge(tid, f"{tid}/link")

    for letter in "ab":
        source, *facts = host(letter, f"host-{letter}")
        lab.report(*facts, NodeFact(f"host/{letter}/old", {"Name": "o", "Type": "veth"}), source=source, whole=True)
    lab.restart()
    source, *facts = host("a", "renamed")
    lab.report(*facts, source=source, whole=True)

    hosts = {lab_id: state.host for lab_id, state in ((one.id, one.state) for one in lab.store.current()) if state}
    assert hosts == {fact.id: "renamed" for fact in facts} | {
        fact.id: "host-b" for fact in (*host("b", "host-b")[1:], NodeFact("host/b/old", {}))
    }
    lab.restart()
    lab.report(*facts[:2], source=source, whole=True)
    assert facts[2].id not in {one.id for one in lab.store.current()}


def test_what_is_said_of_the_whole_graph_is_taken_back_by_the_next_process_also_under_another_name(lab: Lab) -> None:
    """Of nodes of any host: rules are applied by one hub, and then by another."""
    lab.report(link("a"))
    lab.report(link("b"), source=ELSEWHERE)
    made = NodeFact("r", {"Name": "r", "Type": "office"})
    lab.report(made, *(NodeFact(tid, {"Mark": "x"}, enriches=True) for tid in "ab"), source=RULES, whole=True)
    assert [lab.names()[tid].get("Mark") for tid in "ab"] == ["x", "x"]
    lab.restart()
    elsewhere = Source("rules", "host8", service="hub")
    lab.report(NodeFact("b", {"Mark": "x"}, enriches=True), source=elsewhere, whole=True)
    assert {tid: metadata.get("Mark") for tid, metadata in lab.names().items()} == {"a": None, "b": "x"}
