from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3

from skytrail.errors import ListenError
from skytrail.http.app import as_asgi, create_app
from skytrail.http.guard import Limits, Receive, Scope, Send
from skytrail.http.server import Server, check_exposure, serve
from skytrail.settings.tree import Http

Issue = Callable[[str], tuple[str, str]]
OUTSIDE = "192.0.2.1:8081"  # TEST-NET-1 (RFC 5737): nobody's address


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """Give a function that writes a self-signed certificate for localhost with a common name, always to the same files."""

    def write(name: str) -> tuple[str, str]:
        chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        fresh = (tmp_path / "fresh-cert.pem", tmp_path / "fresh-key.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-out", fresh[0], "-keyout", fresh[1]),
            ],
            check=True,
            capture_output=True,
        )
        fresh[0].replace(chain)
        fresh[1].replace(key)
        return str(chain), str(key)

    return write


@pytest.fixture
def bounded() -> Iterator[Server]:
    limits = Limits(connections=3, head_size=2000, head_timeout=0.3, keep_alive=1, stalled=1.0, shutdown=1)
    with serve(hello, "127.0.0.1:0", Http(), limits) as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def get(server: Server, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def common_name(server: Server) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(server) as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    text = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "multiline"],
        input=certificate,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return text.rpartition("=")[2].strip()


def test_server_answers_from_start_to_stop() -> None:
    server = serve(hello, "127.0.0.1:0", Http())
    server.start()
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert get(server) == (200, b"hello")
    address = ("127.0.0.1", server.port)
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


def test_server_runs_beside_any_thread_and_leaves_signals_alone() -> None:
    before = threading.active_count()
    with serve(hello, "127.0.0.1:0", Http()) as server:
        assert threading.active_count() == before + 1
        assert get(server)[0] == 200
    assert threading.active_count() == before


def test_name_of_loopback_is_listened_on_at_each_of_its_addresses() -> None:
    families = {family for family, *_ in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    with serve(hello, "localhost:0", Http()) as server:
        for family in families:
            host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
            with socket.create_connection((host, server.port), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_taken_port_is_one_line_with_a_remedy() -> None:
    with serve(hello, "127.0.0.1:0", Http()) as server:
        second = serve(hello, f"127.0.0.1:{server.port}", Http())
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1 port {server.port}: Address already in use; give another"):
            second.start()
        second.stop()


def test_address_of_another_host_is_one_line_with_a_remedy() -> None:
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        serve(hello, OUTSIDE, Http(insecure=True)).start()


@pytest.mark.parametrize("listen", ["", "8081", "::1:8081", "no-such-name.invalid:1"])
def test_address_that_means_nothing_is_refused(listen: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        serve(hello, listen, Http())


TLS = Http(tls_cert="c.pem", tls_key="k.pem")


@pytest.mark.parametrize("listen", [OUTSIDE, "0.0.0.0:1", "[::]:1", ":1", "[2001:db8::1]:1"])
@pytest.mark.parametrize(
    ("http_settings", "missing"),
    [
        (Http(), "TLS .* and authentication"),
        (TLS, "without authentication"),
        (Http(token_file="t"), "without TLS"),
        (Http(users_file="u"), "without TLS"),
    ],
)
def test_beyond_loopback_both_tls_and_authentication_are_needed(listen: str, http_settings: Http, missing: str) -> None:
    with pytest.raises(ListenError, match=missing):
        check_exposure(listen, http_settings)


@pytest.mark.parametrize(
    ("listen", "http_settings"),
    [
        ("127.0.0.1:1", Http()),
        ("[::1]:1", Http()),
        ("localhost:1", Http()),
        (OUTSIDE, Http(insecure=True)),
        (OUTSIDE, msgspec.structs.replace(TLS, token_file="t")),
        (OUTSIDE, msgspec.structs.replace(TLS, users_file="u")),
    ],
)
def test_loopback_or_both_or_insecure_is_enough(listen: str, http_settings: Http) -> None:
    assert check_exposure(listen, http_settings)[1]


def test_tls_client_that_verifies_is_answered(issue: Issue) -> None:
    chain, key = issue("first")
    with serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key)) as server:
        with urllib3.PoolManager(ca_certs=chain, retries=False) as pool:
            answer = pool.request("GET", f"https://localhost:{server.port}/")
            assert (answer.status, answer.data) == (200, b"hello")
        with urllib3.PoolManager(retries=False) as pool, pytest.raises(urllib3.exceptions.SSLError):
            pool.request("GET", f"https://localhost:{server.port}/")
        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            get(server)


def _abort_of_debian(transport: Any) -> None:
    """asyncio's of Python 3.11.2, which Debian has: a transport that was closed twice has no protocol."""
    transport._ssl_protocol._abort(None)


def test_tls_clients_that_go_are_no_errors(
    issue: Issue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.sslproto._SSLProtocolTransport.abort", _abort_of_debian)
    chain, key = issue("localhost")
    context = ssl.create_default_context(cafile=chain)
    with serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key)) as server:
        for _ in range(5):
            with context.wrap_socket(connect(server), server_hostname="localhost") as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: client.recv(1000), b""))
                assert answer.endswith(b"hello\r\n0\r\n\r\n")
    gc.collect()  # what a task failed of is said when nobody asks for it any more
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_renewed_certificate_is_used_without_a_restart(issue: Issue, tmp_path: Path) -> None:
    chain, key = issue("first")
    with serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key)) as server:
        assert common_name(server) == "first"
        issue("second")
        assert common_name(server) == "second"
        (tmp_path / "key.pem").write_text("no key")
        assert common_name(server) == "second"


