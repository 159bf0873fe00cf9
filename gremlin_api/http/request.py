"""A request to Gremlin Server's HTTP endpoint → what is asked. Pure. Source: HttpHandlerUtil of TinkerPop 3.7.3."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec

from gremlin_api.answering import Question
from gremlin_api.numbers import Long
from gremlin_api.values import Map, Value
from gremlin_api.wire.messages import FORMATS, MessageError, read_request
from skytrail.errors import UsageError

LANGUAGES = ("gremlin-lang", "gremlin-groovy")
"""Both mean the same here: the grammar of gremlin-lang, which is a part of what Groovy takes."""
SOURCES = ("g",)
"""Names of the graph's traversal source."""
TEXT = "text/plain"
JSON = "application/json"


class BadRequestError(UsageError):
    """A request that is none.

    Attributes:
        id: of the request, where it could be read.
    """

    id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        id: the client's, or one of ours.
        question: what is asked.
    """

    id: uuid.UUID
    question: Question


def from_query(query: bytes) -> Asked:
    """What the query of a GET's URL asks. Raises BadRequestError."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise BadRequestError("the URL's query is not UTF-8") from error
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    fields: dict[str, Value] = {key: first[key] for key in ("gremlin", "language", "requestId", "at") if key in first}
    for name in ("bindings", "aliases"):
        fields[name] = {key.removeprefix(f"{name}."): value for key, value in first.items() if key.startswith(f"{name}.")}
    if not fields.get("gremlin"):
        raise BadRequestError("no gremlin script supplied")
    return _asked(fields)


def from_body(body: bytes, content_type: str) -> Asked:
    """What the body of a POST asks: JSON, or a message as clients of the WebSocket send it. Raises BadRequestError."""
    if content_type != JSON and content_type in FORMATS:
        return _from_message(body, content_type)
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError("body could not be parsed") from error
    if not isinstance(fields, dict) or "gremlin" not in fields:
        raise BadRequestError("no gremlin script supplied")
    for name in ("bindings", "aliases"):
        if not isinstance(fields.get(name, {}), dict):
            raise BadRequestError(f"{name} must be a Map")
    return _asked(fields)


def _from_message(body: bytes, content_type: str) -> Asked:
    framed = body if not body.startswith(b"{") else bytes((len(content_type),)) + content_type.encode() + body
    try:
        request, _ = read_request(framed)
    except MessageError as error:
        raise BadRequestError(f"body could not be parsed: {error}") from error
    arguments = request.arguments
    if not isinstance(arguments.get("gremlin"), str):
        raise BadRequestError("no gremlin script supplied")
    return Asked(request.id, question_of(arguments))


def question_of(arguments: Mapping[str, Value]) -> Question:
    """The question of an ``eval`` request's arguments. Raises BadRequestError."""
    bindings = arguments.get("bindings")
    told = dict(bindings.items()) if isinstance(bindings, Map | dict) else {}
    _check_names(arguments.get("aliases"), arguments.get("language"))
    timeout = arguments.get("evaluationTimeout")
    seconds = timeout / 1000 if isinstance(timeout, int) and timeout > 0 else None
    at = arguments.get("at")
    return Question(arguments["gremlin"], told, None if at is None else str(at), seconds)


def _check_names(aliases: Value, language: Value) -> None:
    if language is not None and language not in LANGUAGES:
        raise BadRequestError(f"the language {language} is not spoken here: use {LANGUAGES[0]}")
    pairs = aliases.items() if isinstance(aliases, Map | dict) else ()
    for name, source in pairs:
        if source not in SOURCES:
            raise BadRequestError(
                f"Could not rebind [{name}] to [{source}] as [{source}] not in the Graph or TraversalSource global bindings"
            )


def _asked(fields: Mapping[str, Value]) -> Asked:
    try:
        id_ = uuid.UUID(str(fields["requestId"])) if fields.get("requestId") is not None else uuid.uuid4()
    except ValueError as error:
        raise BadRequestError(f"requestId is no UUID: {fields['requestId']}") from error
    try:
        _check_names(fields.get("aliases"), fields.get("language"))
    except BadRequestError as error:
        error.id = id_
        raise
    bindings = {str(key): _plain(value) for key, value in fields.get("bindings", {}).items()}
    at = fields.get("at")
    return Asked(id_, Question(str(fields["gremlin"]), bindings, None if at is None else str(at)))


def _plain(value: Value) -> Value:
    """JSON as Gremlin Server takes it: whole numbers are Longs, others Doubles."""
    if isinstance(value, dict):
        return Map((key, _plain(one)) for key, one in value.items())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return Long(value)
    return value


def accepted(accept: str) -> str | None:
    """The content type of the answer, of those that are accepted; None: there is none of them."""
    for kind in sorted((one.strip() for one in accept.split(",")), key=_quality, reverse=True):
        bare = kind.partition(";q=")[0].strip()
        if bare in ("", "*/*", "application/*"):
            return JSON
        if bare in FORMATS or bare == TEXT:
            return bare
        if bare.startswith("text/plain"):
            return TEXT
    return None


def _quality(kind: str) -> float:
    try:
        return float(kind.partition(";q=")[2] or 1.0)
    except ValueError:
        return 0.0


def header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """The first header of that name; empty: there is none."""
    return next((value.decode("latin1") for key, value in headers if key == name), "")
