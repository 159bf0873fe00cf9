from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from skytrail.http.guard import Limits, Message, Receive, Scope, Send, host_name
from skytrail.http.server import Server, serve
from skytrail.settings.tree import Http

TOKEN = "a-token-of-the-test"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, the path and the body's length."""
    message: Message = await receive()
    text = f"{scope['method']} {scope['path']} {len(message['body'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(echo, "127.0.0.1:0", Http(), Limits(body_size=1000, body_timeout=0.3)) as running:
        yield running


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    origins = ("https://grafana.example",)
    with serve(echo, "127.0.0.1:0", Http(token_file=str(tokens), cors_origins=origins)) as running:
        yield running


def ask(
    server: Server, path: str = "/", method: str = "GET", body: bytes | None = None, /, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:8081", "localhost.", "127.0.0.1:8081"])
def test_own_names_pass(server: Server, host: str) -> None:
    assert ask(server, Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "10.0.0.1", "[fe80::1]", "", "localhost.evil"])
def test_foreign_host_is_misdirected(server: Server, host: str) -> None:
    answer = ask(server, Host=host)
    assert answer.status == 421
    assert json.load(answer)["status"] == 421
    assert server.guard.refused[421] == 1


def test_request_without_or_with_two_hosts_is_bad(server: Server) -> None:
    assert raw(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_configured_names_pass_beside_our_own() -> None:
    with serve(echo, "127.0.0.1:0", Http(allowed_hosts=("Agent.example",))) as running:
        assert ask(running, Host="agent.example:8081").status == 200
        assert ask(running, Host="localhost").status == 200
        assert ask(running, Host="evil.example").status == 421


def test_wildcard_of_allowed_hosts_lets_every_name_pass() -> None:
    with serve(echo, "127.0.0.1:0", Http(allowed_hosts=("*",))) as running:
        assert ask(running, Host="anything.example").status == 200


def test_listening_everywhere_any_address_passes_but_no_foreign_name() -> None:
    with serve(echo, "0.0.0.0:0", Http(insecure=True)) as running:
        assert ask(running, Host="10.1.2.3:8081").status == 200
        assert ask(running, Host=socket.gethostname()).status == 200
        assert ask(running, Host="evil.example").status == 421


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"a:1", "a"), (b"[::1]:2", "::1"), (b"[::1]", "::1"), (b"A.", "a"), (b"", ""), (b"[", ""), (b"\xff", "ÿ")],
)
def test_name_is_found_in_a_host_header(value: bytes, name: str) -> None:
    assert host_name(value) == name


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_without_the_token_nothing_is_answered(locked: Server, authorization: str) -> None:
    answer = ask(locked, "/metrics", Authorization=authorization)
    assert answer.status == 401
    assert answer.headers.get_all("WWW-Authenticate") == ['Bearer realm="skytrail"']


def test_with_the_token_everything_is_answered(locked: Server) -> None:
    assert ask(locked, "/metrics", Authorization=f"Bearer {TOKEN}").read() == b"GET /metrics 0"


def test_healthz_alone_needs_neither_token_nor_name(locked: Server) -> None:
    assert ask(locked, "/healthz", Host="10.0.0.7").status == 200
    for path in ("/readyz", "/healthz/", "//healthz", "/healthz/../metrics", "/healthz%2f"):
        assert ask(locked, path).status == 401, path


def test_answers_are_readable_by_allowed_origins_only(locked: Server) -> None:
    authorization = f"Bearer {TOKEN}"
    answer = ask(locked, Origin="https://grafana.example", Authorization=authorization)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://grafana.example"
    answer = ask(locked, Origin="https://evil.example", Authorization=authorization)
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert answer.headers["Vary"] == "origin"


def test_preflight_is_answered_without_token_for_allowed_origins_only(locked: Server) -> None:
    answer = ask(locked, "/api", "OPTIONS", Origin="https://grafana.example", Access_Control_Request_Method="POST")
    assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, "authorization, content-type")
    assert ask(locked, "/api", "OPTIONS", Origin="https://evil.example", Access_Control_Request_Method="POST").status == 401


def test_no_cors_unless_configured(server: Server) -> None:
    answer = ask(server, Origin="https://grafana.example")
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert ask(server, "/", "OPTIONS", Origin="https://a", Access_Control_Request_Method="POST").status == 200


def test_page_of_another_site_cannot_make_a_browser_write(server: Server) -> None:
    assert ask(server, "/api", "POST", b"x", Origin="https://evil.example").status == 403
    assert ask(server, "/api", "POST", b"x", Origin="null").status == 403
    assert ask(server, "/api", "POST", b"x", Origin=f"http://127.0.0.1:{server.port}").status == 200
    assert ask(server, "/api", "POST", b"x").status == 200


def test_body_up_to_the_limit_reaches_the_application(server: Server) -> None:
    assert ask(server, "/x", "POST", b"x" * 1000).read() == b"POST /x 1000"


def test_larger_body_is_refused_by_length_or_when_it_grows(server: Server) -> None:
    assert ask(server, "/x", "POST", b"x" * 1001).status == 413
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n%b\r\n" % (b"x" * 500)
    assert raw(server, chunked + b"1f4\r\n%b\r\n1f4\r\n%b\r\n" % (b"x" * 500, b"x" * 500)).startswith(b"HTTP/1.1 413 ")
    assert server.guard.refused[413] == 2


def test_body_that_does_not_come_is_given_up(server: Server) -> None:
    answer = raw(server, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_every_answer_forbids_guessing_its_type(server: Server) -> None:
    assert ask(server).headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, Host="evil").headers["X-Content-Type-Options"] == "nosniff"
