"""Roles over HTTP: every route of a real hub and agent has one, and a real hub keeps to them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from support.ports import free_port

from skytrail.cli.agent import AgentProcess
from skytrail.cli.hub import HubProcess
from skytrail.cli.main import main
from skytrail.http.credentials import hash_password, make_token
from skytrail.http.roles import OPEN, ROUTES, SOCKET, Role, needed
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Agent, Http, Hub, Settings

TOKENS = {str(role): make_token(str(role), str(role)) for role in Role}
RULE = json.dumps({"Name": "n", "Metadata": {"Name": "n", "Type": "host"}, "Action": "create"}).encode()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, set[str]]:
    """Path → methods of all that is joined meanwhile, SOCKET among them."""
    import gremlin_api.http.endpoint as endpoint
    import skytrail.http.app as app_module

    paths: dict[str, set[str]] = {}

    def create_app(*arguments: Any, **more: Any) -> Flask:
        app = make_app(*arguments, **more)
        for rule in app.url_map.iter_rules():
            paths.setdefault(rule.rule, set()).update((rule.methods or set()) - {"HEAD", "OPTIONS"})
        return app

    def mounted(asked: Mapping[str, Any], sockets: Mapping[str, Any], rest: Any) -> Any:
        for path in asked:
            paths.setdefault(path, set()).update({"GET", "POST"})
        for path in sockets:
            paths.setdefault(path, set()).add(SOCKET)
        return mount(asked, sockets, rest)

    make_app, mount = app_module.create_app, endpoint.mounted
    monkeypatch.setattr(app_module, "create_app", create_app)
    monkeypatch.setattr(endpoint, "mounted", mounted)
    return paths


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    made: list[HubProcess] = []

    def start(http_settings: Http) -> HubProcess:
        listen = Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{free_port()}")
        settings = Settings(state_dir=str(tmp_path / "state"), hub=listen, http=http_settings)
        made.append(HubProcess(settings, read_host("")))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_every_route_of_a_hub_and_of_an_agent_has_a_role(
    found: Mapping[str, set[str]], hub: Callable[..., HubProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(Http())
    of_hub = {path: set(methods) for path, methods in found.items()}
    agent = AgentProcess(Settings(state_dir=str(tmp_path / "agent"), agent=Agent(listen="127.0.0.1:0")))
    monkeypatch.setattr(agent, "_sources", list)  # what it measures is of no matter here
    agent.collector, agent._answering = SimpleNamespace(), SimpleNamespace(answer=None)  # type: ignore[assignment]
    agent._start_http()
    agent.stop()
    assert {"/api/noderule", "/gremlin", "/ws/subscriber", "/api/v1/graph"} <= of_hub.keys()
    assert {"/api/v1/flows", "/api/v1/sockets", "/metrics"} <= found.keys()
    without = {
        (method, path)
        for path, methods in found.items()
        for method in methods
        if path != OPEN and method not in ROUTES.get(path, {})
    }
    assert not without, "say in skytrail/http/roles.py which role these need"


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/metrics", Role.READ),
        ("HEAD", "/metrics", Role.READ),
        ("POST", "/metrics", Role.ADMIN),
        ("POST", "/gremlin", Role.READ),
        (SOCKET, "/gremlin", Role.READ),
        (SOCKET, "/metrics", Role.ADMIN),
        ("GET", "/api/noderule/some-id", Role.READ),
        ("DELETE", "/api/noderule/some-id", Role.ADMIN),
        ("DELETE", "/api/noderule", Role.ADMIN),
        ("POST", "/api/edgerule", Role.ADMIN),
        ("OPTIONS", "/api/edgerule", Role.READ),
        ("GET", "/api/config/http/token_file", Role.ADMIN),
        ("GET", "/api/config/http.token_file", Role.ADMIN),
        ("GET", "/api//config/http.token_file", Role.ADMIN),
        ("GET", "/api/noderule/a/b", Role.ADMIN),
        ("GET", "/api/noderule/", Role.ADMIN),
        ("GET", "/of/tomorrow", Role.ADMIN),
        ("BREW", "/metrics", Role.ADMIN),
    ],
)
def test_role_of_a_request(method: str, path: str, role: Role) -> None:
    assert needed(method, path) is role


class Asker:
    """Asks a hub, as somebody."""

    def __init__(self, port: int, authorization: str) -> None:
        self._port, self._headers = port, {"Authorization": authorization} if authorization else {}

    def __call__(self, method: str, path: str, body: bytes | None = None, **more: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body, {**self._headers, "Content-Type": "application/json", **more})
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text or b"null")
            except ValueError:
                return answer.status, text
        finally:
            connection.close()


def test_a_hub_keeps_to_the_roles_of_tokens_and_users(hub: Callable[..., HubProcess], tmp_path: Path) -> None:
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text("".join(f"{one.line}\n" for one in TOKENS.values()))
    users.write_text(f"anna:read:{hash_password('word')}\n")
    port = hub(Http(token_file=str(tokens), users_file=str(users))).server.port
    by = {name: Asker(port, f"Bearer {one.secret}") for name, one in TOKENS.items()}
    by["anna"] = Asker(port, "Basic YW5uYTp3b3Jk")

    for name in ("read", "capture", "anna"):
        ask = by[name]
        assert ask("GET", "/api/status")[0] == ask("GET", "/metrics")[0] == ask("GET", "/api/noderule")[0] == 200
        assert ask("POST", "/api/topology", b'{"GremlinQuery": "G.V().Count()"}') == (200, 0)
        assert ask("POST", "/gremlin", b'{"gremlin": "g.V().count()"}')[0] == 200
        has = "read" if name == "anna" else name
        said = {"error": f"this needs the role admin; {name} has {has}", "status": 403}
        assert ask("POST", "/api/noderule", RULE) == (403, said)
        assert ask("DELETE", "/api/noderule/x") == (403, said)
        assert ask("GET", "/api/config/http.token_file") == (403, said)
        assert ask("GET", "/of/tomorrow") == (403, said)
    assert by["read"]("GET", "/api/noderule") == (200, {})

    status, made = by["admin"]("POST", "/api/noderule", RULE)
    assert status == 201
    assert by["admin"]("DELETE", f"/api/noderule/{made['UUID']}")[0] == 200
    assert by["admin"]("GET", "/api/config/http.token_file") == (200, str(tokens))
    assert by["admin"]("GET", "/of/tomorrow")[0] == 404
    for wrong in ("", "Bearer nobody", f"Bearer {TOKENS['read'].line}", "Basic YW5uYTp3cm9uZw=="):
        assert Asker(port, wrong)("GET", "/api/status")[0] == 401
        assert Asker(port, wrong)("GET", OPEN)[0] == 200


@pytest.mark.parametrize("path", ["/gremlin", "/ws/subscriber"])
def test_a_websocket_needs_a_credential_too(path: str, hub: Callable[..., HubProcess], tmp_path: Path) -> None:
    import socket

    tokens = tmp_path / "tokens"
    tokens.write_text(TOKENS["read"].line)
    port = hub(Http(token_file=str(tokens))).server.port

    def opened(authorization: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade", authorization]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "", ""]
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall("\r\n".join(lines).encode())
            return connection.recv(100).split(b"\r\n")[0]

    assert b" 101 " in opened(f"Authorization: Bearer {TOKENS['read'].secret}")
    assert b" 403 " in opened("Authorization: Bearer nobody")


def test_what_admins_do_is_logged_by_name(
    hub: Callable[..., HubProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKENS["admin"].line)
    ask = Asker(hub(Http(token_file=str(tokens))).server.port, f"Bearer {TOKENS['admin'].secret}")
    assert ask("POST", "/api/noderule", RULE)[0] == 201
    said = "".join(capsys.readouterr())
    assert re.search(r"administered +by=admin method=POST path=/api/noderule", re.sub(r"\x1b\[\d*m", "", said)), said
    assert TOKENS["admin"].secret not in said


def test_command_makes_a_token_that_a_running_hub_knows_at_once(
    hub: Callable[..., HubProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens"
    assert main(["token", "first", "--file", str(tokens), "--role", "admin"]) == 0
    first = capsys.readouterr().out.strip()
    assert tokens.stat().st_mode & 0o777 == 0o600
    port = hub(Http(token_file=str(tokens))).server.port
    assert main(["token", "second", "--set", f"http.token_file={tokens}"]) == 0
    second = capsys.readouterr().out.split()[-1]
    assert Asker(port, f"Bearer {first}")("GET", "/api/config/log.level")[0] == 200
    assert Asker(port, f"Bearer {second}")("GET", "/api/config/log.level")[0] == 403
    assert Asker(port, f"Bearer {second}")("GET", "/api/status")[0] == 200
    assert first not in tokens.read_text()
    assert second not in tokens.read_text()
    assert main(["token", "second", "--file", str(tokens)]) == 1
    assert "there is a token of 'second'" in capsys.readouterr().err
    assert main(["token", "third"]) == 2
    assert "--file" in capsys.readouterr().err
    assert main(["token", "no name", "--file", str(tokens)]) == 2
