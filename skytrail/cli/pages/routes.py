"""docs/http.md: every route with the role that it needs, and Skydive's resources from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from exporters.flows.records import SORT_KEYS
from skytrail.cli.pages.markdown import code, codes, page, table
from skytrail.http.roles import OPEN, ROUTES
from topology.openapi import document


class About(NamedTuple):
    """What a route is for.

    Attributes:
        of: who has it.
        what: it answers.
        arguments: of the query, by name.
    """

    of: str
    what: str
    arguments: Mapping[str, str] = {}


_AGENT, _HUB, _BOTH = "agent", "hub", "both"
_AT = {"at": "as of this moment, now"}
_PERIOD = {"at": "the end of the time asked about, now", "duration": "how long that is"}
_RULE = "see below"

ABOUT: Mapping[str, About] = {
    OPEN: About(_BOTH, "it runs; asks nobody who it is"),
    "/readyz": About(_BOTH, "200, or 503: what each part waits for"),
    "/metrics": About(_BOTH, "[metrics](metrics.md), for Prometheus"),
    "/api/status": About(_BOTH, "what runs and how it is"),
    "/api/v1/flows": About(
        _AGENT,
        "flows, in Skydive's shape; `Accept: application/x-ndjson`: a line each. [history.md](history.md)",
        {
            "filter": "as of `skytrail flows`", "sort": f"{codes(SORT_KEYS)}; largest first", "limit": "so many, 0: all",
            "wait": "seconds: answer when a flow begins", "begun": "the last answer's header `Skytrail-Flows-Begun`", **_PERIOD,
        },
    ),
    "/api/v1/sockets": About(_AGENT, "sockets and whose they are. [sockets.md](sockets.md)", _PERIOD),
    "/api/v1/graph": About(_HUB, "the graph, in Skydive's shape. [topology.md](topology.md)", _AT),
    "/api/v1/diff": About(
        _HUB, "what is otherwise at the later moment", {"from": "the first moment", "to": "the second one, now"}
    ),
    "/api/v1/path": About(
        _HUB,
        "the way of a packet by the graph. [path.md](path.md)",
        {
            "src": "address or name, with `@host`", "dst": "likewise", "port": "0 to 65535", "proto": "tcp, udp, icmp …",
            "back": "false: without the way back", **_AT,
        },
    ),
    "/api/v1/trace": About(
        _HUB, "the way of the latest conversation that a filter finds. [trace.md](trace.md)", {"filter": "which", **_PERIOD}
    ),
    "/api/v1/trace/<path:tracking>": About(_HUB, "the same of a tracking ID or Community ID", _PERIOD),
    "/api/v1/complete": About(
        _HUB,
        "what may stand in a query, for editors: its words; with a key the values that it has. [grafana.md](grafana.md)",
        {"key": "its values", "of": "`nodes`, `edges` or `flows`", "prefix": "how they begin"},
    ),
    "/api/v1/hosts/<path:host>": About(_HUB, "`DELETE` forgets a host that is gone. [operations.md](operations.md)"),
    "/gremlin": About(
        _HUB,
        "TinkerPop's Gremlin; as WebSocket, for its drivers. [gremlin.md](gremlin.md)",
        {"gremlin": "the query", "bindings.x": "the value of x", "aliases.g": "what g is", "language": "gremlin-lang", **_AT},
    ),
    "/": About(_HUB, "the same"),
    "/ws/subscriber": About(_HUB, "changes of the graph as they come. [skydive.md](skydive.md#endpoints)"),
    "/api": About(_HUB, "who answers"),
    "/api/openapi.json": About(_HUB, "Skydive's resources, as an OpenAPI document"),
    "/api/topology": About(_HUB, "Skydive's Gremlin; by GET: the whole graph. [skydive.md](skydive.md)"),
    "/api/config/<path:key>": About(_HUB, "the effective value of a setting; what is secret is masked"),
    "/api/noderule": About(_HUB, _RULE),
    "/api/noderule/<id_>": About(_HUB, _RULE),
    "/api/edgerule": About(_HUB, _RULE),
    "/api/edgerule/<id_>": About(_HUB, _RULE),
}  # fmt: skip
"""By route, in the order of the page."""

_INTRODUCTION = """\
The agent listens on 127.0.0.1:8081 (`agent.listen`), the hub on 127.0.0.1:8082 (`hub.listen`); `skytrail up` opens both.
Who may do what: [security.md](security.md). `/api/v1/…` refuses an argument that it does not know; its errors are JSON,
`{"error": …, "status": …}`."""

_RESOURCES = "What follows is what `/api/openapi.json` says."


def render() -> str:
    """The page."""
    told = document()
    return page(
        "HTTP",
        "the routes and the OpenAPI document",
        _INTRODUCTION,
        table(("route", "of", "role needed", "what", "arguments"), _routes()),
        "## Skydive's resources",
        _RESOURCES,
        table(("request", "what", "header, body", "answers"), _operations(told)),
        "### Their bodies",
        table(("schema", "key", "type", ""), _schemas(told["components"]["schemas"])),
    )


def _routes() -> Iterator[tuple[str, ...]]:
    for route, about in ABOUT.items():
        needed = ROUTES.get(route, {})
        roles = ", ".join(f"{method} {role}" for method, role in needed.items()) or "none"
        arguments = "; ".join(f"{code(name)}: {what}" for name, what in about.arguments.items())
        yield code(route), about.of, roles, about.what, arguments


def _operations(told: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, item in told["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            answers = "; ".join(f"{status}: {answer['description']}" for status, answer in operation["responses"].items())
            headers = (f"{code(one['name'])}: {one['description']}" for one in operation.get("parameters", ()))
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            yield (
                code(f"{method.upper()} {path}"),
                operation["summary"],
                "; ".join(filter(None, (*headers, _type(body)))),
                answers,
            )


def _schemas(schemas: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, schema in schemas.items():
        for key, about in schema.get("properties", {}).items():
            needed = "" if key not in schema.get("required", ()) else "needed"
            yield name, code(key), _type(about), " ".join(filter(None, (needed, about.get("description", ""))))


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return codes(map(str, schema["enum"]))
    if inner := schema.get("properties"):
        return ", ".join(f"{code(key)}: {_type(about)}" for key, about in inner.items())
    kinds = schema.get("type", "")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)
