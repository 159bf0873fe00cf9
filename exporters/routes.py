"""The agent's routes: GET /metrics, GET /api/v1/flows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from exporters.flows.collector import FlowsCollector
from exporters.flows.query import read_query, read_wait
from exporters.outputs.prometheus import Exposition

_PLAIN = "text/plain; version=0.0.4"
_WAITERS = 2  # of the few threads that answer


def metrics_blueprint(exposition: Exposition, *, exemplars: bool) -> Blueprint:
    """The route of a scrape; OpenMetrics, and with it exemplars, where the scraper asks for it and ``exemplars`` is on."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        accept = request.headers.get("Accept", _PLAIN) if exemplars else _PLAIN
        body, content_type = exposition.render(accept)
        return Response(body, content_type=content_type)

    return blueprint


def flows_blueprint(collector: FlowsCollector) -> Blueprint:
    """The route: ``filter``, ``sort``, ``limit`` (0: all) as arguments; JSON lines if asked for by Accept.

    With ``wait`` (seconds) and ``begun`` (the last answer's header ``Skytrail-Flows-Begun``) the answer comes as soon as a flow
    has begun since; a few may wait at once, others are answered directly.
    """
    blueprint = Blueprint("flows", __name__)
    waiting = threading.BoundedSemaphore(_WAITERS)

    @blueprint.get("/api/v1/flows")
    def flows() -> Response:
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
        found = collector.flows(query)
        if "application/x-ndjson" in request.headers.get("Accept", ""):
            return Response(_lines(found), content_type="application/x-ndjson", headers=headers)
        return Response(msgspec.json.encode(found), content_type="application/json", headers=headers)

    return blueprint


def _lines(found: list[dict[str, Any]]) -> Iterator[bytes]:
    for flow in found:
        yield msgspec.json.encode(flow) + b"\n"
