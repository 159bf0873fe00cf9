"""The Flask application that every process has: /healthz, /readyz, /api/status, and errors as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import structlog
from a2wsgi import WSGIMiddleware
from flask import Blueprint, Flask, Response, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from skytrail.errors import SkytrailError, UsageError
from skytrail.http.guard import ASGIApp, Receive, RefusalError, Scope, Send, refuse

WORKERS = 4
"""Threads that answer questions (paths below :data:`QUESTIONS`), and as many for all else: scrapes and health never wait."""

SERVICE_HEADER = "Skytrail-Service"
"""What a client knows our servers by."""

QUESTIONS = ("/api/v1/", "/api/noderule", "/api/edgerule")
WAITING = 32
"""Questions that may be there at once; one more is refused."""

log = structlog.get_logger(__name__)


def create_app(
    name: str,
    status: Callable[[], dict[str, object]],
    ready: Callable[[], dict[str, str | None]],
    blueprints: Iterable[Blueprint],
    notes: Callable[[], dict[str, str]] = dict,
) -> Flask:
    """Return the application of ``name`` (``agent``, ``hub``).

    ``status`` gives the body of /api/status. ``ready`` gives each part's name with None when it is ready, or with what
    it waits for: /readyz answers 200 or 503 by that. ``notes`` gives what a part leaves out, which holds up nothing. All are
    called in any of the worker threads, on each request.
    """
    app = Flask(f"skytrail.{name}", static_folder=None, template_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        parts = ready()
        waiting = {part: reason for part, reason in parts.items() if reason is not None}
        noted = {"notes": more} if (more := notes()) else {}
        return jsonify(ready=not waiting, waiting=waiting, parts=list(parts), **noted), 503 if waiting else 200

    @app.get("/api/status")
    def api_status() -> ResponseReturnValue:
        return jsonify(status())

    @app.after_request
    def named(response: Response) -> Response:
        response.headers[SERVICE_HEADER] = name
        return response

    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(SkytrailError, _own_error)
    app.register_error_handler(Exception, _unforeseen_error)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app


def as_asgi(app: Flask, workers: int = WORKERS) -> ASGIApp:
    """Return ``app`` as an ASGI application that answers questions in at most ``workers`` threads, and all else in others.

    An answer's chunks wait for a slow client in a queue, so that up to 64 of them leave the worker free.
    """
    # a2wsgi's types are its own TypedDicts; ours are the open mappings of the ASGI specification.
    quick, slow = (
        cast("ASGIApp", WSGIMiddleware(cast("Any", app.wsgi_app), workers=workers, send_queue_size=64)) for _ in range(2)
    )
    there = 0

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal there
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if not scope.get("path", "").startswith(QUESTIONS):
            await quick(scope, receive, send)
            return
        if there >= WAITING:
            await refuse(send, RefusalError(503, "others are being answered: ask again a little later"), [])
            return
        there += 1
        try:
            await slow(scope, receive, send)
        finally:
            there -= 1

    return answer


def _error(status: int, message: str) -> Response:
    response = jsonify(error=message, status=status)
    response.status_code = status
    return response


def _http_error(exc: HTTPException) -> Response:
    response = _error(exc.code or 500, exc.description or exc.name)
    if exc.response is None:
        for key, value in exc.get_headers():
            if key.lower() not in {"content-type", "content-length"}:
                response.headers[key] = value  # Allow of 405, Retry-After of 429 …
    return response


def _own_error(exc: SkytrailError) -> Response:
    """The caller's words were wrong, or the world is not as they need it."""
    return _error(400 if isinstance(exc, UsageError) else 503, str(exc))


def _unforeseen_error(exc: Exception) -> Response:
    log.error("request failed", exc_info=exc)
    return _error(500, "internal error; the log of this process tells more")
