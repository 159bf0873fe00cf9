"""Skydive's REST resources of the graph: /api, node rules, edge rules, /api/config, and the document that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml
from flask import Blueprint, Response, request
from werkzeug.exceptions import Conflict, NotFound

from skytrail import __version__
from skytrail.errors import UsageError
from skytrail.settings.values import parse_duration
from topology.openapi import TTL, document
from topology.rules import KINDS, DuplicateRuleError, Rules

_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


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
    def described() -> Response:
        return _json(document())

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


class _PlainYaml(yaml.SafeLoader):
    """Without aliases: a few of them in each other are a document of any size."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias: write the value itself")
        return super().compose_node(parent, index)


def _body(kind: str) -> Any:  # noqa: ANN401 - a rule of that kind
    """Raises UsageError."""
    data, of = request.get_data(), KINDS[kind]
    try:
        if request.mimetype in _YAML:
            data = msgspec.json.encode(yaml.load(data, _PlainYaml))  # noqa: S506 - a safe one
        return msgspec.json.decode(data, type=of)
    except RecursionError as error:
        raise UsageError(f"the body is no {kind}: it is nested too deeply") from error
    except (msgspec.MsgspecError, yaml.YAMLError, ValueError, TypeError) as error:
        raise UsageError(f"the body is no {kind}: {' '.join(str(error).split())}") from error


def _seconds() -> float | None:
    """After which what is made goes again. Raises UsageError."""
    text = request.headers.get(TTL)
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{TTL}: {error}") from error
    if not 0 < seconds < 1e9:
        raise UsageError(f"{TTL}: {text} is no time to live: write 30s or 5m")
    return seconds


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, content_type="application/json")
