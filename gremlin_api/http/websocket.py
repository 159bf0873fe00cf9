"""Gremlin Server's WebSocket subprotocol: requests and responses as messages, in GraphBinary 1 or GraphSON.

Source: TinkerPop's provider documentation, "Graph Driver Provider Requirements"; StandardOpProcessor and TraversalOpProcessor
of 3.7.3.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import itertools
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

import structlog

from gremlin_api.answering import Answerer
from gremlin_api.errors import PARSER, TraversalError
from gremlin_api.execution import Executor
from gremlin_api.http.bytecode import from_bytecode
from gremlin_api.http.notes import note_attributes
from gremlin_api.http.request import BadRequestError, question_of
from gremlin_api.interpreter.run import TimedOutError
from gremlin_api.language.errors import QueryError
from gremlin_api.notes import Noted
from gremlin_api.values import Edge, Element, Value, Vertex, VertexProperty
from gremlin_api.wire.messages import (
    JSON,
    Bytecode,
    MessageError,
    Request,
    Response,
    Traverser,
    read_request,
    write_response,
)
from skytrail.errors import BusyError, SkytrailError
from skytrail.http.credentials import OverloadError
from skytrail.http.guard import Receive, Scope, Send

SUCCESS, NO_CONTENT, PARTIAL = 200, 204, 206
UNAUTHORIZED, AUTHENTICATE = 401, 407
TOO_MANY, MALFORMED, BAD_ARGUMENTS = 429, 498, 499
FAILED, FAILED_STEP, FAILED_EVALUATION, TIMED_OUT, NO_FORM = 500, 595, 597, 598, 599

_BATCH, _MOST_BATCHED = 64, 10_000
_WAITING = 8_192  # requests of one client: a Gremlin Server's maxWorkQueueSize
_WAITING_SIZE = 4 << 20  # of these, in bytes or characters
_FAIL_STEP = "FailStep$FailException"
_INSIDE = "this failed inside: the log says why"
_BROKEN, _CLOSING = 1011, 5.0  # a close's code: RFC 6455, 7.4.1; seconds that a client may take to read it

_log = structlog.get_logger(__name__)

Login: TypeAlias = Callable[[bytes], Awaitable[bool]]
"""Whether the value of an Authorization header names somebody we know."""

LOGIN = "skytrail.login"
"""Key of a scope's: a :data:`Login`, where nobody is known yet and somebody must be."""


class GremlinSocket:
    """An ASGI application for WebSockets that answers Gremlin as a Gremlin Server does.

    Args:
        answerer: of the questions.
        executor: where they are answered.
    """

    def __init__(self, answerer: Answerer, executor: Executor) -> None:
        self._answerer, self._executor = answerer, executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a client until it goes: its requests one after the other."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        client = _Client(self._answerer, self._executor, scope.get(LOGIN), send)
        parts = [asyncio.create_task(client.listen(receive)), asyncio.create_task(client.work())]
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            client.gone.set()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        errors = [error for part in ended if (error := part.exception()) is not None]
        failed = next((error for error in errors if not isinstance(error, OSError)), None)  # that is: it has gone
        if failed is not None:
            _log.error("connection failed", exc_info=failed)
            with contextlib.suppress(OSError):  # who does not read does not see it
                async with asyncio.timeout(_CLOSING):
                    await send({"type": "websocket.close", "code": _BROKEN, "reason": _INSIDE})


