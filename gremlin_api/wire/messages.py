"""Requests and responses of Gremlin Server's protocol ↔ the frames of its WebSocket. Pure.

Source: TinkerPop's provider documentation, "Graph Driver Provider Requirements", and ``org.apache.tinkerpop.gremlin.util.ser``
of 3.7.3.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from gremlin_api.language.syntax import Predicate
from gremlin_api.numbers import Float
from gremlin_api.values import Map, Path, Tree, Value
from gremlin_api.wire import graphbinary, graphson, graphson2
from gremlin_api.wire.graphbinary import (
    Binding,
    Bytecode,
    GraphbinaryError,
    Instruction,
    Reader,
    Traverser,
)
from gremlin_api.wire.graphson import GraphsonError, Json
from gremlin_api.wire.graphson2 import REMOTE, STRUCTURES, Form, as_type, bare_path
from gremlin_api.wire.untyped import untyped, untyped1

__all__ = [
    "FORMATS",
    "GRAPHBINARY",
    "JSON",
    "Binding",
    "Bytecode",
    "Instruction",
    "MessageError",
    "Request",
    "Response",
    "Traverser",
    "read_request",
    "typed3",
    "write_response",
]

GRAPHBINARY = "application/vnd.graphbinary-v1.0"
JSON = "application/json"
_VERSION = 0x81


class MessageError(ValueError):
    """A frame that is no request, or a response that has no form in the format that is asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        id: the client's.
        operation: ``eval``, ``bytecode`` …
        processor: of the operation; empty: the usual one.
        arguments: by name.
    """

    id: uuid.UUID
    operation: str
    processor: str
    arguments: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Response:
    """A part of an answer.

    Attributes:
        id: the request's; None where it could not be read.
        code: as in HTTP.
        message: why it failed; empty where it did not.
        attributes: what else is said of how it went.
        data: the answers, in a list.
        meta: what is said of the data.
    """

    id: uuid.UUID | None
    code: int
    message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    data: Value = None
    meta: Mapping[str, Value] = field(default_factory=dict)


def read_request(frame: bytes | str) -> tuple[Request, str]:
    """The request that a frame holds, and its content type: a binary frame begins with it, a text's is JSON.

    Raises:
        MessageError: there is none.
    """
    kind, content = (JSON, frame.encode("utf-8", "replace")) if isinstance(frame, str) else _content(frame)
    if kind not in FORMATS:
        raise MessageError(f"requests in {kind!r} are not read here")
    try:
        return (_read_binary(content) if kind == GRAPHBINARY else _read_json(content)), kind
    except (GraphbinaryError, GraphsonError, msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise MessageError(f"this is no request in {kind}: {error}") from error


def write_response(response: Response, kind: str) -> bytes:
    """A response in a format of FORMATS, as a frame's content.

    Raises:
        MessageError: it has no form in it.
    """
    write = FORMATS.get(kind)
    if write is None:
        raise MessageError(f"responses in {kind!r} are not written here")
    try:
        return write(response)
    except (TypeError, ValueError, ArithmeticError, RecursionError, struct.error) as error:
        raise MessageError(f"a response cannot be written in {kind}: {error}") from error


def typed3(value: Value) -> Json:
    """A value in GraphSON 3, of messages too. Raises TypeError."""
    return _THIRD(value)


def _content(frame: bytes) -> tuple[str, bytes]:
    size = frame[0] if frame else 0
    if not 0 < size < 0x80 or len(frame) <= size:
        raise MessageError("a frame that does not begin with a content type")
    return frame[1 : size + 1].decode("ascii", "replace"), frame[size + 1 :]


def _read_binary(content: bytes) -> Request:
    return Reader(content).guarded(_request)


def _request(reader: Reader) -> Request:
    if reader.take(1)[0] < 0x80:
        raise GraphbinaryError("the version's most significant bit is not set")
    return Request(reader.uuid(), reader.text(), reader.text(), reader.named())


_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def _read_json(content: bytes) -> Request:
    told = graphson2.value_of(_decoder.decode(content))
    if not isinstance(told, Map):
        raise GraphsonError("a request is an object")
    arguments = told.get("args")
    named = dict((Map() if arguments is None else arguments).items()) if isinstance(arguments, Map | None) else None
    operation, processor = told.get("op"), told.get("processor", "")
    if named is None or not all(isinstance(one, str) for one in (operation, processor, *named)):
        raise GraphsonError("a request names its operation, its processor and its arguments")
    return Request(uuid.UUID(str(told.get("requestId"))), operation, processor, named)


def _write_binary(response: Response) -> bytes:
    into = bytearray((_VERSION, response.id is None))
    if response.id is not None:
        into += response.id.bytes
    graphbinary.write_integer(into, response.code)
    into.append(0)  # there is a message
    graphbinary.write_text(into, response.message)
    graphbinary.write_pairs(into, response.attributes.items())
    graphbinary.write_pairs(into, response.meta.items())
    graphbinary.write(into, response.data)
    return bytes(into)


def _write_json(form: Callable[[Value], Json]) -> Callable[[Response], bytes]:
    def write(response: Response) -> bytes:
        status = {
            "message": response.message,
            "code": response.code,
            "attributes": form(Map(response.attributes.items())),
        }
        result = {"data": form(response.data), "meta": form(Map(response.meta.items()))}
        id_ = None if response.id is None else str(response.id)
        told = {"requestId": id_, "status": status, "result": result}
        try:
            return _encoder.encode(told)
        except UnicodeEncodeError:
            return _encoder.encode(_whole(told))

    return write


def _whole(told: Json) -> Json:
    """JSON with question marks for halves of characters, which UTF-8 has not: ``substring`` may have cut one in two."""
    if isinstance(told, str):
        return told.encode("utf-8", "replace").decode()
    if isinstance(told, list):
        return [_whole(one) for one in told]
    return {_whole(key): _whole(one) for key, one in told.items()} if isinstance(told, dict) else told


def _predicate(value: Predicate, form: Form) -> Json:
    if value.name in {"within", "without"}:
        return as_type("g:P", {"predicate": value.name, "value": form(list(value.arguments))})
    return REMOTE[Predicate](value, form)


def _map(value: Map, form: Form) -> Json:
    return as_type("g:Map", [form(one) for pair in value.items() for one in pair])


_THIRD = Form(
    {
        **REMOTE,
        Predicate: _predicate,
        **dict.fromkeys((list, tuple), lambda several, form: as_type("g:List", [form(one) for one in several])),
        Map: _map,
        Float: STRUCTURES[Float],
        Tree: lambda one, _form: graphson.typed(one),
        Path: lambda one, _form: graphson.typed(bare_path(one)),
    },
    graphson.typed,
    as_type,
)

FORMATS: dict[str, Callable[[Response], bytes]] = {
    GRAPHBINARY: _write_binary,
    JSON: _write_json(typed3),
    "application/vnd.gremlin-v3.0+json": _write_json(typed3),
    "application/vnd.gremlin-v2.0+json": _write_json(graphson2.typed),
    "application/vnd.gremlin-v3.0+json;types=false": _write_json(untyped),
    "application/vnd.gremlin-v2.0+json;types=false": _write_json(untyped),
    "application/vnd.gremlin-v1.0+json;types=false": _write_json(untyped1),
}
"""By content type: how a response is written; requests are read in all."""
