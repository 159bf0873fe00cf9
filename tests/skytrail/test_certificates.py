"""What is read of certificates, against openssl; and files that are replaced."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from support.certificates import Pki

from skytrail.certificates import Certificates, read_validity
from skytrail.errors import ListenError
from skytrail.http.server import http_certificate
from skytrail.settings.tree import Http

KINDS = {
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    "rsa": ["-newkey", "rsa:2048"],
    "ed25519": ["-newkey", "ed25519"],
    "after 2050": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "18250"],
    "small serial": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-set_serial", "1"],
    "long name": ["-newkey", "rsa:2048", "-addext", "subjectAltName=" + ",".join(f"DNS:{n}.example" for n in range(300))],
}


def made(folder: Path, *words: str) -> tuple[Path, Path]:
    chain, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/O=One/CN=cert", "-out", chain, "-keyout", key, *words]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


def told(path: Path, what: str) -> str:
    command = ["openssl", "x509", "-in", path, "-noout", what, "-dateopt", "iso_8601"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("=")[2].strip()


@pytest.mark.parametrize("kind", KINDS)
def test_validity_is_what_openssl_says(kind: str, tmp_path: Path) -> None:
    path, _ = made(tmp_path, *KINDS[kind])
    found = read_validity(b"some words before\n" + path.read_bytes())
    assert found.serial == int(told(path, "-serial"), 16)
    assert dt.datetime.fromtimestamp(found.begins, dt.UTC) == dt.datetime.fromisoformat(told(path, "-startdate"))
    assert dt.datetime.fromtimestamp(found.ends, dt.UTC) == dt.datetime.fromisoformat(told(path, "-enddate"))


def test_of_version_one_too(tmp_path: Path) -> None:
    subject = ["-subj", "/CN=one", "-nodes", "-newkey", "rsa:2048", "-keyout", tmp_path / "key"]
    subprocess.run(["openssl", "req", *subject, "-out", tmp_path / "csr"], check=True, capture_output=True)
    one = ["openssl", "x509", "-req", "-in", tmp_path / "csr", "-signkey", tmp_path / "key", "-out", tmp_path / "cert"]
    subprocess.run(one, check=True, capture_output=True)
    found = read_validity((tmp_path / "cert").read_bytes())
    assert dt.datetime.fromtimestamp(found.ends, dt.UTC) == dt.datetime.fromisoformat(told(tmp_path / "cert", "-enddate"))


def test_whatever_is_cut_or_changed_is_refused_or_read_and_never_breaks(tmp_path: Path) -> None:
    import base64
    import random

    path, _ = made(tmp_path, *KINDS["ec"])
    body = base64.b64decode(b"".join(path.read_bytes().splitlines()[1:-1]))
    chance, refused = random.Random(7), 0
    for number in range(2000):
        broken = bytearray(body[: chance.randrange(len(body))] if number % 2 else body)
        for _ in range(chance.randrange(1, 4)):
            if broken:
                broken[chance.randrange(min(len(broken), 150))] = chance.randrange(256)
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(broken) + b"-----END CERTIFICATE-----\n"
        try:
            read_validity(pem)
        except ValueError:
            refused += 1
    assert 1000 < refused < 2000


@pytest.mark.parametrize("pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_none_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        read_validity(pem)


def test_files_of_http_that_do_not_fit_are_said_in_readiness_and_metrics(tmp_path: Path) -> None:
    settings = Pki(tmp_path / "pki").hub()
    chain, key = Path(str(settings.tls_cert)), Path(str(settings.tls_key))
    used = http_certificate(Http(tls_cert=str(chain), tls_key=str(key)))
    certificates = Certificates()
    certificates.add("http", used)
    certificates.add("wire", None)
    ends = read_validity(chain.read_bytes()).ends

    def values() -> dict[str, float]:
        return {family.metric.name: float(dict(family.samples)["http",]) for family in certificates.families()}  # type: ignore[arg-type]

    expiry, refused = "skytrail_tls_certificate_expiry_timestamp_seconds", "skytrail_tls_certificate_refused"
    assert certificates.waiting() is None
    assert values() == {expiry: ends, refused: 0.0}
    good = key.read_bytes()
    key.write_text("no key")
    assert "the certificate of before is used: replace the files" in str(certificates.waiting())
    assert values() == {expiry: ends, refused: 1.0}
    key.write_bytes(good)
    assert certificates.waiting() is None
    assert values() == {expiry: ends, refused: 0.0}


def test_one_that_has_ended_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    settings = Pki(tmp_path / "pki").hub(days=1)
    certificates = Certificates()
    certificates.add("http", http_certificate(Http(tls_cert=settings.tls_cert, tls_key=settings.tls_key)))
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert "the certificate has ended: renew it" in str(certificates.waiting())


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    chain, key = made(tmp_path, *KINDS["ec"])
    secret = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:word", "-out", tmp_path / "secret"]
    subprocess.run(secret, check=True, capture_output=True)
    with pytest.raises(ListenError, match="the key without a passphrase"):
        http_certificate(Http(tls_cert=str(chain), tls_key=str(tmp_path / "secret")))
