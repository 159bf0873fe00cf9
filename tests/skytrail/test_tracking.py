"""Tracking IDs against the design's examples and the public implementation of Community ID."""

from __future__ import annotations

import ipaddress

import communityid
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.tracking import Class, community_id, messages, tracking_ids


def one(kind: Class, a: bytes, b: bytes, proto: int = 0, ports: tuple[int, int] = (0, 0), number: int = 0) -> bytes:
    addresses = np.frombuffer(a + b, np.uint8).reshape(1, 2, len(a))
    return messages(kind, addresses, np.array([proto], "u1"), np.array([ports]), np.array([number]))[0]


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


# Expected values: the design, §4.1.
EXAMPLES = {
    "tcp4": (one(Class.PORTS, ip("10.0.0.1"), ip("10.0.0.2"), 6, (50000, 80)), "8c5af2be29fb6f446d4a53c26774216d"),
    "udp4": (one(Class.PORTS, ip("10.0.0.1"), ip("10.0.0.2"), 17, (40000, 53)), "457294469c90213654d7748261b23369"),
    "tcp6": (one(Class.PORTS, ip("2001:db8::1"), ip("2001:db8::2"), 6, (50000, 443)), "617a97b9f906af88ba4db249605f377e"),
    "echo": (one(Class.PORTS_ID, ip("10.0.0.1"), ip("10.0.0.2"), 1, (8, 0), 0x1234), "5e915ab6f860c63fad8fcad9ccb99a88"),
    "neighbour": (one(Class.PORTS, ip("2001:db8::1"), ip("2001:db8::2"), 58, (135, 136)), "47d1c1222dfced19ca84a514e77ac596"),
    "unreachable": (one(Class.ONE_WAY, ip("10.0.0.2"), ip("10.0.0.1"), 1, (3, 1)), "2478e5c83e482498e5df01d638c8f8ea"),
    "gre": (one(Class.PROTOCOL_KEY, ip("10.0.0.1"), ip("10.0.0.2"), 47, number=7), "b4c6bcd7c312829c77792fa70d224404"),
    "vxlan": (one(Class.TUNNEL, ip("10.0.0.1"), ip("10.0.0.2"), 17, (0, 4789), 10), "a78f676392dec0085203afdd053d0905"),
    "arp": (one(Class.LINK, bytes.fromhex("020000000001"), b"\xff" * 6, ports=(0x0806, 0)), "2f465a41ccb2b88060590ba7fa5dacd8"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_tracking_id_is_that_of_the_designs_example(name: str) -> None:
    message, expected = EXAMPLES[name]

    assert tracking_ids([message]).hex() == expected


@given(
    a=st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    b=st.binary(min_size=16, max_size=16),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    proto=st.sampled_from([6, 17, 132]),
)
def test_tracking_id_is_community_ids_digest(a: bytes, b: bytes, ports: tuple[int, int], proto: int) -> None:
    b = b[: len(a)]
    make = {6: communityid.FlowTuple.make_tcp, 17: communityid.FlowTuple.make_udp, 132: communityid.FlowTuple.make_sctp}
    public = communityid.CommunityID().calc(make[proto](a, b, *ports))
    (lo, lo_port), (hi, hi_port) = sorted([(a, ports[0]), (b, ports[1])])

    message = one(Class.PORTS, lo, hi, proto, (lo_port, hi_port))

    assert community_id(message) == public
