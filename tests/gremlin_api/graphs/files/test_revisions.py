"""A graph of TinkerPop's as nodes and edges of the topology."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gremlin_api.graphs.files.revisions import json_of, revisions_of
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.numbers import BigInteger, Float, Long
from gremlin_api.values import Edge, Map, OrderedSet, Vertex, VertexProperty
from topology.elements import FOREVER, edge_id


def _vertex(id_: Any, label: str, /, **properties: Any) -> Vertex:
    vertex = Vertex(id_, label)
    vertex.properties = {
        key: [VertexProperty(f"{id_}/{key}/{at}", key, one, {"own": 1}, vertex) for at, one in enumerate(several)]
        for key, several in properties.items()
    }
    return vertex


def test_nodes_have_type_name_and_their_properties() -> None:
    named = _vertex(Long(1), "person", name=["marko"], nick=["m", "mk"])
    typed = _vertex("b", "vertex", Type=["host"], Name=["h"], name=["other"])
    bare = _vertex(3, "x", name=[5], Type=[7], label=["drawn"])
    first, second, third = revisions_of(MemoryGraph([named, typed, bare], []))
    assert (first.id, first.number, first.updated_at, first.created_at, first.archived_at) == ("1", 1, 0, 0, FOREVER)
    metadata = [one.state.metadata for one in (first, second, third) if one.state]
    assert metadata == [
        {"Type": "person", "Name": "marko", "name": "marko", "nick": ["m", "mk"]},
        {"Type": "host", "Name": "h", "name": "other"},
        {"Type": "x", "Name": "drawn", "name": 5, "label": "drawn"},
    ]


def test_edges_have_ends_and_ids_that_no_node_has() -> None:
    one, other = _vertex("0", "x"), _vertex("1", "x")
    edges = [Edge(0, "k", one, other, {"w": Float(0.5)}), Edge("e", "l", other, one, {"RelationType": "m"})]
    found = revisions_of(MemoryGraph([one, other], edges))
    assert [revision.id for revision in found] == ["0", "1", edge_id("0", "1", "k", "0"), "e"]
    assert [revision.sequence for revision in found] == [1, 2, 3, 4]
    states = [revision.state for revision in found[2:]]
    assert [(state.metadata, state.parent, state.child) for state in states if state] == [
        ({"RelationType": "k", "w": 0.5}, "0", "1"),
        ({"RelationType": "m"}, "1", "0"),
    ]


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Long(5), 5),
        (BigInteger(2**70), 2**70),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (Decimal("1.5"), 1.5),
        (Decimal("1e999"), "1E+999"),
        (None, None),
        (True, True),
        ([1, OrderedSet(["a"])], [1, ["a"]]),
        (Map([(1, Map([("a", math.inf)]))]), {"1": {"a": "Infinity"}}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_are_those_of_json(value: Any, json: Any) -> None:
    made = json_of(value)
    assert (made, type(made)) == (json, type(json))
