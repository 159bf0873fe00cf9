"""The virtual functions of an SR-IOV device, from IFLA_VFINFO_LIST. Source: linux/if_link.h (struct ifla_vf_*).

Values are Skydive's: ``LinkState`` 0 auto, 1 enable, 2 disable; rates in Mbit/s, 0 without limit. Statistics are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from topology.probes.netlink.fields import Fields, each, unpack

_IFLA_VF_INFO = 1
_UNSUPPORTED = 0xFFFFFFFF
_MAC = struct.Struct("=I6s")  # vf, then 32 bytes of which an Ethernet device uses 6


def _setting(code: str, place: int) -> Callable[[bytes], int | None]:
    """One number of a structure; left out where the driver does not know the setting."""
    layout = struct.Struct(code)

    def convert(value: bytes) -> int | None:
        found = int(unpack(layout, value, "virtual function's setting")[place])
        return None if found == _UNSUPPORTED else found

    return convert


_second = _setting("=II", 1)


def _switch(value: bytes) -> bool | None:
    found = _second(value)
    return None if found is None else bool(found)


def _mac(value: bytes) -> str:
    address: bytes = unpack(_MAC, value, "virtual function's MAC")[1]
    return address.hex(":")


_FUNCTION = Fields(
    (1, "ID", _setting("=I", 0)),  # IFLA_VF_MAC: struct ifla_vf_mac
    (1, "MAC", _mac),  # IFLA_VF_MAC
    (2, "Vlan", _setting("=III", 1)),  # IFLA_VF_VLAN: struct ifla_vf_vlan
    (2, "Qos", _setting("=III", 2)),  # IFLA_VF_VLAN
    (3, "TxRate", _second),  # IFLA_VF_TX_RATE: struct ifla_vf_tx_rate
    (4, "Spoofchk", _switch),  # IFLA_VF_SPOOFCHK: struct ifla_vf_spoofchk
    (5, "LinkState", _second),  # IFLA_VF_LINK_STATE: struct ifla_vf_link_state
    (6, "MinTxRate", _setting("=III", 1)),  # IFLA_VF_RATE: struct ifla_vf_rate: vf, min, max
    (9, "Trust", _switch),  # IFLA_VF_TRUST: struct ifla_vf_trust
)


def virtual_functions(value: bytes) -> list[dict[str, Any]] | None:
    """All virtual functions, in the kernel's order; None if there are none.

    Raises:
        NetlinkDecodeError: malformed.
    """
    return [_FUNCTION.read(part) for number, part in each(value) if number == _IFLA_VF_INFO] or None
