"""Skydive's WebSocket for subscribers: a client that keeps a graph by what it is told has the store's."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import random
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import wsproto
from support.netlab import until
from werkzeug.security import generate_password_hash
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, RejectConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError

from gremlin_api.errors import TraversalError
from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import Shown
from gremlin_api.http.endpoint import mounted
from gremlin_api.http.subscriber import PATH, Bounds, SubscriberSocket, _Mirror
from gremlin_api.http.topology import TopologyEndpoint
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.http import server as http_server
from skytrail.http.guard import Limits, Receive, Scope, Send
from skytrail.settings.tree import Http
from topology.elements import Part, Revision, State, edge_id, node_id
from topology.shape import element_json
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change, StoreError
from topology.store.traversal import Moment

SECOND = 1_000_000
START = 1_000 * SECOND
BOUNDS = Bounds()
LIMITS = Limits(head_timeout=0.5)  # which is no limit of a WebSocket: those here live longer
WAIT = 10.0  # seconds after which a test has failed


class EndedError(Exception):
    """The server closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Client:
    """A subscriber; blocks."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None, *, query: str = "", receives: int = 0) -> None:
        self._socket = socket.socket()
        if receives:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self._socket.settimeout(WAIT)
        self._socket.connect(("127.0.0.1", port))
        self._connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        given = {"X-Client-Type": "test"} if headers is None else headers
        extra = [(key.encode(), value.encode()) for key, value in given.items()]
        self._write(Request(host=f"127.0.0.1:{port}", target=PATH + query, extra_headers=extra))
        self._events = self._coming()
        assert isinstance(next(self._events), AcceptConnection)

    def _write(self, event: wsproto.events.Event) -> None:
        self._socket.sendall(self._connection.send(event))

    def _coming(self) -> Iterator[wsproto.events.Event]:
        while True:
            data = self._socket.recv(1 << 20)
            self._connection.receive_data(data or None)
            yield from self._connection.events()
            assert data, "the connection broke"

    def send(self, message: Any) -> None:
        if isinstance(message, bytes):
            self._write(BytesMessage(message))
        else:
            self._write(Message(message if isinstance(message, str) else json.dumps(message)))

    def next(self) -> dict[str, Any]:
        text = ""
        for event in self._events:
            if isinstance(event, CloseConnection):
                raise EndedError(event.code, event.reason or "")
            if isinstance(event, RejectConnection):
                raise EndedError(event.status_code, "")
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                found: dict[str, Any] = json.loads(text)
                return found
        raise AssertionError

    def types(self, many: int) -> list[str]:
        return [self.next()["Type"] for _ in range(many)]

    def ask(self, content: Any = None) -> str:
        id_ = str(uuid.uuid4())
        self.send({"Namespace": "Graph", "Type": "SyncRequest", "UUID": id_, "Status": 200, "Obj": content})
        return id_

    def sync(self, content: Any = None) -> Any:
        """The reply's graph; whatever comes before it is passed over."""
        id_ = self.ask(content)
        while (found := self.next())["UUID"] != id_:
            pass
        assert (found["Namespace"], found["Type"], found["Status"]) == ("Graph", "SyncReply", 200), found
        return found["Obj"]

    def close(self) -> None:
        with suppress(LocalProtocolError, OSError):
            self._write(CloseConnection(1000))
        self._socket.close()


class Writer:
    """Writes to a store, a second of its clock for each batch."""

    def __init__(self, store: EmbeddedStore, at: int = START) -> None:
        self.store, self.at, self._number = store, at, 0
        self._epoch = store.lease("w", "test/1", 3600)

    def write(self, *changes: tuple[str, State | None], at: int | None = None) -> None:
        self.at += SECOND
        self._number += 1
        when = self.at if at is None else at
        self.store.apply(Batch("w", self._epoch, self._number, self.at, tuple(Change(id_, when, one) for id_, one in changes)))


def node(name: str, **more: Any) -> tuple[str, State]:
    metadata = {"Name": name, "Type": "veth", **more}
    return node_id(name), State("host", "agent.host", {"netlink": Part.of(metadata)}, tid=name)