class _Client:
    """One connection.

    Attributes:
        gone: set when nobody waits for answers any more.
    """

    def __init__(self, answerer: Answerer, executor: Executor, login: Login | None, send: Send) -> None:
        self._answerer, self._executor, self._login, self._send = answerer, executor, login, send
        self._waiting: asyncio.Queue[bytes | str] = asyncio.Queue(_WAITING)
        self._size = 0  # of what waits
        self._before: tuple[Request, str] | None = None  # what waits for its client to say who it is
        self.gone = threading.Event()

    async def listen(self, receive: Receive) -> None:
        """Take requests in until the client goes; never wait for a place: who waited here would not see it go."""
        while (message := await receive())["type"] != "websocket.disconnect":
            frame = message.get("bytes") or message.get("text") or b""
            if self._waiting.full() or (self._size and self._size + len(frame) > _WAITING_SIZE):
                await self._refuse(frame)
                continue
            self._size += len(frame)
            self._waiting.put_nowait(frame)

    async def work(self) -> None:
        """Answer requests, one after the other."""
        while True:
            frame = await self._waiting.get()
            self._size -= len(frame)
            await self._answer(frame)
            await asyncio.sleep(0)  # where nothing had to be waited for, others have their turn

    async def _refuse(self, frame: bytes | str) -> None:
        reason = f"{self._waiting.qsize()} requests of this connection wait already: wait for their answers"
        try:
            request, kind = read_request(frame)
        except MessageError:
            await self._say(Response(None, TOO_MANY, reason), JSON)
            return
        await self._say(Response(request.id, TOO_MANY, reason), kind)

    async def _answer(self, frame: bytes | str) -> None:
        try:
            request, kind = read_request(frame)
        except MessageError as error:
            await self._say(Response(None, BAD_ARGUMENTS, f"the request could not be read: {error}"), JSON)
            return
        if request.operation == "authentication":
            authenticated = await self._authenticated(request, kind)
            if authenticated is None:
                return
            request, kind = authenticated
        elif self._login is not None:
            self._before = request, kind
            await self._say(Response(request.id, AUTHENTICATE), kind)
            return
        await self._respond(request, kind)

    async def _authenticated(self, request: Request, kind: str) -> tuple[Request, str] | None:
        """The request that waited, where its client is known now (SASL PLAIN, RFC 4616)."""
        before, self._before = self._before, None
        if self._login is None or before is None:
            await self._say(Response(request.id, BAD_ARGUMENTS, "nobody was asked to authenticate"), kind)
            return None
        name, password = _plain(request.arguments.get("sasl"))
        header = b"Basic " + base64.b64encode(f"{name}:{password}".encode())
        try:
            known = await self._login(header)
        except OverloadError:
            await self._say(Response(request.id, TOO_MANY, "too many passwords are being checked: try again"), kind)
            return None
        if not known:
            await self._say(Response(request.id, UNAUTHORIZED, "Username and/or password are incorrect"), kind)
            return None
        self._login = None
        return before

    async def _respond(self, request: Request, kind: str) -> None:
        refusal = _refusal(request)
        if refusal is not None:
            await self._say(refusal, kind)
            return
        try:
            frames = await self._executor.answer(lambda event: self._frames(request, kind, event), self.gone)
        except BusyError as error:
            await self._say(Response(request.id, FAILED, str(error)), kind)
            return
        except (SkytrailError, MessageError) as error:
            await self._say(_failure(request, error), kind)
            return
        except Exception:  # noqa: BLE001 - the requests after it can be answered still
            _log.exception("request failed")
            await self._say(Response(request.id, FAILED, _INSIDE), kind)
            return
        for frame in frames:
            await self._send({"type": "websocket.send", "bytes": frame})

    async def _say(self, response: Response, kind: str) -> None:
        await self._send({"type": "websocket.send", "bytes": write_response(response, kind)})

    def _frames(self, request: Request, kind: str, cancelled: threading.Event) -> list[bytes]:
        """All frames of an answer."""
        noted = Noted()
        return list(_written(request.id, self._batches(request, noted, cancelled), noted, kind))

    def _batches(self, request: Request, noted: Noted, cancelled: threading.Event) -> Iterator[list[Value]]:
        arguments = dict(request.arguments)
        values: Iterable[Value]
        if request.operation == "bytecode":
            sent = from_bytecode(arguments["gremlin"], self._answerer.limits)
            arguments |= sent.options
            question = replace(question_of({**arguments, "gremlin": "", "aliases": None}), noted=noted)
            found = self._answerer.traversers(sent.traversal, question, cancelled)
            values = (Traverser(one.bulk, one.value) for one in found)
        else:
            values = self._answerer.answers(replace(question_of(arguments), noted=noted), cancelled)
        if arguments.get("materializeProperties") == "tokens":
            values = map(_bare, values)
        size = arguments.get("batchSize")
        many = min(max(size, 1), _MOST_BATCHED) if isinstance(size, int) else _BATCH
        iterator = iter(values)
        while batch := list(itertools.islice(iterator, many)):
            yield batch


def _refusal(request: Request) -> Response | None:
    """Why a request is not one that is answered here; None: it is."""
    if request.processor not in ("", "traversal"):
        return Response(request.id, BAD_ARGUMENTS, f"Invalid OpProcessor requested [{request.processor}]")
    if request.operation not in ("eval", "bytecode"):
        return Response(request.id, MALFORMED, f"Message could not be parsed: the operation {request.operation!r} is not known")
    wanted = Bytecode if request.operation == "bytecode" else str
    if not isinstance(request.arguments.get("gremlin"), wanted):
        return Response(
            request.id, BAD_ARGUMENTS, f"A message with an [{request.operation}] op code requires a [gremlin] argument"
        )
    return None


def _written(id_: uuid.UUID, batches: Iterator[list[Value]], noted: Noted, kind: str) -> Iterator[bytes]:
    before = next(batches, None)
    if before is None:
        yield write_response(Response(id_, NO_CONTENT, "", note_attributes(noted.notes)), kind)
        return
    for batch in batches:
        yield write_response(Response(id_, PARTIAL, data=before), kind)
        before = batch
    yield write_response(Response(id_, SUCCESS, "", note_attributes(noted.notes), before), kind)


def _failure(request: Request, error: Exception) -> Response:
    id_, failed = request.id, FAILED_EVALUATION if request.operation == "eval" else FAILED
    if isinstance(error, QueryError):
        return _told(id_, FAILED_EVALUATION, f"Failed to interpret Gremlin query: {error}", PARSER)
    if isinstance(error, BadRequestError):
        return Response(id_, BAD_ARGUMENTS, str(error))
    if isinstance(error, TimedOutError):
        return _told(id_, TIMED_OUT, str(error), error.kind)
    if isinstance(error, TraversalError):
        return _told(id_, FAILED_STEP if error.kind.endswith(_FAIL_STEP) else failed, str(error), error.kind)
    if isinstance(error, MessageError):
        return Response(id_, NO_FORM, str(error))
    return Response(id_, failed, str(error))


def _told(id_: uuid.UUID, code: int, message: str, kind: str) -> Response:
    attributes: Mapping[str, Value] = {"exceptions": [kind], "stackTrace": f"{kind}: {message}"}
    return Response(id_, code, message, attributes)


def _plain(sasl: Value) -> tuple[str, str]:
    """The name and the password of a PLAIN response: bytes, or base64 of them."""
    try:
        content = sasl if isinstance(sasl, bytes) else base64.b64decode(str(sasl), validate=True)
        _, name, password = content.split(b"\0")
        return name.decode(), password.decode()
    except (binascii.Error, ValueError):
        return "", ""


def _bare(value: Value) -> Value:
    """An element without its properties."""
    if isinstance(value, Traverser):
        return Traverser(value.bulk, _bare(value.value))
    if isinstance(value, Vertex):
        return Vertex(value.id, value.label)
    if isinstance(value, Edge):
        return Edge(value.id, value.label, value.out, value.into)
    if isinstance(value, VertexProperty):
        return VertexProperty(value.id, value.label, value.value)
    assert not isinstance(value, Element)
    return value
