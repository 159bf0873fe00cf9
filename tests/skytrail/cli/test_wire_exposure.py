"""A hub is reached by agents on loopback only, until the wire has TLS."""

from __future__ import annotations

import msgspec
import pytest

from skytrail.cli.hub import check_wire
from skytrail.errors import ListenError
from skytrail.settings.tree import Http, Hub, Settings


def at(listen: str, **http: object) -> Settings:
    return Settings(hub=Hub(wire=listen), http=msgspec.convert(http, Http))


@pytest.mark.parametrize("listen", ["127.0.0.1:8083", "[::1]:8083", "localhost:8083"])
def test_loopback_is_served(listen: str) -> None:
    check_wire(at(listen))


@pytest.mark.parametrize("http", [{}, {"tls_cert": "c", "tls_key": "k", "token_file": "t"}])
def test_elsewhere_is_refused_though_http_has_tls(http: dict[str, object]) -> None:
    with pytest.raises(ListenError, match=r"will not listen on 0\.0\.0\.0:8083 for agents without TLS.*tunnel.*--insecure"):
        check_wire(at("0.0.0.0:8083", **http))


def test_unless_it_is_asked_for() -> None:
    check_wire(at("0.0.0.0:8083", insecure=True))


def test_an_address_of_nobody_is_said_as_elsewhere() -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        check_wire(at("no-such-host.invalid:1"))
