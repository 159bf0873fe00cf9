"""Grafana's data source: linted, typed, tested and built; and, built, in real Chromium with a real hub."""

from __future__ import annotations

import itertools
import json
import re
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.grafana import PLUGIN, ROOT, by_npm, driven, installed
from support.grafanarecording import FOLDER, prepare, record, shape
from support.labs import laboratory
from support.netlab import until
from support.ports import free_port

from skytrail.cli.hub import HubProcess
from skytrail.http.credentials import make_token
from skytrail.http.roles import NAMES, needed
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Http, Hub, Settings

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

VARYING = re.compile(
    r"\.(Metadata|properties|NAT|ICMP|Process|Container|Owner|Keys|Causes|Losses|Agents|Steps|Predicates)\b|TCPMetric"
)
"""Where an answer has what there is just then; that the data source takes any."""


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    installed()


@pytest.fixture(scope="module")
def built(packages: None) -> Path:
    by_npm("build")
    return PLUGIN / "dist"


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with laboratory("two-hosts") as (lab, plan):
        prepare(lab, plan)
        yield f"http://{lab.hub}"


@pytest.mark.parametrize("script", ["lint", "typecheck", "test:ci"])
def test_its_own_checks(script: str) -> None:
    by_npm(script)


def test_what_is_built_is_what_grafana_loads_and_the_same_each_time(built: Path) -> None:
    manifest = json.loads((built / "plugin.json").read_text())
    assert manifest["id"] == "skytrail-topology-datasource"
    assert manifest["info"]["version"] == json.loads((PLUGIN / "package.json").read_text())["version"]
    for logo in manifest["info"]["logos"].values():
        assert (built / logo).exists()
    for screenshot in manifest["info"]["screenshots"]:
        assert (built / screenshot["path"]).exists()
    assert (built / "README.md").read_text().startswith("# ")
    before = {path: sha256(path.read_bytes()).hexdigest() for path in built.rglob("*") if path.is_file()}
    by_npm("build")
    assert {path: sha256(path.read_bytes()).hexdigest() for path in built.rglob("*") if path.is_file()} == before


def test_a_token_goes_only_where_reading_is_enough() -> None:
    for route in json.loads((PLUGIN / "src/plugin.json").read_text())["routes"]:
        path = f"/{route['path']}"
        assert needed(route["method"], f"{path}graph" if path.endswith("/") else path) == NAMES["read"], route


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (PLUGIN / "package-lock.json").read_text()


def test_what_was_recorded_is_what_a_hub_answers(hub: str) -> None:
    now = record(hub)
    before = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    assert now.keys() == before.keys(), "record them anew: python -m support.grafanarecording"
    for name, answer in before.items():
        gone = {one for one in shape(answer) if not VARYING.search(one)} - set(shape(now[name]))
        assert not gone, f"{name} is answered otherwise by now: python -m support.grafanarecording"


def frames_of(answered: Any) -> dict[str, dict[str, list[Any]]]:
    """Columns of frames, by the frames' names."""
    assert answered["errors"] == []
    found = {}
    for frame in answered["frames"]:
        schema = frame["schema"]
        names = [field["name"] for field in schema["fields"]]
        found[schema.get("name", "")] = dict(zip(names, frame["data"]["values"], strict=True))
    return found


def abandoned(hub: str) -> float:
    """How many queries the hub has ended because nobody waited for them."""
    with urllib.request.urlopen(f"{hub}/metrics") as answer:
        told = answer.read().decode()
    return float(re.findall(r'^skytrail_gremlin_queries_total\{outcome="abandoned"\} (\S+)', told, re.MULTILINE)[0])


FILTERED = {"queryType": "table", "gremlin": "G.V().Has('@Host', 'h1', 'Type', 'veth')"}
FILTERS = [("MTU", "=", "1500"), ("MTU", ">=", "1500"), ("MTU", "<=", "1500"), ("Name", "!=", "1"), ("MTU", "!=", "1500")]
"""What all of those have, and what none has."""

NASTY = ["'", '"', "\\", "') .V('", "x\\", "// ", "\n", "${a}", "1).V(", "\u0660"]


