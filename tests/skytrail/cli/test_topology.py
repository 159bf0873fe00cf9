"""``skytrail topology`` and ``skytrail diff`` of what a hub answers; what they print is a tree, a drawing, or lines."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.steps import T
from rich.console import Console
from support.needs import missing
from support.netlab import until

from skytrail.cli.topology import _tree
from skytrail.http.app import as_asgi, create_app
from skytrail.http.server import serve
from skytrail.settings.tree import Http
from topology.elements import node_id
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.graphviz import as_dot
from topology.reconcile import Reconciler
from topology.routes import graph_blueprint
from topology.store.embedded.store import EmbeddedStore

NOW = T + 60_000_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a hub with a small graph: 30 s ago a bridge with a port in another namespace; since 10 s it is gone."""
    store = EmbeddedStore(tmp_path_factory.mktemp("graph"))
    reconciler = Reconciler(store, "hub", lambda: NOW)
    source = Source("netlink", "host1")

    def node(name: str, kind: str, **more: object) -> NodeFact:
        return NodeFact(name, {"Name": name, "Type": kind, **more})

    first = (
        node("host1", "host"),
        node('blue "[x]"', "netns"),
        node("br0", "bridge", IfIndex=2, State="UP", IPV4=["10.0.0.1/24"]),
        node("v0", "veth", IfIndex=7, State="DOWN", MTU=1500),
        node("v1", "veth", IfIndex=3, State="DOWN"),
        EdgeFact("host1", "br0", "ownership"),
        EdgeFact("host1", "v0", "ownership"),
        EdgeFact("host1", 'blue "[x]"', "ownership"),
        EdgeFact('blue "[x]"', "v1", "ownership"),
        EdgeFact("br0", "v0", "layer2"),
        EdgeFact("v0", "v1", "layer2", {"Type": "veth"}),
    )
    reconciler.report(Report(source, NOW - 30_000_000, first))
    later = (node("v0", "veth", IfIndex=7, State="UP", MTU=9000), node("eth0", "device", IfIndex=1))
    reconciler.report(Report(source, NOW - 10_000_000, later, (node_id("br0"),)))
    app = create_app("hub", dict, dict, [graph_blueprint(store, reconciler.volatile, lambda: NOW)])
    with serve(as_asgi(app), "127.0.0.1:0", Http()) as running:
        yield running.url.partition("://")[2]
    store.close()


def skytrail(command: str, hub: str, *arguments: str) -> str:
    words = [sys.executable, "-m", "skytrail", command, "--hub", hub, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line).rstrip() for line in text.splitlines()]


def test_the_tree_shows_who_owns_whom_and_what_is_connected(hub: str) -> None:
    assert lines(skytrail("topology", hub, "--at", "-20s")) == [
        "host1 host",
        "├── br0 bridge UP 10.0.0.1/24 → v0",
        "├── v0 veth DOWN ← br0 → v1",
        '└── blue "[x]" netns',
        " └── v1 veth DOWN ← v0",
    ]


def test_what_nobody_owns_stands_at_the_root(hub: str) -> None:
    shown = lines(skytrail("topology", hub))
    assert {"eth0 device", "host1 host"} <= set(shown)
    assert not [line for line in shown if "br0" in line]


def test_what_is_deeper_than_a_tree_is_drawn_anew_at_its_root() -> None:
    nodes = [{"ID": str(number), "Metadata": {"Name": f"n{number}", "Type": "netns"}} for number in range(3000)]
    edges = [
        {"Parent": str(number), "Child": str(number + 1), "Metadata": {"RelationType": "ownership"}} for number in range(2999)
    ]
    console = Console(width=600, record=True, file=io.StringIO())
    console.print(_tree({"Nodes": nodes, "Edges": edges}))
    shown = console.export_text()
    assert sorted(re.findall(r"n\d+", shown)) == sorted(f"n{number}" for number in range(3000))


def test_names_are_drawn_as_they_are() -> None:
    node = {"ID": "1", "Metadata": {"Name": 'a\\nb"', "Type": "veth"}}
    assert '"1" [label="a\\\\nb\\"\\nveth"];' in as_dot({"Nodes": [node], "Edges": []})


def test_watching_into_a_file_writes_each_tree_with_its_time(hub: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "skytrail", "topology", "--watch", "--hub", hub], stdout=log)
        until(lambda: "host1 host" in [line.replace("  ", " ") for line in (tmp_path / "log").read_text().splitlines()], 20)
        time.sleep(2.5)
        process.terminate()
        process.wait()
    shown = (tmp_path / "log").read_text().splitlines()
    moments = [line for line in shown if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line)]
    assert moments == shown[:1]  # nothing changed after the first


def test_json_is_the_graph(hub: str) -> None:
    graph = json.loads(skytrail("topology", hub, "--json", "--at", "-20s"))
    assert {node["Metadata"]["Name"] for node in graph["Nodes"]} == {"host1", "br0", "v0", "v1", 'blue "[x]"'}
    assert len(graph["Edges"]) == 6


def test_graphviz_understands_the_drawing(hub: str, tmp_path: Path) -> None:
    drawn = skytrail("topology", hub, "--dot", "--at", "-20s")
    assert drawn.count(" -- ") == 6
    if shutil.which("dot") is None:
        missing("dot is not installed (package graphviz)")
    (tmp_path / "graph.dot").write_text(drawn)
    done = subprocess.run(["dot", "-Tplain", tmp_path / "graph.dot"], capture_output=True, text=True, check=True)
    assert len([line for line in done.stdout.splitlines() if line.startswith("node ")]) == 5
    assert len([line for line in done.stdout.splitlines() if line.startswith("edge ")]) == 6


def test_diff_tells_what_came_went_and_changed(hub: str) -> None:
    shown = set(lines(skytrail("diff", hub, "--from", "-20s")))
    assert shown == {
        "~ veth v0",
        ' State: "DOWN" → "UP"',
        " MTU: 1500 → 9000",
        "+ device eth0",
        "- bridge br0",
        "- ownership host1 → br0",
        "- layer2 br0 → v0",
    }
    assert skytrail("diff", hub, "--from", "-9s", "--to", "-1s") == ""
    assert len(skytrail("diff", hub, "--from", "-20s", "--json").splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["topology", "--watch", "--json"], "--watch shows the tree as it is now"),
        (["topology", "--at", "soon"], "'soon' is no moment"),
        (["diff", "--from", "soon"], "'soon' is no moment"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(hub: str, arguments: list[str], said: str) -> None:
    words = [sys.executable, "-m", "skytrail", arguments[0], "--hub", hub, *arguments[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
