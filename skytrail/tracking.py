"""Tracking IDs: the same for one conversation at every capture point, in both directions, in and out of tunnels.

A tracking ID is the first 16 bytes of SHA-1 over the bytes below (integers big-endian; ``lo``, ``hi``: the endpoints
ordered as unsigned bytes by (address, port), without ports by address or MAC alone). Without additions it is the digest of
Community ID v1 with seed 0 (https://github.com/corelight/community-id-spec), cut to 16 bytes.

====================== =============================================================================================
class                  bytes
====================== =============================================================================================
PORTS                  ``0000`` lo.addr hi.addr proto ``00`` lo.port hi.port (TCP, UDP, SCTP; ICMP: type, counterpart)
PORTS_ID               the same, and 2 bytes: the identifier of an ICMP echo
ONE_WAY                ``0000`` source destination proto ``00`` type code (ICMP types without a counterpart)
PROTOCOL               ``0000`` lo.addr hi.addr proto ``00`` (other protocols; a fragment without its first)
PROTOCOL_KEY           the same, and 4 bytes: the key of GRE
TUNNEL                 PORTS with ``0000`` and the tunnel's port, and 4 bytes: the VNI
LINK                   ``0000`` lo.MAC hi.MAC EtherType
====================== =============================================================================================

The functions here work on arrays; callers have ordered the endpoints already (the kernel does it, in its keys).
"""

from __future__ import annotations

import base64
import hashlib
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

ID_BYTES = 16


class Class(IntEnum):
    """Which bytes go into the hash."""

    PORTS = 0
    PORTS_ID = 1
    ONE_WAY = 2
    PROTOCOL = 3
    PROTOCOL_KEY = 4
    TUNNEL = 5
    LINK = 6


_PORTS = {Class.PORTS, Class.PORTS_ID, Class.ONE_WAY, Class.TUNNEL}
_ADDITION = {Class.PORTS_ID: ">u2", Class.PROTOCOL_KEY: ">u4", Class.TUNNEL: ">u4"}


def messages(
    kind: Class, addresses: NDArray[np.uint8], proto: NDArray[np.uint8], ports: NDArray[Any], number: NDArray[Any]
) -> list[bytes]:
    """The bytes that are hashed, for flows of one class and one address length.

    Args:
        kind: the class.
        addresses: uint8[n, 2, 4 or 16], lo and hi; LINK: uint8[n, 2, 6], MACs.
        proto: uint8[n], IP protocol; not used for LINK.
        ports: [n, 2]; TUNNEL: port 0 and the tunnel's; LINK: the EtherType and anything.
        number: [n], identifier, key or VNI where the class has one.

    """
    width = addresses.shape[2]
    fields: list[tuple[Any, ...]] = [("seed", ">u2"), ("addresses", "u1", (2, width))]
    if kind is Class.LINK:
        fields.append(("port", ">u2"))
    else:
        fields += [("proto", "u1"), ("pad", "u1")]
    if kind in _PORTS:
        fields.append(("ports", ">u2", 2))
    if kind in _ADDITION:
        fields.append(("number", _ADDITION[kind]))
    record = np.zeros(len(addresses), np.dtype(fields))
    record["addresses"] = addresses
    if kind is Class.LINK:
        record["port"] = ports[:, 0]
    else:
        record["proto"] = proto
    if kind in _PORTS:
        record["ports"] = ports
    if kind in _ADDITION:
        record["number"] = number
    data, size = record.tobytes(), record.dtype.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def tracking_ids(found: list[bytes]) -> bytes:
    """The tracking IDs of :func:`messages`, 16 bytes each, joined."""
    sha1 = hashlib.sha1
    return b"".join([sha1(message).digest()[:ID_BYTES] for message in found])


def community_id(message: bytes) -> str:
    """The public ``1:…`` string over a message of :func:`messages` without its addition."""
    digest = hashlib.sha1(message).digest()  # noqa: S324 - as Community ID defines it
    return "1:" + base64.b64encode(digest).decode()


def record_uuid(  # the parts are the definition
    node_tid: str, parent_uuid: str, link_id: int, network_id: int, tracking_id: str, start_ns: int
) -> bytes:
    """The UUID of one flow record: 16 bytes of SHA-1 over the six, as text, joined by NUL."""
    text = f"{node_tid}\0{parent_uuid}\0{link_id}\0{network_id}\0{tracking_id}\0{start_ns}"
    return hashlib.sha1(text.encode()).digest()[:ID_BYTES]  # noqa: S324 - an identity


def span_id(uuid: bytes, window_start_ns: int) -> bytes:
    """The id of a span: 8 bytes of SHA-1 over the record's UUID (hex) and the window's start (ns, decimal), joined by NUL."""
    return hashlib.sha1(f"{uuid.hex()}\0{window_start_ns}".encode()).digest()[:8]  # noqa: S324 - an identity