def edge(parent: str, child: str, **more: Any) -> tuple[str, State]:
    ends = node_id(parent), node_id(child)
    metadata = {"RelationType": "layer2", **more}
    return edge_id(*ends, "layer2"), State("host", "agent.host", {"netlink": Part.of(metadata)}, parent=ends[0], child=ends[1])


@dataclass
class Served:
    """A store that is served.

    Attributes:
        volatile: of nodes, by ID.
    """

    port: int
    socket: SubscriberSocket
    writer: Writer
    volatile: dict[str, dict[str, Any]] = field(default_factory=dict)

    def client(self, **headers: str) -> closing[Client]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return closing(Client(self.port, {"X-Client-Type": "test", **named}))

    def get(self) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/api/topology")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return found


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("nobody asks for anything else here")


@contextmanager
def serving(store: EmbeddedStore, bounds: Bounds = BOUNDS, settings: Http | None = None) -> Iterator[Served]:
    volatile: dict[str, dict[str, Any]] = {}
    shown = Shown(lambda id_: volatile.get(id_, {}), {"Metric"})
    writer = Writer(store)
    graphs = StoredGraphs(store, shown, lambda: writer.at, lambda: None)
    executor = Executor()
    subscriber = SubscriberSocket(store, graphs, shown, executor, bounds)
    paths = {"/api/topology": TopologyEndpoint(SkydiveAnswerer(graphs), executor)}
    try:
        app = mounted(paths, {PATH: subscriber}, _nothing)
        with http_server.serve(app, "127.0.0.1:0", settings or Http(), LIMITS) as server:
            yield Served(server.port, subscriber, writer, volatile)
    finally:
        executor.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with closing(EmbeddedStore(tmp_path / "graph")) as store:
        yield store


@pytest.fixture
def served(store: EmbeddedStore) -> Iterator[Served]:
    with serving(store) as found:
        yield found


class Kept:
    """A graph that a client keeps by what it is told; nothing may be told that does not fit."""

    def __init__(self, graph: Any) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: dict[str, Any] = {}
        self.reset(graph)

    def reset(self, graph: Any) -> None:
        self.nodes = {one["ID"]: one for one in graph["Nodes"]}
        self.edges = {one["ID"]: one for one in graph["Edges"]}
        assert all(one["Parent"] in self.nodes and one["Child"] in self.nodes for one in self.edges.values())

    def take(self, message: Mapping[str, Any]) -> None:
        assert (message["Namespace"], message["Status"]) == ("Graph", 200)
        type_, told = message["Type"], message["Obj"]
        if type_ == "SyncReply":
            self.reset(told)
            return
        there = self.nodes if type_.startswith("Node") else self.edges
        done = type_[4:]
        if done == "Added":
            assert told["ID"] not in there
            assert there is self.nodes or {told["Parent"], told["Child"]} <= self.nodes.keys()
            there[told["ID"]] = told
            return
        before = there[told["ID"]]
        if done == "Deleted":
            assert not any(told["ID"] in (one["Parent"], one["Child"]) for one in self.edges.values())
            assert told["Metadata"] == before["Metadata"]
            del there[told["ID"]]
            return
        assert told["Revision"] > before["Revision"]
        if done == "Updated":
            there[told["ID"]] = told
            return
        assert done == "PartiallyUpdated"
        assert told.keys() == {"ID", "UpdatedAt", "Revision", "Ops"}
        before |= {"UpdatedAt": told["UpdatedAt"], "Revision": told["Revision"]}
        for one in told["Ops"]:
            if one["Type"] == 1:
                before["Metadata"][one["Key"]] = one["Value"]
            else:
                assert one["Type"] == 2
                del before["Metadata"][one["Key"]]

    def follow(self, client: Client, last: str) -> None:
        """Take what comes until a node is there, and what came with it."""
        while last not in self.nodes:
            self.take(client.next())
        client.send({"Namespace": "Graph", "Type": "None"})
        while (message := client.next())["Type"] != "Error":
            self.take(message)

    def graph(self) -> Any:
        return ordered({"Nodes": list(self.nodes.values()), "Edges": list(self.edges.values())})


