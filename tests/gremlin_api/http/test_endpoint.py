"""Our HTTP endpoint and a real Gremlin Server's, asked the same."""

from __future__ import annotations

import http.client
import json
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from lab.gremlinserver import Server
from support.agreeing import Held, copied
from support.toygraphs import ring

from gremlin_api.answering import Answerer
from gremlin_api.execution import Capacity, Executor
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted
from gremlin_api.interpreter.run import Allowance
from skytrail.http import server as http_server
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

pytestmark = pytest.mark.lab

ID = "41d2e28a-20a4-4ab0-b379-d810dede3786"
LANG = {"language": "gremlin-lang", "requestId": ID}
JSON = {"Content-Type": "application/json"}
SOURCE = "SOURCE"
"""The name of the graph's traversal source: another on each server."""
ASKED = {**LANG, "aliases": {"g": SOURCE}}
V3 = "application/vnd.gremlin-v3.0+json"


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"rest"})


def _served(graph: MemoryGraph, capacity: Capacity, seconds: float) -> Iterator[int]:
    executor = Executor(capacity)
    endpoint = GremlinEndpoint(Answerer(Held(graph), Allowance(seconds)), executor)
    with http_server.serve(mounted({GREMLIN: endpoint}, {}, _nothing), "127.0.0.1:0", Http()) as served:
        yield served.port
    executor.close()


@pytest.fixture(scope="module")
def ours(server: Server) -> Iterator[int]:
    yield from _served(copied(server)["modern"], Capacity(), 20)


@pytest.fixture(scope="module")
def busy() -> Iterator[int]:
    yield from _served(ring(200), Capacity(running=1, waiting=1), 3)


def ask(port: int, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, dict(headers or {}))
        answer = connection.getresponse()
        kind, text = answer.headers.get("Content-Type", ""), answer.read()
    finally:
        connection.close()
    return answer.status, kind, json.loads(text) if "json" in kind else text.decode()


def both(server: Server, ours: int, method: str, path: str, body: Any = None, headers: Any = None) -> None:
    answers = []
    for port, source in ((server.port, "gmodern"), (ours, "g")):
        content = body if isinstance(body, bytes | None) else json.dumps(body).replace(SOURCE, source).encode()
        answers.append(ask(port, method, path.replace(SOURCE, source), content, headers))
    there, here = answers
    if there[0] == 200:
        assert here == there
        return
    assert here[:2] == there[:2]
    assert here[2].keys() >= {"message"}
    assert here[2].get("requestId") == there[2].get("requestId")
    assert ("Exception-Class" in here[2]) == ("Exception-Class" in there[2])


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", V3, f"{V3};types=false", "text/plain", f"text/plain;q=0.5,{V3};q=0.1"]
)
@pytest.mark.parametrize(
    "query",
    ["g.V().count()", "g.V(1)", "g.V().has('name', 'marko').out('created').values('name')", "g.V(1).outE('created')",
     "g.V().hasLabel('software').valueMap().order().by(select('name').unfold())", "g.V(1).out('created').path()",
     "g.V(99)", "g.inject([1, 'a', 1.5d, null, true])", "g.V(1).values('name').tryNext()", "g.V(99).tryNext()"],
)  # fmt: skip
def test_answers_are_the_same(server: Server, ours: int, query: str, accept: str) -> None:
    body = {"gremlin": query, **ASKED}
    both(server, ours, "POST", "/gremlin", body, JSON | {"Accept": accept})


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", f"/?{urlencode(LANG | {'gremlin': 'g.V().count()', 'aliases.g': SOURCE})}", None, {}),
        ("GET", f"/gremlin?{urlencode(LANG | {'gremlin': 'g.V(x).id()', 'bindings.x': '1', 'aliases.g': SOURCE})}", None, {}),
        ("GET", "/gremlin", None, {}),
        ("GET", "/gremlin?gremlin=", None, {}),
        ("POST", "/gremlin", b"{", JSON),
        ("POST", "/gremlin", b"", JSON),
        ("POST", "/gremlin", {"query": "g.V()"}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V()", "bindings": 1}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V()", "aliases": []}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V()", "aliases": {"g": "nope"}, "requestId": ID}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V(x).id()", "bindings": {"x": 1}, **ASKED}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V().nope()", **ASKED}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V().fail('x')", **ASKED}, JSON),
        ("POST", "/gremlin", {"gremlin": "g.V()", **ASKED}, JSON | {"Accept": "image/png"}),
        ("POST", "/", {"gremlin": "g.V().count()", **ASKED}, {}),
        ("PUT", "/gremlin", {"gremlin": "g.V().count()"}, JSON),
    ],
)  # fmt: skip
def test_requests_of_each_form_have_the_same_answers(
    server: Server, ours: int, method: str, path: str, body: Any, headers: Any
) -> None:
    both(server, ours, method, path, body, headers)


