"""What an editor suggests: the grammars' own words, and the keys and values that queries find."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.skydivegraphs import FixedGraphs, answer, edge, node

from gremlin_api import completion
from gremlin_api.completion import MOST, Completer
from gremlin_api.language.skydive import STEPS, parse_skydive, render_skydive
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.errors import UsageError

GRAPH = [
    node("n1", {"Name": "eth0", "Type": "device", "IPV4": ["10.0.0.1/24", "10.0.0.2/24"], "VXLAN": {"ID": 10}}),
    node("n2", {"Name": "br.0", "Type": "bridge", "MTU": 1500}),
    node("n3", {"Name": "brx0", "Type": "bridge", "MTU": 9000, "Long": "x" * 300}),
    edge("e1", "n2", "n1", {"RelationType": "layer2", "VNI": 7}),
]


class Counting(SkydiveAnswerer):
    """Notes what it is asked."""

    def __init__(self, graph: list[Any]) -> None:
        super().__init__(FixedGraphs(graph))
        self.asked: list[str] = []

    def answer(self, text: str, cancelled: threading.Event) -> Any:
        self.asked.append(text)
        return super().answer(text, cancelled)


class Told:
    def __init__(self, graph: list[Any] = GRAPH) -> None:
        self.now = 0.0
        self.answerer = Counting(graph)
        self._completer = Completer(self.answerer, lambda: self.now)

    def words(self) -> Any:
        return self._completer.words(threading.Event())

    def values(self, key: str, of: str = "nodes", prefix: str = "") -> Any:
        return self._completer.values(key, of, prefix, threading.Event())


def test_steps_are_those_that_the_parser_takes() -> None:
    words = Told().words()
    assert words["Skydive"]["Steps"] == {name: list(takes) for name, takes in STEPS.items()}
    assert {"has", "values", "V"} <= words["TinkerPop"]["Steps"].keys()
    assert {"within", "startingWith"} <= words["TinkerPop"]["Predicates"].keys()


def test_keys_are_those_that_a_query_tells() -> None:
    keys = Told().words()["Keys"]
    assert keys["nodes"] == answer(GRAPH, "G.V().Keys()")
    assert keys["edges"] == answer(GRAPH, "G.E().Keys()")
    assert {"VXLAN.ID", "@Host"} <= set(keys["nodes"])


@pytest.mark.parametrize(
    ("key", "of", "prefix", "found"),
    [
        ("Name", "nodes", "", ["br.0", "brx0", "eth0"]),
        ("Name", "nodes", "br", ["br.0", "brx0"]),
        ("Name", "nodes", "br.", ["br.0"]),
        ("IPV4", "nodes", "", ["10.0.0.1/24", "10.0.0.2/24"]),
        ("MTU", "nodes", "9", [9000]),
        ("VXLAN.ID", "nodes", "", [10]),
        ("VXLAN", "nodes", "", []),
        ("Long", "nodes", "", []),
        ("RelationType", "edges", "", ["layer2"]),
        ("Nothing'), G.V(", "nodes", "", []),
    ],
)
def test_values_are_each_told_once_and_in_order(key: str, of: str, prefix: str, found: list[object]) -> None:
    assert Told().values(key, of, prefix) == {"Values": found, "More": False}


def test_of_very_many_nodes_a_part_is_looked_at_and_a_prefix_finds_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "LOOKED_AT", {**completion.LOOKED_AT, "nodes": (completion.LOOKED_AT["nodes"][0], 10)})
    told = Told([node(f"n{at}", {"Name": f"a{at}" if at < 20 else f"z.{at}", "Type": "t"}) for at in range(25)])
    whole = told.values("Name")
    assert whole["More"]
    assert len(whole["Values"]) == 10
    assert told.values("Name", prefix="z.") == {"Values": [f"z.{at}" for at in range(20, 25)], "More": False}


def test_no_more_values_are_told_than_anybody_reads() -> None:
    told = Told([node(f"n{at}", {"Name": f"n{at:04}"}) for at in range(MOST + 1)]).values("Name")
    assert len(told["Values"]) == MOST
    assert told["More"]


def test_an_answer_is_kept_for_a_while_and_so_many_are() -> None:
    told = Told()
    told.values("Name")
    told.values("Name", prefix="br")
    assert told.answerer.asked == [render_skydive(parse_skydive("G.V().HasKey('Name').Limit(20000).Values('Name')"))]
    told.now = 31
    told.values("Name")
    assert len(told.answerer.asked) == 2
    for at in range(100):
        told.values(f"k{at}")
    assert len(told._completer._kept) == 64
    told.values("k99")
    assert len(told.answerer.asked) == 102


@pytest.mark.parametrize(
    ("key", "of", "prefix"), [("", "nodes", ""), ("Name", "hosts", ""), ("k" * 201, "nodes", ""), ("Name", "nodes", "p" * 201)]
)
def test_what_cannot_be_asked_is_said(key: str, of: str, prefix: str) -> None:
    with pytest.raises(UsageError):
        Told().values(key, of, prefix)


def test_without_agents_there_are_no_keys_of_flows() -> None:
    assert Told().words()["Keys"]["flows"] == []
