"""Queries of both dialects on JanusGraph: what it walks itself has the answers that the log gives, now and as of any moment."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from support.filledstore import SECOND, fill
from support.toygraphs import ask

from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN, Shown, TopologyGraph
from gremlin_api.interpreter.run import Run
from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import plain
from gremlin_api.values import hashable
from topology.elements import Part, State
from topology.store.interface import Batch, Change
from topology.store.janusgraph.store import JanusGraphStore
from topology.store.traversal import Listed

pytestmark = pytest.mark.lab

SEVENTH = "00000000-0000-0000-0000-000000000007"
WALKED = {  # by query: what the store says of it
    "g.V().has('Name', 'eth7').out()": "store[V().has(Name, eq('eth7')).out()]",
    "g.V().has('Name', 'eth7').out().count()": "store[V().has(Name, eq('eth7')).out().count()]",
    "g.V().has('Name', within('eth7', 'new5')).both('layer2').has('MTU', gt(1500)).values('Name')":
        "store[V().has(Name, within('eth7', 'new5')).both()]",  # some MTU of this graph is a text
    "g.V().has('Name', 'eth7').outE()": "store[V().has(Name, eq('eth7')).outE()]",
    "g.V().has('Name', 'eth7').outE('layer2').inV().dedup().count()":
        "store[V().has(Name, eq('eth7')).out().dedup().count()]",
    "g.V().hasLabel('veth').out().has('Type', 'bridge').has('Weight', gt(3)).values('Name')":
        "store[V().has(label, eq('veth')).out()]",  # Weight is no declared key
    "g.V().has('TID', 'tid8').in().hasLabel('netns').id()": "store[V().has(TID, eq('tid8')).in().has()]",
    "g.V('00000000-0000-0000-0000-000000000007').both().both().limit(1000000).count()": "store[V(",
    "g.V().has('@Host', 'host1').out().out().groupCount().by('Name')": "store[V().has(@Host, eq('host1')).out().out()]",
    "g.V().has('Name', 'eth7').as('a').both().where(neq('a')).dedup().count()": "",  # a label needs the path
    "g.V().has('K8s.Labels.app', 'app3').out().count()": "",  # no declared key
    f"g.V('{SEVENTH}', '{SEVENTH}').outE().count()": "",  # each is found twice
    f"g.V().hasId('{SEVENTH}', '{SEVENTH}').hasLabel('veth').count()": "",
    f"g.V('{SEVENTH}').outE().hasLabel(gt(1)).count()": f"store[V({SEVENTH}).outE()]",  # a label is in no order with a number
    "g.V().hasLabel(gt(1)).count()": "",
    "g.V().hasLabel('').count()": "",
    "g.V().hasLabel('', 'veth').out().count()": "",
    "g.V().has('Name', 'eth7').out().path()": "",
    "g.withSack(1).V().has('Name', 'eth7').out().sack()": "",
}  # fmt: skip
SKYDIVE = [
    "V().Has('Name', 'eth7').Out()", "V().Has('Name', 'eth7').Both('Type', 'bridge').Values('Name')",
    "V().Has('Name', 'eth7').OutE().InV()", "V().Has('Type', 'veth').Out().Count()",
    "V().Has('Name', Within('eth7', 'new5')).BothE('RelationType', 'layer2').OutV().Dedup()",
    "V().Has('Type', 'veth').Both().Dedup()", "V().Has('Type', 'veth').Both().Sum('Weight')",
    "V().Has('Type', 'veth').Both().Dedup('Nothing')", "V().Has('Type', 'veth').Both().Sort('Name').Values('Name').Limit(7)",
    "V().Has('Name', Regex('eth.*')).Out().Count()", "V().Has('Name', 'eth7').ShortestPathTo(Metadata('Name', 'eth9')).Count()",
]  # fmt: skip


@pytest.fixture
def store(open_store: Callable[..., JanusGraphStore]) -> JanusGraphStore:
    store = open_store()
    fill(store)
    nameless = State("host0", "o", {"p": Part.of({"Name": "x", "Type": ""})})
    store.apply(Batch("w", 1, 3, 3 * SECOND, (Change(str(uuid.UUID(int=1 << 32)), 3 * SECOND, nameless),)))
    return store


def _bag(answers: Iterable[Any]) -> Counter[Any]:
    return Counter(map(hashable, answers))


def test_what_the_store_walks_has_the_same_answers(store: JanusGraphStore) -> None:
    for when in (None, 4 * SECOND, 2 * SECOND, SECOND - 1):
        listed = Listed(store.current() if when is None else store.as_of(when))
        for query, told in WALKED.items():
            want = _bag(ask(query, Run(TopologyGraph(listed), pushes=False)))
            assert _bag(ask(query, Run(TopologyGraph(store.moment(when))))) == want, (query, when)
            if when is None:
                assert want, query
                (explained,) = ask(f"{query}.explain()", Run(TopologyGraph(store.moment())))
                assert explained.final[0].startswith(told), (query, explained.final)
                assert explained.final[0].startswith("store[") == bool(told), (query, explained.final)


def test_what_is_shown_beside_the_graph_is_no_condition_of_the_store(store: JanusGraphStore) -> None:
    shown = Shown(lambda _: {"State": "UP"}, {"State"})
    query = "g.V().has('Name', 'eth7').out().has('State', 'UP')"
    graph = TopologyGraph(store.moment(), shown)
    found = list(ask(query, Run(graph)))
    assert _bag(found) == _bag(ask("g.V().has('Name', 'eth7').out()", Run(graph)))
    assert {one.properties["State"][0].value for one in found} == {"UP"}


def test_skydives_queries_have_the_same_answers(store: JanusGraphStore) -> None:
    graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: 5 * SECOND)

    def told(query: str, *, pushes: bool) -> Any:
        found = plain(SkydiveAnswerer(graphs, pushes=pushes).answer(query, threading.Event()))
        return sorted(map(str, found)) if isinstance(found, list) else found

    for at in ("", "At('-3s').", "At(NOW, 10)."):
        for query in SKYDIVE:
            assert told(f"G.{at}{query}", pushes=True) == told(f"G.{at}{query}", pushes=False), query
    assert SkydiveAnswerer(graphs).explain(f"G.{SKYDIVE[0]}")[0].startswith("store[")
