"""What a file is, is told by what it holds; snapshots come back as they were written; hostile files are refused in one line."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.snapshots import EDGE, HOST, PORT, TEXT, VALUES, graph

from gremlin_api.answering import Answerer, Question
from gremlin_api.graphs.files.errors import GraphFileError
from gremlin_api.graphs.files.reading import GraphFile, read_graph_file
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.errors import UsageError
from topology.elements import Revision
from topology.snapshot import graphson, skydive
from topology.snapshot.elements import revisions

LINES = b'{"id":1,"label":"person","outE":{"knows":[{"id":3,"inV":2}]}}\n{"id":2,"label":"person"}\n'
GRAPHML = b'<graphml><graph><node id="1"/><node id="2"/><edge source="1" target="2"/></graph></graphml>'
SKYDIVE = json.dumps(
    {
        "Nodes": [
            {"ID": "n1", "Metadata": {"Name": "h", "Type": "host"}, "Host": "h"},
            {"ID": "N2", "Metadata": {"Name": "eth0", "Type": "device", "MTU": 1500, "IPV4": ["10.0.0.1/8"]}},
        ],
        "Edges": [{"ID": "e", "Metadata": {"RelationType": "ownership"}, "Parent": "n1", "Child": "N2"}],
    }
).encode()


def _written(folder: Path, data: bytes, name: str = "file") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def _answers(file: GraphFile, query: str, at: str | None = None) -> list[Any]:
    return list(Answerer(file.graphs).answers(Question(query, at=at), threading.Event()))


def _pretty(data: bytes) -> bytes:
    return json.dumps(json.loads(data), indent=2).encode()


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (LINES, "GraphSON 3, a vertex a line"),
        (b"\n \r\n" + LINES.replace(b"\n", b"\r\n\r\n"), "GraphSON 3, a vertex a line"),
        (LINES.splitlines()[1], "GraphSON 3, a vertex a line"),
        (b'{"vertices":[' + LINES.strip().replace(b"\n", b",") + b"]}", "GraphSON 3"),
        (b'{\n"edges":[],\n"vertices":[]}', "GraphSON 3"),
        (GRAPHML, "GraphML"),
        (b"\xef\xbb\xbf\n" + GRAPHML, "GraphML"),
        (('<?xml version="1.0" encoding="UTF-16"?>' + GRAPHML.decode()).encode("utf-16"), "GraphML"),
        (SKYDIVE, "Skydive's JSON"),
        (b"[" + SKYDIVE + b"]", "Skydive's JSON"),
        (_pretty(SKYDIVE), "Skydive's JSON"),
        (_pretty(b'{"Title":"","Edges":null,"Nodes":null}'), "Skydive's JSON"),
        (b"\xef\xbb\xbf" + SKYDIVE, "Skydive's JSON"),
        (skydive.write([]), "Skydive's JSON"),
        (b"".join(graphson.write(graph())), "a snapshot in GraphSON 3"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:])])
def test_a_file_is_what_it_holds(tmp_path: Path, data: bytes, format_: str, pack: Any) -> None:
    file = read_graph_file(_written(tmp_path, pack(data), "graph.csv"))
    assert file.format == format_
    assert _answers(file, "g.V().count()") == [len([one for one in file.revisions if one.state and not one.state.parent])]


def test_the_same_graph_is_asked_in_either_dialect(tmp_path: Path) -> None:
    file = read_graph_file(_written(tmp_path, LINES))
    assert [one.id for one in _answers(file, "g.V(1).out('knows')")] == [2]
    told = [(one.id, one.state.metadata, one.state.parent, one.state.child) for one in file.revisions if one.state]
    assert told == [
        ("1", {"Name": "1", "Type": "person"}, "", ""),
        ("2", {"Name": "2", "Type": "person"}, "", ""),
        ("3", {"RelationType": "knows"}, "1", "2"),
    ]
    assert file.revisions is file.revisions


def test_ids_of_skydive_are_found_as_they_stand_in_the_file(tmp_path: Path) -> None:
    file = read_graph_file(_written(tmp_path, SKYDIVE))
    assert _answers(file, "g.V('N2').values('MTU')") == [1500]
    assert _answers(file, "g.V('n1').outE('ownership').inV().id()") == ["N2"]
    assert _answers(file, "g.E('e').count()") == [1]
    assert _answers(file, "g.V().has('IPV4', '10.0.0.1/8').in().values('@Host')") == ["h"]
    assert [one.id for one in file.revisions] == ["n1", "N2", "e"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXT | st.sampled_from(["Host", "ID", "@type", "Nodes", "id"]), VALUES, max_size=5), st.booleans())
@pytest.mark.parametrize("write", [skydive.write, lambda elements: b"".join(graphson.write(elements))])
def test_a_snapshot_is_the_graph_that_was_written(tmp_path: Path, write: Any, metadata: dict[str, Any], packed: bool) -> None:
    elements = graph(**{key: one for key, one in metadata.items() if key not in ("Name", "Type")})
    data = write(elements)
    file = read_graph_file(_written(tmp_path, gzip.compress(data, 1) if packed else data))
    assert file.revisions == revisions(elements)
    assert {one.id for one in file.graphs.view(None, dict).vertices()} == {HOST, PORT}
    assert [(one.id, one.out.id, one.into.id) for one in file.graphs.view(None, dict).edges()] == [(EDGE, HOST, PORT)]


@pytest.mark.parametrize("write", [skydive.write, lambda elements: b"".join(graphson.write(elements))])
def test_a_snapshots_own_ids_and_times_are_kept(tmp_path: Path, write: Any) -> None:
    ids = {HOST: "host A", PORT: "ABCDEF00-0000-5000-8000-000000000001", EDGE: "7"}
    elements = [
        msgspec.structs.replace(
            one, ID=ids[one.ID], Parent=ids.get(one.Parent, one.Parent), Child=ids.get(one.Child, one.Child)
        )
        for one in graph()
    ]
    file = read_graph_file(_written(tmp_path, write(elements)))
    assert [_times(one) for one in file.revisions] == [_times(one) for one in revisions(elements)]
    assert [one.id for one in file.revisions] == list(ids.values())
    assert _answers(file, "g.V('host A').out().id()") == [ids[PORT]]
    assert _answers(file, f"g.V('{ids[PORT]}').values('MTU', '@CreatedAt')") == [1500, 1_700_000_000_002]


def _times(one: Revision) -> tuple[int, ...]:
    return one.number, one.created_at, one.updated_at, one.archived_at


@pytest.mark.parametrize("data", [LINES, GRAPHML, SKYDIVE])
def test_another_moment_than_the_files_is_refused(tmp_path: Path, data: bytes) -> None:
    file = read_graph_file(_written(tmp_path, data))
    refused = r"file holds the graph of one moment and does not say which: ask without 'at'$"
    for query, at in (("g.V()", "-5m"), ("g.with('at', '2026-01-01').V()", None), ("g.V()", "2026-01-01/now")):
        with pytest.raises(UsageError, match=refused):
            _answers(file, query, at)
    with pytest.raises(UsageError, match="'soon' is no moment"):
        _answers(file, "g.V()", "soon")
    for at in ("now", "9999-01-01"):
        assert _answers(file, "g.V().count()", at) == [2]
    skydive_ = SkydiveAnswerer(StoredGraphs(file.store(len(data)), NOTHING_SHOWN, lambda: 10**15))
    for query in ("G.At('-5m').V()", "G.At(NOW, 300).V()", "G.V().As('a').G.Context(1).V()", "G.Context(NOW, FOREVER).E()"):
        with pytest.raises(UsageError, match=refused):
            skydive_.answer(query, threading.Event())
    for query in ("G.V().Count()", "G.At(NOW).V().Count()", "G.At('1h').V().Count()"):
        assert skydive_.answer(query, threading.Event()).values == [2]


@pytest.mark.parametrize("data", [LINES, SKYDIVE])
def test_a_files_store_tells_of_no_other_moment(tmp_path: Path, data: bytes) -> None:
    store = read_graph_file(_written(tmp_path, data)).store(len(data))
    assert len(list(store.current())) == 3
    assert store.health().size == len(data)
    asked: list[Callable[[], object]] = [
        lambda: store.moment(1), lambda: store.as_of(1), lambda: store.between(1, 2), lambda: store.diff(1, 2),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(UsageError, match="file holds the graph of one moment"):
            ask()


DEEP = b"[" * 1000 + b"]" * 1000
TEXTS = b'{"ID":"\xff","Metadata":{}}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty: give GraphSON 3, GraphML, Skydive's JSON or a snapshot of ours"),
        (b" " * 5_000_000, "it is empty"),
        (gzip.compress(b" " * 20_000_000 + b"{", 1), "truncated"),
        (b"id,name\n1,a\n", "it begins with b'i': give"),
        (b"\x00\x01", "it begins with b'.x00'"),
        (gzip.compress(LINES)[:-9], "the gzip is damaged or cut off"),
        (gzip.compress(LINES)[:12], "the gzip is damaged or cut off"),
        (b"\x1f\x8b\x08", "the gzip is damaged or cut off"),
        (gzip.compress(LINES)[:-8] + b"\0" * 8, "the gzip is damaged or cut off"),
        (b"\x1f\x8bnothing", "the gzip is damaged or cut off"),
        (gzip.compress(gzip.compress(LINES)), "it begins with"),
        (b'{"vertices":' + DEEP + b"}", "nested"),
        (b'{"id":1,"label":"a","properties":{"n":[{"value":' + DEEP + b"}]}}", "line 1: .*nested"),
        (b'{"Nodes":[{"ID":"1","Metadata":{"Name":"a","Type":"b","c":' + DEEP + b"}}]}", "nested"),
        (DEEP, "nested|Expected"),
        (b"[" * 1_000_000, "nested|Expected"),
        (b'{"Nodes":[' + TEXTS + b'],"Edges":[]}', "utf-8"),
        (b'{"id":"\xff","label":"a"}', "line 1: it is not UTF-8"),
        (b'{"id":1,"properties":{"\xff":[{"value":1}]}}', "line 1: it is not UTF-8"),
        (b'{"vertices":[{"id":"\xff"}]}', "it is not UTF-8"),
        (b'{"vertices":[{"id":1,"label":"\\ud800"}]}', "give"),
        (b'{"id":1,"label":"a","properties":{"n":[{"value":NaN}]}}', "line 1: JSON is malformed"),
        (b'{"id":1', "line 1: "),
        (b'{"id":1,"label":"a"}\n{"id":1,"label":"a"}', "line 2: the vertex '1' stands there twice"),
        (b"".join(graphson.write(graph()))[:-9], "line 2: "),
        (b"".join(graphson.write(graph())) + b"\n" * 1_000_000, "most of its lines are empty: take them out"),
        (LINES + b" \n" * 1_000_000 + b"{", "line 1000003: Input data was truncated"),
        (SKYDIVE.replace(b'"N2"', b'"n1"'), "the ID 'n1' stands there twice"),
        (SKYDIVE.replace(b'"Child": "N2"', b'"Child": "N3"'), "has an end that is not there: 'N3'"),
        (SKYDIVE.replace(b'"n1"', b'""'), "an element has an empty ID"),
        (b'{"a":1}', "missing required field `vertices`: give"),
        (b'{"vertices":[{"id":1,"label":"\\u0000\\n"},{"id":"x\\ny","outE":{"k":[{"id":5,"inV":"a\\nb"}]}}]}', "not there"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    file = _written(tmp_path, data)
    with pytest.raises(GraphFileError, match=f"^{file}: .*(?:{message})") as caught:
        read_graph_file(file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_a_file_that_is_larger_than_may_be_is_refused(tmp_path: Path) -> None:
    for data in (LINES + b" " * (3 << 20), gzip.compress(LINES + b" " * (3 << 20))):
        with pytest.raises(GraphFileError, match="it holds more than 3 MiB: give a smaller graph"):
            read_graph_file(_written(tmp_path, data), 3 << 20)
    assert read_graph_file(_written(tmp_path, LINES + b" " * ((3 << 20) - len(LINES))), 3 << 20).revisions


def test_much_of_nothing_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "spaces"
    with gzip.open(file, "wb", 1) as packed:
        for _ in range(200):
            packed.write(b" " * 1_000_000)
    with pytest.raises(GraphFileError, match="it is empty"):
        read_graph_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(GraphFileError, match=f"cannot read {path}: .*: give a file that may be read"):
            read_graph_file(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([LINES, GRAPHML, SKYDIVE, b"".join(graphson.write(graph())), gzip.compress(LINES)]))
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 30))
    put = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"null", b"{", b"]", b'"', b"-1", b"1e99", b"<", b"&", b'{"@type":"g:Int32"}'])
    )
    file = _written(tmp_path, whole[:at] + put + whole[at + cut :])
    try:
        found = read_graph_file(file)
    except GraphFileError:
        return
    assert len(_answers(found, "g.V()")) + len(_answers(found, "g.E()")) == len(found.revisions)
