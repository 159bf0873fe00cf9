"""With the store's indexes and without, Skydive's queries give the same answers, now and as of any moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.filledstore import SECOND, SIZE, filled

from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import plain
from topology.store.embedded.store import EmbeddedStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = filled(tmp_path_factory.mktemp("graph"))
    yield store
    store.close()


def _answerer(store: EmbeddedStore, *, pushes: bool) -> SkydiveAnswerer:
    graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: 5 * SECOND)
    return SkydiveAnswerer(graphs, pushes=pushes)


INDEXED = [
    "V().Has('Name', 'eth7')", "V().Has('Name', Within('eth7', 'new5', 'x'))", "V().Has('Name', 'eth7').Out().Values('Name')",
    "V().Has('Name', Regex('.*1'))", "V().Has('MTU', 1502)", "V().Has('MTU', 1502.0)", "V().Has('MTU', GT(1501)).Count()",
    "V().Has('MTU', Between(1501, 1503))", "V().Has('MTU', Outside(1501, 1502)).Count()", "V().Has('Up', TRUE).Count()",
    "V().Has('IPV4', IPV4Range('10.0.1.0/24')).Count()", "V().Has('Type', 'veth').Has('MTU', 1501)", "V().Count()",
    "V().Has('K8s.Labels.app', 'app3').Values('K8s.Labels.app')", "V().Has('Routes.Prefix', '10.1.0.0/16').Count()",
    "V().Has('TID', 'tid8').Values('TID')", "V().Has('@Host', 'host1').Count()", "V().Has('Metadata.Name', 'eth7')",
    "V().Has('Up', Within(1, TRUE)).Count()", "V('00000000-0000-0000-0000-000000000007')", "E().Count()",
]  # fmt: skip
OTHERS = [
    "V()", "E()", "V().Has('Name', NE('eth7')).Count()", "V().Has('MTU', NEE(1500)).Count()", "V().Has('MTU', Without(1500))",
    "V().HasKey('IPV4').Count()", "V().HasNot('MTU')", "V().HasEither('Name', 'eth7', 'MTU', 1503)", "V().Keys()",
    "V().Has('@CreatedAt', 1000).Count()", "V().Dedup('Type').Count()", "V().Sum('Weight')", "E().Has('Cost', 3).Count()",
    "V().Both().Dedup('Name').Count()",
]  # fmt: skip
PATHS = ["V().Has('Name', 'eth7').ShortestPathTo(Metadata('Name', Within('eth3', 'eth9')), Metadata('RelationType', 'layer2'))"]


def _told(store: EmbeddedStore, query: str, *, pushes: bool) -> Any:
    found = plain(_answerer(store, pushes=pushes).answer(query, threading.Event()))
    return sorted(map(str, found)) if isinstance(found, list) else found


@pytest.mark.parametrize("at", ["", "At(NOW).", "At('-3s').", "At('-1s')."])
@pytest.mark.parametrize("query", INDEXED + OTHERS + PATHS)
def test_an_index_changes_no_answer(store: EmbeddedStore, query: str, at: str) -> None:
    without = _told(store, f"G.{at}{query}", pushes=False)
    assert without not in (None, [], 0)
    assert _told(store, f"G.{at}{query}", pushes=True) == without


@pytest.mark.parametrize("query", INDEXED + OTHERS)
def test_it_is_told_what_an_index_answers(store: EmbeddedStore, query: str) -> None:
    told = _answerer(store, pushes=True).explain(f"G.{query}")
    assert told[0].startswith("index[") == (query in INDEXED), told
    assert not _answerer(store, pushes=False).explain(f"G.{query}")[0].startswith("index[")


def test_all_revisions_of_a_range(store: EmbeddedStore) -> None:
    assert _told(store, "G.At(NOW, 10).V().Count()", pushes=True) == SIZE + 12  # those that were renamed are there twice
    assert _told(store, "G.At('-3s', 1).V().Count()", pushes=True) == SIZE
    assert _told(store, "G.At(NOW, FOREVER).V().Has('Name', 'eth5').Values('Name')", pushes=True) == ["eth5"]
