"""The authority's certificates, as openssl reads and verifies them."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from skytrail.certificates import read_validity
from skytrail.cli.main import main
from skytrail.errors import UsageError
from skytrail.pki import Authority, PkiError, show

Run = Callable[..., str]


def openssl(*words: object) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def refused(*words: object) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode != 0, (words, done.stdout)
    return done.stdout + done.stderr


def extensions(path: Path) -> dict[str, str]:
    text = openssl("x509", "-in", path, "-noout", "-ext", "basicConstraints,keyUsage,extendedKeyUsage,subjectAltName")
    lines = [line.strip() for line in text.splitlines()]
    return dict(zip(lines[::2], lines[1::2], strict=True))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    made.init()
    return made


def test_the_authority_signs_certificates_and_nothing_else(authority: Authority) -> None:
    path = authority.folder / "ca.crt"
    assert openssl("verify", "-x509_strict", "-CAfile", path, path).endswith(": OK\n")
    assert extensions(path) == {
        "X509v3 Basic Constraints: critical": "CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical": "Certificate Sign, CRL Sign",
    }
    assert "NIST CURVE: P-256" in openssl("x509", "-in", path, "-noout", "-text")


@pytest.mark.parametrize(
    ("kind", "client", "uri"),
    [("hub", ", TLS Web Client Authentication", ", URI:skytrail://hub/hub.example"), ("server", "", "")],
)
def test_a_hub_or_server_is_good_as_a_server_for_its_names_alone_and_a_hub_as_a_client(
    kind: str, client: str, uri: str, authority: Authority
) -> None:
    path = getattr(authority, kind)(["hub.example", "192.0.2.1", "2001:db8::1"])
    ca = authority.folder / "ca.crt"
    assert extensions(path) == {
        "X509v3 Basic Constraints: critical": "CA:FALSE",
        "X509v3 Key Usage: critical": "Digital Signature",
        "X509v3 Extended Key Usage:": f"TLS Web Server Authentication{client}",
        "X509v3 Subject Alternative Name:": f"DNS:hub.example, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1{uri}",
    }
    verify = ("verify", "-x509_strict", "-CAfile", ca)
    assert openssl(*verify, "-purpose", "sslserver", "-verify_hostname", "hub.example", path).endswith(": OK\n")
    assert openssl(*verify, "-purpose", "sslserver", "-verify_ip", "2001:db8::1", path).endswith(": OK\n")
    assert "hostname mismatch" in refused(*verify, "-verify_hostname", "other.example", path)
    as_client = (*verify, "-purpose", "sslclient", path)
    if client:
        assert openssl(*as_client).endswith(": OK\n")
    else:
        assert "unsuitable certificate purpose" in refused(*as_client)
    assert show(path).use == kind


def test_an_agent_is_good_as_a_client_that_names_its_host(authority: Authority) -> None:
    path, ca = authority.agent(["node-1.example", "old"]), authority.folder / "ca.crt"
    found = extensions(path)
    assert found["X509v3 Extended Key Usage:"] == "TLS Web Client Authentication"
    assert found["X509v3 Subject Alternative Name:"] == "URI:skytrail://agent/node-1.example, URI:skytrail://agent/old"
    assert openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", path).endswith(": OK\n")
    assert "unsuitable certificate purpose" in refused("verify", "-CAfile", ca, "-purpose", "sslserver", path)
    assert (show(path).use, show(path).names) == ("agent", ("skytrail://agent/node-1.example", "skytrail://agent/old"))


def test_keys_are_their_owners_alone_and_fit(authority: Authority) -> None:
    path = authority.agent(["node"])
    for key in (authority.folder / "ca.key", path.with_suffix(".key")):
        assert key.stat().st_mode & 0o777 == 0o600
        public = openssl("pkey", "-in", key, "-pubout")
        assert public == openssl("x509", "-in", key.with_suffix(".crt"), "-noout", "-pubkey")
    assert authority.folder.stat().st_mode & 0o777 == 0o700
    assert {one.name for one in authority.folder.rglob("*") if one.is_file()} == {
        "ca.crt", "ca.key", "ca.crl", "node.crt", "node.key",
    }  # fmt: skip


def test_lifetimes_are_as_asked_and_never_beyond_the_authority(authority: Authority) -> None:
    now = dt.datetime.now(dt.UTC)
    for days, most in ((30, 30), (36500, 3650)):
        path = Authority(authority.folder, force=True).hub(["hub"], days)
        validity = read_validity(path.read_bytes())
        assert abs(validity.ends - (now + dt.timedelta(days=most)).timestamp()) < 60
        assert 3500 < now.timestamp() - validity.begins < 3700
        told = openssl("x509", "-in", path, "-noout", "-enddate", "-dateopt", "iso_8601")
        assert dt.datetime.fromisoformat(told.partition("=")[2].strip()).timestamp() == validity.ends
        assert openssl("x509", "-in", path, "-noout", "-serial") == f"serial={validity.serial:040X}\n"


def test_nothing_is_overwritten_unless_forced(authority: Authority) -> None:
    path = authority.agent(["node"])
    before = path.read_bytes()
    with pytest.raises(PkiError, match=r"node\.crt is there: .*renew.*--force"):
        authority.agent(["node"])
    with pytest.raises(PkiError, match=r"ca\.crt is there"):
        authority.init()
    assert path.read_bytes() == before
    Authority(authority.folder, force=True).agent(["node"])
    assert path.read_bytes() != before


@pytest.mark.parametrize("kind", ["hub", "server", "agent"])
def test_renewed_is_for_the_same_names_and_uses_by_another_key(kind: str, authority: Authority) -> None:
    path = getattr(authority, kind)(["hub", "former"], days=1)
    before, key = extensions(path), path.with_suffix(".key").read_bytes()
    assert list(authority.ending(30 * 86400.0)) == [path]
    authority.renew(path)
    assert extensions(path) == before
    assert path.with_suffix(".key").read_bytes() != key
    assert list(authority.ending(30 * 86400.0)) == []
    assert openssl("verify", "-CAfile", authority.folder / "ca.crt", path).endswith(": OK\n")


def test_revoked_ones_openssl_refuses(authority: Authority, tmp_path: Path) -> None:
    good, bad = authority.agent(["good"]), authority.agent(["bad"])
    authority.revoke(bad)
    listed = authority.revoke(bad)  # again is the same as once
    assert openssl("crl", "-in", listed, "-noout", "-text").count("Serial Number:") == 1
    verify = ("verify", "-CAfile", authority.folder / "ca.crt", "-crl_check", "-CRLfile", listed)
    assert openssl(*verify, good).endswith(": OK\n")
    assert "certificate revoked" in refused(*verify, bad)


@pytest.mark.parametrize("replace", ["renew", "force"])
def test_one_that_was_replaced_is_revoked_with_what_follows_it(replace: str, authority: Authority, tmp_path: Path) -> None:
    """It may have been stolen before it was renewed, and is good until it ends."""
    path, other, hub = authority.agent(["node"]), authority.agent(["other"]), authority.hub(["node"])
    stolen = tmp_path / "stolen.crt"
    stolen.write_bytes(path.read_bytes())
    for _ in range(2):
        if replace == "renew":
            for one in (path, other, hub):
                authority.renew(one)
        else:
            Authority(authority.folder, force=True).agent(["node"])
    listed = authority.revoke(path)
    assert openssl("crl", "-in", listed, "-noout", "-text").count("Serial Number:") == 3
    verify = ("verify", "-CAfile", authority.folder / "ca.crt", "-crl_check", "-CRLfile", listed)
    for one in (stolen, path):
        assert "certificate revoked" in refused(*verify, one)
    for one in (other, hub):
        assert openssl(*verify, one).endswith(": OK\n")


def test_another_authoritys_are_left_alone(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    other.init()
    path = other.agent(["node"])
    for act in (authority.renew, authority.revoke):
        with pytest.raises(PkiError, match="is of another authority"):
            act(path)


def test_what_is_wrong_is_said_in_a_line(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(PkiError, match=r"ca\.crt: No such file or directory: make it by 'skytrail pki init'"):
        Authority(tmp_path / "none").hub(["hub"])
    with pytest.raises(UsageError, match="is no host's name"):
        authority.agent(["two words"])
    (authority.folder / "ca.key").write_text("no key")
    with pytest.raises(PkiError, match=r"ca\.key: no key"):
        authority.hub(["hub"])


def test_the_command_line_does_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "pki")
    assert main(["pki", "init", folder]) == 0
    assert main(["pki", "hub", "hub.example", "192.0.2.1", "--dir", folder]) == 0
    assert main(["pki", "server", "node", "--dir", folder]) == 0
    assert main(["pki", "agent", "node", "--dir", folder, "--days", "7"]) == 0
    assert main(["pki", "agent", "node", "--dir", folder]) == 1
    assert "is there" in capsys.readouterr().err
    assert main(["pki", "renew", "--dir", folder]) == 0
    assert capsys.readouterr().out == f"{folder}/agents/node.crt\n{folder}/agents/node.key\n"
    assert main(["pki", "revoke", f"{folder}/agents/node.crt", "--dir", folder]) == 0
    capsys.readouterr()
    assert main(["pki", "show", f"{folder}/hubs/hub.example.crt"]) == 0
    shown = capsys.readouterr().out
    assert "use:       hub\nnames:     hub.example, 192.0.2.1, skytrail://hub/hub.example\n" in shown
    assert f"sha256:    {_fingerprint(folder)}" in shown


def _fingerprint(folder: str) -> str:
    told = openssl("x509", "-in", f"{folder}/hubs/hub.example.crt", "-noout", "-fingerprint", "-sha256")
    return told.partition("=")[2].strip().replace(":", "").lower()
