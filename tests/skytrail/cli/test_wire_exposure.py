"""Agents and hubs talk beyond loopback with mutual TLS alone."""

from __future__ import annotations

import msgspec
import pytest

from skytrail.errors import ListenError, UsageError
from skytrail.settings.tree import Agent, Http, Hub, Settings, Wire
from skytrail.wire.exposure import check_hubs, check_wire

TLS = Wire(tls_cert="c", tls_key="k", tls_ca="a")


def at(listen: str, wire: Wire = Wire(), **http: object) -> Settings:  # noqa: B008 - frozen
    return Settings(hub=Hub(wire=listen), agent=Agent(hubs=(listen,)), http=msgspec.convert(http, Http), wire=wire)


@pytest.mark.parametrize("listen", ["127.0.0.1:8083", "[::1]:8083", "localhost:8083"])
def test_loopback_is_served(listen: str) -> None:
    check_wire(at(listen))
    check_hubs(at(listen))


@pytest.mark.parametrize("http", [{}, {"tls_cert": "c", "tls_key": "k", "token_file": "t"}])
def test_elsewhere_is_refused_though_http_has_tls(http: dict[str, object]) -> None:
    with pytest.raises(ListenError, match=r"will not listen on 0\.0\.0\.0:8083 for agents without mutual TLS.*pki.*--insecure"):
        check_wire(at("0.0.0.0:8083", **http))


@pytest.mark.parametrize("hub", ["192.0.2.1:8083", "[2001:db8::1]:8083", "hub.example:8083", "localhost.example:8083"])
def test_an_agent_tells_nothing_to_a_hub_elsewhere(hub: str) -> None:
    with pytest.raises(UsageError, match=r"agent\.hubs: will not talk to .* without mutual TLS.*pki.*--insecure"):
        check_hubs(at(hub))


def test_with_tls_or_where_it_is_asked_for() -> None:
    for settings in (at("0.0.0.0:8083", TLS), at("0.0.0.0:8083", insecure=True)):
        check_wire(settings)
        check_hubs(settings)


def test_an_address_of_nobody_is_said_as_elsewhere() -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        check_wire(at("no-such-host.invalid:1"))
