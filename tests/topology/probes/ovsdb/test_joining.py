"""Rows and devices written by hand → which is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from topology.probes.devices import Device, Devices
from topology.probes.ovsdb.joining import Joined, Joining

OWN, HOME, ELSEWHERE = 1, 2, 3


def device(namespace: int, name: str, ifindex: int, kind: str = "tun") -> Device:
    return Device(namespace, name, ifindex, f"02:00:00:00:0{namespace}:{ifindex:02x}", kind, f"{namespace}/{name}")


def devices(*all_: Device) -> Devices:
    return Devices(OWN, all_)


def row(name: str, kind: str = "internal", of: Device | None = None, **more: Any) -> Mapping[str, Any]:
    told = {"ofport": [1], "ifindex": [of.ifindex], "mac_in_use": [of.mac]} if of else {}
    return {"name": name, "type": kind, "ofport": [], "ifindex": [], "mac_in_use": [], **told, **more}


BR, PORT = device(HOME, "br0", 5), device(HOME, "p0", 6)


def test_a_switch_is_where_its_interfaces_are() -> None:
    there = devices(device(OWN, "br0", 4), device(OWN, "p0", 9), BR, PORT, device(HOME, "ovs-netdev", 4))
    found = Joining(near=True).join({"b": row("br0", of=BR), "p": row("p0"), "v": row("br0", "vxlan")}, there)
    assert found == Joined({"b": "2/br0", "p": "2/p0"}, ("2/ovs-netdev",))


@pytest.mark.parametrize(("near", "interfaces"), [(True, {"b": "1/br0"}), (False, {})])
def test_as_long_as_nothing_tells_a_local_database_is_of_our_own_namespace(near: bool, interfaces: dict[str, str]) -> None:
    assert Joining(near=near).join({"b": row("br0")}, devices(device(OWN, "br0", 4), BR)).interfaces == interfaces


def test_where_it_was_it_stays_when_nothing_tells_any_more() -> None:
    joining = Joining(near=True)
    joining.join({"b": row("br0", of=BR)}, devices(BR))
    assert joining.join({"p": row("p0")}, devices(device(OWN, "p0", 9), PORT)).interfaces == {"p": "2/p0"}


MOVED = device(ELSEWHERE, "p1", 7)


@pytest.mark.parametrize(
    ("told", "there", "found"),
    [
        (row("p1", ofport=[2]), [MOVED], {"p": "3/p1"}),
        (row("p1", ofport=[2], mac_in_use=[MOVED.mac]), [MOVED], {"p": "3/p1"}),
        (row("p1", ofport=[2], mac_in_use=["02:00:00:00:00:00"]), [MOVED], {}),  # another's
        (row("p1"), [MOVED], {}),  # the switch has not made it yet
        (row("p1", ofport=[-1]), [MOVED], {}),  # and could not
        (row("p1", "system", ofport=[2]), [MOVED], {}),
        (row("p1", ofport=[2]), [device(ELSEWHERE, "p1", 7, "veth")], {}),
        (row("p1", ofport=[2]), [MOVED, device(4, "p1", 7)], {}),  # which?
    ],
)
def test_an_internal_port_that_was_moved_is_found(told: Mapping[str, Any], there: list[Device], found: dict[str, str]) -> None:
    joined = Joining(near=True).join({"b": row("br0", of=BR), "p": told}, devices(BR, *there))
    assert joined.interfaces == {"b": "2/br0", **found}
