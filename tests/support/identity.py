"""Tracking IDs worked out a second time, from design §4.1 and PyPI's communityid: the judge of the product's."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import struct

import communityid

ICMP, TCP, UDP, GRE, ICMP6, SCTP = 1, 6, 17, 47, 58, 132


def address(text: str) -> bytes:
    """An IP address as bytes."""
    return ipaddress.ip_address(text).packed


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _digest(*parts: bytes) -> str:
    return hashlib.sha1(b"\0\0" + b"".join(parts)).hexdigest()[:32]


def _cut(community: str) -> str:
    return base64.b64decode(community.removeprefix("1:")).hex()[:32]


def community_id(proto: int, source: str, destination: str, ports: tuple[int, int] | None) -> str:
    """Community ID v1, seed 0. ``ports``: of ICMP type and code; None: none."""
    if ports is None:  # the package refuses TCP and others without ports, which fragments are
        low, high = sorted([address(source), address(destination)])
        digest = hashlib.sha1(b"\0\0" + low + high + bytes([proto, 0])).digest()
        return "1:" + base64.b64encode(digest).decode()
    packed = (struct.pack("!H", port) for port in ports)
    found = communityid.CommunityID().calc(communityid.FlowTuple(proto, address(source), address(destination), *packed))
    assert found is not None
    return str(found)


def plain_id(proto: int, source: str, destination: str, ports: tuple[int, int] | None) -> str:
    """TCP, UDP, SCTP, ICMP without an identifier, and protocols without ports."""
    return _cut(community_id(proto, source, destination, ports))


def echo_id(proto: int, source: str, destination: str, request: bool, identifier: int) -> str:
    """ICMP echo: type and counterpart as ports, the identifier behind."""
    ask, reply = (8, 0) if proto == ICMP else (128, 129)
    mine, other = (ask, reply) if request else (reply, ask)
    (low, a), (high, b) = sorted([(address(source), mine), (address(destination), other)])
    return _digest(low, high, struct.pack("!BBHHH", proto, 0, a, b, identifier))


def gre_key_id(source: str, destination: str, key: int) -> str:
    """GRE with a key."""
    low, high = sorted([address(source), address(destination)])
    return _digest(low, high, struct.pack("!BBI", GRE, 0, key))


def tunnel_id(source: str, destination: str, port: int, vni: int) -> str:
    """The outer flow of VXLAN or Geneve."""
    low, high = sorted([address(source), address(destination)])
    return _digest(low, high, struct.pack("!BBHHI", UDP, 0, 0, port, vni))


def link_id(source: str, destination: str, ethertype: int) -> str:
    """A flow without a network layer, by MACs."""
    low, high = sorted([_mac(source), _mac(destination)])
    return _digest(low, high, struct.pack("!H", ethertype))
