"""Skydive's ``/api/topology``: a query of its dialect in, JSON or a graph for Graphviz out.

Source: Skydive's api/server/topology.go; what a running one answers and should not (an ``Accept`` header given back as the
content type, a panic for wrong arguments) is mended.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gremlin_api.execution import Executor
from gremlin_api.http.exchange import read_body, send_answer, smaller, takes_gzip, unless_gone
from gremlin_api.http.notes import note_headers
from gremlin_api.http.permission import lacking
from gremlin_api.http.request import header
from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import Answer, as_graphviz, as_json, first_as_json
from gremlin_api.skydive.kinds import Kind
from skytrail.errors import BusyError, RunError, SkytrailError, UsageError
from skytrail.http.guard import Headers, Receive, RefusalError, Scope, Send, refuse
from topology.store.interface import StoreError

_JSON, _GRAPHVIZ, _PCAP = "application/json", "text/vnd.graphviz", "application/vnd.tcpdump.pcap"
_WHOLE = "G"
_METHODS = b"GET, HEAD, POST"
_FIELD, _KEYS = "gremlinquery", "keys"
_EMPTY_PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)  # of Ethernet


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, status: int, reason: str, headers: Headers | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or []


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked.

    Attributes:
        text: the query; empty: none was given; None: the whole graph is asked for.
        keys: of Metadata that elements are told with; None: all.
    """

    text: str | None
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Body:
    data: bytes
    headers: Headers


class TopologyEndpoint:
    """An ASGI application that answers Skydive's queries.

    Args:
        answerer: of the queries.
        executor: where they are answered.
    """

    def __init__(self, answerer: SkydiveAnswerer, executor: Executor) -> None:
        self._answerer, self._executor = answerer, executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: POST a query, GET the whole graph."""
        headers: Headers = scope["headers"]
        try:
            asked = await _query(scope["method"], receive)
            if asked.text == "":
                await send_answer(send, 204, b"", [])
                return
            if (lacks := lacking(scope, asked.text or _WHOLE)) is not None:
                await refuse(send, RefusalError(403, lacks), [])
                return
            kind = _kind(header(headers, b"accept"))
            packed = takes_gzip(header(headers, b"accept-encoding"))
            body = await self._answered(asked, kind, receive, packed=packed)
        except _Refused as refused:
            reason = f"{refused}\n".encode()
            await send_answer(send, refused.status, reason, [_content("text/plain; charset=utf-8"), *refused.headers])
            return
        if body is not None:
            await send_answer(send, 200, b"" if scope["method"] == "HEAD" else body.data, body.headers)

    async def _answered(self, asked: _Asked, kind: str, receive: Receive, *, packed: bool) -> _Body | None:
        def work(cancelled: threading.Event) -> _Body:
            answer = self._answerer.answer(asked.text or _WHOLE, cancelled)
            data = _encoded(answer, kind, asked)
            if data is None:
                raise _Refused(406, f"{kind} tells another kind of answer than {answer.kind.value}: ask for {_JSON}")
            headers = [_content(f"{kind}; charset=UTF-8"), (b"vary", b"accept, accept-encoding"), *note_headers(answer.notes)]
            small = smaller(data) if packed else None
            return _Body(data, headers) if small is None else _Body(small, [*headers, (b"content-encoding", b"gzip")])

        try:
            return await unless_gone(self._executor, work, receive)
        except BusyError as error:
            raise _Refused(503, str(error), [(b"retry-after", b"1")]) from error
        except StoreError as error:
            raise _Refused(503, str(error)) from error
        except (UsageError, RunError) as error:
            raise _Refused(400, str(error)) from error
        except SkytrailError as error:
            raise _Refused(500, str(error)) from error


def _content(kind: str) -> tuple[bytes, bytes]:
    return b"content-type", kind.encode()


async def _query(method: str, receive: Receive) -> _Asked:
    if method in ("GET", "HEAD"):
        return _Asked(None)
    if method != "POST":
        raise _Refused(405, f"{method} is not known here: POST a query, or GET the graph", [(b"allow", _METHODS)])
    body = await read_body(receive)
    if not body.strip():
        return _Asked("")
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, f"the body is no JSON: {error}") from error
    if not isinstance(fields, Mapping):
        raise _Refused(400, 'the body is {"GremlinQuery": "G.V()"}')
    given = {key.lower(): value for key, value in fields.items()}
    text, keys = given.get(_FIELD, ""), given.get(_KEYS)
    if not isinstance(text, str):
        raise _Refused(400, "GremlinQuery is text")
    if keys is not None and not (isinstance(keys, list) and all(isinstance(one, str) for one in keys)):
        raise _Refused(400, 'Keys is a list of keys of Metadata: ["Name", "Type"]')
    return _Asked(text.strip(), None if keys is None else tuple(dict.fromkeys(keys)))


def _kind(accept: str) -> str:
    """The content type of the answer: JSON where nothing else that is known is asked for first."""
    for one in accept.split(","):
        kind = one.partition(";")[0].strip().lower()
        if kind in (_JSON, _GRAPHVIZ, _PCAP):
            return kind
    return _JSON


def _encoded(answer: Answer, kind: str, asked: _Asked) -> bytes | None:
    """The body; None: the answer has no form in that content type."""
    if kind == _GRAPHVIZ:
        return as_graphviz(answer)
    if kind == _PCAP:
        return _EMPTY_PCAP if answer.kind is Kind.PACKETS else None
    return first_as_json(answer) if asked.text is None else as_json(answer, asked.keys)
