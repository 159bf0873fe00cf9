"""``call()`` over HTTP and by an unmodified driver: the answers, and who did not answer as the protocol has a place for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from gremlin_python.driver.client import Client
from gremlin_python.driver.driver_remote_connection import DriverRemoteConnection
from gremlin_python.driver.serializer import GraphBinarySerializersV1, GraphSONSerializersV3d0
from gremlin_python.process.anonymous_traversal import traversal
from support.tables import graphs, last_time, recorded, tables

from gremlin_api.answering import Answerer
from gremlin_api.execution import Executor
from gremlin_api.graphs.topology import TopologyGraph
from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted
from gremlin_api.http.websocket import GremlinSocket
from gremlin_api.skydive.services import AgentServices
from skytrail.http import server as http_server
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

FLOWS = len({one["UUID"] for one in recorded("flows")})
SERIALIZERS = [GraphBinarySerializersV1, GraphSONSerializersV3d0]


class _Graphs:
    def view(self, _: str | None, __: Any) -> TopologyGraph:
        return graphs().as_of(None)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    executor = Executor()
    asker = tables(missing={"h7": "did not answer within 5 s"})
    answerer = Answerer(_Graphs(), services=AgentServices(asker, lambda: last_time() * 1000))
    app = mounted({GREMLIN: GremlinEndpoint(answerer, executor)}, {GREMLIN: GremlinSocket(answerer, executor)}, _nothing)
    with http_server.serve(app, "127.0.0.1:0", Http()) as served:
        yield served.port
    executor.close()


def test_over_http(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", GREMLIN, json.dumps({"gremlin": "g.call('flows').count()"}), {"Accept": "application/json"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.headers["Skytrail-Missing"] == "h7: did not answer within 5 s"
    assert "did not answer within 5 s" in json.dumps(told["status"]["attributes"])
    assert str(FLOWS) in json.dumps(told["result"]["data"])


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("query", ["g.call('flows')", "g.call('flows').limit(1)", "g.V().has('Name', 'none').call('flows')"])
def test_a_driver_is_told(port: int, serializer: type, query: str) -> None:
    client = Client(f"ws://127.0.0.1:{port}{GREMLIN}", "g", message_serializer=serializer())
    try:
        results = client.submit(query)
        found = results.all().result()
        assert len(found) == (FLOWS if query.endswith("flows')") and "V" not in query else query.count("limit"))
        asked = "none" not in query
        assert (results.status_attributes.get("missing") == {"h7": "did not answer within 5 s"}) is asked
    finally:
        client.close()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_driver_calls_by_its_own_words(port: int, serializer: type) -> None:
    connection = DriverRemoteConnection(f"ws://127.0.0.1:{port}{GREMLIN}", "g", message_serializer=serializer())
    try:
        g = traversal().with_remote(connection)
        found = g.call("flows", {"filter": "Has('Transport.B', 5001).Dedup()"}).to_list()
        assert [(one["Application"], one["Network"]["A"]) for one in found] == [("TCP", "10.0.0.1")]
        assert g.V().has("Name", "p1").call("flows").with_("filter", "Has('ICMP.ID', 123)").count().next() == 1
        assert g.call().to_list() == ["flows", "sockets", "metrics"]
    finally:
        connection.close()
