"""The structs of ``flows.h`` as numpy types, and their check against an object's BTF.

One place says each layout in C, one here; :func:`check` makes sure that they never drift apart.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from skytrail.errors import LoadError

LEVELS = 4
CLOSE_BATCH = 4096
PARENT_LOST = 1
FIRST_ID = 16

KIND_PLAIN, KIND_ONE_WAY, KIND_FRAGMENT, KIND_VXLAN, KIND_GENEVE, KIND_GRE_KEY, KIND_LINK = range(7)
KIND_MASK, KIND_RECORD, RECORDS = 0x0F, 0xC0, 4
REPLAY_CROWDED = 1
LIVE, CLOSING = 0, 1
INFO_ETHERNET, INFO_MPLS, INFO_FRAGMENTED, INFO_QUOTES, INFO_ERSPAN = 1, 2, 4, 8, 16
LINK_ETHERNET, LINK_RAW, LINK_COOKED, LINK_COOKED2, LINK_LOOPBACK, LINK_OTHER = range(6)
TUNNELS = {"vxlan": 1, "geneve": 2}
LOST_REASONS = ("map_full", "no_memory", "busy", "closing", "unreadable", "sampled_out")

MAPS = ("flows4", "flows6", "points", "scratches", "tunnels", "fragments", "quotes", "close_requests", "close_cursor")
"""The maps that all instances of the program share."""

KEY4 = np.dtype(
    [
        ("parent", "u8"),
        ("tags", "u8"),
        ("point", "u4"),
        ("addr", "u1", (2, 4)),
        ("port", ">u2", 2),
        ("id", "u4"),
    ]
)
KEY6 = np.dtype(
    [
        ("parent", "u8"),
        ("tags", "u8"),
        ("point", "u4"),
        ("addr", "u1", (2, 16)),
        ("port", ">u2", 2),
        ("id", "u4"),
    ]
)
COUNTS = np.dtype([("packets", "u8"), ("bytes", "u8")])
FLOW = np.dtype(
    [
        ("dir", COUNTS, 2),
        ("last", "u8"),
        ("first", "u8"),
        ("id", "u8"),
        ("merged", "u8", 2),
        ("asked", "u8", 2),
        ("rtt", "u8", 2),
        ("socket", "u8", 2),
        ("fin", "u4", 2),
        ("rst", "u4", 2),
        ("timed_at", "u8", 2),
        ("timed", "u4", 2),
        ("smoothed_rtt", "u4", 2),
        ("next", "u4", 2),
        ("hole", "u4", (2, 2)),
        ("skipped", "u4", 2),
        ("out_of_order", "u4", 2),
        ("repeated", "u4", 2),
        ("zero_windows", "u4", 2),
        ("expect", "u4"),
        ("fragments", "u4"),
        ("mac", "u1", 12),
        ("ethertype", "u2"),
        ("vlans", "u1"),
        ("ext", "u1"),
        ("tcp_flags", "u1", 2),
        ("ttl", "u1", 2),
        ("dscp", "u1", 2),
        ("syn_ttl", "u1", 2),
        ("state", "u1"),
        ("ended", "u1"),
        ("rtt_state", "u1"),
        ("initiator", "u1"),
        ("reversed", "u1"),
        ("info", "u1"),
        ("icmp_code", "u1"),
        ("hooks", "u1"),
        ("tracked", "u1", 2),
        ("pad", "u1", 6),
    ]
)
TALLY = np.dtype([("skbs", "u8"), ("segments", "u8"), ("bytes", "u8")])
POINT = np.dtype(
    [
        ("link", "u4"),
        ("pad", "u4"),
        ("seen", TALLY, 2),
        ("header_bytes", "u8"),
        ("lost", TALLY, len(LOST_REASONS)),
        ("inner_lost", "u8", len(LOST_REASONS)),
    ]
)
QUOTE = np.dtype(
    [
        ("addr", "u1", (2, 16)),
        ("id", "u4"),
        ("source", ">u2"),
        ("destination", ">u2"),
        ("proto", "u1"),
        ("family", "u1"),
        ("kind", "u1"),
        ("pad", "u1"),
    ]
)
CLOSE_REQUEST = np.dtype([("id", "u8"), ("key", "u1", KEY6.itemsize), ("family", "u4")])
PARAMETERS = np.dtype([("sampling", "u4"), ("replay", "u4")])

STRUCTS = {
    "flow_key4": KEY4,
    "flow_key6": KEY6,
    "flow_counts": COUNTS,
    "flow": FLOW,
    "tally": TALLY,
    "point": POINT,
    "quote": QUOTE,
    "close_request": CLOSE_REQUEST,
    "parameters": PARAMETERS,
}


class _Member(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32))


class BtfType(ctypes.Structure):
    """``struct btf_type``, followed in memory by ``info & 0xffff`` members or values (Documentation/bpf/btf.rst)."""

    _fields_ = (("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


def check(library: ctypes.CDLL, btf: int, structs: Mapping[str, np.dtype[Any]]) -> None:
    """Compare structs with an object's BTF: size, members, offsets.

    Args:
        library: libbpf, with the signatures of :mod:`exporters.bpf.libbpf`.
        btf: ``struct btf *``.
        structs: by their names in C.

    Raises:
        LoadError: they differ; the object and this code are of different versions.
    """
    for name, dtype in structs.items():
        found = _members(library, btf, name)
        expected = (
            dtype.itemsize,
            {field: dtype.fields[field][1] for field in dtype.names or ()} if dtype.fields else {},
        )
        if found != expected:
            raise LoadError(f"struct {name} of the BPF object differs from the reader's: rebuild it by 'make bpf'")


def _members(library: ctypes.CDLL, btf: int, name: str) -> tuple[int, dict[str, int]] | None:
    kind_struct = 4
    number = library.btf__find_by_name_kind(btf, name.encode(), kind_struct)
    if number < 0:
        return None
    address: Any = library.btf__type_by_id(btf, number)
    head = BtfType.from_address(address)
    members = (_Member * (head.info & 0xFFFF)).from_address(address + ctypes.sizeof(BtfType))
    names = {library.btf__name_by_offset(btf, member.name).decode(): member.offset // 8 for member in members}
    return head.size, names