def ordered(graph: Any) -> Any:
    return {key: sorted(found, key=lambda one: str(one["ID"])) for key, found in graph.items()}


def now(store: EmbeddedStore) -> Any:
    """The store's graph, by another way than that of a subscriber."""
    found = [element_json(one) for one in store.current()]
    return ordered({"Nodes": [one for one in found if "Parent" not in one], "Edges": [one for one in found if "Parent" in one]})


def test_the_whole_graph_is_told_when_asked_for(served: Served) -> None:
    served.writer.write(node("a", MTU=1500), node("b"), edge("a", "b"))
    with served.client() as client:
        id_ = client.ask()
        reply = client.next()
    graph = reply.pop("Obj")
    assert reply == {"Namespace": "Graph", "Type": "SyncReply", "UUID": id_, "Status": 200}
    assert ordered(graph) == now(served.writer.store) == ordered(served.get())
    assert {one["Metadata"]["Name"]: one["Revision"] for one in graph["Nodes"]} == {"a": 1, "b": 1}


def test_changes_are_told_in_order_without_being_asked_for(served: Served) -> None:
    write = served.writer.write
    write(node("a"))
    with served.client() as client:
        write(node("b"), edge("a", "b"))
        write(node("a", MTU=9000), edge("a", "b", Speed=1))
        write((edge("a", "b")[0], None), (node("b")[0], None))
        write(node("b"))
        told = [client.next() for _ in range(7)]
    assert [(one["Type"], one["Obj"]["ID"]) for one in told] == [
        ("NodeAdded", node_id("b")), ("EdgeAdded", edge("a", "b")[0]), ("NodeUpdated", node_id("a")),
        ("EdgeUpdated", edge("a", "b")[0]), ("EdgeDeleted", edge("a", "b")[0]), ("NodeDeleted", node_id("b")),
        ("NodeAdded", node_id("b")),
    ]  # fmt: skip
    at = START // 1000
    assert told[2]["Obj"] == {
        "ID": node_id("a"), "Metadata": {"Name": "a", "Type": "veth", "MTU": 9000, "TID": "a"}, "Host": "host",
        "Origin": "agent.host", "CreatedAt": at + 1000, "UpdatedAt": at + 3000, "DeletedAt": None, "Revision": 2,
    }  # fmt: skip
    assert told[4]["Obj"]["Metadata"] == {"RelationType": "layer2", "Speed": 1}
    assert (told[5]["Obj"]["DeletedAt"], told[5]["Obj"]["Metadata"]["Name"]) == (at + 4000, "b")
    assert len({one["UUID"] for one in told}) == 7


def test_who_takes_parts_is_told_what_changed(served: Served) -> None:
    write = served.writer.write
    write(node("a", MTU=1500, Up=True, Old=1), node("b"), edge("a", "b"))
    with served.client(X_Update_Policy="partial") as client:
        write(node("a", MTU=9000, Up=1, New=[2]), edge("a", "b", Speed=1))
        write(node("a", MTU=9000, Up=1, New=[2], **{"With.dot": 1}))
        moved = node("b")[1]
        write((node_id("b"), State("other", "agent.other", moved.parts, tid=moved.tid)))
        told = [client.next() for _ in range(4)]
    assert [one["Type"] for one in told] == ["NodePartiallyUpdated", "EdgePartiallyUpdated", "NodeUpdated", "NodeUpdated"]
    at = START // 1000 + 2000
    assert told[0]["Obj"] == {
        "ID": node_id("a"), "UpdatedAt": at, "Revision": 2,
        "Ops": [{"Type": 2, "Key": "Old"}, {"Type": 1, "Key": "MTU", "Value": 9000}, {"Type": 1, "Key": "New", "Value": [2]},
                {"Type": 1, "Key": "Up", "Value": 1}],
    }  # fmt: skip
    assert told[1]["Obj"]["Ops"] == [{"Type": 1, "Key": "Speed", "Value": 1}]


