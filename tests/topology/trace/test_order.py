"""The order of capture points, from what their records say: shuffled, it is the same again."""

from __future__ import annotations

import random
from typing import Any

import pytest

from topology.trace.order import in_order
from topology.trace.sightings import BACK, FORTH, Sighting, orientations, sightings

CLIENT, SERVER = ("10.0.1.1", 40000), ("10.0.2.1", 80)


def flow(
    name: str, first: int, forth: str, ttl: tuple[int, int], *, rtt: int = 0, parent: str = "", **more: Any
) -> dict[str, Any]:
    """A record of a conversation at a point: ``forth`` is the hook of packets to the server."""
    other = {"ingress": "egress", "egress": "ingress", "both": "both"}[forth]
    return {
        "UUID": f"{name}-{parent}",
        "TrackingID": "t",
        "ParentUUID": parent,
        "NodeTID": name,
        "Interface": name,
        "Namespace": "",
        "Initiator": "A",
        "Start": 1000,
        "Last": 2000,
        "FirstMonotonic": first,
        "Seen": {"AB": forth, "BA": other},
        "Metric": {"ABPackets": 5, "ABBytes": 500, "BAPackets": 4, "BABytes": 400, "RTT": rtt},
        "Network": {"A": CLIENT[0], "B": SERVER[0], "ATTL": ttl[0], "BTTL": ttl[1]},
        "Transport": {"Protocol": "TCP", "A": CLIENT[1], "B": SERVER[1]},
        **more,
    }


def carrier(uuid: str, forth: str, ttl: tuple[int, int]) -> dict[str, Any]:
    made = flow(uuid, 0, forth, ttl)
    return {**made, "UUID": uuid, "TrackingID": "tunnel", "LayersPath": "Ethernet/IPv4/UDP/VXLAN",
            "Network": {**made["Network"], "A": "192.0.2.1", "B": "192.0.2.2", "ID": 10}}  # fmt: skip


# a router between two hosts, whose clocks have nothing to do with each other
ROUTED = [
    ("h1", flow("w1", 7_000_000, "egress", (64, 63), rtt=900)),
    ("h1", flow("v1", 7_000_400, "ingress", (64, 63), rtt=890)),
    ("h1", flow("eth0", 7_001_000, "egress", (64, 63), rtt=880)),
    ("r", flow("left", 3_000, "ingress", (64, 63), rtt=600)),
    ("r", flow("right", 4_000, "egress", (63, 64), rtt=590)),
    ("h2", flow("eth9", 90, "ingress", (63, 64), rtt=300)),
    ("h2", flow("w2", 91, "ingress", (63, 64), rtt=290)),
]

# VXLAN over two routers; the inner TTL stays
TUNNELLED = [
    ("h1", flow("w1", 10, "egress", (64, 64))),
    ("h1", flow("vxlan", 20, "egress", (64, 64))),
    ("h1", flow("eth0", 30, "egress", (64, 64), parent="p1")),
    ("leaf", flow("l1", 9, "ingress", (64, 64), parent="p2")),
    ("leaf", flow("l2", 10, "egress", (64, 64), parent="p3")),
    ("spine", flow("s1", 5, "ingress", (64, 64), parent="p4")),
    ("spine", flow("s2", 6, "egress", (64, 64), parent="p5")),
    ("h2", flow("eth1", 1, "ingress", (64, 64), parent="p6")),
    ("h2", flow("vx", 2, "ingress", (64, 64))),
    ("h2", flow("w2", 3, "ingress", (64, 64))),
]
CARRIERS = {
    one["UUID"]: one
    for one in (
        carrier("p1", "egress", (64, 62)),
        carrier("p2", "ingress", (64, 62)),
        carrier("p3", "egress", (63, 63)),
        carrier("p4", "ingress", (63, 63)),
        carrier("p5", "egress", (62, 64)),
        carrier("p6", "ingress", (62, 64)),
    )
}

# hosts that bridge others' packets into a tunnel, and out of it
BRIDGED = [
    ("vm1", flow("e1", 5, "egress", (64, 64), rtt=900)),
    ("left", flow("tap1", 10, "ingress", (64, 64), rtt=800)),
    ("left", flow("vx1", 20, "egress", (64, 64), rtt=790)),
    ("left", flow("eth0", 30, "egress", (64, 64), parent="p1", rtt=780)),
    ("leaf", flow("l1", 9, "ingress", (64, 64), parent="p2", rtt=700)),
    ("leaf", flow("l2", 10, "egress", (64, 64), parent="p3", rtt=690)),
    ("right", flow("eth1", 1, "ingress", (64, 64), parent="p4", rtt=300)),
    ("right", flow("vx2", 2, "ingress", (64, 64), rtt=290)),
    ("right", flow("tap2", 3, "egress", (64, 64), rtt=280)),
    ("vm2", flow("e2", 3, "ingress", (64, 64), rtt=200)),
]

# out of a host and back, by a gateway
HAIRPIN = [
    ("h1", flow("w1", 100, "egress", (64, 62))),
    ("h1", flow("v1", 101, "ingress", (64, 62))),
    ("h1", flow("out", 102, "egress", (64, 62))),
    ("gw", flow("one", 100, "both", (63, 63))),
    ("h1", flow("in", 500, "ingress", (62, 64))),
    ("h1", flow("w9", 501, "ingress", (62, 64))),
]


