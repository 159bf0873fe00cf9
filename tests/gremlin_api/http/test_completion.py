"""/api/v1/complete: what it is asked, and how it answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from support.skydivegraphs import FixedGraphs, node

from gremlin_api.completion import Completer
from gremlin_api.execution import Capacity, Executor
from gremlin_api.http.completion import COMPLETE, CompletionEndpoint
from gremlin_api.http.endpoint import mounted
from gremlin_api.interpreter.run import Allowance
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.http import server as http_server
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

GRAPH = [node(f"n{at}", {"Name": f"eth{at}", "Type": "device"}) for at in range(300)]

FITTING = sorted(f"eth{at}" for at in range(300) if f"{at}".startswith("1"))


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("nobody asks for anything else here")


@contextmanager
def serving(seconds: float) -> Iterator[int]:
    executor = Executor(Capacity(running=1))
    completer = Completer(SkydiveAnswerer(FixedGraphs(GRAPH), Allowance(seconds=seconds)), lambda: 0.0)
    endpoint = CompletionEndpoint(completer, executor)
    with http_server.serve(mounted({COMPLETE: endpoint}, {}, _nothing), "127.0.0.1:0", Http()) as server:
        yield server.port
    executor.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(5.0) as port:
        yield port


def ask(port: int, method: str = "GET", **arguments: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, f"{COMPLETE}?{urlencode(arguments)}")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def test_values_and_words(port: int) -> None:
    assert ask(port, key="Name", prefix="eth1") == (200, {"Values": FITTING, "More": False})
    status, words = ask(port)
    assert status == 200
    assert words.keys() == {"Skydive", "TinkerPop", "Keys"}
    assert "Name" in words["Keys"]["nodes"]


def test_what_takes_too_long_is_said() -> None:
    with serving(0.0) as port:
        status, told = ask(port, key="Name")
    assert status == 503
    assert "took longer" in told["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"key": "Name", "of": "pods"}, "of: 'pods' has no keys: use nodes, edges, flows"),
        ({"what": "x"}, "'what' is not known: use key, of, prefix"),
        ({"prefix": "x"}, "key: name one"),
    ],
)
def test_what_is_wrong_is_said(port: int, arguments: dict[str, str], said: str) -> None:
    status, told = ask(port, **arguments)
    assert status == 400
    assert said in told["error"]


def test_other_methods_are_refused(port: int) -> None:
    assert ask(port, "POST")[0] == 405
