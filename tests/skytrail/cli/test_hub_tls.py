"""A hub that runs, and certificates that are replaced under it: what /readyz and /metrics say."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pki
from support.ports import free_port

from skytrail.cli.hub import HubProcess
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Http, Hub, Settings

Ask = Callable[[str], tuple[int, Any]]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def ask(pki: Pki, tmp_path: Path) -> Iterator[Ask]:
    wire, web = pki.hub("127.0.0.1"), pki.hub("localhost")
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        hub=Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{free_port()}"),
        http=Http(tls_cert=web.tls_cert, tls_key=web.tls_key),
        wire=wire.__class__(tls_cert=wire.tls_cert, tls_key=wire.tls_key, tls_ca=wire.tls_ca, tls_crl=pki.crl),
    )
    process = HubProcess(settings, read_host(""))
    process.start()

    def asked(path: str) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=wire.tls_ca)
        connection = http.client.HTTPSConnection("localhost", process.server.port, timeout=10, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if path == "/readyz" else text.decode()
        finally:
            connection.close()

    yield asked
    process.stop()


@pytest.mark.parametrize(
    ("name", "use", "what"),
    [
        ("hubs/127.0.0.1.key", "wire", "the certificate of before is used"),
        ("hubs/localhost.crt", "http", "the certificate of before is used"),
        ("ca.crl", "", "the list of before is used"),
    ],
)
def test_a_broken_new_file_is_told_of_until_it_is_whole_again(name: str, use: str, what: str, pki: Pki, ask: Ask) -> None:
    path = pki.authority.folder / name
    good = path.read_bytes()
    assert ask("/readyz")[0] == 200
    path.write_text("something else")
    status, told = ask("/readyz")
    assert status == 503
    assert what in told["waiting"]["tls"]
    metrics = ask("/metrics")[1]
    for one in ("http", "wire"):
        assert f'skytrail_tls_certificate_refused{{use="{one}"}} {float(one == use)}' in metrics
    path.write_bytes(good)
    assert ask("/readyz")[0] == 200