def test_a_filter_limits_what_is_told(served: Served) -> None:
    write = served.writer.write
    write(node("a", Lab=1), node("b"), edge("a", "b"))
    with served.client(X_Gremlin_Filter="G.V().Has('Lab', 1).SubGraph()") as client:
        assert [one["Metadata"]["Name"] for one in client.sync()["Nodes"]] == ["a"]
        write(node("b", MTU=2))  # not in it
        write(node("b", Lab=1))  # comes into it, with its edge
        assert client.types(2) == ["NodeAdded", "EdgeAdded"]
        write(node("a", Lab=1, MTU=2))
        assert client.types(1) == ["NodeUpdated"]
        write(node("a"))
        told = [client.next() for _ in range(2)]
        assert [one["Type"] for one in told] == ["EdgeDeleted", "NodeDeleted"]
        assert told[1]["Obj"]["Metadata"] == {"Name": "a", "Type": "veth", "Lab": 1, "MTU": 2, "TID": "a"}
        assert client.sync({"GremlinFilter": "G.V().Has('Name', 'a')"}) == {"Nodes": served.get()["Nodes"][:1], "Edges": []}
        write(node("b", Lab=1, MTU=3))
        write(node("a", MTU=3))
        assert client.next()["Obj"]["ID"] == node_id("a")
        assert ordered(client.sync({"GremlinFilter": ""})) == now(served.writer.store)
        write(node("b"))
        assert client.next()["Obj"]["ID"] == node_id("b")


def test_a_filter_that_cannot_be_answered_leaves_the_one_before(served: Served) -> None:
    served.writer.write(node("a"), node("b"))
    with served.client(X_Gremlin_Filter="G.V().Has('Name', 'a')") as client:
        for query, reason in (
            ("G.V().Hass()", "no step"),
            ("G.V().Count()", "a filter gives nodes, or a part of the graph, not a number"),
            ("G.E()", "not edges"),
            ("G.V('none')", "does not exist"),
        ):
            id_ = client.ask({"GremlinFilter": query})
            reply = client.next()
            assert reason in reply.pop("Error")
            assert reply == {"Namespace": "Graph", "Type": "SyncReply", "UUID": id_, "Status": 400, "Obj": None}
        served.writer.write(node("b", MTU=1), node("a", MTU=1))
        assert client.next()["Obj"]["ID"] == node_id("a")


@pytest.mark.parametrize("query", ["G.V('{node}')", "G.V('{node}').SubGraph()"])
def test_a_filter_whose_node_goes_gives_nothing_until_it_comes_again(served: Served, query: str) -> None:
    id_ = node_id("a")
    served.writer.write(node("a"))
    with served.client(X_Gremlin_Filter=query.format(node=id_)) as client:
        for _ in range(2):
            served.writer.write((id_, None))
            gone = client.next()
            assert (gone["Type"], gone["Obj"]["ID"]) == ("NodeDeleted", id_)
            for content in (None, {"GremlinFilter": query.format(node=id_)}):
                assert client.sync(content) == {"Nodes": [], "Edges": []}
            served.writer.write(node("a"))
            come = client.next()
            assert (come["Type"], come["Obj"]["ID"]) == ("NodeAdded", id_)


