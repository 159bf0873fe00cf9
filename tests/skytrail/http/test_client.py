"""The client of the command line, against the real server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from flask import Blueprint, Response, jsonify, request

from skytrail.errors import AgentAwayError, RunError, UsageError
from skytrail.http.app import as_asgi, create_app
from skytrail.http.client import Client
from skytrail.http.credentials import hash_password, make_token
from skytrail.http.server import serve
from skytrail.settings.tree import Agent, Http, Settings


@contextmanager
def server(http: Http) -> Iterator[Settings]:
    """A server of the agent's kind; the settings that lead to it."""
    blueprint = Blueprint("words", __name__)

    @blueprint.get("/words")
    def words() -> Response:
        if request.args.get("wrong"):
            raise UsageError("wrong: say it otherwise")
        if request.args.get("broken"):
            raise RunError("the world is not as it should be")
        answer = jsonify(dict(request.args))
        answer.headers["Skytrail-Test"] = "seen"
        return answer

    app = create_app("agent", dict, dict, [blueprint])
    with serve(as_asgi(app), "127.0.0.1:0", http) as running:
        yield Settings(agent=Agent(listen=running.url.partition("://")[2]), http=http)


@pytest.fixture
def certificate(tmp_path: Path) -> Http:
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=elsewhere", "-out", chain, "-keyout", key], check=True, capture_output=True)
    return Http(tls_cert=str(chain), tls_key=str(key))


def test_answer_and_headers_come_back() -> None:
    with server(Http()) as settings:
        client = Client(settings)
        assert client.get("/words", {"a": "1", "b": "ä&="}) == {"a": "1", "b": "ä&="}
        assert client.get_with_headers("/words", {})[1]["Skytrail-Test"] == "seen"


def test_errors_of_the_agent_keep_their_words_and_their_kind() -> None:
    with server(Http()) as settings:
        client = Client(settings)
        with pytest.raises(UsageError, match=r"^wrong: say it otherwise$"):
            client.get("/words", {"wrong": "1"})
        with pytest.raises(RunError, match="says: the world is not as it should be"):
            client.get("/words", {"broken": "1"})
        assert client.get("/words", {}) == {}  # the connection goes on


def test_nobody_there_is_said_with_the_remedy() -> None:
    with server(Http()) as settings:
        client = Client(settings)
    with pytest.raises(AgentAwayError, match=f"nobody answers on {settings.agent.listen} .*skytrail up"):
        client.get("/words", {})


def test_first_token_of_the_servers_own_file_is_sent_over_tls(certificate: Http, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# for Prometheus and the command line\n\n  first-token \nsecond-token\n")
    http = msgspec.structs.replace(certificate, token_file=str(tokens))
    with server(http) as settings:
        assert Client(settings).get("/words", {"x": "y"}) == {"x": "y"}


def test_certificate_of_somebody_else_is_not_trusted(certificate: Http, tmp_path: Path) -> None:
    other, key = tmp_path / "other.pem", tmp_path / "other-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=elsewhere", "-out", other, "-keyout", key], check=True, capture_output=True)
    with server(certificate) as settings, pytest.raises(AgentAwayError, match="certificate verify failed"):
        Client(Settings(agent=settings.agent, http=Http(tls_cert=str(other)))).get("/words", {})


def test_users_alone_are_told_to_name_a_token(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"anna:{hash_password('secret')}\n")
    said = r"a token or a user .*: name a file with a token, or with user:password, by --set http.login_file=…"
    with server(Http(users_file=str(users))) as settings, pytest.raises(RunError, match=said):
        Client(settings).get("/words", {})


def test_a_user_with_a_password_gets_in(tmp_path: Path) -> None:
    users, login = tmp_path / "users", tmp_path / "login"
    users.write_text(f"anna:{hash_password('secret')}\n")
    login.write_text("anna:secret\n")
    with server(Http(users_file=str(users), login_file=str(login))) as settings:
        assert Client(settings).get("/words", {"x": "y"}) == {"x": "y"}


def test_a_token_of_which_the_server_has_the_hash_alone_gets_in(tmp_path: Path) -> None:
    tokens, login, made = tmp_path / "tokens", tmp_path / "login", make_token("anna", "read")
    tokens.write_text(made.line)
    login.write_text(made.secret + "\n")
    with server(Http(token_file=str(tokens), login_file=str(login))) as settings:
        with pytest.raises(RunError, match="this needs the role admin; anna has read"):
            Client(settings).get("/words", {})
        assert Client(settings).get("/api/status", {}) == {}
    with (
        server(Http(token_file=str(tokens))) as settings,
        pytest.raises(RunError, match=r"a token or a user .*http\.login_file"),
    ):
        Client(settings).get("/api/status", {})


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"version": "1"}'])
def test_another_program_on_the_port_is_told_from_an_agent(body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        settings = Settings(agent=Agent(listen=f"127.0.0.1:{other.server_port}"))
        with pytest.raises(AgentAwayError, match="is nothing of Skytrail's"):
            Client(settings).get("/api/status", {})


@pytest.mark.parametrize("key", ["token_file", "tls_cert"])
@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), ("# nothing\n", "")])
def test_files_that_cannot_be_used_are_named(tmp_path: Path, key: str, content: str | None, reason: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RunError, match=f"^http.{key}: cannot be read: {reason}"):
        Client(Settings(http=Http(**{key: str(path)})))