def test_what_a_traversal_took_can_be_in_a_set(ours: int) -> None:
    for form in ("toSet", "toBulkSet"):
        status, _, told = ask(ours, "POST", "/gremlin", {"gremlin": f"g.V().profile().{form}()", **LANG}, JSON)
        assert status == 200
        assert "g:TraversalMetrics" in json.dumps(told)


def test_the_check_line_of_janusgraphs_documentation_works(ours: int) -> None:
    status, _, body = ask(ours, "POST", "/", {"gremlin": "g.V().count()"}, JSON)
    assert (status, body["result"]["data"]["@value"]) == (200, [{"@type": "g:Int64", "@value": 6}])
    assert uuid.UUID(body["requestId"])


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 900_000,
        b'{"gremlin":' * 80_000,
        b'{"gremlin": "g.V()", "bindings": {"x": ' + b"[" * 100_000,
        b"\xff\xfe",
        b"\x21x",
    ],
)
def test_bodies_that_mean_harm_are_refused(ours: int, body: bytes) -> None:
    status, _, told = ask(ours, "POST", "/gremlin", body, JSON)
    assert (status, told) == (400, {"message": "body could not be parsed"})
    assert ask(ours, "POST", "/gremlin", {"gremlin": "g.V().count()"}, JSON)[0] == 200


def test_half_a_character_is_written_as_a_question_mark(ours: int) -> None:
    status, _, body = ask(ours, "POST", "/gremlin", {"gremlin": "g.inject('a\\ud83d\\ude00').substring(0, 2)"}, JSON)
    assert (status, body["result"]["data"]["@value"]) == (200, ["a?"])


def test_other_paths_are_not_the_endpoints(ours: int) -> None:
    assert ask(ours, "GET", "/")[::2] == (404, "rest")
    assert ask(ours, "POST", "/healthz", {}, JSON)[::2] == (404, "rest")


def test_a_query_ends_in_time_and_when_its_client_has_gone(busy: int) -> None:
    endless = {"gremlin": "g.V().repeat(both()).emit().path().none()"}
    status, _, body = ask(busy, "POST", "/gremlin", endless, JSON)
    assert (status, body["Exception-Class"]) == (500, "java.util.concurrent.TimeoutException")
    gone = socket.create_connection(("127.0.0.1", busy))
    content = json.dumps(endless).encode()
    gone.sendall(b"POST /gremlin HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    time.sleep(0.3)
    gone.close()
    began = time.monotonic()
    assert ask(busy, "POST", "/gremlin", {"gremlin": "g.V().count()"}, JSON)[0] == 200
    assert time.monotonic() - began < 2


def test_queries_that_find_no_place_are_refused_and_told_when_to_come_back(busy: int) -> None:
    content = json.dumps({"gremlin": "g.V().repeat(both()).emit().path().none()"}).encode()
    request = b"POST /gremlin HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    waiting = [socket.create_connection(("127.0.0.1", busy)) for _ in range(2)]
    try:
        for one in waiting:
            one.sendall(request)
            time.sleep(0.2)
        connection = http.client.HTTPConnection("127.0.0.1", busy, timeout=30)
        connection.request("POST", "/gremlin", b'{"gremlin": "g.V().count()"}', JSON)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        connection.close()
    finally:
        for one in waiting:
            one.close()
