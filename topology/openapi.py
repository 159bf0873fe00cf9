"""The OpenAPI document of the hub's REST part: what of Skydive's API concerns the graph."""

from __future__ import annotations

from typing import Any

import msgspec

from skytrail import __version__
from topology.rules import KINDS

TTL = "X-Resource-TTL"
"""The header that says after which time a rule goes."""


def document() -> dict[str, Any]:
    """Source: OpenAPI Specification 3.1.0."""
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
        "/api/status": {"get": _operation("What runs and how it is", {"200": _answer("by part", {"type": "object"})})},
        "/api/config/{key}": {
            "parameters": [_parameter("key")],
            "get": _operation(
                "The effective value of a setting", {"200": _answer("the value", {}), "404": _error("no setting")}
            ),
        },
        "/api/topology": _topology(),
    }
    for kind, rule in zip(KINDS, rules, strict=True):
        paths |= _paths_of(kind, rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skytrail's hub: Skydive's resources", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _topology() -> dict[str, Any]:
    graph = {
        "description": "what the query gives",
        "content": {"application/json": {"schema": {}}, "text/vnd.graphviz": {"schema": {"type": "string"}}},
    }
    refused = {"406": _text("this answer has no such content type"), "503": _text("too many ask, or the store is away")}
    told = "of Metadata: elements are told with these alone; null: with all"  # what Go makes of a list that is not there
    keys = {"type": ["array", "null"], "items": {"type": "string"}, "description": told}
    asked = {"type": "object", "properties": {"GremlinQuery": {"type": "string"}, "Keys": keys}}
    return {
        "get": _operation("The whole graph", {"200": graph, **refused}),
        "post": _operation(
            "Ask in Skydive's dialect of Gremlin",
            {"200": graph, "204": {"description": "no query was given"}, "400": _text("what is wrong with it"), **refused},
            requestBody={"required": True, "content": {"application/json": {"schema": asked}}},
        ),
    }


def _paths_of(kind: str, rule: dict[str, Any]) -> dict[str, Any]:
    ttl = {"name": TTL, "in": "header", "schema": {"type": "string"}, "description": "it goes after that time: 30s, 5m"}
    made = {"201": _answer("as it is kept", rule), "400": _error("it says what cannot be"), "409": _error("it is there")}
    found, missing, away = _answer(f"the {kind}", rule), _error("there is none"), _error("the store is away")
    all_of = {"type": "object", "additionalProperties": rule}
    return {
        f"/api/{kind}": {
            "get": _operation(f"All of kind {kind}", {"200": _answer("by UUID", all_of), "503": away}),
            "post": _operation(
                f"Make one of kind {kind}",
                {**made, "415": _error("another content type"), "503": away},
                parameters=[ttl],
                requestBody={"required": True, "content": {"application/json": {"schema": rule}}},
            ),
        },
        f"/api/{kind}/{{id}}": {
            "parameters": [_parameter("id")],
            "get": _operation(f"One {kind}", {"200": found, "404": missing, "503": away}),
            "delete": _operation(
                f"Undo what this {kind} did", {"200": {"description": "it is gone"}, "404": missing, "503": away}
            ),
        },
    }


def _operation(summary: str, responses: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"summary": summary, "responses": responses, **more}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _error(description: str) -> dict[str, Any]:
    return _answer(description, {"$ref": "#/components/schemas/Error"})
