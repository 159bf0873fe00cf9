"""What we answer to a query on one of the toy graphs, in the form in which it is compared with a Gremlin Server's answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lab.gremlinserver import GRAPHS, Server

from gremlin_api.answering import Answerer, Question
from gremlin_api.errors import PARSER, TraversalError
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.interpreter.run import Allowance
from gremlin_api.language.errors import QueryError
from gremlin_api.values import Explanation, Presence, TraversalMetrics
from gremlin_api.wire.graphson import value_of
from support.agreement import Answer, Shape, failure
from support.toygraphs import joined


class Held:
    """One graph in memory, as it is now."""

    def __init__(self, graph: MemoryGraph) -> None:
        self._graph = graph

    def view(self, at: str | None, each: Callable[[], object]) -> MemoryGraph:  # noqa: ARG002 - all is held
        assert at is None
        return self._graph


def copied(server: Server) -> dict[str, MemoryGraph]:
    """The server's graphs, by name, as it tells them."""
    return {name: joined(_asked(server, "g.V()", name), _asked(server, "g.E()", name)) for name in GRAPHS}


def _asked(server: Server, query: str, graph: str) -> Any:
    status, body = server.submit(query, graph)
    assert status == 200, body
    return value_of(body["result"]["data"])


def ours(graph: MemoryGraph, query: str, seconds: float = 20.0) -> Answer:
    """What we say."""
    answerer = Answerer(Held(graph), Allowance(seconds))
    try:
        values = tuple(map(_shaped, answerer.answers(Question(query), threading.Event())))
    except QueryError:
        return failure(PARSER)
    except TraversalError as error:
        return failure(error.kind)
    return Answer("ok", "", values)


def _shaped(value: Any) -> Any:
    if isinstance(value, TraversalMetrics):
        return Shape("TraversalMetrics")
    if isinstance(value, Explanation):
        return Shape("TraversalExplanation")
    if isinstance(value, Presence):
        return Shape("Optional", (str(value.present),))
    return value
