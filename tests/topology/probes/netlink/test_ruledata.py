from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import Any

from support.linkoracle import dump
from support.netlab import Net
from support.routelab import make_routes, numeric_json

from skytrail.kernel.netlink import attribute, integer_attribute
from topology.probes.netlink.routenames import PROTOCOLS, RULE_ACTIONS
from topology.probes.netlink.ruledata import Rule, decode_rule, rule_dump_request

HEADER = struct.Struct("=8BI")


def prefix(says: dict[str, Any], key: str, bits: int) -> str:
    address = says.get(key, "all")
    return "" if address == "all" else f"{address}/{says.get(f'{key}len', bits)}"


def action(says: dict[str, Any]) -> str:
    if "action" in says:
        return RULE_ACTIONS[int(says["action"])]
    return "goto" if "goto" in says else "lookup"


def shown(says: dict[str, Any], family: int) -> Rule:
    bits = 32 if family == socket.AF_INET else 128
    protocol = int(says["protocol"])
    ports = {
        side: (says[f"{side}_start"], says[f"{side}_end"])
        if f"{side}_start" in says
        else (says[side],) * 2
        if side in says
        else ()
        for side in ("sport", "dport")
    }
    return Rule(
        family=family,
        priority=says["priority"],
        action=action(says),
        table=int(says.get("table", 0)),
        src=prefix(says, "src", bits),
        dst=prefix(says, "dst", bits),
        inverted="not" in says,
        iif=says.get("iif", ""),
        oif=says.get("oif", ""),
        fwmark=int(says.get("fwmark", "0"), 16),
        fwmask=int(says.get("fwmask", "0"), 16),
        tos=int(says.get("tos", "0"), 16),
        goto=says.get("goto", 0),
        suppress_prefixlength=says.get("suppress_prefixlen"),
        suppress_ifgroup=int(says["suppress_ifgroup"]) if "suppress_ifgroup" in says else None,
        l3mdev="l3mdev" in says,
        uids=(says["uid_start"], says["uid_end"]) if "uid_start" in says else (),
        ip_protocol=int(says.get("ipproto", "ipproto-0").partition("-")[2]),
        sports=ports["sport"],
        dports=ports["dport"],
        protocol=PROTOCOLS.get(protocol, str(protocol)) if protocol else "",
    )


def test_rules_are_as_iproute2_shows_them(net: Net) -> None:
    netns, _ = make_routes(net)
    says = [
        shown(one, family)
        for family, option in ((socket.AF_INET, "-4"), (socket.AF_INET6, "-6"))
        for one in numeric_json(netns, option, "-d", "rule", "show")
    ]
    ours = [decode_rule(raw) for raw in dump(netns, 34, rule_dump_request())]
    assert len(says) == 12
    assert Counter(one for one in ours if one) == Counter(says)


def test_one_familys_rules_are_asked_for(net: Net) -> None:
    netns, _ = make_routes(net)
    found = [decode_rule(raw) for raw in dump(netns, 34, rule_dump_request(socket.AF_INET6))]
    assert {one.family for one in found if one} == {socket.AF_INET6}


def test_no_suppression_is_none() -> None:
    raw = HEADER.pack(2, 0, 0, 0, 254, 0, 0, 1, 0) + integer_attribute(13, -1) + integer_attribute(14, -1)
    assert decode_rule(raw) == Rule(2, 0, "lookup", 254)


def test_a_rule_of_multicast_routing_is_none() -> None:
    assert decode_rule(HEADER.pack(128, 0, 0, 0, 253, 0, 0, 1, 0)) is None


def test_an_action_without_a_name_stays_a_number() -> None:
    found = decode_rule(HEADER.pack(2, 0, 0, 0, 0, 0, 0, 77, 0) + attribute(19, b"\1"))
    assert found is not None
    assert (found.action, found.l3mdev) == ("77", True)