def test_a_past_moment_is_told_and_what_follows_is_of_now(served: Served) -> None:
    write = served.writer.write
    write(node("a"))
    then = served.writer.at
    write(node("a", MTU=1), node("b"), edge("a", "b"))
    write(node("c"))
    with served.client() as client:
        past = client.sync({"Time": then // 1000})
        assert [one["Metadata"] for one in past["Nodes"]] == [{"Name": "a", "Type": "veth", "TID": "a"}]
        assert past["Edges"] == []
        found = client.sync({"Time": (then + SECOND) // 1000, "GremlinFilter": "G.V().Has('Name', 'b')"})
        assert [one["Metadata"]["Name"] for one in found["Nodes"]] == ["b"]
        assert client.sync({"Time": 1}) == {"Nodes": [], "Edges": []}
        for moment in (None, 0, 10**17):
            assert ordered(client.sync({"Time": moment})) == now(served.writer.store)
        write(node("c", MTU=1))
        assert client.next()["Obj"]["Metadata"]["Name"] == "c"  # the filter was of that moment only


def test_what_is_volatile_is_told_with_the_rest_only(served: Served) -> None:
    served.writer.write(node("a"), node("b"))
    served.volatile[node_id("a")] = {"Metric": {"RxBytes": 1}}
    with served.client() as client, served.client(X_Gremlin_Filter="G.V()", X_Update_Policy="partial") as other:
        for one in (client, other):
            assert {each["Metadata"].get("Metric", {}).get("RxBytes") for each in one.sync()["Nodes"]} == {1, None}
        served.volatile[node_id("a")] = {"Metric": {"RxBytes": 2}}
        served.writer.write(node("b", MTU=1))
        assert [one.next()["Obj"]["ID"] for one in (client, other)] == [node_id("b")] * 2
        served.writer.write(node("a", MTU=1))
        assert client.next()["Obj"]["Metadata"]["Metric"] == {"RxBytes": 2}
        assert other.next()["Obj"]["Ops"] == [
            {"Type": 1, "Key": "MTU", "Value": 1}, {"Type": 1, "Key": "Metric", "Value": {"RxBytes": 2}},
        ]  # fmt: skip


def test_who_listens_to_other_namespaces_is_answered_only(served: Served) -> None:
    headers = {"X-Client-Type": "test", "X-Websocket-Namespace": "Alert, Flow"}
    with closing(Client(served.port, headers)) as client, served.client(X_Websocket_Namespace="Graph") as other:
        served.writer.write(node("a"))
        assert other.types(1) == ["NodeAdded"]
        client.ask()
        reply = client.next()  # and nothing before it
        assert (reply["Type"], [one["ID"] for one in reply["Obj"]["Nodes"]]) == ("SyncReply", [node_id("a")])


def _changes(writer: Writer, seed: int) -> Iterator[None]:
    """Random changes, one at each step: nodes and edges come, change, go, and come again; some twice at one moment."""
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(40)]
    nodes: set[str] = set()
    edges: dict[str, tuple[str, str]] = {}
    for number in itertools.count():
        name = chance.choice(names)
        other = chance.choice(sorted(nodes)) if nodes else name
        at = writer.at if chance.random() < 0.1 else None
        if name not in nodes:
            nodes.add(name)
            writer.write(node(name, Lab=chance.randrange(3)), at=at)
        elif chance.random() < 0.25:
            gone = [id_ for id_, ends in edges.items() if name in ends]
            nodes.discard(name)
            edges = {id_: ends for id_, ends in edges.items() if id_ not in gone}
            writer.write(*((id_, None) for id_ in gone), (node_id(name), None))
        elif chance.random() < 0.5 and other != name:
            found = edge(name, other, Speed=number)
            edges[found[0]] = name, other
            writer.write(found)
        else:
            more = {chance.choice("PQR"): number}
            writer.write(node(name, Lab=chance.randrange(3), **more), at=at)
        yield


LAB = "G.V().Has('Lab', 1).SubGraph()"
KINDS: list[dict[str, str]] = [
    {}, {"X-Update-Policy": "partial"}, {"X-Gremlin-Filter": LAB}, {"X-Gremlin-Filter": LAB, "X-Update-Policy": "partial"},
]  # fmt: skip


@pytest.mark.parametrize("page", [3, 1000])
def test_a_graph_kept_by_what_is_told_is_the_stores(store: EmbeddedStore, page: int) -> None:
    with serving(store, Bounds(page=page, rest=0.01)) as served:
        writer, changes = served.writer, _changes(served.writer, page)
        for _ in range(60):
            next(changes)
        failures: list[Exception] = []
        kept: list[tuple[dict[str, str], Any]] = []

        def follow(headers: dict[str, str], resyncs: int) -> None:
            try:
                with closing(Client(served.port, {"X-Client-Type": "test", **headers})) as client:
                    graph = Kept(client.sync())
                    filters = ("", LAB) if "X-Gremlin-Filter" in headers else (LAB, "")
                    for content in [None, *({"GremlinFilter": one} for one in filters)] * resyncs:  # in the midst of changes
                        client.ask(content)
                        graph.take(client.next())
                    graph.follow(client, node_id("last"))
                    kept.append((headers, graph.graph()))
            except Exception as error:  # noqa: BLE001 - told by the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=follow, args=(headers, many)) for headers in KINDS for many in (0, 5)]
        for thread in threads:  # they come while changes are made
            thread.start()
            for _ in range(40):
                next(changes)
        while served.socket.subscribers < len(threads) and not failures:
            next(changes)
        for _ in range(500):
            next(changes)
        writer.write(node("last", Lab=1))
        for thread in threads:
            thread.join()
        assert not failures
        whole = now(store)
        assert whole == ordered(served.get())
        ask = http.client.HTTPConnection("127.0.0.1", served.port)
        ask.request("POST", "/api/topology", json.dumps({"GremlinQuery": LAB}))
        part = ordered(json.loads(ask.getresponse().read())[0])
        ask.close()
        assert len(part["Nodes"]) > 3
        assert len(kept) == len(threads)
        for headers, graph in kept:
            assert graph == (part if "X-Gremlin-Filter" in headers else whole), headers


def test_what_comes_late_changes_nothing_that_is_there(store: EmbeddedStore) -> None:
    """At each step, by however many entries at a time it was read: what is there is what the store says."""
    writer, chance = Writer(store), random.Random(3)
    names = [f"n{number}" for number in range(6)]
    mirrors = [_Mirror(store, page) for page in (1, 2, 7, 100)]
    for number in range(600):
        at = writer.at - chance.randrange(20) * SECOND if chance.random() < 0.4 else None
        id_, state = node(chance.choice(names), Number=number)
        writer.write((id_, None if chance.random() < 0.4 else state), at=at)
        if chance.random() < 0.2:
            mirrors.append(_Mirror(store, 3))
            for mirror in mirrors:
                while mirror.sequence < store.health().sequence:
                    mirror.read()
            there = ordered_revisions(store.current())
            assert all(ordered_revisions(mirror.copy()[1]) == there for mirror in mirrors)


def ordered_revisions(found: Iterable[Revision]) -> list[tuple[str, int, int]]:
    return sorted((one.id, one.sequence, one.updated_at) for one in found)


def test_two_clients_are_told_the_same(served: Served) -> None:
    with served.client() as one, served.client() as other:
        for number in range(5):
            served.writer.write(node("a", MTU=number))
        told = [[client.next() for _ in range(5)] for client in (one, other)]
        assert told[0] == told[1]
        assert served.socket.subscribers == 2
        until(lambda: served.socket.sent >= 10)  # counted when they are on their way


def test_who_does_not_read_is_closed_and_counted_and_others_are_not(store: EmbeddedStore) -> None:
    with serving(store, Bounds(queue=20, look=0.005, close=60)) as served, served.client() as other:
        slow = Client(served.port, receives=4096)
        for number in range(200):  # more than the kernel takes
            served.writer.write(node("a", Text=str(number) + "x" * 100_000))
            assert other.next()["Obj"]["Metadata"]["Text"].startswith(f"{number}x")
        read: list[Any] = []
        with pytest.raises(EndedError) as ended:
            read.extend(iter(slow.next, None))
        assert (ended.value.code, ended.value.reason) == (1013, "too slow: 21 messages waited to be read; connect again")
        assert 0 < len(read) < 200
        assert served.socket.overflowed == 1
        served.writer.write(node("b"))
        assert other.next()["Obj"]["Metadata"]["Name"] == "b"
        slow.close()


SYNC = {"Namespace": "Graph", "Type": "SyncRequest", "UUID": "u"}


@pytest.mark.parametrize(
    ("sent", "told", "reason"),
    [
        ("{", ("Graph", "Error", ""), "this is no message: "),
        ("", ("Graph", "Error", ""), "this is no message: "),
        ("[" * 50_000, ("Graph", "Error", ""), "this is no message: "),
        ([], ("Graph", "Error", ""), "this is no message: Expected `object`"),
        ({"Type": "SyncRequest"}, ("Graph", "Error", ""), "missing required field `Namespace`"),
        ({**SYNC, "UUID": 1}, ("Graph", "Error", ""), "Expected `str`, got `int` - at `$.UUID`"),
        ({**SYNC, "Obj": []}, ("Graph", "SyncReply", "u"), "Expected `object | null`, got `array`"),
        ({**SYNC, "Obj": {"Time": "now"}}, ("Graph", "SyncReply", "u"), "at `$.Time`"),
        ({**SYNC, "Obj": {"Time": -1}}, ("Graph", "SyncReply", "u"), "at `$.Time`"),
        ({**SYNC, "Obj": {"GremlinFilter": 1}}, ("Graph", "SyncReply", "u"), "at `$.GremlinFilter`"),
        ({**SYNC, "Namespace": "Flow"}, ("Flow", "Error", "u"), "the namespace 'Flow' is not served here: Graph is"),
        ({**SYNC, "Type": "NodeAdded"}, ("Graph", "Error", "u"), "'NodeAdded' is not taken here: SyncRequest is"),
    ],
)
def test_what_is_no_request_is_answered_with_a_reason(
    served: Served, sent: Any, told: tuple[str, str, str], reason: str
) -> None:
    with served.client() as client:
        client.send(sent)
        answer = client.next()
        assert reason in answer.pop("Error")
        assert answer == {"Namespace": told[0], "Type": told[1], "UUID": told[2], "Status": 400, "Obj": None}
        assert client.sync() == {"Nodes": [], "Edges": []}


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"\x0a\x05Graph", 1003, "binary messages are not read here"),
        ("x" * ((1 << 20) + 1), 1009, "maximum size"),
    ],
    ids=["binary", "huge"],
)
def test_what_cannot_be_read_ends_the_connection(served: Served, sent: Any, code: int, reason: str) -> None:
    with served.client() as client:
        client.send(sent)
        with pytest.raises(EndedError, match=reason) as ended:
            client.next()
        assert ended.value.code == code


