"""The topology as a graph: with the store's indexes and without, now and at any moment, it gives the same answers."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.filledstore import SECOND, SIZE, filled, state
from support.toygraphs import ask

from gremlin_api.answering import Answerer, Question
from gremlin_api.errors import TraversalError
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN, Shown, TopologyGraph
from gremlin_api.interpreter.run import Allowance, Run, TooMuchError
from gremlin_api.numbers import Long
from gremlin_api.values import Map, hashable
from skytrail.errors import UsageError
from topology.elements import Part, State, edge_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change
from topology.store.traversal import Listed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = filled(tmp_path_factory.mktemp("graph"))
    yield store
    store.close()


INDEXED = [
    "g.V().has('Name', 'eth7')", "g.V().has('Name', 'nobody')", "g.V().has('Name', within('eth7', 'new5', 'x'))",
    "g.V().has('Name', 'eth7').out().values('Name')", "g.V().has('Name', startingWith('new')).values('Name')",
    "g.V().has('Name', regex('.*1$')).id()", "g.V().has('MTU', 1502)", "g.V().has('MTU', 1502L)", "g.V().has('MTU', 1502.0d)",
    "g.V().has('MTU', gt(1501))", "g.V().has('MTU', between(1501, 1503))", "g.V().has('MTU', outside(1501, 1502)).count()",
    "g.V().has('MTU', '1500')", "g.V().has('Weight', 0.5)", "g.V().has('Weight', lt(1.3)).count()",
    "g.V().has('Up', true).count()",
    "g.V().has('Up', 1)", "g.V().has('IPV4', '10.0.1.2/24').values('Name')", "g.V().has('IPV4', endingWith('/24')).count()",
    "g.V().hasLabel('node')", "g.V().hasLabel(gt('bridge').and(lt('veth'))).count()",
    "g.V().hasLabel('veth')", "g.V().hasLabel('veth', 'bridge').has('MTU', 1501)", "g.V().has('bridge', 'Name', 'eth7')",
    "g.V().has('K8s.Labels.app', 'app3').values('K8s.Labels.app')", "g.V().has('Routes.Prefix', '10.1.0.0/16').count()",
    "g.V().has('TID', 'tid8').values('TID')", "g.V().has('@Host', 'host1').count()",
    "g.V().has('Type', 'netns').has('MTU', gt(1500))",
    "g.V().count()", "g.E().count()", "g.V().groupCount().by('MTU')", "g.V().groupCount().by('Type')",
    "g.V().has('Name', gt('eth5').and(lt('eth9')))", "g.V().has('Name', containing('3').or(eq('new5')))",
    "g.V().has('Name', 'eth7').as('a').both().where(neq('a')).dedup().count()",
]  # fmt: skip

OTHERS = [
    "g.V()", "g.E()", "g.V().has('Name', neq('eth7')).count()", "g.V().has('MTU', without(1500)).count()",
    "g.V().groupCount().by(label)", "g.V().hasNot('MTU')", "g.V().has('MTU')",
    "g.E().hasLabel('layer2').outV().dedup().count()",
    "g.V().outE('ownership').inV().values('Name')", "g.V().valueMap()", "g.E().elementMap()",
    "g.V().both().groupCount().by('Name')",
    "g.V().where(has('MTU', gt(1502))).count()", "g.V().order().by('Name').limit(3).values('Name')",
    "g.V().has('Name', not(containing('1'))).count()", "g.V().has('@CreatedAt', 1000L).count()",
    "g.V().properties('IPV4').value()",
    "g.E().has('Cost', 3).count()", "g.V().hasId('00000000-0000-0000-0000-000000000007')", "g.V().as('a').has('Name', 'eth7')",
]  # fmt: skip


def _bag(graph: TopologyGraph, query: str, *, pushes: bool) -> Counter[Any]:
    return Counter(hashable(one) for one in ask(query, Run(graph, pushes=pushes)))


@pytest.mark.parametrize("query", INDEXED + OTHERS)
def test_an_index_changes_no_answer(store: EmbeddedStore, query: str) -> None:
    listed = TopologyGraph(Listed(store.current()))
    without = _bag(listed, query, pushes=False)
    assert _bag(TopologyGraph(store.moment()), query, pushes=True) == without
    assert _bag(TopologyGraph(store.moment()), query, pushes=False) == without
    (told,) = ask(f"{query}.explain()", Run(TopologyGraph(store.moment())))
    assert told.final[0].startswith("index[") == (query in INDEXED), told.final


def test_some_queries_have_the_answers_that_are_plain_to_see(store: EmbeddedStore) -> None:
    for query, answers in [
        ("g.V().count()", [SIZE - 1]),
        ("g.V().has('Name', within('eth7', 'new5', 'x')).values('Name').order()", ["eth7", "new5"]),
        ("g.V().has('IPV4', '10.0.0.8/24').values('IPV4').order()", ["10.0.0.8/24", "10.0.1.3/24"]),
        ("g.V().has('Name', 'eth7').values('Routes.Prefix').order()", ["0.0.0.0/0", "10.1.0.0/16"]),
        ("g.V().has('Name', 'eth7').values('Routes').count()", [2]),
        ("g.V().has('Name', 'eth7').label()", ["bridge"]),
        ("g.V().has('Name', 'eth9').label()", ["node"]),
        ("g.V().has('Name', 'eth7').values('@CreatedAt', '@Revision').order()", [1, 1000]),
        ("g.V().has('Name', 'new5').values('@UpdatedAt')", [3000]),
        ("g.V().has('Up', 1).count()", [0]),
        ("g.V().has('MTU', '1500').values('Name').order()", ["eth44", "new0"]),
    ]:
        assert list(ask(query, Run(TopologyGraph(store.moment())))) == answers, query


UNUSUAL = {  # by query: the answers now, and before; None: there is none
    "g.V().has('@Host', '').values('Name')": (["a"], ["a"]),
    "g.V().has('@Host', lt('i')).count()": ([3], [3]),
    "g.V().has('@Host', regex('.*')).count()": ([3], [3]),
    "g.V().groupCount().by('@Host').unfold().select(keys).order()": (["", "h"], ["", "h"]),
    "g.V().hasLabel(gt(1)).count()": ([0], [0]),
    "g.V().has(T.label, lt(5)).values('Name')": ([], []),
    "g.V().hasLabel('5').values('Name')": (["a"], ["a"]),
    "g.V().hasLabel(eq(5)).count()": ([0], [0]),
    "g.V().hasLabel(startingWith('5')).count()": ([1], [1]),
    "g.V().hasLabel(\"['pod']\").values('Name')": (["d"], []),
    "g.V().hasLabel('pod').count()": ([0], [1]),
    "g.V().hasLabel('node').values('Name')": (["c"], ["c"]),
    "g.V().has('Vlan', startingWith('x')).count()": (None, [0]),
    "g.V().has('Vlan', startingWith('x')).values('Name')": (None, []),
    "g.E().count()": ([1], [2]),
}


@pytest.mark.parametrize("few", [1000, 0])
@pytest.mark.parametrize("query", UNUSUAL)
def test_an_index_knows_unusual_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, few: int) -> None:
    """An empty host, labels that are no text, what cannot be compared or tested, and edges of which a node is gone."""
    monkeypatch.setattr("topology.store.embedded.reading._FEW", few)
    a, b, c, d = (str(uuid.UUID(int=number)) for number in range(1, 5))

    def node(host: str, **metadata: Any) -> State:
        return State(host, "o", {"p": Part.of(metadata)})

    def edge(parent: str, child: str, at: int) -> Change:
        return Change(edge_id(parent, child, "layer2"), at, State("h", "o", {"p": Part.of({})}, parent=parent, child=child))

    store = EmbeddedStore(tmp_path)
    nodes = {a: node("", Name="a", Type=5), b: node("h", Name="b", Type="pod"), c: node("h", Name="c")}
    edges = (edge(a, b, SECOND), edge(b, c, SECOND), edge(a, d, SECOND))
    first = (*(Change(id_, SECOND, state) for id_, state in nodes.items()), *edges)
    store.apply(Batch("w", 1, 1, SECOND, first))
    late = node("h", Name="d", Type=["pod"], Vlan=7)
    store.apply(Batch("w", 1, 2, 3 * SECOND, (Change(b, 3 * SECOND, None), Change(d, 3 * SECOND, late))))
    for when, answers in zip((None, 2 * SECOND), UNUSUAL[query], strict=True):
        listed = Listed(store.current() if when is None else store.as_of(when))
        for graph, pushes in ((listed, False), (store.moment(when), True), (store.moment(when), False)):
            run = Run(TopologyGraph(graph), pushes=pushes)
            if answers is None:
                with pytest.raises(TraversalError, match="cannot be cast"):
                    list(ask(query, run))
            else:
                assert list(ask(query, run)) == answers, (when, pushes)
    store.close()


def test_questions_are_about_the_moment_that_they_name(store: EmbeddedStore) -> None:
    caught_up = []
    graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: 5 * SECOND, lambda: caught_up.append(1))
    answerer = Answerer(graphs)

    def told(text: str, at: str | None = None) -> list[Any]:
        return list(answerer.answers(Question(text, at=at), threading.Event()))

    renamed = "g.V().has('Name', startingWith('new')).count()"
    assert (told(renamed), told(renamed, "-1s"), told(renamed, "-3s"), told("g.V().count()", "0")) == ([12], [12], [0], [0])
    assert told("g.with('at', '-3s').V().count()", "now") == [SIZE]
    assert told("g.with('at', 'now').V().count()", "-3s") == [SIZE - 1]
    assert told("g.with('at', 1).V().has('Name', 'eth0').values('Name')") == ["eth0"]
    assert told("g.V().has('Name', startingWith('new')).count()", "-4s/-3s") == [0]
    assert told("g.V().has('Name', startingWith('new')).count()", "-3s/-1s") == [12]  # each as it was last
    assert told("g.with('at', '-3s/now').V().count()") == [SIZE]  # one was there at the beginning
    assert len(caught_up) == 3
    with pytest.raises(UsageError, match="no moment"):
        told("g.V()", "tomorrow")
    with pytest.raises(UsageError, match="takes a moment"):
        told("g.with('at').V()")


def test_a_period_is_read_within_the_limits_of_the_question(store: EmbeddedStore) -> None:
    graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: 5 * SECOND)
    with pytest.raises(TooMuchError):
        Answerer(graphs, Allowance(held=SIZE // 2)).answers(Question("g.V().limit(1)", at="-4s/now"), threading.Event())


def test_what_is_volatile_is_shown_now_and_no_index_is_asked_for_it(store: EmbeddedStore) -> None:
    node = str(uuid.UUID(int=8))
    counters: dict[str, Mapping[str, Any]] = {node: {"Metric": {"RxBytes": 5 << 32}, "MTU": 9}}
    graph = TopologyGraph(store.moment(), Shown(lambda id_: counters.get(id_, {}), ("Metric", "MTU")))
    for query, found in [
        ("g.V().has('Metric.RxBytes', gt(1)).id()", [node]),
        ("g.V().has('MTU', 9).values('Name')", ["eth7"]),
        (f"g.V('{node}').values('Metric.RxBytes')", [5 << 32]),
        (f"g.V('{node}').valueMap('Metric.RxBytes')", [Map([("Metric.RxBytes", [5 << 32])])]),
    ]:
        assert list(ask(query, Run(graph))) == found
    assert list(ask("g.V().groupCount().by('MTU').select(values).unfold().sum()", Run(graph))) == [Long(SIZE - 1 - 6)]


def test_a_moment_in_the_past_is_what_was_there(store: EmbeddedStore) -> None:
    graph = TopologyGraph(store.moment(2 * SECOND))
    assert list(ask("g.V().count()", Run(graph))) == [SIZE]
    assert next(ask("g.V().has('Name', 'eth1').both().count()", Run(graph))) > 0
    assert list(ask("g.V().has('Name', 'eth1')", Run(TopologyGraph(store.moment())))) == []


def test_a_graph_stays_as_it_is_while_a_query_runs(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    first = str(uuid.UUID(int=1))
    store.apply(Batch("w", 1, 1, 1, (Change(first, 1, state(1)), Change(str(uuid.UUID(int=2)), 1, state(2)))))
    graph = TopologyGraph(store.moment())
    found = ask("g.V().has('Name', within('eth1', 'eth2', 'eth3')).values('Name')", Run(graph))
    names = [next(found)]
    store.apply(Batch("w", 1, 2, 2, (Change(first, 2, None), Change(str(uuid.UUID(int=3)), 2, state(3)))))
    assert sorted(names + list(found)) == ["eth1", "eth2"]
    assert sorted(ask("g.V().values('Name')", Run(graph))) == ["eth1", "eth2"]
    assert sorted(ask("g.V().values('Name')", Run(TopologyGraph(store.moment())))) == ["eth2", "eth3"]
    store.close()
