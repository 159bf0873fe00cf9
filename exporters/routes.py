"""The agent's routes: GET /metrics, GET /api/v1/flows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from exporters.flows.collector import FlowsCollector
from exporters.flows.query import read_query
from exporters.outputs.prometheus import Exposition

_PLAIN = "text/plain; version=0.0.4"


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
    """The route: ``filter``, ``sort``, ``limit`` (0: all) as arguments; JSON lines if asked for by Accept."""
    blueprint = Blueprint("flows", __name__)

    @blueprint.get("/api/v1/flows")
    def flows() -> Response:
        found = collector.flows(read_query(request.args.get("filter"), request.args.get("sort"), request.args.get("limit")))
        if "application/x-ndjson" in request.headers.get("Accept", ""):
            return Response(_lines(found), content_type="application/x-ndjson")
        return Response(msgspec.json.encode(found), content_type="application/json")

    return blueprint


def _lines(found: list[dict[str, Any]]) -> Iterator[bytes]:
    for flow in found:
        yield msgspec.json.encode(flow) + b"\n"
