"""The hub's routes of traces: GET /api/v1/trace/<tracking ID>, GET /api/v1/trace."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from flask import Blueprint, Response, request

from skytrail.asking.asker import Asker
from skytrail.asking.questions import Range
from skytrail.asking.terms import Compare, Every, Term
from skytrail.errors import UsageError
from skytrail.moments import parse_moment
from skytrail.settings.values import parse_duration
from topology.path.network import Network
from topology.store.interface import Store
from topology.trace.collect import Collector
from topology.trace.graph import TracedGraph
from topology.trace.judge import judged
from topology.trace.result import Trace

_ARGUMENTS = frozenset({"filter", "at", "duration"})
_TRACKING = re.compile(r"[0-9a-fA-F]{32}")
_COMMUNITY = re.compile(r"1:[A-Za-z0-9+/]{27}=")
_LONGEST = 7 * 86400
PERIOD = "5m"
"""How far back is looked, where it is not said."""


def trace_blueprint(
    asker: Asker,
    store: Store,
    condition: Callable[[str], Term | None],
    clock: Callable[[], int],
    catch_up: Callable[[], object] = lambda: None,
) -> Blueprint:
    """The routes: a conversation by its tracking ID (or Community ID), or the latest one that a ``filter`` finds.

    ``at`` says when (default: now), ``duration`` how far back from there.

    Args:
        asker: asks agents.
        store: the graph.
        condition: what a filter of flows says. Raises FilterError.
        clock: µs since the epoch.
        catch_up: called before an answer about now: returns when what was there to be seen is in the store, or soon.
    """
    blueprint = Blueprint("trace", __name__)

    @blueprint.get("/api/v1/trace/<path:tracking>")
    def of_conversation(tracking: str) -> Response:
        when, moment = _when(clock())
        if _TRACKING.fullmatch(tracking):
            return _json(_traced(Collector(asker, when, _milliseconds), graph(moment), tracking.lower(), ()))
        if _COMMUNITY.fullmatch(tracking):
            return _json(_found(Compare("CommunityID", "within", (tracking,)), when, moment))
        raise UsageError(f"'{tracking[:40]}' is no tracking ID, which has 32 hex digits: take one of 'skytrail flows --json'")

    @blueprint.get("/api/v1/trace")
    def of_filter() -> Response:
        when, moment = _when(clock())
        term = condition(request.args.get("filter", ""))
        return _json(_found(term or Every(()), when, moment))

    def _found(term: Term, when: Range, moment: int | None) -> Trace:
        collector = Collector(asker, when, _milliseconds)
        found = collector.latest(term)
        if not found:
            return _traced(collector, graph(moment), "", ())
        return _traced(collector, graph(moment), found[0], found[1:])

    def graph(moment: int | None) -> TracedGraph:
        if moment is not None:
            return TracedGraph(Network(store.as_of(moment)))
        catch_up()
        return TracedGraph(Network(store.current()))

    def _milliseconds() -> int:
        return clock() // 1000

    return blueprint


def _traced(collector: Collector, graph: TracedGraph, tracking: str, others: Sequence[str]) -> Trace:
    evidence = collector.conversation(tracking, graph.number_of)
    own = evidence.turned.keys()
    return judged(tracking, evidence, graph, [one for one in others if one not in own])


def _when(now: int) -> tuple[Range, int | None]:
    """The range asked about, ms, and the moment of the graph, µs; None: now. Raises UsageError."""
    unknown = sorted(request.args.keys() - _ARGUMENTS)
    if unknown:
        raise UsageError(f"'{unknown[0]}' is not known: use {', '.join(sorted(_ARGUMENTS))}")
    text = request.args.get("duration", PERIOD)
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"duration: {error}") from error
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"duration: {text[:20]} is no time to look back: write 30s, 5m, 2h")
    at = parse_moment(request.args.get("at", "now"), now)
    return Range(max(0, at // 1000 - int(seconds * 1000)), at // 1000), None if at >= now else at


def _json(trace: Trace) -> Response:
    return Response(msgspec.json.encode(trace), content_type="application/json")
