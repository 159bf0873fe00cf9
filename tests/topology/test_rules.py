"""Rules of people: what they make is in the graph as long as they are, and follows what their queries find."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.netlab import until

from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from skytrail.cli.endpoints import finder
from skytrail.http.app import create_app
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.resources import resources_blueprint
from topology.rules import EdgeRule, NodeRule, Rules
from topology.shape import element_json
from topology.store.embedded.store import EmbeddedStore

LINUX = Source("netlink", "host1", tid="h")
HOST, ETH0 = NodeFact("h", {"Name": "h1", "Type": "host"}), NodeFact("h/e", {"Name": "eth0", "Type": "device"})
OWNS = EdgeFact("h", "h/e", "ownership")
ID = "2d6a4f5c-0f2e-4c55-9d2b-8a4e5f1b7c10"


class Hub:
    """A store, what writes to it, and its rules."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000
        self.store = EmbeddedStore(folder)
        self.reconciler = Reconciler(self.store, "hub/1", self.clock)
        self.executor = Executor()
        graphs = StoredGraphs(self.store, NOTHING_SHOWN, self.clock)
        find, changes = finder(graphs, self.executor), lambda: self.reconciler.counters.changes
        self.rules = Rules(self.store, self.reconciler.report, find, "host1", changes, self.clock)
        app = create_app("hub", dict, dict, [resources_blueprint(self.rules, "host1", {"hub.listen": "127.0.0.1:8082"})])
        self.client: FlaskClient = app.test_client()

    def clock(self) -> int:
        self.now += 1
        return self.now

    def see(self, *facts: NodeFact | EdgeFact, gone: tuple[str, ...] = ()) -> None:
        self.reconciler.report(Report(LINUX, self.clock(), facts, gone))

    def nodes(self) -> dict[str, dict[str, Any]]:
        """By name."""
        found = map(element_json, self.store.current())
        return {one["Metadata"]["Name"]: one for one in found if "Parent" not in one}

    def edges(self) -> set[tuple[str, str, str]]:
        found = list(map(element_json, self.store.current()))
        names = {one["ID"]: one["Metadata"].get("Name", "") for one in found}
        return {
            (names[one["Parent"]], names[one["Child"]], one["Metadata"]["RelationType"]) for one in found if "Parent" in one
        }

    def close(self) -> None:
        self.rules.stop()
        self.executor.close()
        self.reconciler.close()
        self.store.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    hub.see(HOST, ETH0, OWNS)
    hub.rules.start()
    yield hub
    hub.close()


def test_a_node_that_a_rule_makes_is_there_until_the_rule_goes(hub: Hub) -> None:
    made = hub.rules.add("noderule", NodeRule({"Name": "tor1", "Type": "switch", "Rack": 7}, "create"))
    node = hub.nodes()["tor1"]
    assert (node["Metadata"]["Type"], node["Metadata"]["Rack"], node["Origin"]) == ("switch", 7, "hub.host1")
    assert hub.rules.remove("noderule", made.UUID)
    assert not hub.rules.remove("noderule", made.UUID)
    assert set(hub.nodes()) == {"h1", "eth0"}


def test_what_a_rule_adds_is_taken_back_and_never_takes_a_probes_place(hub: Hub) -> None:
    made = hub.rules.add("noderule", NodeRule({"Owner": "alice", "State": "x"}, "update", "G.V().Has('Type', 'device')"))
    hub.see(NodeFact("h/e", {"Name": "eth0", "Type": "device", "State": "UP"}))
    metadata = hub.nodes()["eth0"]["Metadata"]
    assert (metadata["Owner"], metadata["State"]) == ("alice", "UP")
    hub.rules.remove("noderule", made.UUID)
    assert "Owner" not in hub.nodes()["eth0"]["Metadata"]


