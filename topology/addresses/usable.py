"""Addresses that can be somebody's. Pure."""

from __future__ import annotations

import ipaddress


def pack(text: str) -> bytes | None:
    """The bytes of an address that can be somebody's beyond his own host; None: there is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    nobody = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return None if nobody else address.packed
