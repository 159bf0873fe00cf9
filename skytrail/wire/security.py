"""Mutual TLS of the wire: who may connect, and as which host.

A certificate of an agent's names its host by the URI ``skytrail://agent/HOST`` among its alternative names (several: it was
called otherwise before); ``skytrail pki agent`` makes such ones. An agent makes sure that the hub's certificate is for the name
or address that it dialled. A hub that asks another one has the URI ``skytrail://hub/HOST`` in its own. Files are read again at
each connection, so that replaced ones need no restart.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
import structlog

from skytrail.certificates import AGENT, HUB, Reloading, file_signature, load_pair, read_validity, reason
from skytrail.errors import NotSupportedError, RunError
from skytrail.settings.tree import Wire
from skytrail.wire.methods import OPTIONS, PEER_OPTIONS

_log = structlog.get_logger(__name__)

_REMEDY = "'skytrail pki hub --force' makes another"
_LOCAL = [("grpc.use_local_subchannel_pool", 1)]  # a new connection is one: it reads the files again

Connect = Callable[[str], grpc.Channel]


class PeerError(RunError):
    """Who connects is not who it says, or may not connect any more."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is read for one connection, PEM."""

    key: bytes
    chain: bytes
    authorities: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """An agent, or another hub, by its certificate.

    Attributes:
        hosts: names that it may report as, or is reached by.
        serial: of the certificate.
        ends: when it ends to be good, seconds since the epoch.
        kind: ``agent`` or ``hub``.
    """

    hosts: tuple[str, ...]
    serial: int
    ends: float
    kind: str = "agent"


_KINDS = {"agent": AGENT, "hub": HUB}


def wire_files(settings: Wire) -> Reloading[Files] | None:
    """Certificate, key and authorities of this end; None: the wire has no TLS. Raises RunError: they cannot be used."""
    if not (settings.tls_cert and settings.tls_key and settings.tls_ca):
        return None
    chain, key, authorities = Path(settings.tls_cert), Path(settings.tls_key), Path(settings.tls_ca)

    def make() -> Files:
        before = [file_signature(path) for path in (chain, key)]
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, key)  # gRPC says nothing of files that do not fit
        ssl.create_default_context(cafile=authorities)
        found = Files(key.read_bytes(), chain.read_bytes(), authorities.read_bytes())
        if before != [file_signature(path) for path in (chain, key)]:
            raise ValueError("the files are being replaced")
        return found

    try:
        return Reloading((chain, key, authorities), make)
    except (OSError, ValueError) as error:
        told = f"wire.tls_cert {chain}, wire.tls_key {key}, wire.tls_ca {authorities}"
        raise RunError(f"{told}: {reason(error)}: 'skytrail pki' makes such files") from error


def connector(files: Reloading[Files] | None) -> Connect:
    """What opens an agent's connection to a hub."""

    def connect(address: str) -> grpc.Channel:
        options = [*OPTIONS, *_LOCAL]
        if files is None:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, _credentials(files.current()), options)

    return connect


INSECURE = connector(None)


