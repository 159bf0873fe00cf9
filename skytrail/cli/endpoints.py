"""The composition of what asks a graph: both dialects over HTTP and WebSockets, beside what else a hub serves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytrail.errors import UsageError

if TYPE_CHECKING:
    from gremlin_api.answering import Graphs
    from gremlin_api.execution import Executor
    from gremlin_api.skydive.graph import Graphs as RevisionGraphs
    from skytrail.asking.asker import Asker
    from skytrail.http.guard import ASGIApp
    from skytrail.http.server import Server
    from skytrail.settings.tree import Gremlin, Settings

_TOPOLOGY = "/api/topology"


@dataclass(frozen=True, slots=True)
class Asked:
    """A graph, as each dialect asks it.

    Attributes:
        graphs: for TinkerPop's.
        revisions: for Skydive's.
        asker: of the agents; None: there are none to ask.
    """

    graphs: Graphs
    revisions: RevisionGraphs
    asker: Asker | None = None


def executor_of(settings: Gremlin) -> Executor:
    """Where queries run, so many at once as the settings say."""
    from gremlin_api.execution import Capacity, Executor  # noqa: PLC0415 - only where a hub runs

    return Executor(Capacity(settings.running, settings.waiting, settings.scans, settings.scans_waiting))


def with_gremlin(asked: Asked, executor: Executor, settings: Gremlin, rest: ASGIApp, sockets: Mapping[str, ASGIApp]) -> ASGIApp:
    """One application that answers queries, beside other WebSockets by their paths, and leaves all else to the rest."""
    from gremlin_api.answering import Answerer  # noqa: PLC0415
    from gremlin_api.completion import Completer  # noqa: PLC0415
    from gremlin_api.http.completion import COMPLETE, CompletionEndpoint  # noqa: PLC0415
    from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted  # noqa: PLC0415
    from gremlin_api.http.topology import TopologyEndpoint  # noqa: PLC0415
    from gremlin_api.http.websocket import GremlinSocket  # noqa: PLC0415
    from gremlin_api.interpreter.run import Allowance  # noqa: PLC0415
    from gremlin_api.skydive.answering import SkydiveAnswerer  # noqa: PLC0415
    from gremlin_api.skydive.services import AgentServices  # noqa: PLC0415

    allowance = Allowance(settings.timeout, settings.held, settings.results)
    services = None if asked.asker is None else AgentServices(asked.asker, asked.revisions.clock)
    answerer = Answerer(asked.graphs, allowance, gate=executor.scans, services=services)
    skydive = SkydiveAnswerer(asked.revisions, allowance, gate=executor.scans, asker=asked.asker)
    words = SkydiveAnswerer(asked.revisions, Allowance(_WORDS_SECONDS), gate=executor.scans, asker=asked.asker)
    paths: dict[str, ASGIApp] = {
        COMPLETE: CompletionEndpoint(Completer(words, time.monotonic), executor),
        GREMLIN: GremlinEndpoint(answerer, executor),
        _TOPOLOGY: TopologyEndpoint(skydive, executor),
    }
    return mounted(paths, {GREMLIN: GremlinSocket(answerer, executor), **sockets}, rest)


_RULE_SECONDS = _WORDS_SECONDS = 5.0


def finder(revisions: RevisionGraphs, executor: Executor) -> Callable[[str], list[str]]:
    """What tells rules the TIDs of nodes that a query of Skydive's dialect finds.

    Raises:
        UsageError: the query finds no nodes, by what it says or by what is there.
        SkytrailError: it could not be asked.
    """
    from gremlin_api.errors import TraversalError  # noqa: PLC0415
    from gremlin_api.interpreter.run import Allowance, CancelledError, TimedOutError, TooMuchError  # noqa: PLC0415
    from gremlin_api.skydive.answering import SkydiveAnswerer  # noqa: PLC0415
    from gremlin_api.skydive.kinds import Kind  # noqa: PLC0415

    answerer = SkydiveAnswerer(revisions, Allowance(_RULE_SECONDS), gate=executor.scans)

    def find(query: str) -> list[str]:
        try:
            answer = answerer.answer(query, threading.Event())
        except (CancelledError, TimedOutError, TooMuchError):
            raise
        except TraversalError as error:
            raise UsageError(str(error)) from error
        if answer.kind is not Kind.NODES:
            raise UsageError(f"it gives {answer.kind.value}: a rule asks for nodes")
        return [one.revision.state.tid for one in answer.values if one.revision.state.tid]

    return find


def served(app: ASGIApp, settings: Settings, closers: contextlib.ExitStack) -> Server:
    """The hub's server, started; where drivers look for a Gremlin Server too, if the settings say so. Raises ListenError."""
    from skytrail.http.server import serve  # noqa: PLC0415

    first: Server | None = None
    for listen in filter(None, (settings.hub.listen, settings.gremlin.listen)):
        server = serve(app, listen, settings.http)
        server.start()
        closers.callback(server.stop)
        first = first or server
    assert first is not None
    return first
