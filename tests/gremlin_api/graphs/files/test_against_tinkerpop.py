"""Files that the real TinkerPop 3.7.3 wrote: queries on our reading of them have the answers that its own engine gives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lab.gremlin import Engine, Files
from support.agreeing import ours
from support.agreement import Answer, Asked, differences, failure, how
from support.toygraphs import joined

from gremlin_api.graphs.files.reading import read_graph_file
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.values import hashable
from gremlin_api.wire.graphson import value_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

QUERIES = {
    "modern": [
        "g.V()", "g.E()", "g.V(1)", "g.E(7)", "g.V(1).valueMap(true)", "g.V().valueMap()", "g.V().elementMap()",
        "g.E().elementMap()", "g.V(1).out('knows').values('name')", "g.V(4).both().dedup().id()",
        "g.E(11).outV().values('age')",
        "g.V().hasLabel('person').values('age').sum()", "g.V().has('age', gt(30)).values('name')",
        "g.E().values('weight').max()",
        "g.V().groupCount().by(label)", "g.V().group().by(label).by('name')", "g.V(1).repeat(out()).times(2).path()",
        "g.V().out().in().simplePath().count()", "g.V().order().by('name').values('name')", "g.V().label().dedup()",
        "g.E().has('weight', 0.4).inV().values('name')", "g.V().outE('created').as('e').inV().select('e').by('weight')",
        "g.V().where(inE('knows')).values('name')", "g.V().project('n', 'd').by('name').by(bothE().count())", "g.V('1')",
        "g.V().match(__.as('a').out('created').as('b'), __.as('b').has('name', 'lop')).select('a').by('name')",
        "g.V().hasId(1, 3).values('name')", "g.E().hasLabel('knows').count()", "g.V().values('age').is(lt(30)).count()",
        "g.V().has('lang')", "g.V().union(values('name'), values('lang'))", "g.E().id().max()", "g.V(3).inE().outV().path()",
    ],
    "crew": [
        "g.V()", "g.E()", "g.V().valueMap()", "g.V().values('location')", "g.V(1).values('location').count()",
        "g.V().has('location', 'brussels').values('name')", "g.E().elementMap()", "g.V().outE('uses').values('skill').mean()",
        "g.V().properties('location').valueMap()", "g.V().properties('location').has('endTime').value()",
        "g.V().properties('location').values('startTime').min()", "g.V().properties('location').hasNot('endTime').value()",
        "g.V().properties('location').properties('startTime').value().sum()", "g.V(7).out().path().by('name')",
        "g.V().project('n', 'at').by('name').by(values('location').fold())",
        "g.V().as('a').out('develops').as('b').select('a', 'b').by('name')",
    ],
    "sink": [
        "g.V()", "g.E()", "g.V().both().path()", "g.V(1000).out()", "g.V(1000).both().count()", "g.V(2000).bothE().id()",
        "g.V().valueMap(true)", "g.E().where(outV().as('v').select('v'))", "g.V().inE('link').outV().dedup()",
    ],
    "grateful": [
        "g.V().count()", "g.E().count()", "g.E().groupCount().by(label)", "g.V().groupCount().by(label)",
        "g.V().has('name', 'DARK STAR').elementMap()",
        "g.V().has('song', 'name', 'DARK STAR').out('followedBy').values('name')",
        "g.V().hasLabel('song').values('performances').sum()", "g.E().values('weight').sum()",
        "g.V().hasLabel('artist').order().by(inE('sungBy').count()).by('name').values('name')",
        "g.V().has('songType', 'original').count()", "g.V(5).both().valueMap('name')", "g.E('0').elementMap()",
        "g.V().order().by(outE('followedBy').count(), desc).by('name').limit(5).values('name')",
    ],
}  # fmt: skip
"""None shows IDs of properties: without types and in GraphML they are not what they were."""

OF_PROPERTIES = {
    "modern": ["g.V().properties()", "g.V(1).properties('name').id()", "g.E().properties()"],
    "crew": ["g.V().properties()", "g.V().properties('location').elementMap()", "g.V().properties('location').properties()"],
    "sink": ["g.V().properties('name')"],
    "grateful": ["g.V().hasLabel('artist').properties()"],
}
TYPED = ("lines", "wrapped", "document")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with Files() as made:
        yield made


def _differing(found: tuple[bool, str], graph: MemoryGraph, asked: Asked) -> str | None:
    done, told = found
    theirs = Answer("ok", "", tuple(map(value_of, json.loads(told)["@value"]))) if done else failure(told.partition(":")[0])
    differing = differences(theirs, ours(graph, asked.text), how(asked))
    return differing and f"{asked.id}: {differing}"


def _read(file: Path) -> MemoryGraph:
    found = read_graph_file(file).graphs.view(None, dict)
    assert isinstance(found, MemoryGraph)
    return found


@pytest.mark.parametrize("graph", QUERIES)
@pytest.mark.parametrize("form", [*TYPED, "untyped"])
def test_graphson_has_the_answers_of_the_graph_that_was_written(
    engine: Engine, files: Files, tmp_path: Path, form: str, graph: str
) -> None:
    files.write(form, graph, tmp_path / "graph")
    read = _read(tmp_path / "graph")
    queries = QUERIES[graph] + (OF_PROPERTIES[graph] if form in TYPED else [])
    differing = [_differing(engine.answer(one, graph), read, Asked(form, graph, one)) for one in queries]
    assert [one for one in differing if one is not None] == []


@pytest.mark.parametrize("form", TYPED)
@pytest.mark.parametrize("graph", QUERIES)
def test_typed_graphson_is_the_graph_that_was_written_whole(
    engine: Engine, files: Files, tmp_path: Path, form: str, graph: str
) -> None:
    files.write(form, graph, tmp_path / "graph")
    vertices, edges = (value_of(json.loads(engine.answer(query, graph)[1])) for query in ("g.V()", "g.E()"))
    assert _everything(_read(tmp_path / "graph")) == _everything(joined(vertices, edges))


def _everything(graph: MemoryGraph) -> object:
    vertices = [
        (
            hashable(one.id),
            one.label,
            key,
            hashable(said.id),
            hashable(said.value),
            _hashables(said.properties),
            said.owner is one,
        )
        for one in graph.vertices()
        for key, several in (one.properties or {}).items()
        for said in several
    ]
    edges = [(hashable(one.id), one.label, one.out, one.into, _hashables(one.properties)) for one in graph.edges()]
    return Counter(vertices), Counter(edges)


def _hashables(properties: Mapping[str, Any] | None) -> frozenset[Any]:
    return frozenset((key, hashable(said)) for key, said in (properties or {}).items())


@pytest.mark.parametrize("graph", [name for name in QUERIES if name != "crew"])  # GraphML has no properties of several values
def test_graphml_has_the_answers_of_tinkerpops_own_reading(files: Files, tmp_path: Path, graph: str) -> None:
    file = tmp_path / "graph.xml"
    files.write("graphml", graph, file)
    read = _read(file)
    asked = [Asked("graphml", graph, _of_texts(one)) for one in QUERIES[graph]]
    differing = [_differing(files.answer(one.text, file), read, one) for one in asked]
    assert [one for one in differing if one is not None] == []


def _of_texts(query: str) -> str:
    """A query whose IDs are texts, which all of GraphML's are."""
    for step in ("V", "E", "hasId"):
        for id_ in ("1, 3", "1000", "2000", "11", "1", "3", "4", "5", "7"):
            texts = ", ".join(f"'{one}'" for one in id_.split(", "))
            query = query.replace(f"{step}({id_})", f"{step}({texts})")
    return query
