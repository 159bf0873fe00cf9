"""Reports held beyond their bound become one of each source, which leaves the graph as all of them do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.steps import T
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topology.elements import node_id
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.held import Held, collapse
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

SOURCES = (Source("netlink", "host1"), Source("docker", "host1"), Source("kubernetes", "host2"))
NODES = tuple("abc")
_folders = iter(range(10**9))


def fact(name: str, value: int) -> Fact:
    if len(name) == 2:
        return EdgeFact(name[0], name[1], "layer2", {"n": value})
    return NodeFact(name, {"Name": name, "Type": "veth", "n": value}, {"v": value})


names = st.sampled_from([*NODES, "ab", "bc"])
reports = st.builds(
    lambda source, facts, gone, whole: (source, tuple(fact(name, value) for name, value in facts.items()), gone, whole),
    st.sampled_from(SOURCES),
    st.dictionaries(names, st.integers(1, 3), max_size=3),
    st.sets(names, max_size=2),
    st.booleans(),
)


unknowing = st.builds(
    lambda told, unknown: (*told, tuple(sorted(unknown)) if told[3] else ()),
    reports,
    st.sets(st.sampled_from(NODES), max_size=2),
)


def made(told: list[Any]) -> list[Report]:
    return [
        Report(source, T + number, facts, tuple(sorted(fact(name, 1).id for name in gone)), whole, unknown=(*unknown,))
        for number, (source, facts, gone, whole, *unknown) in enumerate(told)
    ]


def graph(folder: Path, taken: list[Report]) -> tuple[dict[str, Any], dict[str, Any]]:
    store = EmbeddedStore(folder / str(next(_folders)), clock=lambda: T)
    reconciler = Reconciler(store, "hub", lambda: T)
    for report in taken:
        reconciler.report(report)
    found = {one.id: one.state and {probe: part.metadata for probe, part in one.state.parts.items()} for one in store.current()}
    store.close()
    return found, reconciler.volatile()


@given(told=st.lists(reports, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_collapsed_reports_leave_is_what_all_of_them_leave(tmp_path: Path, told: list[Any]) -> None:
    taken = made(told)
    collapsed = collapse(taken)
    assert len({report.source for report in collapsed}) == len(collapsed)
    assert graph(tmp_path, collapsed)[0] == graph(tmp_path, taken)[0]


@given(told=st.lists(unknowing, max_size=8))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_those_that_do_not_know_all_leave_the_same(tmp_path: Path, told: list[Any]) -> None:
    nodes = Report(Source("always", "host3"), T - 1, tuple(fact(name, 0) for name in NODES))
    taken = made([(*one[:4], *one[4]) for one in told])
    assert graph(tmp_path, [nodes, *collapse(taken)])[0] == graph(tmp_path, [nodes, *taken])[0]


def test_they_come_out_in_order_and_one_put_back_comes_first() -> None:
    held, taken = Held(), made([(SOURCES[0], (fact("a", n),), set(), False) for n in range(3)])
    for report in taken:
        held.add(report)
    first = held.first()
    assert first is taken[0]
    held.put_back(first)
    assert ([held.first() for _ in range(4)], held.facts, held.collapsed) == ([*taken, None], 0, 0)


def test_beyond_the_bound_the_last_word_of_each_source_is_left() -> None:
    held = Held(most=10)
    for report in made([(SOURCES[n % 2], (fact("a", n), fact("b", n)), set(), False) for n in range(100)]):
        held.add(report)
        assert held.facts <= 10 + 3
    left = []
    while (report := held.first()) is not None:
        left.append(report)
    assert held.collapsed == 100 - len(left)
    last = {report.source: {one.id: one.metadata["n"] for one in report.facts} for report in left}
    assert last == {SOURCES[0]: dict.fromkeys(map(node_id, "ab"), 98), SOURCES[1]: dict.fromkeys(map(node_id, "ab"), 99)}
