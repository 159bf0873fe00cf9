"""The hub's routes of the graph: GET /api/v1/graph, GET /api/v1/diff."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from skytrail.errors import UsageError
from skytrail.moments import parse_moment
from topology.shape import difference_json, graph_json
from topology.store.interface import Store

Volatile = Mapping[str, Mapping[str, Any]]
"""By ID: what is shown of an element now and never kept."""


def graph_blueprint(
    store: Store,
    volatile: Callable[[], Volatile],
    clock: Callable[[], int],
    catch_up: Callable[[], object] = lambda: None,
) -> Blueprint:
    """The routes: the graph now or ``at`` a moment; what is different ``from`` one ``to`` another (default: now).

    Args:
        store: answers for the past.
        volatile: gives what is volatile now.
        clock: µs since the epoch.
        catch_up: called before an answer about now: returns when what was there to be seen is in the store, or soon.
    """
    blueprint = Blueprint("graph", __name__)

    @blueprint.get("/api/v1/graph")
    def graph() -> Response:
        now = clock()
        at = parse_moment(_arguments("at").get("at", "now"), now)
        if at < now:
            return _json(graph_json(store.as_of(at)))
        catch_up()
        return _json(graph_json(store.current(), volatile()))

    @blueprint.get("/api/v1/diff")
    def diff() -> Response:
        given = _arguments("from", "to")
        if "from" not in given:
            raise UsageError("from: say since when, as -5m or 2026-11-25T14:32:00Z")
        now = clock()
        first, second = parse_moment(given["from"], now), parse_moment(given.get("to", "now"), now)
        if second >= now:
            catch_up()
            second = max(second, clock())
        found = [difference_json(one) for one in store.diff(first, second)]
        edges = [one["Element"] for one in found if "Parent" in one["Element"]]
        names = {one["Element"]["ID"]: _name(one["Element"]["Metadata"]) for one in found}
        for moment in (second, first):  # an end is named as it was last
            unnamed = {edge[end] for edge in edges for end in ("Parent", "Child")} - names.keys()
            if unnamed:
                names |= {one.id: _name(one.state.metadata) for one in store.as_of(moment, unnamed) if one.state}
        for edge in edges:
            edge["Ends"] = [names.get(edge[end], "") for end in ("Parent", "Child")]
        return _json(found)

    return blueprint


def _name(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("Name", ""))


def _arguments(*known: str) -> dict[str, str]:
    unknown = sorted(request.args.keys() - set(known))
    if unknown:
        raise UsageError(f"'{unknown[0]}' is not known: use {', '.join(known)}")
    return dict(request.args.items())


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")
