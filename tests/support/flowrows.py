"""Records of the flow table, drawn at random: every kind, every protocol, with and without all that may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.identify import identify
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW
from skytrail.addresses.book import network_of

SECOND = 1_000_000_000
NOW = 1_795_000_000 * SECOND
UPTIME = 5_000 * SECOND
_UPDATE = 60 * SECOND


def points() -> Points:
    """Three capture points."""
    made = Points()
    for name, namespace, tid in (("eth0", "", "tid-a"), ("veth1", "blue", "tid-b"), ("eth0", "red", "tid-c")):
        made.add(Point(name, namespace, tid))
    return made


def random_rows(count: int, seed: int = 1, *, at: int = NOW, begin: Points | None = None) -> NDArray[Any]:
    """Identified records, of few addresses and ports, so that conditions meet some of them."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(count, ROW)
    rows["id"] = layout.FIRST_ID + np.arange(count) + seed * 1_000_000
    kind = draw.integers(0, 7, count)
    proto = draw.choice([1, 2, 6, 6, 17, 47, 50, 58, 132], count)
    proto[np.isin(kind, (layout.KIND_VXLAN, layout.KIND_GENEVE))] = 17
    proto[kind == layout.KIND_GRE_KEY] = 47
    link = kind == layout.KIND_LINK
    proto[link] = 0
    vlans = draw.integers(0, 3, count)
    tags = (draw.integers(1, 9, count) * (vlans > 0)) + (draw.integers(1, 9, count) * (vlans > 1) << 12)
    rows["key"]["tags"] = (
        tags.astype(np.uint64) << np.uint64(16) | proto.astype(np.uint64) << np.uint64(8) | kind.astype(np.uint64)
    )
    rows["family"] = np.where(link, 0, draw.choice([4, 4, 6], count))
    four = rows["family"] == 4
    rows["key"]["addr"][:, :, 0] = np.where(four, 10, 0x20)[:, None]
    rows["key"]["addr"][:, :, 3] = draw.integers(1, 6, (count, 2))
    rows["key"]["addr"][:, :, 15] = np.where(four[:, None], 0, draw.integers(1, 6, (count, 2)))
    rows["key"]["port"] = draw.choice([0, 3, 8, 53, 80, 128, 135, 443, 40_000, 65_535], (count, 2))
    rows["key"]["id"] = draw.choice([0, 1, 7, 4_000_000_000], count)
    rows["point"] = draw.integers(1, 4, count)
    rows["key"]["point"] = rows["point"]
    flow = rows["flow"]
    flow["id"] = rows["id"]
    big = draw.choice([1, 3, 1 << 20, 1 << 53], (count, 2))
    flow["dir"]["packets"] = draw.integers(0, 5, (count, 2)) * big
    flow["dir"]["bytes"] = flow["dir"]["packets"] * np.uint64(100) + np.uint64(1)
    flow["merged"] = flow["dir"]["packets"] // np.uint64(2)
    rows["offset"] = at - UPTIME
    lived = draw.integers(0, 300, count) * SECOND // 4
    flow["last"] = UPTIME - draw.integers(0, 30, count) * SECOND
    flow["first"] = flow["last"] - lived.astype(np.uint64)
    rows["start"] = rows["offset"] + flow["first"].astype(np.int64)
    rows["previous_at"] = rows["start"]
    old = lived > _UPDATE
    rows["reported_at"] = np.where(old, rows["start"] + _UPDATE, rows["start"])
    for what in ("packets", "bytes"):
        rows["reported"][what] = np.where(old[:, None], flow["dir"][what], 0)
    for name, values in (
        ("rtt", [0, 0, 1_000, 5_000_000_000]),
        ("asked", [0, 0, int(UPTIME) - SECOND]),
        ("fin", [0, 0, 1, 500]),
        ("rst", [0, 0, 0, 7]),
        *((field, [0, 0, 1, 90]) for field in ("smoothed_rtt", "skipped", "out_of_order", "repeated", "zero_windows")),
        ("tcp_flags", [0, 2, 18, 255]),
        ("ttl", [0, 64, 255]),
        ("dscp", [0, 46]),
        ("syn_ttl", [64]),
    ):
        flow[name] = draw.choice(values, (count, 2))
    flow["expect"], flow["fragments"] = draw.choice([0, 9], count), draw.choice([0, 0, 4], count)
    flow["mac"] = draw.integers(0, 3, (count, 12))
    flow["ethertype"] = np.where(link, draw.choice([0, 0x0806, 0x88CC, 0x9999], count), np.where(four, 0x0800, 0x86DD))
    flow["vlans"], flow["ext"] = vlans, draw.choice([0, 0, 1, 20], count)
    flow["ended"], flow["initiator"] = draw.integers(0, 2, count), draw.integers(0, 3, count)
    flow["reversed"], flow["info"] = draw.integers(0, 2, count), draw.choice([0, 1, 1, 3, 5, 17], count)
    flow["hooks"] = draw.integers(0, 16, count)
    flow["icmp_code"] = draw.integers(0, 4, count)
    rows["parent_uuid"] = np.where(draw.integers(0, 3, count)[:, None] == 0, draw.integers(0, 255, (count, 16)), 0)
    networks = [0, network_of("vxlan", 42), network_of("geneve", 0), network_of("gre", 2**32 - 1)]
    rows["tunnel"] = np.where(rows["parent_uuid"].any(axis=1), draw.choice(networks, count), 0)
    identify(rows, begin or points())
    return rows
