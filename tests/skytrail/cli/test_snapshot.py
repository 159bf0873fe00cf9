"""``skytrail snapshot``: what a hub shows goes to a file, and what serves that file shows the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.steps import T
from support.ports import free_port
from support.servedfile import served

from gremlin_api.graphs.files.reading import read_graph_file
from skytrail.http.app import as_asgi, create_app
from skytrail.http.server import serve
from skytrail.settings.tree import Http
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.routes import graph_blueprint
from topology.store.embedded.store import EmbeddedStore

NOW = T + 60_000_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a hub: 30 s ago a host with eth0; since 10 s eth0 is called wan."""
    store = EmbeddedStore(tmp_path_factory.mktemp("graph"))
    reconciler = Reconciler(store, "hub", lambda: NOW)
    source = Source("netlink", "host1")

    def port(name: str) -> NodeFact:
        return NodeFact(
            "p", {"Name": name, "Type": "device", "IfIndex": 2, "VXLAN": {"ID": 7, "Flags": ["a"]}}, {"Metric": {"RxBytes": 5}}
        )

    host = NodeFact("h", {"Name": "host1", "Type": "host"})
    reconciler.report(Report(source, NOW - 30_000_000, (host, port("eth0"), EdgeFact("h", "p", "ownership"))))
    reconciler.report(Report(source, NOW - 10_000_000, (port("wan"),)))
    app = create_app("hub", dict, dict, [graph_blueprint(store, reconciler.volatile, lambda: NOW)])
    with serve(as_asgi(app), "127.0.0.1:0", Http()) as running:
        yield running.url.partition("://")[2]
    store.close()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "skytrail", *words], capture_output=True, text=True, timeout=60, check=False)


def graph_at(address: str) -> dict[str, object]:
    done = run("topology", "--json", "--hub", address)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["graph.json", "graph.graphson"])
def test_a_file_that_is_served_shows_what_the_hub_showed(hub: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    done = run("snapshot", "save", str(file), "--hub", hub)
    assert (done.returncode, done.stdout) == (0, f"{file}: 2 nodes, 1 edges as of now, {file.stat().st_size:,} bytes\n"), (
        done.stderr
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [name]
    with served("--hub", "snapshot", "load", str(file)) as address:
        assert graph_at(address) == graph_at(hub)
        tree = run("topology", "--hub", address).stdout
        assert re.search(r"host1\s+host\n.*wan\s+device", tree), tree


def test_a_past_moment_is_saved_as_it_was_then(hub: str, tmp_path: Path) -> None:
    file = tmp_path / "then"
    assert run("snapshot", "save", str(file), "--hub", hub, "--at", "-20s", "--format", "graphson").returncode == 0
    assert b'"label":"device"' in file.read_bytes()
    with served("--hub", "snapshot", "load", str(file)) as address:
        assert "eth0" in run("topology", "--hub", address).stdout


def test_a_dash_is_standard_output(hub: str) -> None:
    done = run("snapshot", "save", "-", "--hub", hub)
    assert [node["Metadata"]["Name"] for node in json.loads(done.stdout)["Nodes"]] == ["host1", "wan"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty: give GraphSON 3"),
        ('{"id":"1","label":"x"}\n{"id":"1","label":"x"}\n', "line 2: the vertex '1' stands there twice"),
        ('{"Nodes":[{"ID":"1"}],"Edges":[]}', "missing required field `Metadata`"),
        ("a picture", "it begins with b'a': give GraphSON 3"),
        ('{"@type":"tinker:graph","@value":{"vertices":[1],"edges":[]}}', "Expected `object`, got `int`"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    done = run("snapshot", "load", str(file))
    assert done.returncode == 1
    assert re.fullmatch(rf"skytrail: error: {file}: [^\n]*{re.escape(message)}[^\n]*\n", done.stderr), done.stderr


def test_the_format_is_known_by_the_content(tmp_path: Path) -> None:
    """A key ``id`` of the metadata makes no GraphSON, a key ``Nodes`` of a property no Skydive's JSON."""
    skydive = {"Nodes": [{"ID": "1", "Metadata": {"id": 1, "Name": "a", "Type": "x"}}], "Edges": None}
    property_ = {"Nodes": [{"id": 0, "value": "y"}], "Name": [{"id": 1, "value": "a"}]}
    for content in (
        json.dumps(skydive),
        json.dumps(skydive, indent=1),
        json.dumps({"id": "1", "label": "x", "properties": property_}),
    ):
        (tmp_path / "file").write_text(content)
        [found] = read_graph_file(tmp_path / "file").revisions
        assert found.state is not None
        assert (found.id, found.state.metadata["Name"]) == ("1", "a")


def test_what_cannot_be_written_is_told(hub: str, tmp_path: Path) -> None:
    done = run("snapshot", "save", str(tmp_path / "no" / "graph.json"), "--hub", hub)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No such file or directory: name a folder that is there" in done.stderr


def test_without_a_hub_nothing_is_written(tmp_path: Path) -> None:
    done = run("snapshot", "save", str(tmp_path / "graph.json"), "--hub", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
