"""``skytrail path``: what people see of an answer of the hub's."""

from __future__ import annotations

import json

import click
import msgspec
from support.pathgraph import Graph, via

from skytrail.cli.path import path_lines
from topology.path.find import Question, find_path


def lines(graph: Graph, src: str, dst: str, *, both: bool = False) -> list[str]:
    answer = json.loads(msgspec.json.encode(find_path(graph.revisions, Question(src, dst))))
    return [click.unstyle(line) for line in path_lines(answer, both=both)]


def hosts(*, up: bool = True) -> Graph:
    graph = Graph()
    host = graph.host("h1")
    inner = graph.device(graph.netns(host, "web"), "eth0", "veth", "10.0.0.2/24", routes=[via("0.0.0.0/0", "10.0.0.1")])
    flags = {} if up else {"LinkFlags": ["BROADCAST"]}
    graph.pair(inner, graph.device(host, "veth1", "veth", "10.0.0.1/24", **flags))
    return graph


def test_a_path_is_told_by_host_and_namespace() -> None:
    assert lines(hosts(), "web", "h1") == [
        "10.0.0.2 (web on h1) → 10.0.0.1 (h1)",
        "h1",
        "  web",
        "    → eth0   veth   1500  route 10.0.0.0/24 dev eth0, table main",
        "    ← veth1  veth   1500",
        "✔ arrives: 10.0.0.1 is held here  (veth1 on h1)",
        "  packets of up to 1500 bytes pass: eth0 in web on h1",
        "  and back the same way",
    ]


def test_where_it_ends_is_told_with_the_reason() -> None:
    assert lines(hosts(up=False), "web", "h1")[3:] == [
        "    → eth0  veth   1500  route 10.0.0.0/24 dev eth0, table main (only asked there: ARP)",
        "✘ stops: is down  (veth1 on h1)",
    ]


def test_the_way_back_is_shown_where_it_is_asked_for() -> None:
    shown = lines(hosts(), "web", "h1", both=True)
    assert shown[7:9] == ["", "back: 10.0.0.1 (h1) → 10.0.0.2 (web on h1)"]
    assert shown[-2].startswith("✔ arrives")


def test_names_cannot_command_the_terminal() -> None:
    graph = Graph()
    graph.pair(
        graph.device(graph.host("h\x1b[2J"), "eth0", "veth", "10.0.0.1/24"),
        graph.device(graph.host("b"), "eth0", "veth", "10.0.0.2/24"),
    )
    assert "\x1b" not in "".join(lines(graph, "10.0.0.1", "10.0.0.2"))
