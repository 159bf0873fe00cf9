"""Clients of the Gremlin WebSocket that ask for too much, or go, and what fails inside: nothing is left behind."""

from __future__ import annotations

import json
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
import wsproto
from support.agreeing import Held
from support.netlab import until
from support.toygraphs import ring
from wsproto.events import AcceptConnection, CloseConnection, Message, Request

from gremlin_api.answering import Answerer
from gremlin_api.execution import Executor
from gremlin_api.http.endpoint import GREMLIN, mounted
from gremlin_api.http.websocket import LOGIN, GremlinSocket
from gremlin_api.interpreter.run import Allowance
from skytrail.http import server as http_server
from skytrail.http.credentials import OverloadError
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

WAIT = 10.0  # seconds after which a test has failed
ENDLESS = "g.V().repeat(both()).emit().path().none()"
COUNT = "g.V().count()"
LARGE = 900_000  # characters, of a request


class Client:
    """A client that sends without waiting for answers; blocks."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self._connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._write(Request(host=f"127.0.0.1:{port}", target=GREMLIN))
        self._events = self._coming()
        assert isinstance(next(self._events), AcceptConnection)

    def ask(self, query: str, operation: str = "eval", **more: Any) -> str:
        """Send a request: its ID."""
        id_ = str(uuid.uuid4())
        arguments = {"gremlin": query, "language": "gremlin-lang", **more}
        self._write(Message(json.dumps({"requestId": id_, "op": operation, "processor": "", "args": arguments})))
        return id_

    def next(self) -> tuple[str, int, str]:
        """The next answer: to which request, its code, and why it failed."""
        content = b""
        for event in self._events:
            assert not isinstance(event, CloseConnection), (event.code, event.reason)
            content += event.data
            if event.message_finished:
                told = json.loads(content)
                return told["requestId"], told["status"]["code"], told["status"]["message"]
        raise AssertionError

    def end(self) -> tuple[int, str | None]:
        """How the server ends the connection."""
        event = next(self._events)
        assert isinstance(event, CloseConnection), event
        return event.code, event.reason

    def leave(self) -> None:
        """Go, and say so."""
        self._write(CloseConnection(1000))
        self.close()

    def break_off(self) -> None:
        """Go as a process does that is killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()

    def _write(self, event: wsproto.events.Event) -> None:
        self.socket.sendall(self._connection.send(event))

    def _coming(self) -> Iterator[Any]:
        while True:
            data = self.socket.recv(1 << 20)
            self._connection.receive_data(data or None)
            yield from self._connection.events()
            assert data, "the connection broke"


@dataclass
class Served:
    """An endpoint that is served.

    Attributes:
        ended: set when a connection has been let go of.
    """

    port: int
    executor: Executor
    ended: threading.Event


@contextmanager
def serving(answerer: Any = None, login: Callable[[bytes], Any] | None = None) -> Iterator[Served]:
    executor, ended = Executor(), threading.Event()
    spoken = GremlinSocket(answerer or Answerer(Held(ring(200)), Allowance(600)), executor)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if login is not None:
            scope[LOGIN] = login
        try:
            await spoken(scope, receive, send)
        finally:
            ended.set()

    async def nothing(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError("nobody asks for anything else here")

    try:
        with http_server.serve(mounted({}, {GREMLIN: watched}, nothing), "127.0.0.1:0", Http()) as server:
            yield Served(server.port, executor, ended)
    finally:
        executor.close()


@pytest.mark.parametrize("go", [Client.leave, Client.break_off])
@pytest.mark.parametrize("many", [1, 66, 500])
def test_a_client_that_goes_is_let_go_of_however_many_requests_wait(many: int, go: Callable[[Client], None]) -> None:
    with serving() as served:
        client = Client(served.port)
        for _ in range(many):
            client.ask(ENDLESS)
        until(lambda: served.executor.busy == (1, 0))
        go(client)
        assert served.ended.wait(WAIT)
        until(lambda: served.executor.busy == (0, 0))
        assert served.executor.counters.total() == 1  # none of those that waited was begun


@pytest.mark.parametrize("go", [Client.leave, Client.break_off])
def test_what_a_client_may_have_wait_is_bounded_and_it_can_go_nevertheless(go: Callable[[Client], None]) -> None:
    with serving() as served:
        client = Client(served.port)
        client.ask(ENDLESS)
        until(lambda: served.executor.busy == (1, 0))
        sent = [client.ask(COUNT, pad="x" * LARGE) for _ in range(6)]
        for id_ in sent[4:]:  # the first 4 wait: 4 MiB are not more
            assert client.next() == (id_, 429, "4 requests of this connection wait already: wait for their answers")
        go(client)
        assert served.ended.wait(WAIT)
        until(lambda: served.executor.busy == (0, 0))
        assert served.executor.counters.total() == 1  # none of those that waited was begun


def test_requests_that_wait_are_answered_one_after_the_other() -> None:
    with serving() as served, closing(Client(served.port)) as client:
        sent = [client.ask(COUNT) for _ in range(200)]
        assert [client.next() for _ in sent] == [(id_, 200, "") for id_ in sent]


def test_what_became_of_each_request_is_counted() -> None:
    with serving() as served:
        client = Client(served.port)
        for query, code in ((COUNT, 200), ("g.V(", 597), ("g.V().fail('no')", 595)):
            assert (client.ask(query), code) == client.next()[:2]
        client.ask(ENDLESS)
        until(lambda: served.executor.busy == (1, 0))
        client.leave()
        until(lambda: dict(served.executor.counters) == {"answered": 1, "failed": 2, "abandoned": 1})


class Failing:
    """An answerer that fails inside, the first time."""

    def __init__(self) -> None:
        self._answerer = Answerer(Held(ring(3)), Allowance(600))
        self._failed = False

    def answers(self, *arguments: Any) -> Any:
        if not self._failed:
            self._failed = True
            raise ZeroDivisionError("a secret")
        return self._answerer.answers(*arguments)


def test_a_request_that_fails_inside_is_told_so_and_the_next_is_answered() -> None:
    with structlog.testing.capture_logs() as logs, serving(Failing()) as served, closing(Client(served.port)) as client:
        sent = [client.ask(COUNT) for _ in range(2)]
        assert client.next() == (sent[0], 500, "this failed inside: the log says why")
        assert client.next() == (sent[1], 200, "")
    assert [one["log_level"] for one in logs if one["event"] == "request failed"] == ["error"]


def test_a_connection_that_fails_inside_is_closed() -> None:
    async def fail(_: bytes) -> bool:
        raise ZeroDivisionError("a secret")

    with structlog.testing.capture_logs() as logs, serving(login=fail) as served, closing(Client(served.port)) as client:
        id_ = client.ask(COUNT)
        assert client.next() == (id_, 407, "")
        client.ask("", "authentication", sasl="AGEAYg==")
        assert client.end() == (1011, "this failed inside: the log says why")
    assert [type(one["exc_info"]) for one in logs if one["event"] == "connection failed"] == [ZeroDivisionError]


def test_who_cannot_be_known_because_too_many_ask_is_told_so() -> None:
    async def overload(_: bytes) -> bool:
        raise OverloadError

    with serving(login=overload) as served, closing(Client(served.port)) as client:
        id_ = client.ask(COUNT)
        assert client.next() == (id_, 407, "")
        id_ = client.ask("", "authentication", sasl="AGEAYg==")
        assert client.next() == (id_, 429, "too many passwords are being checked: try again")
