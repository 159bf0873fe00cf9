"""A certificate authority for a small installation, in a folder: makes, renews and revokes certificates of hubs and agents.

The folder holds ``ca.crt``, ``ca.key``, ``ca.crl`` (what is revoked), ``hubs/NAME.{crt,key}`` and ``agents/NAME.{crt,key}``;
and ``former/SERIAL.crt``, those that were replaced: they are good until they end, and revoked with those that follow them.
Keys are EC P-256, readable by their owner alone. An agent's certificate says who it is by the URI ``skytrail://agent/HOST``, a
hub's by ``skytrail://hub/HOST``; ``servers/NAME.{crt,key}`` are of HTTPS alone.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skytrail.certificates import AGENT, HUB
from skytrail.errors import RunError, UsageError

CA_DAYS, DAYS, CRL_DAYS = 3650, 365, 3650
_BEFORE = dt.timedelta(hours=1)  # a certificate is good for hosts whose clocks are behind, too
_LONGEST_NAME = 64  # characters of a common name, X.520
_NAME = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}(?<!\.)")
_MODES = {".key": 0o600}


class PkiError(RunError):
    """The authority's folder is not as it must be, or a file there would be overwritten."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a certificate says.

    Attributes:
        subject: its name.
        use: ``authority``, ``hub``, ``agent``, ``server`` or ``other``.
        names: of hosts it is for; of an agent its host's.
        serial: hexadecimal.
        fingerprint: SHA-256, hexadecimal.
        begins: when it begins to be good.
        ends: when it ends to be good.
        issuer: name of who signed it.
    """

    subject: str
    use: str
    names: tuple[str, ...]
    serial: str
    fingerprint: str
    begins: dt.datetime
    ends: dt.datetime
    issuer: str


_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
_USES: Mapping[str, tuple[x509.ObjectIdentifier, ...]] = {
    "agents": (_CLIENT,),
    "hubs": (_SERVER, _CLIENT),
    "servers": (_SERVER,),
}
"""What certificates are good for, by their folder: a hub also asks other hubs."""
_KINDS = {AGENT: "agent", HUB: "hub"}


def _uri(prefix: str, host: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(prefix + quote(host, safe=""))


class Authority:
    """The authority in a folder. Every method raises PkiError; what is there is overwritten only with ``force``."""

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder, self._force = folder, force

    @property
    def ca(self) -> Path:
        """The path of its certificate."""
        return self.folder / "ca.crt"

    def init(self, days: int = CA_DAYS) -> Path:
        """Make the authority, and a list of revoked certificates that is empty; gives its certificate's path."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Skytrail CA {os.urandom(4).hex()}")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            _builder(name, name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
        )
        certificate = builder.sign(key, hashes.SHA256())
        made = self._write("ca", certificate, key)
        self._write_revoked(certificate, key, [])
        return made

    def hub(self, names: Sequence[str], days: int = DAYS) -> Path:
        """Make a hub's certificate for the names and addresses that others reach it by; gives its path."""
        return self._issue("hubs", names[0], [*_reached_by(names), _uri(HUB, names[0])], days)

    def server(self, names: Sequence[str], days: int = DAYS) -> Path:
        """Make a certificate of HTTPS alone, for the names and addresses that browsers reach it by; gives its path."""
        return self._issue("servers", names[0], _reached_by(names), days)

    def agent(self, hosts: Sequence[str], days: int = DAYS) -> Path:
        """Make the certificate of an agent: its host's name, and those that it had before; gives its path."""
        return self._issue("agents", hosts[0], [_uri(AGENT, _named(host)) for host in dict.fromkeys(hosts)], days)

    def renew(self, path: Path, days: int = DAYS) -> None:
        """Replace a certificate of ours, and its key, by ones for the same names. Who uses it reads them again."""
        before = _read_certificate(path)
        authority, _ = self._authority()
        if before.issuer != authority.subject:
            raise PkiError(f"{path} is of another authority than {self.folder}: give its folder by --dir")
        uses, names = _uses(before), _alternative(before)
        if uses not in _USES.values() or not names:
            raise PkiError(f"{path} is no certificate of a hub's or an agent's: 'skytrail pki init' makes a new authority")
        self._keep(before)
        key = ec.generate_private_key(ec.SECP256R1())
        _replace(path.with_suffix(".key"), _key_bytes(key))
        _replace(path, self._signed(before.subject, names, uses, key, days).public_bytes(serialization.Encoding.PEM))

    def ending(self, within: float) -> Iterator[Path]:
        """The certificates in the folder that end within so many seconds, or have ended."""
        limit = _now() + dt.timedelta(seconds=within)
        for path in sorted(self.folder.glob("*s/*.crt")):
            if _read_certificate(path).not_valid_after_utc < limit:
                yield path

    def revoke(self, path: Path) -> Path:
        """Add a certificate, and those that it replaced, to the list of what is no good any more; gives the list's path."""
        certificate = _read_certificate(path)
        authority, key = self._authority()
        if certificate.issuer != authority.subject:
            raise PkiError(f"{path} is of another authority than {self.folder}: give its folder by --dir")
        listed = self.folder / "ca.crl"
        known = list(x509.load_pem_x509_crl(_read(listed))) if listed.exists() else []
        former = map(_read_certificate, sorted(self.folder.glob("former/*.crt")))
        serials = {one.serial_number for one in former if _whose(one) == _whose(certificate)} | {certificate.serial_number}
        for serial in serials - {one.serial_number for one in known}:
            known.append(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_now()).build())
        return self._write_revoked(authority, key, known)

    def _keep(self, certificate: x509.Certificate) -> None:
        """Of one that is replaced: it can be revoked all the same."""
        path = self.folder / "former" / f"{certificate.serial_number:x}.crt"
        _replace(path, certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(self, folder: str, name: str, names: Sequence[x509.GeneralName], days: int) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_LONGEST_NAME])])
        where = f"{folder}/{_file_name(name)}"
        return self._write(where, self._signed(subject, names, _USES[folder], key, days), key)

    def _signed(
        self,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        uses: Sequence[x509.ObjectIdentifier],
        key: ec.EllipticCurvePrivateKey,
        days: int,
    ) -> x509.Certificate:
        authority, signing = self._authority()
        public = key.public_key()
        builder = (
            _builder(subject, authority.subject, public, days, authority.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        return builder.sign(signing, hashes.SHA256())

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate = _read_certificate(self.ca, "make it by 'skytrail pki init', or name it by --dir")
        path = self.folder / "ca.key"
        try:
            key = serialization.load_pem_private_key(_read(path), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise PkiError(f"{path}: no key that can be used: bring back the one that 'skytrail pki init' made") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise PkiError(f"{path} is not the key of ca.crt beside it: bring back the one that 'skytrail pki init' made")
        return certificate, key

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
        """The certificate last: who finds it finds its key."""
        path = self.folder / f"{name}.crt"
        there = [one for one in (path, path.with_suffix(".key")) if one.exists()]
        if there and not self._force:
            raise PkiError(f"{there[0]} is there: 'skytrail pki renew' replaces a certificate that ends, --force any")
        if path.exists():
            with contextlib.suppress(PkiError):  # what is none needs no keeping
                self._keep(_read_certificate(path))
        _replace(path.with_suffix(".key"), _key_bytes(key))
        _replace(path, certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _write_revoked(
        self, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, known: Sequence[x509.RevokedCertificate]
    ) -> Path:
        builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(_now())
        builder = builder.next_update(_now() + dt.timedelta(days=CRL_DAYS))
        for one in known:
            builder = builder.add_revoked_certificate(one)
        path = self.folder / "ca.crl"
        _replace(path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def show(path: Path) -> Shown:
    """What a certificate says. Raises PkiError."""
    certificate = _read_certificate(path)
    names = _alternative(certificate)
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    kinds = [kind for prefix, kind in _KINDS.items() if any(uri.startswith(prefix) for uri in uris)]
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    use = "authority" if authority else kinds[0] if kinds else "server" if _uses(certificate) == (_SERVER,) else "other"
    return Shown(
        certificate.subject.rfc4514_string(),
        use,
        tuple(str(name.value) for name in names),
        f"{certificate.serial_number:x}",
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.issuer.rfc4514_string(),
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int, most: dt.datetime | None = None
) -> x509.CertificateBuilder:
    ends = _now() + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _BEFORE)
        .not_valid_after(min(ends, most) if most else ends)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _uses(certificate: x509.Certificate) -> tuple[x509.ObjectIdentifier, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ()


def _whose(certificate: x509.Certificate) -> tuple[object, ...]:
    return certificate.issuer, certificate.subject, _uses(certificate)


def _reached_by(names: Sequence[str]) -> list[x509.GeneralName]:
    reached: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            reached.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            reached.append(x509.DNSName(_named(name)))
    return reached


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no host's name: letters, digits, '.', '-' and '_'")
    return name


def _file_name(name: str) -> str:
    return name.replace(":", "_")  # of an IPv6 address


def _read(path: Path, remedy: str = "name another file") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}: {remedy}") from error


def _read_certificate(path: Path, remedy: str = "name another file") -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path, remedy))
    except ValueError as error:
        raise PkiError(f"{path} holds no certificate (PEM): {remedy}") from error


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all; a key is never readable by others, not even for a moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(_MODES.get(path.suffix, 0o644))
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}: name a folder that can be written by --dir") from error
