"""What ``skytrail check`` says of certificates and of files that hold secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skytrail.certificates import left, read_validity, reason

if TYPE_CHECKING:
    from exporters.bpf.features import Finding
    from skytrail.settings.tree import Settings

_READABLE = 0o077
_PAGE = "see the page on security in the documentation"


def security_findings(settings: Settings) -> Iterator[Finding]:
    """Until when certificates are good, whether the wire can be used, secrets that others can read in files or on the way."""
    yield from _certificates(settings)
    yield from _wire(settings)
    yield from _secrets(settings)
    yield from _in_clear(settings)


def _certificates(settings: Settings) -> Iterator[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from skytrail.errors import ListenError  # noqa: PLC0415
    from skytrail.http.server import http_certificate  # noqa: PLC0415

    for key, path in (("http.tls_cert", settings.http.tls_cert), ("wire.tls_cert", settings.wire.tls_cert)):
        if path is None:
            continue
        try:
            good, words = left(read_validity(Path(path).read_bytes()))
            if key == "http.tls_cert":
                http_certificate(settings.http)
        except (OSError, ValueError) as error:
            yield Finding("certificate", "missing", f"{key} {path}: {reason(error)}", "name another file")
        except ListenError as error:
            yield Finding("certificate", "missing", str(error), _PAGE)
        else:
            state = "ok" if good else "note" if words.startswith("good") else "missing"
            yield Finding("certificate", state, f"{key} {path}: {words}", "renew it: 'skytrail pki renew', for one of its own")


def _wire(settings: Settings) -> Iterator[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from skytrail.errors import SkytrailError  # noqa: PLC0415
    from skytrail.wire.exposure import check_hubs  # noqa: PLC0415

    wire, hubs = settings.wire, settings.agent.hubs
    try:
        check_hubs(settings)
        if wire.tls_cert:
            from skytrail.wire.security import HubSecurity, wire_files  # noqa: PLC0415 - an extra

            security = HubSecurity(wire_files(wire), wire.tls_crl)
            if settings.topology.store == "janusgraph" and (refusal := security.refusal()):
                yield Finding("wire", "note", f"other hubs of the same graph {refusal}", _PAGE)
    except SkytrailError as error:
        yield Finding("hubs" if hubs else "wire", "missing", str(error), _PAGE)
    else:
        if hubs:
            yield Finding("hubs", "ok", f"{', '.join(hubs)}: {'mutual TLS' if wire.tls_cert else 'no TLS'}", "")


def _secrets(settings: Settings) -> Iterator[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415

    http, wire = settings.http, settings.wire
    secrets = {
        "http.tls_key": http.tls_key,
        "http.token_file": http.token_file,
        "http.users_file": http.users_file,
        "http.login_file": http.login_file,
        "wire.tls_key": wire.tls_key,
    }
    for key, path in secrets.items():
        if path is not None and Path(path).exists() and Path(path).stat().st_mode & _READABLE:
            yield Finding("secret", "note", f"{key} {path} can be read by others", f"chmod 600 {path}")


def _in_clear(settings: Settings) -> Iterator[Finding]:
    """Secrets that are sent to other hosts without TLS."""
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from skytrail.wire.exposure import is_here  # noqa: PLC0415

    graph, otlp = settings.topology.janusgraph, settings.otlp
    sent = {"topology.janusgraph.password": (graph.password, graph.url), "otlp.headers": (otlp.headers, otlp.endpoint or "")}
    for key, (secret, url) in sent.items():
        parts = urlsplit(url)
        if secret and parts.scheme in {"ws", "http"} and not is_here(parts.hostname or ""):
            yield Finding("secret", "note", f"{key} is sent in clear to {parts.hostname}", f"use {parts.scheme}s")
