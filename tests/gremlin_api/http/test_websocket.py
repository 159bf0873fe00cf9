"""Gremlin's drivers, unmodified, against us and against a real Gremlin Server."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gremlin_python.driver.client import Client
from gremlin_python.driver.driver_remote_connection import DriverRemoteConnection
from gremlin_python.driver.protocol import GremlinServerError
from gremlin_python.driver.serializer import GraphBinarySerializersV1, GraphSONSerializersV2d0, GraphSONSerializersV3d0
from gremlin_python.process.anonymous_traversal import traversal
from gremlin_python.process.graph_traversal import GraphTraversalSource, __
from gremlin_python.process.strategies import SubgraphStrategy
from gremlin_python.process.traversal import Operator, Order, P, Scope, T, TextP
from lab.gremlinserver import Server
from support.agreeing import Held, copied
from support.toygraphs import ring
from werkzeug.security import generate_password_hash

from gremlin_api.answering import Answerer
from gremlin_api.execution import Executor
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted
from gremlin_api.http.websocket import GremlinSocket
from gremlin_api.interpreter.run import Allowance
from skytrail.http import server as http_server
from skytrail.http.guard import Receive, Send
from skytrail.http.guard import Scope as AsgiScope
from skytrail.settings.tree import Http

pytestmark = pytest.mark.lab

SERIALIZERS = {
    "GraphBinary": GraphBinarySerializersV1,
    "GraphSON 2": GraphSONSerializersV2d0,
    "GraphSON 3": GraphSONSerializersV3d0,
}

TRAVERSALS: dict[str, Callable[[GraphTraversalSource], Any]] = {
    "has": lambda g: g.V().has("name", "marko").out("created").values("name"),
    "has label": lambda g: g.V().has("person", "age", P.gt(30)).values("age"),
    "element": lambda g: g.V(1),
    "edges": lambda g: g.V(1).out_e().order().by("weight", Order.desc),
    "within": lambda g: g.V().has("name", P.within("josh", "peter")).id_(),
    "both ends": lambda g: g.V().has("age", P.gt(27).and_(P.lt(33))).values("name"),
    "text": lambda g: g.V().has("name", TextP.starting_with("m").or_(TextP.containing("dd"))).values("name"),
    "where": lambda g: g.V().as_("a").out("created").in_("created").where(P.neq("a")).values("name").dedup(),
    "repeat": lambda g: g.V(1).repeat(__.out()).times(2).path().by("name"),
    "group": lambda g: g.V().group().by(T.label).by(__.values("name").order().fold()),
    "group count": lambda g: g.V().group_count().by(T.label),
    "value map": lambda g: g.V().has_label("software").value_map(True),
    "element map": lambda g: g.E(7).element_map(),
    "project": lambda g: g.V(4).project("n", "c").by("name").by(__.out().count()),
    "choose": lambda g: g.V().choose(__.has("age"), __.values("age"), __.values("lang")),
    "sack": lambda g: (
        g.with_sack(1.0, Operator.mult).V(1).repeat(__.out_e().sack(Operator.mult).by("weight").in_v()).times(2).sack()
    ),
    "count local": lambda g: g.V().fold().count(Scope.local),
    "subgraph strategy": lambda g: (
        g.with_strategies(SubgraphStrategy(vertices=__.has_label("person"))).V().out().values("name")
    ),
    "union": lambda g: g.V(1).union(__.out().values("name"), __.constant([1, 2.5, None, True]), __.label()),
    "nothing": lambda g: g.V(99),
    "many": lambda g: g.V().repeat(__.both()).times(4).values("name"),
}


async def _nothing(scope: AsgiScope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope)


def _served(graph: MemoryGraph, settings: Http, seconds: float = 20) -> Iterator[str]:
    executor = Executor()
    answerer = Answerer(Held(graph), Allowance(seconds))
    spoken = mounted({GREMLIN: GremlinEndpoint(answerer, executor)}, {GREMLIN: GremlinSocket(answerer, executor)}, _nothing)
    with http_server.serve(spoken, "127.0.0.1:0", settings) as served:
        yield f"ws://127.0.0.1:{served.port}/gremlin"
    executor.close()


@pytest.fixture(scope="module")
def ours(server: Server) -> Iterator[str]:
    yield from _served(copied(server)["modern"], Http())


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    yield from _served(ring(200), Http(), 2)


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((_form(key), _form(one)) for key, one in value.items())
    if isinstance(value, list | set):
        return type(value).__name__, tuple(map(_form, value))
    return type(value).__name__, repr(value)


def _told(url: str, source: str, serializer: Any, ask: Callable[[GraphTraversalSource], Any]) -> list[Any]:
    connection = DriverRemoteConnection(url, source, message_serializer=serializer())
    try:
        found: list[Any] = ask(traversal().with_remote(connection)).to_list()
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_traversals_of_gremlinpython_have_the_servers_answers(server: Server, ours: str, serializer: str) -> None:
    for name, ask in TRAVERSALS.items():
        there = _told(server.ws, "gmodern", SERIALIZERS[serializer], ask)
        here = _told(ours, "g", SERIALIZERS[serializer], ask)
        assert Counter(map(_form, here)) == Counter(map(_form, there)), name


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_scripts_have_the_servers_answers(server: Server, ours: str, serializer: str) -> None:
    for query, bindings in [
        ("g.V().count()", {}), ("g.V().has('name', name).out().values('name')", {"name": "marko"}), ("g.V(99)", {}),
        ("g.V().order().by(id).limit(n).valueMap()", {"n": 2}), ("g.V().repeat(both()).times(5).id()", {}),
    ]:  # fmt: skip
        answers = []
        for url, source in ((server.ws, "gmodern"), (ours, "g")):
            client = Client(url, source, message_serializer=SERIALIZERS[serializer]())
            try:
                found = client.submit(query, bindings, {"language": "gremlin-lang", "batchSize": 7}).all().result()
            finally:
                client.close()
            answers.append(Counter(map(_form, found)))
        assert answers[0] == answers[1], query


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("g.V().nope()", 597),
        ("g.V().fail('x')", 595),
        ("g.V().values('name').sum()", None),
        ("g.V().map(values('x').next())", None),
        ("g.inject(1).math('_ / 0')", None),
    ],
)
def test_failures_have_the_servers_codes(server: Server, ours: str, query: str, code: int | None) -> None:
    codes = []
    for url, source in ((server.ws, "gmodern"), (ours, "g")):
        client = Client(url, source)
        try:
            with pytest.raises(GremlinServerError) as failed:
                client.submit(query, request_options={"language": "gremlin-lang"}).all().result()
        finally:
            client.close()
        codes.append(failed.value.status_code)
    assert codes[0] == codes[1]
    assert code in (None, codes[1])


def test_what_writes_is_refused(ours: str) -> None:
    for ask in (
        lambda g: g.add_v("x"),
        lambda g: g.V().drop(),
        lambda g: g.V().property("a", 1),
        lambda g: g.V().where(__.add_v("x")),
    ):
        with pytest.raises(GremlinServerError, match="refused"):
            _told(ours, "g", GraphBinarySerializersV1, ask)


def test_properties_are_left_out_where_they_are_not_wanted(ours: str) -> None:
    (vertex,) = _told(ours, "g", GraphBinarySerializersV1, lambda g: g.V(1))
    assert {one.key for one in vertex.properties} == {"name", "age"}
    (bare,) = _told(ours, "g", GraphBinarySerializersV1, lambda g: g.with_("materializeProperties", "tokens").V(1))
    assert not bare.properties


def _endless(g: GraphTraversalSource) -> Any:
    return g.V().repeat(__.both()).emit().path().none()


def test_a_request_may_say_how_long_it_may_take(busy: str) -> None:
    began = time.monotonic()
    with pytest.raises(GremlinServerError) as failed:
        _told(busy, "g", GraphBinarySerializersV1, lambda g: _endless(g.with_("evaluationTimeout", 300)))
    assert failed.value.status_code == 598
    assert time.monotonic() - began < 2


def test_a_client_must_say_who_it_is_where_users_are_known(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{generate_password_hash('secret')}\n")
    users.chmod(0o600)
    for url in _served(ring(3), Http(users_file=str(users))):
        client = Client(url, "g", username="ann", password="secret")
        assert client.submit("g.V().count()").all().result() == [3]
        assert client.submit("g.V().count()").all().result() == [3]
        client.close()
        for name, password in (("ann", "wrong"), ("bob", "secret")):
            client = Client(url, "g", username=name, password=password)
            with pytest.raises(GremlinServerError) as failed:
                client.submit("g.V().count()").all().result()
            assert failed.value.status_code == 401
            client.close()


def _upgrade(port: int, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall("\r\n".join(lines).encode())
        return client.recv(4096).partition(b"\r\n")[0]


def test_sockets_are_opened_only_where_and_for_whom_they_should_be(ours: str) -> None:
    port = int(ours.rpartition(":")[2].partition("/")[0])
    assert b" 101 " in _upgrade(port, "/gremlin")
    assert b" 101 " in _upgrade(port, "/gremlin", f"Origin: http://127.0.0.1:{port}")
    assert b" 403 " in _upgrade(port, "/gremlin", "Origin: http://evil.example")
    assert b" 403 " in _upgrade(port, "/other")


def test_connections_that_end_are_let_go_of(ours: str) -> None:
    port = int(ours.rpartition(":")[2].partition("/")[0])
    for _ in range(300):  # more than there may be at once
        assert b" 101 " in _upgrade(port, "/gremlin")
