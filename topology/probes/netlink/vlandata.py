"""VLANs of bridges and their ports, from the RTM_NEWLINK that a dump of family AF_BRIDGE gives.

Pure: bytes to values. Sources: linux/if_bridge.h (struct bridge_vlan_info), linux/rtnetlink.h.
"""

from __future__ import annotations

import struct
from typing import Any

from skytrail.kernel.netlink import integer_attribute
from topology.probes.netlink.fields import Fields, each, unpack

RTM_GETLINK = 18

_AF_BRIDGE = 7
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_BRVLAN_COMPRESSED = 1 << 2
_IFLA_BRIDGE_VLAN_INFO = 2
_PVID, _UNTAGGED, _RANGE_END = 1 << 1, 1 << 2, 1 << 4  # BRIDGE_VLAN_INFO_…
_IFINFOMSG = struct.Struct("=BxHiII")  # family, ARPHRD type, index, flags, change
_VLAN = struct.Struct("=HH")  # struct bridge_vlan_info: flags, vid


def vlan_dump_request() -> bytes:
    """The body of RTM_GETLINK for all bridges and their ports (of the socket's own namespace), ranges as two entries."""
    return _IFINFOMSG.pack(_AF_BRIDGE, 0, 0, 0, 0) + integer_attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_BRVLAN_COMPRESSED)


def _vlans(value: bytes) -> list[Any]:
    found: list[dict[str, Any]] = []
    for number, part in each(value):
        if number != _IFLA_BRIDGE_VLAN_INFO:
            continue
        flags, vid = unpack(_VLAN, part, "bridge's VLAN")
        if flags & _RANGE_END and found:
            found[-1]["End"] = vid
            continue
        marks = {"PVID": bool(flags & _PVID), "Untagged": bool(flags & _UNTAGGED)}
        found.append({"ID": vid, **{mark: True for mark, there in marks.items() if there}})
    return found


_LINK = Fields((26, "vlans", _vlans))  # IFLA_AF_SPEC


def decode_vlans(payload: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Decode the payload: ifindex, and its VLANs: ``ID``, ``End`` of a range, ``PVID``, ``Untagged`` (on egress).

    Raises:
        NetlinkDecodeError: malformed.
    """
    _, _, ifindex, *_ = unpack(_IFINFOMSG, payload, "bridge's link message")
    return ifindex, _LINK.read(payload, _IFINFOMSG.size).get("vlans", [])
