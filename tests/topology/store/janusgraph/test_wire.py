"""The store's own WebSocket: TLS and a password, as a real server asks for them, and servers that are none or break off."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract.steps import T, apply, element, node, states

from topology.store.interface import AwayError, StoreError
from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

A = element("a")
_GUARD = """
ssl: {{ enabled: true, keyStore: {store}, keyStorePassword: secret, keyStoreType: PKCS12 }}
authentication:
  authenticator: org.janusgraph.graphdb.tinkerpop.gremlin.server.auth.JanusGraphSimpleAuthenticator
  config: {{ defaultUsername: ann, defaultPassword: "pass word", credentialsDb: conf/credentials.properties }}
"""


@pytest.fixture(scope="module")
def guarded(lab: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a server with TLS and one user, and its certificate."""
    folder = tmp_path_factory.mktemp("guarded")
    key, certificate, store = folder / "key.pem", folder / "certificate.pem", folder / "store.p12"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True)
    command = ["openssl", "pkcs12", "-export", "-inkey", str(key), "-in", str(certificate), "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(store)], check=True)
    server = lab.Server(lab.demand(), folder / "server", "inmemory", more=_GUARD.format(store=store))
    (folder / "server" / "conf" / "credentials.properties").write_text(
        "gremlin.graph=org.janusgraph.core.JanusGraphFactory\nstorage.backend=inmemory\ngraph.graphname=credentials\n"
    )
    try:
        server.start()
        yield f"wss://localhost:{server.port}/gremlin", certificate
    finally:
        server.kill()


def test_a_store_is_reached_by_tls_and_a_password(guarded: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, certificate = guarded
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    store = JanusGraphStore(url, username="ann", password="pass word")
    apply(store, (A, 1, node(n=1)))
    assert states(store.as_of(T + 1)) == {A: node(n=1)}
    store.close()
    for wrong in ({"username": "ann", "password": "other"}, {}):
        with pytest.raises(StoreError, match="refused"):
            JanusGraphStore(url, **wrong)


def test_a_server_whose_certificate_nobody_vouches_for_is_not_talked_to(guarded: tuple[str, Path]) -> None:
    with pytest.raises(AwayError, match="CERTIFICATE_VERIFY_FAILED"):
        JanusGraphStore(guarded[0], username="ann", password="pass word")


class _NoWebSocket(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a server of web pages."""
    with HTTPServer(("127.0.0.1", 0), _NoWebSocket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_what_is_no_gremlin_server_is_said(web: int) -> None:
    connections = Connections(f"ws://127.0.0.1:{web}/gremlin")
    with pytest.raises(AwayError, match="HTTP status 404"):
        connections.run(lambda g: g.V().to_list())
    connections.close()


ANSWERS = [
    (b"", "ended the connection"),
    (b"\x82\x05ab", "ended the connection"),  # a frame that is cut
    (b"\x88\x02\x03\xe9", "closed the connection: 1001"),
    (b"\x81\x02hi", "answers in text"),
    (b"\xff\xff", "closed the connection: 1002"),
    (b"\x82\x02hi", "no message of a Gremlin Server"),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS)
def test_an_answer_that_is_none_is_an_error_and_the_next_question_has_a_connection_of_its_own(
    server: Any, answer: bytes, reason: str
) -> None:
    """The first connection goes through a relay that answers the first question itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = threading.Thread(target=_relay, args=(listener, server.port, answer), daemon=True)
        relay.start()
        connections = Connections(f"ws://127.0.0.1:{listener.getsockname()[1]}/gremlin", count=1)
        with pytest.raises(AwayError, match=reason):
            connections.run(lambda g: g.inject(1).to_list())
        assert connections.run(lambda g: g.inject(2).to_list()) == [2]
        connections.close()
        relay.join(10)
        assert not relay.is_alive()


def _relay(listener: socket.socket, port: int, answer: bytes) -> None:
    for answers_itself in (True, False):
        near, _ = listener.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            far.sendall(near.recv(1 << 16))  # the handshake
            near.sendall(far.recv(1 << 16))
            question = near.recv(1 << 16)
            if answers_itself:
                near.sendall(answer)
            else:
                far.sendall(question)
                near.sendall(far.recv(1 << 16))
                near.recv(1 << 16)  # until it is closed
