"""Gremlin Server's HTTP endpoint: ``/gremlin`` and ``/``. Source: HttpGremlinEndpointHandler of TinkerPop 3.7.3."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping

import msgspec

from gremlin_api.answering import Answerer
from gremlin_api.errors import PARSER, TraversalError
from gremlin_api.execution import Executor
from gremlin_api.http.exchange import read_body, send_answer, unless_gone
from gremlin_api.http.notes import note_attributes, note_headers
from gremlin_api.http.request import TEXT, Asked, BadRequestError, accepted, from_body, from_query, header
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.language.errors import QueryError
from gremlin_api.values import Value
from gremlin_api.wire.messages import MessageError, Response, write_response
from skytrail.errors import BusyError, SkytrailError
from skytrail.http.guard import ASGIApp, Headers, Receive, Scope, Send

GREMLIN = "/gremlin"

_JSON: Headers = [(b"content-type", b"application/json")]


class Refused(Exception):  # noqa: N818 - an answer
    """An answer that is no result."""

    def __init__(self, status: int, message: str, kind: str = "", id_: uuid.UUID | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.id = status, message, kind, id_


class GremlinEndpoint:
    """An ASGI application that answers Gremlin as a Gremlin Server does.

    Args:
        answerer: of the questions.
        executor: where they are answered.
    """

    def __init__(self, answerer: Answerer, executor: Executor) -> None:
        self._answerer, self._executor = answerer, executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            asked, kind = await _read(scope, receive)
            body = await self._answered(asked, kind, receive)
        except Refused as refused:
            await send_answer(send, refused.status, _error(refused), _JSON + _retry(refused.status))
            return
        if body is not None:
            beside = note_headers(asked.question.noted.notes)
            await send_answer(send, 200, body, [(b"content-type", kind.encode()), *beside])

    async def _answered(self, asked: Asked, kind: str, receive: Receive) -> bytes | None:
        """The body of the answer; None: the client has gone, and the work has ended."""
        try:
            return await unless_gone(self._executor, lambda cancelled: self._body(asked, kind, cancelled), receive)
        except BusyError as error:
            raise Refused(503, str(error), id_=asked.id) from error
        except QueryError as error:
            raise Refused(500, f"Failed to interpret Gremlin query: {error}", PARSER, asked.id) from error
        except TraversalError as error:
            raise Refused(500, str(error), error.kind, asked.id) from error
        except (MessageError, TypeError) as error:
            raise Refused(500, f"the answer has no form in {kind}: {error}", "", asked.id) from error
        except SkytrailError as error:
            raise Refused(500, str(error), "", asked.id) from error

    def _body(self, asked: Asked, kind: str, cancelled: threading.Event) -> bytes:
        values = self._answerer.answers(asked.question, cancelled)
        if kind == TEXT:
            return _as_text(values)
        data = list(values)
        return write_response(Response(asked.id, 200, "", note_attributes(asked.question.noted.notes), data), kind)


def mounted(paths: Mapping[str, ASGIApp], sockets: Mapping[str, ASGIApp], rest: ASGIApp) -> ASGIApp:
    """One application: each path has its own, and all others the rest; ``/`` is that of ``/gremlin`` where it is asked a query.

    A WebSocket is closed where no path has one.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "websocket":
            if path in sockets:
                await sockets[path](scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        asks = path == "/" and (scope["method"] == "POST" or b"gremlin=" in scope["query_string"])
        await paths.get(GREMLIN if asks else path, rest)(scope, receive, send)

    return answer


async def _read(scope: Scope, receive: Receive) -> tuple[Asked, str]:
    headers: Headers = scope["headers"]
    try:
        if scope["method"] == "GET":
            asked = from_query(scope["query_string"])
        elif scope["method"] == "POST":
            asked = from_body(
                await read_body(receive), header(headers, b"content-type").partition(";")[0] or "application/json"
            )
        else:
            raise Refused(405, "405 Method Not Allowed")
    except BadRequestError as error:
        raise Refused(400, str(error), id_=error.id) from error
    accept = header(headers, b"accept")
    told = accepted(accept)
    if told is None:
        raise Refused(400, f"no serializer for requested Accept header: {accept}", id_=asked.id)
    return asked, told


def _as_text(values: Iterable[Value]) -> bytes:
    return "\n".join(f"==>{java_text(value)}" for value in values).encode()


def _error(refused: Refused) -> bytes:
    told: dict[str, object] = {"message": refused.message}
    if refused.kind:
        told |= {
            "Exception-Class": refused.kind,
            "exceptions": [refused.kind],
            "stackTrace": f"{refused.kind}: {refused.message}",
        }
    if refused.id is not None:
        told["requestId"] = str(refused.id)
    return msgspec.json.encode(told)


def _retry(status: int) -> Headers:
    return [(b"retry-after", b"1")] if status == 503 else []