class HubSecurity:
    """The hub's half: where it listens, who may connect as whom, and as whom it asks other hubs.

    Args:
        files: None: anybody may, as anybody.
        crl: path of a list of revoked certificates, PEM; read again when it is replaced.

    Raises:
        RunError: the list cannot be used.
    """

    def __init__(self, files: Reloading[Files] | None = None, crl: str | None = None) -> None:
        self.files = files
        self._given: Files | None = None
        self._own: tuple[Files, bool] | None = None
        self._revoked = _Revoked(Path(crl), files) if crl and files else None

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Let the server listen there; gives the port."""
        if self.files is None:
            return int(server.add_insecure_port(address))
        self._given = self.files.current()
        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._given), self._renewed, require_client_authentication=True
        )
        return int(server.add_secure_port(address, credentials))

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC before each handshake, on a thread of its own; None: nothing is new."""
        assert self.files is not None
        found = self.files.current()
        if found is self._given:
            return None
        self._given = found
        return _configuration(found)

    def dial(self, address: str) -> grpc.aio.Channel:
        """Open a connection to another hub, on the running loop."""
        options = [*PEER_OPTIONS, *_LOCAL]
        if self.files is None:
            return grpc.aio.insecure_channel(address, options)
        return grpc.aio.secure_channel(address, _credentials(self.files.current()), options)

    def refusal(self) -> str:
        """Why our certificate is no good to ask another hub by; empty: it is."""
        if self.files is None:
            return ""
        found = self.files.current()
        if self._own is None or self._own[0] is not found:
            self._own = found, names_hub(found.chain)
        return "" if self._own[1] else f"cannot be asked by this hub's certificate: {_REMEDY}"

    def peer(self, context: Any, kind: str = "agent") -> Peer | None:  # noqa: ANN401 - grpc has no types
        """Who is at the other end; None: the wire has no TLS. Raises PeerError: its certificate is no such one, or revoked."""
        if self.files is None:
            return None
        told, prefix = context.auth_context(), _KINDS[kind]
        uris = [uri.decode(errors="replace") for uri in told.get("peer_uri", ())]
        hosts = tuple(unquote(uri.removeprefix(prefix)) for uri in uris if uri.startswith(prefix))
        if not hosts:
            name = b" ".join(told.get("x509_common_name", ())).decode(errors="replace")
            raise PeerError(f"the certificate '{name}' is no {kind}'s: 'skytrail pki {kind} HOST' makes one")
        validity = read_validity(told["x509_pem_cert"][0])
        peer = Peer(hosts, validity.serial, validity.ends, kind)
        self.check(peer)
        return peer

    def check(self, peer: Peer | None) -> None:
        """Raises PeerError: the certificate, good when it connected, is no good any more."""
        if peer is None:
            return
        if peer.ends <= time.time():
            raise PeerError(f"the certificate of {peer.hosts[0]} has ended: 'skytrail pki renew' makes another")
        if self._revoked is not None and peer.serial in self._revoked.serials():
            raise PeerError(
                f"the certificate {peer.serial:x} of {peer.hosts[0]} is revoked: 'skytrail pki {peer.kind}' makes another"
            )

    def admit(self, peer: Peer | None, host: str, known: str | None = None) -> None:
        """Raises PeerError: an agent of that certificate may not report as that host.

        Args:
            peer: who is at the other end.
            host: that it says to be.
            known: the name under which its host ID was reported before.
        """
        if peer is None:
            return
        if host not in peer.hosts:
            raise PeerError(f"the certificate is that of {' and '.join(peer.hosts)}: it may not report as {host!r}")
        if known is not None and known not in peer.hosts:
            remedy = f"was it called so: 'skytrail pki agent {host} {known}'; else give this host an ID (host_id)"
            raise PeerError(f"this host ID is that of {known!r}, which the certificate does not name: {remedy}")

    def waiting(self) -> str | None:
        """Why the list of revoked certificates is not as it must be, for /readyz; None: it is."""
        if self._revoked is None:
            return None
        self._revoked.serials()
        return self._revoked.failure


OPEN = HubSecurity()
"""Anybody may connect as anybody."""


class _Revoked:
    """Serial numbers of revoked certificates, signed by an authority that the wire trusts; those of before while unusable."""

    def __init__(self, path: Path, files: Reloading[Files]) -> None:
        self._path, self._files = path, files
        self.failure: str | None = None
        self._seen = file_signature(path)
        try:
            self._serials = self._read()
        except (OSError, ValueError) as error:
            raise RunError(f"wire.tls_crl {path}: {reason(error)}: 'skytrail pki revoke' makes such a file") from error

    def serials(self) -> frozenset[int]:
        """As the file says now."""
        signature = file_signature(self._path)
        if signature != self._seen:
            self._seen = signature
            try:
                self._serials, self.failure = self._read(), None
            except (OSError, ValueError) as error:
                self.failure = f"{self._path}: {reason(error)}: the list of before is used"
                _log.warning("revocations_unusable", path=str(self._path), reason=reason(error), meanwhile="the list before")
        return self._serials

    def _read(self) -> frozenset[int]:
        try:
            from cryptography import x509  # noqa: PLC0415 - only who revokes pays for the library
        except ImportError as error:
            raise NotSupportedError("wire.tls_crl needs a library", "pip install 'skytrail[wire]'") from error
        found = x509.load_pem_x509_crl(self._path.read_bytes())
        authorities = x509.load_pem_x509_certificates(self._files.current().authorities)
        if not any(_signed(found, authority.public_key()) for authority in authorities):
            raise ValueError("no authority of wire.tls_ca has signed it")
        return frozenset(one.serial_number for one in found)


def names_hub(chain: bytes) -> bool:
    """Whether another hub answers who shows that certificate, PEM: it is good as a client's, and names a hub."""
    from cryptography import x509  # noqa: PLC0415 - an agent never loads it
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    extensions = x509.load_pem_x509_certificate(chain).extensions
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return ExtendedKeyUsageOID.CLIENT_AUTH in uses and any(uri.startswith(HUB) for uri in uris)


def _credentials(files: Files) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(files.authorities, files.key, files.chain)


def _signed(found: Any, key: Any) -> bool:  # noqa: ANN401 - cryptography is imported only where it is used
    try:
        return bool(found.is_signature_valid(key))
    except TypeError:  # a key of a kind that cannot sign
        return False


def _configuration(files: Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.chain)], root_certificates=files.authorities)