def test_rules_follow_the_graph(hub: Hub) -> None:
    hub.rules.add("noderule", NodeRule({"Owner": "alice"}, "update", "G.V().Has('Name', Regex('eth.*'))"))
    hub.rules.add("noderule", NodeRule({"Name": "tor1", "Type": "switch"}, "create"))
    link = EdgeRule("G.V().Has('Name', 'tor1')", "G.V().Has('Name', Regex('eth.*'))", {"RelationType": "layer2", "Cable": 3})
    hub.rules.add("edgerule", link)
    assert hub.edges() == {("h1", "eth0", "ownership"), ("tor1", "eth0", "layer2")}
    hub.see(NodeFact("f", {"Name": "eth1", "Type": "device"}))
    until(lambda: ("tor1", "eth1", "layer2") in hub.edges(), 10)
    until(lambda: hub.nodes()["eth1"]["Metadata"].get("Owner") == "alice", 10)
    hub.see(NodeFact("f", {"Name": "wan", "Type": "device"}))
    until(lambda: ("tor1", "wan", "layer2") not in hub.edges() and "Owner" not in hub.nodes()["wan"]["Metadata"], 10)
    hub.see(gone=(ETH0.id,))
    until(lambda: hub.edges() == set(), 10)


def test_rules_outlive_a_restart(tmp_path: Path) -> None:
    before = Hub(tmp_path)
    before.see(HOST, ETH0, OWNS)
    before.rules.start()
    made = before.rules.add("noderule", NodeRule({"Name": "tor1", "Type": "switch"}, "create", Name="rack"))
    before.close()
    after = Hub(tmp_path)
    after.now = before.now + 1_000_000
    after.rules.start()
    try:
        assert after.rules.all("noderule") == {made.UUID: made}
        until(lambda: after.rules._said is not None, 10)
        assert "tor1" in after.nodes()
        after.rules.remove("noderule", made.UUID)
        assert "tor1" not in after.nodes()
    finally:
        after.close()


def test_a_rule_goes_after_its_time(hub: Hub) -> None:
    answer = hub.client.post(
        "/api/noderule",
        json={"Action": "create", "Metadata": {"Name": "t", "Type": "switch"}},
        headers={"X-Resource-TTL": "1m"},
    )
    assert answer.status_code == 201
    hub.now += 59_000_000
    hub.see(NodeFact("f", {"Name": "eth1", "Type": "device"}))
    until(lambda: "eth1" in hub.nodes(), 10)
    assert "t" in hub.nodes()
    hub.now += 2_000_000
    until(lambda: "t" not in hub.nodes(), 5)
    assert hub.client.get("/api/noderule").json == {}


def test_rules_of_one_node_add_to_each_other(hub: Hub) -> None:
    hub.rules.add("noderule", NodeRule({"Name": "tor1", "Type": "switch"}, "create"))
    for told in ({"Owner": "alice", "Rack": 1}, {"Rack": 7}):
        hub.rules.add("noderule", NodeRule(told, "update", "G.V().Has('Type', Within('switch', 'device'))"))
    for name in ("tor1", "eth0"):
        told = hub.nodes()[name]["Metadata"]
        assert (told["Owner"], told["Rack"]) == ("alice", 7)  # the later one's
    [first, *_] = [one.UUID for one in hub.rules.all("noderule").values() if one.Metadata.get("Owner")]
    hub.rules.remove("noderule", first)
    assert (hub.nodes()["tor1"]["Metadata"].get("Owner"), hub.nodes()["tor1"]["Metadata"]["Rack"]) == (None, 7)


UNDONE_BY_ITSELF = [NodeRule({"Owner": "bob"}, "update", "G.V().Has('Type', 'device').HasNot('Owner')")]
UNDONE_BY_EACH_OTHER = [
    NodeRule({"A": 1}, "update", "G.V().Has('Type', 'device').HasNot('B')"),
    NodeRule({"B": 1}, "update", "G.V().Has('A', 1)"),
]


