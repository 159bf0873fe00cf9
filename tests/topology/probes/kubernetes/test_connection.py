"""Which clusters are there to be asked, and with which credentials."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.netlab import until

from skytrail.cli.clusters import Clusters
from skytrail.settings.tree import Kubernetes
from topology.probes.kubernetes import connection


def test_a_pod_without_a_service_account_is_in_no_cluster_that_could_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setattr(connection, "_TOKEN", token)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not connection.is_there(connection.IN_CLUSTER)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    assert not connection.is_there(connection.IN_CLUSTER)
    token.write_text("secret")
    assert connection.is_there(connection.IN_CLUSTER)


class Missing:
    """Finds no Kubernetes library."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "kubernetes":
            raise ModuleNotFoundError(name)


@pytest.mark.parametrize("wanted", [False, True])
def test_without_its_library_a_cluster_that_nobody_named_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, wanted: bool
) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    token = tmp_path / "token"
    token.write_text("secret")
    monkeypatch.setattr(connection, "_TOKEN", token)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    given = Kubernetes(clusters={"prod": "in-cluster"}) if wanted else Kubernetes()
    (name,) = given.clusters
    clusters = Clusters(given, lambda _: None, list, lambda: 1, lambda: True)
    clusters.start()
    try:
        remedy = "its library is missing: pip install 'skytrail[kubernetes]', or set kubernetes.clusters to {}"
        part = f"kubernetes/{name}"
        if wanted:
            until(lambda: clusters.waiting() == {part: remedy})
            assert clusters.words() == {}
        else:
            until(lambda: clusters.words() == {part: f"it is not followed: {remedy}"})
            assert clusters.waiting() == {part: None}
    finally:
        clusters.stop()


def test_a_kubeconfig_whose_token_is_refused_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RENEWED", 0.0)
    given: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.append(self.headers["Authorization"])
            self.send_response(200 if given[-1] == "Bearer second" else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = tmp_path / "config"
        url = f"http://127.0.0.1:{server.server_address[1]}"
        place.write_text(_kubeconfig(url, "first"))
        made = connection.Connection(str(place))
        for written in ("half writ", _kubeconfig(url, "second")):
            place.write_text(written)
            with pytest.raises(connection.RefusedError, match="is expired, or not known there: renew it"):
                _ask(made)
        assert _ask(made) == b"{}"
        assert given == ["Bearer first", "Bearer first", "Bearer second"]
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(url: str, token: str) -> str:
    contexts = [{"name": "a", "context": {"cluster": "a", "user": "a"}}]
    clusters, users = [{"name": "a", "cluster": {"server": url}}], [{"name": "a", "user": {"token": token}}]
    return json.dumps({"current-context": "a", "contexts": contexts, "clusters": clusters, "users": users})


def _ask(made: connection.Connection) -> bytes:
    with made.get("/", {}, "application/json", 5) as answer:
        return connection.whole(answer)
