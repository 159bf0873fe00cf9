from __future__ import annotations

import struct
from dataclasses import replace

from skytrail.kernel.linkmessages import Link, decode_link
from skytrail.kernel.netlink import attribute, integer_attribute
from topology.probes.netlink.hostlinks import HostLinks
from topology.probes.netlink.translate import interface_fact

COOKIE = 7
HEADER = struct.Struct("=BxHiII")  # struct ifinfomsg: family, ARPHRD type, index, flags, change


def link(*parts: bytes) -> Link:
    """A link as the kernel tells of it: ``parts`` are what a dump adds to an event (IFLA_NUM_VF, IFLA_VFINFO_LIST)."""
    message = HEADER.pack(0, 1, 5, 0x1043, 0) + attribute(3, b"pf0\0") + b"".join(parts)
    found = decode_link(message, 0, len(message), COOKIE, raw=True)
    assert found is not None
    return found


def function(number: int) -> bytes:
    return attribute(1, attribute(1, struct.pack("=I32s", number, bytes([2, 0, 0, 0, 0, number]))))


def test_virtual_functions_outlast_events_which_never_tell_of_them() -> None:
    links = HostLinks({}.get)

    def told(*parts: bytes, functions: int | None = None) -> object:
        message = link(*parts)  # LinkWatcher keeps their number over an event
        known = links.put(message if functions is None else replace(message, functions=functions), "tid")
        return interface_fact(known, None, None).metadata.get("Vfs")

    two, one = attribute(22, function(1) + function(2)), attribute(22, function(2))
    shown = [{"ID": number, "MAC": f"02:00:00:00:00:0{number}"} for number in (1, 2)]
    assert told() is None
    assert told(integer_attribute(21, 2), two) == shown
    assert told(functions=2) == shown
    assert told(integer_attribute(21, 1), one) == shown[1:]
    assert told(integer_attribute(21, 0)) is None
    assert told() is None