def test_queries_of_every_kind_against_a_real_hub(built: Path, hub: str) -> None:
    veth = "G.V().Has('@Host', 'h1', 'Name', 'a1', 'Type', 'veth')"
    flows = "G.Flows().Has('Network', '10.10.2.1', 'Transport', 80)"
    steps: list[list[Any]] = [
        ["test"],
        ["query", {"queryType": "graph", "gremlin": "G.V().Has('@Host', 'h1')"}],
        ["query", {"queryType": "graph", "gremlin": "g.V().has('@Host', 'h1')"}],
        ["query", {"queryType": "table", "gremlin": veth}],
        ["query", {"queryType": "table", "gremlin": veth.replace("'a1'", "$name")}, {"variables": {"name": ["a1", "a2"]}}],
        ["query", {"queryType": "table", "gremlin": "g.V().has('Name', regex('$name'))"}, {"variables": {"name": ["1", "a2"]}}],
        ["query", {"queryType": "timeseries", "gremlin": veth}],
        ["query", {"queryType": "flows", "gremlin": flows}],
        ["query", {"queryType": "timeseries", "gremlin": f"{flows}.Dedup().Metrics()"}],
        ["query", {"queryType": "trace", "conversation": "host 10.10.1.1 and host 10.10.2.1 and port 80"}],
        ["query", {"queryType": "path", "source": "10.10.1.1", "destination": "10.10.2.1"}, {"explore": True}],
        ["query", {"queryType": "changes", "gremlin": "G.V().Has('@Host', 'h1', 'Name', 'a2')", "edges": True}],
        ["query", {"queryType": "changes", "comparison": "ends"}],
        ["query", {"queryType": "table", "gremlin": "G.V().Hs('Name', 'a')"}],
        ["choices", "G.V().Has('Type', 'host').Values('Name')"],
        ["tags"],
        ["tags", "Flow.Application"],
        ["abandon", {"queryType": "table", "gremlin": "G.V()" + ".Both()" * 20}],
        *(
            ["query", FILTERED, {"filters": [{"key": key, "operator": operator, "value": value}]}]
            for key, operator, value in FILTERS
        ),
        *(
            ["query", {"queryType": "table", "gremlin": text}, {"variables": {"v": value}}]
            for value, text in itertools.product(
                NASTY, ["G.V().Has('Name', '$v').Count()", "g.V().has('Name', \"$v\").count()"]
            )
        ),
        ["failures"],
    ]
    before = abandoned(hub)
    told = driven(hub, steps)
    by = iter(told)
    assert next(by) == {"status": "success", "message": told[0]["message"]}
    graph, same = frames_of(next(by)), frames_of(next(by))
    assert {"h1", "br0", "a1", "a2"} <= set(graph["nodes"]["title"])
    assert sorted(graph["nodes"]["id"]) == sorted(same["nodes"]["id"])
    assert set(graph["edges"]["source"]) | set(graph["edges"]["target"]) <= set(graph["nodes"]["id"])
    assert "ownership" in graph["edges"]["mainstat"]
    assert frames_of(next(by))[""]["Name"] == ["a1"]
    assert sorted(frames_of(next(by))[""]["Name"]) == ["a1", "a2"]
    assert set(frames_of(next(by))[""]["Name"]) == {"a2"}
    series = next(by)
    assert {frame["schema"]["fields"][1]["config"]["displayNameFromDS"] for frame in series["frames"]} == {
        "h1 a1 RxBytes", "h1 a1 TxBytes",
    }  # fmt: skip
    assert any(rate for frame in series["frames"] for rate in frame["data"]["values"][1])
    conversations = frames_of(next(by))["flows"]
    assert set(conversations["B"]) == {"10.10.2.1:80"}
    of_flows = next(by)
    assert all(" → 10.10.2.1 80 " in one["schema"]["fields"][1]["config"]["displayNameFromDS"] for one in of_flows["frames"])
    assert len(of_flows["frames"]) == 2 * len(set(conversations["TrackingID"]))
    trace = next(by)
    assert [one["text"] for one in trace["frames"][0]["schema"]["meta"]["notices"]] == ["every packet arrived, both ways"]
    assert set(frames_of(trace)["nodes"]["title"]) >= {"a1", "br0", "b1"}
    path = frames_of(next(by))
    assert path["nodes"]["title"][-1] == "✔ arrives"
    assert path["hops"]["Interface"][0] == "eth0"
    changes = frames_of(next(by))["changes"]
    assert [text for text in changes["text"] if "MTU: 1500 → 1400" in text]
    assert "a2 –ownership→ lo added" in changes["title"]
    assert "added" in frames_of(next(by))["changes"]["change"]
    assert next(by)["errors"] == ["line 1, column 7: 'Hs' is no step: did you mean Has?"]
    assert [one["text"] for one in next(by)] == ["h1", "h2"]
    keys = [one["text"] for one in next(by)]
    assert {"Name", "@Host", "Flow.Network.A"} <= set(keys)
    assert "HTTP" in [one["text"] for one in next(by)] or "TCP" in str(told)
    assert next(by) is True, "a request that nobody waits for any more is ended"
    until(lambda: abandoned(hub) > before, 20, 0.2)
    several, *others = [len(frames_of(next(by))[""].get("Name", [])) for _ in FILTERS]
    assert several
    assert others == [several, several, several, 0]
    for value in NASTY:
        for _ in range(2):
            assert frames_of(next(by))[""] == {"Value": [0]}, value
    assert next(by) == []


