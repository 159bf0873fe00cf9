"""Conntrack's messages as arrays: connections whose addresses or ports are translated. Pure: bytes to arrays.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h; a tuple's addresses and ports are big-endian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows.ends import ENDS
from skytrail.kernel.columns import Spans

SOURCE_NAT, DESTINATION_NAT = 1 << 4, 1 << 5
"""``enum ip_conntrack_status``: which side is translated."""
TRANSLATED = SOURCE_NAT | DESTINATION_NAT
KINDS = {SOURCE_NAT: "snat", DESTINATION_NAT: "dnat", TRANSLATED: "snat+dnat"}

TUPLE = np.dtype([("addr", "u1", (2, 16)), ("port", ">u2", 2), ("id", "u4")])
"""Source and destination, in this order; ``id``: identifier of an ICMP echo."""

ENTRY = np.dtype(
    [
        ("original", TUPLE),
        ("translated", TUPLE),
        ("netns", "u8"),
        ("family", "u1"),
        ("proto", "u1"),
        ("kinds", "u1"),
        ("gone", "?"),
    ]
)
"""A translated connection: as its first sender says, and as it goes on. ``kinds``: bits of :data:`TRANSLATED`."""

_HEADER = 4  # struct nfgenmsg: family first
_ORIGINAL, _REPLY, _STATUS = 1, 2, 3  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_ADDRESSES = ((1, 3), (2, 4))  # CTA_IP_V4_SRC, CTA_IP_V6_SRC; CTA_IP_V4_DST, CTA_IP_V6_DST
_NUMBER, _PORTS = 1, (2, 3)  # CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
_ICMP_ID, _ICMP_TYPE, _ICMP6_ID, _ICMP6_TYPE = 4, 5, 7, 8
_WITH_PORTS = (6, 17, 132)
_ECHO = ((1, _ICMP_ID, _ICMP_TYPE, 8, 0), (58, _ICMP6_ID, _ICMP6_TYPE, 128, 129))  # … type of request, of reply


def entries(messages: Spans) -> NDArray[Any]:
    """The connections of messages behind their netlink headers: a row of :data:`ENTRY` for each, that says not where it is.

    ``kinds`` is 0 where nothing is translated.

    Raises:
        NetlinkDecodeError: a message is malformed.

    """
    top = messages.after(_HEADER).attributes((_ORIGINAL, _REPLY, _STATUS))
    status = top[_STATUS].numbers(">u4")
    found = np.zeros(len(messages), ENTRY)
    found["kinds"] = status & TRANSLATED
    found["family"] = np.where(messages.numbers("u1") == 2, 4, 6)  # AF_INET
    found["proto"] = _tuple(top[_ORIGINAL], found["original"])
    _tuple(top[_REPLY], found["translated"])
    # the reply comes from where the original went, translated: turned round it is how the original goes on
    for field in ("addr", "port"):
        found["translated"][field] = found["translated"][field][:, ::-1].copy()
    for proto, _, _, request, reply in _ECHO:  # who asks is the same on both sides
        echo = (found["proto"] == proto) & (found["original"]["port"][:, 0] == request)
        found["original"]["port"][echo] = found["translated"]["port"][echo] = request, reply
    return found


def _tuple(spans: Spans, into: NDArray[Any]) -> NDArray[np.uint8]:
    """Fill in tuples as they stand there; gives their IP protocols."""
    parts = spans.attributes((_IP, _PROTO))
    addresses = parts[_IP].attributes([kind for side in _ADDRESSES for kind in side])
    for side, (four, six) in enumerate(_ADDRESSES):
        narrow = addresses[four].present
        into["addr"][:, side, :8] = _octets(addresses[six].numbers("u8"))
        into["addr"][:, side, 8:] = _octets(addresses[six].numbers("u8", 8))
        into["addr"][narrow, side, :4] = _octets(addresses[four].numbers("u4"))[narrow]
    told = parts[_PROTO].attributes((_NUMBER, *_PORTS, _ICMP_ID, _ICMP_TYPE, _ICMP6_ID, _ICMP6_TYPE))
    proto: NDArray[np.uint8] = told[_NUMBER].numbers("u1")
    with_ports = np.isin(proto, _WITH_PORTS)
    for side, kind in enumerate(_PORTS):
        into["port"][:, side] = np.where(with_ports, told[kind].numbers(">u2"), 0)
    for number, identifier, kind, request, _ in _ECHO:
        type_ = told[kind].numbers("u1")
        echo = (proto == number) & (type_ == request)
        into["port"][echo, 0] = request
        into["id"][proto == number] = told[identifier].numbers(">u2")[proto == number]
    return proto


def _octets(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), numbers.itemsize)


def conversations(
    tuples: NDArray[Any], family: NDArray[np.uint8], proto: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Tuples as conversations.

    Args:
        tuples: rows of :data:`TUPLE`.
        family: of each, 4 or 6.
        proto: IP protocol of each.

    Returns:
        Rows of :data:`ENDS`, and whether the source is the second end.

    """
    ends = np.zeros(len(tuples), ENDS)
    order = np.empty((len(tuples), 2, 18), np.uint8)  # (address, port) as unsigned bytes
    order[:, :, :16] = tuples["addr"]
    order[:, :, 16:] = np.ascontiguousarray(tuples["port"]).view(np.uint8).reshape(-1, 2, 2)
    differ = order[:, 0] != order[:, 1]
    first = np.argmax(differ, axis=1)[:, None]
    greater = np.take_along_axis(order[:, 0], first, 1) > np.take_along_axis(order[:, 1], first, 1)
    swapped: NDArray[np.bool_] = greater[:, 0]
    for field in ("addr", "port"):
        ends[field] = tuples[field]
        ends[field][swapped] = tuples[field][swapped][:, ::-1]
    ends["id"], ends["family"], ends["proto"] = tuples["id"], family, proto
    return ends, swapped
