"""Filters at an interface's clsact or ingress hook, BPF programs among them, from RTM_NEWQDISC and RTM_NEWTFILTER.

Pure: bytes to values. Sources: linux/rtnetlink.h (struct tcmsg), linux/pkt_sched.h, linux/pkt_cls.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from topology.probes.netlink.fields import Fields, filled, text, u32, unpack

RTM_GETQDISC = 38
RTM_GETTFILTER = 46

_HEADER = struct.Struct("=BxxxiIII")  # struct tcmsg: family, ifindex, handle, parent, info
_KIND = Fields((1, "kind", text))  # TCA_KIND
_FILTER = Fields((1, "Kind", text))
_OPTIONS = Fields((2, "options", lambda value: value.hex()))  # TCA_OPTIONS
_BPF = Fields(
    (7, "Name", filled),  # TCA_BPF_NAME
    (11, "ProgID", u32),  # TCA_BPF_ID
)

_HOOKS: dict[str, dict[int, str]] = {
    "clsact": {0xFFFFFFF2: "ingress", 0xFFFFFFF3: "egress"},  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or _EGRESS)
    "ingress": {0xFFFF0000: "ingress"},
}
"""Queueing discipline → parents of the filters there, and the direction of the packets that they see."""


def qdisc_dump_request() -> bytes:
    """The body of RTM_GETQDISC for all interfaces (of the socket's own namespace)."""
    return _HEADER.pack(0, 0, 0, 0, 0)


def filter_dump_request(ifindex: int, parent: int) -> bytes:
    """The body of RTM_GETTFILTER for one hook of an interface."""
    return _HEADER.pack(0, ifindex, 0, parent, 0)


def decode_hooks(payload: bytes) -> tuple[int, dict[int, str]]:
    """Decode RTM_NEWQDISC's payload: ifindex, and the hooks that this discipline gives it: parent → direction.

    Raises:
        NetlinkDecodeError: malformed.
    """
    _, ifindex, *_ = unpack(_HEADER, payload, "queueing discipline's message")
    return ifindex, _HOOKS.get(_KIND.read(payload, _HEADER.size).get("kind", ""), {})


def decode_filter(payload: bytes, direction: str) -> Iterator[dict[str, Any]]:
    """Decode RTM_NEWTFILTER's payload: ``Direction``, ``Kind``, ``Priority``; of a BPF program ``Name`` and ``ProgID`` too.

    Nothing for the message that stands before a classifier's filters.

    Raises:
        NetlinkDecodeError: malformed.
    """
    _, _, handle, _, info = unpack(_HEADER, payload, "filter's message")
    if not handle:
        return
    found = {"Direction": direction, **_FILTER.read(payload, _HEADER.size), "Priority": info >> 16}
    if found.get("Kind") == "bpf":
        found |= _BPF.read(bytes.fromhex(_OPTIONS.read(payload, _HEADER.size).get("options", "")))
    yield found
