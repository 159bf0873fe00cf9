"""GraphSON 3, with TinkerPop's own reader and writer (TinkerGraph) on the other side."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import janusgraph
from support.snapshots import EDGE, HOST, METADATA, PORT, TEXT, VALUES, graph

from topology.snapshot import skydive
from topology.snapshot.elements import DEEPEST, Element, SnapshotError
from topology.snapshot.graphson import read, write

SCRIPT = Path(__file__).with_name("tinkergraph.groovy")


@pytest.fixture(scope="module")
def libraries() -> Path:
    return janusgraph.demand()


def through_tinkergraph(libraries: Path, folder: Path, data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """What TinkerGraph found in a file, and the file that it wrote of it."""
    (folder / "ours").write_bytes(data)
    command = ["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", f"{libraries}/*", "groovy.ui.GroovyMain"]
    done = subprocess.run([*command, str(SCRIPT), str(folder / "ours"), str(folder / "theirs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], (folder / "theirs").read_bytes()


def test_tinkergraph_reads_what_we_write_and_we_read_what_it_writes(libraries: Path, tmp_path: Path) -> None:
    ours = graph()
    seen, theirs = through_tinkergraph(libraries, tmp_path, b"".join(write(ours)))

    by_id = {one["id"]: one for one in seen}
    assert {id_: (one["label"], one.get("out"), one.get("in")) for id_, one in by_id.items()} == {
        HOST: ("host", None, None),
        PORT: ("device", None, None),
        EDGE: ("ownership", HOST, PORT),
    }
    port = by_id[PORT]["properties"]
    assert (port.pop("Host"), port.pop("Metadata.Host")) == ("h", METADATA["Host"])
    assert port.pop("Metadata.Metadata.Host") == METADATA["Metadata.Host"]
    times = [port.pop(key) for key in ("Origin", "CreatedAt", "UpdatedAt", "ArchivedAt", "Revision")]
    assert times == ["agent.h", 1_700_000_000_002, 1_700_000_000_003, 1_700_000_000_009, 1]
    assert port == {key: value for key, value in METADATA.items() if "Host" not in key}
    assert by_id[EDGE]["properties"]["N"] == 7

    assert sorted(read(theirs), key=lambda one: one.ID) == ours


@given(st.dictionaries(TEXT | st.sampled_from(["Host", "ID", "Metadata.", "@type"]), VALUES, max_size=5))
def test_what_was_written_is_read(metadata: dict[str, Any]) -> None:
    ours = graph(**{key: value for key, value in metadata.items() if key not in ("Name", "Type")})
    assert read(b"".join(write(ours))) == ours


def test_what_may_be_nested_in_one_format_may_be_in_the_other() -> None:
    deep: list[Any] = []
    for _ in range(DEEPEST - 1):
        deep = [deep]
    assert read(b"".join(write(graph(Deep=deep)))) == skydive.read(skydive.write(graph(Deep=deep))) == graph(Deep=deep)
    for again in (lambda ours: read(b"".join(write(ours))), lambda ours: skydive.read(skydive.write(ours))):
        with pytest.raises(SnapshotError, match="nested more than 100 deep"):
            again(graph(Deep=[deep]))


def test_a_foreign_graph_has_ids_and_names_of_its_own() -> None:
    vertex = {
        "id": {"@type": "g:Int32", "@value": 1},
        "label": "person",
        "outE": {"knows": [{"id": {"@type": "g:Int32", "@value": 7}, "inV": {"@type": "g:Int32", "@value": 2}}]},
        "properties": {"name": [{"id": 0, "value": "marko"}], "nick": [{"id": 1, "value": "m"}, {"id": 2, "value": "mk"}]},
    }
    other = {"id": {"@type": "g:Int32", "@value": 2}, "label": "person", "properties": {}}
    found = read("\n".join(map(json.dumps, (vertex, other))).encode())
    assert found == [
        Element("1", {"Type": "person", "name": "marko", "nick": ["m", "mk"], "Name": "marko"}),
        Element("2", {"Type": "person", "Name": "2"}),
        Element("7", {"RelationType": "knows"}, Parent="1", Child="2"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 1 is no vertex of GraphSON 3"),
        ("{", "line 1: .*truncated"),
        (
            '{"id":"1","label":"x","properties":{"Name":[{"value":{"@type":"g:Int128","@value":1}}]}}',
            "'g:Int128' are not known",
        ),
        ('{"id":"1","label":"x","properties":{"n":[{"value":{"@type":"g:Double","@value":"NaN"}}]}}', "JSON does not have"),
        ('{"id":"1","label":"x","properties":{"n":[{"value":{"@type":"g:Map","@value":["a"]}}]}}', "a key without a value"),
        ('{"id":"1","label":"x","properties":{"n":[{"value":{"@type":"g:Int64","@value":"x"}}]}}', "'x' is no integer"),
        ('{"id":"1","label":"x","properties":{"CreatedAt":[{"value":-1}]}}', "line 1: Expected `int` >= 0"),
        ('{"id":"1","label":5,"properties":{}}', "no Type that is text"),
        ('{"id":"1","label":"x","outE":{"y":[{"id":"2","inV":"3"}]}}', "the edge '2' has an end that is not there: '3'"),
        ('{"id":"1","label":"x","properties":{"n":[{"value":' + "[" * 5000 + "]" * 5000 + "}]}}", "nested"),
        ('{"id":null,"label":"x"}', "line 1: an ID must be text or an integer"),
        (
            '{"id":"1","label":"x","outE":{"y":[{"id":"9","inV":"1"},{"id":"9","inV":"1"}]}}',
            "line 1: the edge '9' stands there twice",
        ),
        (
            '{"id":"1","label":"x","outE":{"y":[{"id":"9","inV":"1"}]},"inE":{"z":[{"id":"9","outV":"1"}]}}',
            "line 1: the edge '9' stands there twice, or not alike",
        ),
        ('{"id":"1","label":"x"}\n{"id":"1","label":"x"}', "the ID '1' stands there twice"),
    ],
)
def test_what_is_no_graph_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        read(line.encode())
