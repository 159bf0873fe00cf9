from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshots import EDGE, HOST, METADATA, PORT, TEXT, VALUES, graph

from topology.elements import FOREVER, node_id
from topology.shape import graph_json
from topology.snapshot.elements import Element, SnapshotError, revisions
from topology.snapshot.skydive import read, write
from topology.snapshot.store import SnapshotStore
from topology.store.interface import Batch, StoreError


@given(st.dictionaries(TEXT | st.sampled_from(["Host", "ID", "Nodes"]), VALUES, max_size=5))
def test_what_was_written_is_read(metadata: dict[str, Any]) -> None:
    ours = graph(**{key: value for key, value in metadata.items() if key not in ("Name", "Type")})
    assert read(write(ours)) == ours


def test_the_file_is_json_as_skydive_has_it() -> None:
    found = json.loads(write(graph()))
    assert [node["ID"] for node in found["Nodes"]] == [HOST, PORT]
    assert found["Nodes"][1]["Metadata"] == METADATA
    edge = found["Edges"][0]
    assert (edge["ID"], edge["Parent"], edge["Child"], edge["UpdatedAt"]) == (EDGE, HOST, PORT, 6)


def test_skydives_answer_to_g_is_read() -> None:
    """Its nodes have IDs of version 4, an end that is not there yet is null, and a graph without edges has null for them."""
    node = {
        "ID": "2f5ef7d6-9a1a-4a0a-4b54-8d0f6d0d4c0c", "Metadata": {"Name": "h", "Type": "host"},
        "Host": "h", "Origin": "agent.h", "CreatedAt": 1577880000000, "UpdatedAt": 1577880000001,
        "DeletedAt": None, "Revision": 2,
    }  # fmt: skip
    found = read(json.dumps([{"Nodes": [node], "Edges": None}]).encode())
    assert [(one.ID, one.Revision, one.DeletedAt) for one in found] == [(node["ID"], 2, None)]


def test_a_snapshot_is_the_graph_that_it_was_made_of() -> None:
    tid = {"TID": "host/x"}
    ours = graph(**tid)
    store = SnapshotStore(revisions(ours), 100)
    shown = graph_json(store.current())
    assert [one["ID"] for one in (*shown["Nodes"], *shown["Edges"])] == [HOST, PORT, EDGE]
    port = shown["Nodes"][1]
    assert port["Metadata"] == METADATA | tid
    assert {key: port[key] for key in ("Host", "Origin", "CreatedAt", "UpdatedAt", "ArchivedAt", "Revision")} == {
        "Host": "h", "Origin": "agent.h", "CreatedAt": 1_700_000_000_002, "UpdatedAt": 1_700_000_000_003,
        "ArchivedAt": 1_700_000_000_009, "Revision": 1,
    }  # fmt: skip
    assert (shown["Edges"][0]["Parent"], shown["Edges"][0]["Child"]) == (HOST, PORT)


def test_a_snapshot_knows_what_the_times_in_it_say() -> None:
    store = SnapshotStore(revisions(graph()), 100)
    begins, ends = 1_700_000_000_003_000, 1_700_000_000_009_000
    assert [one.id for one in store.as_of(begins)] == [HOST, PORT, EDGE]
    assert [one.id for one in store.as_of(begins - 1)] == [HOST, EDGE]
    assert [one.id for one in store.as_of(ends, [PORT, EDGE])] == [EDGE]
    assert [(one.id, one.before is None, one.after is None) for one in store.diff(begins, ends)] == [(PORT, False, True)]
    assert [one.id for one in store.between(7000, ends)] == [EDGE, HOST, PORT]
    assert [one.id for one in store.feed(1, 1)] == [PORT]
    assert [one.archived_at for one in store.current()] == [FOREVER, ends, FOREVER]
    with pytest.raises(StoreError, match="a snapshot takes no changes"):
        store.apply(Batch("w", 1, 1, 1, ()))


def test_an_id_that_is_no_uuid_becomes_one() -> None:
    nodes = [Element(id_, {"Name": id_, "Type": "x"}) for id_ in ("1", "2")]
    edge = Element("e", {"RelationType": "y"}, Parent="1", Child="2")
    one, two, joined = revisions([*nodes, edge])
    assert (one.id, two.id) == (node_id("1"), node_id("2"))
    assert joined.state
    assert (joined.state.parent, joined.state.child) == (one.id, two.id)


NODE = '{"ID":"1","Metadata":{"Name":"n","Type":"x"}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ("[]", "0 graphs in one list"),
        ('{"Nodes":[],"Edges":[{"ID":1}]}', r"Expected `str`, got `int` - at `\$.Edges"),
        ('{"Nodes":[{"ID":"1","Metadata":{"Name":"n"}}],"Edges":[]}', "the node '1' has no Type"),
        (f'{{"Nodes":[{NODE},{NODE}],"Edges":[]}}', "the ID '1' stands there twice"),
        (
            f'{{"Nodes":[{NODE.replace("1", HOST[:-4] + "abcd")},{NODE.replace("1", HOST[:-4] + "ABCD")}],"Edges":[]}}',
            "ABCD' stands there twice",
        ),
        (f'{{"Nodes":[{NODE}],"Edges":[{{"ID":"2","Parent":"1","Child":"1","Metadata":{{}}}}]}}', "no RelationType"),
        (
            f'{{"Nodes":[{NODE}],"Edges":[{{"ID":"2","Parent":"1","Child":"","Metadata":{{"RelationType":"y"}}}}]}}',
            "not there: ''",
        ),
        ('{"Nodes":[{"ID":"1","Metadata":{"Name":NaN}}],"Edges":[]}', "malformed"),
        ('{"Nodes":[{"ID":"1","Metadata":{"Name":"n","Type":"x"},"UpdatedAt":9223372036854775807}],"Edges":[]}', "UpdatedAt"),
        ('{"Nodes":[{"ID":"1","Metadata":{"x":' + "[" * 100_000 + "]" * 100_000 + "}}]}", "nested too deeply"),
        ('{"Nodes":[{"ID":"\udcff"}]}', "give the answer of GET /api/v1/graph"),
    ],
)
def test_what_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        read(text.encode(errors="surrogateescape"))
