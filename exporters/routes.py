"""The agent's routes: GET /api/v1/flows, /api/v1/sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from exporters.flows.collector import FlowsCollector
from exporters.flows.query import read_query, read_wait
from exporters.sockets.collector import SocketsCollector
from skytrail.errors import BusyError, UsageError

_WAITERS = 2  # of the few threads that answer
_ASKERS = 2  # the others are for scrapes and status
_BUSY_SECONDS = 5.0
_PIECES = 32
_ARGUMENTS = frozenset({"filter", "sort", "limit", "wait", "begun"})


def flows_blueprint(collector: FlowsCollector) -> Blueprint:
    """The route: ``filter``, ``sort``, ``limit`` (0: all) as arguments; JSON lines if asked for by Accept.

    With ``wait`` (seconds) and ``begun`` (the last answer's header ``Skytrail-Flows-Begun``) the answer comes as soon as a flow
    has begun since; a few may wait at once, others are answered directly. Few answers are made at a time: 503 beyond.
    """
    blueprint = Blueprint("flows", __name__)
    waiting, asking = threading.BoundedSemaphore(_WAITERS), threading.BoundedSemaphore(_ASKERS)

    @blueprint.get("/api/v1/flows")
    def flows() -> Response:
        unknown = sorted(request.args.keys() - _ARGUMENTS)
        if unknown:
            raise UsageError(f"'{unknown[0]}' is not known: use {', '.join(sorted(_ARGUMENTS))}")
        query = read_query(request.args.get("filter"), request.args.get("sort"), request.args.get("limit"))
        wait = read_wait(request.args.get("begun"), request.args.get("wait"))
        headers = {}
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
            body = _encoded(collector.flow_batches(query), lines=lines)
        finally:
            asking.release()
        return Response(body, content_type="application/x-ndjson" if lines else "application/json", headers=headers)

    return blueprint


def sockets_blueprint(collector: SocketsCollector | None) -> Blueprint:
    """The route: all sockets as of now; JSON lines if asked for by Accept. One answer is made at a time.

    Args:
        collector: None: this agent reads no sockets.
    """
    blueprint = Blueprint("sockets", __name__)
    asking = threading.Lock()

    @blueprint.get("/api/v1/sockets")
    def sockets() -> Response:
        if request.args:
            raise UsageError(f"'{next(iter(request.args))}' is not known: this takes no arguments")
        if collector is None:
            raise NotFound("this agent reads no sockets: see its log, and agent.collectors")
        if not asking.acquire(timeout=_BUSY_SECONDS):
            raise BusyError("others are being answered: ask again")
        try:
            found = collector.sockets()
        finally:
            asking.release()
        lines = "application/x-ndjson" in request.headers.get("Accept", "")
        body = _encoded(iter([found]), lines=lines)
        return Response(body, content_type="application/x-ndjson" if lines else "application/json")

    return blueprint


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
