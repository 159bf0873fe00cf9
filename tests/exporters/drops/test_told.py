"""What happened to conversations, as hubs see it: under the tracking IDs that flows have."""

from __future__ import annotations

import socket

import numpy as np
from support.identity import plain_id

from exporters.bpf import drops
from exporters.drops.conversations import ROW
from exporters.drops.places import Places
from exporters.drops.reasons import Reasons
from exporters.drops.told import told

REASONS = Reasons({2: "NETFILTER_DROP"}, {}, {3: "NO_SOCKET"})
PLACES = Places({7: "web", 8: ""}, {(7, 3): "eth0"})


def row(
    netns: int, ports: tuple[int, int], *, kind: int = drops.PACKET, reason: int = 2, id_: int = 0, proto: int = 17
) -> np.ndarray:
    made = np.zeros(1, ROW)
    ends = made["key"]["ends"]
    for at, address in enumerate(("10.0.0.1", "10.0.0.2")):
        ends["addr"][0, at, :4] = np.frombuffer(socket.inet_aton(address), np.uint8)
        ends["port"][0, at] = ports[at]
    ends["family"], ends["proto"], ends["id"] = 4, proto, id_
    made["key"]["kind"], made["key"]["reason"], made["key"]["netns"] = kind, reason, netns
    made["packets"], made["ifindex"], made["last"] = (3, 1), 3, 2_000_000_000
    return made


def test_a_tunnel_s_drop_has_the_tracking_id_of_its_outer_flow() -> None:
    (one,) = told(row(7, (0, 4789), id_=10), REASONS, PLACES, 0)
    assert one["TrackingID"] == "a78f676392dec0085203afdd053d0905"  # design 4.1: 10.0.0.1 <-> 10.0.0.2, 4789, VNI 10


def test_what_is_told() -> None:
    (one,) = told(row(7, (5000, 53)), REASONS, PLACES, 1_000_000_000)
    assert one == {
        "What": "Drop",
        "Reason": "NETFILTER_DROP",
        "TrackingID": plain_id(17, "10.0.0.1", "10.0.0.2", (5000, 53)),
        "Network": {"Protocol": "IPV4", "A": "10.0.0.1", "B": "10.0.0.2", "IPProtocol": 17},
        "Transport": {"Protocol": "UDP", "A": 5000, "B": 53},
        "Namespace": "web",
        "Interface": "eth0",
        "AB": 3,
        "BA": 1,
        "Last": 3000,
    }


def test_icmp_is_told_by_its_type_whichever_way_it_went_and_a_tunnel_by_its_number() -> None:
    rows = [
        row(7, (0, 8), proto=1, id_=77),
        row(7, (8, 0), proto=1, id_=77),
        row(7, (128, 129), proto=58, id_=77),
        row(7, (3, 1), proto=1),
        row(7, (0, 4789), id_=10),
    ]
    found = list(told(np.concatenate(rows, dtype=ROW), REASONS, PLACES, 0))
    echo, unreachable = {"Type": "ECHO", "ID": 77}, {"Type": "DESTINATION_UNREACHABLE", "ID": 0}
    assert [one.get("ICMP") for one in found] == [echo, echo, echo, unreachable, None]
    assert [one["Network"].get("ID") for one in found] == [None] * 4 + [10]


def test_what_was_dropped_where_a_container_has_ended_since_is_told_without_the_place() -> None:
    rows = np.concatenate([row(9, (1, 2)), row(8, (3, 4), kind=drops.RESET_SENT, reason=3, proto=6), row(0, (5, 6))], dtype=ROW)
    found = list(told(rows, REASONS, PLACES, 0))
    assert [(one["What"], one.get("Reason"), one.get("Namespace"), one.get("Interface")) for one in found] == [
        ("Drop", "NETFILTER_DROP", None, None),
        ("ResetSent", "NO_SOCKET", "", None),
        ("Drop", "NETFILTER_DROP", None, None),
    ]


def test_only_the_wanted_conversations_are_told() -> None:
    rows = np.concatenate([row(7, (5000, 53)), row(7, (5001, 53)), row(7, (0, 4789), id_=10)], dtype=ROW)
    names = [one["TrackingID"] for one in told(rows, REASONS, PLACES, 0)]
    assert [one["TrackingID"] for one in told(rows, REASONS, PLACES, 0, {names[2], names[0], "none", "ff" * 16})] == [
        names[0],
        names[2],
    ]
    assert list(told(rows, REASONS, PLACES, 0, set())) == []