@pytest.mark.parametrize(
    ("headers", "code", "reason"),
    [
        ({}, 1008, "the header X-Client-Type is missing"),
        ({"X-Client-Type": "t", "X-Client-Protocol": "protobuf"}, 1003, "JSON is spoken here"),
        ({"X-Client-Type": "t", "X-Update-Policy": "half"}, 1008, "X-Update-Policy is full or partial"),
        ({"X-Client-Type": "t", "X-Gremlin-Filter": "G.V().Hass()"}, 1008, "X-Gremlin-Filter: line 1, column 7"),
        ({"X-Client-Type": "t", "X-Gremlin-Filter": "G.V().Count()"}, 1008, "X-Gremlin-Filter: a filter gives nodes"),
    ],
)
def test_who_cannot_be_subscribed_is_told_why(served: Served, headers: dict[str, str], code: int, reason: str) -> None:
    with closing(Client(served.port, headers)) as client:
        with pytest.raises(EndedError) as ended:
            client.next()
        assert ended.value.code == code
        assert ended.value.reason.startswith(reason)
    assert served.socket.subscribers == 0


def test_what_a_client_says_of_itself_may_stand_in_the_url(served: Served) -> None:
    served.writer.write(node("a"), node("b"))
    query = "?x-client-type=ui&x-gremlin-filter=G.V().Has(%27Name%27%2C%20%27a%27)&x-host-id=laptop&x-client-protocol=json"
    with closing(Client(served.port, {}, query=query)) as client:
        assert [one["Metadata"]["Name"] for one in client.sync()["Nodes"]] == ["a"]
        ((address, told),) = served.socket.status().items()
    assert address == f"127.0.0.1:{told['Port']}"
    assert datetime.fromisoformat(str(told.pop("ConnectTime"))).tzinfo is not None
    assert told.pop("Port")
    assert told == {
        "ServiceType": "ui", "ClientProtocol": "json", "Addr": "127.0.0.1", "IsConnected": True, "RemoteHost": "laptop",
    }  # fmt: skip


