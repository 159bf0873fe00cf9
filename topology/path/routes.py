"""The hub's route of paths: GET /api/v1/path."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Blueprint, Response, request

from skytrail.errors import UsageError
from skytrail.moments import parse_moment
from topology.path.find import Question, find_path
from topology.store.interface import Store

_ARGUMENTS = ("src", "dst", "port", "proto", "at", "back")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def path_blueprint(store: Store, clock: Callable[[], int], catch_up: Callable[[], object] = lambda: None) -> Blueprint:
    """The route: the path from ``src`` to ``dst`` now, or ``at`` a moment.

    Args:
        store: has the graph of any moment.
        clock: µs since the epoch.
        catch_up: called before an answer about now: returns when what was there to be seen is in the store, or soon.
    """
    blueprint = Blueprint("path", __name__)

    @blueprint.get("/api/v1/path")
    def path() -> Response:
        question, now = _question(), clock()
        at = parse_moment(request.args.get("at", "now"), now)
        if at >= now:
            catch_up()
        found = find_path(store.current() if at >= now else store.as_of(at), question)
        return Response(msgspec.json.encode(found), content_type="application/json")

    return blueprint


def _question() -> Question:
    """What is asked. Raises UsageError."""
    given = request.args
    unknown = sorted(given.keys() - set(_ARGUMENTS))
    if unknown:
        raise UsageError(f"'{unknown[0]}' is not known: use {', '.join(_ARGUMENTS)}")
    for name in ("src", "dst"):
        if not given.get(name):
            raise UsageError(f"{name}: say an address, as 10.0.0.1 or 10.0.0.1@host, or the name of a node")
    port = given.get("port", "0")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5):
        raise UsageError(f"port: '{port[:20]}' is none: write a number up to 65535")
    back = given.get("back", "true").lower()
    if back not in _TRUTHS:
        raise UsageError(f"back: '{back[:20]}' is neither true nor false")
    return Question(given["src"], given["dst"], int(port), given.get("proto", "tcp"), _TRUTHS[back])