@pytest.mark.parametrize("rules", [UNDONE_BY_ITSELF, UNDONE_BY_EACH_OTHER])
def test_rules_that_undo_themselves_are_left_out_and_said(hub: Hub, rules: list[NodeRule]) -> None:
    steady = hub.rules.add("noderule", NodeRule({"Rack": 7}, "update", "G.V().Has('Type', 'device')"))
    for rule in rules:
        hub.rules.add("noderule", rule)
    assert len(hub.rules.failures) >= 1
    assert all("undo itself" in reason for reason in hub.rules.failures.values())
    assert steady.UUID not in hub.rules.failures
    before = hub.store.health().sequence
    hub.see(NodeFact("f", {"Name": "eth1", "Type": "device"}))
    until(lambda: hub.nodes()["eth1"]["Metadata"].get("Rack") == 7, 10)
    assert hub.store.health().sequence <= before + 3  # it came, and was told of once or twice


def test_a_rule_that_would_link_too_much_is_left_out_before_it_is_made(hub: Hub) -> None:
    hub.see(*(NodeFact(f"n{number}", {"Name": f"n{number}", "Type": "device"}) for number in range(5000)))
    tracemalloc.start()
    rule = hub.rules.add("edgerule", EdgeRule("G.V()", "G.V()", {"RelationType": "layer2"}))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200 << 20  # 25 million pairs are a gigabyte and more
    assert f"{5002 * 5001} pairs" in hub.rules.failures[rule.UUID]
    assert hub.edges() == {("h1", "eth0", "ownership")}


def test_what_changes_while_rules_are_applied_is_seen_at_the_next_look(hub: Hub) -> None:
    hub.rules.add("edgerule", EdgeRule("G.V().Has('Owner', 'alice')", "G.V().Has('Name', 'h1')", {"RelationType": "layer2"}))
    hub.rules.add("noderule", NodeRule({"Owner": "alice"}, "update", "G.V().Has('Name', 'eth1')"))
    hub.see(NodeFact("f", {"Name": "eth1", "Type": "device"}))
    until(lambda: ("eth1", "h1", "layer2") in hub.edges(), 5)  # sooner than all is asked again in any case


