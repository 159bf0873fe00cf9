"""Skydive's REST resources of the graph: /api, node rules, edge rules, /api/config, and the document that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import Conflict, NotFound

from skytrail import __version__
from skytrail.errors import UsageError
from skytrail.settings.values import parse_duration
from topology.rules import KINDS, DuplicateRuleError, Rules

_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_TTL = "X-Resource-TTL"


def resources_blueprint(rules: Rules, host: str, config: Mapping[str, object]) -> Blueprint:
    """The routes.

    Args:
        rules: that are kept and applied.
        host: of this hub.
        config: the effective settings as they may be shown, by dotted key.
    """
    blueprint = Blueprint("resources", __name__)

    @blueprint.get("/api")
    def api() -> Response:
        return _json({"Host": host, "Version": __version__, "Service": "hub"})

    @blueprint.get("/api/config/<path:key>")
    def setting(key: str) -> Response:
        if key not in config:
            raise NotFound(f"there is no setting '{key[:60]}': 'skytrail config --reference' tells all")
        return _json(config[key])

    @blueprint.get("/api/openapi.json")
    def document() -> Response:
        return _json(openapi())

    for kind in KINDS:
        _add_routes(blueprint, rules, kind)
    return blueprint


def _add_routes(blueprint: Blueprint, rules: Rules, kind: str) -> None:
    def collection() -> Response:
        return _json(rules.all(kind))

    def create() -> Response:
        try:
            made = rules.add(kind, _body(kind), _seconds())
        except DuplicateRuleError as error:
            raise Conflict(str(error)) from error
        return _json(made, 201)

    def one(id_: str) -> Response:
        found = rules.all(kind).get(id_)
        if found is None:
            raise _missing(kind, id_)
        return _json(found)

    def remove(id_: str) -> Response:
        if not rules.remove(kind, id_):
            raise _missing(kind, id_)
        return Response(b"", 200)

    whole, single = f"/api/{kind}", f"/api/{kind}/<id_>"
    blueprint.add_url_rule(whole, f"{kind}s", collection, methods=["GET"])
    blueprint.add_url_rule(whole, f"{kind}_create", create, methods=["POST"])
    blueprint.add_url_rule(single, kind, one, methods=["GET"])
    blueprint.add_url_rule(single, f"{kind}_remove", remove, methods=["DELETE"])


def _missing(kind: str, id_: str) -> NotFound:
    return NotFound(f"{kind} '{id_[:60]}' not found")


def _body(kind: str) -> Any:  # noqa: ANN401 - a rule of that kind
    """Raises UsageError."""
    decode = msgspec.yaml.decode if request.mimetype in _YAML else msgspec.json.decode
    try:
        return decode(request.get_data(), type=KINDS[kind])
    except RecursionError as error:
        raise UsageError(f"the body is no {kind}: it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"the body is no {kind}: {error}") from error


def _seconds() -> float | None:
    """After which what is made goes again. Raises UsageError."""
    text = request.headers.get(_TTL)
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{_TTL}: {error}") from error
    if not 0 < seconds < 1e9:
        raise UsageError(f"{_TTL}: {text} is no time to live: write 30s or 5m")
    return seconds


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, content_type="application/json")


# The document


def openapi() -> dict[str, Any]:
    """The OpenAPI document of these routes. Source: OpenAPI Specification 3.1.0."""
    (rules, schemas) = msgspec.json.schema_components(list(KINDS.values()), ref_template="#/components/schemas/{name}")
    schemas["Error"] = {
        "type": "object",
        "required": ["error", "status"],
        "properties": {"error": {"type": "string"}, "status": {"type": "integer"}},
    }
    info = {"type": "object", "required": ["Host", "Version", "Service"], "additionalProperties": {"type": "string"}}
    paths: dict[str, Any] = {
        "/api": {"get": _operation("Who answers", {"200": _answer("this hub", info)})},
        "/api/openapi.json": {"get": _operation("This document", {"200": _answer("the document", {"type": "object"})})},
        "/api/config/{key}": {
            "parameters": [_parameter("key")],
            "get": _operation(
                "The effective value of a setting", {"200": _answer("the value", {}), "404": _error("no setting")}
            ),
        },
    }
    for kind, rule in zip(KINDS, rules, strict=True):
        paths |= _paths_of(kind, rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skytrail's hub: Skydive's resources", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _paths_of(kind: str, rule: dict[str, Any]) -> dict[str, Any]:
    ttl = {"name": _TTL, "in": "header", "schema": {"type": "string"}, "description": "it goes after that time: 30s, 5m"}
    made = {"201": _answer("as it is kept", rule), "400": _error("it says what cannot be"), "409": _error("it is there")}
    found, missing = _answer(f"the {kind}", rule), _error("there is none")
    all_of = {"type": "object", "additionalProperties": rule}
    return {
        f"/api/{kind}": {
            "get": _operation(f"All of kind {kind}", {"200": _answer("by UUID", all_of), "503": _error("no store")}),
            "post": _operation(
                f"Make a {kind}",
                {**made, "415": _error("another content type"), "503": _error("it cannot be kept")},
                parameters=[ttl],
                requestBody={"required": True, "content": {"application/json": {"schema": rule}}},
            ),
        },
        f"/api/{kind}/{{id}}": {
            "parameters": [_parameter("id")],
            "get": _operation(f"One {kind}", {"200": found, "404": missing, "503": _error("no store")}),
            "delete": _operation(
                f"Undo what a {kind} did", {"200": {"description": "it is gone"}, "404": missing, "503": _error("no store")}
            ),
        },
    }


def _operation(summary: str, responses: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"summary": summary, "responses": responses, **more}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error(description: str) -> dict[str, Any]:
    return _answer(description, {"$ref": "#/components/schemas/Error"})