def test_renewed_certificate_cuts_no_connection(issue: Issue) -> None:
    chain, key = issue("first")
    context = ssl.create_default_context(cafile=chain)
    with serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key)) as server:
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        before = connection.sock
        issue("second")
        assert common_name(server) == "second"
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        assert connection.sock is before
        connection.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(issue: Issue) -> None:
    chain, key = issue("first")
    context = ssl.create_default_context(cafile=chain)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key)) as server:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2
        with connect(server) as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
            assert secure.version() == "TLSv1.2"
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with connect(server) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


def test_certificate_that_is_unusable_is_refused_at_start(issue: Issue, tmp_path: Path) -> None:
    chain, key = issue("first")
    other = tmp_path / "other.pem"
    other.write_text(Path(key).read_text())
    issue("second")
    for files in ((chain, str(tmp_path / "absent")), (chain, str(other)), (key, key)):
        with pytest.raises(ListenError, match=r"http\.tls_cert"):
            serve(hello, "127.0.0.1:0", Http(tls_cert=files[0], tls_key=files[1]))


def closed_after(connection: socket.socket) -> float:
    """Return the seconds until the peer closes."""
    start = time.monotonic()
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - start


def test_client_that_says_nothing_is_closed(bounded: Server) -> None:
    with connect(bounded) as connection:
        assert closed_after(connection) < 3


def test_client_whose_headers_drip_is_closed(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += connection.recv(65536)
        start = time.monotonic()
        connection.settimeout(0.02)
        while time.monotonic() - start < 5:
            try:
                connection.sendall(b"G")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - start < 3


def test_client_that_never_finishes_its_handshake_is_closed(issue: Issue) -> None:
    chain, key = issue("first")
    limits = Limits(handshake_timeout=0.3)
    with (
        serve(hello, "127.0.0.1:0", Http(tls_cert=chain, tls_key=key), limits) as server,
        connect(server) as connection,
    ):
        assert closed_after(connection) < 3


def test_idle_connection_is_closed(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert closed_after(connection) < 4


def test_headers_beyond_the_limit_are_refused(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 4000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_garbage_harms_nobody(bounded: Server, garbage: bytes) -> None:
    with connect(bounded) as connection:
        connection.sendall(garbage)
        closed_after(connection)
    assert get(bounded)[0] == 200


def test_more_connections_than_allowed_wait_for_one_that_ends(bounded: Server) -> None:
    held = [connect(bounded) for _ in range(3)]
    for connection in held:  # each is busy with an incomplete request until its time is over
        connection.sendall(b"GET / HTTP/1.1\r\n")
    assert get(bounded) == (200, b"hello")
    for connection in held:
        assert closed_after(connection) < 3
        connection.close()


def test_client_that_does_not_read_is_dropped() -> None:
    gone = threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        watcher = asyncio.create_task(watch())
        while not watcher.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    with (
        serve(endless, "127.0.0.1:0", Http(), Limits(stalled=0.5, shutdown=1)) as server,
        connect(server) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert gone.wait(15)


def test_stop_does_not_wait_for_a_client_for_ever() -> None:
    entered = threading.Event()

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await asyncio.sleep(3600)

    server = serve(stuck, "127.0.0.1:0", Http(), Limits(shutdown=1))
    server.start()
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert entered.wait(5)
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5


def test_flask_application_is_served_by_several_threads() -> None:
    both = threading.Barrier(2, timeout=10)
    app = create_app("agent", lambda: {"met": both.wait() >= 0}, lambda: {"flows": "attaching"}, [])
    answers: list[tuple[int, bytes]] = []
    with serve(as_asgi(app), "127.0.0.1:0", Http()) as server:
        assert get(server, "/healthz") == (200, b"ok\n")
        status, body = get(server, "/readyz")
        assert (status, json.loads(body)["waiting"]) == (503, {"flows": "attaching"})
        askers = [threading.Thread(target=lambda: answers.append(get(server, "/api/status"))) for _ in range(2)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(10)
    assert [status for status, _ in answers] == [200, 200]