def test_rules_that_another_hub_keeps_are_read(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.rules._AGAIN", 0.2)
    kept = b'{"rule": {"Metadata": {"Name": "tor1", "Type": "switch"}, "Action": "create", "UUID": "%s"}}' % ID.encode()
    hub.store.put_resource("noderule", ID, kept)
    until(lambda: "tor1" in hub.nodes(), 10)
    assert hub.client.get("/api/noderule").json.keys() == {ID}
    hub.store.put_resource("noderule", ID, None)
    until(lambda: "tor1" not in hub.nodes(), 10)


def test_the_rest_of_rules(hub: Hub) -> None:
    rule = {"Name": "rack", "Action": "create", "Metadata": {"Name": "tor1", "Type": "switch"}}
    made = hub.client.post("/api/noderule", json=rule)
    assert made.status_code == 201
    told = made.json
    assert told == {**rule, "Query": "", "Description": "", "UUID": told["UUID"]}
    assert hub.client.get("/api/noderule").json == {told["UUID"]: told}
    assert hub.client.get(f"/api/noderule/{told['UUID']}").json == told
    assert hub.client.get("/api/edgerule").json == {}
    assert hub.client.post("/api/noderule", json=rule).status_code == 409
    assert hub.client.post("/api/noderule", json={**told, "Name": "other"}).status_code == 409
    assert hub.client.put(f"/api/noderule/{told['UUID']}", json=rule).status_code == 405
    gone = hub.client.delete(f"/api/noderule/{told['UUID']}")
    assert (gone.status_code, gone.data) == (200, b"")
    assert hub.client.delete(f"/api/noderule/{told['UUID']}").status_code == 404
    assert hub.client.get(f"/api/noderule/{told['UUID']}").status_code == 404
    yaml = "Src: G.V().Has('Type', 'host')\nDst: G.V().Has('Type', 'device')\nMetadata: {RelationType: layer2}\n"
    made = hub.client.post("/api/edgerule", data=yaml, content_type="application/yaml")
    assert made.status_code == 201
    assert ("h1", "eth0", "layer2") in hub.edges()


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("noderule", {"Action": "create", "Metadata": {"Name": "a"}}, "Metadata: a node needs a Type that is text"),
        ("noderule", {"Action": "make", "Metadata": {}}, "Invalid enum value 'make' - at `$.Action`"),
        (
            "noderule",
            {"Action": "update", "Metadata": {"Name": "x"}, "Query": "G.V()"},
            "Name of a node is its probe's",
        ),
        ("noderule", {"Action": "update", "Metadata": {}, "Query": "G.V("}, "Query: line 1, column 5: an argument is expected"),
        ("noderule", {"Action": "update", "Metadata": {}, "Query": "G.E()"}, "Query: it gives edges: a rule asks for nodes"),
        ("noderule", {"Action": "update", "Metadata": {}, "Query": "G.V('none')"}, "Query: Node 'none' does not exist"),
        ("edgerule", {"Src": "G.V()", "Dst": "G.V()", "Metadata": {}}, "Metadata: an edge needs a RelationType that is text"),
        ("edgerule", {"Src": "G.V()", "Dst": "x", "Metadata": {"RelationType": "a"}}, "Dst: line 1, column 1: "),
        ("edgerule", {"Metadata": {"RelationType": "a"}}, "missing required field `Src`"),
        ("noderule", {"Action": "create", "Metadata": {"Name": "a", "Type": "b"}, "UUID": "a/b"}, "UUID: leave it away"),
        ("edgerule", [], "Expected `object`, got `array`"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(hub: Hub, kind: str, body: Any, reason: str) -> None:
    answer = hub.client.post(f"/api/{kind}", json=body)
    assert answer.status_code == 400
    assert reason in answer.json["error"]
    assert hub.client.get(f"/api/{kind}").json == {}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghijklmnopqrst")
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BOMB, "it has an alias"),
        ("Action: create\nMetadata: &m {Name: a, Type: b, s: *m}", "it has an alias"),
        ("Action: create\nMetadata: {Name: a, Type: b, d: 2026-99-99}", "month must be in 1..12"),
        ("Action: create\nMetadata: {Name: a, Type: b, d: !!python/object:os.system x}", "could not determine a constructor"),
        ("Action: create\nMetadata: {Name: a, Type: b, d: {[1]: 2}}", "unhashable"),
        ("Action: create\nMetadata: {Name: a, Type: b, d: " + 101 * "[" + 101 * "]" + "}", "nested more than 100 deep"),
        ("Action: create\nMetadata: {Name: a, Type: b, d: " + 10_000 * "[" + "}", "nested too deeply"),
        ("\0", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_no_rule_is_refused(hub: Hub, body: str, reason: str) -> None:
    answer = hub.client.post("/api/noderule", data=body, content_type="application/yaml")
    assert (answer.status_code, reason in answer.json["error"]) == (400, True), answer.json
    assert "\n" not in answer.json["error"]


def test_who_answers_and_its_settings(hub: Hub) -> None:
    told = hub.client.get("/api").json
    assert (told["Host"], told["Service"]) == ("host1", "hub")
    assert hub.client.get("/api/config/hub.listen").json == "127.0.0.1:8082"
    assert hub.client.get("/api/config/hub.none").status_code == 404
    for bad in ("soon", "-1s", "0s"):
        assert hub.client.post("/api/noderule", json={}, headers={"X-Resource-TTL": bad}).status_code == 400


def test_the_document_names_all_routes(hub: Hub) -> None:
    told = json.loads(hub.client.get("/api/openapi.json").data)
    app = hub.client.application
    routes = {
        (rule.rule.replace("<path:key>", "{key}").replace("<id_>", "{id}"), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("resources.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    elsewhere = {("/api/status", "get"), ("/api/topology", "get"), ("/api/topology", "post")}
    named = {(path, name) for path, about in told["paths"].items() for name in about if name != "parameters"}
    assert routes | elsewhere == named