def test_a_client_must_be_known_where_users_are(store: EmbeddedStore, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{generate_password_hash('secret')}\n")
    users.chmod(0o600)
    with serving(store, settings=Http(users_file=str(users))) as served:
        known = {"X-Client-Type": "test", "Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        with closing(Client(served.port, known)) as client:
            assert client.sync() == {"Nodes": [], "Edges": []}
        for headers in ({"X-Client-Type": "test"}, {**known, "Authorization": "Basic YW5uOm5v"}):
            with pytest.raises(AssertionError, match="status_code=403"):
                Client(served.port, headers)


class Faulty:
    """A store of which the feed cannot be read for a while."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store, self.refused = store, threading.Event()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def feed(self, after: int, limit: int) -> list[Revision]:
        if self.error is not None:
            self.refused.set()
            raise self.error
        return self._store.feed(after, limit)


def test_nothing_is_lost_while_the_store_is_away(store: EmbeddedStore) -> None:
    faulty: Any = Faulty(store)
    with serving(faulty) as served, served.client() as client:
        faulty.error = StoreError("it is away")
        assert faulty.refused.wait(WAIT)  # no reading is under way any more
        served.writer.write(node("a"))
        client.ask()
        answer = client.next()
        assert (answer["Status"], answer["Obj"], answer["Error"]) == (503, None, "it is away")
        served.writer.write(node("b"))
        faulty.error = None
        assert [client.next()["Obj"]["ID"] for _ in range(2)] == [node_id("a"), node_id("b")]


def test_a_feed_that_fails_inside_ends_all_and_whoever_comes_again_is_told(store: EmbeddedStore) -> None:
    faulty: Any = Faulty(store)
    with serving(faulty) as served:
        with served.client() as client:
            faulty.error = ZeroDivisionError("a secret")
            with pytest.raises(EndedError) as ended:
                client.next()
        assert (ended.value.code, ended.value.reason) == (
            1011, "what changes cannot be told any more: connect again; the log says why",
        )  # fmt: skip
        faulty.error = None
        with served.client() as client:
            served.writer.write(node("a"))
            assert client.types(1) == ["NodeAdded"]


def test_clients_that_go_are_let_go_of(served: Served) -> None:
    for number in range(300):  # more than there may be at once
        with served.client() as client:
            client.ask()
            if number % 2:
                assert client.next()["Type"] == "SyncReply"
    with served.client() as client:
        served.writer.write(node("a"))
        assert client.types(1) == ["NodeAdded"]


class Overtaken:
    """A store of which a moment that was taken is overtaken by a change before anything is asked of it."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.then: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def moment(self, when: int | None = None) -> Moment:
        found = self._store.moment(when)
        then, self.then = self.then, None
        if then is not None:
            then()
        return found


def test_a_change_while_a_new_filter_is_answered_is_told_once(store: EmbeddedStore) -> None:
    overtaken: Any = Overtaken(store)
    with serving(overtaken) as served, served.client() as client, served.client() as other:

        def change() -> None:
            served.writer.write(node("b", Lab=1), node("c"))
            assert other.types(2) == ["NodeAdded"] * 2  # and so the first has heard of it

        overtaken.then = change
        assert client.sync({"GremlinFilter": "G.V().Has('Lab', 1)"}) == {"Nodes": [], "Edges": []}
        assert client.next()["Obj"]["ID"] == node_id("b")
        served.writer.write(node("c", Lab=1))
        assert client.next()["Obj"]["ID"] == node_id("c")


def test_a_filter_that_cannot_be_answered_any_more_ends_with_a_reason(store: EmbeddedStore) -> None:
    overtaken: Any = Overtaken(store)
    with serving(overtaken) as served, served.client(X_Gremlin_Filter="G.V()") as client:

        def fail() -> None:
            raise TraversalError("it is too far")

        overtaken.then = fail
        served.writer.write(node("a"))
        with pytest.raises(EndedError) as ended:
            client.next()
        assert (ended.value.code, ended.value.reason) == (1011, "the filter cannot be answered any more: it is too far")