@pytest.mark.parametrize("flows", [ROUTED, TUNNELLED, BRIDGED, HAIRPIN], ids=["routed", "tunnelled", "bridged", "hairpin"])
@pytest.mark.parametrize("seed", range(5))
def test_both_ways_are_put_in_order(flows: list[tuple[str, dict[str, Any]]], seed: int) -> None:
    expected = [record["Interface"] for _, record in flows]
    shuffled = list(flows)
    random.Random(seed).shuffle(shuffled)
    seen = sightings(shuffled, CARRIERS, orientations([record for _, record in shuffled]))

    assert names(in_order(seen, FORTH)) == expected
    assert names(in_order(seen, BACK)) == expected[::-1]


def test_a_record_that_began_with_an_answer_is_turned() -> None:
    turned = flow("w2", 91, "ingress", (63, 64))
    network, transport = turned["Network"], turned["Transport"]
    turned |= {
        "Initiator": "B",
        "Seen": {"AB": "egress", "BA": "ingress"},
        "Metric": {"ABPackets": 4, "ABBytes": 400, "BAPackets": 5, "BABytes": 500},
        "Network": {"A": network["B"], "B": network["A"], "ATTL": 64, "BTTL": 63},
        "Transport": {"Protocol": "TCP", "A": transport["B"], "B": transport["A"]},
    }
    flows = [*ROUTED[:-1], ("h2", turned)]
    seen = sightings(flows, {}, orientations([record for _, record in flows]))

    last = in_order(seen, FORTH)[-1]
    assert (last.interface, last.packets, last.bytes, last.ttl) == ("w2", (5, 4), (500, 400), (63, 64))
    assert last.hooks == ("ingress", "egress")


def test_a_point_that_saw_only_the_way_back_is_no_part_of_the_other() -> None:
    only_back = flow("up2", 5_000, "ingress", (0, 63))
    only_back |= {"Metric": {"ABPackets": 0, "ABBytes": 0, "BAPackets": 4, "BABytes": 400}, "Seen": {"BA": "ingress"}}
    flows = [*ROUTED, ("r", only_back)]
    seen = sightings(flows, {}, orientations([record for _, record in flows]))

    assert "up2" not in names(in_order(seen, FORTH))
    assert "up2" in names(in_order(seen, BACK))


def test_the_way_back_over_another_cable_in_a_tunnel() -> None:
    carriers = {**CARRIERS, "p7": carrier("p7", "egress", (0, 63))}
    only_back = flow("l3", 12, "egress", (0, 64), parent="p7")
    only_back |= {"Metric": {"ABPackets": 0, "ABBytes": 0, "BAPackets": 4, "BABytes": 400}, "Seen": {"BA": "ingress"}}
    flows = [("leaf", only_back), *((host, one) for host, one in TUNNELLED if one["Interface"] != "l2"),
             ("leaf", {**TUNNELLED[4][1], "Seen": {"AB": "egress"}, "Metric": {"ABPackets": 5, "ABBytes": 500}})]  # fmt: skip
    seen = sightings(flows, carriers, orientations([record for _, record in flows]))

    assert names(in_order(seen, FORTH)) == [one["Interface"] for _, one in TUNNELLED]
    assert names(in_order(seen, BACK)) == [one["Interface"].replace("l2", "l3") for _, one in reversed(TUNNELLED)]


def test_records_that_follow_each_other_at_a_point_are_one() -> None:
    again = {**ROUTED[0][1], "UUID": "another", "FirstMonotonic": 9_000_000, "Start": 1500, "Last": 9000}
    (seen,) = sightings([("h1", ROUTED[0][1]), ("h1", again), ("h1", again)], {}, orientations([ROUTED[0][1]]))

    assert (seen.packets, seen.bytes, seen.first, seen.start, seen.last) == ((10, 8), (1000, 800), 7_000_000, 1000, 9000)


def test_translated_conversations_are_turned_the_same_way() -> None:
    before = flow("in", 1, "ingress", (64, 64))
    after = flow("out", 2, "egress", (63, 64))
    after |= {
        "TrackingID": "u",
        "Network": {"A": SERVER[0], "B": "203.0.113.1", "ATTL": 64, "BTTL": 63},  # an answer was seen first
        "Transport": {"Protocol": "TCP", "A": SERVER[1], "B": 50001},
        "NAT": {"From": {"TrackingID": "t", "Kind": "snat"}},
    }
    del after["Initiator"]
    turned = orientations([after, before])

    assert [str(end) for end in turned["u"]] == ["203.0.113.1:50001", "10.0.2.1:80"]


def test_who_saw_only_answers_does_not_say_who_asked_whatever_its_clock() -> None:
    asked, answered = flow("eth0", 1, "egress", (64, 64)), flow("up2", 1, "ingress", (64, 64), Start=-1_800_000)
    answered["Network"] |= {"A": SERVER[0], "B": CLIENT[0]}
    answered["Transport"] |= {"A": SERVER[1], "B": CLIENT[1]}
    answered |= {"Metric": {"ABPackets": 4, "ABBytes": 400, "BAPackets": 0, "BABytes": 0}}
    for one in (asked, answered):
        del one["Initiator"]

    assert [str(end) for end in orientations([answered, asked])["t"]] == ["10.0.1.1:40000", "10.0.2.1:80"]


def names(seen: list[Sighting]) -> list[str]:
    return [one.interface for one in seen]
