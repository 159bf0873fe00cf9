"""The port table, against the names that the system's services file has for the same ports."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from exporters.flows.applications import Applications

TCP, UDP, SCTP = 6, 17, 132
# IANA's names where ours are Skydive's or the everyday ones
_ALIASES = {"domain": "DNS", "ssh": "SSH", "http": "HTTP", "https": "HTTPS", "mysql": "MYSQL", "bootps": "DHCPV4", "ntp": "NTP"}


def name(applications: Applications, proto: int, one: int, other: int) -> str:
    numbers = applications.numbers(np.array([proto], np.uint8), np.array([one], ">u2"), np.array([other], ">u2"))
    return applications.names[int(numbers[0])]


@pytest.mark.parametrize(("service", "transport"), [("domain", "udp"), ("ssh", "tcp"), ("http", "tcp"), ("https", "tcp"),
                                                    ("mysql", "tcp"), ("bootps", "udp"), ("ntp", "udp")])  # fmt: skip
def test_well_known_port_either_way(service: str, transport: str) -> None:
    port, proto = socket.getservbyname(service, transport), {"tcp": TCP, "udp": UDP}[transport]
    applications = Applications()
    assert name(applications, proto, port, 51234) == name(applications, proto, 51234, port) == _ALIASES[service]


def test_lower_port_is_taken_where_both_have_a_name() -> None:
    assert name(Applications(), TCP, 8080, 22) == "SSH"


def test_only_the_transport_that_the_name_is_for() -> None:
    applications = Applications()
    assert [name(applications, proto, 22, 50000) for proto in (TCP, UDP, SCTP)] == ["SSH", "", ""]
    assert name(applications, UDP, 4789, 50000) == "VXLAN"
    assert name(applications, TCP, 4789, 50000) == ""


def test_own_names_come_first_and_are_upper_case() -> None:
    applications = Applications({"tcp": {22: "bastion", 50000: "billing"}, "udp": {53: "dns"}})
    assert name(applications, TCP, 22, 60000) == "BASTION"
    assert name(applications, TCP, 50000, 60000) == "BILLING"
    assert name(applications, UDP, 50000, 60000) == ""
    assert name(applications, UDP, 53, 60000) == "DNS"
    assert applications.names.count("DNS") == 1
