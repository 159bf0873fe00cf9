"""Skydive's endpoint: what is asked of /api/topology and how it is answered."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.skydivegraphs import FixedGraphs, edge, node

from gremlin_api.execution import Capacity, Executor
from gremlin_api.http.endpoint import mounted
from gremlin_api.http.topology import TopologyEndpoint
from gremlin_api.interpreter.run import Allowance
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.http import server as http_server
from skytrail.http.credentials import make_token
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

GRAPH = [
    node("n1", {"Name": "eth0", "Type": "device"}),
    node("n2", {"Name": 'br"0', "Type": "bridge"}),
    edge("e1", "n2", "n1", {"RelationType": "layer2"}),
    *(node(f"m{at}", {"Name": f"veth{at}", "Type": "veth"}) for at in range(100)),
    *(edge(f"f{at}", f"m{at}", f"m{(at + 1) % 100}", {"RelationType": "layer2"}) for at in range(100)),
]

ENDLESS = "G.V()" + ".Both()" * 30 + ".Has('Name', 'none')"
SECONDS = 5


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("nobody asks for anything else here")


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    executor = Executor(Capacity(running=1))
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def port(executor: Executor) -> Iterator[int]:
    endpoint = TopologyEndpoint(SkydiveAnswerer(FixedGraphs(GRAPH), Allowance(seconds=SECONDS)), executor)
    with http_server.serve(mounted({"/api/topology": endpoint}, {}, _nothing), "127.0.0.1:0", Http()) as served:
        yield served.port


class Client:
    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(
        self, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection.request(method, "/api/topology", sent, headers or {})
        answer = connection.getresponse()
        found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        connection.close()
        return found


@pytest.fixture
def ask(port: int) -> Client:
    return Client(port)


def test_a_query_is_answered_as_json(ask: Client) -> None:
    status, headers, body = ask({"GremlinQuery": "G.V().Has('Name', 'eth0')", "Else": 1})
    assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
    assert body.endswith(b"]\n")
    assert json.loads(body) == [
        {"ID": "n1", "Metadata": {"Name": "eth0", "Type": "device"}, "Host": "host1", "Origin": "agent.host1",
         "CreatedAt": 0, "UpdatedAt": 0, "DeletedAt": None, "Revision": 1},
    ]  # fmt: skip
    assert ask({"gremlinquery": "g.v().count()"})[2] == b"102\n"
    assert ask({"GremlinQuery": "G.V().Values('None')"})[2] == b"null\n"


@pytest.mark.parametrize(
    ("query", "metadata"),
    [
        ("G.V().Has('Name', 'eth0')", [{"Name": "eth0"}]),
        ("G.V().Has('Name', 'eth0').In().SubGraph()", [[{"Name": 'br"0'}], []]),
        ("G.V().Has('Name', 'eth0').InE().SubGraph()", [[{"Name": 'br"0'}, {"Name": "eth0"}], [{}]]),
        ("G.V().Has('Name', 'eth0').ShortestPathTo(Metadata('Type', 'bridge'))", [[{"Name": "eth0"}, {"Name": 'br"0'}]]),
        ("G.V().Has('Name', 'eth0').ValueMap('Name', 'Type')", [{"Name": "eth0", "Type": "device"}]),
    ],
)
def test_elements_have_only_the_keys_that_are_named(ask: Client, query: str, metadata: Any) -> None:
    def shown(value: Any) -> Any:
        if isinstance(value, list):
            return [shown(one) for one in value]
        return [shown(value["Nodes"]), shown(value["Edges"])] if "Nodes" in value else value.get("Metadata", value)

    status, _, body = ask({"GremlinQuery": query, "Keys": ["Name", "None", "Name"]})
    told = shown(json.loads(body))
    assert status == 200
    assert (told[0] if query.endswith("SubGraph()") else told) == metadata


@pytest.mark.parametrize("body", [b"", b"  ", {"GremlinQuery": ""}, {"GremlinQuery": "  "}, {"Query": "G.V()"}, {}])
def test_no_query_is_no_answer(ask: Client, body: Any) -> None:
    assert ask(body)[::2] == (204, b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"GremlinQuery": "G.V().Hass()"}, b"line 1, column 7: 'Hass' is no step: did you mean Has?\n"),
        ({"GremlinQuery": "V()"}, b"line 1, column 1: a query begins with 'G', not with 'V'\n"),
        ({"GremlinQuery": "G.V('does-not-exist')"}, b"Node 'does-not-exist' does not exist\n"),
        ({"GremlinQuery": "G.V().Limit('x')"}, b"line 1, column 7: Limit() takes "),
        ({"GremlinQuery": "G.Flows()"}, b"line 1, column 3: Flows() asks the flow tables"),
        ({"GremlinQuery": ENDLESS}, b"the traversal took longer than 5 s"),
        ({"GremlinQuery": "G.V().Has('Name', Regex('\ud800'))"}, b"the body is no JSON: "),
        ({"GremlinQuery": 1}, b"GremlinQuery is text\n"),
        ({"GremlinQuery": "G.V()", "Keys": "Name"}, b"Keys is a list of keys of Metadata"),
        ({"GremlinQuery": "G.V()", "Keys": [1]}, b"Keys is a list of keys of Metadata"),
        ([], b'the body is {"GremlinQuery": "G.V()"}\n'),
        (b"{", b"the body is no JSON: "),
        (b'"\xff"', b"the body is no JSON: "),
        (b"[" * 100_000, b"the body is no JSON: "),
    ],
)
def test_an_error_is_one_line_of_text(ask: Client, body: Any, reason: bytes) -> None:
    status, headers, told = ask(body)
    assert (status, headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert told.startswith(reason)
    assert told.endswith(b"\n")
    assert told.count(b"\n") == 1


def test_the_whole_graph_is_an_object(ask: Client) -> None:
    status, headers, body = ask(None, method="GET")
    assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
    graph = json.loads(body)
    assert (len(graph["Nodes"]), len(graph["Edges"])) == (102, 101)
    assert json.loads(ask({"GremlinQuery": "G"})[2]) == [graph]
    assert ask(None, method="HEAD")[2] == b""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(ask: Client, method: str) -> None:
    status, headers, _ = ask({"GremlinQuery": "G"}, method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD, POST")


def test_a_graph_is_told_for_graphviz(ask: Client) -> None:
    query = {"GremlinQuery": "G.V().Has('Type', Within('device', 'bridge')).SubGraph()"}
    status, headers, body = ask(query, {"Accept": "text/vnd.graphviz"})
    assert (status, headers["content-type"]) == (200, "text/vnd.graphviz; charset=UTF-8")
    assert body.decode().splitlines() == [
        "graph topology {", "  node [shape=box];", '  "n1" [label="eth0\\ndevice"];', '  "n2" [label="br\\"0\\nbridge"];',
        '  "n2" -- "n1" [style=solid, label="layer2"];', "}",
    ]  # fmt: skip
    assert ask({"GremlinQuery": "G"}, {"Accept": "text/vnd.graphviz"})[0] == 200
    for accept in ("text/vnd.graphviz", "application/vnd.tcpdump.pcap"):
        status, _, body = ask({"GremlinQuery": "G.V()"}, {"Accept": accept})
        assert (status, body) == (406, f"{accept} tells another kind of answer than nodes: ask for application/json\n".encode())


@pytest.mark.parametrize("accept", ["nonsense", "*/*", "text/html, application/json", "text/plain;q=0.1"])
def test_any_other_accept_header_is_answered_as_json(ask: Client, accept: str) -> None:
    assert ask({"GremlinQuery": "G.V().Count()"}, {"Accept": accept})[1]["content-type"] == "application/json; charset=UTF-8"


def test_a_large_answer_is_made_smaller(ask: Client) -> None:
    query = {"GremlinQuery": "G.V()"}
    status, headers, body = ask(query, {"Accept-Encoding": "deflate, gzip;q=0.5"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == ask(query)[2]
    assert int(headers["content-length"]) == len(body) < 10_000
    assert "content-encoding" not in ask(query, {"Accept-Encoding": "gzip;q=0"})[1]
    assert "content-encoding" not in ask({"GremlinQuery": "G.V().Count()"}, {"Accept-Encoding": "gzip"})[1]


def test_work_ends_when_its_client_has_gone(port: int, executor: Executor) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/api/topology", json.dumps({"GremlinQuery": ENDLESS}))
    connection.close()
    time.sleep(0.2)  # so that it is the query that holds the only thread
    executor.submit(lambda _: None, threading.Event()).result(timeout=SECONDS / 2)


def test_packets_themselves_need_the_role_of_capture(executor: Executor, tmp_path: Path) -> None:
    made = {role: make_token(role, role) for role in ("read", "capture")}
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join(one.line for one in made.values()))
    endpoint = TopologyEndpoint(SkydiveAnswerer(FixedGraphs(GRAPH), Allowance(seconds=SECONDS)), executor)
    app = mounted({"/api/topology": endpoint}, {}, _nothing)
    with http_server.serve(app, "127.0.0.1:0", Http(token_file=str(tokens))) as served:

        def ask(role: str, query: str) -> tuple[int, bytes]:
            sent = {"Authorization": f"Bearer {made[role].secret}"}
            status, _, body = Client(served.port)({"GremlinQuery": query}, sent)
            return status, body

        refused = (403, b'{"error": "RawPackets needs the role capture", "status": 403}\n')
        assert ask("read", "G.Flows().RawPackets()") == ask("read", "g.flows().limit(1).rawpackets()") == refused
        assert ask("capture", "G.Flows().RawPackets()")[0] != 403
        assert ask("read", "G.V().Has('Name', 'RawPackets').Count()")[0] == 200