def test_its_editors(built: Path, hub: str, tmp_path: Path) -> None:
    told = driven(
        hub,
        [
            ["panel", {"queryType": "graph", "gremlin": "G.V()"}],
            ["edit"],
            ["suggested", ".Ha"],
            ["press", "Escape"],
            ["suggested", "s('Nam"],
            ["press", "Enter"],
            ["press", "ArrowRight"],
            ["suggested", ", 'e"],
            ["press", "Enter"],
            ["shownQuery"],
            ["colours"],
            ["click", "Run query"],
            ["wait", "subtitle"],
            ["screenshot", str(tmp_path / "graph.png")],
            *([["choose", kind] for kind in ("Table", "Time series", "Flows", "Trace")]),
            ["fill", "Conversation", "port 80"],
            ["shownQuery"],
            ["click", "Run query"],
            ["wait", "every packet arrived"],
            ["choose", "Path"],
            ["fill", "From", "10.10.1.1"],
            ["fill", "To", "10.99.0.1"],
            ["click", "Run query"],
            ["wait", "no route to 10.99.0.1"],
            ["choose", "Changes"],
            ["choose", "Beginning and end"],
            ["shownQuery"],
            ["config"],
            ["fill", "Token", "secret"],
            ["shownOptions"],
            ["click", "Save & test"],
            ["wait", "2 agents"],
            ["screenshot", str(tmp_path / "config.png")],
            ["failures"],
        ],
    )
    suggested = [one for one in told if isinstance(one, list)]
    assert {"Has", "HasKey"} <= set(suggested[0])
    assert suggested[1][0] == "Name"
    assert suggested[2] == ["eth0"]
    assert len(suggested[3]) > 3, "steps, keys and texts have colours of their own"
    queries = [one for one in told if isinstance(one, dict) and "refId" in one]
    assert queries[0]["gremlin"] == "G.V().Has('Name', 'eth0')"
    assert (queries[1]["queryType"], queries[1]["conversation"]) == ("trace", "port 80")
    assert (queries[2]["queryType"], queries[2]["comparison"], queries[2]["destination"]) == ("changes", "ends", "10.99.0.1")
    options = next(one for one in told if isinstance(one, dict) and "secureJsonData" in one)
    assert options["secureJsonData"] == {"token": "secret"}
    assert "secret" not in json.dumps(options["jsonData"])
    assert told[-1] == []
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("graph.png", "config.png"))


def test_a_token_is_added_by_the_proxy(built: Path, tmp_path: Path) -> None:
    made, tokens = make_token("grafana", "read"), tmp_path / "tokens"
    tokens.write_text(f"{made.line}\n")
    tokens.chmod(0o600)
    listen = Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{free_port()}")
    hub = HubProcess(Settings(state_dir=str(tmp_path), hub=listen, http=Http(token_file=str(tokens))), read_host(""))
    hub.start()
    steps = [["test"], ["query", {"queryType": "table", "gremlin": "G.V().Count()"}]]
    try:
        (tested, refused), (known, answered) = (driven(hub.server.url, steps, token) for token in ("", made.secret))
    finally:
        hub.stop()
    assert tested["status"] == "error"
    assert "set a token" in tested["message"]
    assert "set a token" in refused["errors"][0]
    assert known["status"] == "success"
    assert frames_of(answered)[""]["Value"] == [0]


def test_the_page_is_of_the_repository_alone() -> None:
    for path in (*PLUGIN.glob("src/**/*"), *PLUGIN.glob("harness/*"), *FOLDER.glob("*")):
        if path.suffix in (".ts", ".tsx", ".mjs", ".json"):
            assert str(ROOT) not in path.read_text()
