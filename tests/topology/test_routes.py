"""The hub's routes of the graph, on a real store: Skydive's shape, moments, differences, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.steps import T
from flask.testing import FlaskClient

from skytrail.http.app import create_app
from topology.elements import edge_id, node_id
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.routes import graph_blueprint
from topology.store.embedded.store import EmbeddedStore

SOURCE = Source("netlink", "host1")


class Lab:
    def __init__(self, folder: Path) -> None:
        self.store = EmbeddedStore(folder)
        self.reconciler = Reconciler(self.store, "hub", lambda: T + 9_000_000)
        self.caught_up = 0
        self.under_way: list[NodeFact] = []
        blueprint = graph_blueprint(self.store, self.reconciler.volatile, lambda: T + 9_000_000, self.catch_up)
        self.client: FlaskClient = create_app("hub", dict, dict, [blueprint]).test_client()

    def catch_up(self) -> None:
        """As the probe does: what was under way is in the graph when this returns."""
        self.caught_up += 1
        self.report(8_000_000, *self.under_way)

    def report(self, at: int, *facts: NodeFact | EdgeFact, **more: Any) -> None:
        self.reconciler.report(Report(SOURCE, T + at, facts, **more))

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status
        return answer.json


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    made.report(
        1_000_000, NodeFact("h", {"Name": "h", "Type": "host"}), NodeFact("a", {"Name": "a", "Type": "veth", "MTU": 1500})
    )
    made.report(1_000_001, EdgeFact("h", "a", "ownership"))
    made.report(3_000_000, NodeFact("a", {"Name": "a", "Type": "veth", "MTU": 9000}, {"Metric": {"RxBytes": 7}}))
    yield made
    made.store.close()


def ms(at: int) -> int:
    return (T + at) // 1000


def test_the_graph_now_is_in_skydives_shape(lab: Lab) -> None:
    graph = lab.get("/api/v1/graph")
    [node] = [one for one in graph["Nodes"] if one["Metadata"]["Name"] == "a"]
    assert node == {
        "ID": node_id("a"),
        "Metadata": {"Name": "a", "Type": "veth", "MTU": 9000, "Metric": {"RxBytes": 7}, "TID": "a"},
        "Host": "host1",
        "Origin": "agent.host1",
        "CreatedAt": ms(1_000_000),
        "UpdatedAt": ms(3_000_000),
        "DeletedAt": None,
        "Revision": 2,
    }
    [edge] = graph["Edges"]
    assert (edge["ID"], edge["Parent"], edge["Child"]) == (
        edge_id(node_id("h"), node_id("a"), "ownership"), node_id("h"), node_id("a"),
    )  # fmt: skip
    assert edge["Metadata"] == {"RelationType": "ownership"}


@pytest.mark.parametrize("at", ["", "?at=now", "?at=%20now", "?at=-0s", f"?at={T + 99_000_000}", "?at=9999999999999999"])
def test_an_answer_about_now_waits_for_what_is_under_way(lab: Lab, at: str) -> None:
    lab.under_way = [NodeFact("late", {"Name": "late", "Type": "veth"})]
    assert "late" in [one["Metadata"]["Name"] for one in lab.get(f"/api/v1/graph{at}")["Nodes"]]
    assert lab.caught_up == 1


@pytest.mark.parametrize("to", ["", "&to=now", "&to=%20now", "&to=-0s", "&to=9999999999999999"])
def test_differences_up_to_now_wait_for_what_is_under_way(lab: Lab, to: str) -> None:
    lab.under_way = [NodeFact("late", {"Name": "late", "Type": "veth"})]
    [late] = lab.get(f"/api/v1/diff?from={ms(4_000_000)}{to}")
    assert (late["Change"], late["Element"]["Metadata"]["Name"]) == ("added", "late")


def test_what_is_shown_as_of_a_millisecond_is_there_at_it(lab: Lab) -> None:
    lab.report(3_500_789, NodeFact("b", {"Name": "b", "Type": "veth"}))
    [node] = [one for one in lab.get("/api/v1/graph")["Nodes"] if one["Metadata"]["Name"] == "b"]
    for moment, there in ((node["CreatedAt"] - 1, False), (node["CreatedAt"], True)):
        graph = lab.get(f"/api/v1/graph?at={moment}")
        assert ("b" in [one["Metadata"]["Name"] for one in graph["Nodes"]]) == there


def test_an_answer_about_the_past_waits_for_nothing(lab: Lab) -> None:
    lab.get(f"/api/v1/graph?at={ms(2_000_000)}")
    lab.get(f"/api/v1/diff?from={ms(1_000_000)}&to={ms(2_000_000)}")
    assert lab.caught_up == 0


def test_the_graph_of_the_past_has_no_counters_of_now(lab: Lab) -> None:
    graph = lab.get(f"/api/v1/graph?at={ms(2_000_000)}")
    [node] = [one for one in graph["Nodes"] if one["Metadata"]["Name"] == "a"]
    assert node["Metadata"] == {"Name": "a", "Type": "veth", "MTU": 1500, "TID": "a"}
    assert (node["Revision"], node["ArchivedAt"], node["DeletedAt"]) == (1, ms(3_000_000), None)
    assert lab.get(f"/api/v1/graph?at={ms(0)}") == {"Nodes": [], "Edges": []}
    assert lab.get("/api/v1/graph?at=-7s") == graph


def test_what_is_gone_says_since_when(lab: Lab) -> None:
    lab.report(5_000_000, gone=(node_id("a"),))
    [node] = [one for one in lab.get("/api/v1/graph?at=-5s")["Nodes"] if one["Metadata"]["Name"] == "a"]
    assert node["DeletedAt"] == ms(5_000_000)


def test_differences_name_keys_with_both_values(lab: Lab) -> None:
    lab.report(5_000_000, NodeFact("b", {"Name": "b", "Type": "veth"}), gone=(node_id("h"),))
    found = {one["Element"]["Metadata"].get("Name", "edge"): one for one in lab.get("/api/v1/diff?from=-7s")}
    assert {name: one["Change"] for name, one in found.items()} == {
        "a": "changed",
        "h": "removed",
        "b": "added",
        "edge": "removed",
    }
    assert found["a"]["Keys"] == {"MTU": [1500, 9000]}
    assert found["edge"]["Element"]["Ends"] == ["h", "a"]
    assert lab.get("/api/v1/diff?from=-5s&to=-4.5s") == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/graph?at=soon", "'soon' is no moment"),
        ("/api/v1/graph?when=now", "'when' is not known: use at"),
        ("/api/v1/diff", "from: say since when"),
        ("/api/v1/diff?from=-5m&until=now", "'until' is not known: use from, to"),
    ],
)
def test_wrong_words_are_one_clear_error(lab: Lab, path: str, said: str) -> None:
    assert said in lab.get(path, 400)["error"]
