"""GET /api/v1/complete: what an editor of queries suggests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gremlin_api.completion import Completer
from gremlin_api.execution import Executor
from gremlin_api.http.exchange import send_answer, unless_gone
from skytrail.errors import SkytrailError, UsageError
from skytrail.http.guard import Headers, Receive, RefusalError, Scope, Send, refuse

COMPLETE = "/api/v1/complete"

_KNOWN = ("key", "of", "prefix")
_JSON: Headers = [(b"content-type", b"application/json")]
_AGAIN: Headers = [(b"retry-after", b"1")]


class CompletionEndpoint:
    """An ASGI application: without a ``key`` the words of queries, with one its values (``of`` nodes, edges or flows).

    Args:
        completer: tells them.
        executor: where that is done.
    """

    def __init__(self, completer: Completer, executor: Executor) -> None:
        self._completer, self._executor = completer, executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] != "GET":
            await refuse(send, RefusalError(405, "GET is what this takes", [(b"allow", b"GET")]), [])
            return
        try:
            asked = _arguments(scope["query_string"])
            told = await unless_gone(self._executor, lambda cancelled: self._told(asked, cancelled), receive)
        except UsageError as error:
            await refuse(send, RefusalError(400, str(error)), [])
        except SkytrailError as error:
            await refuse(send, RefusalError(503, str(error), _AGAIN), [])
        else:
            if told is not None:
                await send_answer(send, 200, told, _JSON)

    def _told(self, asked: Mapping[str, str], cancelled: threading.Event) -> bytes:
        told: dict[str, Any]
        if asked:
            told = self._completer.values(asked.get("key", ""), asked.get("of", "nodes"), asked.get("prefix", ""), cancelled)
        else:
            told = self._completer.words(cancelled)
        return msgspec.json.encode(told)


def _arguments(query: bytes) -> dict[str, str]:
    try:
        given = dict(parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=len(_KNOWN)))
    except ValueError as error:
        raise UsageError(f"the question is none: {error}") from error
    unknown = sorted(given.keys() - set(_KNOWN))
    if unknown:
        raise UsageError(f"'{unknown[0][:20]}' is not known: use {', '.join(_KNOWN)}")
    return given
