"""What ``skytrail check`` says of certificates and of files that hold secrets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.certificates import Pki

from skytrail.cli.checksecurity import security_findings
from skytrail.settings.tree import Agent, Http, JanusGraph, Otlp, Settings, Topology, Wire


def found(settings: Settings) -> list[tuple[str, str, str]]:
    return [(one.name, one.state, one.found) for one in security_findings(settings)]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def test_nothing_is_said_where_nothing_is_set() -> None:
    assert found(Settings()) == []


@pytest.mark.parametrize(("days", "state"), [(300, "ok"), (3, "note")])
def test_certificates_are_good_for_a_while_or_soon_to_be_renewed(days: int, state: str, pki: Pki) -> None:
    wire = pki.agent("node", days=days)
    [certificate, hubs] = found(Settings(wire=wire, agent=Agent(hubs=("hub.example:8083",))))
    assert certificate[:2] == ("certificate", state)
    assert certificate[2].endswith(f", {days} days")
    assert hubs == ("hubs", "ok", "hub.example:8083: mutual TLS")


def test_files_that_cannot_be_used_and_hubs_that_may_not_be_talked_to(pki: Pki, tmp_path: Path) -> None:
    wire = pki.agent("node")
    mixed = msgspec.structs.replace(wire, tls_key=pki.hub().tls_key)
    assert [one[:2] for one in found(Settings(wire=mixed, agent=Agent(hubs=("hub.example:8083",))))][-1] == ("hubs", "missing")
    [hubs] = found(Settings(agent=Agent(hubs=("192.0.2.1:8083",))))
    assert hubs[:2] == ("hubs", "missing")
    assert "without mutual TLS" in hubs[2]
    [gone] = found(Settings(http=Http(tls_cert=f"{tmp_path}/none", tls_key=f"{tmp_path}/none")))
    assert gone == ("certificate", "missing", f"http.tls_cert {tmp_path}/none: No such file or directory")


def test_on_a_hub_files_that_do_not_fit_are_said_too(pki: Pki, tmp_path: Path) -> None:
    hub, other = pki.hub(days=300), pki.agent("node", days=300)
    settings = Settings(wire=hub, http=Http(tls_cert=hub.tls_cert, tls_key=hub.tls_key))
    assert [one[:2] for one in found(settings)] == [("certificate", "ok")] * 2
    mixed = Settings(
        wire=msgspec.structs.replace(hub, tls_key=other.tls_key), http=Http(tls_cert=hub.tls_cert, tls_key=other.tls_key)
    )
    assert [one[:2] for one in found(mixed)] == [("certificate", "missing"), ("certificate", "ok"), ("wire", "missing")]
    revoked = msgspec.structs.replace(hub, tls_crl=f"{tmp_path}/none")
    assert found(Settings(wire=revoked))[-1][:2] == ("wire", "missing")


def test_a_hub_of_a_graph_with_others_is_told_that_its_certificate_is_no_good_for_them(pki: Pki) -> None:
    shared = Topology(store="janusgraph")
    assert [one[0] for one in found(Settings(wire=pki.hub(days=300), topology=shared))] == ["certificate"]
    server = pki.server("localhost", days=300)
    assert [one[0] for one in found(Settings(wire=server))] == ["certificate"]
    told = "other hubs of the same graph cannot be asked by this hub's certificate: 'skytrail pki hub --force' makes another"
    assert found(Settings(wire=server, topology=shared))[1:] == [("wire", "note", told)]


def test_secrets_that_others_can_read(pki: Pki, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("word")
    tokens.chmod(0o640)
    settings = Settings(http=Http(token_file=str(tokens)), wire=Wire(tls_key=pki.agent("node").tls_key))
    assert found(settings) == [("secret", "note", f"http.token_file {tokens} can be read by others")]
    tokens.chmod(0o600)
    assert found(settings) == []


@pytest.mark.parametrize(
    ("host", "told"), [("db.example", True), ("192.0.2.1", True), ("127.0.0.1", False), ("localhost", False)]
)
def test_secrets_that_are_sent_in_clear(host: str, told: bool) -> None:
    graph = JanusGraph(url=f"ws://{host}:8182/gremlin", password="hunter2")
    settings = Settings(topology=Topology(janusgraph=graph), otlp=Otlp(endpoint=f"http://{host}:4318", headers={"a": "b"}))
    wanted = [f"{key} is sent in clear to {host}" for key in ("topology.janusgraph.password", "otlp.headers")] if told else []
    assert [one[2] for one in found(settings)] == wanted
    assert "hunter2" not in str(found(settings))
    safe = msgspec.structs.replace(graph, url=f"wss://{host}:8182/gremlin")
    assert found(Settings(topology=Topology(janusgraph=safe))) == []
