"""The agent's routes: GET /api/v1/flows, /api/v1/sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from exporters.flows.collector import FlowsCollector
from exporters.flows.filter_questions import question_of
from exporters.flows.query import Query, largest, read_query, read_wait
from exporters.sockets.collector import SocketsCollector
from skytrail.asking.asker import Answer
from skytrail.asking.questions import FlowsQuestion, Part, Range, SocketsQuestion
from skytrail.asking.terms import Term, compiled
from skytrail.errors import BusyError, UsageError
from skytrail.moments import parse_moment
from skytrail.settings.values import parse_duration

MOST_TOLD = 50_000
"""Flows of the past in one answer: some 300 MB while it is made."""

_WAITERS = 2  # of the few threads that answer
_ASKERS = 2  # the others are for scrapes and status
_BUSY_SECONDS = 5.0
_PIECES = 32
_ARGUMENTS = frozenset({"filter", "sort", "limit", "wait", "begun", "at", "duration"})
_OF_SOCKETS = frozenset({"at", "duration"})


def flows_blueprint(collector: FlowsCollector, answer: Answer) -> Blueprint:
    """The route: ``filter``, ``sort``, ``limit`` (0: all) as arguments; JSON lines if asked for by Accept.

    With ``at`` (a moment) or ``duration`` (the time before that, or before now) it is about the past: the headers
    ``Skytrail-Since`` (ms) and ``Skytrail-Gaps`` (begin-end, in ms) say what is not known.
    With ``wait`` (seconds) and ``begun`` (the last answer's header ``Skytrail-Flows-Begun``) the answer comes as soon as a flow
    has begun since; a few may wait at once, others are answered directly. Few answers are made at a time: 503 beyond.
    """
    blueprint = Blueprint("flows", __name__)
    waiting, asking = threading.BoundedSemaphore(_WAITERS), threading.BoundedSemaphore(_ASKERS)

    @blueprint.get("/api/v1/flows")
    def flows() -> Response:
        _check_arguments(_ARGUMENTS)
        query = read_query(request.args.get("filter"), request.args.get("sort"), request.args.get("limit"))
        wait = read_wait(request.args.get("begun"), request.args.get("wait"))
        when, headers = _when(), {}
        if wait and when:
            raise UsageError("wait: goes without at and duration: the past is there already")
        if wait:
            seconds = wait.seconds if waiting.acquire(blocking=False) else None
            try:
                headers["Skytrail-Flows-Begun"] = str(collector.wait_for_flows(wait.begun, seconds or 0))
            finally:
                if seconds is not None:
                    waiting.release()
        if not asking.acquire(timeout=_BUSY_SECONDS):
            raise BusyError("others are being answered: ask again, or for less by filter and limit")
        try:
            lines = "application/x-ndjson" in request.headers.get("Accept", "")
            if when:
                found = _Past(answer(FlowsQuestion(when, term=_narrowed(query))))
                batches, headers = iter([_largest(found, query)]), found.headers
            else:
                batches = collector.flow_batches(query)
            body = _encoded(batches, lines=lines)
        finally:
            asking.release()
        return Response(body, content_type="application/x-ndjson" if lines else "application/json", headers=headers)

    return blueprint


def sockets_blueprint(collector: SocketsCollector | None, answer: Answer) -> Blueprint:
    """The route: all sockets as of now; JSON lines if asked for by Accept. One answer is made at a time.

    ``at`` and ``duration`` as for flows.

    Args:
        collector: None: this agent reads no sockets.
        answer: gives what is remembered.
    """
    blueprint = Blueprint("sockets", __name__)
    asking = threading.Lock()

    @blueprint.get("/api/v1/sockets")
    def sockets() -> Response:
        _check_arguments(_OF_SOCKETS)
        when = _when()
        if collector is None:
            raise NotFound("this agent reads no sockets: see its log, and agent.collectors")
        if not asking.acquire(timeout=_BUSY_SECONDS):
            raise BusyError("others are being answered: ask again")
        headers = {}
        try:
            if when:
                past = _Past(answer(SocketsQuestion(when)))
                found, headers = list(past), past.headers
            else:
                found = collector.sockets()
        finally:
            asking.release()
        lines = "application/x-ndjson" in request.headers.get("Accept", "")
        body = _encoded(iter([found]), lines=lines)
        return Response(body, content_type="application/x-ndjson" if lines else "application/json", headers=headers)

    return blueprint


def _narrowed(query: Query) -> Term | None:
    """What every flow that a filter wants meets, for the search; None: nothing is known of it."""
    if query.filter is None or "~" in query.filter.text:  # a pattern may be one of numbers
        return None
    try:
        term = question_of(query.filter.text)
        if term is not None:
            compiled(term)
    except UsageError:  # what can only be seen of a flow as a whole
        return None
    return term


def _largest(found: Iterable[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """As :func:`largest`, but never all of a long time. Raises UsageError."""
    told = largest(found, query if query.limit else replace(query, limit=MOST_TOLD + 1))
    if len(told) > MOST_TOLD:
        raise UsageError(f"more than {MOST_TOLD} flows: ask for a shorter time, or for less by filter and limit")
    return told


class _Past:
    """What is found of the past, and, once that is read, headers that say what is not known."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self.headers: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self._parts:
            if part.since is not None:
                self.headers["Skytrail-Since"] = str(part.since)
            if part.gaps:
                self.headers["Skytrail-Gaps"] = ",".join(f"{gap.begin}-{gap.end}" for gap in part.gaps)
            yield from part.found


def _check_arguments(known: frozenset[str]) -> None:
    unknown = sorted(request.args.keys() - known)
    if unknown:
        raise UsageError(f"'{unknown[0]}' is not known: use {', '.join(sorted(known))}")


def _when() -> Range | None:
    """The range that the URL names; None: it is about now."""
    at, duration = request.args.get("at"), request.args.get("duration")
    if at is None and duration is None:
        return None
    end = parse_moment(at or "now", time.time_ns() // 1_000) // 1_000
    try:
        before = int(parse_duration(duration or "0") * 1_000)
    except ValueError as error:
        raise UsageError(f"duration: {error}") from error
    return Range(max(0, end - before), end)


def _encoded(batches: Iterator[list[dict[str, Any]]], *, lines: bool) -> list[bytes]:
    """Batch by batch, so that hardly more than the bytes stands in memory; in few pieces, for which no thread has to wait.

    (A piece waits for a slow client in a queue; only when that is full a thread waits too: skytrail.http.app.as_asgi.)
    """
    pieces, between = [] if lines else [b"["], b""
    for batch in batches:
        encoded = [msgspec.json.encode(flow) for flow in batch]
        if lines:
            pieces.append(b"".join(flow + b"\n" for flow in encoded))
        elif encoded:
            pieces.append(between + b",".join(encoded))
            between = b","
        if len(pieces) > _PIECES:
            pieces = [b"".join(pieces[at : at + 2]) for at in range(0, len(pieces), 2)]
    return pieces if lines else [*pieces, b"]"]
